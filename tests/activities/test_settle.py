"""settle: every end, and the one beginning of another try."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from world import START, World

from reelkeeper import model, policy
from reelkeeper.model import PIPELINE_FAULT, Job
from reelkeeper.providers.memory import refusal
from reelkeeper.records.base import Watch

EXPIRED = {"fault": refusal("content_expired").fault.to_dict()}
MISSING = {"fault": refusal("content_not_ready").fault.to_dict()}


def kept(world: World, job: Job, *lost: tuple[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """What `keep` answers for each output: the clip, or what `lost` says of it."""
    faults = dict(lost)
    return [
        {"index": number, **faults[number]} if number in faults else world.keep(job, number)
        for number in range(len(job.outputs))
    ]


def row_of(job: Job) -> Watch:
    return Watch(job.job_id, job.owner, job.kind, START + policy.STEP_GRACE)


def test_all_kept_is_completed(world: World) -> None:
    """Clips, time and full progress are in the record, and nobody watches any more."""
    job = world.downloading(n_variants=2)
    world.clock.advance(seconds=40)
    assert world.settle(job, kept=kept(world, job)) == {"status": "completed"}
    now = world.now_as(job)
    assert (now.status, now.stage, now.progress, now.warning, now.fault) == ("completed", "done", 100, None, None)
    assert now.finished_at == START + timedelta(seconds=40)
    assert [clip.index for clip in now.clips] == [0, 1]
    assert [clip.thumbnail_path for clip in now.clips] == [
        f"user_ada/videos/{job.job_id}/0.jpg",
        f"user_ada/videos/{job.job_id}/1.jpg",
    ]
    assert world.watched() == {}


def test_a_clip_without_thumbnail_is_complete(world: World) -> None:
    """The absence of a preview is no error and no warning."""
    job = world.downloading()
    world.provider.thumbnails.clear()
    world.settle(job, kept=kept(world, job))
    now = world.now_as(job)
    assert (now.status, now.warning, now.clips[0].thumbnail_path) == ("completed", None, None)


def test_fewer_outputs_than_asked_for_is_completed_with_a_warning(world: World) -> None:
    """The provider made two of three variants: the two are the result."""
    job = world.downloading(outputs=2, n_variants=3)
    world.settle(job, kept=kept(world, job))
    now = world.now_as(job)
    assert (now.status, now.warning) == ("completed", "The provider made 2 of the 3 videos asked for.")


def test_some_outputs_expired_is_completed_with_a_warning(world: World) -> None:
    """What was kept is the result; the warning says what happened to the rest."""
    job = world.downloading(n_variants=3)
    world.settle(job, kept=kept(world, job, (0, EXPIRED), (2, EXPIRED)))
    now = world.now_as(job)
    assert (now.status, [clip.index for clip in now.clips]) == ("completed", [1])
    assert str(now.warning).startswith("1 of 3 outputs were kept; the provider deleted the others")
    assert world.watched() == {}


def test_all_outputs_expired_is_expired(world: World) -> None:
    """The window closed before any byte was safe: the record says so, with the provider's words."""
    job = world.downloading(n_variants=2)
    assert world.settle(job, kept=kept(world, job, (0, EXPIRED), (1, EXPIRED))) == {"status": "expired"}
    now = world.now_as(job)
    assert (now.status, now.stage, now.clips, now.finished_at) == ("expired", "done", (), START)
    assert now.fault == refusal("content_expired").fault
    assert world.watched() == {}


@pytest.mark.parametrize("fault", [MISSING, {"fault": PIPELINE_FAULT.to_dict()}])
def test_a_missing_file_is_tried_again_later(world: World, fault: dict[str, Any]) -> None:
    """download_failed names the time of the next try, and the watchdog is due exactly then."""
    job = world.downloading()
    assert world.settle(job, kept=kept(world, job, (0, fault))) == {"status": "download_failed"}
    now, again_at = world.now_as(job), START + timedelta(minutes=5)
    assert (now.status, now.stage, now.attempts, now.next_attempt_at) == ("download_failed", "waiting", 1, again_at)
    assert (now.fault and now.fault.code) == fault["fault"]["code"]
    assert now.finished_at is None
    row = world.watched()[job.job_id]
    assert (row.due, row.expires_at) == (again_at, job.expires_at)


def test_one_missing_among_expired_and_kept_ones_keeps_the_job_open(world: World) -> None:
    """The clip that is there is recorded at once; the job ends when the last output is decided."""
    job = world.downloading(n_variants=3)
    world.settle(job, kept=kept(world, job, (1, EXPIRED), (2, MISSING)))
    now = world.now_as(job)
    assert (now.status, [clip.index for clip in now.clips]) == ("download_failed", [0])
    assert (now.fault and now.fault.code) == "content_not_ready"
    world.create(job)
    assert world.settle(job, kept=kept(world, job, (1, EXPIRED))) == {"status": "completed"}
    now = world.now_as(job)
    assert [clip.index for clip in now.clips] == [0, 2]
    assert str(now.warning).startswith("2 of 3 outputs were kept")


def test_the_tries_get_rarer_and_the_last_comes_before_the_expiry(world: World) -> None:
    """5, 15, 45 minutes, ... at most 4 hours, and one last call ten minutes before the provider deletes it."""
    job, waits = world.downloading(), []
    while True:
        world.create(job)
        world.settle(job, kept=kept(world, job, (0, MISSING)))
        next_attempt_at = world.now_as(job).next_attempt_at
        assert next_attempt_at is not None
        waits.append((next_attempt_at - world.clock.now()).total_seconds() / 60)
        world.clock.moment = next_attempt_at
        if job.expires_at and world.clock.now() >= job.expires_at - timedelta(minutes=10):
            break
    assert waits[:5] == [5, 15, 45, 135, 240]
    assert world.clock.now() == START + timedelta(hours=23, minutes=50)


def test_settling_a_missing_file_twice_counts_once(world: World) -> None:
    """The step ran, nobody heard of it, it runs again: attempts and the next time stay."""
    job = world.downloading()
    outcome = kept(world, job, (0, MISSING))
    world.settle(job, kept=outcome)
    before = world.now_as(job)
    world.clock.advance(minutes=1)
    for _ in range(3):
        assert world.settle(job, kept=outcome) == {"status": "download_failed"}
    assert world.now_as(job) == before
    assert world.watched()[job.job_id].due == before.next_attempt_at


@pytest.mark.parametrize(
    ("status", "code"), [("failed", "moderation_input"), ("failed", "task_lost"), ("cancelled", "provider_error"),
                         ("expired", "content_expired")],
)  # fmt: skip
def test_an_end_is_written_down(world: World, status: str, code: str) -> None:
    """Status, fault and time are in the record, and nobody watches any more."""
    job = world.generating()
    world.clock.advance(minutes=3)
    fault = refusal(code).fault
    assert world.settle(job, status=status, fault=fault.to_dict()) == {"status": status}
    now = world.now_as(job)
    assert (now.status, now.stage, now.fault, now.next_attempt_at) == (status, "done", fault, None)
    assert now.finished_at == world.clock.now()
    assert world.watched() == {}


def test_a_refused_create_ends_a_job_without_a_task(world: World) -> None:
    """From submitting straight to failed."""
    job = world.record()
    world.provider.planned["submit"] = [refusal("moderation_input")]
    outcome = world.create(job)
    assert world.settle(job, status=outcome["status"], fault=outcome["fault"]) == {"status": "failed"}
    assert world.now_as(job).task_id is None


@pytest.mark.parametrize("status", sorted(model.TERMINAL))
def test_a_finished_job_stays_as_it_is(world: World, status: str) -> None:
    """Whatever a late run says, the first end counts; a left-over watchdog row goes."""
    job = world.completed() if status == model.COMPLETED else world.ended(status)
    world.watchdog.watch(row_of(job))
    late = refusal("provider_error").fault.to_dict()
    assert world.settle(job, status="failed", fault=late) == {"status": status}
    assert world.settle(job, kept=[{"index": 0, "fault": late}]) == {"status": status}
    assert world.now_as(job) == job
    assert world.watched() == {}


def test_a_deleted_job_is_left_alone(world: World) -> None:
    """No record, no error; its row may be about what is left to be deleted."""
    ghost = World().record()
    world.watchdog.watch(row_of(ghost))
    assert world.settle(ghost, status="failed", fault=refusal("task_lost").fault.to_dict()) == {"status": "deleted"}
    assert list(world.watched()) == [ghost.job_id]


@pytest.mark.parametrize("status", [model.FAILED, model.EXPIRED])
def test_an_end_that_was_decided_before_another_run_got_further_is_none(world: World, status: str) -> None:
    """A success in the same moment wins, and so does a task that was made meanwhile: it is paid for."""
    fault = refusal("task_lost").fault.to_dict()
    early = world.record()
    assert world.create(early) == {"next": "watch"}
    assert world.settle(early, status=status, fault=fault, seen=early.seen) == {"status": "generating"}
    seen = world.now_as(early).seen
    world.provider.finish("task_1")
    world.poll(early)
    assert world.settle(early, status=status, fault=fault, seen=seen) == {"status": "downloading"}
    assert early.job_id in world.watched()
    assert world.settle(early, status=status, fault=fault, seen=world.now_as(early).seen) == {"status": status}


def test_a_row_that_could_not_be_deleted_is_no_end_undone(world: World) -> None:
    """The record is written first: the retry finds the job finished and only clears the row."""
    job = world.generating()
    unwatch = world.watchdog.unwatch

    def broken(job_id: str) -> None:
        world.watchdog.unwatch = unwatch  # type: ignore[method-assign]
        raise ConnectionError("storage is away")

    world.watchdog.unwatch = broken  # type: ignore[method-assign]
    fault = refusal("moderation_output").fault.to_dict()
    with pytest.raises(ConnectionError):
        world.settle(job, status="failed", fault=fault)
    ended = world.now_as(job)
    assert ended.status == "failed"
    assert world.settle(job, status="failed", fault=fault) == {"status": "failed"}
    assert world.now_as(job) == ended
    assert world.watched() == {}
