"""relay/wire/more_codes.py: short words for each code, and none twice."""

import pytest

from relay.wire.codes import CODES, Kind
from relay.wire.heard import code_said
from relay.wire.more_codes import more_codes


def test_every_code_has_one_short_line():
    rows = list(more_codes())
    assert len({code for code, _ in rows}) == len(rows)
    for code, meaning in rows:
        assert meaning == meaning.strip() and 0 < len(meaning) <= 90 and meaning[-1] not in ".;"
        assert CODES[code].meaning == meaning, "codes.py has no row of its own for it"
        assert CODES[code].kind in (Kind.REQUEST, Kind.CLIENT_MADE, Kind.INFORMATIONAL)


@pytest.mark.parametrize(
    "code, said",
    [
        (110, "110 (order price is no multiple of the contract's price step)"),
        (136, "136 (order can no longer be cancelled)"),
        (300, "300 (no market data subscription with this id)"),
        (317, "317 (market depth starts anew: rows received so far are void)"),
        (320, "320 (gateway could not read a request)"),
        (322, "322 (gateway could not process a request; the text says why)"),
        (399, "399 (note about an order; the text says what)"),
        (435, "435 (request must name one account)"),
        (545, "545 (client: could not send a request; the text says which)"),
        (2137, "2137 (order turns the position from long to short, or back)"),
        (2148, "2148 (margin may not suffice)"),
        (2168, "2168 (order attribute eTradeOnly is no longer known)"),
        (2169, "2169 (order attribute firmQuoteOnly is no longer known)"),
        (10147, "10147 (order to cancel was not found)"),
        (10148, "10148 (order to cancel is in a state in which it cannot be)"),
        (10314, "10314 (end date, time or zone is not valid)"),
        (77777, "77777"),
    ],
)
def test_a_line_of_the_log_has_the_words(code, said):
    assert code_said(code) == said
