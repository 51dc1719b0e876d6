"""`Fetcher` over HTTP: public https only, no credentials, bounded in size, in time and in how many at once.

Redirects are followed by the same rule. Only few are fetched at once, and nobody waits long for a place: the caller's
thread is one of those that every other POST needs, and slow servers must not hold them all.
"""

from __future__ import annotations

import threading
from urllib.parse import urljoin, urlsplit

import requests

from reelkeeper.outbound.base import FetcherBusy, NotFetched
from reelkeeper.outbound.connections import CheckedAdapter
from reelkeeper.outbound.deadline import Deadline
from reelkeeper.outbound.rule import AddressRefused, Public
from reelkeeper.outbound.session import Session, in_words

CONNECT_SECONDS, TOTAL_SECONDS = 5.0, 20.0
CHUNK_BYTES = 256 * 1024
MAX_REDIRECTS = 5
AT_ONCE, PATIENCE_SECONDS = 4, 2.0


class WebFetcher:
    """`allow_private` (development) permits plain http and private addresses.

    A fetch takes `seconds` at most, besides the name look-ups, and up to `patience` seconds more to get one of the
    `at_once` places.
    """

    def __init__(
        self,
        allow_private: bool,
        *,
        seconds: float = TOTAL_SECONDS,
        at_once: int = AT_ONCE,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._allow_private, self._seconds, self._patience = allow_private, seconds, patience
        self._places = threading.BoundedSemaphore(at_once)

    def fetch(self, url: str, most: int) -> bytes:
        if not self._places.acquire(timeout=self._patience):
            raise FetcherBusy
        try:
            return self._fetch(url, most)
        finally:
            self._places.release()

    def _fetch(self, url: str, most: int) -> bytes:
        with Deadline(self._seconds) as deadline:
            rule = Public(self._allow_private, deadline.watch)
            try:
                with Session(CheckedAdapter(rule)) as session, self._follow(session, rule, url) as response:
                    data = _read(response, most)
                if not deadline.over:  # a file whose length is not told ends where its connection does
                    return data
            except AddressRefused as refused:
                raise NotFetched(f"is not followed: {_lower(str(refused))}") from None
            except (requests.RequestException, ValueError, OSError) as error:
                if not deadline.over:
                    words = "it is no usable address" if isinstance(error, ValueError) else _lower(in_words(error))
                    raise NotFetched(f"cannot be fetched: {words}") from None
            raise NotFetched(f"did not deliver the file within {self._seconds:g} seconds")

    def _follow(self, session: requests.Session, rule: Public, url: str) -> requests.Response:
        """The answer behind all redirects."""
        headers = {"User-Agent": "reelkeeper", "Accept": "image/*", "Accept-Encoding": "identity"}
        for _ in range(MAX_REDIRECTS + 1):
            rule.check_form(url)
            if "@" in urlsplit(url).netloc:
                raise NotFetched("must not hold a user name or a password")
            timeout = (CONNECT_SECONDS, self._seconds)
            response = session.get(url, headers=headers, timeout=timeout, stream=True, allow_redirects=False)
            if not response.is_redirect:
                return response
            response.close()
            url = urljoin(url, response.headers["location"])
        raise NotFetched(f"redirects more than {MAX_REDIRECTS} times")


def _read(response: requests.Response, most: int) -> bytes:
    """Stops at the limit, however much the server would go on to send."""
    if response.status_code != 200:
        raise NotFetched(f"answers HTTP {response.status_code}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise NotFetched("sends the file compressed, which nobody asked for")
    data = bytearray()
    for chunk in response.iter_content(CHUNK_BYTES):
        data += chunk
        if len(data) > most:
            raise NotFetched(f"holds more than {most // 1024**2} MiB")
    return bytes(data)


def _lower(words: str) -> str:
    return words[0].lower() + words[1:].rstrip(".")
