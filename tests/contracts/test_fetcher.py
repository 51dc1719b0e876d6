"""What every `Fetcher` promises: the real one against a server, and the fake."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from reelkeeper.outbound.base import Fetcher, FetcherBusy, NotFetched
from reelkeeper.outbound.memory import MemoryFetcher
from reelkeeper.outbound.web import WebFetcher

sys.path.append(str(Path(__file__).parents[1] / "fakes"))

from wire import Wire

FILE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8192
MIB = 1024**2


class Place(Protocol):
    """Where files can be; `put` tells the address of one."""

    fetcher: Fetcher

    def put(self, path: str, data: bytes | None) -> str: ...


class MemoryPlace:
    def __init__(self) -> None:
        self.fetcher = self._memory = MemoryFetcher()

    def put(self, path: str, data: bytes | None) -> str:
        url = f"https://pictures.example{path}"
        if data is not None:
            self._memory.files[url] = data
        return url


class WebPlace:
    def __init__(self) -> None:
        self.fetcher = WebFetcher(allow_private=True)
        self._files: dict[str, bytes] = {}
        self._wire = Wire(self._answer)
        self.close = self._wire.close

    def put(self, path: str, data: bytes | None) -> str:
        if data is not None:
            self._files[path] = data
        return f"{self._wire.url}{path}"

    def _answer(self, head: str) -> bytes:
        data = self._files.get(head.split()[1])
        status = "404 Not Found" if data is None else "200 OK"
        return f"HTTP/1.1 {status}\r\nContent-Length: {len(data or b'')}\r\n\r\n".encode() + (data or b"")


@pytest.fixture(params=["memory", "web"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "memory":
        yield MemoryPlace()
        return
    web = WebPlace()
    yield web
    web.close()


def words(place: Place, url: str, most: int = 20 * MIB) -> str:
    with pytest.raises(NotFetched) as caught:
        place.fetcher.fetch(url, most)
    return str(caught.value)


def test_a_file_comes_whole(place: Place) -> None:
    """Each from its own address, query and all, as often as it is asked for."""
    first, second = place.put("/a.png?sig=1", FILE), place.put("/a.png?sig=2", b"other")
    assert [place.fetcher.fetch(url, 20 * MIB) for url in (first, second, first)] == [FILE, b"other", FILE]


def test_an_empty_file_is_a_file(place: Place) -> None:
    """What it is worth, its reader says."""
    assert place.fetcher.fetch(place.put("/none.png", b""), MIB) == b""


def test_a_file_may_have_the_limit_and_no_byte_more(place: Place) -> None:
    """The words name the limit in MiB."""
    url = place.put("/a.png", FILE[: 2 * MIB])
    assert place.fetcher.fetch(url, 2 * MIB) == FILE[: 2 * MIB]
    assert words(place, place.put("/b.png", FILE[: 2 * MIB + 1]), 2 * MIB) == "holds more than 2 MiB"


def test_where_nothing_is_nothing_comes(place: Place) -> None:
    """The words go on where "the address ..." ends, and repeat nothing of it."""
    assert words(place, place.put("/album-7/a.png?sig=SECRET", None)) == "answers HTTP 404"


@pytest.mark.parametrize("url", ["", "a.png", "ftp://pictures.example/a.png", "file:///etc/passwd", "https://[::1"])
def test_what_is_no_web_address_is_not_fetched(place: Place, url: str) -> None:
    """It is told as any other failure, not raised as one of ours."""
    assert words(place, url)


def test_a_failure_is_over_with_its_fetch(place: Place) -> None:
    """The next one is served."""
    missing = place.put("/none", None)
    for _ in range(8):
        words(place, missing)
    assert place.fetcher.fetch(place.put("/a.png", FILE), 20 * MIB) == FILE


def test_several_are_fetched_side_by_side(place: Place, race: Callable[..., list[object]]) -> None:
    """More than have a place at once: quick ones wait for each other."""
    urls = [place.put(f"/{number}.png", f"{number}".encode()) for number in range(8)]
    assert race(lambda number: place.fetcher.fetch(urls[number], MIB)) == [f"{number}".encode() for number in range(8)]


def test_planned_failures_come_in_order() -> None:
    """Of the fake alone: each once, and every address is remembered."""
    fetcher = MemoryFetcher()
    fetcher.files["https://a.example/"] = FILE
    fetcher.planned += [FetcherBusy(), NotFetched("answers HTTP 500")]
    for kind in (FetcherBusy, NotFetched):
        with pytest.raises(kind):
            fetcher.fetch("https://a.example/", 20 * MIB)
    assert fetcher.fetch("https://a.example/", 20 * MIB) == FILE
    assert fetcher.asked == ["https://a.example/"] * 3
