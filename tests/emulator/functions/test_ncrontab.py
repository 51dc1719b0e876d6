"""NCRONTAB schedules, against croniter as an oracle and against the rules in which NCrontab differs from it."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone

import pytest
from croniter import croniter

from emulator.functions.ncrontab import Schedule

FIELDS = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]
NAMES = {4: ["jan", "mar", "jun", "dec"], 5: ["sun", "wed", "fri", "sat"]}
MONDAY = datetime(2024, 1, 1)  # noqa: DTZ001 - schedules are read in local time


def random_field(dice: random.Random, index: int) -> str:
    """One field that croniter and NCrontab read in the same way."""
    low, high = FIELDS[index]
    first, last = sorted(dice.sample(range(low, high + 1), 2))
    choices = ["*", "*", f"*/{dice.randint(1, high - low)}", str(first), f"{first}-{last}", f"{first}/{last - first}"]
    choices += [f"{first}-{last}/{dice.randint(1, 5)}", f"{first},{last}", f"{first}-{last},{low}"]
    choices += [",".join(NAMES[index][:2]), NAMES[index][2]] if index in NAMES else []
    return dice.choice(choices)


@pytest.mark.parametrize("seed", range(4))
def test_random_expressions_occur_when_croniter_says(seed: int) -> None:
    """Of 750 random expressions per seed, each one's next two occurrences are the oracle's."""
    dice = random.Random(seed)
    for _ in range(750):
        expression = " ".join(random_field(dice, index) for index in range(6))
        after = datetime(2020, 1, 1) + timedelta(seconds=dice.randrange(10 * 365 * 86400))  # noqa: DTZ001
        # its own defaults would read seconds from the last field, and let either day field match
        oracle = croniter(expression, after, second_at_beginning=True, day_or=False)
        schedule = Schedule(expression)
        first = oracle.get_next(datetime)
        assert schedule.next(after) == first, (expression, after)
        assert schedule.next(first) == oracle.get_next(datetime), (expression, first)


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("0 */5 * * * *", "2024-01-01T00:00:00", "2024-01-01T00:05:00"),  # seconds come first
        ("*/5 * * * *", "2024-01-01T00:00:30", "2024-01-01T00:05:00"),  # five fields: second 0
        ("0 0 9 13 * 5", "2024-01-01T00:00:00", "2024-09-13T09:00:00"),  # a 13th AND a Friday
        ("0 0 0 29 2 *", "2024-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 0 29 2 1", "2024-03-01T00:00:00", "2044-02-29T00:00:00"),
        ("0 0 0 1 january *", "2024-01-01T00:00:00", "2025-01-01T00:00:00"),
        ("0 0 0 * D Su", "2024-01-01T00:00:00", "2024-12-01T00:00:00"),  # any prefix of a name
        ("0 30-10/10 * * * *", "2024-01-01T00:31:00", "2024-01-01T01:10:00"),  # a reversed range is swapped
        ("0 5-5 * * * *", "2024-01-01T00:00:00", "2024-01-01T00:05:00"),
        ("50/5 * * * * *", "2024-01-01T00:00:50", "2024-01-01T00:00:55"),  # n/step runs to the maximum
        ("59 59 23 31 12 *", "2024-12-31T23:59:59", "2025-12-31T23:59:59"),
        ("00:00:30", "2024-01-01T00:00:10", "2024-01-01T00:00:40"),  # a time span counts from the last run
        ("1.06:00:00", "2024-01-01T00:00:00", "2024-01-02T06:00:00"),
    ],
)
def test_schedule_occurs_by_ncrontabs_own_rules(expression: str, after: str, expected: str) -> None:
    """Each rule that cron dialects disagree on."""
    assert Schedule(expression).next(datetime.fromisoformat(after)) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * *", "six fields"),
        ("", "six fields"),
        ("every minute", "six fields"),
        ("60 * * * * *", "second field of a schedule allows 0 to 59, not 60"),
        ("* * 24 * * *", "hour field of a schedule allows 0 to 23"),
        ("* * * 0 * *", "day field of a schedule allows 1 to 31"),
        ("* * * * 13 *", "month field of a schedule allows 1 to 12"),
        ("* * * * * 7", "day-of-week field of a schedule allows 0 to 6, not 7"),
        ("* * * L * *", "day field of a schedule cannot be 'L'"),
        ("* * * * * 5#3", "day-of-week field '5#3' of a schedule is not understood"),
        ("* * * ? * *", "day field '\\?'"),
        ("* * * * foo *", "month field of a schedule cannot be 'foo'"),
        ("*/0 * * * * *", "second field '\\*/0'"),
        ("*-5 * * * * *", "second field"),
        ("1,,2 * * * * *", "second field"),
        ("-1 * * * * *", "second field"),
        ("00:00:00", "not a usable interval"),
        ("24:00:00", "d\\.hh:mm:ss for whole days"),
        ("00:60:00", "not a usable interval"),
    ],
)
def test_what_ncrontab_refuses_is_refused_by_name(expression: str, words: str) -> None:
    """The message names the field, what was given and what is allowed."""
    with pytest.raises(ValueError, match=words):
        Schedule(expression)


def test_schedule_that_never_occurs_says_so() -> None:
    """30 February is not searched for for ever."""
    with pytest.raises(ValueError, match="never occurs"):
        Schedule("0 0 0 30 2 *").next(MONDAY)


def test_occurrence_keeps_the_time_zone_and_drops_fractions() -> None:
    """Aware in, aware out; the result is a whole second later than the given moment."""
    after = datetime(2024, 1, 1, 0, 0, 0, 999_999, timezone(timedelta(hours=2)))
    assert Schedule("* * * * * *").next(after) == datetime(2024, 1, 1, 0, 0, 1, 0, timezone(timedelta(hours=2)))
    assert Schedule("* * * * * *").next(MONDAY) == MONDAY + timedelta(seconds=1)
