"""create under every schedule: runs of several jobs, deaths, lost answers and pauses, tried out by the thousand.

The promise: after recovery every job has one task, no task has two jobs, and nothing was paid for that no job has. A
cancelled job has none, and nothing runs on for it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from explorer import Chooser, Explorer, Scene, by_tape, every_play, play, story
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SCENES = {
    "one job": Scene(jobs=1, runs=6, troubles=3, pauses=4, failures=2),
    "twins": Scene(jobs=2, runs=6, troubles=3, pauses=4),
    "triplets": Scene(jobs=3, runs=8, troubles=4, pauses=4),
    "two pairs of twins": Scene(jobs=4, prompts=2, runs=9, troubles=4, pauses=4, failures=1),
    "failing twins": Scene(jobs=2, runs=8, troubles=3, pauses=5, failures=2),
    "clocks apart": Scene(jobs=2, runs=6, troubles=3, pauses=4, skew=0.07),
    "a slow list": Scene(jobs=2, runs=6, troubles=3, pauses=4, lag=0.14),
    "a provider behind its time": Scene(jobs=2, runs=6, provider_skew=timedelta(seconds=-119)),
    "a provider ahead of its time": Scene(jobs=2, runs=6, failures=1, provider_skew=timedelta(minutes=10)),
    "a fallback": Scene(jobs=2, runs=8, troubles=4, pauses=4, fallback=True),
    "a job that is cancelled": Scene(jobs=1, runs=6, troubles=3, pauses=4, failures=1, cancels=1),
    "twins, and one is cancelled": Scene(jobs=2, runs=7, troubles=3, pauses=4, cancels=1),
    "triplets, and two are cancelled": Scene(jobs=3, runs=8, troubles=4, pauses=4, failures=1, cancels=2),
    "a fallback and a cancel": Scene(jobs=2, runs=8, troubles=4, pauses=4, fallback=True, cancels=1),
    "no list": Scene(jobs=3, runs=8, troubles=4, pauses=4, lists=False),
}


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of plays would fill the report of a failure, which tells its own story."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def by_chance(seed: int) -> Chooser:
    """Mostly the plain moves, sometimes all alike; between 5 and 90 moves."""
    chance = random.Random(seed)
    bias, left = chance.choice([1.0, 1.5, 2.5, 4.0]), chance.randint(5, 90)

    def choose(count: int) -> int:
        nonlocal left
        left -= 1
        return -1 if left < 0 else int(count * chance.random() ** bias)

    return choose


def first_wrong(scene: Scene, plays: int, words: str = "", **parts: Any) -> Explorer | None:
    """The first of so many plays that goes wrong, in this way."""
    for seed in range(plays):
        explorer = play(scene, by_chance(seed), **parts)
        if any(words in line for line in explorer.verdict()):
            return explorer
    return None


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_no_schedule_by_chance_pays_twice_or_shares_a_task(scene: Scene) -> None:
    """Eighty plays of each scene; the same ones every time."""
    wrong = first_wrong(scene, 80)
    assert wrong is None, story(wrong)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=70), st.sampled_from(list(SCENES.values())))
def test_no_schedule_that_hypothesis_can_think_of_does(tape: bytes, scene: Scene) -> None:
    """The same with other schedules every time, and the shortest one told when something is wrong."""
    explorer = play(scene, by_tape(tape))
    assert explorer.verdict() == [], story(explorer)


@pytest.mark.parametrize(
    ("scene", "plays"),
    [
        (Scene(jobs=1, runs=2, switches=4, troubles=0, pauses=0), 500),
        (Scene(jobs=1, runs=3, switches=1, troubles=0, pauses=1, lengths=(1.01,)), 300),
        pytest.param(
            Scene(jobs=1, runs=2, switches=0, troubles=2, pauses=1, lengths=(1.01,)), 1500, marks=pytest.mark.slow
        ),
        pytest.param(
            Scene(jobs=2, runs=2, switches=0, troubles=1, pauses=1, lengths=(1.01,)), 1500, marks=pytest.mark.slow
        ),
        (Scene(jobs=1, runs=2, switches=1, troubles=0, pauses=1, lengths=(1.01,), cancels=1), 700),
        pytest.param(Scene(jobs=1, runs=2, switches=1, troubles=1, pauses=0, cancels=1), 900, marks=pytest.mark.slow),
    ],
    ids=["two runs", "a pause anywhere", "any two troubles", "any trouble of twins", "a cancel", "any trouble of one"],
)
def test_every_schedule_of_a_small_scene_is_good(scene: Scene, plays: int) -> None:
    """All interleavings of two runs (four switches); a sleep, one or two troubles, a cancel at every step."""
    count = 0
    for explorer in every_play(scene):
        count += 1
        assert explorer.verdict() == [], story(explorer)
    assert count >= plays


class GenerousClaims:
    """Every claim is granted to whoever asks."""

    def claim(self, place: str, task_id: str, job_id: str) -> str:
        return job_id


@pytest.mark.parametrize(
    ("scene", "parts", "words"),
    [
        (SCENES["twins"], {"claims": GenerousClaims()}, "a task has two jobs"),
        (Scene(jobs=2, runs=6, troubles=3, pauses=4, skew=0.45), {}, "tasks were paid for"),
        (Scene(jobs=2, runs=6, troubles=3, pauses=4, lag=1.6), {}, "tasks were paid for"),
        (Scene(jobs=1, runs=6, troubles=3, provider_skew=timedelta(minutes=-10)), {}, "tasks were paid for"),
    ],
    ids=["claims that hold nothing", "clocks too far apart", "too slow a list", "a provider in the past"],
)
def test_the_plays_can_go_wrong(scene: Scene, parts: dict[str, Any], words: str) -> None:
    """Where the ledger's assumptions do not hold it is found out: these are the windows that remain."""
    assert first_wrong(scene, 1500, words, **parts) is not None
