"""status tells where a job stands in line, while it does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from world import START, World

from reelkeeper import model


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
    """An estimate, as a time, so that it holds whenever the answer is read."""
    waits = {"status": model.QUEUED, "queue_position": 3, "starts_at": START + timedelta(minutes=7)}
    job = world.force(world.record(), stage=model.IN_LINE, **waits)
    assert world.get("status", job.job_id).json["estimated_start_at"] == "2026-11-20T09:07:00.000Z"
    world.force(job, stage="waiting")
    assert world.get("status", job.job_id).json["estimated_start_at"] is None
