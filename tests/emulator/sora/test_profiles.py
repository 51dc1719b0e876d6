"""Each server's deviations from the published Videos API: one test for each thing a client must survive."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from emulator.sora.profiles import PROFILES

WORDS = {"aquiles": "processing"}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_server_completes_a_video(speak: Callable[..., Any], decode: Callable[..., Any], profile: str) -> None:
    """Create, poll to completed, download without a variant, delete: the plain path works everywhere."""
    videos = speak(profile)
    video_id = videos.new("a boat")
    assert videos.get(video_id).json()["status"] == "queued"
    videos.provider.clock.advance(50)
    assert videos.get(video_id).json()["status"] == WORDS.get(profile, "in_progress")
    videos.provider.clock.advance(50)
    video = videos.get(video_id).json()
    assert (video["status"], video["progress"], video["prompt"]) == ("completed", 100, "a boat")
    content = videos.content(video_id)
    assert (content.status_code, content.headers["Content-Type"]) == (200, "video/mp4")
    assert len(decode(content.content)) == 4 * 4
    assert videos.call("DELETE", video_id).status_code == 200
    assert videos.get(video_id).status_code == 404


# vLLM-Omni


def test_vllm_takes_forms_only(speak: Callable[..., Any]) -> None:
    """A JSON body is a form without a prompt: 400, with an integer code."""
    videos = speak("vllm-omni")
    body = {"model": "sora-2", "prompt": "x", "seconds": "4"}
    answer = videos.provider.call("POST", videos.base, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 400)
    assert "prompt" in answer.json()["error"]["message"]


def test_vllm_takes_any_length_and_size(speak: Callable[..., Any], decode: Callable[..., Any]) -> None:
    """Seconds from 1, sizes of any form or as width and height; 0 and words are refused."""
    videos = speak("vllm-omni", media="full")
    video_id = videos.finish(seconds="1", size="832x480", seed="7", model=None)
    frame = decode(videos.content(video_id).content)[0]
    assert (frame.width, frame.height) == (832, 480)
    assert videos.create(seconds="13", size=None, width="640", height="360").json()["size"] == "640x360"
    assert [videos.create(seconds=wrong).status_code for wrong in ("0", "x", "1.5", "999999")] == [400] * 4
    assert [videos.create(size=wrong).status_code for wrong in ("480p", "8x8", "9999x16")] == [400] * 3


@pytest.mark.parametrize(
    ("prompt", "reason", "status"),
    [("[internal_error]", None, 500), ("[output_moderation]", None, 400), ("x", "503", 503), ("x", "odd", 500)],
)
def test_vllm_answers_a_failed_job_as_an_http_error(
    speak: Callable[..., Any], prompt: str, reason: str | None, status: int
) -> None:
    """GET is a 4xx/5xx whose body is the whole job with status failed and an integer error.code; the list is a 200."""
    videos = speak("vllm-omni")
    if reason is not None:
        videos.provider.simulator.fault("create", "failed", reason=reason)
    answer = videos.get(video_id := videos.finish(prompt))
    video = answer.json()
    assert (answer.status_code, video["status"], video["id"]) == (status, "failed", video_id)
    assert video["error"]["code"] == status
    assert (videos.content(video_id).status_code, videos.ids()) == (422, [video_id])


def test_vllm_content_is_404_while_it_runs(speak: Callable[..., Any]) -> None:
    """The body says that the generation is still in progress, not that the video is unknown."""
    videos = speak("vllm-omni")
    answer = videos.content(videos.new())
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "Generation is still in-progress")
    assert videos.content("video_gen_nobody").json()["error"]["message"] == "Video not found"


@pytest.mark.parametrize("profile", ["vllm-omni", "aquiles", "litellm"])
def test_variant_is_ignored(speak: Callable[..., Any], profile: str) -> None:
    """Whoever asks for a thumbnail gets the video, as video/mp4."""
    videos = speak(profile)
    answer = videos.content(videos.finish(), "thumbnail")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "video/mp4")


@pytest.mark.parametrize(("profile", "moves"), [("vllm-omni", False), ("sglang", False), ("aquiles", True)])
def test_progress_stays_at_nothing_until_the_end(speak: Callable[..., Any], profile: str, moves: bool) -> None:
    """0 while it runs, then 100."""
    videos = speak(profile)
    video_id = videos.new()
    videos.provider.clock.advance(80)
    assert (videos.get(video_id).json()["progress"] > 0) is moves
    videos.provider.clock.advance(20)
    assert videos.get(video_id).json()["progress"] == 100


@pytest.mark.parametrize(
    ("profile", "option", "forgotten"),
    [
        ("vllm-omni", None, True),
        ("sglang", None, True),
        ("aquiles", None, True),
        ("vllm-omni", False, False),
        ("azure", None, False),
        ("azure", True, True),
    ],
)
def test_restart_forgets_what_was_in_memory(
    speak: Callable[..., Any], profile: str, option: bool | None, forgotten: bool
) -> None:
    """After a restart every task is 404, but the accounts know them; the option decides otherwise."""
    before = speak(profile, forget_on_restart=option)
    done, running = before.finish("done"), before.new("running")
    before.provider.simulator.stop()
    after = speak(profile, forget_on_restart=option, clock=before.provider.clock)
    statuses = [after.get(one).status_code for one in (done, running)]
    assert statuses == ([404, 404] if forgotten else [200, 200])
    stats = after.provider.simulator.stats()
    assert (stats["creates_accepted"], stats["running"]) == (2, 0 if forgotten else 1)
    assert after.ids() == ([] if forgotten else [running, done])


def test_all_tasks_can_be_forgotten_now(speak: Callable[..., Any]) -> None:
    """The control verb does what a restart would, for every dialect and profile."""
    videos = speak("openai")
    video_id, job = videos.finish(), videos.provider.create().json()["id"]
    assert videos.provider.control("POST", "/forget").json() == {"forgotten": 2}
    assert (videos.get(video_id).status_code, videos.provider.get(job).status_code) == (404, 404)
    assert videos.provider.simulator.forget() == 0


def test_vllm_delete_aborts_a_running_job(speak: Callable[..., Any]) -> None:
    """DELETE frees the place at once."""
    videos = speak("vllm-omni", max_running=1)
    running = videos.new()
    assert videos.call("DELETE", running).json() == {"id": running, "object": "video.deleted", "deleted": True}
    assert videos.create().status_code == 200


@pytest.mark.parametrize("profile", ["vllm-omni", "sglang", "aquiles"])
def test_own_servers_keep_videos_for_ever_unless_told(speak: Callable[..., Any], profile: str) -> None:
    """No expires_at by default; with a time to live there is one, and then the video is gone."""
    videos = speak(profile)
    kept = videos.finish()
    videos.provider.clock.advance(365 * 86400)
    assert (videos.get(kept).json()["expires_at"], videos.content(kept).status_code) == (None, 200)
    videos.provider.simulator.set_limits(expiry_seconds=60)
    video_id = videos.finish()
    video = videos.get(video_id).json()
    assert video["expires_at"] == video["completed_at"] + 60
    videos.provider.clock.advance(60)
    assert videos.get(video_id).status_code == 404


@pytest.mark.parametrize("profile", ["vllm-omni", "sglang", "litellm"])
def test_content_comes_as_an_attachment(speak: Callable[..., Any], profile: str) -> None:
    """content-disposition names a file, and content-length is there."""
    videos = speak(profile)
    answer = videos.content(videos.finish())
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    assert int(answer.headers["Content-Length"]) == len(answer.content)


# LiteLLM


def test_litellm_ids_are_long_and_change_from_create_to_get(speak: Callable[..., Any]) -> None:
    """Over 1,000 characters of base64; GET answers another one; both, and those of the list, lead to the video."""
    videos = speak("litellm")
    created = videos.new()
    polled = videos.get(created).json()["id"]
    assert len(created) > 1000
    assert polled != created
    packed = base64.b64decode(created.removeprefix("video_")).decode()
    assert packed.startswith("litellm:custom_llm_provider:openai;model_id:")
    videos.provider.clock.advance(100)
    assert [videos.get(one).json()["status"] for one in (created, polled)] == ["completed"] * 2
    assert videos.ids("model=sora-2") == [polled]
    assert videos.content(created).content == videos.content(polled).content
    assert videos.get("video_bm9ib2R5").status_code == 404
    assert videos.provider.simulator.stats()["polls_by_task"][videos.provider.simulator.tasks()[0]["id"]] == 3


def test_litellm_list_wants_a_model(speak: Callable[..., Any]) -> None:
    """Without `model` it is a 400 that names no provider: useless to reconcile with."""
    videos = speak("litellm")
    video_id = videos.new()
    answer = videos.provider.call("GET", videos.base)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], "LLM Provider NOT provided" in error["message"]) == (400, "400", True)
    assert videos.ids("model=sora-2") == [videos.get(video_id).json()["id"]]
    assert videos.ids("custom_llm_provider=openai") == [videos.get(video_id).json()["id"]]


def test_litellm_serves_content_without_ranges(speak: Callable[..., Any]) -> None:
    """A Range gets 200 and the whole; there is no ETag to resume by."""
    videos = speak("litellm")
    video_id = videos.finish()
    answer = videos.content(video_id, headers={"Range": "bytes=5-"})
    assert (answer.status_code, answer.content) == (200, videos.content(video_id).content)
    assert {"ETag", "Accept-Ranges"} & set(answer.headers) == set()


def test_litellm_wraps_the_upstreams_refusal_into_a_text(speak: Callable[..., Any]) -> None:
    """`code` is the status as a string; what went wrong stands only in the message."""
    videos = speak("litellm")
    error = videos.create("[moderated]").json()["error"]
    assert error["code"] == "400"
    assert "ContentPolicyViolationError" in error["message"]
    assert "moderation_blocked" in error["message"]
    videos.provider.simulator.fault("create", "rate_limited", retry_after=9)
    answer = videos.create()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "9")
    assert "litellm.RateLimitError" in answer.json()["error"]["message"]


def test_litellm_takes_seconds_as_a_number_too(speak: Callable[..., Any]) -> None:
    """The gateway writes a form for its upstream, so that a number becomes a string; the upstream's list holds."""
    videos = speak("litellm")
    assert videos.create(seconds=8).json()["seconds"] == "8"
    assert videos.create(seconds=5).status_code == 400


# Aquiles-Image


def test_aquiles_says_processing(speak: Callable[..., Any]) -> None:
    """Its word for in_progress, and a failed video has code generation_error."""
    videos = speak("aquiles")
    video_id = videos.new()
    videos.provider.clock.advance(50)
    assert videos.get(video_id).json()["status"] == "processing"
    assert videos.get(videos.finish("[internal_error]")).json()["error"]["code"] == "generation_error"


def test_aquiles_serves_content_without_a_key(speak: Callable[..., Any]) -> None:
    """All else is a 403."""
    videos = speak("aquiles", api_key="k")
    body = {"prompt": "x", "size": "1280x720"}
    answer = videos.provider.call("POST", videos.base, json=body, headers={"Authorization": "Bearer k"})
    video_id = answer.json()["id"]
    videos.provider.clock.advance(100)
    assert (videos.get(video_id).status_code, videos.content(video_id).status_code) == (403, 200)


def test_aquiles_full_house_is_a_503(speak: Callable[..., Any]) -> None:
    """No 429 and no Retry-After: the text alone tells that another task runs."""
    videos = speak("aquiles", max_running=1)
    videos.new()
    answer = videos.create()
    assert (answer.status_code, "concurrent tasks has been reached" in answer.json()["detail"]) == (503, True)
    assert "Retry-After" not in answer.headers


def test_aquiles_has_a_bare_500_for_what_it_did_not_expect(speak: Callable[..., Any]) -> None:
    """A size it does not know, and content before the end: no JSON, no reason."""
    videos = speak("aquiles")
    for answer in (videos.create(size="480x480"), videos.content(videos.new())):
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")


# Changing


def test_profile_can_be_changed_while_it_runs(speak: Callable[..., Any]) -> None:
    """The same task is seen with the other server's ways; the control endpoint tells the profile in force."""
    videos = speak("openai")
    video_id = videos.finish("[internal_error]")
    assert videos.get(video_id).status_code == 200
    answer = videos.provider.control("POST", "/profile", json={"profile": "vllm-omni"})
    assert (answer.json()["profile"], answer.json()["expiry_seconds"]) == ("vllm-omni", None)
    assert videos.get(video_id).status_code == 500
    body = videos.provider.control("GET", "").json()
    assert (body["limits"]["profile"], set(body["profiles"])) == ("vllm-omni", set(PROFILES))
    assert videos.provider.control("POST", "/profile", json={"profile": "sora"}).status_code == 400
    with pytest.raises(ValueError, match="no profile 'sora': use azure, openai"):
        videos.provider.simulator.set_profile("sora")
