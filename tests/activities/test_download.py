"""download: bounded memory, resumed behind the last full block, and nothing but the promised media."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from world import START, World

from activities.download import _in_blocks
from reelkeeper import model, names, policy
from reelkeeper.clips import blocks
from reelkeeper.clips.base import StagedBlock
from reelkeeper.clips.memory import MemoryClips
from reelkeeper.model import Job, Output
from reelkeeper.providers.base import Content
from reelkeeper.providers.memory import VIDEO, MemoryContent, refusal

BLOCK = policy.BLOCK_BYTES
FTYP = VIDEO[:32]


def path_of(job: Job, extension: str = "mp4", index: int = 0) -> str:
    return names.clip_path(job.owner, job.kind, job.job_id, index, extension)


def set_file(world: World, job: Job, data: bytes, index: int = 0) -> None:
    world.provider.files[job.outputs[index].output_id] = data


def video_of(size: int, fill: int = 7) -> bytes:
    return FTYP + bytes([fill]) * (size - len(FTYP))


def staged_bytes(world: World, job: Job, staged: dict[str, Any], size: int) -> bytes:
    """What committing the answer of `download` would make visible."""
    stored = world.store(job, staged)
    assert stored["clip"]["size"] == size
    return world.clips.content(path_of(job))


class Unmoved(MemoryClips):
    """Counts what is staged and keeps only the sizes: memory stays the downloader's own."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[str, int] = {}

    def stage(self, path: str, block_id: str, data: bytes) -> None:
        self.sizes[block_id] = len(data)

    def staged(self, path: str) -> list[StagedBlock]:
        return [StagedBlock(block_id, size) for block_id, size in self.sizes.items()]


class Made:
    """A download of `size` bytes that are made as they are read, in pieces of `piece` bytes."""

    offset, media_type, validator = 0, "video/mp4", "v1"

    def __init__(self, size: int, piece: int) -> None:
        self.total: int | None = size
        self._piece = piece

    def chunks(self) -> Iterator[bytes]:
        yield FTYP
        for start in range(len(FTYP), self.total or 0, self._piece):
            yield bytes(min(self._piece, (self.total or 0) - start))

    def __enter__(self) -> Made:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


def test_a_video_is_staged_and_not_yet_visible(world: World) -> None:
    """The answer vouches for the blocks; no blob is there before `store`."""
    job = world.downloading()
    staged = world.download(job)
    assert {key: staged[key] for key in ("blocks", "size")} == {"blocks": 1, "size": len(VIDEO) + 12}
    assert world.clips.find(path_of(job)) is None
    assert staged_bytes(world, job, staged, staged["size"]) == VIDEO + b"gen_task_1_0"


def test_a_large_file_is_cut_into_blocks(world: World) -> None:
    """All blocks but the last have the block size, whatever sizes the pieces arrive in."""
    job = world.downloading()
    data = video_of(2 * BLOCK + 5)
    set_file(world, job, data)
    staged = world.download(job)
    assert (staged["blocks"], staged["size"]) == (3, len(data))
    sizes = sorted(block.size for block in world.clips.staged(path_of(job)))
    assert sizes == [5, BLOCK, BLOCK]
    assert staged_bytes(world, job, staged, len(data)) == data


@pytest.mark.parametrize("piece", [60_000, 1024 * 1024])
def test_memory_stays_flat(world: World, piece: int) -> None:
    """64 MiB go through with less than 16 MiB held at any time."""
    size = 64 * 1024 * 1024
    clips = Unmoved()
    world.use(clips=clips)
    job = world.downloading()
    world.provider.open_output = lambda output, offset=0: Made(size, piece)  # type: ignore[method-assign]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        staged = world.download(job)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert (staged["size"], sum(clips.sizes.values())) == (size, size)
    assert peak < 16 * 1024 * 1024


@pytest.mark.parametrize("piece", [1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_pieces_of_any_size_make_the_same_blocks(piece: int) -> None:
    """However the network cuts the stream, nothing is lost, doubled or moved."""
    data = bytes(range(251)) * (50 if piece == 1 else 40_000)
    pieces = (data[start : start + piece] for start in range(0, len(data), piece))
    made = list(_in_blocks(pieces))
    assert b"".join(made) == data
    assert [len(block) for block in made[:-1]] == [BLOCK] * (len(data) // BLOCK)


def test_a_cut_download_goes_on_behind_its_last_full_block(world: World) -> None:
    """At most one block is fetched twice, and the file is whole in the end."""
    job = world.downloading()
    data = video_of(3 * BLOCK + 999)
    set_file(world, job, data)
    world.provider.cut_at = 2 * BLOCK + 12_345
    first = world.download(job)
    assert (first["fault"]["code"], first["again"]) == ("provider_error", True)
    staged = world.download(job)
    assert world.provider.opened_at == [0, 2 * BLOCK]
    assert (staged["blocks"], staged["size"]) == (4, len(data))
    assert staged_bytes(world, job, staged, len(data)) == data


def test_many_cuts_in_a_row_still_end_in_the_whole_file(world: World) -> None:
    """Every try gets on by the blocks that it filled."""
    job = world.downloading()
    data = video_of(4 * BLOCK + 1)
    set_file(world, job, data)
    for cut in (10, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 4 * BLOCK):
        world.provider.cut_at = cut
        assert "fault" in world.download(job)
    staged = world.download(job)
    assert world.provider.opened_at == [0, 0, BLOCK, BLOCK, 2 * BLOCK, 4 * BLOCK]
    assert staged_bytes(world, job, staged, len(data)) == data


def test_downloading_again_is_harmless(world: World) -> None:
    """Run as often as you like before `store`: each answer can be committed."""
    job = world.downloading()
    data = video_of(2 * BLOCK + 77)
    set_file(world, job, data)
    answers = [world.download(job) for _ in range(4)]
    assert world.provider.opened_at[1:] == [2 * BLOCK] * 3
    assert answers[0] == answers[-1]
    assert staged_bytes(world, job, answers[0], len(data)) == data


def test_a_file_that_ends_with_a_full_block_is_finished_too(world: World) -> None:
    """416 behind the last block: one block less finds out whether the source is still the same."""
    job = world.downloading()
    data = video_of(2 * BLOCK)
    set_file(world, job, data)
    first = world.download(job)
    again = world.download(job)
    assert first == again
    assert world.provider.opened_at == [0, 2 * BLOCK, BLOCK]
    assert staged_bytes(world, job, again, len(data)) == data


def test_a_file_of_one_full_block_is_fetched_again(world: World) -> None:
    """416 with no block before it: there is nothing to compare with, so it starts anew."""
    job = world.downloading()
    data = video_of(BLOCK)
    set_file(world, job, data)
    world.download(job)
    again = world.download(job)
    assert world.provider.opened_at == [0, BLOCK, 0]
    assert staged_bytes(world, job, again, len(data)) == data


def test_a_source_that_shrank_is_fetched_anew(world: World) -> None:
    """416 at every offset that we could go on from: the file is another one."""
    job = world.downloading()
    set_file(world, job, video_of(4 * BLOCK))
    world.provider.cut_at = 3 * BLOCK
    world.download(job)
    data = video_of(BLOCK + 3, fill=9)
    set_file(world, job, data)
    staged = world.download(job)
    assert world.provider.opened_at == [0, 3 * BLOCK, 2 * BLOCK, 0]
    assert staged_bytes(world, job, staged, len(data)) == data


def test_a_changed_source_starts_anew(world: World) -> None:
    """Two files are never mixed: another validator means another run from byte 0."""
    job = world.downloading()
    set_file(world, job, video_of(2 * BLOCK + 9))
    world.provider.cut_at = 2 * BLOCK
    world.download(job)
    data = video_of(2 * BLOCK + 10, fill=9)
    set_file(world, job, data)
    staged = world.download(job)
    assert world.provider.opened_at == [0, 2 * BLOCK, 0]
    assert staged_bytes(world, job, staged, len(data)) == data


def test_a_source_without_validator_is_never_continued(world: World) -> None:
    """Nothing would tell that it changed."""
    job = world.downloading()
    data = video_of(2 * BLOCK + 9)

    def open_output(output: Output, offset: int = 0) -> Content:
        world.provider.opened_at.append(offset)
        content = MemoryContent(data, offset, "video/mp4", 2 * BLOCK if len(world.provider.opened_at) == 1 else None)
        content.validator = ""
        return content

    world.provider.open_output = open_output  # type: ignore[method-assign]
    world.download(job)
    staged = world.download(job)
    assert world.provider.opened_at == [0, 2 * BLOCK, 0]
    assert staged_bytes(world, job, staged, len(data)) == data


def test_a_server_without_ranges_is_read_from_the_start(world: World) -> None:
    """It answers the whole file: that very answer is used, not thrown away."""
    job = world.downloading()
    world.provider.ranges = False
    data = video_of(2 * BLOCK + 9)
    set_file(world, job, data)
    world.provider.cut_at = 2 * BLOCK
    world.download(job)
    staged = world.download(job)
    assert world.provider.opened_at == [0, 2 * BLOCK]
    assert staged_bytes(world, job, staged, len(data)) == data


def test_a_server_that_begins_elsewhere_is_not_believed(world: World) -> None:
    """Another offset than asked for, not 0 either: open anew from the start."""
    job = world.downloading()
    data = video_of(2 * BLOCK + 9)
    set_file(world, job, data)
    world.provider.cut_at = 2 * BLOCK
    world.download(job)
    honest = world.provider.open_output
    world.provider.open_output = lambda output, offset=0: honest(output, offset and offset - 5)  # type: ignore[method-assign]
    staged = world.download(job)
    assert world.provider.opened_at == [0, 2 * BLOCK - 5, 0]
    assert staged_bytes(world, job, staged, len(data)) == data


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/json", b'{"error": {"code": "internal"}}'),
        ("application/problem+json", VIDEO),
        ("text/html", b"<html><body>Sign in</body></html>"),
        ("text/html", VIDEO),
        ("video/mp4", b'{"error": {"code": "internal"}}'),
        ("video/mp4", b"<!doctype html><html></html>"),
        ("video/mp4", b"\x00" * 5000),
        ("video/mp4", b"\x00\x00\x00\x14ftypqt  " + b"\x00" * 500),
        ("video/mp4", b"\xff\xd8\xff\xe0" + b"\x00" * 500),
        ("video/mp4", FTYP[:6]),
        ("video/mp4", b""),
    ],
)
def test_what_is_not_the_promised_media_is_not_staged(world: World, media_type: str, body: bytes) -> None:
    """JSON, HTML, garbage, another container, nothing at all: refused by its first bytes or its own word."""
    job = world.downloading()
    world.provider.media_type = media_type
    set_file(world, job, body)
    answer = world.download(job)
    assert (answer["fault"]["code"], answer["again"], answer["retry_after"]) == ("content_invalid", True, 0)
    assert "refused" in answer["fault"]["provider_message"]
    assert world.clips.staged(path_of(job)) == []


@pytest.mark.parametrize("media_type", ["video/mp4", "application/octet-stream", "binary/octet-stream", ""])
def test_the_bytes_decide_where_the_label_is_vague(world: World, media_type: str) -> None:
    """Real servers label good files as anything."""
    job = world.downloading()
    world.provider.media_type = media_type
    assert world.download(job)["size"] == len(VIDEO) + 12


def test_a_truncated_download_is_never_committed(world: World) -> None:
    """What the cut left behind is not vouched for, so `store` has nothing to commit."""
    job = world.downloading()
    set_file(world, job, video_of(BLOCK + 100))
    world.provider.cut_at = BLOCK + 50
    answer = world.download(job)
    assert "run" not in answer
    assert world.store(job, answer)["fault"]["code"] == "content_invalid"
    assert world.clips.find(path_of(job)) is None


def test_a_committed_blob_is_not_fetched_again(world: World) -> None:
    """The provider is not even asked."""
    job = world.downloading()
    world.keep(job)
    opened = list(world.provider.opened_at)
    for _ in range(3):
        assert world.download(job) == {"stored": True}
    assert world.provider.opened_at == opened


@pytest.mark.parametrize("status", sorted(model.TERMINAL - {model.COMPLETED}))
def test_an_ended_job_is_not_fetched(world: World, status: str) -> None:
    """Nobody asks the provider for the file of a job that was cancelled or has expired."""
    job = world.force(world.downloading(), status=status)
    assert world.download(job) == {"stored": True}
    assert world.provider.opened_at == []
    assert "fault" in world.store(job, {"stored": True})


def test_a_deleted_job_is_not_fetched(world: World) -> None:
    """Its record is gone, so is the wish for its file."""
    assert world.download(World().record()) == {"stored": True}


@pytest.mark.parametrize(
    ("code", "again"),
    [("content_not_ready", True), ("content_invalid", True), ("provider_error", True), ("rate_limited", True),
     ("too_many_running", True), ("invalid_credentials", False), ("content_expired", False)],
)  # fmt: skip
def test_a_refusal_says_whether_minutes_help(world: World, code: str, again: bool) -> None:
    """What another try may heal is told apart from what only the sweep, or a person, may."""
    job = world.downloading()
    world.provider.planned["open_output"] = [refusal(code, retry_after=12)]
    assert world.download(job) == {"fault": refusal(code).fault.to_dict(), "again": again, "retry_after": 12}


def test_a_long_retry_after_is_capped(world: World) -> None:
    """A provider's slip of a week does not hold up the orchestration for a week."""
    job = world.downloading()
    world.provider.planned["open_output"] = [refusal("rate_limited", retry_after=604_800)]
    assert world.download(job)["retry_after"] == policy.LONGEST_WAIT


@pytest.mark.parametrize("code", ["content_not_ready", "provider_error", "content_invalid"])
def test_past_the_expiry_every_refusal_is_final(world: World, code: str) -> None:
    """The provider has deleted it by its own word: no more tries, and the code says why."""
    job = world.downloading()
    world.clock.moment = START + timedelta(hours=24)
    world.provider.planned["open_output"] = [refusal(code)]
    answer = world.download(job)
    assert (answer["fault"]["code"], answer["again"]) == ("content_expired", False)
    assert answer["fault"]["provider_message"] == f"simulated {code}"


def test_past_the_expiry_what_is_handed_out_is_kept(world: World) -> None:
    """Better late than never."""
    job = world.downloading()
    world.clock.advance(hours=30)
    assert world.download(job)["blocks"] == 1


@pytest.mark.parametrize("moved", [False, True])
def test_a_provider_that_is_not_configured_any_more_is_waited_for(world: World, moved: bool) -> None:
    """Gone, or another resource under the same name: the file stays wanted until the provider's expiry."""
    job = world.downloading()
    if moved:
        world.provider.place = "memory elsewhere"
    else:
        world.services.providers.clear()
    answer = world.download(job)
    assert (answer["fault"]["code"], answer["again"]) == ("provider_error", False)
    assert "'memory sora'" in answer["fault"]["message"]
    assert world.provider.opened_at == []
    world.clock.advance(hours=24)
    assert world.download(job)["fault"]["code"] == "content_expired"


def test_the_watchdog_gives_a_download_its_time(world: World) -> None:
    """The row is pushed before the first byte, with the expiry that the sweep sorts by."""
    job = world.downloading()
    world.download(job)
    row = world.watched()[job.job_id]
    assert (row.due, row.expires_at) == (START + policy.STEP_GRACE, job.expires_at)


def test_a_long_download_is_not_taken_for_dead(world: World) -> None:
    """While blocks arrive the row is pushed on; should the process die, the sweep looks two minutes later."""
    job = world.downloading()
    set_file(world, job, video_of(5 * policy.BLOCK_BYTES))

    class SlowClips(MemoryClips):
        def stage(self, path: str, block_id: str, data: bytes) -> None:
            super().stage(path, block_id, data)
            world.clock.advance(minutes=1)

    world.use(clips=SlowClips())
    world.download(job)
    assert world.watched()[job.job_id].due == START + timedelta(minutes=5) + policy.STEP_GRACE


def test_the_thumbnail_is_a_part_of_its_own(world: World) -> None:
    """It has its own blob and its own media type."""
    job = world.downloading()
    staged = world.download(job, part="thumbnail")
    assert (staged["blocks"], staged["size"]) == (1, 68)
    assert world.clips.staged(path_of(job)) == []
    assert len(world.clips.staged(path_of(job, "jpg"))) == 1


def test_no_thumbnail_is_an_answer(world: World) -> None:
    """A provider without previews: a fault that `keep` may ignore."""
    job = world.downloading()
    world.provider.thumbnails.clear()
    assert world.download(job, part="thumbnail")["fault"]["code"] == "content_not_ready"


def test_a_thumbnail_that_is_no_picture_is_refused(world: World) -> None:
    """The video's bytes in place of the picture's are not stored as a JPEG."""
    job = world.downloading()
    world.provider.thumbnails[job.outputs[0].output_id] = VIDEO
    assert world.download(job, part="thumbnail")["fault"]["code"] == "content_invalid"
    assert world.clips.staged(path_of(job, "jpg")) == []


def test_each_output_has_its_own_blocks(world: World) -> None:
    """Outputs side by side never share a path."""
    job = world.downloading(n_variants=3)
    runs = [world.download(job, index)["run"] for index in range(3)]
    assert len(set(runs)) == 3
    assert all(len(world.clips.staged(path_of(job, index=index))) == 1 for index in range(3))


def test_the_storage_s_failure_is_raised(world: World) -> None:
    """Our own storage is no answer of the provider's: raise, and the orchestration tries again."""
    job = world.downloading()

    class Broken(MemoryClips):
        def stage(self, path: str, block_id: str, data: bytes) -> None:
            raise ConnectionError("storage is away")

    world.use(clips=Broken())
    with pytest.raises(ConnectionError):
        world.download(job)


def test_block_ids_name_run_place_and_digest(world: World) -> None:
    """The checkpoint can be read without the record: the ids alone tell what is there."""
    job = world.downloading()
    set_file(world, job, video_of(BLOCK + 1))
    staged = world.download(job)
    chain = blocks.complete(world.clips.staged(path_of(job)), staged["run"], 2, BLOCK + 1)
    assert chain is not None
    assert [block_id[:6] for block_id in chain.block_ids] == ["00000.", "00001."]
    assert replace(chain, size=0).run == staged["run"]
