"""relay/net/busy_polling.py: windows that pay, and what may be spent in vain."""

import random

import pytest

from relay.net.busy_polling import BOUNDS, FIRST_WINDOW, REPLACED, SHARE, Arrivals, Budget, BusyPolling

US = 1e-6
LATER = 5_000 * US


def learnt(arrivals, gaps):
    for gap in gaps:
        arrivals.learn(gap)
    return arrivals


def window_after(*gaps):
    """Of a hundred arrivals, the gaps in turn, as microseconds."""
    return round(learnt(Arrivals(), [gaps[at % len(gaps)] * US for at in range(96)]).window / US)


def test_before_anything_is_known_there_is_a_window():
    assert Arrivals().window == FIRST_WINDOW


@pytest.mark.parametrize(
    ("gaps", "window"),
    [
        ((10,), 25),
        ((25,), 25),
        ((26,), 50),
        ((60, 90), 100),
        ((250,), 300),
        ((301,), 0),
        ((1_000_000,), 0),
        ((10, 10, 10, 45), 50),  # the few that come later are worth 25 us more
        ((10, LATER / US), 25),  # every second one: 100 us for 25
        ((10, *[LATER / US] * 3), 25),  # every fourth one: 100 us for 75
        ((10, *[LATER / US] * 7), 0),  # every eighth one: 100 us for 175
        ((250, LATER / US), 0),  # every second one: 100 us for 300
        ((250, 250, 250, 250, 250, 250, 250, LATER / US), 300),  # 700 us for 300
        ((10, 10, 250, LATER / US), 25),  # the third one would cost 300 us each time the fourth one comes
    ],
)
def test_the_window_is_the_one_that_pays_best(gaps, window):
    assert window_after(*gaps) == window


def test_a_window_that_pays_no_more_is_gone_soon_and_comes_back():
    arrivals = learnt(Arrivals(), [10 * US] * 1000)
    learnt(arrivals, [LATER] * 64)
    assert arrivals.window == 0
    assert learnt(arrivals, [10 * US] * 16).window == BOUNDS[0]


def test_four_sparse_ticks_end_the_first_window():
    assert learnt(Arrivals(), [1.0] * 3).window == FIRST_WINDOW
    assert learnt(Arrivals(), [1.0] * 4).window == 0


@pytest.mark.parametrize(
    ("mean", "polls"), [(15 * US, True), (60 * US, True), (1_000 * US, False), (5_000 * US, False)]
)
def test_irregular_arrivals_are_polled_for_where_they_come_soon(mean, polls):
    chance = random.Random(7)
    arrivals = Arrivals()
    windows = [learnt(arrivals, [chance.expovariate(1 / mean) for _ in range(8)]).window for _ in range(500)]
    assert sum((window > 0) == polls for window in windows) > 0.9 * len(windows)


def test_a_budget_is_a_share_of_the_time_and_saves_up_for_one_second():
    budget = Budget(0.02, now=100.0)
    assert budget.affords(0.02, 100.0), "a second's worth to begin with"
    assert not budget.affords(0.021, 100.0)
    budget.spend(0.02)
    assert not budget.affords(25 * US, 100.0)
    assert budget.affords(0.0099, 100.5)
    assert not budget.affords(0.0101, 100.5)
    assert not budget.affords(0.021, 5000.0), "no more than for a second"


@pytest.mark.parametrize("share", [0.01, SHARE])
def test_what_is_spent_in_vain_is_never_more_than_the_share_of_any_second(share):
    """Windows of every kind that never pay: the worst there is."""
    chance, now, spent = random.Random(3), 50.0, []
    budget = Budget(share, now)
    while now < 60.0:
        window = chance.choice(BOUNDS)
        if budget.affords(window, now):
            budget.spend(window)
            spent.append((now, window))
            now += window
        now += chance.uniform(0, 50 * US)
    assert sum(window for _, window in spent) > 9 * share, "it is used"
    for begin in range(50, 59):
        assert sum(window for at, window in spent if begin <= at < begin + 1) <= 2 * share + max(BOUNDS)


def test_until_when_to_poll():
    arrivals = Arrivals()
    assert BusyPolling(10.0).until(arrivals, 10.0) == 10.0 + FIRST_WINDOW
    assert BusyPolling(10.0, share=0.0).until(arrivals, 10.0) == 10.0, "nothing left to spend"
    assert BusyPolling(10.0, always=True, share=0.0).until(arrivals, 10.0) == float("inf")
    arrivals.window = 0.0
    assert BusyPolling(10.0).until(arrivals, 10.0) == 10.0


def test_without_a_window_one_sleep_in_eight_is_measured():
    policy, arrivals = BusyPolling(0.0), learnt(Arrivals(), [LATER] * 8)
    assert [policy.after(arrivals) for _ in range(16)] == [*[None] * 7, arrivals] * 2
    assert BusyPolling(0.0, always=True).after(arrivals) is arrivals
    assert policy.after(learnt(arrivals, [10 * US] * 8)) is arrivals


def test_what_came_is_learnt_from_later_and_once():
    policy, arrivals = BusyPolling(0.0), Arrivals()
    for _ in range(4):
        policy.came(arrivals, LATER, ready=True)
        assert arrivals.window == FIRST_WINDOW
        policy.learn()
        policy.learn()
    assert arrivals.window == 0


def test_a_sleep_that_a_timer_ended_soon_says_nothing():
    policy, arrivals = BusyPolling(0.0), Arrivals()
    for _ in range(8):
        policy.came(arrivals, 10 * US, ready=False)
        policy.learn()
    assert arrivals.window == FIRST_WINDOW
    for _ in range(8):
        policy.came(arrivals, LATER, ready=False)
        policy.learn()
    assert arrivals.window == 0


@pytest.mark.parametrize("gap", [60, 90, 120, 200, 290])
def test_a_peer_that_always_comes_just_in_time_costs_no_more_than_the_budget(gap):
    """Each poll is answered: beyond what a sleep and a wake-up take, that is paid from the budget, too."""
    policy, arrivals, now, beyond = BusyPolling(100.0), Arrivals(), 100.0, 0.0
    while now < 110.0:
        if policy.after(arrivals) is not None and policy.until(arrivals, now) >= now + gap * US:
            policy.answered(arrivals, gap * US)
            beyond += gap * US - REPLACED
        else:
            policy.came(arrivals, gap * US, ready=True)
        policy.learn()
        now += gap * US
    assert beyond <= 11 * SHARE + LATER


def test_one_half_of_the_budget_is_for_short_windows_only():
    policy, long, short = BusyPolling(100.0), Arrivals(), learnt(Arrivals(), [10 * US] * 4)
    assert short.window <= REPLACED < long.window
    while policy.until(long, 100.0) > 100.0:
        policy.in_vain(long.window)
    left = 0.0
    while policy.until(short, 100.0) > 100.0:
        policy.in_vain(short.window)
        left += short.window
    assert left == pytest.approx(SHARE / 2, abs=2 * FIRST_WINDOW)


def test_a_window_that_cannot_be_paid_is_closed_and_opened_again_by_what_is_measured():
    policy, arrivals = BusyPolling(100.0), learnt(Arrivals(), [250 * US] * 4)
    assert policy.until(arrivals, 100.0) > 100.0
    policy.in_vain(SHARE)
    assert (policy.until(arrivals, 100.0), arrivals.window) == (100.0, 0.0)
    assert rests(policy, arrivals) == 8
    assert policy.until(learnt(arrivals, [250 * US] * 8), 102.0) > 102.0


def rests(policy, arrivals):
    """Sleeps before the next one that is measured."""
    count = 1
    while policy.after(arrivals) is None:
        count += 1
    return count


def test_windows_that_never_pay_are_opened_ever_more_seldom():
    """As where relay and gateway share a core: asleep, the answer comes at once; awake, never."""
    policy, arrivals = BusyPolling(0.0), learnt(Arrivals(), [LATER] * 8)
    seen = []
    for _ in range(10):
        seen.append(rests(policy, arrivals))
        while not arrivals.window:
            arrivals.learn(10 * US)
        while arrivals.window:
            arrivals.learn(LATER)
    assert seen == [8, 16, 32, 64, 128, 256, 512, 1024, 1024, 1024]
    while not arrivals.window:
        arrivals.learn(10 * US)
    policy.answered(arrivals, 10 * US)
    while arrivals.window:
        arrivals.learn(LATER)
    rests(policy, arrivals)
    assert rests(policy, arrivals) == 8, "one answer, and it is as at first"
