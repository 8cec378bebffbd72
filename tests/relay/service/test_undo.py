"""relay/service/undo.py: the way back to the files of before, and signals that are an exception meanwhile."""

import asyncio
import os
import signal

import pytest

from relay.service import steps
from relay.service.undo import SIGNALS, EndSignal, Snapshot, interruptible, run_interruptible


def test_everything_that_differs_is_put_back_and_nothing_else_is_touched(tmp_path):
    same, changed, mode, gone = files = [tmp_path / name for name in ("same", "changed", "mode", "gone")]
    new, link = tmp_path / "new", tmp_path / "link"
    for path in files:
        path.write_text(f"{path.name} before")
        path.chmod(0o755)
    link.symlink_to(same)
    before = Snapshot([same, changed, mode, gone, new, link, same, tmp_path / "no" / "folder"])
    assert before.way_back() == []
    changed.write_text("after")
    mode.chmod(0o644)
    gone.unlink()
    new.write_text("after")
    link.unlink()
    link.symlink_to(changed)
    touched = same.stat().st_mtime_ns
    steps.perform(before.way_back(), lambda line: None)
    for path in files:
        assert (path.read_text(), path.stat().st_mode & 0o777) == (f"{path.name} before", 0o755)
    assert not new.exists() and link.readlink() == same and same.stat().st_mtime_ns == touched
    assert before.way_back() == []


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_an_exception_and_later_ones_are_not_heard(number):
    before = [signal.getsignal(each) for each in SIGNALS]
    heard = []
    with interruptible():
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        except EndSignal as interrupted:
            heard.append((str(interrupted), interrupted.code))
            for each in SIGNALS:
                os.kill(os.getpid(), each)
    assert heard == [(f"interrupted by {number.name}", 128 + number)]
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_any_moment_of_a_loop_is_raised_once_it_has_cleaned_up(number):
    """Raised where the handler runs, it would take a callback of asyncio's with it, and the end would be waited for."""
    before = [signal.getsignal(each) for each in SIGNALS]
    for round_ in range(50):
        cleaned = []

        async def work(cleaned=cleaned, moment=round_ % 5):
            try:
                for turn in range(100_000):
                    if turn == moment:
                        os.kill(os.getpid(), number)
                        os.kill(os.getpid(), number)  # and again: only the first one is heard
                    await asyncio.sleep(0)
            finally:
                await asyncio.sleep(0)
                cleaned.append(True)

        with interruptible(), pytest.raises(EndSignal, match=signal.Signals(number).name):
            run_interruptible(work())
        assert cleaned == [True]
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_without_a_signal_the_result_is_that_of_the_work():
    async def work():
        return 7

    assert run_interruptible(work()) == 7
