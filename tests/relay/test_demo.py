"""relay/demo.py: the whole show, from the practice gateway to the next command."""

import io

import pytest

from relay.demo import run_demo
from relay.practice import Practice

SHOWN = [
    ("normal", ("session ready", "SPY", "the client closed its session", "ib-relay run")),
    ("reset-after-hello", ("gateway answered the hello", "reset by the gateway", "the gateway aborted (reset)")),
    ("client-id-in-use", ("326", "in use by another session", "the gateway closed the session after error 326")),
    ("close", ("it went no further", "closed by the gateway", "the gateway closed the session")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("behaviour", "words"), SHOWN, ids=[row[0] for row in SHOWN])
async def test_the_demo_shows_how_far_a_session_came_and_how_it_ended(behaviour, words):
    out = io.StringIO()
    await run_demo(Practice(behaviour=behaviour), 0.5, out)
    missing = [word for word in words if word not in out.getvalue()]
    assert not missing, out.getvalue()
