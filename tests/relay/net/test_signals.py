"""relay/net/signals.py: held signals wait, and only the main thread takes any (upgrades: survival/test_survival.py)."""

import signal
import threading

import pytest

from relay.net.signals import SIGNALS, hold_signals, leave_to_main_thread, let_signals_in


@pytest.fixture
def heard():
    heard = []
    before = signal.signal(signal.SIGHUP, lambda number, frame: heard.append(number))
    yield heard
    let_signals_in()
    signal.signal(signal.SIGHUP, before)


def test_a_held_signal_is_heard_when_signals_are_let_in_again(heard):
    hold_signals()
    assert set(SIGNALS) <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
    signal.raise_signal(signal.SIGHUP)
    assert heard == []
    let_signals_in()
    assert heard == [signal.SIGHUP]


def test_another_thread_takes_none():
    masks = []

    def work():
        leave_to_main_thread()
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert set(SIGNALS) <= masks[0] and not set(SIGNALS) & signal.pthread_sigmask(signal.SIG_BLOCK, ())
