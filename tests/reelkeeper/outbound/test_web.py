"""Files at addresses that callers gave: where we go and where not, how much and how long, and what the words tell."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import responses

from reelkeeper.outbound.base import FetcherBusy, NotFetched
from reelkeeper.outbound.web import WebFetcher

Start = Callable[..., Any]
FILE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
LIMIT = 20 * 1024 * 1024


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    fields = {"Content_Length": str(len(body)), "Content_Type": "image/png", **headers}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {text}" for name, text in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def refusal(url: str, limit: int = LIMIT, allow_private: bool = True, seconds: float = 20.0) -> str:
    """The words with which the fetch ends."""
    with pytest.raises(NotFetched) as caught:
        WebFetcher(allow_private, seconds=seconds).fetch(url, limit)
    return str(caught.value)


def test_a_file_is_fetched_and_nothing_of_ours_goes_out(wire: Start) -> None:
    """No cookie, no credentials, no compression; the whole file comes in."""
    server = wire(answer(200, FILE, Set_Cookie="who=me"))
    assert WebFetcher(True).fetch(f"{server.url}/a.png?sig=x", LIMIT) == FILE
    (head,) = server.requests
    fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
    assert head.startswith("GET /a.png?sig=x HTTP/1.1")
    assert fields.keys() == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}
    assert (fields["User-Agent"], fields["Accept-Encoding"]) == ("reelkeeper", "identity")


def test_redirects_are_followed_without_cookies(wire: Start) -> None:
    """Five of them, also to another path; a cookie set on the way is not brought back."""
    pages = {f"/{number}": answer(302, Location=f"/{number + 1}", Set_Cookie="who=me; Path=/") for number in range(5)}
    server = wire(lambda head: pages.get(head.split()[1], answer(200, FILE)))
    assert WebFetcher(True).fetch(f"{server.url}/0", LIMIT) == FILE
    assert len(server.requests) == 6
    assert not any("cookie" in head.lower() for head in server.requests)


def test_a_sixth_redirect_is_one_too_many(wire: Start) -> None:
    """A circle ends."""
    server = wire(answer(302, Location="/again"))
    assert refusal(server.url) == "redirects more than 5 times"
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://pictures.example/a.png", "is not followed: it leads to an address without https"),
        ("https://127.0.0.1/a.png", "is not followed: it leads to a private address"),
        ("https://[::1]/a.png", "is not followed: it leads to a private address"),
        ("https://localhost/a.png", "is not followed: it leads to a private address"),
        ("https://10.0.0.4/a.png", "is not followed: it leads to a private address"),
        ("https://169.254.169.254/metadata", "is not followed: it leads to a private address"),
        ("https://0x7f000001/a.png", "is not followed: it leads to a private address"),
        ("https://ada:secret@pictures.example/a.png", "must not hold a user name or a password"),
        ("ftp://pictures.example/a.png", "cannot be fetched: it is no usable address"),
        ("file:///etc/passwd", "cannot be fetched: it is no usable address"),
        ("pictures.example/a.png", "cannot be fetched: it is no usable address"),
        ("https://", "cannot be fetched: it is no usable address"),
        ("https://[::1", "cannot be fetched: it is no usable address"),
        ("https://a..b/", "cannot be fetched: it is no usable address"),
        ("https://pictures.example:x/a.png", "cannot be fetched: it is no usable address"),
        ("https://\ud800.example/", "cannot be fetched: it is no usable address"),
        ("https://no.such.name.invalid/a.png", "cannot be fetched: the host name does not resolve"),
    ],
)
def test_only_the_public_internet_over_https(url: str, words: str) -> None:
    """The rule that providers' addresses go by, and stricter: nobody vouches for these."""
    assert refusal(url, allow_private=False) == words


def test_without_the_switch_a_private_server_hears_nothing(wire: Start) -> None:
    """Refused before a connection is made."""
    server = wire(answer(200, FILE))
    assert "without https" in refusal(server.url, allow_private=False)
    assert "private" in refusal(server.url.replace("http:", "https:"), allow_private=False)
    assert server.heads == []


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://169.254.169.254/metadata?sig=abc", "is not followed: it leads to a private address"),
        ("http://0.0.0.0:9/", "is not followed: it leads to a private address"),
        ("http://ada:secret@127.0.0.1/", "must not hold a user name or a password"),
        ("file:///etc/passwd", "cannot be fetched: it is no usable address"),
    ],
)
def test_a_redirect_goes_by_the_same_rule(wire: Start, location: str, words: str) -> None:
    """Even with the switch for development nothing leads to the machine's own services."""
    server = wire(answer(302, Location=location))
    assert refusal(server.url) == words


def test_a_redirect_from_public_to_private_is_refused() -> None:
    """What began with https does not go on without."""
    with responses.RequestsMock() as calls:
        calls.get("https://pictures.example/a.png", status=302, headers={"Location": "http://pictures.example/a.png"})
        words = refusal("https://pictures.example/a.png", allow_private=False)
    assert words == "is not followed: it leads to an address without https"


@pytest.mark.parametrize("status", [204, 206, 304, 401, 403, 404, 410, 429, 500, 503])
def test_another_status_is_told(wire: Start, status: int) -> None:
    """A signed address that ran out is a 403: the caller can make a new one."""
    assert refusal(wire(answer(status)).url) == f"answers HTTP {status}"


def test_a_file_of_exactly_the_limit_is_taken(wire: Start) -> None:
    """To the byte."""
    url = wire(answer(200, FILE)).url
    assert WebFetcher(True).fetch(url, len(FILE)) == FILE
    assert refusal(url, len(FILE) - 1) == "holds more than 0 MiB"


def test_a_compressed_answer_is_not_unpacked(wire: Start) -> None:
    """A few bytes could become gigabytes."""
    url = wire(answer(200, FILE, Content_Encoding="gzip")).url
    assert refusal(url) == "sends the file compressed, which nobody asked for"


def test_a_file_that_breaks_off_is_no_file(wire: Start) -> None:
    """Half a picture is not taken for a whole one."""
    url = wire(answer(200, FILE, Content_Length=str(len(FILE) + 1))).url
    assert refusal(url) == "cannot be fetched: the connection broke"


def test_what_cannot_be_reached_is_told_in_words(wire: Start) -> None:
    """A port that nobody serves, a server that hangs up, and one that speaks no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert refusal(f"http://127.0.0.1:{port}/") == "cannot be fetched: the connection was refused"
    assert refusal(wire(lambda head: None).url) == "cannot be fetched: the connection broke"
    with trickling(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"") as plain:
        assert refusal(plain.replace("http:", "https:")) == "cannot be fetched: the TLS connection failed"


@contextmanager
def trickling(head: bytes, piece: bytes) -> Iterator[str]:
    """A server that sends `head`, and then `piece` again and again until the other side hangs up."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(head)
                while piece:
                    connection.sendall(piece)
                    time.sleep(0.02)
                connection.recv(1)
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/"
    thread.join(timeout=10)
    server.close()
    assert not thread.is_alive(), "nobody hung up"


def test_a_server_that_goes_on_sending_is_left(wire: Start) -> None:
    """At the limit, however much is to come, and whether or not it was told."""
    with trickling(b"HTTP/1.1 200 OK\r\n\r\n", bytes(1024**2)) as url:
        assert refusal(url, 3 * 1024**2) == "holds more than 3 MiB"


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"y"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"y"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\ny\r\n"),
    ],
    ids=["silence", "endless head", "endless line", "untold length", "told length", "chunks"],
)
def test_a_server_that_trickles_is_left_in_time(head: bytes, piece: bytes) -> None:
    """Within every timeout between two bytes, but not above the total."""
    with trickling(head, piece) as url:
        assert refusal(url, seconds=0.4) == "did not deliver the file within 0.4 seconds"


def test_nothing_of_the_address_is_told_or_logged(wire: Start, caplog: pytest.LogCaptureFixture) -> None:
    """It may be signed, so neither the message nor our log repeats it."""
    caplog.set_level(logging.INFO)
    server = wire(answer(404))
    assert refusal(f"{server.url}/album-7/a.png?sig=SECRET") == "answers HTTP 404"
    assert "album-7" not in caplog.text
    assert "SECRET" not in caplog.text


# How many at once


class Slow:
    """A server that has every request wait until `let_go`; `reached`: counts up with each that has come."""

    def __init__(self, wire: Start) -> None:
        self.let_go, self.reached = threading.Event(), threading.Semaphore(0)
        self.url = wire(self._serve).url

    def _serve(self, head: str) -> bytes:
        self.reached.release()
        assert self.let_go.wait(timeout=10)
        return answer(200, FILE)


@pytest.fixture
def slow(wire: Start) -> Iterator[Slow]:
    server = Slow(wire)
    yield server
    server.let_go.set()


@contextmanager
def under_way(fetcher: WebFetcher, slow: Slow, number: int) -> Iterator[list[Future[bytes]]]:
    """So many fetches that have reached the slow server and wait there."""
    with ThreadPoolExecutor(number) as pool:
        fetches = [pool.submit(fetcher.fetch, slow.url, LIMIT) for _ in range(number)]
        try:
            assert all(slow.reached.acquire(timeout=10) for _ in fetches)
            yield fetches
        finally:
            slow.let_go.set()


def test_no_more_than_four_are_fetched_at_once(slow: Slow) -> None:
    """The fifth is told to come again before anything is asked of its server; it holds its thread for no longer."""
    fetcher = WebFetcher(True, patience=0.05)
    with under_way(fetcher, slow, 4) as fetches:
        with pytest.raises(FetcherBusy, match="try again"):
            fetcher.fetch(slow.url, LIMIT)
        assert not slow.reached.acquire(blocking=False)
    assert [one.result() for one in fetches] == [FILE] * 4
    assert fetcher.fetch(slow.url, LIMIT) == FILE


def test_slow_servers_do_not_hold_every_thread(slow: Slow) -> None:
    """In a pool as small as asyncio's own on one core, other work is still done while they are waited for."""
    fetcher = WebFetcher(True, patience=0.05)
    with ThreadPoolExecutor(5) as pool:
        fetches = [pool.submit(fetcher.fetch, slow.url, LIMIT) for _ in range(8)]
        assert pool.submit(lambda: "another POST").result(timeout=5) == "another POST"
        assert sum(one.done() for one in fetches) == 4
        slow.let_go.set()


def test_a_place_that_becomes_free_in_time_is_taken(slow: Slow) -> None:
    """A handful of quick pictures at once is nothing to refuse."""
    fetcher = WebFetcher(True, at_once=1, patience=10)
    with ThreadPoolExecutor(1) as pool, under_way(fetcher, slow, 1):
        waiting = pool.submit(fetcher.fetch, slow.url, LIMIT)
        slow.let_go.set()
        assert waiting.result(timeout=10) == FILE


def test_a_fetch_that_fails_gives_its_place_back(wire: Start) -> None:
    """However it fails: otherwise four bad addresses would end all fetching."""
    fetcher = WebFetcher(True, at_once=1, patience=0, seconds=0.2)
    bad = (wire(answer(404)).url, "file:///etc/passwd", "https://[::1", "http://169.254.169.254/")
    with trickling(b"HTTP/1.1 200 OK\r\n\r\n", b"y") as endless:
        for url in (*bad, endless):
            with pytest.raises(NotFetched) as caught:
                fetcher.fetch(url, LIMIT)
            assert not isinstance(caught.value, FetcherBusy)
