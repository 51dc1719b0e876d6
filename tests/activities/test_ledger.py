"""create, when nobody knows what became of the POST: reconciling, and the fence before a second one."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from losing import GRACE, LOST, Searches, dropped_post, during, lost_answer
from world import START, World

from reelkeeper import ledger, model, policy
from reelkeeper.model import Job
from reelkeeper.providers.memory import refusal

# Waiting for the POST to be over


def test_a_lost_answer_is_told_and_looked_into_after_the_grace_period(world: World) -> None:
    """The record says what it waits for, the orchestration waits that long, the watchdog a little longer."""
    job = world.record()
    world.provider.lose_answer = True
    world.clock.advance(seconds=5)
    assert world.create(job) == {"next": "wait", "seconds": 60}
    now, ready = world.now_as(job), START + timedelta(seconds=65)
    assert (now.status, now.stage, now.task_id, now.next_attempt_at) == ("submitting", "reconciling", None, ready)
    assert now.fault == LOST.fault
    assert world.watched()[job.job_id].due == ready + policy.STEP_GRACE


def test_the_grace_period_begins_when_the_post_is_over(world: World) -> None:
    """A POST that broke off after half a minute leaves the provider the whole time to list its task."""
    job = world.record()
    during(world, "submit", lambda: world.clock.advance(seconds=27), error=LOST)
    assert world.create(job) == {"next": "wait", "seconds": 60}
    world.clock.advance(seconds=59)
    assert world.create(job) == {"next": "wait", "seconds": 1}
    world.clock.advance(seconds=1)
    assert world.create(job) == {"next": "watch"}
    assert len(world.provider.submitted) == 1


@pytest.mark.parametrize("passed", [0, 1, 59.999])
def test_nothing_is_asked_and_nothing_sent_while_the_post_may_be_under_way(world: World, passed: float) -> None:
    """Another run's POST has its time: whoever comes meanwhile waits for the rest of it."""
    job = world.record()
    during(world, "submit", lambda: None, error=RuntimeError("the worker died here"))
    with pytest.raises(RuntimeError):
        world.create(job)
    searches, before = Searches(world), world.now_as(job)
    world.clock.advance(seconds=passed)
    assert world.create(job) == {"next": "wait", "seconds": pytest.approx(60 - passed)}
    assert (searches.since, len(world.provider.submitted)) == ([], 1)
    assert world.now_as(job) == before
    assert world.watched()[job.job_id].due == START + GRACE + policy.STEP_GRACE


def test_the_grace_period_is_a_setting() -> None:
    """SUBMIT_GRACE_SECONDS is how long a POST without an answer is left alone."""
    world = World(SUBMIT_GRACE_SECONDS="7")
    job = world.record()
    world.provider.lose_answer = True
    assert world.create(job) == {"next": "wait", "seconds": 7}
    world.clock.advance(seconds=6.9)
    assert world.create(job)["next"] == "wait"
    world.clock.advance(seconds=0.1)
    assert world.create(job) == {"next": "watch"}


def test_a_process_that_slept_before_its_post_does_not_send_it(world: World) -> None:
    """A quarter into the grace period is too late: the job goes back to the queue, for free and at once."""
    job = world.record()
    save = world.jobs.save

    def save_and_sleep(job: Job) -> Job:
        saved = save(job)
        world.jobs.save = save  # type: ignore[method-assign]
        world.clock.advance(seconds=15.1)
        return saved

    world.jobs.save = save_and_sleep  # type: ignore[method-assign]
    assert world.create(job) == {"next": "wait", "seconds": 5}
    assert world.provider.submitted == []
    now = world.now_as(job)
    assert (now.status, now.attempts, now.submit_run) == ("queued", 0, None)
    world.clock.advance(seconds=5)
    assert world.create(job) == {"next": "watch"}


# Reconciling


def test_the_task_of_a_lost_answer_is_adopted(world: World) -> None:
    """Nothing is paid again; the job looks as if the answer had come."""
    job = lost_answer(world)
    world.clock.advance(hours=2)
    assert world.create(job) == {"next": "watch"}
    now = world.now_as(job)
    assert (now.status, now.task_id, now.place, now.creates) == ("generating", "task_1", "memory sora", 1)
    assert (now.attempts, now.fault, now.next_attempt_at, now.stage) == (0, None, None, "queued")
    assert (now.generating_since, now.expires_at) == (START, START + timedelta(hours=24))
    assert len(world.provider.submitted) == 1


def test_the_deadline_of_an_adopted_task_counts_from_its_creation() -> None:
    """It was made hours ago and is not kept longer for having been found late."""
    world = World(JOB_DEADLINE_HOURS="10")
    world.provider.keeps = None
    job = lost_answer(world)
    world.clock.advance(hours=3)
    world.create(job)
    assert world.now_as(job).expires_at == START + timedelta(hours=10)


def test_the_search_looks_back_as_far_as_a_slow_clock_may_go(world: World) -> None:
    """Two minutes before the submission, whenever the search is made."""
    job, searches = dropped_post(world), Searches(world)
    world.clock.advance(hours=1)
    world.create(job)
    assert searches.since == [START - policy.CLOCK_SKEW]


def test_a_post_without_effect_is_sent_again_at_once(world: World) -> None:
    """The list does not have the task: the job is queued, keeps its count and its fault, and begins anew."""
    job = dropped_post(world)
    assert world.create(job) == {"next": "wait", "seconds": 0}
    now = world.now_as(job)
    assert (now.status, now.stage, now.attempts, now.fault) == ("queued", "waiting", 1, LOST.fault)
    assert now.next_attempt_at == world.clock.now()
    assert world.create(job) == {"next": "watch"}
    assert len(world.provider.submitted) == 1


def test_posts_without_effect_are_bounded(world: World) -> None:
    """Five of them, each followed by a look into the list, and the job fails with the last one's words."""
    job, answers = world.record(), []
    world.provider.planned["submit"] = [LOST] * 9
    for _ in range(3 * policy.MAX_CREATE_TRIES):
        answers.append(world.create(job))
        world.clock.advance(seconds=answers[-1].get("seconds", 0))
        if answers[-1]["next"] == "settle":
            break
    seen = ["queued", None]
    assert answers[-1] == {"next": "settle", "status": "failed", "fault": LOST.fault.to_dict(), "seen": seen}
    assert len(world.provider.planned["submit"]) == 9 - policy.MAX_CREATE_TRIES
    assert world.create(job) == answers[-1], "whoever repeats the step gives the same answer"


def test_a_worker_that_dies_again_and_again_before_its_post_is_told_as_such(world: World) -> None:
    """No provider ever refused it: the fault speaks of the work breaking off."""
    job = world.force(world.record(), status=model.QUEUED, attempts=policy.MAX_CREATE_TRIES)
    answer = world.create(job)
    assert (answer["next"], answer["fault"]["code"]) == ("settle", "provider_error")
    assert "broke off" in answer["fault"]["message"]


def test_tasks_of_other_jobs_are_passed_over(world: World) -> None:
    """Twins with the same prompt have theirs claimed; the job's own comes behind them."""
    twins = [world.generating() for _ in range(3)]
    job = lost_answer(world)
    assert world.create(job) == {"next": "watch"}
    assert world.now_as(job).task_id == "task_4"
    assert [world.now_as(twin).task_id for twin in twins] == ["task_1", "task_2", "task_3"]


def test_of_twins_without_answers_each_gets_one_task(world: World) -> None:
    """Which one does not matter, as long as no task has two jobs and none is made twice."""
    jobs = [world.record() for _ in range(4)]
    for job in jobs:
        world.provider.lose_answer = True
        world.create(job)
    world.clock.advance(seconds=60)
    for job in reversed(jobs):
        assert world.create(job) == {"next": "watch"}
    assert {world.now_as(job).task_id for job in jobs} == {f"task_{number}" for number in (1, 2, 3, 4)}
    assert len(world.provider.submitted) == 4


def test_a_twin_whose_post_never_arrived_does_not_keep_the_other_s_task_from_it(world: World) -> None:
    """One without a task may find its twin's first: the twin then finds none and is sent again; two tasks in all."""
    idle, busy = dropped_post(world), world.record()
    during(world, "submit", lambda: world.create(idle))
    assert world.create(busy) == {"next": "wait", "seconds": 60}
    assert world.now_as(idle).task_id == "task_1"
    now = world.now_as(busy)
    assert (now.status, now.stage, now.task_id, now.creates) == ("submitting", "reconciling", None, 0)
    world.clock.advance(seconds=60)
    assert world.create(busy) == {"next": "wait", "seconds": 0}
    assert world.create(busy) == {"next": "watch"}
    assert world.now_as(busy).task_id == "task_2"
    assert len(world.provider.submitted) == 2


def test_a_failed_task_of_the_same_job_is_not_found_again(world: World) -> None:
    """It was created anew, and that answer was lost: the new task is the one, not the old."""
    job = world.generating()
    world.provider.fail("task_1", "provider_error")
    world.clock.advance(seconds=world.poll(job)["seconds"])
    world.provider.lose_answer = True
    world.create(job)
    world.clock.advance(seconds=60)
    assert world.create(job) == {"next": "watch"}
    assert (world.now_as(job).task_id, world.now_as(job).creates) == ("task_2", 2)
    assert len(world.provider.submitted) == 2


# What happens meanwhile


def test_a_job_that_ends_during_its_post_stays_ended(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Its task is paid for and nobody's: the log says which, and a twin may have it."""
    job, twin, status = world.record(), dropped_post(world), model.FAILED
    during(world, "submit", lambda: world.force(job, status=status))
    answer = world.create(job)
    assert answer == {"next": "wait", "seconds": 0}
    assert world.create(job) == {"next": "stop"}
    assert (world.now_as(job).status, world.now_as(job).task_id) == (status, None)
    assert f"job {job.job_id}: is {status}" in caplog.text
    assert "task task_1 at sora is left over" in caplog.text
    assert world.create(twin) == {"next": "watch"}
    assert world.now_as(twin).task_id == "task_1"


def test_a_job_that_is_deleted_during_its_post_leaves_its_task_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a record there is nothing to write to."""
    job = world.record()
    during(world, "submit", world.jobs._rows.clear)
    assert world.create(job) == {"next": "wait", "seconds": 0}
    assert world.create(job) == {"next": "stop"}
    assert "is deleted by now; its task task_1" in caplog.text


@pytest.mark.parametrize("status", [model.CANCELLED, model.FAILED])
def test_a_job_that_ends_while_its_task_is_searched_claims_none(world: World, status: str) -> None:
    """The task that was found stays free for whoever made it."""
    job = lost_answer(world)
    during(world, "find", lambda: world.force(job, status=status))
    assert world.create(job) == {"next": "wait", "seconds": 0}
    assert world.create(job) == {"next": "stop"}
    assert world.services.claims.claim("memory sora", "task_1", "somebody") == "somebody"


@pytest.mark.parametrize("code", ["rate_limited", "provider_error", "invalid_request", "moderation_input"])
def test_a_late_refusal_does_not_undo_what_another_run_achieved(world: World, code: str) -> None:
    """Another run took this POST for lost, found nothing and submitted: its paid task stays."""
    job = world.record()

    def overtake() -> None:
        world.provider.submitted.clear()
        world.provider._tasks.clear()
        world.clock.advance(seconds=60)
        assert world.create(job) == {"next": "wait", "seconds": 0}
        assert world.create(job) == {"next": "watch"}

    during(world, "submit", overtake, error=refusal(code))
    assert world.create(job)["next"] == "wait"
    now = world.now_as(job)
    assert (now.status, now.task_id, now.fault) == ("generating", "task_2", None)
    assert world.create(job) == {"next": "watch"}


def test_a_late_answer_is_the_second_task_of_a_job_that_has_one(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever slept for the whole grace period in the middle of its POST pays twice: the log names the second task."""
    job = world.record()

    def overtake() -> None:
        task = world.provider._tasks.pop("task_1")
        world.clock.advance(seconds=60)
        world.create(job)
        world.create(job)
        world.provider._tasks["task_1"] = task

    during(world, "submit", overtake)
    assert world.create(job) == {"next": "wait", "seconds": 0}
    assert world.now_as(job).task_id == "task_2"
    assert "is generating with task task_2 by now; its task task_1 at sora is left over" in caplog.text
    assert world.services.claims.claim("memory sora", "task_1", "a twin") == "a twin"


def test_an_unknown_outcome_of_any_code_is_reconciled(world: World) -> None:
    """It is the flag that counts, not what the refusal looks like."""
    for code in ("invalid_request", "rate_limited"):
        job = world.record()
        world.provider.planned["submit"] = [refusal(code, outcome_unknown=True)]
        assert world.create(job) == {"next": "wait", "seconds": 60}
        assert world.now_as(job).stage == ledger.RECONCILING


def test_the_log_tells_the_story_of_a_lost_answer(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Each step has a line with the job's id, and none is an error: nothing was lost."""
    caplog.set_level(logging.INFO)
    job = lost_answer(world)
    world.create(job)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("reelkeeper.")]
    assert lines == [
        f"job {job.job_id}: the outcome of its create is not known; asking the provider later",
        f"job {job.job_id}: found its task task_1 at the provider",
    ]
    assert max(record.levelno for record in caplog.records) == logging.WARNING
