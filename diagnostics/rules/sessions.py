"""Rules for the session (5xx), what IB behind the gateway has to say (7xx), and account, mode and rate (8xx)."""

from __future__ import annotations

from diagnostics.evidence import Outcome, Probe, Stage
from diagnostics.rules.rulebook import Found, Rule, at, names, seconds, told
from diagnostics.rules.seen import Seen, failure, ok

CLIENTS = 32  # at a time; IBKR's documentation of the API, page on connections

ID_IN_USE, TOO_FAST, PORT_CHANGED, READ_ONLY, COMPETING = 326, 100, 1300, 321, 10197
# Codes that something is lost, and those that it is back (relay.wire.codes); the later one of the two holds.
UPSTREAM = ({1100, 2110}, {1101, 1102})
FARMS = (({2103}, {2104}, "market data"), ({2105}, {2106}, "historical data"), ({2157}, {2158}, "contract data"))

_closed = at(Stage.START_API, Outcome.CLOSED, Outcome.RESET)
_closed_later = at(Stage.SYNC, Outcome.CLOSED, Outcome.RESET)
_start_timed_out = at(Stage.START_API, Outcome.TIMED_OUT)


def _id_in_use(seen: Seen) -> Found:
    found = at(Stage.START_API, Outcome.REFUSED)(seen)
    found += tuple(one for one in _with(seen, ID_IN_USE) if one not in found)
    mine = seen.evidence.asked.client_id
    which = "of this run" if mine is None else str(mine)
    return told(found, f"the gateway answered START_API with error 326: client id {which} is in use")


def _ghost(seen: Seen) -> Found:
    found = at(Stage.START_API, Outcome.REFUSED)(seen)
    host = seen.host(found)
    if not found or not host or not host.close_wait:
        return None
    return f"{names(found)}: the id is taken, and {host.close_wait} sockets on the port are in CLOSE_WAIT", found


def _start_closed(seen: Seen) -> Found:
    found, later = _closed(seen), _closed_later(seen)
    if found:
        how = "reset" if failure(found[0]).outcome is Outcome.RESET else "closed"
        return told(found, f"the hello was answered, START_API was not: {how}{_after(found, Stage.START_API)}")
    return told(later, "the session was ready, and the gateway ended the connection before it answered a request")


def _after(found: tuple[Probe, ...], stage: Stage) -> str:
    took = failure(found[0]).seconds
    return "" if took is None else f" {took * 1000:.0f} ms after it was sent"


def _start_silent(seen: Seen) -> Found:
    found = _start_timed_out(seen)
    if not found:
        return None
    missing = failure(found[0]).detail or f"order id and accounts did not both come{seconds(found, Stage.START_API)}"
    return told(found, f"the hello was answered{_version(found[0])}; after START_API: {missing}")


def _version(probe: Probe) -> str:
    return "" if probe.server_version is None else f" (server version {probe.server_version})"


def _partial_sync(seen: Seen) -> Found:
    found = tuple(one for one in at(Stage.SYNC, Outcome.TIMED_OUT)(seen) if ok(one, Stage.START_API))
    return told(found, f"order id and accounts came, the current time was not answered{seconds(found, Stage.SYNC)}")


def _client_limit(seen: Seen) -> Found:
    """As many established connections as the gateway takes, and a new one that gets nowhere."""
    for probe in seen.failing:
        host = seen.host((probe,))
        turned_away = failure(probe).stage in (Stage.QUIET, Stage.HELLO, Stage.START_API)
        if turned_away and host and (host.established or 0) >= CLIENTS:
            return f"{names((probe,))}: turned away, and {host.established} connections to the port are established", (
                probe,
            )
    return None


def _with(seen: Seen, *codes: int) -> tuple[Probe, ...]:
    return tuple(one for one in seen.judged if set(codes) & set(one.codes))


def _lost(codes: tuple[int, ...], lost: set[int], back: set[int]) -> int | None:
    """The code that says so, unless a later one says that it is back."""
    news = [code for code in codes if code in lost | back]
    return news[-1] if news and news[-1] in lost else None


def _upstream_lost(seen: Seen) -> Found:
    found = tuple(one for one in seen.judged if _lost(one.codes, *UPSTREAM))
    return told(found, f"the gateway says so itself (code {_lost(found[0].codes, *UPSTREAM)})") if found else None


def _farm_broken(seen: Seen) -> Found:
    for probe in seen.judged:
        broken = [(_lost(probe.codes, lost, back), what) for lost, back, what in FARMS]
        told_ = ", ".join(f"{what} ({code})" for code, what in broken if code)
        if told_:
            return told((probe,), f"reported as broken: {told_}")
    return None


def _coded(code: int, words: str) -> Rule:
    return lambda seen: told(_with(seen, code), words)


def _rate(seen: Seen) -> Found:
    return told(_with(seen, TOO_FAST), "the gateway sent error 100: more than 50 messages a second")


# Ports whose meaning is the same with IBKR's defaults and with every image that publishes them. 4003 and 4004 are not
# here: the first is live inside one image and this project's relay, of either kind, outside.
KIND_OF_PORT = {4001: "live", 7496: "live", 4002: "paper", 7497: "paper"}


def _paper_live_mix(seen: Seen) -> Found:
    mode = seen.fact("env.TRADING_MODE").lower()
    for probe in seen.judged:
        account = next(iter(probe.accounts), "")
        if not account:
            continue
        kind = "paper" if account.startswith("D") else "live"
        expected = KIND_OF_PORT.get(probe.route.port)
        if expected not in (None, kind):
            return told((probe,), f"{expected} by its port, and account {account} is a {kind} account")
        if mode in ("paper", "live") and mode != kind:
            return told((probe,), f"TRADING_MODE is {mode}, and account {account} is a {kind} account")
    return None


def _read_only(seen: Seen) -> Found:
    found = _with(seen, READ_ONLY)
    if found:
        return told(found, "error 321 came: a request is not valid, or the API is read-only")
    if seen.working and "write_access" in seen.evidence.log_states:
        return "the gateway's log has the dialog about write access of an API client", ()
    return None


SESSION_RULES: tuple[tuple[str, Rule], ...] = (
    ("IBD501", _id_in_use),
    ("IBD502", _start_closed),
    ("IBD503", _start_silent),
    ("IBD504", _partial_sync),
    ("IBD505", _client_limit),
    ("IBD506", _ghost),
    ("IBD701", _upstream_lost),
    ("IBD702", _farm_broken),
    ("IBD704", _coded(PORT_CHANGED, "the gateway announced that its API port has changed (1300)")),
    ("IBD801", _paper_live_mix),
    ("IBD802", _read_only),
    ("IBD803", _coded(COMPETING, "error 10197: market data are blocked by a competing live session")),
    ("IBD804", _rate),
)
