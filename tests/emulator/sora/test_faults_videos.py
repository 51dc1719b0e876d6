"""Faults strike the Videos API as they strike the jobs API, in the words of the profile's server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests


@pytest.fixture
def videos(speak: Callable[..., Any]) -> Any:
    """Azure's Videos API."""
    return speak()


REFUSALS = [
    ("wrong_route", {}, 404, "404", 404, None),
    ("not_found", {}, 404, "404", 404, None),
    ("deployment_not_found", {}, 404, None, 404, "model_not_found"),
    ("unauthorized", {}, 401, "401", 401, "invalid_api_key"),
    ("forbidden", {}, 403, "PermissionDenied", 403, "insufficient_permissions"),
    ("too_many_running", {}, 429, None, 429, None),
    ("rate_limited", {"retry_after": 7}, 429, "429", 429, "rate_limit_exceeded"),
    ("invalid", {"param": "size"}, 400, "invalid_value", 400, "invalid_value"),
    ("moderated", {}, 400, "moderation_blocked", 400, "moderation_blocked"),
    ("moderated", {"code": "sentinel_block"}, 400, "sentinel_block", 400, "sentinel_block"),
    ("server_error", {"status": 503}, 503, "503", 503, None),
]


@pytest.mark.parametrize(("kind", "fields", "status", "code", "openai_status", "openai_code"), REFUSALS)
def test_refusals_have_azures_and_openais_words(
    videos: Any,
    kind: str,
    fields: dict[str, Any],
    status: int,
    code: str | None,
    openai_status: int,
    openai_code: str | None,
) -> None:
    """Status, code and a message in either server's shape; no effect; Retry-After with a rate limit only."""
    for profile, expected in (("azure", (status, code)), ("openai", (openai_status, openai_code))):
        videos.provider.simulator.set_profile(profile)
        videos.provider.simulator.fault("create", kind, **fields)
        answer = videos.create()
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], bool(error["message"])) == (*expected, True)
        assert answer.headers.get("Retry-After") == ("7" if kind == "rate_limited" else None)
    assert videos.ids() == []


@pytest.mark.parametrize("profile", ["vllm-omni", "sglang", "litellm", "aquiles"])
@pytest.mark.parametrize(("kind", "fields"), [(kind, fields) for kind, fields, *_ in REFUSALS])
def test_refusals_are_worded_by_every_other_server(
    speak: Callable[..., Any], profile: str, kind: str, fields: dict[str, Any]
) -> None:
    """An error status with a body of that server's form: {"error": ...}, {"detail": ...}, or bare text."""
    videos = speak(profile)
    videos.provider.simulator.fault("create", kind, **fields)
    answer = videos.create()
    assert 400 <= answer.status_code < 600
    if profile == "aquiles" and kind == "invalid":
        assert answer.text == "Internal Server Error"
    elif profile in ("sglang", "aquiles") or (profile, kind) == ("litellm", "wrong_route"):
        assert answer.json() == {"error": "Unauthorized"} or answer.json()["detail"]
    elif kind == "unauthorized" and profile == "vllm-omni":
        assert answer.json() == {"error": "Unauthorized"}
    else:
        code = answer.json()["error"]["code"]
        assert code == (answer.status_code if profile == "vllm-omni" else str(answer.status_code))


@pytest.mark.parametrize(
    ("shape", "starts"), [("flat", '{"message"'), ("html", "<html>"), ("empty", ""), ("wrapped", '{"error"')]
)
def test_refusals_may_have_another_form(videos: Any, shape: str, starts: str) -> None:
    """Flat, a page of HTML, or nothing at all, whoever answers."""
    videos.provider.simulator.set_profile("openai")
    videos.provider.simulator.fault("list", "server_error", status=502, shape=shape)
    answer = videos.provider.call("GET", videos.base)
    assert (answer.status_code, answer.text[: len(starts)]) == (502, starts)
    assert shape != "empty" or answer.content == b""


@pytest.mark.parametrize("op", ["create", "get", "list", "content", "thumbnail", "delete"])
def test_every_operation_can_fail(videos: Any, op: str) -> None:
    """A 5xx on any operation has no effect, and the next call is served."""
    video_id = videos.finish()
    calls: dict[str, Callable[[], requests.Response]] = {
        "create": videos.create,
        "get": lambda: videos.get(video_id),
        "list": lambda: videos.provider.call("GET", videos.base),
        "content": lambda: videos.content(video_id),
        "thumbnail": lambda: videos.content(video_id, "thumbnail"),
        "delete": lambda: videos.call("DELETE", video_id),
    }
    videos.provider.simulator.fault(op, "server_error")
    assert [calls[op]().status_code for _ in range(2)] == [500, 200]


@pytest.mark.parametrize("reason", ["input_moderation", "solar_flare"])
def test_accepted_video_fails_by_fault(videos: Any, reason: str) -> None:
    """The create is accepted; any reason becomes the error's code."""
    videos.provider.simulator.fault("create", "failed", reason=reason)
    video = videos.get(videos.finish()).json()
    code = "moderation_blocked" if reason == "input_moderation" else reason
    assert (video["status"], video["error"]["code"]) == ("failed", code)


def test_completed_video_without_content(videos: Any) -> None:
    """`partial` leaves a single output out: completed, and nothing to download."""
    videos.provider.simulator.fault("create", "partial", generations=0)
    video_id = videos.finish()
    assert (videos.get(video_id).json()["status"], videos.content(video_id).status_code) == ("completed", 404)


def test_video_that_never_finishes(videos: Any) -> None:
    """It stays in progress below 100 for ever; by fault or by prompt word."""
    videos.provider.simulator.fault("create", "never_finish")
    stuck = [videos.new(prompt) for prompt in ("a", "[stuck]")]
    videos.provider.clock.advance(10 * 86400)
    seen = [videos.get(one).json() for one in stuck]
    assert [(video["status"], video["progress"]) for video in seen] == [("in_progress", 50)] * 2


@pytest.mark.parametrize("profile", ["azure", "vllm-omni", "litellm"])
def test_unknown_status_word_hides_the_end(speak: Callable[..., Any], profile: str) -> None:
    """For n polls the word is one nobody documented and nothing is finished; a failed one is no HTTP error then."""
    videos = speak(profile)
    video_id = videos.finish("[internal_error]")
    videos.provider.simulator.fault("get", "unknown_status", times=2)
    seen = [videos.get(video_id) for _ in range(3)]
    assert [answer.json()["status"] for answer in seen] == ["rehearsing", "rehearsing", "failed"]
    assert (seen[0].status_code, seen[0].json()["error"], seen[0].json()["completed_at"]) == (200, None, None)


def test_cancelled_is_a_status_too(videos: Any) -> None:
    """A task cancelled by hand says so, as the samples expect."""
    video_id = videos.new()
    videos.provider.simulator.force(video_id, "cancelled")
    assert videos.get(video_id).json()["status"] == "cancelled"


def test_list_can_hide_videos(videos: Any) -> None:
    """Matching tasks are missing once; a rule for another dialect waits for that one."""
    for prompt in ("red fox", "blue owl"):
        videos.new(prompt)
    videos.provider.simulator.fault("list", "hidden", match={"dialect": "azure-jobs"})
    videos.provider.simulator.fault("list", "hidden", match={"prompt": "fox"})
    assert [len(videos.ids()) for _ in range(2)] == [1, 2]
    assert [fault["match"] for fault in videos.provider.control("GET", "").json()["faults"]] == [
        {"dialect": "azure-jobs"}
    ]


def test_content_is_404_n_times_and_then_there(videos: Any) -> None:
    """The minutes after success."""
    video_id = videos.finish()
    videos.provider.simulator.fault("content", "not_found", times=2)
    assert [videos.content(video_id).status_code for _ in range(3)] == [404, 404, 200]


@pytest.mark.parametrize(("profile", "statuses"), [("azure", [404, 404, 404]), ("openai", [404, 200, 404])])
def test_video_can_expire_under_a_call(speak: Callable[..., Any], profile: str, statuses: list[int]) -> None:
    """The struck download finds nothing, nor does a later one; OpenAI still knows the video."""
    videos = speak(profile)
    video_id = videos.finish()
    videos.provider.simulator.fault("content", "expired")
    answers = [videos.content(video_id), videos.get(video_id), videos.content(video_id, "thumbnail")]
    assert [answer.status_code for answer in answers] == statuses


def test_dropped_answer_leaves_a_video_in_the_list(videos: Any) -> None:
    """What was paid for without an answer can be found by prompt and time; drop_before leaves nothing."""
    videos.provider.simulator.fault("create", "drop_answer")
    videos.provider.simulator.fault("create", "drop_before")
    for prompt in ("paid", "unpaid"):
        with pytest.raises(requests.ConnectionError):
            videos.create(prompt)
    (video,) = videos.provider.call("GET", videos.base).json()["data"]
    assert (video["prompt"], video["created_at"]) == ("paid", 1772366400)


def test_downloads_break_in_all_the_ways(videos: Any) -> None:
    """Wrong type, no length, ignored range, wrong body: as asked, one after the other."""
    video_id = videos.finish()
    whole = videos.content(video_id).content
    fault = videos.provider.simulator.fault
    fault("content", "wrong_type")
    answer = videos.content(video_id)
    assert (answer.headers["Content-Type"], answer.content) == ("application/octet-stream", whole)
    fault("content", "no_length")
    assert "Content-Length" not in videos.content(video_id).headers
    fault("content", "range_ignored")
    assert videos.content(video_id, headers={"Range": "bytes=5-"}).content == whole
    fault("content", "wrong_body")
    assert videos.content(video_id).json() == {"message": "not what you asked for"}
    fault("content", "delay", delay=0.2)
    began = time.monotonic()
    assert videos.content(video_id).content == whole
    assert time.monotonic() - began >= 0.2


def test_cut_download_can_be_resumed(videos: Any) -> None:
    """Exactly `after` bytes arrive; a Range brings the rest."""
    video_id = videos.finish()
    whole = videos.content(video_id).content
    videos.provider.simulator.fault("content", "truncate", after=1000)
    answer, got = videos.content(video_id, stream=True), bytearray()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _read_on(answer.iter_content(1), got)
    assert got == whole[:1000]
    assert videos.content(video_id, headers={"Range": "bytes=1000-"}).content == whole[1000:]


def _read_on(arriving: Iterator[bytes], got: bytearray) -> None:
    for chunk in arriving:
        got += chunk


@pytest.mark.parametrize("variant", [None, "thumbnail"])
def test_redirect_leads_to_another_host_without_a_key(speak: Callable[..., Any], variant: str | None) -> None:
    """302 to the simulator under another name, which serves the same bytes and would see stray credentials."""
    videos = speak(api_key="k")
    videos.provider.session.headers["api-key"] = "k"
    video_id = videos.finish()
    whole = videos.content(video_id, variant).content
    op = "thumbnail" if variant else "content"
    videos.provider.simulator.fault(op, "redirect")
    answer = videos.content(video_id, variant)
    assert (answer.status_code, answer.headers["Location"].startswith("http://localhost:")) == (302, True)
    assert requests.get(answer.headers["Location"], timeout=5).content == whole
    assert [call["credentials"] for call in videos.provider.simulator.requests("cdn")] == [0]
    videos.provider.simulator.fault(op, "redirect", location="http://10.0.0.1/x")
    assert videos.content(video_id, variant).headers["Location"] == "http://10.0.0.1/x"
    unknown = answer.headers["Location"].replace(video_id, "video_nobody")
    assert requests.get(unknown, timeout=5).status_code == 404


def test_fault_can_be_meant_for_one_dialect(videos: Any) -> None:
    """The other dialect's call does not use it up."""
    videos.provider.simulator.fault("create", "server_error", match={"dialect": "openai-videos"})
    assert videos.provider.create().status_code == 201
    assert [videos.create().status_code for _ in range(2)] == [500, 200]
