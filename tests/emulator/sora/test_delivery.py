"""Content is served like a careful file server would: HEAD, Range, If-Range, ETag."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from emulator.sora.delivery import asked_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=90-", (90, 100)),
        ("bytes=90-500", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=5-4", None),
        ("bytes=0-1,5-6", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("lines=0-1", None),
    ],
)
def test_ranges_are_read_as_rfc_9110_says(header: str | None, expected: tuple[int, int] | None) -> None:
    """One satisfiable range is honoured; what is malformed or several is ignored."""
    assert asked_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=1000-2000", "bytes=-0"])
def test_unsatisfiable_ranges_are_an_error(header: str) -> None:
    """A range behind the end cannot be served."""
    with pytest.raises(ValueError, match=r"suffix|behind"):
        asked_range(header, 100)


def test_whole_video_declares_length_and_ranges(provider: Any) -> None:
    """200 with the headers the specification requires, and a strong ETag."""
    answer = provider.video(provider.generation())
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.headers["Last-Modified"] == "Sun, 01 Mar 2026 12:01:40 GMT"
    assert answer.headers["ETag"].startswith('"')


def test_head_tells_the_same_without_the_body(provider: Any) -> None:
    """HEAD has GET's headers, Content-Length included, and no bytes."""
    generation = provider.generation()
    got, head = provider.video(generation), provider.video(generation, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Accept-Ranges"):
        assert head.headers[name] == got.headers[name]


def test_ranges_join_to_the_whole(provider: Any) -> None:
    """206 parts with Content-Range, put together, are the file."""
    generation = provider.generation()
    whole = provider.video(generation).content
    parts = []
    for start in range(0, len(whole), 1000):
        answer = provider.video(generation, headers={"Range": f"bytes={start}-{start + 999}"})
        end = min(start + 1000, len(whole)) - 1
        assert (answer.status_code, answer.headers["Content-Range"]) == (206, f"bytes {start}-{end}/{len(whole)}")
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        parts.append(answer.content)
    assert b"".join(parts) == whole
    assert provider.video(generation, headers={"Range": "bytes=-7"}).content == whole[-7:]


def test_range_behind_the_end_is_416_with_the_size(provider: Any) -> None:
    """A client that already has all bytes learns the size."""
    generation = provider.generation()
    size = len(provider.video(generation).content)
    answer = provider.video(generation, headers={"Range": f"bytes={size}-"})
    assert (answer.status_code, answer.headers["Content-Range"], answer.content) == (416, f"bytes */{size}", b"")


def test_client_that_leaves_does_no_harm(serve: Callable[..., Any]) -> None:
    """A download given up in the middle is noted with the bytes sent; the server goes on serving."""
    provider = serve(media_bytes=64 * 2**20)
    generation = provider.generation()
    answer = provider.video(generation, stream=True)
    answer.raw.read(1000)
    answer.close()
    deadline = time.monotonic() + 10
    while not provider.simulator.requests("content"):
        assert time.monotonic() < deadline, "the call was never finished"
    (call,) = provider.simulator.requests("content")
    assert 0 < call["bytes"] < 64 * 2**20
    assert provider.video(generation, headers={"Range": "bytes=0-9"}).status_code == 206


def test_if_range_guards_a_resume(provider: Any) -> None:
    """With the right ETag or date the rest comes; with another the whole comes, as 200."""
    generation = provider.generation()
    whole = provider.video(generation)
    for condition in (whole.headers["ETag"], whole.headers["Last-Modified"]):
        answer = provider.video(generation, headers={"Range": "bytes=10-", "If-Range": condition})
        assert (answer.status_code, answer.content) == (206, whole.content[10:])
    for condition in ('"other"', "Sun, 01 Mar 2026 12:00:00 GMT", "nonsense"):
        answer = provider.video(generation, headers={"Range": "bytes=10-", "If-Range": condition})
        assert (answer.status_code, answer.content) == (200, whole.content)


def test_etag_answers_304_and_differs_by_quality(provider: Any) -> None:
    """A known ETag saves the bytes; high and low quality are different things."""
    generation = provider.generation()
    tag = provider.video(generation).headers["ETag"]
    answer = provider.video(generation, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
    assert provider.video(generation, params={"quality": "low"}).headers["ETag"] != tag
