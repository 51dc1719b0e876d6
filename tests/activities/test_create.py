"""create: at most one paid task per job, whatever is refused, repeated or racing."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from world import START, World

from reelkeeper import model, policy
from reelkeeper.errors import RecordConflict
from reelkeeper.model import InputImage, Job, JobRequest, Task
from reelkeeper.providers.memory import refusal


def break_off_before_the_task_is_written(world: World) -> None:
    save = world.jobs.save

    def save_no_task(job: Job) -> Job:
        if job.task_id:
            raise RecordConflict("the worker died here")
        return save(job)

    world.jobs.save = save_no_task  # type: ignore[method-assign]


def test_a_new_job_gets_its_task(world: World) -> None:
    """The record holds the task's id, its expiry and the place that made it before the first poll."""
    job = world.record()
    assert world.create(job) == {"next": "watch"}
    now = world.now_as(job)
    assert (now.status, now.task_id, now.place) == (model.GENERATING, "task_1", "memory sora")
    assert world.services.claims.claim("memory sora", "task_1", "another") == f"{job.job_id}/1"
    assert (now.creates, now.attempts, now.fault, now.stage) == (1, 0, None, "queued")
    assert now.generating_since == START
    assert now.expires_at == START + timedelta(hours=24)
    assert world.provider.submitted == [job.request]


def test_the_record_says_submitting_before_the_post(world: World) -> None:
    """Who finds `submitting` knows that a POST may be under way."""
    job = world.record()
    seen: list[Job] = []
    submit = world.provider.submit

    def submit_and_look(request: JobRequest, *more: Any) -> Task:
        seen.append(world.now_as(job))
        return submit(request)

    world.provider.submit = submit_and_look  # type: ignore[method-assign]
    world.create(job)
    assert [(job.status, job.stage, job.submitting_since) for job in seen] == [("submitting", "submitting", START)]
    assert [(job.place, bool(job.submit_run), job.attempts, job.task_id) for job in seen] == [
        ("memory sora", True, 1, None)
    ]


def test_creating_again_and_again_pays_once(world: World) -> None:
    """A repeated run answers with the task that is there already, and changes nothing."""
    job = world.generating()
    for _ in range(5):
        assert world.create(job) == {"next": "watch"}
    assert len(world.provider.submitted) == 1
    assert world.now_as(job) == job


def test_a_job_with_outputs_goes_straight_to_keep(world: World) -> None:
    """A restarted job whose task has succeeded is not watched again."""
    job = world.downloading(n_variants=2)
    assert world.create(job) == {"next": "keep", "outputs": 2}
    assert world.now_as(job) == job


def test_a_failed_download_is_taken_up_again(world: World) -> None:
    """What the sweep restarts moves back to downloading, and keeps its count of attempts for the back-off."""
    job = world.download_failed()
    assert world.create(job) == {"next": "keep", "outputs": 1}
    now = world.now_as(job)
    assert (now.status, now.stage, now.next_attempt_at, now.attempts) == ("downloading", "downloading", None, 1)


@pytest.mark.parametrize("status", sorted(model.TERMINAL))
def test_a_finished_job_is_left_alone(world: World, status: str) -> None:
    """An orchestration that comes too late stops, without a watchdog row being made."""
    job = world.completed() if status == model.COMPLETED else world.ended(status)
    assert world.create(job) == {"next": "stop"}
    assert world.now_as(job) == job
    assert world.watched() == {}
    assert len(world.provider.submitted) == 1


def test_a_deleted_job_stops_its_orchestration(world: World) -> None:
    """Without a record there is nothing to do and nothing to watch."""
    ghost = World().record()
    assert world.create(ghost) == {"next": "stop"}
    assert world.watched() == {}


def test_the_watchdog_looks_after_a_create_that_dies(world: World) -> None:
    """The row is pushed one grace ahead before the POST."""
    job = world.record()
    due: list[Any] = []
    submit = world.provider.submit

    def submit_and_look(request: JobRequest, *more: Any) -> Task:
        due.append(world.watched()[job.job_id].due)
        return submit(request)

    world.provider.submit = submit_and_look  # type: ignore[method-assign]
    world.create(job)
    assert due == [START + policy.STEP_GRACE]


def test_a_provider_taken_out_of_the_settings_fails_the_job(world: World) -> None:
    """No task exists yet, so nothing is lost: the answer names the provider."""
    job = world.record()
    world.services.providers.clear()
    answer = world.create(job)
    assert world.create(job) == answer
    assert world.now_as(job) == job
    assert (answer["next"], answer["status"], answer["fault"]["code"]) == ("settle", "failed", "endpoint_not_found")
    assert "'sora'" in answer["fault"]["message"]


@pytest.mark.parametrize(
    "code",
    ["invalid_request", "invalid_credentials", "endpoint_not_found", "deployment_not_found", "model_retired",
     "moderation_input"],
)  # fmt: skip
def test_a_final_refusal_settles_the_job_at_once(world: World, code: str) -> None:
    """What no repetition heals is not repeated."""
    job = world.record()
    world.provider.planned["submit"] = [refusal(code)]
    answer = world.create(job)
    assert (answer["next"], answer["status"]) == ("settle", "failed")
    assert answer["fault"] == refusal(code).fault.to_dict()
    assert world.create(job) == answer, "whoever repeats the step gives the same answer"
    assert world.provider.submitted == []


@pytest.mark.parametrize(
    ("code", "retry_after", "seconds"),
    [("rate_limited", None, 20), ("rate_limited", 44, 44), ("rate_limited", 1, 20), ("rate_limited", 99_999, 3600),
     ("too_many_running", None, 15), ("provider_error", None, 5), ("provider_error", 30, 30)],
)  # fmt: skip
def test_a_refusal_that_time_heals_waits(world: World, code: str, retry_after: float | None, seconds: float) -> None:
    """The job is queued with the time of its next try, at least as late as the provider asked for."""
    job = world.record()
    world.provider.planned["submit"] = [refusal(code, retry_after=retry_after)]
    assert world.create(job) == {"next": "wait", "seconds": seconds}
    now, again_at = world.now_as(job), START + timedelta(seconds=seconds)
    assert (now.status, now.stage, now.next_attempt_at) == ("queued", "waiting", again_at)
    assert now.fault == refusal(code).fault
    assert world.watched()[job.job_id].due == again_at + policy.STEP_GRACE


def test_nobody_comes_sooner_than_the_provider_asked_for(world: World) -> None:
    """A job started anew while it waits in the queue waits for the rest of its time, and sends nothing."""
    job = world.record()
    world.provider.planned["submit"] = [refusal("rate_limited", retry_after=90)]
    world.create(job)
    before = world.now_as(job)
    world.clock.advance(seconds=40)
    assert world.create(job) == {"next": "wait", "seconds": 50}
    assert world.now_as(job) == before
    assert world.watched()[job.job_id].due == START + timedelta(seconds=90) + policy.STEP_GRACE
    world.clock.advance(seconds=50)
    assert world.create(job) == {"next": "watch"}


@pytest.mark.parametrize("code", ["rate_limited", "too_many_running"])
def test_waiting_for_a_turn_costs_no_attempt(world: World, code: str) -> None:
    """A hundred refusals for want of room, and the job still goes through."""
    job = world.record()
    world.provider.planned["submit"] = [refusal(code) for _ in range(100)]
    for _ in range(100):
        answer = world.create(job)
        world.clock.advance(seconds=answer["seconds"])
    assert world.now_as(job).attempts == 0
    assert world.create(job) == {"next": "watch"}


def test_a_provider_that_fails_is_asked_five_times(world: World) -> None:
    """The waits double, and the fifth refusal is the answer."""
    job, answers = world.record(), []
    world.provider.planned["submit"] = [refusal("provider_error") for _ in range(9)]
    for _ in range(policy.MAX_CREATE_TRIES):
        answers.append(world.create(job))
        world.clock.advance(seconds=answers[-1].get("seconds", 0))
    assert [answer.get("seconds") for answer in answers] == [5, 10, 20, 40, None]
    assert (answers[-1]["next"], answers[-1]["fault"]["code"]) == ("settle", "provider_error")


def test_a_queue_without_end_ends_at_the_deadline() -> None:
    """A job that never gets its turn is settled with the provider's own word for it."""
    world = World(JOB_DEADLINE_HOURS="2")
    job = world.record()
    world.provider.planned["submit"] = [refusal("too_many_running"), refusal("too_many_running")]
    world.clock.advance(hours=2)
    assert world.create(job) == {"next": "wait", "seconds": 15}
    world.clock.advance(seconds=15)
    assert world.create(job)["fault"]["code"] == "too_many_running"


def test_the_log_names_the_paid_task_before_the_record_does(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """When the write after the POST fails, a person still finds the task's id."""
    caplog.set_level(logging.INFO)
    job = world.record()
    break_off_before_the_task_is_written(world)
    with pytest.raises(RecordConflict):
        world.create(job)
    assert f"job {job.job_id}: task task_1 created at sora" in caplog.text


def test_a_picture_that_storage_has_lost_ends_the_job(world: World) -> None:
    """Nothing was submitted, and no repetition brings it back."""
    image = InputImage("user_ada/videos/gone/input.png", "image/png", 480, 480, "")
    job = world.record(input_image=image)
    answer = world.create(job)
    assert (answer["next"], answer["fault"]["code"]) == ("settle", "invalid_request")
    assert "Submit the job again" in answer["fault"]["message"]
    assert world.create(job) == answer
    assert world.provider.submitted == []


def test_the_picture_goes_along_with_the_create(world: World) -> None:
    """Its bytes come out of the owner's storage."""
    path = "user_ada/videos/j/input.png"
    world.clips.put(path, b"the picture", content_type="image/png")
    seen: list[Any] = []
    submit = world.provider.submit

    def submit_and_look(request: JobRequest, *more: Any) -> Task:
        seen.append((request.input_image and request.input_image.path, more[1]))
        return submit(request)

    world.provider.submit = submit_and_look  # type: ignore[method-assign]
    assert world.create(world.record(input_image=InputImage(path, "image/png", 480, 480, ""))) == {"next": "watch"}
    assert seen == [(path, b"the picture")]


def test_a_storage_hiccup_before_the_post_parks_nothing(world: World) -> None:
    """The picture could not be read: nothing was sent, so there is nothing to reconcile."""
    path = "user_ada/videos/x/input.png"
    world.clips.put(path, b"x", content_type="image/png")
    job = world.record(input_image=InputImage(path, "image/png", 480, 480, "d"))
    read = world.clips.read

    def broken(path: str) -> bytes:
        world.clips.read = read  # type: ignore[method-assign]
        raise OSError

    world.clips.read = broken  # type: ignore[method-assign]
    world.provider.planned["find"] = [refusal("endpoint_not_found")]
    with pytest.raises(OSError):
        world.create(job)
    assert world.create(job) == {"next": "watch"}
