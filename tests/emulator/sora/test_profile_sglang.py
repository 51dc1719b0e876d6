"""What a client of SGLang diffusion must survive: variants by number, errors without code, a bare list, a cloud."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests


def test_sglang_variant_is_an_outputs_number(speak: Callable[..., Any]) -> None:
    """variant=video is a 404 about that variant; none, or 0, is the video."""
    videos = speak("sglang")
    video_id = videos.finish()
    answer = videos.content(video_id, "video")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Video variant video not found"})
    assert videos.content(video_id, "1").status_code == 404
    assert videos.content(video_id, "0").content == videos.content(video_id).content
    early = videos.new()
    assert videos.content(early, "video").json() == {"detail": "Generation is still in-progress"}


def test_sglang_reads_seconds_as_a_number(speak: Callable[..., Any]) -> None:
    """4 and "4" are the same; 4.5 and words are refused with `detail`."""
    videos = speak("sglang")
    assert [videos.create(seconds=given).json()["seconds"] for given in (4, "4", 7)] == ["4", "4", "7"]
    for wrong in (4.5, "four", True):
        answer = videos.create(seconds=wrong)
        assert (answer.status_code, answer.json()["detail"].startswith("Invalid request body")) == (400, True)


def test_sglang_error_has_no_code(speak: Callable[..., Any]) -> None:
    """A failed video is a 200 with error {message} alone; its content is a 404."""
    videos = speak("sglang")
    answer = videos.get(video_id := videos.finish("[internal_error]"))
    assert (answer.status_code, set(answer.json()["error"])) == (200, {"message"})
    assert videos.content(video_id).json() == {"detail": "Video variant None not found"}


def test_sglang_delete_does_not_abort(speak: Callable[..., Any]) -> None:
    """DELETE answers the job with status deleted; it is gone, but works on and holds its place to the end."""
    videos = speak("sglang", max_running=1)
    running = videos.new()
    answer = videos.call("DELETE", running)
    assert (answer.status_code, answer.json()["status"], answer.json()["id"]) == (200, "deleted", running)
    assert (videos.get(running).status_code, videos.ids()) == (404, [])
    assert (videos.provider.simulator.stats()["running"], videos.create().status_code) == (1, 429)
    videos.provider.clock.advance(100)
    assert videos.create().status_code == 200


def test_sglang_list_is_bare_and_wants_a_limit_from_one(speak: Callable[..., Any]) -> None:
    """No cursors, everything without a limit; limit=0 is a 422, an odd order or cursor is not."""
    videos = speak("sglang")
    ids = [videos.new() for _ in range(22)]
    body = videos.provider.call("GET", videos.base).json()
    assert (set(body), [video["id"] for video in body["data"]]) == ({"object", "data"}, ids[::-1])
    assert videos.ids("limit=2&order=sideways") == ids[:-3:-1]
    assert videos.ids("after=nobody") == []
    answer = videos.provider.call("GET", f"{videos.base}?limit=0")
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["query", "limit"])


def test_sglang_cloud_content_is_a_400_that_carries_a_url(speak: Callable[..., Any]) -> None:
    """The finished job has `url`, content answers 400 with that URL in `detail`, and the URL needs no key."""
    videos = speak("sglang", cloud=True, api_key="k")
    videos.provider.session.headers["Authorization"] = "Bearer k"
    video_id = videos.new()
    assert "url" not in videos.get(video_id).json()
    assert videos.content(video_id).status_code == 404
    videos.provider.clock.advance(100)
    url = videos.get(video_id).json()["url"]
    answer = videos.content(video_id)
    expected = f"Video has been uploaded to cloud storage. Please use the cloud URL: {url}"
    assert (answer.status_code, answer.json()) == (400, {"detail": expected})
    video = requests.get(url, timeout=5)
    assert (video.status_code, video.headers["Content-Type"], video.content[4:8]) == (200, "video/mp4", b"ftyp")
    (call,) = videos.provider.simulator.requests("cdn")
    assert (call["credentials"], call["output_id"], call["bytes"]) == (0, video_id, len(video.content))


def test_only_sglang_has_a_cloud(speak: Callable[..., Any]) -> None:
    """The option is refused elsewhere; a change of profile ends it."""
    videos = speak("sglang", cloud=True)
    answer = videos.provider.control("POST", "/profile", json={"profile": "azure", "cloud": True})
    assert (answer.status_code, "sglang can" in answer.json()["error"]) == (400, True)
    videos.provider.simulator.set_profile("sglang")
    assert videos.content(videos.finish()).status_code == 200
