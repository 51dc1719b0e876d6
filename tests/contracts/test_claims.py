"""The contract of `TaskClaims`, on the fake and on Azure tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reelkeeper.records.base import TaskClaims


def test_a_task_belongs_to_the_job_that_claimed_it_first(claims: TaskClaims) -> None:
    """Whoever claims a task second is told the first job; the first may ask again and keeps it."""
    assert claims.claim("sora https://a", "task_1", "job-1") == "job-1"
    assert claims.claim("sora https://a", "task_1", "job-2") == "job-1"
    assert claims.claim("sora https://a", "task_1", "job-1") == "job-1"


def test_the_same_id_at_another_place_is_another_task(claims: TaskClaims) -> None:
    """Ids are unique at one provider only."""
    assert claims.claim("sora https://a", "task_1", "job-1") == "job-1"
    assert claims.claim("sora https://b", "task_1", "job-2") == "job-2"


@pytest.mark.parametrize("task_id", ["a/b\\c#d?e", "eyJ" + "x" * 5_000, "🎬", "o'clock"])
def test_ids_are_opaque(claims: TaskClaims, task_id: str) -> None:
    """Gateways pack whatever they like into an id, at any length."""
    assert claims.claim("p", task_id, "job-1") == "job-1"
    assert claims.claim("p", task_id, "job-2") == "job-1"


def test_of_racing_jobs_one_gets_the_task(claims: TaskClaims, race: Callable[..., list[Any]]) -> None:
    """Eight jobs claim one task at the same moment: all are told the same holder."""
    results = race(lambda number: claims.claim("p", "task_1", f"job-{number}"))
    assert len(set(results)) == 1
    assert results[0] in {f"job-{number}" for number in range(8)}
