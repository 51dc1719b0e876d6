"""Intervals and deadlines: the promised figures, and that no input breaks them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelkeeper import policy

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)

seconds = st.floats(min_value=0, max_value=7 * 86400)
counts = st.integers(min_value=0, max_value=1_000_000)


def polls_until(generated: float) -> list[float]:
    """When a watch looks at a task that needs `generated` seconds, up to the look that finds it done."""
    looks = [policy.poll_interval(0)]
    while looks[-1] < generated:
        looks.append(looks[-1] + policy.poll_interval(looks[-1]))
    return looks


def test_completion_is_noticed_in_time() -> None:
    """Within 30 % (or 5 s) below three minutes and 10 % from there up, whenever a generation ends."""
    too_late = []
    for generated in range(1, 3601):
        late = polls_until(generated)[-1] - generated
        if late > (0.1 * generated if generated >= 180 else max(5.0, 0.3 * generated)):
            too_late.append((generated, late))
    assert too_late == []


def test_a_task_is_never_watched_too_closely_or_forgotten() -> None:
    """Two to thirty seconds lie between two looks, hour after hour."""
    looks = polls_until(3 * 3600)
    assert all(2 <= later - earlier <= 30 for earlier, later in pairwise([0.0, *looks]))


def test_a_three_minute_generation_costs_at_most_sixteen_polls() -> None:
    """Neither 180 s nor any shorter generation takes more."""
    assert max(len(polls_until(generated)) for generated in range(1, 181)) <= 16


@given(seconds, st.none() | st.floats(min_value=0, max_value=1e9) | st.just(float("inf")))
def test_the_poll_interval_obeys_the_provider_up_to_an_hour(elapsed: float, retry_after: float | None) -> None:
    """Never sooner than asked, never later than 30 s or what was asked, and never later than an hour."""
    interval, own = policy.poll_interval(elapsed, retry_after), policy.poll_interval(elapsed)
    assert 2 <= own <= 30
    assert interval == min(max(own, retry_after or 0.0), policy.LONGEST_WAIT)


@pytest.mark.parametrize("elapsed", [-5.0, -1e9])
def test_a_clock_that_went_back_does_not_hurry_the_watch(elapsed: float) -> None:
    """A negative elapsed time counts as none."""
    assert policy.poll_interval(elapsed) == policy.poll_interval(0)
    assert policy.progress("running", elapsed) == 10


@given(seconds, counts)
def test_an_unclear_provider_is_asked_less_and_less_often(elapsed: float, misses: int) -> None:
    """However long an outage lasts there is an interval; it never shrinks as misses add up, and 30 s is its end."""
    interval = policy.unclear_poll_interval(elapsed, misses)
    assert policy.poll_interval(elapsed) <= interval <= policy.unclear_poll_interval(elapsed, misses + 1) <= 30
    assert policy.unclear_poll_interval(elapsed, misses, 600.0) == 600.0


def test_the_first_misses_wait_five_ten_twenty_and_thirty_seconds() -> None:
    """The steps of the back-off at the start of a task."""
    assert [policy.unclear_poll_interval(0, misses) for misses in (1, 2, 3, 4, 5)] == [5, 10, 20, 30, 30]


@pytest.mark.parametrize(
    ("misses", "over", "lost"),
    [
        (4, timedelta(hours=3), False),
        (5, timedelta(seconds=119), False),
        (5, timedelta(minutes=2), True),
        (900, timedelta(seconds=119), False),
        (6, timedelta(minutes=3), True),
    ],
)
def test_a_task_is_lost_after_five_misses_over_two_minutes(misses: int, over: timedelta, lost: bool) -> None:
    """Both must be reached: a server that restarts answers 404 many times within seconds."""
    assert policy.is_lost(misses, NOW, NOW + over) is lost


def test_five_unanswered_looks_take_longer_than_the_two_minutes_or_are_repeated() -> None:
    """A task whose every look misses is given up in finite time, at the earliest after two minutes."""
    now, misses, elapsed = NOW, 1, 60.0
    while not policy.is_lost(misses, NOW, now):
        wait = policy.unclear_poll_interval(elapsed, misses)
        now, misses, elapsed = now + timedelta(seconds=wait), misses + 1, elapsed + wait
    assert timedelta(minutes=2) <= now - NOW <= timedelta(minutes=3)


@pytest.mark.parametrize(
    ("code", "attempts", "retry_after", "wait"),
    [
        ("provider_error", 1, None, 5),
        ("provider_error", 2, None, 10),
        ("provider_error", 4, None, 40),
        ("provider_error", 5, None, 60),
        ("provider_error", 5000, None, 60),
        ("provider_error", 0, None, 5),
        ("provider_error", 1, 90, 90),
        ("rate_limited", 1, None, 20),
        ("rate_limited", 5000, None, 20),
        ("rate_limited", 1, 3, 20),
        ("rate_limited", 1, 45, 45),
        ("too_many_running", 7, None, 15),
        ("too_many_running", 1, float("inf"), 3600),
    ],
)
def test_a_refused_create_waits_by_its_kind(code: str, attempts: int, retry_after: float | None, wait: float) -> None:
    """The provider's own figure counts where it is longer than ours, up to an hour."""
    assert policy.create_wait(code, attempts, retry_after) == wait


@given(st.timedeltas(min_value=timedelta(hours=-1), max_value=timedelta(days=30)), st.floats(0.01, 720))
def test_a_task_is_kept_as_long_as_the_provider_says(left: timedelta, hours: float) -> None:
    """JOB_DEADLINE_HOURS counts, from the task's creation, only where the provider names no end."""
    deadline = timedelta(hours=hours)
    assert policy.kept_until(NOW + left, NOW, deadline) == NOW + left
    assert policy.kept_until(None, NOW, deadline) == NOW + deadline


def test_downloads_back_off_from_five_minutes_to_four_hours() -> None:
    """5, 15, 45 min, 2 h 15, then 4 h for ever, when the provider keeps the file long enough."""
    far = NOW + timedelta(days=90)
    waits = [(policy.next_download_at(attempts, NOW, far) - NOW) // MINUTE for attempts in (0, 1, 2, 3, 4, 5, 6, 10**6)]
    assert waits == [5, 5, 15, 45, 135, 240, 240, 240]
    assert policy.next_download_at(9, NOW, None) == NOW + timedelta(hours=4)


@given(counts, st.timedeltas(min_value=timedelta(days=-2), max_value=timedelta(days=60)))
def test_no_download_is_planned_behind_the_last_call(attempts: int, left: timedelta) -> None:
    """While the last call is ahead nothing is planned behind it; after it there is a try every 5 min until expiry."""
    expires_at = NOW + left
    planned = policy.next_download_at(attempts, NOW, expires_at)
    assert NOW < planned <= NOW + timedelta(hours=4)
    if left > 10 * MINUTE:
        assert planned <= expires_at - 10 * MINUTE
    elif left > timedelta(0):
        assert planned == min(NOW + 5 * MINUTE, expires_at)


def test_a_file_that_never_comes_is_tried_to_the_end_of_its_window() -> None:
    """Over a day of failures: few tries, the last ones in the final ten minutes, and then no more before expiry."""
    now, expires_at = NOW, NOW + timedelta(hours=24)
    tries: list[int] = []
    while now < expires_at:
        now = policy.next_download_at(len(tries) + 1, now, expires_at)
        tries.append((expires_at - now) // MINUTE)
    assert tries[-3:] == [10, 5, 0]
    assert len(tries) <= 13


@given(st.lists(seconds, min_size=2, max_size=8))
def test_progress_grows_with_time_and_never_claims_the_end(moments: list[float]) -> None:
    """Ordered by time the estimates are ordered too, from 10 to 90 while it runs; waiting in the queue shows 5."""
    shown = [policy.progress("running", moment) for moment in sorted(moments)]
    assert shown == sorted(shown)
    assert shown[0] >= 10
    assert shown[-1] <= 90
    assert policy.progress("queued", moments[0]) == policy.progress("preprocessing", moments[0]) == 5
