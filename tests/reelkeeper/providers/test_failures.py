"""The table of refusals: bodies that real servers sent, each with the code that the job gets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelkeeper.errors import ADVICE
from reelkeeper.providers.failures import (
    AWAY,
    CONTENT,
    CREATE,
    EVERY,
    FAILED_TASKS,
    LIST,
    LOOK,
    REFUSALS,
    code_of_failed_task,
    code_of_refusal,
    error_object,
    refusal_row,
)

DEPLOYMENT = (
    "The API deployment 'sora' for this resource does not exist. If you created the deployment within the last 5 "
    "minutes, please wait a moment and try again."
)
USER_ERROR = {"type": "video_generation_user_error", "param": None, "code": None}
POLICY = "Your task failed as a result of our safety system."
POLICY_OUTPUT = "Generated image was filtered as a result of our safety system."
REJECTED = "Your request was rejected by the safety system. safety_violations=[violence]."
RAI = {"code": "ResponsibleAIPolicyViolation", "revised_prompt": None}

LIVE: list[tuple[str, int, Any, str]] = [
    # recorded from Azure, wrapped and flat
    (CREATE, 404, {"error": {"code": "404", "message": "Resource not found"}}, "endpoint_not_found"),
    (CREATE, 404, {"error": {"message": DEPLOYMENT, **USER_ERROR}}, "deployment_not_found"),
    (CREATE, 429, {"error": {"message": "Too many running tasks", **USER_ERROR}}, "too_many_running"),
    (CREATE, 429, {"error": {"code": "429", "message": "Exceeded the call rate limit."}}, "rate_limited"),
    (CREATE, 400, {"message": "No.", "inner_error": RAI}, "moderation_input"),
    (CREATE, 400, {"error": {"code": "contentFilter", "message": "Your task failed."}}, "moderation_input"),
    (CREATE, 400, {"error": {"code": "BadRequest", "message": "API version not supported"}}, "invalid_request"),
    (CREATE, 400, {"error": {"message": "n_seconds must be 1 to 20", "param": "n_seconds"}}, "invalid_request"),
    (CREATE, 401, {"error": {"code": "401", "message": "Access denied: invalid key."}}, "invalid_credentials"),
    (CREATE, 403, {"error": {"code": "PermissionDenied", "message": "lacks the role"}}, "invalid_credentials"),
    (CREATE, 410, None, "model_retired"),
    (CREATE, 404, {"error": {"message": "The model of this deployment was retired."}}, "model_retired"),
    (CREATE, 400, {"error": {"code": "ModelDeprecated", "message": "The model is deprecated."}}, "model_retired"),
    # OpenAI's
    (CREATE, 400, {"error": {"code": "moderation_blocked", "message": "Blocked."}}, "moderation_input"),
    (CREATE, 400, {"error": {"code": "invalid_type", "param": "seconds", "message": "Not text."}}, "invalid_request"),
    (CREATE, 404, {"error": {"code": "model_not_found", "message": "Not there."}}, "deployment_not_found"),
    (CREATE, 429, {"error": {"type": "requests", "code": "rate_limit_exceeded", "message": ""}}, "rate_limited"),
    (CREATE, 402, {"error": {"message": "Payment required"}}, "invalid_credentials"),
    # the image models, Azure's and OpenAI's
    (CREATE, 400, {"error": {"code": "contentFilter", "message": POLICY}}, "moderation_input"),
    (CREATE, 400, {"error": {"code": "contentFilter", "message": POLICY_OUTPUT}}, "moderation_output"),
    (CREATE, 400, {"error": {"code": "content_policy_violation", "inner_error": RAI}}, "moderation_input"),
    (CREATE, 400, {"error": {"code": "moderation_blocked", "message": REJECTED}}, "moderation_input"),
    (CREATE, 404, {"error": {"code": "DeploymentNotFound", "message": DEPLOYMENT}}, "deployment_not_found"),
    (CREATE, 400, {"error": {"message": "Invalid size '1x1'.", "param": "size"}}, "invalid_request"),
    (CREATE, 429, {"error": {"code": "rate_limit_exceeded", "message": "images per minute"}}, "rate_limited"),
    # vLLM-Omni, SGLang, Aquiles-Image, LiteLLM
    (CREATE, 400, {"error": {"message": "Model mismatch: request specifies x.", "code": 400}}, "deployment_not_found"),
    (CREATE, 400, {"detail": "Invalid request body: 1 validation error"}, "invalid_request"),
    (CREATE, 422, {"detail": [{"loc": ["body", "size"], "msg": "no size"}]}, "invalid_request"),
    (CREATE, 404, {"detail": "Not Found"}, "endpoint_not_found"),
    (CREATE, 403, {"detail": "Invalid API key"}, "invalid_credentials"),
    (CREATE, 401, {"error": "Unauthorized"}, "invalid_credentials"),
    (CREATE, 503, {"detail": "The limit of 1 concurrent tasks has been reached."}, "too_many_running"),
    (CREATE, 400, {"error": {"message": "/videos: Invalid model name passed in model=x"}}, "deployment_not_found"),
    (CREATE, 400, {"error": {"message": "litellm.ContentPolicyViolationError: x"}}, "moderation_input"),
    (LIST, 400, {"error": {"message": "litellm.BadRequestError: LLM Provider NOT provided."}}, "invalid_request"),
    # all servers
    (CREATE, 302, None, "endpoint_not_found"),
    (CREATE, 405, {"detail": "Method Not Allowed"}, "endpoint_not_found"),
    (CREATE, 408, None, "provider_error"),
    (CREATE, 409, {"error": {"message": "Conflict"}}, "provider_error"),
    (CREATE, 500, {"error": {"message": "The deprecated model fell over"}}, "provider_error"),
    (CREATE, 503, "<html>", "provider_error"),
    (LIST, 404, None, "endpoint_not_found"),
    (LIST, 501, None, "endpoint_not_found"),
    (LIST, 503, None, "provider_error"),
    (LIST, 429, None, "rate_limited"),
    (LOOK, 404, {"detail": "Video not found"}, "task_lost"),
    (LOOK, 410, None, "task_lost"),
    (LOOK, 401, None, "invalid_credentials"),
    (LOOK, 429, None, "rate_limited"),
    (LOOK, 502, None, "provider_error"),
    (CONTENT, 404, {"error": {"code": "404", "message": "Resource not found"}}, "content_not_ready"),
    (CONTENT, 404, {"detail": "Generation is still in-progress"}, "content_not_ready"),
    (CONTENT, 404, {"detail": "Video variant video not found"}, "content_not_ready"),
    (
        CONTENT,
        404,
        {"error": {"message": "The video is no longer available. Downloads expire after 1 hours."}},
        "content_expired",
    ),
    (CONTENT, 410, None, "content_expired"),
    (CONTENT, 422, {"error": {"message": "Video generation failed."}}, "content_invalid"),
    (CONTENT, 400, {"detail": "Unsupported"}, "content_invalid"),
    (CONTENT, 302, None, "content_invalid"),
    (CONTENT, 416, None, "content_invalid"),
    (CONTENT, 401, None, "invalid_credentials"),
    (CONTENT, 500, None, "provider_error"),
    (AWAY, 403, "<Error><Code>AuthenticationFailed</Code></Error>", "provider_error"),
    (AWAY, 404, "<Error><Code>BlobNotFound</Code></Error>", "content_not_ready"),
    (AWAY, 410, {"message": "This link has expired."}, "content_not_ready"),
    (AWAY, 503, None, "provider_error"),
    (AWAY, 400, None, "content_invalid"),
]


@pytest.mark.parametrize(("doing", "status", "body", "code"), LIVE)
def test_every_recorded_refusal_has_its_code(doing: str, status: int, body: Any, code: str) -> None:
    """What the provider answered decides, whatever server it is."""
    assert code_of_refusal(doing, status, error_object(body)) == code
    assert code in ADVICE


def test_every_row_of_the_table_is_needed() -> None:
    """No row without a recorded answer that it alone decides."""
    used = [refusal_row(doing, status, error_object(body)) for doing, status, body, _ in LIVE]
    assert [row for row in REFUSALS if row not in used] == []


@pytest.mark.parametrize(
    ("code", "message", "ours"),
    [
        ("input_moderation", None, "moderation_input"),
        ("output_moderation", None, "moderation_output"),
        ("moderation_blocked", "Your request was blocked by our moderation system.", "moderation_input"),
        ("moderation_blocked", None, "moderation_output"),
        ("contentFilter", "Generated video was filtered as a result of our safety system.", "moderation_output"),
        ("contentFilter", "Your prompt was refused.", "moderation_input"),
        ("content_policy_violation", None, "moderation_output"),
        (400, "Your request was blocked by our moderation system.", "moderation_input"),
        (None, "Refused as a result of our safety system.", "moderation_output"),
        (400, "num_frames must be 4n+1", "invalid_request"),
        ("422", "size is not a multiple of 16", "invalid_request"),
        ("invalid_value", "no such size", "invalid_request"),
        ("internal_error", None, "provider_error"),
        ("server_error", "retry policy exhausted after the request", "provider_error"),
        (500, "ffmpeg filter failed", "provider_error"),
        (4000, None, "provider_error"),
        (None, "CUDA out of memory", "provider_error"),
        (None, None, "provider_error"),
        ({"a": 1}, ["b"], "provider_error"),
    ],
)
def test_a_failed_task_is_refused_content_a_bad_request_or_a_broken_service(code: Any, message: Any, ours: str) -> None:
    """Only the last is worth another create; which words tell it is one table for all dialects."""
    assert code_of_failed_task(code, message) == ours


def test_every_row_of_failed_tasks_gives_a_known_code() -> None:
    """And the last one fits everything."""
    assert {code for code, _ in FAILED_TASKS} <= ADVICE.keys()
    assert FAILED_TASKS[-1][1] == ()


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(EVERY)), st.integers(-1, 999), json_values)
def test_any_answer_has_a_code(doing: str, status: int, body: Any) -> None:
    """No status and no JSON is without one, and none breaks the reading."""
    assert code_of_refusal(doing, status, error_object(body)) in ADVICE
    assert code_of_failed_task(body, body) in ADVICE
