"""The signals a relay takes, who takes them, and the moment between two programs in which nobody could."""

from __future__ import annotations

import signal

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def hold_signals() -> None:
    """They wait until `let_signals_in`, in this program or in the one that takes its place by execve."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def leave_to_main_thread() -> None:
    """For every other thread: two that take signals would reorder SIGUSR1 and SIGTERM, and lose one at an execve."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def let_signals_in() -> None:
    """From now on they are taken, also those that have waited."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
