"""store: one conditional commit, whoever runs it and however often."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from world import World

from reelkeeper import names, policy
from reelkeeper.clips.base import MissingBlocks, StoredClip
from reelkeeper.clips.memory import MemoryClips
from reelkeeper.model import Job
from reelkeeper.providers.memory import VIDEO

BLOCK = policy.BLOCK_BYTES


class Recorded(MemoryClips):
    """Notes the arguments of every commit; `lost` forgets the blocks right before it."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[dict[str, Any]] = []
        self.lost = False

    def commit(self, path: str, block_ids: list[str], **properties: Any) -> StoredClip:
        self.commits.append({"path": path, "block_ids": block_ids, **properties})
        if self.lost:
            raise MissingBlocks("gone")
        return super().commit(path, block_ids, **properties)


@pytest.fixture
def clips(world: World) -> Recorded:
    """The world's clips, with every commit on record."""
    made = Recorded()
    world.use(clips=made)
    return made


def path_of(job: Job, extension: str = "mp4") -> str:
    return names.clip_path(job.owner, job.kind, job.job_id, 0, extension)


def test_a_staged_video_becomes_a_clip(world: World, clips: Recorded) -> None:
    """Committed with type, file name and metadata, and described as the record will hold it."""
    job = world.downloading()
    clip = world.store(job, world.download(job))["clip"]
    assert clip == {
        "index": 0, "path": f"user_ada/videos/{job.job_id}/0.mp4", "size": len(VIDEO) + 12,
        "content_type": "video/mp4", "digest": clip["digest"], "output_id": "gen_task_1_0",
        "width": 480, "height": 480, "n_seconds": 5, "thumbnail_path": None,
    }  # fmt: skip
    (commit,) = clips.commits
    assert (commit["content_type"], commit["filename"]) == ("video/mp4", f"video_{job.job_id}_0.mp4")
    assert commit["metadata"] == {
        "job": job.job_id, "output": "gen_task_1_0", "provider": "sora", "digest": clip["digest"],
    }  # fmt: skip
    assert len(clip["digest"]) == 64
    assert clips.content(path_of(job)) == VIDEO + b"gen_task_1_0"


def test_storing_again_and_again_commits_once(world: World, clips: Recorded) -> None:
    """Every further run answers with the clip that is there."""
    job = world.downloading()
    staged = world.download(job)
    first = world.store(job, staged)
    for _ in range(4):
        assert world.store(job, staged) == first
        assert world.store(job, {"stored": True}) == first
    assert len(clips.commits) == 1


def test_ten_stores_racing_yield_one_blob(world: World) -> None:
    """They may all commit; all of them answer with the same clip."""
    job = world.downloading()
    world.provider.files[job.outputs[0].output_id] = VIDEO + bytes(2 * BLOCK)
    staged, together = world.download(job), threading.Barrier(10)
    answers: list[dict[str, Any]] = []

    def run() -> None:
        together.wait(timeout=10)
        answers.append(world.store(job, staged))

    threads = [threading.Thread(target=run) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(answers) == 10
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["clip"]["size"] == len(VIDEO) + 2 * BLOCK


def test_two_downloads_at_once_never_mix(world: World, clips: Recorded) -> None:
    """Two runs of one file, staged side by side: the first commit wins, with its own blocks only."""
    job = world.downloading()
    world.provider.ranges = False
    output_id = job.outputs[0].output_id
    world.provider.files[output_id] = first_file = VIDEO + b"1" * BLOCK
    first = world.download(job)
    world.provider.files[output_id] = VIDEO + b"2" * BLOCK
    second = world.download(job)
    assert first["run"] != second["run"]
    stored = world.store(job, first)
    assert world.store(job, second) == stored
    assert clips.content(path_of(job)) == first_file


@pytest.mark.parametrize(
    "wrong",
    [{"blocks": 3}, {"blocks": 1}, {"size": 5}, {"run": "0000.00000000"}, {"size": 0}],
)
def test_blocks_that_do_not_add_up_are_not_committed(world: World, clips: Recorded, wrong: dict[str, Any]) -> None:
    """Fewer, more, other blocks, or another length than `download` vouched for: fetch again."""
    job = world.downloading()
    world.provider.files[job.outputs[0].output_id] = VIDEO + bytes(BLOCK)
    answer = world.store(job, world.download(job) | wrong)
    assert answer["fault"]["code"] == "content_invalid"
    assert clips.commits == []
    assert clips.find(path_of(job)) is None


def test_blocks_that_were_collected_as_garbage_are_fetched_again(world: World) -> None:
    """Azure drops uncommitted blocks after a week: no blocks, no commit, and the next download brings them."""
    job = world.downloading()
    staged = world.download(job)
    world.use(clips=MemoryClips())
    assert world.store(job, staged)["fault"]["code"] == "content_invalid"
    assert "clip" in world.store(job, world.download(job))


def test_blocks_that_vanish_before_the_commit_are_a_fault(world: World, clips: Recorded) -> None:
    """Listed a moment ago and gone now: the same answer."""
    job = world.downloading()
    staged = world.download(job)
    clips.lost = True
    assert world.store(job, staged)["fault"]["code"] == "content_invalid"


def test_nothing_downloaded_is_a_fault_where_no_blob_is(world: World) -> None:
    """A blob that was deleted after `download` had seen it is reported, not raised over."""
    job = world.downloading()
    assert world.store(job, {"stored": True})["fault"]["code"] == "content_invalid"


def test_a_deleted_job_keeps_no_clip(world: World, clips: Recorded) -> None:
    """The record went while its file was fetched: nothing is made visible."""
    job = world.downloading()
    staged = world.download(job)
    world.use(jobs=World().jobs)
    assert "deleted" in world.store(job, staged)["fault"]["message"]
    assert clips.commits == []


def test_a_thumbnail_is_a_jpeg_beside_the_video(world: World, clips: Recorded) -> None:
    """Its own path and type, and the same output in its metadata."""
    job = world.downloading()
    clip = world.store(job, world.download(job, part="thumbnail"), part="thumbnail")["clip"]
    assert (clip["path"], clip["content_type"]) == (path_of(job, "jpg"), "image/jpeg")
    assert clips.commits[0]["filename"] == f"video_{job.job_id}_0.jpg"


def test_odd_ids_fit_into_metadata(world: World, clips: Recorded) -> None:
    """Blob metadata is ASCII: what a provider calls its outputs is quoted."""
    job = world.downloading()
    odd = "gen ü/1?"
    job = world.force(job, outputs=(type(job.outputs[0])(odd, 480, 480, 5),))
    world.provider.files[odd] = VIDEO
    clip = world.store(job, world.download(job))["clip"]
    assert clip["output_id"] == odd
    assert clips.commits[0]["metadata"]["output"] == "gen%20%C3%BC%2F1%3F"


def test_an_owner_of_any_name_gets_a_path(world: World) -> None:
    """Slashes and dots of an owner's name do not lead out of the owner's folder."""
    job = world.downloading(owner="../eve/..")
    clip = world.store(job, world.download(job))["clip"]
    assert clip["path"].startswith("user_..~2Feve~2F.~2E/videos/")


def test_the_storage_s_failure_is_raised(world: World, clips: Recorded) -> None:
    """Our own storage is asked again by the orchestration's retries."""
    job = world.downloading()
    staged = world.download(job)

    def broken(path: str) -> StoredClip | None:
        raise ConnectionError("storage is away")

    clips.find = broken  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        world.store(job, staged)
