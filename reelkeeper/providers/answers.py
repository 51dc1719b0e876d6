"""What an HTTP answer tells besides its media: JSON of bounded size, headers, words without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import requests

MAX_JSON_BYTES = 4 * 1024 * 1024
MAX_WORDS = 500
REQUEST_ID_HEADERS = ("apim-request-id", "x-ms-request-id", "x-request-id")

_SECRET = re.compile(
    r"(?i)\b([\w-]*(?:sig|signature|code|key|token|secret|password))=[^&\s\"']+|\bBearer\s+[\w.~+/=-]+"
)
_QUOTA = re.compile(r"(?i)(x-)?ratelimit-(limit|remaining|reset)(-[a-z-]{1,20})?")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Envelope:
    """What an answer's headers tell: the provider's id of the exchange, and how many seconds it wants silence."""

    request_id: str | None
    retry_after: float | None


@dataclass(frozen=True)
class Exchange:
    """One request and what came of it, for somebody who looks on; nothing in it is secret.

    `target`: the path at the provider, or the host to which it sent us. `status`: None where no answer came, and
    `words` tell why. `quota`: the headers about rate limits. `date`: the server's clock.
    """

    method: str
    target: str
    seconds: float
    status: int | None = None
    request_id: str | None = None
    quota: dict[str, str] = field(default_factory=dict)
    date: datetime | None = None
    words: str = ""


def read_exchange(method: str, target: str, seconds: float, answer: requests.Response | str) -> Exchange:
    """What is told of an answer, or of the words that say why there is none."""
    if isinstance(answer, str):
        return Exchange(method, target, seconds, words=answer)
    headers = answer.headers
    quota = {name.lower(): value for name, value in headers.items() if _is_quota(name, value)}
    date = server_time(headers.get("date"))
    return Exchange(method, target, seconds, answer.status_code, _request_id(answer), quota, date)


def _request_id(response: requests.Response) -> str | None:
    return next((response.headers[name][:200] for name in REQUEST_ID_HEADERS if name in response.headers), None)


def _is_quota(name: str, value: str) -> bool:
    return bool(_QUOTA.fullmatch(name) and re.fullmatch(r"[\w.: ]{1,40}", value, re.ASCII))


def server_time(header: str | None) -> datetime | None:
    """A Date header as aware UTC; None for what is none."""
    try:
        found = parsedate_to_datetime(header or "")
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def read_envelope(response: requests.Response, now: datetime) -> Envelope:
    headers = response.headers
    pause = _retry_after(headers.get("retry-after"), now)
    hint = whole_number(headers.get("openai-poll-after-ms"))
    return Envelope(_request_id(response), hint / 1000 if pause is None and hint is not None else pause)


def read_json(response: requests.Response) -> object:
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


def part_of(response: requests.Response) -> tuple[int, int | None] | None:
    """Where a partial answer starts and how long the whole is, if told; None when its Content-Range makes no sense."""
    found = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
    if not found:
        return None
    start, end, total = int(found[1]), int(found[2]), whole_number(found[3])
    return None if start > end or (total is not None and end >= total) else (start, total)


def whole_number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,18}", text, re.ASCII) else None


def clean(text: str | None, secrets: Iterable[str]) -> str | None:
    """The provider's words, short, without secrets, and without the lone surrogates that storage refuses."""
    if text is None:
        return None
    for secret in secrets:
        text = text.replace(secret, "***")
    text = _SECRET.sub(lambda found: f"{found[1]}=***" if found[1] else "Bearer ***", text)
    return text.encode("utf-8", "replace").decode()[:MAX_WORDS]


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from a Retry-After header: a number or an HTTP date (RFC 9110 section 10.2.3)."""
    if value is None:
        return None
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value, re.ASCII):
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
