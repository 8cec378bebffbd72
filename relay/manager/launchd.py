"""Sockets that launchd has bound for this job: launch_activate_socket(3) of macOS, called through ctypes.

launchd has no environment variables that list its sockets; a job asks for each by its key in the plist's Sockets
dictionary, and gets it once in its life. There is no pure Python way. Nothing here runs on other systems unless
somebody asks for a socket by name; then the answer is that there is no such function.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping

_WHY = {  # what launch_activate_socket(3) answers
    errno.ENOENT: "the job's plist has no such key in Sockets",
    errno.ESRCH: "this process was not started by launchd",
    errno.EALREADY: "it was taken before",
    errno.ENOSYS: "this system has no launchd",
}


def started_by_launchd(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is a job of launchd's; a shell in Terminal has the variable, too, but as "0"."""
    return sys.platform == "darwin" and environ.get("XPC_SERVICE_NAME", "0") not in ("", "0")


def activate(name: str, library: str | None = None) -> list[int]:
    """The listening sockets under this key, as descriptors the caller closes. OSError with the reason in words.

    `library` is where the function is looked for: None is what this process has loaded, libSystem among it.
    """
    import ctypes  # 2 MiB that only a job of launchd's has to pay

    loaded = ctypes.CDLL(library)
    try:
        call, free = loaded.launch_activate_socket, loaded.free
    except AttributeError:
        raise _refused(errno.ENOSYS) from None
    call.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.POINTER(ctypes.c_int)), ctypes.POINTER(ctypes.c_size_t)]
    call.restype = ctypes.c_int
    free.argtypes, free.restype = [ctypes.c_void_p], None
    array, count = ctypes.POINTER(ctypes.c_int)(), ctypes.c_size_t()
    error = call(name.encode(), ctypes.byref(array), ctypes.byref(count))
    if error:
        raise _refused(error)
    fds = array[: count.value] if array else []
    free(array)
    for fd in fds:
        os.set_inheritable(fd, False)
    return fds


def _refused(error: int) -> OSError:
    return OSError(error, _WHY.get(error) or os.strerror(error))
