"""Why systemd could not start the relay, or gave it up, in words: from the properties of the unit. Pure."""

from __future__ import annotations

from relay.config.limits import STARTS

# Exit codes of a start that did not come as far as the program: systemd.exec(5), "Process Exit Codes".
STARTS_WITHOUT_THE_PROGRAM = {
    "202": "LimitNOFILE= is too small for the descriptors of the sessions that are kept: `ib-relay service install` "
    "writes what they need; `systemctl stop` ends them",
    "203": "the program cannot be executed: its interpreter is gone or has changed; `ib-relay service install` again",
    "217": "the service's user cannot be had",
    "226": "the sandbox cannot be set up here",
    "228": "the system call filter cannot be set up here",
}
WRONG_CONFIGURATION = "78"  # RestartPreventExitStatus= of the unit


def why_it_does_not_run(state: str, status: str) -> str:
    """`ActiveState` and `ExecMainStatus` of the service as words, or "" where the log has them.

    The unit has Restart=always: nothing but a wrong configuration and the limit of starts leaves it failed. `Result` is
    no help: it stays what the last start ended with.
    """
    why = STARTS_WITHOUT_THE_PROGRAM.get(status, "")
    if state != "failed" or status == WRONG_CONFIGURATION:
        return why
    gave_up = f"systemd gave up after many starts in a row that failed ({STARTS} unless the unit was changed)"
    return f"{gave_up}: {why or 'the log says why'}; then `ib-relay service restart`"
