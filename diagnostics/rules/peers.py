"""Rules for what answers behind an accepted connection (3xx), and whether it is an IB gateway (4xx)."""

from __future__ import annotations

from diagnostics.evidence import Outcome, Probe, Stage
from diagnostics.place.routes import is_loopback
from diagnostics.rules.rulebook import Found, Rule, at, counted, names, no_hello, refused, seconds, silent, told
from diagnostics.rules.seen import Seen, failure, name, ok

# 3xx: what is behind an accepted connection.

_ended_early = at(Stage.QUIET, Outcome.CLOSED, Outcome.RESET)


def _no_backend(seen: Seen) -> Found:
    found = _ended_early(seen)
    how = "reset" if found and failure(found[0]).outcome is Outcome.RESET else "closed"
    took = failure(found[0]).seconds if found else None
    after = "" if took is None else f" {took * 1000:.0f} ms after it was accepted"
    return told(found, f"connected, and {how}{after}, before a byte was said")


def _peer_rejected(seen: Seen) -> Found:
    """Turned away where another source address is not: by way of loopback the same machine's port answers."""
    ended = _ended_early(seen) + at(Stage.HELLO, Outcome.CLOSED, Outcome.RESET)(seen)
    inside = [one for one in seen.counted if is_loopback(one.address or "") and ok(one, Stage.HELLO)]
    found = tuple(one for one in ended if seen.is_local(one) and not is_loopback(one.address or ""))
    if not found or not inside:
        return None
    return f"{names(found)}: connected and closed; from 127.0.0.1 ({name(inside[0])}) the handshake works", found


def _silence(seen: Seen) -> Found:
    found = silent(seen)
    if not found:
        return None
    kernel = found[0].kernel
    arrived = "whether our bytes were acknowledged is not known"
    if kernel is not None and kernel.unacknowledged is not None:
        arrived = "our bytes were acknowledged"
    tries = f", {found[0].attempts} handshakes" if found[0].attempts > 1 else ""
    return told(found, f"connected, no byte in answer to the hello{seconds(found, Stage.HELLO)}{tries}; {arrived}")


def _wedged(seen: Seen) -> Found:
    """The gateway's own sockets: what it never accepted or never closed."""
    for probe in silent(seen):
        host, waiting = seen.host((probe,)), _waiting(seen, probe)
        left = (host.close_wait or 0) if host else 0
        if waiting or (left and not host.syn_sent):
            signs = [f"{counted(waiting, 'connection')} not accepted yet"] if waiting else []
            signs += [f"{counted(left, 'socket')} in CLOSE_WAIT"] if left else []
            return f"{name(probe)}: no answer to the hello, and on this machine {' and '.join(signs)}", (probe,)
    return None


def _waiting(seen: Seen, probe: Probe) -> int:
    """Connections to this address that the program has not accepted."""
    return sum(one.queue or 0 for one in seen.serving(probe))


def _proxy_dialing(seen: Seen) -> Found:
    """It accepts, so it is not the one that hangs; and it, or somebody beside it, dials such a port in vain."""
    found = tuple(one for one in silent(seen) if not _waiting(seen, one))
    host = seen.host(found)
    if found and host and host.syn_sent:
        return (
            f"{names(found)}: no answer to the hello, and a dial to such a port gets no answer here (SYN_SENT)",
            found,
        )
    if found and "forwarder_timed_out" in seen.evidence.log_states:
        return (
            f"{names(found)}: no answer to the hello, and the forwarder's log says that its own dial timed out",
            found,
        )
    return None


def _first_slow(seen: Seen) -> Found:
    found = tuple(one for one in seen.judged if one.attempts > 1 and ok(one, Stage.HELLO))
    return told(found, f"the first handshake got no answer, number {found[0].attempts} did") if found else None


def _never_opened(seen: Seen) -> Found:
    """Logged in says the log, nobody listens says the machine: only the two together."""
    if not {"configured", "logged_in"} & set(seen.evidence.log_states):
        return None
    found = tuple(one for one in refused(seen) if seen.listeners(one) == ())
    return told(found, "the log says that the login is complete, and nothing listens on the port on this machine")


# 4xx: the first bytes.


def _bad_peer(seen: Seen) -> tuple[Probe, ...]:
    return tuple(one for one in seen.failed_at(Stage.HELLO, Outcome.BAD_PEER) if one.redirect is None)


def _banner(seen: Seen) -> Found:
    spoke = tuple(one for one in seen.failed_at(Stage.QUIET, Outcome.BAD_PEER))
    spoke += tuple(one for one in _bad_peer(seen) if one.spoke_first or one.first_bytes in ("ssh", "vnc"))
    if not spoke:
        return None
    what = KNOWN.get(spoke[0].first_bytes or "", "bytes of no protocol known here")
    when = " before we had said anything" if spoke[0].spoke_first else ""
    return told(spoke, f"{what} came{when}")


KNOWN = {
    "http": "HTTP",
    "tls": "TLS",
    "ssh": "the greeting of an SSH server",
    "vnc": "the greeting of a VNC server",
    "text": "text",
}


def _not_ib(kind: str, words: str) -> Rule:
    def rule(seen: Seen) -> Found:
        return told(tuple(one for one in _bad_peer(seen) if one.first_bytes == kind and not one.spoke_first), words)

    return rule


def _closed_after_hello(seen: Seen) -> Found:
    found = at(Stage.HELLO, Outcome.CLOSED, Outcome.RESET)(seen)
    if not found:
        return None
    failed = failure(found[0])
    how = "reset" if failed.outcome is Outcome.RESET else "closed (FIN)"
    return told(found, f"quiet until our hello, then {how}{_after(failed.seconds)} without an answer")


def _after(seconds: float | None) -> str:
    """Whether it came at once tells more than anything else about such an end."""
    if seconds is None:
        return ""
    return f" after {seconds * 1000:.0f} ms" if seconds < 1.0 else f" after {seconds:.1f} s"


def _bad_frame(seen: Seen) -> Found:
    strange = tuple(
        one for one in _bad_peer(seen) if not one.spoke_first and one.first_bytes not in ("http", "tls", "ssh", "vnc")
    )
    strange += tuple(one for one in no_hello(seen) if one.bytes_received)
    strange += seen.failed_at(Stage.START_API, Outcome.BAD_PEER) + seen.failed_at(Stage.SYNC, Outcome.BAD_PEER)
    if not strange:
        return None
    failed = failure(strange[0])
    if failed.outcome is Outcome.TIMED_OUT:
        words = f"{counted(strange[0].bytes_received, 'byte')} came, and no whole hello{seconds(strange, Stage.HELLO)}"
    else:
        words = failed.detail or f"the bytes at {failed.stage.name} are not the IB protocol"
    return told(strange, words)


OLDEST_ACCEPTED = 157  # server version: MinClientVersion of ib_insync and ib_async client.py


def _old_server(seen: Seen) -> Found:
    found = tuple(one for one in seen.judged if one.server_version is not None and one.server_version < OLDEST_ACCEPTED)
    return told(found, f"server version {found[0].server_version}, below {OLDEST_ACCEPTED}") if found else None


def _redirected(seen: Seen) -> Found:
    found = tuple(one for one in seen.judged if one.redirect is not None)
    return told(found, f"the answer to the hello was: ask {found[0].redirect}") if found else None


PEER_RULES: tuple[tuple[str, Rule], ...] = (
    ("IBD301", _no_backend),
    ("IBD302", _peer_rejected),
    ("IBD303", _silence),
    ("IBD305", _wedged),
    ("IBD307", _proxy_dialing),
    ("IBD308", _first_slow),
    ("IBD310", _never_opened),
    ("IBD401", _banner),
    ("IBD402", _not_ib("http", "the answer to the hello was HTTP")),
    ("IBD403", _not_ib("tls", "the answer to the hello was TLS")),
    ("IBD404", _closed_after_hello),
    ("IBD405", _bad_frame),
    ("IBD406", _old_server),
    ("IBD407", _redirected),
)
