"""DELETE: an ended job and everything that is kept of it goes; what runs is refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from world import World

from reelkeeper.clips.memory import MemoryClips
from reelkeeper.model import Job
from reelkeeper.names import job_prefix
from reelkeeper.providers.memory import refusal
from reelkeeper.records.base import Watch
from reelkeeper.records.memory import MemoryJobs, MemoryWatchdog

BODY = {"prompt": "a boat", "width": 480, "height": 480}


def test_a_completed_job_is_deleted_with_its_files(world: World) -> None:
    """204; then every route answers 404, the gallery lists it no more, and its blobs are gone."""
    job, other = world.completed(outputs=1), world.completed(outputs=1)
    answer = world.delete(job.job_id)
    assert (answer.status, answer.raw) == (204, b"")
    assert {world.get(what, job.job_id).status for what in ("status", "result", "content")} == {404}
    assert [item["job_id"] for item in world.gallery().json["items"]] == [other.job_id]
    assert world.clips.find(job.clips[0].path) is None
    assert world.clips.find(str(job.clips[0].thumbnail_path)) is None
    assert world.clips.find(other.clips[0].path) is not None
    assert job.job_id not in world.watched()
    assert world.delete(job.job_id).status == 404


@pytest.mark.parametrize("state", ["failed", "expired", "cancelled"])
def test_a_job_that_ended_otherwise_is_deleted(world: World, state: str) -> None:
    """Also without any file."""
    job = world.ended(state)
    assert world.delete(job.job_id).status == 204
    assert world.jobs.get(job.owner, job.job_id) is None


@pytest.mark.parametrize("state", ["pending", "generating", "downloading", "download_failed"])
def test_a_job_that_has_not_ended_is_refused(world: World, state: str) -> None:
    """409 with when to come again; nothing changes, and its task runs on."""
    job = world.record() if state == "pending" else getattr(world, state)()
    answer = world.delete(job.job_id)
    assert (answer.status, answer.json["code"], answer.json["job_status"]) == (409, "job_running", state)
    assert int(answer.headers["Retry-After"]) >= 1
    assert "Cancel it first" in answer.json["detail"]
    assert world.now_as(job) == job


def test_a_cancelled_job_is_deleted_right_away(world: World) -> None:
    """Cancel, then delete: what most clients do."""
    job = world.generating()
    world.cancel(job.job_id)
    assert world.delete(job.job_id).status == 204


def test_a_cancelled_job_whose_task_runs_on_is_refused_until_it_is_gone(world: World) -> None:
    """Deleting the record would lose the task, which costs money; each try to delete also tries to withdraw."""
    job = world.generating()
    world.provider.planned["cancel"] = [refusal("invalid_request", status=400) for _ in range(2)]
    world.cancel(job.job_id)
    answer = world.delete(job.job_id)
    assert (answer.status, answer.json["code"]) == (409, "job_running")
    assert "still runs at the provider" in answer.json["detail"]
    assert int(answer.headers["Retry-After"]) >= 1
    assert world.delete(job.job_id).status == 204


def test_nobody_deletes_another_owners_job(world: World) -> None:
    """404, and the job stays."""
    job = world.completed()
    assert world.delete(job.job_id, owner="eve").status == 404
    assert world.delete(job.job_id, kind="images").status == 404
    assert world.now_as(job) == job


def test_an_image_job_is_deleted_with_its_pictures(world: World) -> None:
    """Both kinds have the same routes."""
    world.with_images()
    job = world.record_image(n_variants=2)
    assert world.create(job)["next"] == "keep"
    world.settle(job, kept=[world.keep(world.now_as(job), index) for index in range(2)])
    done = world.now_as(job)
    assert (done.status, len(done.clips)) == ("completed", 2)
    assert world.delete(job.job_id, kind="images").status == 204
    assert [world.clips.find(clip.path) for clip in done.clips] == [None, None]


def test_what_breaks_off_is_finished_by_the_sweep(world: World) -> None:
    """The record is gone and storage fails: the files go later, and nobody can see them meanwhile."""
    job = world.completed()

    class Broken(MemoryClips):
        def delete_all(self, prefix: str) -> None:
            raise OSError("storage is away")

    world.use(clips=Broken())
    assert world.delete(job.job_id).status == 500
    world.use(clips=world.clips)
    assert world.get("status", job.job_id).status == 404
    assert world.clips.find(job.clips[0].path) is not None
    world.clock.advance(minutes=30)
    assert world.sweep()["cleared"] == 1
    assert world.clips.find(job.clips[0].path) is None
    assert world.watched() == {}


def test_a_file_that_is_stored_after_the_delete_is_not_kept(world: World) -> None:
    """A late second run of `store` finds no record and leaves nothing."""
    job = world.downloading()
    staged = world.download(job)
    world.settle(job, status="failed", fault={"code": "task_lost", "message": "gone"})
    assert world.delete(job.job_id).status == 204
    assert "fault" in world.store(job, staged)
    path = f"{job_prefix(job.owner, job.kind, job.job_id)}0.mp4"
    assert (world.clips.find(path), world.clips.staged(path)) == (None, [])


def test_a_file_whose_run_died_right_after_its_commit_goes_when_the_step_is_repeated(world: World) -> None:
    """Nobody knows the deleted job's kind any more; the step clears its prefix all the same."""
    job = world.downloading()
    staged = world.download(job)
    world.store(job, staged)
    world.jobs.delete(world.now_as(job))
    assert "fault" in world.store(job, staged)
    assert world.clips.find(f"{job_prefix(job.owner, job.kind, job.job_id)}0.mp4") is None


def test_a_repeated_post_of_a_deleted_job_is_not_paid_again(world: World) -> None:
    """Its idempotency key remembers: 410, and nothing is recorded or started."""
    posted = world.post(BODY, x_user_id="ada", idempotency_key="order-1")
    world.cancel(posted.json["job_id"])
    assert world.delete(posted.json["job_id"]).status == 204
    started = list(world.client.started)
    answer = world.post(BODY, x_user_id="ada", idempotency_key="order-1")
    assert (answer.status, answer.json["code"]) == (410, "job_deleted")
    assert world.client.started == started
    assert world.gallery().json["items"] == []


def test_a_slow_post_does_not_bring_back_what_was_deleted(world: World) -> None:
    """Of two POSTs with one key the faster's job is deleted before the slower records the same one: 410."""

    class Slow(MemoryWatchdog):
        slow = True

        def watch(self, watch: Watch) -> None:
            super().watch(watch)
            if self.slow:
                self.slow = False
                faster = world.post(BODY, x_user_id="ada", idempotency_key="order-1").json["job_id"]
                assert faster == watch.job_id
                world.cancel(faster)
                assert world.delete(faster).status == 204

    world.use(watchdog=Slow())
    answer = world.post(BODY, x_user_id="ada", idempotency_key="order-1")
    assert (answer.status, answer.json["code"]) == (410, "job_deleted")
    assert world.gallery().json["items"] == []


def test_a_member_that_is_deleted_at_once_does_not_take_its_batch_along(world: World) -> None:
    """A repeated POST is answered, and one job deleted, before the first POST looks at its key: the others stay."""

    class Slow(MemoryJobs):
        def insert_all(self, jobs: Sequence[Job]) -> list[Job]:
            made = world.jobs.insert_all(jobs)
            assert world.post_batch([BODY] * 3, x_user_id="ada", idempotency_key="order-1").status == 200
            world.cancel(made[0].job_id)
            assert world.delete(made[0].job_id).status == 204
            return made

        def __getattribute__(self, name: str) -> Any:
            return super().__getattribute__(name) if name == "insert_all" else getattr(world.jobs, name)

    world.use(jobs=Slow())
    answer = world.post_batch([BODY] * 3, x_user_id="ada", idempotency_key="order-1")
    assert answer.status == 202
    kept = {item["job_id"] for item in world.gallery().json["items"]}
    assert kept == {job["job_id"] for job in answer.json["jobs"][1:]}
    assert kept <= world.watched().keys()


def test_a_post_that_finishes_a_dead_one_is_watched_whatever_the_sweep_cleared(world: World) -> None:
    """The sweep takes the row between the watch and the record; the job has one again all the same."""
    claimed = world.post(BODY, x_user_id="ada", idempotency_key="order-1").json["job_id"]
    job = world.jobs.get("ada", claimed)
    assert job is not None
    world.jobs.delete(job)

    class Clearing(MemoryJobs):
        def insert(self, job: Job) -> Job:
            world.watchdog.unwatch(job.job_id)
            return world.jobs.insert(job)

        def __getattribute__(self, name: str) -> Any:
            return super().__getattribute__(name) if name == "insert" else getattr(world.jobs, name)

    world.use(jobs=Clearing())
    assert world.post(BODY, x_user_id="ada", idempotency_key="order-1").json["job_id"] == claimed
    assert claimed in world.watched()


def test_a_record_that_changes_in_the_moment_is_not_deleted(world: World) -> None:
    """409, to be tried again."""
    job = world.completed()

    class Busy(MemoryJobs):
        def get(self, owner: str, job_id: str) -> object:  # type: ignore[override]
            found = world.jobs.get(owner, job_id)
            world.force(job, updated_at=world.clock.now() + timedelta(seconds=1))
            return found

        def delete(self, job: object) -> None:  # type: ignore[override]
            world.jobs.delete(job)  # type: ignore[arg-type]

    world.use(jobs=Busy())
    assert world.delete(job.job_id).status == 409
    world.use(jobs=world.jobs)
    assert world.clips.find(job.clips[0].path) is not None
