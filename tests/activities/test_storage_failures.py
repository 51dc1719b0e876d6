"""create, when our own storage fails at any of its steps, or only the storage's answer is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from losing import Searches, during, lost_answer
from world import START, World

from reelkeeper import ledger, model
from reelkeeper.errors import RecordConflict
from reelkeeper.model import Job
from reelkeeper.providers.memory import refusal


def fail_once(world: World, when: Callable[[Job], bool], *, saved: bool, error: Exception) -> None:
    """Let the first save of a job for which `when` holds go wrong, before or after it took effect."""
    save = world.jobs.save

    def save_or_fail(job: Job) -> Job:
        if not when(job):
            return save(job)
        world.jobs.save = save  # type: ignore[method-assign]
        if saved:
            save(job)
        raise error

    world.jobs.save = save_or_fail  # type: ignore[method-assign]


STEPS: dict[str, Callable[[Job], bool]] = {
    "begun": lambda job: job.status == model.SUBMITTING and job.task_id is None,
    "named": lambda job: job.status == model.SUBMITTING and job.task_id is not None,
    "held": lambda job: job.status == model.GENERATING,
}


@pytest.mark.parametrize("step", STEPS)
def test_a_save_whose_answer_was_lost_and_whose_retry_met_it_counts(world: World, step: str) -> None:
    """The storage library repeats a request by itself, and is refused by its own first one: the run goes on."""
    job = world.record()
    fail_once(world, STEPS[step], saved=True, error=RecordConflict("412"))
    assert world.create(job) == {"next": "watch"}
    assert len(world.provider.submitted) == 1
    assert (world.now_as(job).creates, world.now_as(job).attempts) == (1, 0)


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_storage_that_fails_at_any_step_costs_time_but_no_second_task(world: World, step: str, saved: bool) -> None:
    """Durable runs the step again; before the grace period is over only what the record already names is used."""
    job = world.record()
    fail_once(world, STEPS[step], saved=saved, error=OSError("storage is down"))
    with pytest.raises(OSError, match="storage is down"):
        world.create(job)
    answers = [world.create(job)]
    while answers[-1]["next"] == "wait":
        world.clock.advance(seconds=answers[-1]["seconds"])
        answers.append(world.create(job))
    assert answers[-1] == {"next": "watch"}
    assert len(world.provider.submitted) == 1
    at_once = step == "held" or (step, saved) in (("begun", False), ("named", True))
    assert (world.clock.now() == START) == at_once


@pytest.mark.parametrize("claimed", [False, True])
def test_a_claim_that_fails_is_made_by_the_next_run(world: World, claimed: bool) -> None:
    """The record names the task, so neither the grace period nor the list is needed."""
    job, searches = world.record(), Searches(world)
    claims = world.services.claims

    class Failing:
        def claim(self, *args: str) -> str:
            if claimed:
                claims.claim(*args)
            raise OSError("storage is down")

    world.use(claims=Failing())
    with pytest.raises(OSError, match="storage is down"):
        world.create(job)
    world.use(claims=claims)
    assert world.create(job) == {"next": "watch"}
    assert searches.since == []
    assert len(world.provider.submitted) == 1


@pytest.mark.parametrize("code", ["invalid_request", "moderation_input"])
def test_a_final_refusal_survives_a_lost_save(world: World, code: str) -> None:
    """The answer stands although the storage's word for it was lost."""
    job = world.record()
    world.provider.planned["submit"] = [refusal(code)]
    fail_once(world, lambda job: job.stage == ledger.REFUSED, saved=True, error=RecordConflict("412"))
    assert world.create(job)["fault"]["code"] == code
    world.clock.advance(hours=1)
    assert world.create(job)["fault"]["code"] == code
    assert world.provider.submitted == []


def test_a_search_that_fails_by_a_bug_sends_nothing(world: World) -> None:
    """Only the provider's own word that there is no task allows another POST."""
    job = lost_answer(world)
    during(world, "find", lambda: None, error=KeyError("data"))
    with pytest.raises(KeyError):
        world.create(job)
    assert len(world.provider.submitted) == 1
    assert world.create(job) == {"next": "watch"}
