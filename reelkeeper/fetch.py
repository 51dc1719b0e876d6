"""Fetch a file from an address that a caller gave: public https only, no credentials, bounded in size and time.

Redirects are followed by the same rule. The time is kept by shutting the connections down when it is over, because a
server that sends a byte now and then stays within every timeout between two bytes. The address may be signed: neither
it nor any part of it goes into a message or the log.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    import requests

    from reelkeeper.providers.outbound import Public

CONNECT_SECONDS, TOTAL_SECONDS = 5.0, 20.0
CHUNK_BYTES = 256 * 1024
MAX_REDIRECTS = 5


class NotFetched(Exception):
    """The file cannot be had. The message is for the caller, and goes on where "the address ..." ends."""


class Deadline:
    """Shuts every connection that it was told of once `seconds` are over."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._lines: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def watch(self, line: socket.socket) -> None:
        with self._lock:
            if self.over:
                raise TimeoutError
            self._lines.append(line.dup())  # TLS takes the socket itself over

    def _cut(self) -> None:
        with self._lock:
            self.over = True
            for line in self._lines:
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for line in self._lines:
                line.close()
            self._lines.clear()


def fetch_file(url: str, limit: int, allow_private: bool, seconds: float = TOTAL_SECONDS) -> bytes:
    """The bytes at `url`, at most `limit`. Raises NotFetched. Blocks for `seconds` at most, and the name look-ups.

    `allow_private` (development) permits plain http and private addresses.
    """
    import requests

    from reelkeeper.providers.outbound import AddressRefused, Public
    from reelkeeper.providers.session import Session, in_words

    with Deadline(seconds) as deadline:
        rule = Public(allow_private, deadline.watch)
        try:
            with Session(rule.adapter()) as session, _follow(session, rule, url, seconds) as response:
                data = _read(response, limit)
            if not deadline.over:  # a file whose length is not told ends where its connection does
                return data
        except AddressRefused as refused:
            raise NotFetched(f"is not followed: {_lower(str(refused))}") from None
        except (requests.RequestException, ValueError, OSError) as error:
            if not deadline.over:
                words = "it is no usable address" if isinstance(error, ValueError) else _lower(in_words(error))
                raise NotFetched(f"cannot be fetched: {words}") from None
        raise NotFetched(f"did not deliver the file within {seconds:g} seconds")


def _follow(session: requests.Session, rule: Public, url: str, seconds: float) -> requests.Response:
    """The answer behind all redirects."""
    headers = {"User-Agent": "reelkeeper", "Accept": "image/*", "Accept-Encoding": "identity"}
    for _ in range(MAX_REDIRECTS + 1):
        rule.check_form(url)
        if "@" in urlsplit(url).netloc:
            raise NotFetched("must not hold a user name or a password")
        timeout = (CONNECT_SECONDS, seconds)
        response = session.get(url, headers=headers, timeout=timeout, stream=True, allow_redirects=False)
        if not response.is_redirect:
            return response
        response.close()
        url = urljoin(url, response.headers["location"])
    raise NotFetched(f"redirects more than {MAX_REDIRECTS} times")


def _read(response: requests.Response, limit: int) -> bytes:
    """Stops at the limit, however much the server would go on to send."""
    if response.status_code != 200:
        raise NotFetched(f"answers HTTP {response.status_code}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise NotFetched("sends the file compressed, which nobody asked for")
    data = bytearray()
    for chunk in response.iter_content(CHUNK_BYTES):
        data += chunk
        if len(data) > limit:
            raise NotFetched(f"holds more than {limit // 1024**2} MiB")
    return bytes(data)


def _lower(words: str) -> str:
    return words[0].lower() + words[1:].rstrip(".")
