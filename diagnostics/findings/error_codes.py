"""IB's error codes for people: of those of relay.wire.codes what to do, and which finding is about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One code: what it means for whom it happens to, and the finding's code; "" where there is none."""

    code: int
    means: str
    finding: str = ""


_SUBSCRIBE = "Subscribe the data for this user, for use by the API, or ask for delayed data (reqMarketDataType 3)."
_WAIT_FOR_FARM = "Requests that need it may stay unanswered. Wait for {back}; a new connection does not help."
_FARM_WORKS = "Requests made before it may have got no answer: ask again. It takes back {lost} for the same farm."
_OF_CLIENT = "Run ib-diagnose where the client runs: it says how far the way to the gateway works."

_ROWS = (
    ErrorCode(0, "Let the client send less than 45 messages a second; more than 50 bring code 100.", "IBD804"),
    ErrorCode(100, "Throttle the client to less than 45 messages a second, over all kinds of requests.", "IBD804"),
    ErrorCode(101, "Cancel subscriptions that are not needed."),
    ErrorCode(102, "Give each request an id of its own."),
    ErrorCode(103, "Start from the order id that the gateway gives at the start of a session, and count upwards."),
    ErrorCode(104, "Place a new order."),
    ErrorCode(109, "Correct the price, or the limit in the gateway's settings for orders."),
    ErrorCode(110, "Round the price to the step that the details of the contract name (minTick, market rules)."),
    ErrorCode(135, "The order has ended, is another client's, or never reached the gateway. Ask for the open orders."),
    ErrorCode(136, "The order has been filled or cancelled, or its exchange lets nobody cancel it now."),
    ErrorCode(
        162,
        "Read its text. No data: that range of time has none. Pacing: ask later, and less often. No permission: "
        "subscribe the data. The other requests go on.",
    ),
    ErrorCode(165, "Nothing to do; the text says what the data servers are doing."),
    ErrorCode(200, "The description of the contract fits none, or several. Correct symbol, exchange and currency."),
    ErrorCode(201, "The order was not accepted, for the reason in its text: margin, permissions, a price, a rule."),
    ErrorCode(202, "Expected after a cancel; else the exchange or IB has ended the order, and its text says why."),
    ErrorCode(300, "The subscription has ended already, or never was: usually a cancel that came too late."),
    ErrorCode(309, "Cancel market depth that is not needed."),
    ErrorCode(317, "Empty the order book that the client keeps, and go on: its rows come anew."),
    ErrorCode(
        320,
        "A field is wrong, or client and gateway disagree on the form of the message. Correct the request that its "
        "text names; if it is right, update the client library.",
    ),
    ErrorCode(
        321,
        "Read its text. Where it names read-only, switch Read-Only API off in the gateway if orders are wanted.",
        "IBD802",
    ),
    ErrorCode(322, "Its text says what is wrong: often an id that is in use, or too many requests at once."),
    ErrorCode(323, "Read its text. Correct the request that it names."),
    ErrorCode(
        326,
        "Use another client id, or end the program that has this one. After a crash the gateway may hold on to it.",
        "IBD501",
    ),
    ErrorCode(354, _SUBSCRIBE),
    ErrorCode(357, "Update the client library."),
    ErrorCode(366, "The query has ended already, or never was: usually a cancel that came too late."),
    ErrorCode(386, "Give each request an id of its own."),
    ErrorCode(399, "Nothing to do, or what its text says: often that the order waits until the exchange opens."),
    ErrorCode(404, "Wait, or cancel the order."),
    ErrorCode(420, "Ask later, and less often."),
    ErrorCode(435, "Name the account in the request: this login has several."),
    ErrorCode(436, "Name an account or a group in the order: this login has several."),
    ErrorCode(460, "Ask IB for the permission to trade it, on the website of the account."),
    ErrorCode(478, "Give the contract id alone, or correct the fields that its text names."),
    ErrorCode(501, "The program calls connect a second time. Disconnect first, or leave it out."),
    ErrorCode(502, f"The client got no connection. {_OF_CLIENT}"),
    ErrorCode(503, "The gateway is older than the request needs. Update the gateway.", "IBD406"),
    ErrorCode(504, "There is no connection, or none any more. The line before it says why. " + _OF_CLIENT),
    ErrorCode(505, "The gateway is newer than the client, or the stream is out of step. Update the client library."),
    ErrorCode(506, "Client and gateway have no version in common. Update the older of the two.", "IBD406"),
    ErrorCode(
        507,
        "The official client says so when the connection ends under it, after a client id in use as well. The log of "
        "the relay has who ended it.",
    ),
    ErrorCode(508, f"The client could not read a message. Update the client library. {_OF_CLIENT}"),
    ErrorCode(509, f"The connection broke. {_OF_CLIENT}"),
    ErrorCode(520, "The client's own machine has no socket left, or forbids it. The gateway was not asked."),
    ErrorCode(550, f"The connection ended before the session had begun. {_OF_CLIENT}"),
    ErrorCode(579, "Correct the symbol. Nothing was sent."),
    ErrorCode(588, "Update the client library. Nothing was sent."),
    ErrorCode(
        1100,
        "Do not reconnect: the gateway does it. No orders and no data pass until 1101 or 1102 comes.",
        "IBD701",
    ),
    ErrorCode(1101, "Subscribe all market data anew: what was subscribed before gives nothing any more.", "IBD701"),
    ErrorCode(1102, "Nothing to do: subscriptions go on.", "IBD701"),
    ErrorCode(1300, "Connect to the new port, which its text names.", "IBD704"),
    ErrorCode(2100, "Only one account's updates come at a time. Ask again for those that are wanted."),
    ErrorCode(2101, "Another client has the updates. Cancel them there first."),
    ErrorCode(2103, _WAIT_FOR_FARM.format(back="2104 for the same farm"), "IBD702"),
    ErrorCode(2104, _FARM_WORKS.format(lost="2103"), "IBD702"),
    ErrorCode(2105, _WAIT_FOR_FARM.format(back="2106 for the same farm"), "IBD702"),
    ErrorCode(2106, _FARM_WORKS.format(lost="2105"), "IBD702"),
    ErrorCode(2107, "Nothing to do: it is woken by the first request."),
    ErrorCode(2108, "Nothing to do: it is woken by the first request."),
    ErrorCode(2109, "The order was placed without that attribute. Leave it out, or check that it is not needed."),
    ErrorCode(2110, "Do not reconnect: the gateway does it. Wait for 1101 or 1102.", "IBD701"),
    ErrorCode(2119, "Nothing to do: 2104 follows when it works."),
    ErrorCode(2137, "Nothing to do if that is wanted. The gateway's settings for messages can switch the warning off."),
    ErrorCode(2148, "Read its text, and look at the margin of the account: positions may be closed by IB."),
    ErrorCode(2157, _WAIT_FOR_FARM.format(back="2158 for the same farm"), "IBD702"),
    ErrorCode(2158, _FARM_WORKS.format(lost="2157"), "IBD702"),
    ErrorCode(2168, "Leave the attribute out of the order, or update the client library."),
    ErrorCode(2169, "Leave the attribute out of the order, or update the client library."),
    ErrorCode(2174, "Name the zone in the request, or write the time in UTC as yyyymmdd-hh:mm:ss."),
    ErrorCode(2176, "Update the client library if fractional sizes are wanted."),
    ErrorCode(10089, f"Data that the platform shows may not be given out by the API. {_SUBSCRIBE}"),
    ErrorCode(10090, "The request goes on with what is subscribed; ticks that need more stay away."),
    ErrorCode(10091, f"The request goes on with what may be given out; other ticks stay away. {_SUBSCRIBE}"),
    ErrorCode(
        10147, "The order has ended, is another client's, or never reached the gateway. Ask for the open orders."
    ),
    ErrorCode(10148, "The order has ended or is being ended; its text names the state. Nothing to do if it is filled."),
    ErrorCode(10167, "Prices come, but delayed ones. Subscribe the data if live ones are wanted."),
    ErrorCode(10168, _SUBSCRIBE),
    ErrorCode(10182, "The updates of this request have ended. Ask for it again."),
    ErrorCode(10186, _SUBSCRIBE),
    ErrorCode(10187, _SUBSCRIBE),
    ErrorCode(10189, f"Close the other session if one has the data. {_SUBSCRIBE}"),
    ErrorCode(10190, "Cancel tick-by-tick subscriptions that are not needed."),
    ErrorCode(10197, "Close the other session, or subscribe market data for this user too.", "IBD803"),
    ErrorCode(10225, "Ask for the bars again."),
    ErrorCode(10314, "Write it as its text says: yyyymmdd hh:mm:ss and a time zone, or yyyymmdd-hh:mm:ss in UTC."),
)

ERROR_CODES: dict[int, ErrorCode] = {row.code: row for row in _ROWS}
