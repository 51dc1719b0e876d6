"""Refused creates: every kind in every shape has its code, its words, and a known or unknown outcome."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st

from reelkeeper.errors import ADVICE, ProviderError
from reelkeeper.model import JobRequest
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.base import ProviderConfig

Make = Callable[..., AzureJobs]
BASE = "https://r.example/openai/v1"
JOBS = f"{BASE}/video/generations/jobs"
NOW = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)


@pytest.fixture
def calls() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def submit_answered(mock: responses.RequestsMock, provider: AzureJobs, request: JobRequest, **answer: Any) -> Any:
    mock.post(JOBS, **answer)
    return provider.submit(request)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529, 408])
@pytest.mark.parametrize("body", ["", "<html>Bad gateway</html>", '{"error": {"code": "500", "message": "oops"}}'])
def test_a_server_error_on_create_leaves_the_outcome_unknown(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest, status: int, body: str
) -> None:
    """The service may have made the task before it, or the gateway in front of it, failed."""
    with pytest.raises(ProviderError) as caught:
        submit_answered(calls, adapter(), request_, status=status, body=body)
    assert (caught.value.fault.code, caught.value.outcome_unknown) == ("provider_error", True)
    assert caught.value.fault.provider_status == status


@pytest.mark.parametrize("location", ["https://r.example/elsewhere", "/login", "https://[::1", ""])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirected_create_is_a_wrong_endpoint_and_not_followed(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest, status: int, location: str
) -> None:
    """No API redirects a create: the address is wrong, the key stays here, and nothing was made."""
    with pytest.raises(ProviderError) as caught:
        submit_answered(calls, adapter(), request_, status=status, headers={"Location": location} if location else {})
    assert (caught.value.fault.code, caught.value.outcome_unknown) == ("endpoint_not_found", False)
    assert len(calls.calls) == 1


DEPLOYMENT = (
    "The API deployment 'sora' for this resource does not exist. If you created the deployment within the last 5 "
    "minutes, please wait a moment and try again."
)
USER_ERROR = {"type": "video_generation_user_error", "param": None, "code": None}
REFUSALS: list[tuple[int, Any, str]] = [
    (404, {"code": "404", "message": "Resource not found"}, "endpoint_not_found"),
    (404, {"message": DEPLOYMENT, **USER_ERROR}, "deployment_not_found"),
    (404, {"code": "DeploymentNotFound", "message": "Not here."}, "deployment_not_found"),
    (404, {"code": "model_not_found", "message": "The model `sora` does not exist."}, "deployment_not_found"),
    (404, {"message": "The model of this deployment was retired on 2026-02-28."}, "model_retired"),
    (400, {"code": "ModelDeprecated", "message": "The model 'sora' is deprecated."}, "model_retired"),
    (410, {"code": None, "message": None}, "model_retired"),
    (405, {"code": 405, "message": "Method not allowed"}, "endpoint_not_found"),
    (429, {"message": "Too many running tasks", **USER_ERROR}, "too_many_running"),
    (429, {"message": "Concurrency limit reached"}, "too_many_running"),
    (429, {"code": "429", "message": "Requests have exceeded the call rate limit."}, "rate_limited"),
    (429, {"code": 429, "message": None}, "rate_limited"),
    (400, {"message": "n_seconds must be between 1 and 20.", "param": "n_seconds"}, "invalid_request"),
    (400, {"message": "Parameter 'seed' is deprecated."}, "invalid_request"),
    (400, {"code": 400, "message": 17}, "invalid_request"),
    (422, {"message": "Unprocessable"}, "invalid_request"),
    (413, {"message": "Too large"}, "invalid_request"),
    (400, {"code": "contentFilter", "message": "Your task failed."}, "moderation_input"),
    (400, {"code": "content_filter", "message": "Blocked."}, "moderation_input"),
    (400, {"code": "moderation_blocked", "message": "Blocked."}, "moderation_input"),
    (400, {"message": "Your prompt may violate our content policy."}, "moderation_input"),
    (400, {"message": "Refused as a result of our safety system."}, "moderation_input"),
    (400, {"message": None, "inner_error": {"code": "ResponsibleAIPolicyViolation"}}, "moderation_input"),
    (400, {"message": "No.", "innererror": {"code": "ResponsibleAIPolicyViolation"}}, "moderation_input"),
    (400, {"message": "No.", "inner_error": "ResponsibleAIPolicyViolation"}, "moderation_input"),
    (400, {"message": "No.", "inner_error": [1]}, "invalid_request"),
    (401, {"code": "401", "message": "Access denied due to invalid subscription key."}, "invalid_credentials"),
    (403, {"code": "PermissionDenied", "message": "The principal lacks the data action."}, "invalid_credentials"),
    (403, {"code": "Forbidden", "message": "Blocked by a network policy."}, "invalid_credentials"),
    (409, {"message": "Conflict"}, "provider_error"),
    (500, {"message": "The deprecated model fell over"}, "provider_error"),
]  # fmt: skip


@pytest.mark.parametrize("shape", ["wrapped", "flat", "in a list"])
@pytest.mark.parametrize(("status", "error", "code"), REFUSALS)
def test_a_refused_create_has_its_code_in_every_shape(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest, status: int, error: Any, code: str, shape: str
) -> None:
    """Wrapped as it lives, flat as it is specified: code, words, status and request id arrive; the outcome is known."""
    body = {"wrapped": {"error": error}, "flat": error, "in a list": [{"error": error}]}[shape]
    with pytest.raises(ProviderError) as caught:
        submit_answered(calls, adapter(), request_, status=status, json=body, headers={"apim-request-id": "req-7"})
    fault = caught.value.fault
    assert (fault.code, fault.provider_status, fault.request_id) == (code, status, "req-7")
    assert fault.provider_message == (str(error["message"]) if error["message"] else f"HTTP {status} without a message")
    assert caught.value.outcome_unknown is (status >= 500)


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (404, "", "endpoint_not_found", "HTTP 404 without a message"),
        (404, "<html>Not found</html>", "endpoint_not_found", "HTTP 404 without a message"),
        (401, "null", "invalid_credentials", "HTTP 401 without a message"),
        (429, "[]", "rate_limited", "HTTP 429 without a message"),
        (400, "[1, 2]", "invalid_request", "HTTP 400 without a message"),
        (400, '"no"', "invalid_request", "HTTP 400 without a message"),
        (400, '{"error": null, "message": "flat"}', "invalid_request", "flat"),
        (400, '{"error": {}}', "invalid_request", "HTTP 400 without a message"),
        (400, '{"error": "in a word"}', "invalid_request", "in a word"),
        (400, '{"error": ["a", "b"]}', "invalid_request", "['a', 'b']"),
        (400, '{"error": "Bad Request", "message": "the longer one"}', "invalid_request", "the longer one"),
        (400, '{"detail": [{"msg": "too long"}]}', "invalid_request", "[{'msg': 'too long'}]"),
        (400, '{"error": {"message": {"text": "nested"}}}', "invalid_request", "{'text': 'nested'}"),
        (400, '{"error": {"message": "cut \\ud83d"}}', "invalid_request", "cut ?"),
        (400, b"\xff\xfe{broken", "invalid_request", "HTTP 400 without a message"),
        (400, "{" * 100_000, "invalid_request", "HTTP 400 without a message"),
        (400, "[" * 100_000, "invalid_request", "HTTP 400 without a message"),
        (400, json.dumps({"error": {"message": "x" * 9000}}), "invalid_request", "x" * 500),
    ],
)
def test_an_odd_error_body_is_still_an_error_with_words(
    calls: responses.RequestsMock,
    adapter: Make,
    request_: JobRequest,
    status: int,
    body: str | bytes,
    code: str,
    words: str,
) -> None:
    """HTML, nothing, lists, numbers, half a character: the status decides, and there is always a message."""
    with pytest.raises(ProviderError) as caught:
        submit_answered(calls, adapter(), request_, status=status, body=body)
    assert (caught.value.fault.code, caught.value.fault.provider_message) == (code, words)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
errors = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("code", "message", "inner_error", "type", "param", "error", "detail"), json_values)
)


@given(st.integers(300, 599), errors | st.fixed_dictionaries({"error": errors}) | json_values)
def test_no_error_body_breaks_the_reading_of_errors(status: int, body: Any) -> None:
    """For any JSON under any status there is one ProviderError with a known code and storable words."""
    request = JobRequest("p", width=480, height=480, n_seconds=1, n_variants=1, model="m")
    provider = AzureJobs(ProviderConfig("sora", "videos", "azure-jobs", BASE, "", "k", "m"), lambda: NOW)
    with responses.RequestsMock() as mock, pytest.raises(ProviderError) as caught:
        submit_answered(mock, provider, request, status=status, json=body)
    assert caught.value.fault.code in ADVICE
    assert (caught.value.fault.provider_message or "").encode()


def test_settings_are_named_by_the_provider_that_uses_them(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest
) -> None:
    """With several providers the advice must point to this one's settings."""
    provider = adapter(key_setting="OTHER_KEY", model_setting="OTHER_MODEL", endpoint_setting="OTHER_ENDPOINT")
    advice = []
    for status, message in ((401, ""), (404, DEPLOYMENT), (404, "")):
        with pytest.raises(ProviderError) as caught:
            submit_answered(calls, provider, request_, status=status, json={"message": message})
        calls.reset()
        advice.append(caught.value.fault.message)
    for name, text in zip(("OTHER_KEY", "OTHER_MODEL", "OTHER_ENDPOINT"), advice, strict=True):
        assert name in text
