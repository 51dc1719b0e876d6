"""The uncommitted blocks of a blob are the checkpoint of its download. Pure.

A block's id says which run of which source it belongs to, its place, and the digest of its bytes:

    00007.5f3a.1c9be044.<SHA-256 of the block, base64url>        (63 of the 64 characters Azure allows)
    index run  source

`run` is chance, new for every download that starts at byte 0, so that two downloads at once never mix; `source` is
the digest of what identifies the file at the provider, so that a changed file is never continued. A file that arrived
whole ends in a `Mark`, ``=0003.5f3a.1c9be044.____12345678-1024-1536``: a block that is never committed.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from reelkeeper.clips.base import StagedBlock
from reelkeeper.policy import BLOCK_BYTES

_ID = re.compile(r"(\d{5})\.([0-9a-f]{4}\.[0-9a-f]{8})\.([A-Za-z0-9_-]{43})")
_MARK = re.compile(r"=(\d{4})\.([0-9a-f]{4}\.[0-9a-f]{8})\._*(\d+)-(\d+)-(\d+)")


@dataclass(frozen=True)
class Chain:
    """The blocks of one run in order, without a gap. `run` is the run and source part of their ids."""

    run: str
    block_ids: tuple[str, ...]
    size: int

    def without_last(self) -> Chain | None:
        ids = self.block_ids[:-1]
        return Chain(self.run, ids, len(ids) * BLOCK_BYTES) if ids else None

    @property
    def digest(self) -> str:
        """SHA-256 in hex of a file of one block; of more, SHA-256 over the blocks' digests, and ``-<blocks>``.

        The second form is S3's for multipart objects. A resumed download has not seen the earlier bytes, so a digest
        of the whole cannot be had without fetching them again.
        """
        parts = [_digest_of(block_id) for block_id in self.block_ids]
        return parts[0].hex() if len(parts) == 1 else f"{hashlib.sha256(b''.join(parts)).hexdigest()}-{len(parts)}"


def new_run(validator: str) -> str:
    return f"{os.urandom(2).hex()}.{source_mark(validator)}"


def source_mark(validator: str) -> str:
    return hashlib.sha256(validator.encode()).hexdigest()[:8]


def is_of_source(run: str, validator: str) -> bool:
    """Whether blocks of this run may be continued with a source that now identifies itself as `validator`.

    A source without any validator is never continued: nothing would tell that it changed.
    """
    return bool(validator) and run.endswith(f".{source_mark(validator)}")


def block_id(index: int, run: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return f"{index:05d}.{run}.{digest}"


@dataclass(frozen=True)
class Mark:
    """The end of a file that arrived whole: `size` in bytes, `width` and `height` in pixels."""

    run: str
    blocks: int
    size: int
    width: int
    height: int

    @property
    def block_id(self) -> str:
        """As long as the id of every other block."""
        return f"={self.blocks:04d}.{self.run}.{f'{self.size}-{self.width}-{self.height}':_>43}"


def marks(staged: Iterable[StagedBlock]) -> list[Mark]:
    """Every mark whose file is all there."""
    found = []
    blocks = list(staged)
    for block in blocks:
        if parsed := _MARK.fullmatch(block.block_id):
            mark = Mark(parsed[2], int(parsed[1]), int(parsed[3]), int(parsed[4]), int(parsed[5]))
            if complete(blocks, mark.run, mark.blocks, mark.size):
                found.append(mark)
    return found


def resumable(staged: Iterable[StagedBlock]) -> Chain | None:
    """The longest chain of full blocks from index 0, or None. A run with two versions of one block is left out."""
    runs: dict[str, dict[int, set[str]]] = {}
    for block in staged:
        if (parsed := _ID.fullmatch(block.block_id)) and block.size == BLOCK_BYTES:
            runs.setdefault(parsed[2], {}).setdefault(int(parsed[1]), set()).add(block.block_id)
    chains = []
    for run, places in runs.items():
        if all(len(versions) == 1 for versions in places.values()):
            ids: list[str] = []
            while len(ids) in places:
                ids += places[len(ids)]
            chains.append(Chain(run, tuple(ids), len(ids) * BLOCK_BYTES))
    return max((chain for chain in chains if chain.block_ids), key=lambda chain: chain.size, default=None)


def complete(staged: Iterable[StagedBlock], run: str, blocks: int, size: int) -> Chain | None:
    """All `blocks` of `run`, exactly `size` bytes in all, or None when they are not (or no longer) all there.

    Every block but the last is a full one; a shorter one in its place is left over from a file that ended too early.
    """
    last = blocks - 1
    places: dict[int, str] = {}
    for block in staged:
        if not (parsed := _ID.fullmatch(block.block_id)) or parsed[2] != run:
            continue
        index = int(parsed[1])
        if index > last or block.size != (size - last * BLOCK_BYTES if index == last else BLOCK_BYTES):
            continue
        if places.setdefault(index, block.block_id) != block.block_id:
            return None
    if blocks < 1 or len(places) != blocks:
        return None
    return Chain(run, tuple(places[index] for index in range(blocks)), size)


def _digest_of(block_id: str) -> bytes:
    return base64.urlsafe_b64decode(block_id.rsplit(".", 1)[1] + "=")
