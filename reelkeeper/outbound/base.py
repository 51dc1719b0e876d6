"""The door to what callers' addresses lead to. They may be signed: no message and no log repeats one."""

from __future__ import annotations

from typing import Protocol


class NotFetched(Exception):
    """The file cannot be had. The message is for the caller, and goes on where "the address ..." ends."""


class FetcherBusy(NotFetched):
    """Nothing is wrong with the address: as many files as may be fetched at once are on their way already."""

    def __init__(self) -> None:
        super().__init__("was not asked yet: too many files are being fetched at the moment; try again")


class Fetcher(Protocol):
    def fetch(self, url: str, most: int) -> bytes:
        """The file at `url`, of `most` bytes at most. Raises NotFetched; blocks for seconds, so never an event loop."""
