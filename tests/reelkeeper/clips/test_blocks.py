"""The staged blocks as a checkpoint: only a gapless chain of one run is continued, only all of it is committed."""

from __future__ import annotations

import base64
import hashlib
import random
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reelkeeper.clips import limits
from reelkeeper.clips.base import StagedBlock
from reelkeeper.clips.blocks import Chain, block_id, complete, is_of_source, new_run, resumable, source_mark
from reelkeeper.clips.memory import MemoryClips
from reelkeeper.policy import BLOCK_BYTES

RUNS = ("0a0a.11111111", "0b0b.11111111", "0c0c.22222222")
SIZES = (1, 7, BLOCK_BYTES - 1, BLOCK_BYTES)


@dataclass(frozen=True)
class Piece:
    """A block as it was staged; `version` stands for its bytes."""

    run: str
    index: int
    version: int
    size: int

    @property
    def staged(self) -> StagedBlock:
        return StagedBlock(self.id, self.size)

    @property
    def id(self) -> str:
        return block_id(self.index, self.run, f"{self.version} {self.size}".encode())


pieces = st.builds(
    Piece, st.sampled_from(RUNS), st.integers(0, 6), st.integers(0, 1), st.sampled_from(SIZES) | st.just(BLOCK_BYTES)
)
strangers = st.builds(
    StagedBlock,
    st.sampled_from(["", "block-1", "00001", "0000.0a0a.11111111." + "A" * 43, "00000.0a0a.11111111." + "A" * 42])
    | st.text(max_size=70),
    st.sampled_from(SIZES),
)


def full_chain_length(run: str, staged: set[Piece]) -> int:
    """How many full blocks of `run` lie gapless from index 0; 0 when any full block of it comes in two versions."""
    places = [piece.index for piece in staged if piece.run == run and piece.size == BLOCK_BYTES]
    if len(places) != len(set(places)):
        return 0
    return next(length for length in range(8) if length not in places)


@given(st.sets(pieces, max_size=24), st.lists(strangers, max_size=4), st.randoms())
def test_what_is_resumed_is_the_longest_gapless_chain_of_one_run(
    staged: set[Piece], others: list[StagedBlock], chance: random.Random
) -> None:
    """Whatever mix of runs, gaps, versions, short and foreign blocks lies there, in whatever order."""
    blocks = [piece.staged for piece in staged] + others
    chance.shuffle(blocks)
    longest = max(full_chain_length(run, staged) for run in RUNS)
    chain = resumable(blocks)
    if chain is None:
        assert longest == 0
        return
    assert len(chain.block_ids) == longest == full_chain_length(chain.run, staged) > 0
    assert chain.size == longest * BLOCK_BYTES
    by_id = {piece.id: piece for piece in staged}
    found = [by_id[one] for one in chain.block_ids]
    assert [(piece.run, piece.index, piece.size) for piece in found] == [
        (chain.run, index, BLOCK_BYTES) for index in range(longest)
    ]


@given(st.integers(1, 6), st.sampled_from(SIZES), st.sets(pieces, max_size=16), st.randoms())
@example(2, 7, {Piece(RUNS[0], 1, 1, BLOCK_BYTES)}, random.Random(0))
def test_a_complete_file_is_found_among_all_else(
    count: int, last: int, staged: set[Piece], chance: random.Random
) -> None:
    """Exactly the vouched-for blocks, in order; None when a place is filled twice over, so that nothing is guessed."""
    ours = [Piece(RUNS[0], index, 0, BLOCK_BYTES) for index in range(count - 1)]
    ours.append(Piece(RUNS[0], count - 1, 0, last))
    size = sum(piece.size for piece in ours)
    twice = any(
        (piece.run, piece.index, piece.size) == (mine.run, mine.index, mine.size) and piece != mine
        for piece in staged
        for mine in ours
    )
    blocks = [piece.staged for piece in staged | set(ours)]
    chance.shuffle(blocks)
    chain = complete(blocks, RUNS[0], count, size)
    if twice:
        assert chain is None
    else:
        assert chain == Chain(RUNS[0], tuple(piece.id for piece in ours), size)


@given(st.sets(pieces, max_size=20), st.integers(-1, 8), st.integers(-1, 7 * BLOCK_BYTES))
def test_nothing_but_the_whole_is_complete(staged: set[Piece], count: int, size: int) -> None:
    """What comes back always has the asked number of blocks, one per place, and the asked number of bytes."""
    chain = complete([piece.staged for piece in staged], RUNS[0], count, size)
    if chain is not None:
        by_id = {piece.id: piece for piece in staged}
        found = [by_id[one] for one in chain.block_ids]
        assert [(piece.run, piece.index) for piece in found] == [(RUNS[0], index) for index in range(count)]
        assert sum(piece.size for piece in found) == size == chain.size
        assert count > 0


def test_a_missing_block_is_noticed_wherever_it_was() -> None:
    """Azure forgets uncommitted blocks after a week, and somebody may have cleaned up."""
    ours = [Piece(RUNS[0], index, 0, BLOCK_BYTES).staged for index in range(4)]
    assert complete(ours, RUNS[0], 4, 4 * BLOCK_BYTES) is not None
    for index in range(4):
        assert complete(ours[:index] + ours[index + 1 :], RUNS[0], 4, 4 * BLOCK_BYTES) is None
    assert complete(ours, RUNS[1], 4, 4 * BLOCK_BYTES) is None
    assert complete(ours, RUNS[0], 4, 4 * BLOCK_BYTES - 1) is None
    assert complete(ours, RUNS[0], 5, 5 * BLOCK_BYTES) is None


def test_a_short_block_of_a_file_that_ended_early_stands_in_nobodys_way() -> None:
    """When the same run goes on behind it, the full block in its place counts."""
    early = Piece(RUNS[0], 1, 0, 100)
    later = [Piece(RUNS[0], 0, 0, BLOCK_BYTES), Piece(RUNS[0], 1, 1, BLOCK_BYTES), Piece(RUNS[0], 2, 0, 5)]
    staged = [piece.staged for piece in (early, *later)]
    chain = complete(staged, RUNS[0], 3, 2 * BLOCK_BYTES + 5)
    assert chain is not None
    assert chain.block_ids == tuple(piece.id for piece in later)


def test_one_block_less_finds_out_whether_the_source_is_the_same() -> None:
    """Stepping back keeps the run and gives up exactly one block, down to nothing."""
    ids = tuple(Piece(RUNS[0], index, 0, BLOCK_BYTES).id for index in range(2))
    one = Chain(RUNS[0], ids, 2 * BLOCK_BYTES).without_last()
    assert one == Chain(RUNS[0], ids[:1], BLOCK_BYTES)
    assert one.without_last() is None


@given(st.integers(0, limits.MAX_BLOCKS - 1), st.text(max_size=30), st.binary(max_size=64))
def test_every_block_id_suits_azure_and_tells_its_place(index: int, validator: str, data: bytes) -> None:
    """One length for all, within 64 ASCII characters, readable again, and different for other bytes."""
    run = new_run(validator)
    made = block_id(index, run, data)
    assert len(made) == 63
    limits.check_block(made, b"x")
    limits.check_block_ids([made, block_id(0, new_run(""), b"")])
    assert made.startswith(f"{index:05d}.{run}.")
    assert made == block_id(index, run, data) != block_id(index, run, data + b"x")
    (last,) = [StagedBlock(made, 5)]
    places = [StagedBlock(block_id(at, run, b""), BLOCK_BYTES) for at in range(min(index, 3))]
    if index <= 3:
        assert complete([*places, last], run, index + 1, index * BLOCK_BYTES + 5) is not None


def test_block_ids_survive_the_store() -> None:
    """What was staged under these ids is resumed from the store's own listing."""
    clips, run = MemoryClips(), new_run("etag")
    for index in (1, 0):
        data = bytes([index]) * BLOCK_BYTES
        clips.stage("user_ada/videos/x/0.mp4", block_id(index, run, data), data)
    chain = resumable(clips.staged("user_ada/videos/x/0.mp4"))
    assert chain is not None
    assert (chain.run, chain.size) == (run, 2 * BLOCK_BYTES)


@pytest.mark.parametrize(
    ("begun", "now", "same"),
    [
        ('"abc"|now|10', '"abc"|now|10', True),
        ('"abc"|now|10', '"abd"|now|10', False),
        ('"abc"|now|10', "", False),
        ("", "", False),
        ("", '"abc"', False),
    ],
)
def test_only_a_source_that_proves_to_be_the_same_is_continued(begun: str, now: str, same: bool) -> None:
    """A changed file, or one that tells nothing about itself, starts anew."""
    assert is_of_source(new_run(begun), now) is same


def test_two_downloads_of_one_file_never_share_a_run() -> None:
    """The source's mark is the same, the rest is chance."""
    runs = {new_run('"abc"') for _ in range(8)}
    assert len(runs) > 1
    assert {run.partition(".")[2] for run in runs} == {source_mark('"abc"')}


def test_the_digest_of_one_block_is_the_files_own() -> None:
    """Small files have a digest that any tool can check."""
    data = b"a whole video"
    assert Chain(RUNS[0], (block_id(0, RUNS[0], data),), len(data)).digest == hashlib.sha256(data).hexdigest()


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=2, max_size=6))
def test_the_digest_of_more_blocks_is_that_of_their_digests(parts: list[bytes]) -> None:
    """As for S3's multipart objects: computable without fetching the file again, and independent of the run."""
    digests = []
    for run in RUNS:
        ids = tuple(block_id(index, run, data) for index, data in enumerate(parts))
        digests.append(Chain(run, ids, sum(map(len, parts))).digest)
    joined = b"".join(hashlib.sha256(data).digest() for data in parts)
    assert set(digests) == {f"{hashlib.sha256(joined).hexdigest()}-{len(parts)}"}
    assert base64.urlsafe_b64decode(ids[0].rsplit(".", 1)[1] + "=") == hashlib.sha256(parts[0]).digest()
