"""HTTP to a provider: credentials stay on the configured origin, failures come out as ProviderError, also mid-stream.

Redirects of downloads are followed here, not by the library, because it would carry an ``api-key`` header along to
another host.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from reelkeeper.errors import ADVICE, Fault, ProviderError
from reelkeeper.providers.base import ProviderConfig

CONNECT_SECONDS, READ_SECONDS, CREATE_SECONDS = 10.0, 60.0, 120.0
CHUNK_BYTES = 1024 * 1024
MAX_REDIRECTS = 5
MAX_ERROR_BYTES = 64 * 1024
REQUEST_ID_HEADERS = ("apim-request-id", "x-ms-request-id", "x-request-id")

Classify = Callable[[int, Mapping[str, Any], str], str]
"""(HTTP status, error object, its message in lower case) -> failure code."""


class ProviderHttp:
    """Requests to one provider. One instance serves all threads; it keeps no cookies and no state but the pool."""

    def __init__(self, config: ProviderConfig, now: Callable[[], datetime]) -> None:
        self._config, self._now = config, now
        self._session = requests.Session()
        self._session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=32))
        self._session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=32))
        self._session.cookies.set_policy(_NoCookies())
        self._origin = _origin(config.base_url)

    def exchange(
        self, method: str, path: str, classify: Classify, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Exchange JSON. Raises ProviderError; a POST whose outcome is not known says so in it."""
        read_seconds = CREATE_SECONDS if method == "POST" else READ_SECONDS
        response = self._send(method, f"{self._config.base_url}{path}", body=body, read_seconds=read_seconds)
        with response:
            if not response.ok or response.is_redirect:
                raise self._refusal(response, classify, paying=method == "POST")
            try:
                answer = response.json()
            except (ValueError, requests.RequestException):
                answer = None
            if not isinstance(answer, dict):
                raise self.error(
                    "provider_error", "The answer is not JSON.", response, outcome_unknown=method == "POST"
                )
            return answer

    def stream(self, path: str, classify: Classify, offset: int = 0) -> HttpContent:
        """Open a download from byte `offset`; the answer tells where it really starts."""
        url = f"{self._config.base_url}{path}"
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        for _ in range(MAX_REDIRECTS):
            response = self._send("GET", url, headers=headers)
            if not response.is_redirect:
                break
            url = urljoin(url, response.headers["location"])
            response.close()
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
        status = request_id = retry_after = None
        if response is not None:
            status, retry_after = response.status_code, self._retry_after(response.headers.get("retry-after"))
            request_id = next((response.headers[h] for h in REQUEST_ID_HEADERS if h in response.headers), None)
        fault = self.fault(code, provider_message, status, request_id)
        return ProviderError(fault, retry_after=retry_after, outcome_unknown=outcome_unknown)

    def fault(
        self, code: str, provider_message: str | None, status: int | None = None, request_id: str | None = None
    ) -> Fault:
        config = self._config
        advice = ADVICE[code].format(
            key_setting=config.key_setting, endpoint_setting=config.endpoint_setting, model_setting=config.model_setting
        )
        return Fault(code, advice, self._clean(provider_message), status, request_id)

    def _send(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        read_seconds: float = READ_SECONDS,
    ) -> requests.Response:
        auth = {"api-key": self._config.api_key} if _origin(url) == self._origin else {}
        try:
            return self._session.request(
                method,
                url,
                json=body,
                headers={**(headers or {}), **auth},
                timeout=(CONNECT_SECONDS, read_seconds),
                stream=True,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            never_sent = isinstance(error, requests.ConnectTimeout) or "NewConnectionError" in repr(error)
            raise self.error(
                "provider_error", _in_words(error), outcome_unknown=method == "POST" and not never_sent
            ) from None

    def _refusal(self, response: requests.Response, classify: Classify, paying: bool = False) -> ProviderError:
        try:
            body = _error_object(response)
        except requests.RequestException:
            body = {}
        message = str(body.get("message") or body.get("detail") or f"HTTP {response.status_code} without a message")
        code = classify(response.status_code, body, message.lower())
        return self.error(code, message, response, outcome_unknown=paying and response.status_code >= 500)

    def _retry_after(self, value: str | None) -> float | None:
        """Seconds from a Retry-After header: a number or an HTTP date (RFC 9110 section 10.2.3)."""
        if value is None:
            return None
        if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
            return float(value)
        try:
            return max(0.0, (parsedate_to_datetime(value) - self._now()).total_seconds())
        except (ValueError, TypeError):
            return None

    def _clean(self, text: str | None) -> str | None:
        if text is None:
            return None
        text = text.replace(self._config.api_key, "***") if self._config.api_key else text
        return re.sub(r"(?i)\b(sig|code|key|token)=[^&\s\"']+", r"\1=***", text)[:500]


class HttpContent:
    """An open HTTP download as `Content`."""

    def __init__(self, http: ProviderHttp, response: requests.Response) -> None:
        self._http, self._response = http, response
        headers = response.headers
        self.media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        self.offset, self.total = 0, _whole_number(headers.get("content-length"))
        if response.status_code == 206:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("content-range", "").strip())
            if not found:
                with response:
                    raise http.error("provider_error", "The partial answer has no usable Content-Range.", response)
            self.offset, self.total = int(found[1]), _whole_number(found[2])
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


class _NoCookies(requests.cookies.cookielib.DefaultCookiePolicy):  # type: ignore[misc,name-defined]
    def set_ok(self, cookie: Any, request: Any) -> bool:
        return False


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _error_object(response: requests.Response) -> dict[str, Any]:
    """The error of an answer: ``{"error": {...}}``, ``{"error": "text"}`` or flat; {} for HTML and the like."""
    raw = next(response.iter_content(MAX_ERROR_BYTES), b"")
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    error = body.get("error", body) if isinstance(body, dict) else {}
    return error if isinstance(error, dict) else {"message": str(error)}


def _in_words(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "No answer in time."
    if isinstance(error, requests.exceptions.SSLError):
        return "The TLS connection failed."
    if "NameResolutionError" in repr(error):
        return "The host name does not resolve."
    if "NewConnectionError" in repr(error):
        return "The connection was refused."
    return "The connection broke."


def _whole_number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
