"""Who has to pass a gate: create, behind it."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "fakes"))

from world import World

from activities.create import create_task
from reelkeeper import model
from reelkeeper.admission import limits_of, only_admitted
from reelkeeper.gate import Gate, Limits
from reelkeeper.model import Job, Task
from reelkeeper.providers.base import Terms
from reelkeeper.providers.memory import refusal


@pytest.fixture
def world() -> World:
    """An app whose provider runs one task at a time."""
    made = World()
    made.provider.terms = Terms(max_running=1)
    return made


def create(world: World, job: Job, **more: Any) -> dict[str, Any]:
    return only_admitted(create_task)(world.services, {"owner": job.owner, "job_id": job.job_id, **more})


def test_limits_are_those_of_the_provider_s_terms(world: World) -> None:
    """A provider that is not configured has none."""
    world.provider.terms = Terms(max_running=3, creates_per_minute=9)
    assert limits_of(world.services, "sora") == Limits(3, 9)
    assert not limits_of(world.services, "veo")


@pytest.mark.parametrize("terms", [Terms(), Terms(retires_on=None, prices={"second": 1})])
def test_without_limits_create_is_what_it_was(world: World, terms: Terms) -> None:
    """The same answers, and not one read more."""
    world.provider.terms = terms
    job = world.record()
    reads: list[str] = []

    class Jobs:
        def __getattr__(self, name: str) -> Any:
            reads.append(name)
            return getattr(world.jobs, name)

    world.use(jobs=Jobs())
    assert create(world, job) == {"next": "watch"}
    behind_no_gate = len(reads)
    other = world.record()
    reads.clear()
    assert create_task(world.services, {"owner": other.owner, "job_id": other.job_id}) == {"next": "watch"}
    assert len(reads) == behind_no_gate


def test_nobody_posts_without_admission(world: World) -> None:
    """Whoever starts a job, with or without a gate in mind: the provider sees nothing before the gate was asked."""
    job = world.record()
    for work in ({}, {"admitted": True}, {"admitted": "veo"}):
        assert create(world, job, **work) == {"next": "admit", "gate": "sora"}
    assert world.now_as(job) == job
    assert create(world, job, admitted="sora") == {"next": "watch", "gate": "sora"}
    assert len(world.provider.submitted) == 1


def test_who_needs_no_post_needs_no_gate(world: World) -> None:
    """A restarted job with a task, with outputs or at its end gets its answer at once."""
    job = world.record()
    create(world, job, admitted="sora")
    assert create(world, job) == {"next": "watch", "gate": "sora"}
    world.provider.finish("task_1")
    world.poll(job)
    assert create(world, job) == {"next": "keep", "outputs": 1, "gate": "sora"}
    assert create(world, world.completed()) == {"next": "stop", "gate": "sora"}
    assert create(world, Job(**{**vars(job), "job_id": "gone"})) == {"next": "stop"}


def test_a_job_that_used_up_its_tries_needs_no_turn_to_fail(world: World) -> None:
    """It is settled at once."""
    job = world.force(world.record(), attempts=5, fault=refusal("provider_error").fault)
    assert create(world, job)["next"] == "settle"


@pytest.mark.parametrize(
    ("code", "seconds"), [("too_many_running", 15), ("rate_limited", 20), ("provider_error", 5)]
)  # fmt: skip
def test_a_refused_create_gives_its_place_back_and_says_why(world: World, code: str, seconds: float) -> None:
    """And until its time has come it neither asks the gate nor holds a place."""
    job = world.record()
    world.provider.planned["submit"] = [refusal(code)]
    answer = create(world, job, admitted="sora")
    assert answer == {"next": "wait", "seconds": seconds, "gate": "sora", "slot": "back", "code": code}
    assert create(world, job) == {"next": "wait", "seconds": seconds}
    world.clock.advance(seconds=seconds)
    assert create(world, job) == {"next": "admit", "gate": "sora"}


def test_a_job_that_is_deleted_during_its_create_gives_its_place_back(world: World) -> None:
    """Nobody will ever come again and say that it left."""
    job = world.record()
    submit = world.provider.submit

    def deleted_meanwhile(*given: Any) -> Task:
        world.jobs.delete(world.now_as(job))
        return submit(*given)

    world.provider.submit = deleted_meanwhile  # type: ignore[method-assign]
    answer = create(world, job, admitted="sora")
    assert (answer["next"], answer.get("slot", "leave")) == ("wait", "leave")


def test_an_unknown_outcome_keeps_its_place_until_it_is_known(world: World) -> None:
    """Then the place is given back without blame: the provider has not refused anything just now."""
    job = world.record()
    world.provider.planned["submit"] = [refusal("too_many_running", outcome_unknown=True)]
    assert create(world, job, admitted="sora")["slot"] == "stay"
    world.clock.advance(seconds=30)
    assert create(world, job)["slot"] == "stay"
    world.clock.advance(seconds=40)
    answer = create(world, job)
    assert {name: answer.get(name) for name in ("next", "seconds", "slot", "code")} == {
        "next": "wait", "seconds": 0.0, "slot": "back", "code": "",
    }  # fmt: skip


def cancelled(world: World, **changes: Any) -> Job:
    """A job that its owner cancelled while it stood in line."""
    now = world.clock.now()
    return world.force(world.record(), status=model.CANCELLED, stage="done", finished_at=now, **changes)


def test_an_admission_that_comes_too_late_is_waived(world: World) -> None:
    """The job was cancelled in line, so nothing was ever sent of it: as if it had not been admitted."""
    job = cancelled(world)
    assert create(world, job, admitted="sora") == {"next": "stop", "gate": "sora", "slot": "waive"}
    assert create(world, job) == {"next": "stop", "gate": "sora"}
    assert create(world, job, admitted="veo") == {"next": "stop", "gate": "sora"}
    world.jobs.delete(job)
    assert create(world, job, admitted="sora") == {"next": "stop", "slot": "waive"}
    assert world.provider.submitted == []


def test_an_admission_under_which_something_was_sent_counts(world: World) -> None:
    """A job that ended after its POST leaves, whatever became of that."""
    sent = cancelled(world, submit_run="run", submitting_since=world.clock.now())
    for job in (sent, world.completed()):
        assert create(world, job, admitted="sora") == {"next": "stop", "gate": "sora"}


def test_five_hundred_cancelled_jobs_do_not_use_up_the_rate(world: World) -> None:
    """All of them are admitted in one minute of ten creates, and another owner's jobs still find the ten."""
    world.provider.terms = Terms(creates_per_minute=10)
    gate = Gate(limits_of(world.services, "sora"), world.clock.now())
    for job in [cancelled(world) for _ in range(500)]:
        assert gate.ask(job.owner, job.job_id) == {"admitted": True}
        step = create(world, job, admitted="sora")
        getattr(gate, step.get("slot", "leave"))(job.owner, job.job_id)
    assert [gate.ask("bob", f"{number:02}")["admitted"] for number in range(11)] == [True] * 10 + [False]


def test_a_turn_that_comes_early_is_taken(world: World) -> None:
    """A job restarted in line need not wait for the moment at which it was to ask; a Retry-After it has to keep."""
    later = world.clock.now() + timedelta(seconds=50)
    in_line = world.force(world.record(), status=model.QUEUED, stage=model.IN_LINE, next_attempt_at=later)
    assert create(world, in_line) == {"next": "admit", "gate": "sora"}
    assert create(world, in_line, admitted="sora")["next"] == "watch"
    told = world.force(world.record(), status=model.QUEUED, stage="waiting", next_attempt_at=later)
    assert create(world, told) == {"next": "wait", "seconds": 50}
    assert create(world, told, admitted="sora")["next"] == "wait"
    assert len(world.provider.submitted) == 1
