"""HTTP to a provider: credentials stay on the configured origin, failures come out as ProviderError, also mid-stream.

Redirects of downloads are followed here, not by the library, because it would carry an ``api-key`` header along to
another host. Whatever leads away from the origin goes by the outbound rule, and never gets credentials again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from reelkeeper.errors import ADVICE, Fault, ProviderError
from reelkeeper.outbound.connections import CheckedAdapter
from reelkeeper.outbound.rule import AddressRefused, Outbound
from reelkeeper.outbound.session import Session, in_words, never_sent, origin
from reelkeeper.providers.answers import (
    Envelope,
    clean,
    part_of,
    read_envelope,
    read_exchange,
    read_json,
    whole_number,
)
from reelkeeper.providers.auth import NoToken, credentials_of
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.providers.failures import AWAY, CANCEL, CONTENT, CREATE, code_of_refusal, error_object, message_of

CONNECT_SECONDS = 10.0
TIMEOUT = (CONNECT_SECONDS, 60.0)
"""Seconds to connect, and between two pieces of an answer."""

CHUNK_BYTES = 1024 * 1024
ANSWER_CHUNK_BYTES = 64 * 1024
"""The time is looked at between two pieces, so they are small where there is a deadline."""

MAX_REDIRECTS = 5
_OF_A_GATEWAY = re.compile(r"(?i)time[d ]?.?out|connect|upstream|gateway")
MAX_ANSWER_BYTES = 512 * 1024 * 1024
"""Ten pictures of the largest size, uncompressed and in Base64, are 440 MB."""


@dataclass(frozen=True)
class File:
    """A file of a form: the `part` that it is, and the name and type that it has there."""

    part: str
    name: str
    media_type: str
    data: bytes = field(repr=False)


class ProviderHttp:
    """Requests to one provider. One instance serves all threads; it keeps no state but the pools and a token."""

    def __init__(self, config: ProviderConfig, now: Callable[[], datetime]) -> None:
        self._config, self._now = config, now
        self._credentials = credentials_of(config, now)
        self._origin = origin(config.base_url)
        self._outbound = Outbound(config.base_url)
        self._session, self._away = Session(), Session(CheckedAdapter(self._outbound))

    def deadline(self) -> float:
        """When a create that begins now must be over, on the monotonic clock."""
        return time.monotonic() + self._config.create_seconds

    def exchange(
        self,
        doing: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        form: dict[str, str] | None = None,
        file: File | None = None,
        deadline: float | None = None,
        accept: Callable[[dict[str, Any]], bool] | None = None,
    ) -> tuple[dict[str, Any], Envelope]:
        """Exchange JSON; the answer and what its headers tell. Raises ProviderError, also for a POST of lost outcome.

        `body` or `form` (multipart, with the `file` if there is one) makes it a POST, which makes a paid task and gets
        a connection of its own: were a kept-alive one just being closed by the server, nobody could tell whether the
        task was made. `accept`: whether the JSON of a refusal is an answer nevertheless.
        """
        url = f"{self._config.base_url}{path}"
        if body is None and form is None:
            return self._read(doing, self._at_home(self._session, "GET", url, deadline=deadline), accept)
        parts: dict[str, Any] = {name: (None, text) for name, text in (form or {}).items()}
        if file:
            parts[file.part] = (file.name, file.data, file.media_type)
        sent: dict[str, Any] = {"json": body, "files": parts or None, "uploads": file is not None}
        with Session() as session:
            response = self._at_home(session, "POST", url, deadline=deadline or self.deadline(), **sent)
            return self._read(doing, response, accept, paying=True)

    def delete(self, path: str) -> None:
        """Delete what is there; that it is gone already is as good. Raises ProviderError."""
        with self._at_home(self._session, "DELETE", f"{self._config.base_url}{path}") as response:
            if not 200 <= response.status_code < 300 and response.status_code not in (404, 410):
                raise self._refusal(response, read_json(response), CANCEL)

    @contextmanager
    def create(self, path: str, body: dict[str, Any]) -> Iterator[HttpAnswer]:
        """POST a create whose answer holds the outputs themselves, too large to be read in one piece.

        Raises ProviderError. A failure in which the provider's own words say that it failed is no lost answer: it is
        not charged, and nobody could be asked about it later.
        """
        deadline = self.deadline()
        with Session() as session:
            response = self._at_home(session, "POST", f"{self._config.base_url}{path}", deadline=deadline, json=body)
            with response:
                if not 200 <= response.status_code < 300:
                    answer = read_json(response)
                    own_words = response.status_code in (500, 503) and _says_that_it_failed(answer)
                    raise self._refusal(response, answer, CREATE, paying=not own_words)
                yield HttpAnswer(self, response, deadline)

    def stream(
        self, path: str, offset: int = 0, given: Callable[[int, object], str | None] | None = None
    ) -> HttpContent:
        """Open a download from byte `offset`; the answer tells where it really starts.

        `path`: below the base URL, or a whole address, which gets credentials only on the configured origin. `given`:
        reads another address of the file out of a refusal's status and JSON.
        """
        url = f"{self._config.base_url}{path}" if path.startswith("/") else path
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        response, doing = self._follow(url, headers, CONTENT)
        if given and response.status_code not in (200, 206):
            with response:
                answer = read_json(response)
            address = given(response.status_code, answer)
            if address is None:
                raise self._refusal(response, answer, doing)
            response, doing = self._follow(address, headers, AWAY)
        if response.status_code == 206 and not part_of(response):
            response.close()
            if offset:  # a server that handles ranges wrongly would never get past a cut: take the whole file
                return self.stream(path, given=given)
            raise self.error("provider_error", "The partial answer has no usable Content-Range.", response)
        if response.status_code not in (200, 206):
            with response:
                raise self._refusal(response, read_json(response), doing)
        return HttpContent(self, response)

    def error(
        self,
        code: str,
        provider_message: str | None,
        response: requests.Response | None = None,
        *,
        outcome_unknown: bool = False,
    ) -> ProviderError:
        """A ProviderError with our advice for `code`, the provider's words without secrets, and its request id."""
        if response is None:
            return ProviderError(self.fault(code, provider_message), outcome_unknown=outcome_unknown)
        envelope = read_envelope(response, self._now())
        fault = self.fault(code, provider_message, response.status_code, envelope.request_id)
        return ProviderError(fault, retry_after=envelope.retry_after, outcome_unknown=outcome_unknown)

    def fault(
        self, code: str, provider_message: str | None, status: int | None = None, request_id: str | None = None
    ) -> Fault:
        config = self._config
        advice = ADVICE[code].format(
            key_setting=config.key_setting, endpoint_setting=config.endpoint_setting, model_setting=config.model_setting
        )
        return Fault(code, advice, clean(provider_message, self._credentials.secrets()), status, request_id)

    def _read(
        self,
        doing: str,
        response: requests.Response,
        accept: Callable[[dict[str, Any]], bool] | None,
        paying: bool = False,
    ) -> tuple[dict[str, Any], Envelope]:
        with response:
            answer = read_json(response)
        good = 200 <= response.status_code < 300
        if not good and not (accept and isinstance(answer, dict) and accept(answer)):
            raise self._refusal(response, answer, doing, paying)
        if not isinstance(answer, dict):
            raise self.error("provider_error", "The answer is not JSON.", response, outcome_unknown=paying)
        return answer, read_envelope(response, self._now())

    def _follow(self, url: str, headers: dict[str, str], doing: str) -> tuple[requests.Response, str]:
        """The answer behind all redirects, and whether it came from home (CONTENT) or from elsewhere (AWAY)."""
        response = None
        for _ in range(MAX_REDIRECTS + 1):
            try:
                if doing == CONTENT and origin(url) == self._origin:
                    response = self._at_home(self._session, "GET", url, headers=headers)
                else:
                    doing = AWAY
                    self._outbound.check_form(url)
                    response = self._send(self._away, "GET", url, headers=headers)
                if not response.is_redirect:
                    return response, doing
                response.close()
                url = urljoin(url, response.headers["location"])
            except AddressRefused as refused:
                raise self.error("provider_error", f"The download is not followed. {refused}", response) from None
            except ValueError:
                break
        raise self.error("provider_error", "The download is redirected to no usable address.", response)

    def _at_home(
        self,
        session: requests.Session,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        deadline: float | None = None,
        uploads: bool = False,
        **payload: Any,
    ) -> requests.Response:
        """With credentials, and once more with newer ones where there are any after a 401."""
        try:
            auth = self._credentials.headers()
            timeout = self._timeout(deadline, uploads)
            response = self._send(session, method, url, {**(headers or {}), **auth}, timeout, payload)
            if response.status_code == 401 and self._credentials.renew(auth):
                response.close()
                auth = self._credentials.headers()
                timeout = self._timeout(deadline, uploads)
                response = self._send(session, method, url, {**(headers or {}), **auth}, timeout, payload)
        except NoToken as error:
            code = "invalid_credentials" if error.refused else "provider_error"
            raise self.error(code, error.words) from None
        return response

    def _timeout(self, deadline: float | None, uploads: bool = False) -> tuple[float, float]:
        """Seconds to connect and to wait for an answer. A create must not begin when it can hardly end in time.

        An upload may take as long as to connect: the library bounds it by the same figure.
        """
        if deadline is None:
            return TIMEOUT
        left = deadline - time.monotonic()
        if left < self._config.create_seconds / 2:
            raise self.error("provider_error", "Too little time was left for the create; it was not sent.")
        connect = min(CONNECT_SECONDS, left / 4)
        return connect, left - connect * (2 if uploads else 1)

    def _send(
        self,
        session: requests.Session,
        method: str,
        url: str,
        headers: dict[str, str],
        timeout: tuple[float, float] = TIMEOUT,
        payload: dict[str, Any] | None = None,
    ) -> requests.Response:
        options: dict[str, Any] = {"stream": True, "allow_redirects": False, **(payload or {})}
        began = time.monotonic()
        try:
            response = session.request(method, url, headers=headers, timeout=timeout, **options)
            self._tell(method, url, began, response)
            return response
        except (requests.RequestException, ValueError) as error:
            self._tell(method, url, began, in_words(error))
            unknown = method == "POST" and not never_sent(error)
            raise self.error("provider_error", in_words(error), outcome_unknown=unknown) from None

    def _tell(self, method: str, url: str, began: float, answer: requests.Response | str) -> None:
        if self._config.observe is not None:
            parts = urlsplit(url)
            target = parts.path if origin(url) == self._origin else f"{parts.scheme}://{parts.hostname}/..."
            self._config.observe(read_exchange(method, target, time.monotonic() - began, answer))

    def _refusal(self, response: requests.Response, answer: object, doing: str, paying: bool = False) -> ProviderError:
        status, error = response.status_code, error_object(answer)
        code = code_of_refusal(doing, status, error)
        # 408 is a gateway that did not wait for the end, as 504 is
        unknown = paying and code == "provider_error" and (status >= 500 or status == 408)
        return self.error(code, message_of(error, status), response, outcome_unknown=unknown)


def _says_that_it_failed(answer: object) -> bool:
    """Whether these are the words of the server that makes the pictures, about itself.

    Gateways answer 500 and 503 as well, flat or in its form, when they lost or gave up the server behind them.
    """
    error = answer.get("error") if isinstance(answer, dict) else None
    return isinstance(error, dict) and not _OF_A_GATEWAY.search(str(error.get("message")))


class HttpAnswer:
    """An open answer of a create, to be read in pieces before `deadline`."""

    def __init__(self, http: ProviderHttp, response: requests.Response, deadline: float) -> None:
        self._http, self._response, self._deadline = http, response, deadline

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the answer. Raises ProviderError, its outcome unknown, when it breaks off or takes too long."""
        received = 0
        try:
            for chunk in self._response.iter_content(ANSWER_CHUNK_BYTES):
                received += len(chunk)
                if received > MAX_ANSWER_BYTES or time.monotonic() > self._deadline:
                    raise self.lost("The answer is too long." if received > MAX_ANSWER_BYTES else "No answer in time.")
                yield chunk
        except requests.RequestException as error:
            raise self.lost(f"The answer broke off: {in_words(error)}") from None

    def lost(self, words: str) -> ProviderError:
        """The error of an answer that cannot be read to its end: what it was about is paid for."""
        return self._http.error("provider_error", words, self._response, outcome_unknown=True)


class HttpContent:
    """An open HTTP download as `Content`."""

    def __init__(self, http: ProviderHttp, response: requests.Response) -> None:
        self._http, self._response = http, response
        headers = response.headers
        self.media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        self.offset, self.total = 0, whole_number(headers.get("content-length"))
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            self.total = None  # the length of what was sent, not of the file
        if response.status_code == 206 and (part := part_of(response)):
            self.offset, self.total = part
        marks = (headers.get("etag", ""), headers.get("last-modified", ""), str(self.total or ""))
        self.validator = "|".join(marks) if any(marks) else ""

    def chunks(self) -> Iterator[bytes]:
        received = 0
        try:
            for chunk in self._response.iter_content(CHUNK_BYTES):
                received += len(chunk)
                yield chunk
        except requests.RequestException as error:
            raise self._http.error("provider_error", f"The download broke off: {in_words(error)}") from None
        if self.total is not None and self.offset + received != self.total:
            words = f"The download ended at byte {self.offset + received} of {self.total}."
            raise self._http.error("content_invalid", words, self._response)

    def __enter__(self) -> HttpContent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.close()
