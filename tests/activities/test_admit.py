"""admit: what the gate said, in the record."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from world import World

from activities.admit import admit_job
from reelkeeper import model, policy
from reelkeeper.model import Job

ANSWER = {"admitted": False, "seconds": 12.5, "position": 7, "estimate": 300, "gate": "sora"}


def admit(world: World, job: Job, **changes: Any) -> dict[str, Any]:
    return admit_job(world.services, {**ANSWER, "owner": job.owner, "job_id": job.job_id, **changes})


def test_a_waiting_job_is_queued_at_its_position(world: World) -> None:
    """Status, position and the time of the next ask; the sweep looks minutes after that; nothing else changes."""
    job = world.record()
    assert admit(world, job) == {"next": "line", "seconds": 12.5}
    found = world.now_as(job)
    assert (found.status, found.stage, found.queue_position) == (model.QUEUED, model.IN_LINE, 7)
    again_at = world.clock.now() + timedelta(seconds=12.5)
    assert found.next_attempt_at == again_at
    assert world.watched()[job.job_id].due == again_at + policy.STEP_GRACE
    assert (found.attempts, found.fault, found.submitting_since) == (0, None, None)
    assert found.starts_at == world.clock.now() + timedelta(seconds=300)


def test_an_answer_of_an_earlier_version_without_an_estimate_is_read(world: World) -> None:
    """The first jobs have to end before anybody knows how long one takes."""
    job = world.record()
    admit(world, job)
    admit(world, job, estimate=None)
    assert world.now_as(job).starts_at is None


def test_each_answer_replaces_the_one_before(world: World) -> None:
    """Also when the same answer is written twice."""
    job = world.record()
    for position in (7, 7, 2):
        admit(world, job, position=position, seconds=position)
        world.clock.advance(seconds=position)
    found = world.now_as(job)
    assert (found.queue_position, found.next_attempt_at) == (2, world.clock.now())


@pytest.mark.parametrize("end", ["completed", "gone"])
def test_a_job_that_has_ended_stops(world: World, end: str) -> None:
    """It keeps its end and leaves the gate."""
    job = world.completed() if end == "completed" else world.record()
    if end == "gone":
        world.use(jobs=World().jobs)
    before = world.watched()
    assert admit(world, job) == {"next": "stop"}
    assert world.watched() == before
    if end == "completed":
        assert world.now_as(job) == job


@pytest.mark.parametrize("why", ["has a task", "is at another provider"])
def test_a_job_without_business_at_this_gate_is_looked_at_anew(world: World, why: str) -> None:
    """Another run of it was faster, or it went to another provider: nothing is written."""
    job = world.generating() if why == "has a task" else world.force(world.record(), provider="veo")
    assert admit(world, job) == {"next": "wait", "seconds": 0.0}
    assert world.now_as(job) == job
