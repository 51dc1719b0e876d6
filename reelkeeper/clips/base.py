"""The door to the owner's storage: blocks are staged unseen, one conditional commit makes the whole clip visible."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class StagedBlock:
    """An uncommitted block: its id as given to `stage` and its size in bytes."""

    block_id: str
    size: int


@dataclass(frozen=True)
class StoredClip:
    """A committed blob as storage describes it."""

    path: str
    size: int
    content_type: str
    metadata: dict[str, str]


class Clips(Protocol):
    """One container of blobs. Paths come from `reelkeeper.names`."""

    def staged(self, path: str) -> list[StagedBlock]:
        """The uncommitted blocks of `path` in no particular order; [] when there are none."""

    def stage(self, path: str, block_id: str, data: bytes) -> None:
        """Upload one uncommitted block; the same id again replaces it. The service checks an MD5 of the data.

        Block ids of one path must all have one length (Azure refuses others), at most 64 ASCII characters.
        """

    def commit(
        self, path: str, block_ids: list[str], *, content_type: str, filename: str, metadata: dict[str, str]
    ) -> StoredClip:
        """Make the blob visible from exactly these blocks, in this order, if there is no blob yet.

        Cache-Control is ``private, max-age=31536000, immutable``; Content-Disposition is ``inline`` with `filename`.
        When the blob is already there, nothing is changed and the stored one is returned. Raises MissingBlocks when
        a block is not staged. Metadata: ASCII values, at most 8 KiB in all (ValueError).
        """

    def find(self, path: str) -> StoredClip | None:
        """The committed blob, or None."""

    def put(self, path: str, data: bytes, *, content_type: str) -> None:
        """Write a small blob in one go, replacing what is there."""

    def read(self, path: str) -> bytes:
        """The whole of a small committed blob. Raises MissingBlob when there is none."""

    def delete_all(self, prefix: str) -> None:
        """Delete every blob whose path begins with `prefix`, and every block that was staged there.

        `prefix` ends with "/" (ValueError otherwise).
        """

    def signed_url(self, path: str, expires_at: datetime) -> str:
        """A read-only URL of this one blob, valid until `expires_at`. Made when asked, never stored or logged."""

    def ping(self) -> None:
        """Prove that the container exists (it is made when missing) and answers; raises whatever is wrong."""


class MissingBlocks(Exception):
    """A block of the list to commit is not staged (any more)."""


class MissingBlob(Exception):
    """The blob to read is not there (any more)."""
