"""The Videos API as Azure and OpenAI publish it: create, poll, list, delete, content, expiry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

START_SECONDS = 1772366400  # 2026-03-01T12:00Z, where the virtual clock starts
FIELDS = {
    "id", "object", "model", "status", "progress", "prompt", "created_at", "completed_at", "expires_at", "size",
    "seconds", "remixed_from_video_id", "error",
}  # fmt: skip


@pytest.fixture
def videos(speak: Callable[..., Any]) -> Any:
    """Azure's Videos API."""
    return speak()


def test_create_answers_a_queued_video_by_json_and_by_form(videos: Any) -> None:
    """Both bodies make the same video object, under /v1 and under /openai/v1; `seconds` is a string."""
    for form in (False, True):
        for base in ("/v1/videos", "/openai/v1/videos"):
            videos.form, videos.base = form, base
            answer = videos.create("a boat", size="1280x720", seconds="8")
            video = answer.json()
            assert (answer.status_code, set(video)) == (200, FIELDS)
            assert video["id"].startswith("video_")
            assert (video["object"], video["status"], video["progress"]) == ("video", "queued", 0)
            assert (video["prompt"], video["model"], video["size"], video["seconds"]) == (
                "a boat",
                "sora-2",
                "1280x720",
                "8",
            )
            assert (video["created_at"], video["completed_at"], video["error"]) == (START_SECONDS, None, None)
            assert videos.get(video["id"]).json() == video


def test_defaults_are_four_seconds_upright(videos: Any) -> None:
    """Only model and prompt are needed on Azure."""
    video = videos.create(seconds=None, size=None).json()
    assert (video["seconds"], video["size"]) == ("4", "720x1280")


def test_progress_rises_from_queued_to_completed(videos: Any) -> None:
    """queued at 0, in_progress in between, completed at 100 and not before; the clock alone decides."""
    video_id = videos.new()
    seen = []
    for _ in range(21):
        video = videos.get(video_id).json()
        seen.append((video["status"], video["progress"]))
        videos.provider.clock.advance(5)
    assert list(dict.fromkeys(status for status, _ in seen)) == ["queued", "in_progress", "completed"]
    numbers = [progress for _, progress in seen]
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1], len(set(numbers)) > 10) == (0, 100, True)
    assert all((progress == 100) == (status == "completed") for status, progress in seen)


@pytest.mark.parametrize(
    ("profile", "hint"), [("azure", "700"), ("openai", "700"), ("sglang", None), ("aquiles", None)]
)
def test_poll_hint_comes_while_unfinished(speak: Callable[..., Any], profile: str, hint: str | None) -> None:
    """openai-poll-after-ms on create and on polls until the end, from those who send it; null sends none."""
    videos = speak(profile, poll_after_ms=700)
    created = videos.create()
    polled = videos.get(created.json()["id"])
    assert [answer.headers.get("openai-poll-after-ms") for answer in (created, polled)] == [hint, hint]
    videos.provider.clock.advance(100)
    assert "openai-poll-after-ms" not in videos.get(created.json()["id"]).headers
    videos.provider.control("POST", "/limits", json={"poll_after_ms": None})
    assert "openai-poll-after-ms" not in videos.create().headers


def test_content_is_the_asked_video(speak: Callable[..., Any], decode: Callable[..., Any]) -> None:
    """In full size: an MP4 of the size and length asked for, with Range; the default variant is the video."""
    videos = speak(media="full")
    video_id = videos.finish("A paper boat")
    answer = videos.content(video_id)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "video/mp4")
    frames = decode(answer.content)
    assert (frames[0].width, frames[0].height, len(frames)) == (720, 1280, 4 * 24)
    assert videos.content(video_id, "video").content == answer.content
    part = videos.content(video_id, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, answer.content[10:20])


@pytest.mark.parametrize(
    ("variant", "magic", "media_type", "scale"),
    [("thumbnail", b"RIFF", "image/webp", (1, 1)), ("spritesheet", b"\xff\xd8\xff", "image/jpeg", (5 / 4, 1))],
)
def test_other_variants_are_pictures(
    speak: Callable[..., Any],
    decode: Callable[..., Any],
    variant: str,
    magic: bytes,
    media_type: str,
    scale: tuple[float, float],
) -> None:
    """The thumbnail is a WebP of the video's size, the spritesheet a JPEG of 5 by 4 quarter-sized frames."""
    videos = speak(media="full")
    video_id = videos.finish("A paper boat", size="1280x720")
    answer = videos.content(video_id, variant)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, media_type)
    assert answer.content.startswith(magic)
    (frame,) = decode(answer.content)
    assert (frame.width, frame.height) == (1280 * scale[0], 720 * scale[1])
    shades = bytes(frame.reformat(format="gray").planes[0])
    assert sum(shade > 200 for shade in shades) > 2000  # white text stands out of the ground
    assert videos.content(video_id, "poster").status_code == 400


def test_spritesheet_shows_the_passing_of_time(speak: Callable[..., Any], decode: Callable[..., Any]) -> None:
    """The progress bar of the last small frame is longer than the first one's."""
    videos = speak(media="full")
    (sheet,) = decode(videos.content(videos.finish(size="1280x720"), "spritesheet").content)
    gray = sheet.reformat(format="gray")
    plane, stride = bytes(gray.planes[0]), gray.planes[0].line_size

    def tile(column: int, row: int) -> bytes:
        lines = range(row * 180, (row + 1) * 180)
        return b"".join(plane[line * stride + column * 320 : line * stride + (column + 1) * 320] for line in lines)

    first, last = tile(0, 0), tile(4, 3)
    assert sum(abs(a - b) > 40 for a, b in zip(first, last, strict=True)) > 500


def test_content_before_the_end_and_of_a_failed_video_is_404(videos: Any) -> None:
    """Not ready yet, or nothing to have; each says so."""
    early, failed, empty = videos.new(), videos.new("[internal_error]"), videos.new("[partial]")
    assert "not ready yet" in videos.content(early).json()["error"]["message"]
    videos.provider.clock.advance(100)
    assert videos.get(failed).json()["status"] == "failed"
    assert videos.get(empty).json()["status"] == "completed"
    for video_id in (failed, empty):
        assert (videos.content(video_id).status_code, "no content" in videos.content(video_id).text) == (404, True)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("input_moderation", "moderation_blocked"),
        ("output_moderation", "moderation_blocked"),
        ("internal_error", "internal_error"),
    ],
)
def test_accepted_video_fails_with_code_and_message(videos: Any, reason: str, code: str) -> None:
    """A 200 with status failed and error {code, message}; progress stays where it was."""
    video_id = videos.finish(f"a [{reason}] scene")
    answer = videos.get(video_id)
    video = answer.json()
    assert (answer.status_code, video["status"], video["error"]["code"]) == (200, "failed", code)
    assert video["error"]["message"]
    assert 0 < video["progress"] < 100


def test_moderated_prompt_is_refused_at_once(speak: Callable[..., Any]) -> None:
    """400 moderation_blocked; nothing is created."""
    for profile in ("azure", "openai"):
        videos = speak(profile)
        answer = videos.create("[moderated]")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "moderation_blocked")
        assert videos.ids() == []
        videos.provider.simulator.stop()


def test_azure_forgets_a_video_a_day_after_its_creation(videos: Any) -> None:
    """expires_at counts from created_at; then video and content are 404 and leave the list."""
    video_id = videos.finish()
    assert videos.get(video_id).json()["expires_at"] == START_SECONDS + 86400
    videos.provider.clock.advance(86400 - 101)
    assert (videos.get(video_id).status_code, videos.content(video_id).status_code) == (200, 200)
    videos.provider.clock.advance(1)
    assert [videos.get(video_id).status_code, videos.content(video_id).status_code] == [404, 404]
    assert videos.ids() == []


def test_openai_keeps_the_object_and_drops_the_content_after_an_hour(speak: Callable[..., Any]) -> None:
    """One hour after the end the download is gone while the video is still listed as completed."""
    videos = speak("openai")
    video_id = videos.finish()
    assert videos.get(video_id).json()["expires_at"] == START_SECONDS + 100 + 3600
    assert videos.content(video_id).status_code == 200
    videos.provider.clock.advance(3600)
    answer = videos.content(video_id)
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        404,
        "The video is no longer available. Downloads expire after 1 hours.",
    )
    assert (videos.get(video_id).json()["status"], videos.ids()) == ("completed", [video_id])


def test_list_pages_in_both_orders(videos: Any) -> None:
    """`after`, `limit` and `order`; has_more, first_id and last_id tell where one is."""
    ids = [videos.new(f"video {number}") for number in range(5)]

    def page(query: str) -> tuple[list[str], bool]:
        body = videos.provider.call("GET", f"{videos.base}?{query}").json()
        found = [video["id"] for video in body["data"]]
        assert (body["object"], body["first_id"], body["last_id"]) == (
            "list",
            found[0] if found else None,
            found[-1] if found else None,
        )
        return found, body["has_more"]

    assert page("order=asc&limit=2") == (ids[:2], True)
    assert page(f"order=asc&limit=2&after={ids[1]}") == (ids[2:4], True)
    assert page(f"limit=3&after={ids[3]}") == (ids[2::-1], False)
    assert page("limit=0") == ([], True)
    assert page("") == (ids[::-1], False)
    for query in ("limit=101", "limit=ten", "order=up", "after=video_nobody"):
        assert videos.provider.call("GET", f"{videos.base}?{query}").status_code == 400


def test_delete_takes_finished_videos_only(videos: Any) -> None:
    """200 with a body; a running one is refused and goes on; a deleted one is 404."""
    running = videos.new()
    assert videos.call("DELETE", running).status_code == 400
    videos.provider.clock.advance(100)
    answer = videos.call("DELETE", running)
    assert (answer.status_code, answer.json()) == (200, {"id": running, "object": "video.deleted", "deleted": True})
    assert [videos.get(running).status_code, videos.call("DELETE", running).status_code] == [404, 404]


@pytest.mark.parametrize(
    ("profile", "by_api_key", "status", "said"),
    [
        ("azure", True, 401, "Access denied"),
        ("litellm", True, 401, "Authentication Error"),
        ("openai", False, 401, "Incorrect API key"),
        ("vllm-omni", False, 401, "Unauthorized"),
        ("sglang", False, 401, "Unauthorized"),
        ("aquiles", False, 403, "Invalid API key"),
    ],
)
def test_key_is_wanted_as_bearer_and_by_some_as_api_key(
    speak: Callable[..., Any], profile: str, by_api_key: bool, status: int, said: str
) -> None:
    """Authorization: Bearer opens every server, `api-key` Azure and the gateway only; a wrong one is worded by each."""
    videos = speak(profile, api_key="right")
    for headers, fits in (
        ({}, False),
        ({"Authorization": "Bearer wrong"}, False),
        ({"Authorization": "Bearer right"}, True),
        ({"api-key": "right"}, by_api_key),
    ):
        answer = videos.provider.call("GET", f"{videos.base}?model=sora-2", headers=headers)
        assert (answer.status_code, said in answer.text) == ((200, False) if fits else (status, True))


def test_api_version_is_checked_by_azure_alone(speak: Callable[..., Any]) -> None:
    """A dated version is refused; other servers do not look."""
    videos = speak()
    path = f"{videos.base}?api-version=2025-04-01-preview"
    assert videos.provider.call("GET", path).json()["error"]["message"] == "API version not supported"
    assert videos.provider.call("GET", f"{videos.base}?api-version=preview").status_code == 200
    videos.provider.simulator.set_profile("sglang")
    assert videos.provider.call("GET", path).status_code == 200


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("azure", "Resource not found"),
        ("openai", "Invalid URL (GET /v1/nowhere)"),
        ("vllm-omni", "Not Found"),
        ("sglang", '{"detail": "Not Found"}'),
        ("litellm", '{"detail": "Not Found"}'),
    ],
)
def test_wrong_routes_are_404_in_the_servers_words(speak: Callable[..., Any], profile: str, said: str) -> None:
    """Paths under /v1 that do not exist; the call is in the accounts as a wrong route."""
    videos = speak(profile)
    answer = videos.provider.call("GET", "/v1/nowhere")
    assert (answer.status_code, said in answer.text) == (404, True)
    assert videos.provider.simulator.stats()["wrong_routes"] == {"/v1/nowhere": 1}


def test_dialects_do_not_see_each_others_tasks(videos: Any) -> None:
    """A video is no job and a job is no video; limits count by dialect; stats and journal name it."""
    provider = videos.provider
    provider.simulator.set_limits(max_running=1)
    job, video = provider.create("job").json()["id"], videos.new("video")
    assert (provider.get(video).status_code, videos.get(job).status_code) == (404, 404)
    assert (provider.create().status_code, videos.create().status_code) == (429, 429)
    counts = {"creates": 2, "creates_accepted": 1, "running": 1}
    assert provider.simulator.stats()["by_dialect"] == {"azure-jobs": counts, "openai-videos": counts}
    assert [call["dialect"] for call in provider.simulator.requests("create")] == [
        "azure-jobs",
        "openai-videos",
        "azure-jobs",
        "openai-videos",
    ]


def test_creates_per_minute_are_limited_with_retry_after(speak: Callable[..., Any]) -> None:
    """Two creates a minute, as Azure's quota; other verbs do not count."""
    videos = speak(creates_per_minute=2)
    first = videos.new()
    videos.new()
    assert videos.get(first).status_code == 200
    answer = videos.create()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    videos.provider.clock.advance(60)
    assert videos.create().status_code == 200


def test_deployment_that_does_not_exist_is_worded_by_each_server(speak: Callable[..., Any]) -> None:
    """404 at Azure and OpenAI, 400 at vLLM-Omni and LiteLLM; each names the model asked for."""
    videos = speak(deployments=["sora-2"])
    for profile, status in (("azure", 404), ("openai", 404), ("vllm-omni", 400), ("litellm", 400)):
        videos.provider.simulator.set_profile(profile)
        videos.form = profile == "vllm-omni"
        answer = videos.create(model="sora-9")
        assert (answer.status_code, "sora-9" in answer.text) == (status, True)
    videos.form = False
    assert videos.create().status_code == 200


def test_azure_looks_the_deployment_up_before_the_prompt(speak: Callable[..., Any]) -> None:
    """The other servers miss the prompt first, LiteLLM among them."""
    videos = speak(deployments=["sora-2"])
    assert "does not exist" in videos.create(prompt=None, model="sora-9").text
    assert "'prompt'" in videos.create(prompt=None).text
    for profile in ("openai", "litellm"):
        videos.provider.simulator.set_profile(profile)
        assert "'prompt'" in videos.create(prompt=None, model="sora-9").text
