"""What an onlooker is told of the exchanges with a provider: enough to follow them, and nothing secret."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from reelkeeper.errors import ProviderError
from reelkeeper.model import Output
from reelkeeper.providers.answers import Exchange, server_time

Start = Callable[..., Any]
KEY = "sEcReT/k3y+for=tests"
JOB = b'{"id": "task_1", "status": "running", "created_at": 1763630000}'


def answer(body: bytes = JOB, status: str = "200 OK", **headers: str) -> bytes:
    named = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def test_an_exchange_tells_what_came_and_how_the_server_stands(wire: Start, adapter: Any) -> None:
    """Method, path, status, request id, limits and clock; no query, no key, no other header."""
    seen: list[Exchange] = []
    server = wire(
        answer(
            Date="Fri, 20 Nov 2026 09:30:00 GMT",
            apim_request_id="r-1",
            X_RateLimit_Remaining_Requests="57",
            x_ratelimit_limit_tokens="1000",
            x_ratelimit_junk="1",
            Set_Cookie="session=abc",
        )
    )
    adapter(f"{server.url}/openai/v1", observe=seen.append).look("task_1")
    (exchange,) = seen
    assert (exchange.method, exchange.target) == ("GET", "/openai/v1/video/generations/jobs/task_1")
    assert (exchange.status, exchange.request_id) == (200, "r-1")
    assert exchange.quota == {"x-ratelimit-remaining-requests": "57", "x-ratelimit-limit-tokens": "1000"}
    assert exchange.date == datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
    assert 0 <= exchange.seconds < 30
    assert KEY not in str(exchange)


def test_a_refusal_and_silence_are_exchanges_too(wire: Start, adapter: Any) -> None:
    """With the status, or with words where none came."""
    seen: list[Exchange] = []
    for script in (answer(b"{}", "401 Unauthorized"), None):
        with pytest.raises(ProviderError):
            adapter(wire(script).url, observe=seen.append).look("task_1")
    assert [(exchange.status, exchange.words) for exchange in seen] == [(401, ""), (None, "The connection broke.")]


def test_of_an_address_elsewhere_only_the_host_is_told(wire: Start, adapter: Any) -> None:
    """Its path and query may be all that it takes to fetch the file."""
    seen: list[Exchange] = []
    elsewhere = wire(answer(b"\x00\x00\x00\x20ftypisom", Content_Type="video/mp4"))
    home = wire(answer(b"", "302 Found", Location=f"{elsewhere.url}/signed/path?sig=abc"))
    adapter(home.url, observe=seen.append).open_output(Output("gen_1", 1, 1, 1)).__exit__(None, None, None)
    assert [exchange.target for exchange in seen] == [
        "/video/generations/gen_1/content/video",
        "http://127.0.0.1/...",
    ]


@pytest.mark.parametrize("header", [None, "", "yesterday", "Fri, 99 Nov 2026 09:30:00 GMT"])
def test_a_date_that_is_none_is_no_clock(header: str | None) -> None:
    """It is passed over."""
    assert server_time(header) is None
