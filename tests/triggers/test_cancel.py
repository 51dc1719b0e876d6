"""POST cancel: the record at once, the task at the provider as soon as it lets go of it, and nothing kept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from world import START, World

from reelkeeper import ledger, model
from reelkeeper.clips.memory import MemoryClips
from reelkeeper.closing import close_books
from reelkeeper.model import Job
from reelkeeper.providers.memory import refusal

RUNNING = "The video is still being generated and cannot be deleted."


def make(world: World, state: str) -> Job:
    """A job in this state, by the app's own steps."""
    if state == "pending":
        return world.record()
    if state == "queued":
        world.provider.planned["submit"] = [refusal("rate_limited")]
        job = world.record()
        world.create(job)
        return world.now_as(job)
    if state == "submit_unknown":
        world.provider.lose_answer = True
        world.provider.planned["find"] = [refusal("endpoint_not_found")]
        job = world.record()
        world.create(job)
        world.clock.advance(seconds=121)
        world.create(job)
        return world.now_as(job)
    states = {
        "generating": world.generating,
        "downloading": world.downloading,
        "download_failed": world.download_failed,
    }
    return states[state]()


@pytest.mark.parametrize(
    "state", ["pending", "queued", "generating", "downloading", "download_failed", "submit_unknown"]
)
def test_a_job_that_has_not_ended_is_cancelled_at_once(world: World, state: str) -> None:
    """202 and `cancelled`, whatever it was at; nobody looks after it any more, and a repeat is answered the same."""
    job = make(world, state)
    assert job.status == state
    for _ in range(2):
        answer = world.cancel(job.job_id)
        assert (answer.status, answer.json["status"], answer.json["stage"]) == (202, "cancelled", "done")
        assert answer.headers["Location"].endswith(f"/videos/{job.job_id}/status")
    assert job.job_id not in world.watched()
    assert world.now_as(job).finished_at == world.clock.now()
    assert world.get("result", job.job_id).status == 409
    assert world.get("result", job.job_id).json["code"] == "cancelled"


@pytest.mark.parametrize("state", ["generating", "downloading", "download_failed"])
def test_its_task_is_deleted_at_the_provider(world: World, state: str) -> None:
    """What was paid for and still runs, or lies there, is gone."""
    job = make(world, state)
    world.cancel(job.job_id)
    with pytest.raises(Exception, match="task_lost"):
        world.provider.look(str(job.task_id))


@pytest.mark.parametrize("state", ["completed", "failed", "expired"])
def test_a_job_that_ended_otherwise_is_refused(world: World, state: str) -> None:
    """409, and nothing changes."""
    job = world.completed() if state == "completed" else world.ended(state)
    answer = world.cancel(job.job_id)
    assert (answer.status, answer.json["code"]) == (409, "job_finished")
    assert state in answer.json["detail"]
    assert world.now_as(job) == job


def test_nobody_cancels_another_owners_job(world: World) -> None:
    """404, as if it were not there; neither does the wrong kind find it."""
    job = world.generating()
    assert world.cancel(job.job_id, owner="eve").status == 404
    assert world.cancel(job.job_id, kind="images").status == 404
    assert world.now_as(job).status == "generating"


def test_a_cancelled_job_is_never_submitted(world: World) -> None:
    """The orchestration that waits with it stops without a POST."""
    job = world.record()
    world.cancel(job.job_id)
    assert world.create(job) == {"next": "stop"}
    assert world.provider.submitted == []


def test_a_provider_that_deletes_only_what_has_ended_is_asked_until_then(world: World) -> None:
    """The owner sees `cancelled`; the watch goes on, and keeps the job's place at the gate, until the task is gone."""
    job = world.generating()
    world.provider.planned["cancel"] = [refusal("invalid_request", status=400) for _ in range(3)]
    answer = world.cancel(job.job_id)
    assert (answer.status, answer.json["status"], answer.json["stage"]) == (202, "cancelled", "withdrawing")
    assert job.job_id in world.watched()
    looks = 0
    while (step := world.poll(job))["next"] == "poll":
        looks += 1
        world.clock.advance(seconds=step["seconds"])
    assert (step, looks) == ({"next": "stop"}, 2)
    assert world.now_as(job).stage == "done"
    assert job.job_id not in world.watched()


def test_a_task_that_ends_just_then_is_deleted(world: World) -> None:
    """It ran when the delete was refused and has ended by the time we look: it is asked once more."""
    job = world.downloading()
    world.provider.planned["cancel"] = [refusal("invalid_request", status=400)]
    answer = world.cancel(job.job_id).json
    assert (answer["stage"], answer["warning"]) == ("done", None)
    with pytest.raises(Exception, match="task_lost"):
        world.provider.look(str(job.task_id))


def test_a_provider_that_keeps_what_has_ended_is_left_alone(world: World) -> None:
    """A delete that is refused for a finished task will be refused for ever; the owner is told that it may cost."""
    job = world.downloading()
    world.provider.planned["cancel"] = [refusal("invalid_request", status=400)] * 2
    answer = world.cancel(job.job_id)
    assert answer.json["stage"] == "done"
    assert "may charge" in answer.json["warning"]


def test_a_provider_without_delete_is_waited_for(world: World) -> None:
    """405: nothing can be done, but the job holds its place until the task has ended; the warning tells the rest."""
    job = world.generating()
    world.provider.planned["cancel"] = [refusal("endpoint_not_found", status=405) for _ in range(9)]
    assert world.cancel(job.job_id).json["stage"] == "withdrawing"
    assert world.poll(job)["next"] == "poll"
    world.provider.finish(str(job.task_id))
    assert world.poll(job) == {"next": "stop"}
    after = world.now_as(job)
    assert (after.status, after.stage, "may charge" in str(after.warning)) == ("cancelled", "done", True)


@pytest.mark.parametrize("code", ["provider_error", "invalid_credentials"])
def test_a_delete_that_always_fails_is_given_up_some_minutes_after_the_task_has_ended(world: World, code: str) -> None:
    """A key that may not delete must not hold the job's place, and its record, for a day."""
    job = world.downloading()
    world.provider.planned["cancel"] = [refusal(code) for _ in range(1000)]
    world.cancel(job.job_id)
    while (step := world.create(job))["next"] == "wait":
        world.clock.advance(seconds=step["seconds"])
    assert world.clock.now() - (world.now_as(job).finished_at or START) < timedelta(minutes=12)
    assert len(world.provider.planned["cancel"]) > 900
    assert "may charge" in str(world.now_as(job).warning)
    assert world.delete(job.job_id).status == 204


def test_a_delete_that_only_says_yes_is_not_believed(world: World) -> None:
    """A gateway may answer as if a task were gone that runs on: the job holds its place until it has ended."""
    job = world.generating()
    world.provider.cancel = lambda task_id: None  # type: ignore[method-assign]
    assert world.cancel(job.job_id).json["stage"] == "withdrawing"
    world.provider.finish(str(job.task_id))
    assert world.poll(job) == {"next": "stop"}


def test_a_task_that_should_have_expired_is_asked_for_once(world: World) -> None:
    """Where only our own patience has ended, its file may still lie there."""
    world.provider.keeps = None
    job = world.download_failed()
    world.clock.advance(hours=30)
    assert world.cancel(job.job_id).json["stage"] == "done"
    with pytest.raises(Exception, match="task_lost"):
        world.provider.look(str(job.task_id))


def test_a_provider_that_is_down_is_asked_until_the_task_expires_there(world: World) -> None:
    """The sweep goes on with it; when the provider has deleted it by itself, nobody asks any more."""
    job = world.generating()
    world.provider.planned["cancel"] = [refusal("provider_error") for _ in range(1000)]
    world.cancel(job.job_id)
    world.clock.advance(minutes=10)
    assert world.sweep()["started"] == 1
    answer = world.create(job)
    assert answer["next"] == "wait"
    assert answer["seconds"] >= 10
    world.clock.advance(hours=24)
    assert world.create(job) == {"next": "stop"}
    assert world.now_as(job).stage == "done"


def test_the_providers_own_rotation_of_names_does_not_lose_the_task(world: World) -> None:
    """A provider that is not configured any more is waited for, as long as its task may exist."""
    job = world.generating()
    provider = world.services.providers.pop("sora")
    assert world.cancel(job.job_id).json["stage"] == "withdrawing"
    world.clock.advance(hours=2)
    world.services.providers["sora"] = provider
    assert world.create(job) == {"next": "stop"}
    with pytest.raises(Exception, match="task_lost"):
        world.provider.look(str(job.task_id))


def test_a_cancel_while_the_answer_of_the_create_is_lost(world: World) -> None:
    """Its task is looked for when the POST must be over, and deleted."""
    world.provider.lose_answer = True
    job = world.record()
    world.create(job)
    answer = world.cancel(job.job_id)
    assert (answer.json["status"], answer.json["stage"]) == ("cancelled", "withdrawing")
    step = world.create(job)
    assert step["next"] == "wait"
    world.clock.advance(seconds=step["seconds"])
    assert world.create(job) == {"next": "stop"}
    assert len(world.provider.submitted) == 1
    with pytest.raises(Exception, match="task_lost"):
        world.provider.look("task_1")
    assert world.now_as(job).task_id == "task_1"


def test_a_cancel_does_not_shorten_the_wait_for_a_lost_answer(world: World) -> None:
    """The task may come into the list a whole grace period after the answer was lost."""
    world.provider.planned["submit"] = [refusal("provider_error", outcome_unknown=True)]
    job = world.record()
    assert world.create(job) == {"next": "wait", "seconds": 60}
    world.clock.advance(seconds=50)
    assert world.cancel(job.job_id).json["next_attempt_at"] == model.to_iso(world.clock.now() + timedelta(seconds=10))
    assert world.create(job) == {"next": "wait", "seconds": 10}


def test_an_answer_that_is_lost_after_the_cancel_is_waited_for_as_long(world: World) -> None:
    """From when it was lost, not from when the POST began."""
    job = world.record()

    def lost(*_: object) -> model.Task:
        world.cancel(job.job_id)
        world.clock.advance(seconds=35)
        raise refusal("provider_error", outcome_unknown=True)

    world.provider.submit = lost  # type: ignore[method-assign]
    assert world.create(job) == {"next": "wait", "seconds": 60}


def test_somebody_elses_later_task_is_not_deleted(world: World) -> None:
    """The provider was away for hours: what it made much later, of the same prompt, is none of this job's."""
    world.provider.planned["submit"] = [refusal("provider_error", outcome_unknown=True)]
    job = world.record()
    world.create(job)
    world.cancel(job.job_id)
    world.clock.advance(hours=6)
    stranger = world.provider.submit(job.request)
    assert world.create(job) == {"next": "stop"}
    assert world.provider.look(stranger.task_id).state == "queued"


def test_a_cancel_while_the_create_is_under_way(world: World) -> None:
    """The run that gets the answer deletes what it has just made, and nobody has to wait for the grace period."""
    job = world.record()
    submit = world.provider.submit

    def cancelled_meanwhile(*given: object) -> model.Task:
        task = submit(*given)  # type: ignore[arg-type]
        assert world.cancel(job.job_id).json["stage"] == "withdrawing"
        return task

    world.provider.submit = cancelled_meanwhile  # type: ignore[method-assign]
    assert world.create(job) == {"next": "stop"}
    assert world.now_as(job).stage == "done"
    with pytest.raises(Exception, match="task_lost"):
        world.provider.look("task_1")


def test_a_cancel_while_a_create_is_being_refused(world: World) -> None:
    """Nothing was made, so nothing is looked for."""
    job = world.record()

    def cancelled_meanwhile(*_: object) -> model.Task:
        world.cancel(job.job_id)
        raise refusal("moderation_input")

    world.provider.submit = cancelled_meanwhile  # type: ignore[method-assign]
    assert world.create(job) == {"next": "stop"}
    assert (world.now_as(job).status, world.now_as(job).stage) == ("cancelled", "done")


def test_a_twins_task_is_not_deleted(world: World) -> None:
    """Of two jobs with one prompt, of which one was never made, the cancelled one leaves the other's task alone."""
    mine, other = world.record(), world.record()
    world.provider.planned["submit"] = [refusal("provider_error", outcome_unknown=True)]
    world.create(mine)
    world.create(other)
    world.cancel(mine.job_id)
    world.clock.advance(minutes=3)
    assert world.create(mine) == {"next": "stop"}
    assert world.now_as(mine).task_id is None
    assert world.provider.look(str(world.now_as(other).task_id)).state == "queued"


def test_a_task_that_comes_long_after_the_cancel_is_deleted_too(world: World) -> None:
    """A POST that was frozen past everything: the job was done with, and takes the task back all the same."""
    job = world.record()
    submit = world.provider.submit

    def frozen(*given: object) -> model.Task:
        world.cancel(job.job_id)
        world.clock.advance(hours=1)
        assert world.sweep()["started"] == 1
        world.create(job)
        assert world.now_as(job).stage == "done"
        return submit(*given)  # type: ignore[arg-type]

    world.provider.submit = frozen  # type: ignore[method-assign]
    assert world.create(job) == {"next": "stop"}
    assert world.now_as(job).stage == "done"
    with pytest.raises(Exception, match="task_lost"):
        world.provider.look("task_1")


def test_what_was_stored_goes(world: World) -> None:
    """A clip that was kept before its siblings came is deleted, and one that is just being kept is not kept."""
    job = world.downloading(n_variants=2)
    kept = world.keep(job, 0)["clip"]["path"]
    staged = world.download(job, 1)
    world.cancel(job.job_id)
    assert world.clips.find(kept) is None
    assert "fault" in world.store(job, staged, 1)
    assert world.clips.find(kept.replace("/0.", "/1.")) is None


def test_a_clip_that_is_committed_in_the_moment_of_the_cancel_goes(world: World) -> None:
    """`store` looks again after its commit: the cancel may have looked before it."""
    job = world.downloading()
    staged = world.download(job)

    class Slow(MemoryClips):
        def commit(self, *given: object, **more: object) -> object:  # type: ignore[override]
            world.cancel(job.job_id)
            return super().commit(*given, **more)  # type: ignore[arg-type]

    slow = Slow()
    slow._blocks = world.clips._blocks
    world.use(clips=slow)
    assert "fault" in world.store(job, staged)
    assert slow._blobs == {}


def test_files_that_come_in_after_the_cancel_do_not_end_the_job_otherwise(world: World) -> None:
    """The orchestration that was fetching settles, and the job stays cancelled and looked after."""
    job = world.downloading()
    kept = world.keep(job)
    world.provider.planned["cancel"] = [refusal("provider_error")] * 2
    world.cancel(job.job_id)
    assert world.settle(job, kept=[kept]) == {"status": "cancelled"}
    assert job.job_id in world.watched()
    world.clock.advance(minutes=10)
    assert world.sweep()["started"] == 1
    assert world.create(job) == {"next": "stop"}
    assert job.job_id not in world.watched()


def test_storage_that_fails_after_the_cancel_is_not_the_callers_trouble(world: World) -> None:
    """202 all the same: the record is cancelled, and the sweep does the rest."""
    job = world.generating()

    class Broken(MemoryClips):
        def delete_all(self, prefix: str) -> None:
            raise OSError("storage is away")

    world.use(clips=Broken())
    answer = world.cancel(job.job_id)
    assert (answer.status, answer.json["status"], answer.json["stage"]) == (202, "cancelled", "withdrawing")
    world.use(clips=world.clips)
    world.clock.advance(minutes=10)
    assert world.sweep()["started"] == 1
    assert world.create(job) == {"next": "stop"}


def test_an_image_job_is_cancelled_while_its_pictures_are_made(world: World) -> None:
    """Their server can neither be asked nor told; what arrives later is not kept, and the warning tells the cost."""
    images = world.with_images()
    job = world.record_image(n_variants=2)
    submit = images.submit

    def cancelled_meanwhile(*given: object) -> model.Task:
        answer = world.cancel(job.job_id, kind="images").json
        assert (answer["status"], answer["stage"]) == ("cancelled", "withdrawing")
        assert world.delete(job.job_id, kind="images").status == 409
        return submit(*given)  # type: ignore[arg-type]

    images.submit = cancelled_meanwhile  # type: ignore[method-assign]
    assert world.create(job) == {"next": "stop"}
    assert world.clips._blocks == {}
    after = world.now_as(job)
    assert (after.status, after.stage) == ("cancelled", "done")
    assert "may charge" in str(after.warning)
    assert world.get("content", job.job_id, kind="images").status == 409


def test_the_ends_are_counted_once_the_task_is_gone(world: World) -> None:
    """Health tells how many were cancelled."""
    job = world.generating()
    world.cancel(job.job_id)
    assert world.services.outcomes.counts(world.clock.now().date()) == {"cancelled": 1}


def test_the_record_says_since_when_a_task_is_being_withdrawn(world: World) -> None:
    """`next_attempt_at` tells when the provider is asked again."""
    job = world.generating()
    world.provider.planned["cancel"] = [refusal("provider_error", retry_after=90)]
    answer = world.cancel(job.job_id).json
    assert answer["next_attempt_at"] == model.to_iso(world.clock.now() + timedelta(seconds=90))
    assert ledger.cancelled(world.now_as(job), world.clock.now()) is None


def test_books_that_are_closed_while_a_late_answer_comes_leave_the_job_watched(world: World) -> None:
    """Whoever takes the row looks once more whether the job needs it again."""
    job = world.generating()
    world.cancel(job.job_id)
    done = world.now_as(job)
    world.force(job, stage=model.WITHDRAWING)
    close_books(world.services, done)
    assert job.job_id in world.watched()
