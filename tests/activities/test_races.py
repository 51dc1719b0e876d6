"""create, with several runs at once: of one job, and of twins that have the same prompt."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from explorer import DIE, DROP, LOSE, Explorer, Scene, story
from world import World

from activities.create import create_task
from reelkeeper import model
from reelkeeper.model import Job

CALLS = range(1, 11)
"""A run that submits calls its adapters ten times: get, watch, get, save, submit, get, save, claim, get, save."""


class Meeting:
    """Runs of one job on threads of their own, which wait for each other before some of their calls."""

    def __init__(self, world: World, calls: Sequence[int], runs: int = 2) -> None:
        self.answers: list[dict[str, Any]] = []
        self._world, self._runs = world, runs
        self._barriers = {call: threading.Barrier(runs) for call in calls}

    def hold(self, job: Job) -> None:
        threads = [threading.Thread(target=self._run, args=(job,)) for _ in range(self._runs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert len(self.answers) == self._runs

    def wait(self, call: int) -> None:
        if call in self._barriers:
            with suppress(threading.BrokenBarrierError):
                self._barriers[call].wait(timeout=30)

    def _run(self, job: Job) -> None:
        services, calls = self._world.services, itertools.count(1)
        doors: dict[str, Any] = {
            "jobs": _Door(services.jobs, self, calls),
            "watchdog": _Door(services.watchdog, self, calls),
            "claims": _Door(services.claims, self, calls),
            "providers": {"sora": _Door(self._world.provider, self, calls)},
        }
        try:
            self.answers.append(create_task(replace(services, **doors), {"owner": job.owner, "job_id": job.job_id}))
        finally:
            for barrier in self._barriers.values():  # who has ended makes no call any more
                barrier.abort()


class _Door:
    def __init__(self, adapter: Any, meeting: Meeting, calls: Iterator[int]) -> None:
        self._adapter, self._meeting, self._calls = adapter, meeting, calls

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._adapter, name)
        if not callable(real):
            return real

        def call(*args: Any) -> Any:
            self._meeting.wait(next(self._calls))
            return real(*args)

        return call


@pytest.mark.parametrize("calls", [*([call] for call in CALLS), CALLS], ids=[*map(str, CALLS), "all"])
def test_of_two_runs_at_once_one_submits_and_the_other_stands_back(calls: Sequence[int]) -> None:
    """Wherever they meet, the provider is asked once, and nobody disturbs the one who asks."""
    for _ in range(10):
        world = World()
        job = world.record()
        meeting = Meeting(world, calls)
        meeting.hold(job)
        assert len(world.provider.submitted) == 1
        now = world.now_as(job)
        assert (now.status, now.task_id, now.creates, now.attempts) == ("generating", "task_1", 1, 0)
        assert {"next": "watch"} in meeting.answers
        assert {answer["next"] for answer in meeting.answers} <= {"watch", "wait"}


def test_of_eight_runs_that_reconcile_at_once_none_submits() -> None:
    """They meet at the provider's list and behind it: all find the same task, and go on with it or look again."""
    for _ in range(10):
        world = World()
        job = world.record()
        world.provider.lose_answer = True
        world.create(job)
        world.clock.advance(seconds=60)
        meeting = Meeting(world, [4, 7], runs=8)
        meeting.hold(job)
        assert len(world.provider.submitted) == 1
        assert world.create(job) == {"next": "watch"}
        assert (world.now_as(job).task_id, world.now_as(job).creates) == ("task_1", 1)


# Step by step


@contextmanager
def played(**scene: Any) -> Iterator[Explorer]:
    """A play by hand; at its end everything must have come right."""
    explorer = Explorer(Scene(**scene))
    try:
        yield explorer
        explorer.recover()
        assert explorer.verdict() == [], story(explorer)
    finally:
        explorer.finish(DIE)


def pass_grace(play: Explorer) -> None:
    play.world.clock.moment += play.grace * 1.01


def test_a_reconciler_that_slept_does_not_take_the_post_from_a_later_run() -> None:
    """What it found out was about a submission that is over: the one under way now is not put back into the queue."""
    with played(jobs=1) as play:
        (job,) = play.jobs
        first = play.start(job).until("provider.submit")
        first.step(DROP)
        first.finish()
        pass_grace(play)
        asleep = play.start(job).until("provider.find")
        asleep.step()
        assert play.start(job).finish() == {"next": "wait", "seconds": 0}
        later = play.start(job).until("provider.answer")
        asleep.finish()
        assert play.world.now_as(job).status == model.SUBMITTING
        assert play.start(job).finish()["next"] == "wait"
        assert later.finish() == {"next": "watch"}


def test_a_claim_of_long_ago_does_not_bring_back_a_failed_task() -> None:
    """The task failed, was created anew, and is found again by its own job just when the old claimer wakes up."""
    with played(jobs=1, failures=1) as play:
        (job,) = play.jobs
        first = play.start(job).until("provider.answer")
        first.step(LOSE)
        first.finish()
        pass_grace(play)
        asleep = play.start(job).until("claims.claim")
        assert play.start(job).finish() == {"next": "watch"}
        play.failing(play.world.now_as(job))()
        play.world.clock.advance(seconds=30)
        second = play.start(job).until("provider.answer")
        second.step(LOSE)
        second.finish()
        pass_grace(play)
        finder = play.start(job).until("claims.claim")
        assert play.world.now_as(job).task_id == "task_1"
        asleep.finish()
        assert play.world.now_as(job).status == model.SUBMITTING
        assert finder.finish() == {"next": "watch"}
        assert play.world.now_as(job).task_id == "task_2"


def test_an_answer_that_comes_late_meets_its_own_task() -> None:
    """The list was faster: both speak of the same task."""
    with played(jobs=1) as play:
        (job,) = play.jobs
        slow = play.start(job).until("provider.answer")
        pass_grace(play)
        assert play.start(job).finish() == {"next": "watch"}
        assert slow.finish() == {"next": "watch"}
        assert play.world.now_as(job).creates == 1


def test_a_job_that_needs_no_task_any_more_takes_none_from_its_twin() -> None:
    """Its reconciler slept between the list and the claim; meanwhile the job was put back and submitted anew."""
    with played(jobs=2) as play:
        idle, busy = play.jobs
        first = play.start(idle).until("provider.submit")
        first.step(DROP)
        first.finish()
        pass_grace(play)
        early = play.start(idle).until("provider.find")
        early.step()
        twin = play.start(busy).until("provider.answer")
        asleep = play.start(idle).until("provider.find")
        asleep.step()
        assert early.finish() == {"next": "wait", "seconds": 0}
        assert asleep.finish() == {"next": "wait", "seconds": 0}
        assert twin.finish() == {"next": "watch"}


def test_a_worker_that_died_with_its_task_named_does_not_take_another_s() -> None:
    """An older one of its twin is free at the provider: the job holds what its record names, and leaves that one."""
    with played(jobs=2) as play:
        older, job = play.jobs
        lost = play.start(older).until("provider.answer")
        lost.step(LOSE)
        lost.finish()
        dying = play.start(job).until("claims.claim")
        assert play.world.now_as(job).task_id == "task_2"
        dying.step(DIE)
        pass_grace(play)
        assert play.start(job).finish() == {"next": "watch"}
        assert play.start(older).finish() == {"next": "watch"}
        assert [play.world.now_as(one).task_id for one in play.jobs] == ["task_1", "task_2"]
