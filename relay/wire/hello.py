r"""The first bytes of each side, and the names of other protocols that begin otherwise.

    client   "API\0", u32 length, "v<min>..<max>[ <options>]"        no NUL at the end; "v<N>" when min is max
    gateway  u32 length, "<server version>\0<time and zone>\0"       text in every era
             u32 length, "-1\0<host[:port]>\0"                       redirect, which only the Java client follows
    legacy   "<client version>\0"                                    before v100: no prefix, no length

Recorded from ibapi 9.81.1 to 10.51.1, ib_insync, ib_async, @stoqey/ib and ib-tws-api; redirect after the Java client
(EClientSocket, EDecoder), legacy from npm ib 0.2.9 and IbPy 1.0.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from relay.wire import peer_text
from relay.wire.framing import LENGTH_SIZE, Bytes, WireError, encode_frame, split_fields

API_PREFIX = b"API\0"
_CLIENT_HEADER = len(API_PREFIX) + LENGTH_SIZE

# Bytes of payload, either side. The longest recorded hello has 33 bytes; connect options are short. The limit is far
# above that and far below anything that costs memory. It also catches another protocol whose ASCII is read as a length.
MAX_HELLO = 4096
LARGEST_CLIENT_HELLO = _CLIENT_HEADER + MAX_HELLO  # bytes
LARGEST_SERVER_HELLO = LENGTH_SIZE + MAX_HELLO

_REMEMBERED = 64  # openings, and hellos, that were read before; a few hundred KiB in all

_MIN_SERVER_HELLO = 3  # bytes: one digit, two NULs
_SERVER_HELLO_FIRST = frozenset(b"-0123456789")
_RANGE = re.compile(rb"v(\d{1,9})(?:\.\.(\d{1,9}))?(?: (.*))?", re.DOTALL)
_RANGE_START = re.compile(rb"(?:v(?:\d{1,9}(?:\.(?:\.(?:\d{1,9}(?: .*)?)?)?| .*)?)?)?", re.DOTALL)
_LEGACY = re.compile(rb"\d{2,3}\0", re.DOTALL)  # 62 and 63 are the ones recorded
_LEGACY_START = re.compile(rb"\d{1,3}")
_VERSION = re.compile(rb"\d{1,9}")
# Of a redirect: no blank can be in it, so it cannot look like a sentence of ours.
_TARGET = re.compile(rb"[!-~]{1,263}")


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The range of server versions a client speaks, and its connect options ("+PACEAPI")."""

    min_version: int
    max_version: int
    options: str = ""

    def encode(self) -> bytes:
        """The whole hello, prefix and length included."""
        versions = f"v{self.min_version}"
        if self.max_version != self.min_version:
            versions += f"..{self.max_version}"
        payload = versions + (f" {self.options}" if self.options else "")
        return API_PREFIX + encode_frame(payload.encode("utf-8", "replace"))

    @classmethod
    @lru_cache(maxsize=_REMEMBERED)
    def decode(cls, data: bytes) -> ClientHello:
        """From the whole hello and nothing after it (`client_hello_end` says where that is)."""
        if client_hello_end(data) != len(data) or not data:
            raise WireError(f"client hello: {len(data)} bytes are not one whole hello")
        match = _RANGE.fullmatch(data[_CLIENT_HEADER:])
        if match is None:
            raise WireError(f"client hello: no version range ({peer_text.kind(data[_CLIENT_HEADER:])})")
        low = int(match[1])
        high = int(match[2] or match[1])
        if low > high:
            raise WireError(f"client hello: range {low}..{high} is empty")
        return cls(low, high, peer_text.text(match[3] or b"", MAX_HELLO))


@dataclass(frozen=True, slots=True)
class ServerHello:
    """The server version of the session and the gateway's clock as it writes it.

    The zone at its end is free text. It may contain spaces and is not always UTF-8 (GB2312 was seen, rust-ibapi
    PR 364): undecodable bytes become replacement characters. It is printable (peer_text.py), as a client's options are.
    """

    server_version: int
    connection_time: str

    def encode(self) -> bytes:
        """The whole frame."""
        time = self.connection_time.encode("utf-8", "replace")
        return encode_frame(b"%d\0%s\0" % (self.server_version, time))

    @classmethod
    def decode(cls, data: bytes) -> ServerHello:
        """From the whole frame; WireError for anything else, also for a redirect."""
        hello = decode_server_hello(data)
        if isinstance(hello, Redirect):
            raise WireError(f"server hello: redirect to {hello.host}")
        return hello


@dataclass(frozen=True, slots=True)
class Redirect:
    """The gateway's "ask over there"; port None means: the same port."""

    host: str
    port: int | None = None

    @property
    def target(self) -> str:
        """host[:port]."""
        return self.host if self.port is None else f"{self.host}:{self.port}"

    def encode(self) -> bytes:
        """The whole frame."""
        return encode_frame(b"-1\0%s\0" % self.target.encode("utf-8", "replace"))


def decode_server_hello(data: Bytes) -> ServerHello | Redirect:
    """The gateway's first frame, length included and nothing after it."""
    data = bytes(data)
    if server_hello_end(data) != len(data) or not data:
        raise WireError(f"server hello: {len(data)} bytes are not one whole hello")
    fields = split_fields(data[LENGTH_SIZE:])
    if len(fields) != 2:
        raise WireError(f"server hello: {len(fields)} fields, 2 expected")
    version, rest = fields
    if version == b"-1":
        return _redirect(rest)
    if _VERSION.fullmatch(version) is None:
        raise WireError(f"server hello: the server version is no number ({peer_text.kind(version)})")
    return ServerHello(int(version), peer_text.text(rest, MAX_HELLO))


def _redirect(raw: bytes) -> Redirect:
    """host, host:port, or [v6]:port; more than one colon without brackets is a bare IPv6 address."""
    if not _TARGET.fullmatch(raw):
        raise WireError(f"server hello: redirect to what is no host ({peer_text.kind(raw)})")
    target = peer_text.text(raw)
    host, colon, port = target.rpartition(":")
    bare_v6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if colon and host and not bare_v6 and re.fullmatch(r"[0-9]{1,5}", port) and int(port) < 65536:
        return Redirect(host, int(port))
    return Redirect(target, None)


def client_hello_end(data: Bytes) -> int:
    """Length of the client hello `data` starts with; 0 = not whole yet, -1 = it can never be one."""
    head = bytes(data[:_CLIENT_HEADER])
    if not head.startswith(API_PREFIX[: len(head)]):
        return -1
    length = _announced(head[len(API_PREFIX) :])
    if length > MAX_HELLO or (len(head) == _CLIENT_HEADER and length < 2):
        return -1
    end = _CLIENT_HEADER + length
    return end if len(head) == _CLIENT_HEADER and len(data) >= end else 0


def server_hello_end(data: Bytes) -> int:
    """Length of the server hello `data` starts with; 0 = not whole yet, -1 = it can never be one.

    It looks at the length and the first byte only; `decode_server_hello` decides whether the two fields make sense.
    """
    head = bytes(data[: LENGTH_SIZE + 1])
    length = _announced(head[:LENGTH_SIZE])
    if length > MAX_HELLO or (len(head) >= LENGTH_SIZE and length < _MIN_SERVER_HELLO):
        return -1
    if len(head) > LENGTH_SIZE and head[LENGTH_SIZE] not in _SERVER_HELLO_FIRST:
        return -1
    end = LENGTH_SIZE + length
    return end if len(data) >= end and len(head) > LENGTH_SIZE else 0


def server_hello_length(data: Bytes) -> int | None:
    """Length of the whole server hello that begins with `data`; None where that cannot be told, or it is none."""
    if len(data) < LENGTH_SIZE or server_hello_end(data) < 0:
        return None
    return LENGTH_SIZE + _announced(bytes(data[:LENGTH_SIZE]))


def hello_part(came: int, length: int | None) -> str:
    """Of a server hello that did not come whole: how much did, for people."""
    if length is None:
        return f"{came} byte{'s' * (came != 1)} of the gateway's hello came"
    return f"{came} of {length} bytes of the gateway's hello came"


def _announced(length: bytes) -> int:
    """The smallest length that begins with these bytes."""
    return int.from_bytes(length.ljust(LENGTH_SIZE, b"\0"), "big")


class FirstBytes(Enum):
    """What the first bytes of a peer are."""

    MORE = "more"  # could still become an IB hello
    IB = "ib"
    LEGACY = "legacy"
    TLS = "tls"
    HTTP = "http"
    SSH = "ssh"
    VNC = "vnc"
    PROXY = "proxy"  # the PROXY protocol: a load balancer in front of us is configured to send its header
    TEXT = "text"
    GARBAGE = "garbage"


# First bytes of other protocols, requests and answers: a client may speak such a protocol to us, and a wrong upstream
# may answer in it. The beginning of a signature counts as well, from so many bytes on: a scanner that sends three
# letters should get a name too, and one letter or two line ends are anybody's.
_LETTERS = 3
_SIGNATURES = (
    (FirstBytes.TLS, 1, (b"\x16\x03", b"\x15\x03")),
    (
        FirstBytes.HTTP,
        _LETTERS,
        (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"PATCH ", b"TRACE "),
    ),
    (FirstBytes.HTTP, _LETTERS, (b"PRI * HTTP/2", b"HTTP/")),
    (FirstBytes.SSH, _LETTERS, (b"SSH-",)),
    (FirstBytes.VNC, _LETTERS, (b"RFB ",)),
    (FirstBytes.PROXY, _LETTERS, (b"PROXY ",)),
    (FirstBytes.PROXY, 5, (b"\r\n\r\n\0\r\nQUIT\n",)),
)
_TEXT = re.compile(rb"[\t\r\n\x20-\x7e]+")
_NAMED_BY = 6  # bytes; all signatures differ within them. The shortest answer of a stranger, a TLS alert, has seven
_LOOKED_AT = 64  # bytes; enough to tell text from garbage


def classify_first_bytes(data: Bytes) -> FirstBytes:
    """What the first bytes of a client are. IB only when its hello is whole and valid."""
    return _remembered(bytes(data)) if len(data) <= _LOOKED_AT else _classify(data)


def _classify(data: Bytes) -> FirstBytes:
    end = client_hello_end(data)
    if end > 0:
        try:
            ClientHello.decode(bytes(data[:end]))
        except WireError:
            return FirstBytes.GARBAGE
        return FirstBytes.IB
    if end == 0:
        started = bytes(data[_CLIENT_HEADER:LARGEST_CLIENT_HELLO])
        return FirstBytes.MORE if _RANGE_START.fullmatch(started) else FirstBytes.GARBAGE
    head = bytes(data[:_LOOKED_AT])
    if _LEGACY.match(head):
        return FirstBytes.LEGACY
    if _LEGACY_START.fullmatch(head):
        return FirstBytes.MORE
    return recognise(head)


# Clients of one kind always open with the same few bytes. The memory counts when a storm of them reconnects.
_remembered = lru_cache(maxsize=_REMEMBERED)(_classify)


def recognise(data: Bytes, *, answer: bool = False) -> FirstBytes:
    """The name of another protocol by its first bytes, TEXT or GARBAGE if none fits; never MORE, IB or LEGACY.

    Of an `answer` one letter is enough: nobody types there.
    """
    head = bytes(data[:_LOOKED_AT])
    if not head:
        return FirstBytes.GARBAGE
    for opening, least, signatures in _SIGNATURES:
        needed = 1 if answer and least == _LETTERS else least
        if len(head) >= needed and any(head[: len(signature)] == signature[: len(head)] for signature in signatures):
            return opening
    return FirstBytes.TEXT if _TEXT.fullmatch(head) else FirstBytes.GARBAGE


def no_hello(data: Bytes) -> str:
    """What a peer's first bytes are instead of a hello, as text for people."""
    opening = recognise(data[:_NAMED_BY], answer=True)
    if opening is FirstBytes.GARBAGE:
        return "first bytes are not an IB hello"
    return f"first bytes are {opening.value if opening is FirstBytes.TEXT else opening.value.upper()}, not an IB hello"


def name_is_final(data: Bytes) -> bool:
    """Does `no_hello` give the same text whatever follows these bytes?"""
    return len(data) >= _NAMED_BY or recognise(data, answer=True) is FirstBytes.GARBAGE
