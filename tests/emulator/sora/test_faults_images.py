"""Faults strike image calls and the URLs they answer; what was made is paid for, answered or not."""

from __future__ import annotations

from typing import Any

import pytest
import requests


@pytest.mark.parametrize(
    ("kind", "fields", "status", "code"),
    [
        ("rate_limited", {"retry_after": 3}, 429, "429"),
        ("too_many_running", {}, 429, None),
        ("server_error", {"status": 503}, 503, "503"),
        ("unauthorized", {}, 401, "401"),
        ("deployment_not_found", {}, 404, "DeploymentNotFound"),
        ("moderated", {"code": "moderation_blocked"}, 400, "moderation_blocked"),
        ("failed", {"reason": "internal_error"}, 500, "500"),
        ("failed", {"reason": "output_moderation"}, 400, "contentFilter"),
    ],
)
def test_faults_strike_image_creates(
    draw: Any, kind: str, fields: dict[str, Any], status: int, code: str, images: Any
) -> None:
    """Refusals and failures by fault, matched by dialect; the next call succeeds."""
    assert images(draw())
    draw.provider.simulator.fault("create", kind, match={"dialect": "openai-images"}, **fields)
    assert draw.provider.create().status_code == 201  # another dialect: not struck
    answer = draw()
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers.get("Retry-After") == ("3" if kind == "rate_limited" else None)
    assert images(draw())


def test_fewer_images_than_asked(draw: Any, images: Any) -> None:
    """A partial success has a shorter `data`; down to none."""
    assert len(images(draw("[partial]", n=3, output_format="jpeg"))) == 2
    draw.provider.simulator.fault("create", "partial", generations=0)
    assert images(draw(n=2)) == []


def test_dropped_answer_is_paid_for(draw: Any, images: Any) -> None:
    """The connection is cut after the work: the outcome is unknown to the client, the account has the create."""
    assert images(draw("first"))
    draw.provider.simulator.fault("create", "drop_answer")
    draw.provider.simulator.fault("create", "drop_before")
    for prompt in ("paid", "unpaid"):
        with pytest.raises(requests.ConnectionError):
            draw(prompt)
    stats = draw.provider.simulator.stats()
    assert stats["accepted_by_prompt"] == {"first": 1, "paid": 1}
    assert stats["by_dialect"]["openai-images"] == {"creates": 3, "creates_accepted": 2, "running": 0}


def test_image_url_can_fail_like_any_download(draw: Any) -> None:
    """Content faults strike the URL: truncated here; then the whole comes, also from the middle."""
    url = draw(model="dall-e-3").json()["data"][0]["url"]
    draw.provider.simulator.fault("content", "truncate", after=100)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(url, timeout=5)
    whole = requests.get(url, timeout=5).content
    assert requests.get(url, timeout=5, headers={"Range": "bytes=100-"}).content == whole[100:]
    (output,) = draw.provider.simulator.stats()["downloads_by_generation"]
    assert draw.provider.simulator.stats()["bytes_by_generation"][output] == 100 + len(whole) + len(whole) - 100


def test_wrong_body_instead_of_an_image(draw: Any, images: Any) -> None:
    """A 200 with HTML, or with JSON that has no data."""
    assert images(draw())
    draw.provider.simulator.fault("create", "wrong_body", body="html")
    draw.provider.simulator.fault("create", "wrong_body")
    assert draw().text.startswith("<!doctype html>")
    assert "data" not in draw().json()
