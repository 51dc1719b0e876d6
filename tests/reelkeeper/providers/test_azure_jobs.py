"""The jobs dialect as real servers speak it: requests, answers in every shape, refusals of every kind."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st

from reelkeeper.errors import ProviderError
from reelkeeper.model import JobRequest, Output
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.base import ProviderConfig

Make = Callable[..., AzureJobs]
BASE = "https://r.example/openai/v1"
ROOT = f"{BASE}/video/generations"
NOW = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
CREATED = 1750510587
VIDEO, THUMBNAIL = f"{ROOT}/gen_1/content/video", f"{ROOT}/gen_1/content/thumbnail"

GENERATION = {
    "object": "video.generation", "id": "gen_01b", "job_id": "task_01a", "created_at": 1750510619, "width": 1080,
    "height": 1920, "n_seconds": 7, "prompt": "p",
}  # fmt: skip
JOB: dict[str, Any] = {
    "object": "video.generation.job", "id": "task_01a", "status": "queued", "created_at": CREATED, "finished_at": None,
    "expires_at": None, "generations": [], "prompt": "p", "model": "my-deploy", "n_variants": 1, "n_seconds": 5,
    "height": 1080, "width": 1080, "failure_reason": None,
}  # fmt: skip


@pytest.fixture
def calls() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def submit_answered(mock: responses.RequestsMock, provider: AzureJobs, request: JobRequest, **answer: Any) -> Any:
    mock.post(f"{ROOT}/jobs", **answer)
    return provider.submit(request)


# Create


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_create_sends_the_documented_fields_and_takes_any_success(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest, status: int
) -> None:
    """The model is the deployment, numbers are numbers; 201 is what lives, 200 what is specified."""
    task = submit_answered(calls, adapter(), request_, json=JOB, status=status)
    assert json.loads(calls.calls[0].request.body or "") == {
        "model": "my-sora",
        "prompt": "a fox in the snow",
        "width": 1280,
        "height": 720,
        "n_seconds": 5,
        "n_variants": 2,
    }
    assert (task.task_id, task.state, task.stage) == ("task_01a", "queued", "queued")
    assert (task.outputs, task.fault) == ((), None)
    assert task.created_at == datetime.fromtimestamp(CREATED, timezone.utc)


@pytest.mark.parametrize(
    "answer",
    [
        {"json": {"status": "queued"}},
        {"json": {**JOB, "id": None}},
        {"json": {**JOB, "id": ""}},
        {"json": {**JOB, "id": 7}},
        {"json": {"error": {"message": "something"}}},
        {"json": []},
        {"json": "task_01a"},
        {"body": b""},
        {"body": b"<html>Please sign in</html>", "content_type": "text/html"},
        {"body": b'{"id": "task_'},
        {"body": b"[" * 100_000},
        {"body": b'{"id": "' + b"x" * 5_000_000 + b'"}'},
    ],
)
def test_a_success_without_a_task_id_may_have_been_paid(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest, answer: dict[str, Any]
) -> None:
    """Whatever stands there instead, the outcome is unknown: nobody may simply post again."""
    with pytest.raises(ProviderError) as caught:
        submit_answered(calls, adapter(), request_, status=201, **answer)
    assert caught.value.outcome_unknown
    assert caught.value.fault.code == "provider_error"


# Look


@pytest.mark.parametrize(
    ("word", "state", "stage"),
    [
        ("queued", "queued", "queued"),
        ("preprocessing", "queued", "preprocessing"),
        ("running", "running", "running"),
        ("processing", "running", "processing"),
        ("succeeded", "succeeded", "succeeded"),
        ("Succeeded", "succeeded", "succeeded"),
        ("cancelled", "cancelled", "cancelled"),
        ("failed", "failed", "failed"),
    ],
)
def test_every_documented_status_has_its_state(
    calls: responses.RequestsMock, adapter: Make, word: str, state: str, stage: str
) -> None:
    """Seven words become five states; the provider's word stays visible as the stage."""
    calls.get(f"{ROOT}/jobs/task_01a", json={**JOB, "status": word})
    task = adapter().look("task_01a")
    assert (task.state, task.stage, task.fault is not None) == (state, stage, state in ("failed", "cancelled"))


@pytest.mark.parametrize("word", ["rehearsing", "", None, 7, ["queued"], {"a": 1}])
def test_an_unknown_status_is_watched_on_and_told_to_the_log(
    calls: responses.RequestsMock, adapter: Make, caplog: pytest.LogCaptureFixture, word: Any
) -> None:
    """A newer server's word loses no paid task: it counts as running, and somebody can read about it."""
    calls.get(f"{ROOT}/jobs/task_01a", json={**JOB, "status": word})
    with caplog.at_level(logging.WARNING):
        task = adapter().look("task_01a")
    assert (task.state, task.stage, task.fault) == ("running", "running", None)
    assert "task_01a" in caplog.text


def test_the_id_asked_for_is_kept_whatever_the_answer_says(calls: responses.RequestsMock, adapter: Make) -> None:
    """A gateway answers with another id than it gave; ours is the one that works."""
    calls.get(f"{ROOT}/jobs/task_long", json={**JOB, "id": "task_short"})
    assert adapter().look("task_long").task_id == "task_long"


def test_a_finished_job_brings_its_outputs_and_its_expiry(calls: responses.RequestsMock, adapter: Make) -> None:
    """Each generation is an output with its own size and length; the expiry is the provider's."""
    job = {**JOB, "status": "succeeded", "generations": [GENERATION, {"id": "gen_02"}], "expires_at": 1750597021}
    calls.get(f"{ROOT}/jobs/task_01a", json=job)
    task = adapter().look("task_01a")
    assert task.outputs == (Output("gen_01b", 1080, 1920, 7), Output("gen_02", 1080, 1080, 5))
    assert task.expires_at == datetime.fromtimestamp(1750597021, timezone.utc)


@pytest.mark.parametrize(
    ("generations", "ids"),
    [
        ([], []),
        (None, []),
        ({}, []),
        ({"id": "gen_1"}, []),
        ("gen_1", []),
        ([None, 1, "x", [], {}, {"id": None}, {"id": ""}, {"id": 3}], []),
        ([{"id": "gen_1"}, {"object": "video.generation"}, {"id": "gen_3"}], ["gen_1", "gen_3"]),
    ],
)
def test_generations_without_an_id_are_passed_over(
    calls: responses.RequestsMock, adapter: Make, generations: Any, ids: list[str]
) -> None:
    """Partial success is legal, and what cannot be fetched is not promised; odd lists break nothing."""
    calls.get(f"{ROOT}/jobs/task_01a", json={**JOB, "status": "succeeded", "generations": generations})
    assert [output.output_id for output in adapter().look("task_01a").outputs] == ids


@pytest.mark.parametrize(
    ("generation", "job", "size"),
    [
        ({"width": "1080", "height": 1080.0, "n_seconds": "5"}, {}, (1080, 1080, 5)),
        ({"width": None}, {"width": 480, "height": 480, "n_seconds": 3}, (480, 480, 3)),
        ({"width": "wide", "height": [1], "n_seconds": -5}, {"width": {}, "height": True, "n_seconds": 1.5}, (0, 0, 0)),
        ({"width": 1e300, "height": "9" * 5000}, {}, (1080, 1080, 5)),
    ],
)
def test_sizes_are_read_as_far_as_they_are_numbers(
    calls: responses.RequestsMock, adapter: Make, generation: Any, job: Any, size: tuple[int, int, int]
) -> None:
    """The generation's own figures, else the job's, else 0; no figure is worth losing a paid video."""
    calls.get(
        f"{ROOT}/jobs/task_01a", json={**JOB, **job, "status": "succeeded", "generations": [{"id": "g", **generation}]}
    )
    assert adapter().look("task_01a").outputs == (Output("g", *size),)


@pytest.mark.parametrize(
    ("times", "created", "expires"),
    [
        ({}, CREATED, None),
        ({"expires_at": CREATED + 60}, CREATED, CREATED + 60),
        ({"expires_at": float(CREATED) + 0.5}, CREATED, CREATED + 0.5),
        ({"created_at": None}, NOW.timestamp(), None),
        ({"created_at": "2026-01-01"}, NOW.timestamp(), None),
        ({"created_at": True, "expires_at": False}, NOW.timestamp(), None),
        ({"created_at": 0, "expires_at": 0}, NOW.timestamp(), None),
        ({"created_at": 12.5}, NOW.timestamp(), None),
        ({"created_at": CREATED * 1000, "expires_at": CREATED * 1000}, NOW.timestamp(), None),
        ({"created_at": float("inf"), "expires_at": float("nan")}, NOW.timestamp(), None),
        ({"expires_at": -1}, CREATED, None),
    ],
)
def test_a_time_that_is_none_never_ends_a_task(
    calls: responses.RequestsMock, adapter: Make, times: Any, created: float, expires: float | None
) -> None:
    """expires_at is null until the end; a number that is no time is as if nothing had been said."""
    job = {**JOB, **times}
    calls.get(f"{ROOT}/jobs/task_01a", body=json.dumps(job), content_type="application/json")
    task = adapter().look("task_01a")
    assert task.created_at.timestamp() == created
    assert (task.expires_at and task.expires_at.timestamp()) == expires


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*JOB, "expires_at"]), json_values))
def test_no_answer_breaks_the_reading_of_a_paid_task(oddities: dict[str, Any]) -> None:
    """Whatever a server puts into a job, the create that made it comes back with the task's id."""
    request = JobRequest("p", width=480, height=480, n_seconds=1, n_variants=1, model="m")
    provider = AzureJobs(ProviderConfig("sora", "videos", "azure-jobs", BASE, "", "k", "m"), lambda: NOW)
    with responses.RequestsMock() as mock:
        task = submit_answered(mock, provider, request, status=201, json={**JOB, **oddities, "id": "task_01a"})
    assert task.task_id == "task_01a"
    assert task.created_at.tzinfo is timezone.utc


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("input_moderation", "moderation_input"),
        ("output_moderation", "moderation_output"),
        ("moderation", "moderation_output"),
        ("Input_Moderation", "moderation_input"),
        ("internal_error", "provider_error"),
        ("out_of_cheese", "provider_error"),
        (None, "provider_error"),
        ({"code": "input_moderation"}, "moderation_input"),
    ],
)
def test_a_failed_task_says_why_with_the_request_id(
    calls: responses.RequestsMock, adapter: Make, reason: Any, code: str
) -> None:
    """The open list of reasons is sorted into refused and broken; the answer's request id helps support."""
    job = {**JOB, "status": "failed", "failure_reason": reason}
    calls.get(f"{ROOT}/jobs/task_01a", json=job, headers={"apim-request-id": "req-9"})
    fault = adapter().look("task_01a").fault
    assert fault is not None
    assert (fault.code, fault.request_id) == (code, "req-9")
    assert str(reason or "no reason given") in (fault.provider_message or "")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (404, {"error": {"code": "404", "message": "Resource not found"}}, "task_lost"),
        (404, "<html>", "task_lost"),
        (410, {}, "task_lost"),
        (401, {"message": "key"}, "invalid_credentials"),
        (403, {"message": "role"}, "invalid_credentials"),
        (429, {"message": "Too many requests"}, "rate_limited"),
        (408, {}, "provider_error"),
        (500, {}, "provider_error"),
        (503, "", "provider_error"),
        (302, "", "endpoint_not_found"),
        (400, {"message": "API version not supported"}, "invalid_request"),
    ],
)
def test_a_refused_look_has_its_code(
    calls: responses.RequestsMock, adapter: Make, status: int, body: Any, code: str
) -> None:
    """Only 404 and 410 say that the task is unknown; a look never leaves an unknown outcome."""
    text = body if isinstance(body, str) else json.dumps(body)
    calls.get(f"{ROOT}/jobs/task_01a", status=status, body=text, headers={"Location": "/login"})
    with pytest.raises(ProviderError) as caught:
        adapter().look("task_01a")
    assert (caught.value.fault.code, caught.value.outcome_unknown) == (code, False)


@pytest.mark.parametrize("body", ["<html>sign in</html>", "", "[]", "7"])
def test_a_look_answered_with_no_job_is_a_failure_of_the_provider(
    calls: responses.RequestsMock, adapter: Make, body: str
) -> None:
    """A proxy's page under 200 says nothing about the task."""
    calls.get(f"{ROOT}/jobs/task_01a", body=body)
    with pytest.raises(ProviderError) as caught:
        adapter().look("task_01a")
    assert caught.value.fault.code == "provider_error"


# Content


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "content_not_ready"),
        (410, "content_expired"),
        (400, "content_invalid"),
        (405, "content_invalid"),
        (416, "content_invalid"),
        (401, "invalid_credentials"),
        (403, "invalid_credentials"),
        (429, "rate_limited"),
        (500, "provider_error"),
        (504, "provider_error"),
        (204, "content_invalid"),
    ],
)
def test_refused_content_has_its_code(
    calls: responses.RequestsMock, adapter: Make, output: Output, status: int, code: str
) -> None:
    """404 means not yet, 410 never again; the status stays with the fault."""
    calls.get(VIDEO, status=status, json={"error": {"message": "no"}})
    with pytest.raises(ProviderError) as caught:
        adapter().open_output(output)
    assert (caught.value.fault.code, caught.value.fault.provider_status) == (code, status)


def test_a_missing_thumbnail_is_none_and_another_failure_is_one(
    calls: responses.RequestsMock, adapter: Make, output: Output
) -> None:
    """404 says that there is none; a provider that is down does not say that."""
    calls.get(THUMBNAIL, status=404)
    assert adapter().open_thumbnail(output) is None
    calls.reset()
    calls.get(THUMBNAIL, status=503)
    with pytest.raises(ProviderError) as caught:
        adapter().open_thumbnail(output)
    assert caught.value.fault.code == "provider_error"


@pytest.mark.parametrize(
    ("body", "declared", "media_type"),
    [
        (b'{"error": "no"}', "Application/JSON; charset=utf-8", "application/json"),
        (b"<html>", "text/html", "text/html"),
        (b"\x00\x00\x00\x18ftypmp42", "video/mp4", "video/mp4"),
        (b"\x00\x00\x00\x18ftypmp42", "", ""),
    ],
)
def test_a_download_tells_what_the_body_is_declared_as(
    calls: responses.RequestsMock, adapter: Make, output: Output, body: bytes, declared: str, media_type: str
) -> None:
    """The type comes without parameters and in lower case, so that a message in place of a file is seen."""
    calls.get(VIDEO, body=body, content_type=declared)
    with adapter().open_output(output) as content:
        assert content.media_type == media_type
        assert b"".join(content.chunks()) == body
