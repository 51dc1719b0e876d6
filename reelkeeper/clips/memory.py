"""The clips in memory, for unit tests: blocks stay unseen until a conditional commit; limits as in the real store.

`content` reads back what was kept; signed URLs name a host that does not exist.
"""

from __future__ import annotations

import threading
from datetime import datetime
from urllib.parse import quote

from reelkeeper.clips import limits
from reelkeeper.clips.base import MissingBlob, MissingBlocks, StagedBlock, StoredClip
from reelkeeper.model import to_iso


class MemoryClips:
    """`Clips` in two dicts: committed blobs, and the uncommitted blocks of each path."""

    def __init__(self) -> None:
        self._blobs: dict[str, tuple[StoredClip, bytes]] = {}
        self._blocks: dict[str, dict[str, bytes]] = {}
        self._lock = threading.Lock()

    def staged(self, path: str) -> list[StagedBlock]:
        limits.check_path(path)
        with self._lock:
            return [StagedBlock(block_id, len(data)) for block_id, data in self._blocks.get(path, {}).items()]

    def stage(self, path: str, block_id: str, data: bytes) -> None:
        limits.check_path(path)
        limits.check_block(block_id, data)
        with self._lock:
            blocks = self._blocks.setdefault(path, {})
            limits.check_block_ids([block_id, *blocks])
            blocks[block_id] = bytes(data)

    def commit(
        self, path: str, block_ids: list[str], *, content_type: str, filename: str, metadata: dict[str, str]
    ) -> StoredClip:
        limits.check_path(path)
        limits.check_block_ids(block_ids)
        limits.check_metadata(metadata)
        limits.inline_disposition(filename)
        with self._lock:
            if path not in self._blobs:
                blocks = self._blocks.get(path, {})
                if not blocks.keys() >= set(block_ids):
                    raise MissingBlocks(f"not all {len(block_ids)} blocks of {path} are staged (any more)")
                self._keep(path, b"".join(blocks[block_id] for block_id in block_ids), content_type, metadata)
            return self._stored(path)

    def find(self, path: str) -> StoredClip | None:
        limits.check_path(path)
        with self._lock:
            return self._stored(path) if path in self._blobs else None

    def put(self, path: str, data: bytes, *, content_type: str) -> None:
        limits.check_path(path)
        with self._lock:
            self._keep(path, bytes(data), content_type, {})

    def read(self, path: str) -> bytes:
        limits.check_path(path)
        with self._lock:
            if path not in self._blobs:
                raise MissingBlob(f"{path} is not there")
            return self._blobs[path][1]

    def delete_all(self, prefix: str) -> None:
        limits.check_prefix(prefix)
        with self._lock:
            self._blobs = {path: blob for path, blob in self._blobs.items() if not path.startswith(prefix)}
            self._blocks = {path: blocks for path, blocks in self._blocks.items() if not path.startswith(prefix)}

    def signed_url(self, path: str, expires_at: datetime) -> str:
        limits.check_path(path)
        return f"https://memory.invalid/{quote(path, safe='/~')}?se={quote(to_iso(expires_at) or '')}&sp=r&sig=memory"

    def ping(self) -> None:
        """Memory always answers."""

    def content(self, path: str) -> bytes:
        """The bytes of a committed blob; KeyError when there is none."""
        with self._lock:
            return self._blobs[path][1]

    def drop_blocks(self) -> None:
        """Forget every uncommitted block, as storage does after a week."""
        with self._lock:
            self._blocks.clear()

    def _keep(self, path: str, data: bytes, content_type: str, metadata: dict[str, str]) -> None:
        self._blobs[path] = (StoredClip(path, len(data), content_type, dict(metadata)), data)
        self._blocks.pop(path, None)

    def _stored(self, path: str) -> StoredClip:
        clip = self._blobs[path][0]
        return StoredClip(clip.path, clip.size, clip.content_type, dict(clip.metadata))
