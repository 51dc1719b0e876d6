"""HTTP to a provider: credentials stay on the configured origin, failures come out as ProviderError, also mid-stream.

Redirects of downloads are followed here, not by the library, because it would carry an ``api-key`` header along to
another host.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from types import TracebackType
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NameResolutionError, NewConnectionError

from reelkeeper.errors import ADVICE, Fault, ProviderError
from reelkeeper.providers.base import ProviderConfig

CONNECT_SECONDS = 10.0
TIMEOUT = (CONNECT_SECONDS, 60.0)
"""Seconds to connect, and between two pieces of an answer."""

CHUNK_BYTES = 1024 * 1024
MAX_REDIRECTS = 5
MAX_JSON_BYTES = 4 * 1024 * 1024
REQUEST_ID_HEADERS = ("apim-request-id", "x-ms-request-id", "x-request-id")

Classify = Callable[[int, Mapping[str, Any], str], str]
"""(HTTP status, error object, its message in lower case) -> failure code."""

_SECRET = re.compile(
    r"(?i)\b([\w-]*(?:sig|signature|code|key|token|secret|password))=[^&\s\"']+|\bBearer\s+[\w.~+/=-]+"
)
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Envelope:
    """What an answer's headers tell: the provider's id of the exchange, and how many seconds it wants silence."""

    request_id: str | None
    retry_after: float | None


class ProviderHttp:
    """Requests to one provider. One instance serves all threads; it keeps no cookies and no state but the pool."""

    def __init__(self, config: ProviderConfig, now: Callable[[], datetime]) -> None:
        self._config, self._now = config, now
        self._session = _Session()
        self._origin = _origin(config.base_url)

    def exchange(
        self, method: str, path: str, classify: Classify, body: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], Envelope]:
        """Exchange JSON; the answer and what its headers tell. Raises ProviderError, also for a POST of lost outcome.

        A POST makes a paid task, so it gets a connection of its own: were a kept-alive one just being closed by the
        server, nobody could tell whether the task was made.
        """
        url = f"{self._config.base_url}{path}"
        if method != "POST":
            return self._exchange(self._session, method, url, classify, body)
        with _Session() as session:
            return self._exchange(session, method, url, classify, body)

    def stream(self, path: str, classify: Classify, offset: int = 0) -> HttpContent:
        """Open a download from byte `offset`; the answer tells where it really starts."""
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        response = self._follow(f"{self._config.base_url}{path}", headers)
        if response.status_code == 206 and not _part_of(response):
            response.close()
            if offset:  # a server that handles ranges wrongly would never get past a cut: take the whole file
                return self.stream(path, classify)
            raise self.error("provider_error", "The partial answer has no usable Content-Range.", response)
        if response.status_code not in (200, 206):
            with response:
                raise self._refusal(response, classify)
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
        fault = self.fault(code, provider_message, response.status_code, _request_id(response))
        retry_after = self._retry_after(response.headers.get("retry-after"))
        return ProviderError(fault, retry_after=retry_after, outcome_unknown=outcome_unknown)

    def fault(
        self, code: str, provider_message: str | None, status: int | None = None, request_id: str | None = None
    ) -> Fault:
        config = self._config
        advice = ADVICE[code].format(
            key_setting=config.key_setting, endpoint_setting=config.endpoint_setting, model_setting=config.model_setting
        )
        return Fault(code, advice, self._clean(provider_message), status, request_id)

    def _exchange(
        self, session: requests.Session, method: str, url: str, classify: Classify, body: dict[str, Any] | None
    ) -> tuple[dict[str, Any], Envelope]:
        paying = method == "POST"
        create = self._config.create_seconds
        timeout = (min(CONNECT_SECONDS, create / 4), create * 3 / 4) if paying else TIMEOUT
        with self._send(session, method, url, body=body, timeout=timeout) as response:
            if not 200 <= response.status_code < 300:
                raise self._refusal(response, classify, paying)
            answer = _read_json(response)
            if not isinstance(answer, dict):
                raise self.error("provider_error", "The answer is not JSON.", response, outcome_unknown=paying)
            return answer, Envelope(_request_id(response), self._retry_after(response.headers.get("retry-after")))

    def _follow(self, url: str, headers: dict[str, str]) -> requests.Response:
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(self._session, "GET", url, headers=headers)
            if not response.is_redirect:
                return response
            response.close()
            try:
                url = urljoin(url, response.headers["location"])
            except ValueError:
                break
        raise self.error("provider_error", "The download is redirected to no usable address.", response)

    def _send(
        self,
        session: requests.Session,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> requests.Response:
        try:
            auth = {"api-key": self._config.api_key} if _origin(url) == self._origin else {}
            return session.request(
                method,
                url,
                json=body,
                headers={**(headers or {}), **auth},
                timeout=timeout,
                stream=True,
                allow_redirects=False,
            )
        except (requests.RequestException, ValueError) as error:
            unknown = method == "POST" and not _never_sent(error)
            raise self.error("provider_error", _in_words(error), outcome_unknown=unknown) from None

    def _refusal(self, response: requests.Response, classify: Classify, paying: bool = False) -> ProviderError:
        status, error = response.status_code, _error_object(_read_json(response))
        message = str(error.get("message") or error.get("detail") or f"HTTP {status} without a message")
        # 408 is a gateway that did not wait for the end, as 504 is
        unknown = paying and (status >= 500 or status == 408)
        return self.error(classify(status, error, message.lower()), message, response, outcome_unknown=unknown)

    def _retry_after(self, value: str | None) -> float | None:
        """Seconds from a Retry-After header: a number or an HTTP date (RFC 9110 section 10.2.3)."""
        if value is None:
            return None
        if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value, re.ASCII):
            return float(value)
        try:
            return max(0.0, (parsedate_to_datetime(value) - self._now()).total_seconds())
        except (ValueError, TypeError, OverflowError, IndexError):
            return None

    def _clean(self, text: str | None) -> str | None:
        """The provider's words, short, without secrets, and without the lone surrogates that storage refuses."""
        if text is None:
            return None
        text = text.replace(self._config.api_key, "***") if self._config.api_key else text
        text = _SECRET.sub(lambda found: f"{found[1]}=***" if found[1] else "Bearer ***", text)
        return text.encode("utf-8", "replace").decode()[:500]


class HttpContent:
    """An open HTTP download as `Content`."""

    def __init__(self, http: ProviderHttp, response: requests.Response) -> None:
        self._http, self._response = http, response
        headers = response.headers
        self.media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        self.offset, self.total = 0, _whole_number(headers.get("content-length"))
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            self.total = None  # the length of what was sent, not of the file
        if response.status_code == 206 and (part := _part_of(response)):
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
            raise self._http.error("provider_error", f"The download broke off: {_in_words(error)}") from None
        if self.total is not None and self.offset + received != self.total:
            words = f"The download ended at byte {self.offset + received} of {self.total}."
            raise self._http.error("content_invalid", words, self._response)

    def __enter__(self) -> HttpContent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.close()


class _Session(requests.Session):
    """Sends what it is told and nothing else: no cookies, no password out of a .netrc, no redirects of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = lambda request: request
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            self.mount(scheme, HTTPAdapter(pool_maxsize=32))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: the library would look into a redirect even when it is told not to follow it."""


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _read_json(response: requests.Response) -> object:
    """The body as JSON; None when it is none, too long, or breaks off."""
    raw = bytearray()
    try:
        for chunk in response.iter_content(64 * 1024):
            raw += chunk
            if len(raw) > MAX_JSON_BYTES:
                return None
        return json.loads(raw)
    except (requests.RequestException, ValueError, RecursionError):
        return None


def _error_object(body: object) -> Mapping[str, Any]:
    """The error of an answer: ``{"error": {...}}``, ``{"error": "text"}`` or flat; {} for HTML and the like."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return {}
    error = body.get("error")
    if isinstance(error, dict):
        return error
    return body if not error or "message" in body else {"message": error}


def _request_id(response: requests.Response) -> str | None:
    return next((response.headers[name][:200] for name in REQUEST_ID_HEADERS if name in response.headers), None)


def _part_of(response: requests.Response) -> tuple[int, int | None] | None:
    """Where a partial answer starts and how long the whole is, if told; None when its Content-Range makes no sense."""
    found = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
    if not found:
        return None
    start, end, total = int(found[1]), int(found[2]), _whole_number(found[3])
    return None if start > end or (total is not None and end >= total) else (start, total)


def _reason(error: Exception) -> object:
    """What urllib3 says went wrong; requests wraps it once or twice."""
    inner = error.args[0] if error.args else None
    return getattr(inner, "reason", inner)


def _never_sent(error: Exception) -> bool:
    """Whether it failed before the request's first byte went out: then it cannot have had any effect."""
    reason = _reason(error)
    if isinstance(error, requests.exceptions.SSLError):
        causes = getattr(reason, "args", ())
        return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in (reason, *causes))
    unsent = (requests.ConnectTimeout, requests.exceptions.ProxyError, ValueError)
    return isinstance(error, unsent) or isinstance(reason, NewConnectionError)


def _in_words(error: Exception) -> str:
    reason = _reason(error)
    if isinstance(error, requests.Timeout):
        return "No answer in time."
    if isinstance(error, requests.exceptions.SSLError):
        return "The TLS connection failed."
    if isinstance(error, requests.exceptions.ProxyError):
        return "The proxy could not be reached."
    if isinstance(reason, NameResolutionError):
        return "The host name does not resolve."
    if isinstance(reason, NewConnectionError):
        return "The connection was refused."
    if isinstance(error, ValueError):
        return "The address or the key cannot be used."
    return "The connection broke."


def _whole_number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,18}", text, re.ASCII) else None
