"""The videos dialect as real servers speak it: requests, answers, and everything that one of them does differently."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st

from reelkeeper.errors import ADVICE, ProviderError
from reelkeeper.model import JobRequest, Output, Task
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.providers.openai_videos import OpenAIVideos

Make = Callable[..., OpenAIVideos]
ROOT = "https://r.example/v1/videos"
NOW = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
KEY = "sEcReT/k3y+for=tests"
CREATED = 1795166000
REQUEST = JobRequest("a fox in the snow", width=1280, height=720, n_seconds=4, n_variants=1, model="sora-2")
OUTPUT = Output("video_1", 1280, 720, 4)
VIDEO: dict[str, Any] = {
    "id": "video_1", "object": "video", "model": "sora-2", "status": "queued", "progress": 0, "created_at": CREATED,
    "completed_at": None, "expires_at": None, "seconds": "4", "size": "1280x720", "remixed_from_video_id": None,
    "error": None,
}  # fmt: skip
PROMPT_MISSING = {
    "detail": [{"type": "missing", "loc": ["body", "prompt"], "msg": "Field required", "input": None}]
}  # fmt: skip


@pytest.fixture
def calls() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def refusal(call: Callable[..., Any], *args: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        call(*args)
    return caught.value


def looked(calls: responses.RequestsMock, provider: OpenAIVideos, http_status: int = 200, **changes: Any) -> Task:
    calls.get(f"{ROOT}/video_1", json=VIDEO | changes, status=http_status, headers={"x-request-id": "req-9"})
    return provider.look("video_1")


# Create


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_create_sends_text_as_the_api_wants_it(calls: responses.RequestsMock, videos: Make, status: int) -> None:
    """Seconds as a string and the size in one word; no variants, no field of ours; the key as a bearer token."""
    calls.post(ROOT, json=VIDEO, status=status)
    task = videos().submit(replace(REQUEST, metadata={"mine": "1"}))
    sent = calls.calls[0].request
    assert json.loads(sent.body or "") == {
        "model": "sora-2",
        "prompt": "a fox in the snow",
        "seconds": "4",
        "size": "1280x720",
    }
    assert (sent.headers["Authorization"], "api-key" in sent.headers) == (f"Bearer {KEY}", False)
    assert (task.task_id, task.state, task.stage, task.progress) == ("video_1", "queued", "queued", 0)
    assert (task.outputs, task.fault) == ((), None)
    assert task.created_at.timestamp() == CREATED


def test_azure_gets_its_own_header_and_an_open_server_none(calls: responses.RequestsMock, videos: Make) -> None:
    """The configuration decides how the key goes out; without one nothing does."""
    calls.post(ROOT, json=VIDEO)
    for changes in ({"auth": "api-key"}, {"api_key": ""}, {"api_key": "", "auth": "api-key"}):
        videos(**changes).submit(REQUEST)
    seen = [{"api-key", "Authorization"} & call.request.headers.keys() for call in calls.calls]
    assert seen == [{"api-key"}, set(), set()]


@pytest.mark.parametrize("answer", [{"json": {}}, {"json": {**VIDEO, "id": 7}}, {"body": "<html>"}, {"json": []}])
def test_a_success_without_an_id_may_have_been_paid(
    calls: responses.RequestsMock, videos: Make, answer: dict[str, Any]
) -> None:
    """Whatever stands there instead, the outcome is unknown: nobody may simply post again."""
    calls.post(ROOT, **answer)
    error = refusal(videos().submit, REQUEST)
    assert (error.fault.code, error.outcome_unknown) == ("provider_error", True)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (422, PROMPT_MISSING),
        (400, {"error": {"message": "[{'loc': ('body', 'prompt'), 'msg': 'Field required'}]", "code": 400}}),
        (400, {"error": {"message": "Missing required parameter: 'prompt'."}}),
        (415, {"detail": "Unsupported Media Type"}),
    ],
)
def test_a_server_that_takes_forms_only_gets_a_form(
    calls: responses.RequestsMock, videos: Make, status: int, body: Any
) -> None:
    """It said that it saw no prompt, so it made nothing; from then on the form is sent at once."""
    calls.post(ROOT, status=status, json=body)
    calls.post(ROOT, json=VIDEO)
    provider = videos()
    assert [provider.submit(REQUEST).task_id for _ in range(2)] == ["video_1"] * 2
    kinds = [(call.request.headers["Content-Type"] or "").partition(";")[0] for call in calls.calls]
    assert kinds == ["application/json", "multipart/form-data", "multipart/form-data"]
    form = bytes(calls.calls[1].request.body or b"").decode()
    for name, text in {"prompt": "a fox in the snow", "seconds": "4", "size": "1280x720", "model": "sora-2"}.items():
        assert f'name="{name}"\r\n\r\n{text}\r\n' in form
    assert "filename" not in form


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Your prompt was rejected."),
        (400, "size is required"),
        (500, "prompt is required"),
        (401, "prompt is required"),
    ],
)
def test_another_refusal_is_not_asked_twice(
    calls: responses.RequestsMock, videos: Make, status: int, message: str
) -> None:
    """Only a server that did not see the prompt is asked again; anything else is its answer."""
    calls.post(ROOT, status=status, json={"error": {"message": message}})
    error = refusal(videos().submit, REQUEST)
    assert (error.fault.provider_status, len(calls.calls)) == (status, 1)
    assert error.outcome_unknown is (status == 500)


def test_a_refused_form_leaves_json_the_first_choice(calls: responses.RequestsMock, videos: Make) -> None:
    """One odd refusal does not change how a server is spoken to for good."""
    calls.post(ROOT, status=400, json={"error": {"message": "prompt is required"}})
    calls.post(ROOT, status=400, json={"detail": "input_reference file is required"})
    calls.post(ROOT, json=VIDEO)
    provider = videos()
    assert refusal(provider.submit, REQUEST).fault.code == "invalid_request"
    assert provider.submit(REQUEST).task_id == "video_1"
    assert calls.calls[2].request.headers["Content-Type"] == "application/json"


# Look


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("queued", "queued"),
        ("pending", "queued"),
        ("in_progress", "running"),
        ("processing", "running"),
        ("running", "running"),
        ("completed", "succeeded"),
        ("Completed", "succeeded"),
        ("succeeded", "succeeded"),
        ("failed", "failed"),
        ("error", "failed"),
        ("cancelled", "cancelled"),
        ("canceled", "cancelled"),
        ("deleted", "cancelled"),
    ],
)
def test_every_servers_word_has_its_state(calls: responses.RequestsMock, videos: Make, word: str, state: str) -> None:
    """Other words for the same five states; the provider's own stays visible as the stage."""
    task = looked(calls, videos(), status=word)
    assert (task.state, task.stage, task.fault is not None) == (state, word.lower(), state in ("failed", "cancelled"))
    assert bool(task.outputs) is (state == "succeeded")


@pytest.mark.parametrize("word", ["rehearsing", "", None, 7, ["queued"]])
def test_an_unknown_status_is_watched_on_and_told_to_the_log(
    calls: responses.RequestsMock, videos: Make, caplog: pytest.LogCaptureFixture, word: Any
) -> None:
    """A newer server's word loses no paid task."""
    calls.get(f"{ROOT}/video_1", json=VIDEO | {"status": word})
    with caplog.at_level(logging.WARNING):
        task = videos().look("video_1")
    assert (task.state, task.stage, task.outputs, task.fault) == ("running", "running", (), None)
    assert "video_1" in caplog.text


@pytest.mark.parametrize(
    ("said", "progress"),
    [(0, 0), (37, 37), (99.6, 100), (100, 100), (101, None), (-1, None), (None, None), ("50", None), (True, None)],
)
def test_progress_is_a_percentage_or_nothing(
    calls: responses.RequestsMock, videos: Make, said: Any, progress: int | None
) -> None:
    """What is no number from 0 to 100 is as if nothing had been said."""
    assert looked(calls, videos(), progress=said).progress == progress


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"openai-poll-after-ms": "12500"}, 12.5),
        ({"openai-poll-after-ms": "0"}, 0.0),
        ({"openai-poll-after-ms": "soon"}, None),
        ({"openai-poll-after-ms": "5000", "Retry-After": "40"}, 40.0),
        ({}, None),
    ],
)
def test_the_poll_hint_is_passed_on_in_seconds(
    calls: responses.RequestsMock, videos: Make, headers: dict[str, str], seconds: float | None
) -> None:
    """Milliseconds in a header of their own; the standard header goes before it."""
    calls.get(f"{ROOT}/video_1", json=VIDEO, headers=headers)
    assert videos().look("video_1").retry_after == seconds


@pytest.mark.parametrize(
    ("told", "output"),
    [
        ({}, (1280, 720, 4)),
        ({"seconds": 8, "size": "720X1280"}, (720, 1280, 8)),
        ({"seconds": "8.0", "size": None, "width": 480, "height": "832"}, (480, 832, 8)),
        ({"seconds": None, "size": "large"}, (0, 0, 0)),
        ({"seconds": [4], "size": 1280}, (0, 0, 0)),
    ],
)
def test_a_completed_task_is_its_own_output(
    calls: responses.RequestsMock, videos: Make, told: dict[str, Any], output: tuple[int, int, int]
) -> None:
    """One id for both; figures as far as they are some, for none is worth losing a paid video."""
    task = looked(calls, videos(), **{"status": "completed", "expires_at": CREATED + 3600, **told})
    assert task.outputs == (Output("video_1", *output),)
    assert task.expires_at is not None
    assert task.expires_at.timestamp() == CREATED + 3600


def test_the_id_of_the_create_is_kept(calls: responses.RequestsMock, videos: Make) -> None:
    """A gateway answers a look with another id than the create: ours is the one that works, also for the content."""
    long_id = "video_" + "bGl0ZWxsbTp/c3Vy+A==" * 60
    calls.post(ROOT, json=VIDEO | {"id": long_id})
    task = videos().submit(REQUEST)
    calls.get(url=f"{ROOT}/{long_id.replace('/', '%2F').replace('+', '%2B').replace('=', '%3D')}",
              json=VIDEO | {"id": "video_short", "status": "completed"})  # fmt: skip
    seen = videos().look(task.task_id)
    assert (seen.task_id, seen.outputs[0].output_id) == (long_id, long_id)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": "moderation_blocked", "message": "Your request was blocked."}, "moderation_input"),
        ({"code": "output_moderation", "message": None}, "moderation_output"),
        ({"code": 400, "message": "num_frames must be 4n+1"}, "invalid_request"),
        ({"code": 500, "message": "CUDA out of memory"}, "provider_error"),
        ({"message": "worker died"}, "provider_error"),
        ("in a word", "provider_error"),
        (None, "provider_error"),
    ],
)
def test_a_failed_task_says_why(calls: responses.RequestsMock, videos: Make, error: Any, code: str) -> None:
    """With a code or without one, as an object or as text; the answer's request id helps support."""
    fault = looked(calls, videos(), status="failed", error=error).fault
    assert fault is not None
    assert (fault.code, fault.request_id) == (code, "req-9")
    told = error.get("message") or error.get("code") if isinstance(error, dict) else error
    assert str(told or "no reason given") in (fault.provider_message or "")


@pytest.mark.parametrize("status", [400, 404, 422, 500, 503])
def test_a_failed_task_in_an_error_answer_is_a_failed_task(
    calls: responses.RequestsMock, videos: Make, status: int
) -> None:
    """vLLM-Omni answers a look with the status of the task's own error: the task's word counts, not the status."""
    error = {"code": status, "message": "It went wrong."}
    task = looked(calls, videos(), status, status="failed", error=error)
    assert (task.state, task.outputs) == ("failed", ())
    assert task.fault is not None
    assert task.fault.code == ("provider_error" if status in (404, 500, 503) else "invalid_request")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (404, VIDEO | {"status": "completed"}, "task_lost"),
        (500, VIDEO | {"status": "in_progress"}, "provider_error"),
        (404, {"status": "failed"}, "task_lost"),
        (404, {"detail": "Video not found"}, "task_lost"),
        (410, {}, "task_lost"),
        (409, {"error": {"message": "more than one server"}}, "provider_error"),
        (401, {"error": "Unauthorized"}, "invalid_credentials"),
        (429, {"error": {"message": "slow down"}}, "rate_limited"),
        (503, "", "provider_error"),
    ],
)
def test_any_other_error_answer_is_an_error(
    calls: responses.RequestsMock, videos: Make, status: int, body: Any, code: str
) -> None:
    """A look that did not work says nothing about the task, unless it is unknown."""
    calls.get(f"{ROOT}/video_1", status=status, json=body)
    assert refusal(videos().look, "video_1").fault.code == code


def test_an_expired_task_is_told_as_expired(calls: responses.RequestsMock, videos: Make) -> None:
    """Nobody blames the service, or creates anew what was made and not fetched in time."""
    task = looked(calls, videos(), status="expired")
    assert task.fault is not None
    assert (task.state, task.fault.code) == ("failed", "content_expired")


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*VIDEO, "width"]), json_values), st.sampled_from(["failed", "completed", "x"]))
def test_no_answer_breaks_the_reading_of_a_paid_task(oddities: dict[str, Any], word: str) -> None:
    """Whatever a server puts into a video object, the create that made it comes back with the task's id."""
    config = ProviderConfig("s", "videos", "openai-videos", "https://r.example/v1", "", "k", "m")
    with responses.RequestsMock() as mock:
        mock.post(ROOT, json={**VIDEO, "status": word, **oddities, "id": "video_1"})
        task = OpenAIVideos(config, lambda: NOW).submit(REQUEST)
    assert task.task_id == "video_1"
    assert task.fault is None or task.fault.code in ADVICE


# Content


def read(provider: OpenAIVideos, offset: int = 0) -> bytes:
    with provider.open_output(OUTPUT, offset) as content:
        return b"".join(content.chunks())


def test_content_is_asked_for_without_a_variant(calls: responses.RequestsMock, videos: Make) -> None:
    """`variant=video` is an unknown output number to SGLang; without one every server gives the video."""
    calls.get(f"{ROOT}/video_1/content", body=b"film", content_type="video/mp4")
    assert read(videos()) == b"film"
    assert calls.calls[0].request.url == f"{ROOT}/video_1/content"
    assert calls.calls[0].request.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (404, "Generation is still in-progress", "content_not_ready"),
        (404, "The video is no longer available. Downloads expire after 1 hours.", "content_expired"),
        (422, "Video generation failed.", "content_invalid"),
        (400, "See https://docs.example/errors for more.", "content_invalid"),
        (500, "Internal Server Error", "provider_error"),
    ],
)
def test_refused_content_has_its_code(
    calls: responses.RequestsMock, videos: Make, status: int, message: str, code: str
) -> None:
    """404 heals or has expired, 422 belongs to a failed task; an address in passing is not followed."""
    calls.get(f"{ROOT}/video_1/content", status=status, json={"error": {"message": message}})
    error = refusal(videos().open_output, OUTPUT)
    assert (error.fault.code, error.fault.provider_status, len(calls.calls)) == (code, status, 1)


CLOUD = "https://bucket.s3.example/v/0.mp4?X-Amz-Signature=ab12"


def test_an_address_in_place_of_the_file_is_followed_without_the_key(
    calls: responses.RequestsMock, videos: Make
) -> None:
    """SGLang with cloud storage: 400 and the file's address; the range goes along, the key does not."""
    words = f"Video has been uploaded to cloud storage. Please use the cloud URL: {CLOUD}"
    calls.get(f"{ROOT}/video_1/content", status=400, json={"detail": words})
    calls.get(CLOUD, body=b"lm", status=206, headers={"Content-Range": "bytes 2-3/4"}, content_type="video/mp4")
    assert read(videos(), 2) == b"lm"
    there = calls.calls[1].request
    assert there.headers["Range"] == "bytes=2-"
    assert not {"Authorization", "api-key"} & there.headers.keys()


@pytest.mark.parametrize(
    ("status", "code"), [(403, "provider_error"), (404, "content_not_ready"), (500, "provider_error")]
)
def test_a_refusal_from_there_is_not_about_our_key(
    calls: responses.RequestsMock, videos: Make, status: int, code: str
) -> None:
    """An address that ran out is given anew the next time; nobody is sent to look at a key, or told the signature."""
    calls.get(f"{ROOT}/video_1/content", status=400, json={"detail": f"use the cloud URL: {CLOUD}."})
    calls.get(CLOUD, status=status, json={"message": f"expired {CLOUD}"})
    error = refusal(videos().open_output, OUTPUT)
    assert error.fault.code == code
    assert "ab12" not in str(error.fault)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://bucket.s3.example/v.mp4", "without https"),
        ("ftp://bucket.s3.example/v.mp4", "Please use"),
        ("https://[::1", "no usable address"),
        ("https://127.0.0.1/v.mp4", "private"),
        ("https://169.254.169.254/latest", "private"),
    ],
)
def test_an_address_against_the_rule_is_not_followed(
    calls: responses.RequestsMock, videos: Make, address: str, told: str
) -> None:
    """Whoever controls the words does not control where we connect to."""
    calls.add_passthru("https://127.0.0.1")
    calls.add_passthru("https://169.254.169.254")
    words = f"Video has been uploaded to cloud storage. Please use the cloud URL: {address}"
    calls.get(f"{ROOT}/video_1/content", status=400, json={"detail": words})
    error = refusal(videos().open_output, OUTPUT)
    assert error.fault.code in ("provider_error", "content_invalid")
    assert told in (error.fault.provider_message or "")


def test_a_thumbnail_is_asked_for_only_where_there_are_some(calls: responses.RequestsMock, videos: Make) -> None:
    """Servers that do not know variants would send the whole video: they are not asked at all."""
    assert videos().open_thumbnail(OUTPUT) is None
    calls.get(f"{ROOT}/video_1/content?variant=thumbnail", body=b"webp", content_type="image/webp")
    content = videos(thumbnails=True).open_thumbnail(OUTPUT)
    assert content is not None
    with content:
        assert b"".join(content.chunks()) == b"webp"
    calls.reset()
    calls.get(f"{ROOT}/video_1/content", status=404)
    assert videos(thumbnails=True).open_thumbnail(OUTPUT) is None
    calls.reset()
    calls.get(f"{ROOT}/video_1/content", status=503)
    assert refusal(videos(thumbnails=True).open_thumbnail, OUTPUT).fault.code == "provider_error"


# What it can


@pytest.mark.parametrize(
    ("base_url", "model", "sizes", "seconds", "refused"),
    [
        ("https://r.openai.azure.com/openai/v1", "d", 2, (4, 8, 12), "one of 4, 8, 12"),
        ("https://api.openai.com/v1", "sora-2", 6, (4, 8, 12, 16, 20), "one of 4, 8, 12, 16, 20"),
        ("http://127.0.0.1:8000/v1", "sora-2-pro", 6, (4, 8, 12, 16, 20), "one of 4, 8, 12, 16, 20"),
        ("http://127.0.0.1:8000/v1", "Wan2.2", 6, tuple(range(1, 21)), "a whole number from 1 to 20"),
    ],
)
def test_what_is_offered_depends_on_who_serves_what(
    videos: Make, base_url: str, model: str, sizes: int, seconds: tuple[int, ...], refused: str
) -> None:
    """Azure's documented two sizes, OpenAI's six, also by a gateway; another model makes any length until told."""
    can = videos(base_url, model=model).abilities
    assert (len(can.sizes), can.seconds, can.max_prompt) == (sizes, seconds, 32_000)
    assert can.refusals(REQUEST) == ()
    errors = can.refusals(replace(REQUEST, n_seconds=21, n_variants=2))
    assert {error.field: error.message for error in errors} == {
        "n_seconds": f"must be {refused}",
        "n_variants": "must be from 1 to 1 at 1280x720",
    }


def test_the_configuration_goes_before_the_documentation(videos: Make) -> None:
    """What an operator says of a model is what callers may ask for."""
    can = videos(sizes=((832, 480),), seconds=(5,), max_prompt=800).abilities
    assert (can.sizes, can.seconds, can.max_prompt, can.variants(832, 480)) == (((832, 480),), (5,), 800, 1)
