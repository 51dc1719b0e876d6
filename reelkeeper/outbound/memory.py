"""`Fetcher` in memory: the fake beside the real one. It passes the same contract tests, and tests steer it."""

from __future__ import annotations

from reelkeeper.outbound.base import NotFetched


class MemoryFetcher:
    """`files`: the bytes by address. `planned`: what the next fetches raise instead. `asked`: every address so far."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.planned: list[NotFetched] = []
        self.asked: list[str] = []

    def fetch(self, url: str, most: int) -> bytes:
        self.asked.append(url)
        if self.planned:
            raise self.planned.pop(0)
        data = self.files.get(url)
        if data is None:
            raise NotFetched("answers HTTP 404")
        if len(data) > most:
            raise NotFetched(f"holds more than {most // 1024**2} MiB")
        return data
