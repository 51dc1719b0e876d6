"""status tells where a job stands in line, while it does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from world import START, World

from activities.admit import admit_job
from entities.gate import LATER
from reelkeeper import model
from reelkeeper.gate import Gate, Limits


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"status": model.QUEUED, "stage": model.IN_LINE, "queue_position": 3}, 3),
        ({"status": model.QUEUED, "stage": "waiting", "queue_position": 3}, None),
        ({"status": model.SUBMITTING, "stage": "submitting", "queue_position": 1}, None),
        ({}, None),
    ],
)
def test_the_position_is_shown_while_the_job_stands_in_line(world: World, changes: dict, shown: int | None) -> None:
    """From 1; null before, after, and while it waits for something else, whatever the record remembers."""
    job = world.force(world.record(), **changes)
    assert world.get("status", job.job_id).json["queue_position"] == shown
    assert world.gallery().json["items"][0]["queue_position"] == shown


def test_when_its_turn_may_come_is_shown_while_the_job_stands_in_line(world: World) -> None:
    """An estimate, as a time, so that it holds whenever the answer is read; the gate always has one."""
    waits = {"status": model.QUEUED, "queue_position": 3, "starts_at": START + timedelta(minutes=7)}
    job = world.force(world.record(), stage=model.IN_LINE, **waits)
    assert world.get("status", job.job_id).json["estimated_start_at"] == "2026-11-20T09:07:00.000Z"
    world.force(job, stage="waiting")
    assert world.get("status", job.job_id).json["estimated_start_at"] is None


def test_a_job_that_has_just_got_in_line_has_an_estimate(world: World) -> None:
    """From the gate's first answer on, when no task has ended yet and none is known to have begun."""
    gate, job = Gate(Limits(max_running=1), START), world.record()
    gate.stay("bob", "running", 60)
    answer = gate.ask(job.owner, job.job_id)
    admit_job(world.services, {**answer, "gate": "sora", "owner": job.owner, "job_id": job.job_id})
    assert world.get("status", job.job_id).json["estimated_start_at"] == "2026-11-20T09:02:00.000Z"
    admit_job(world.services, {**LATER, "gate": "sora", "owner": job.owner, "job_id": job.job_id})
    assert world.get("status", job.job_id).json["estimated_start_at"] == "2026-11-20T09:01:00.000Z"
