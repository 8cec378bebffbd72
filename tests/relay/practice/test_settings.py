"""Settings are checked when they are made."""

import pytest

from relay.practice import Practice


def test_settings_from_the_command_line_text():
    assert Practice.named("ticks=50", server_version=176) == Practice("ticks", 50.0, 176, ticks_per_second=50.0)
    assert Practice("slow-sync") == Practice("slow-sync", 5.0)
    both = Practice.named("live-account+outage=3")
    assert both == Practice("outage", 3.0, also=(("live-account", None),))
    assert both.plays("live-account") and both.plays("outage") and not both.plays("normal")
    assert (both.number_of("outage"), both.number_of("slow-hello")) == (3.0, 0.0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"behaviour": "lazy"}, "unknown behaviour 'lazy'"),
        ({"value": 3}, "normal takes no value"),
        ({"behaviour": "redirect"}, "needs a value"),
        ({"also": (("close", None),)}, "'close' cannot be played with another"),
        ({"also": (("slow-hello", -1.0),)}, "-1.0 is not between"),
        ({"server_version": 100}, "server version 100 is not between 124 and 226"),
        ({"server_version": 227}, "not between"),
        ({"accounts": ()}, "one or more names"),
        ({"accounts": ("DU1,DU2",)}, "letters and digits"),
        ({"ticks_per_second": -1}, "ticks_per_second -1"),
        ({"ticks_per_second": 1e9}, "ticks_per_second"),
    ],
)
def test_settings_nobody_can_play_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        Practice(**settings)
