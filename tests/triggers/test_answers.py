"""Answers: problems in one shape, tags that hold, and errors that keep our insides."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

import azure.functions as func
import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError

from reelkeeper.errors import FieldError, RecordConflict, RequestRefused
from triggers.answers import answering, json_answer, problem, redirect, tagged_answer


def request(**headers: str) -> func.HttpRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return func.HttpRequest("GET", "https://films.example/api/x", headers=named, body=b"")


def test_a_problem_has_the_shape_of_rfc_9457() -> None:
    """type, title, status, detail and our code; fields only where there are some."""
    answer = problem(404, "job_not_found", "There is none.")
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    assert json.loads(answer.get_body()) == {
        "type": "urn:reelkeeper:problem:job_not_found", "title": "Not Found", "status": 404,
        "detail": "There is none.", "code": "job_not_found",
    }  # fmt: skip
    errors = (FieldError("prompt", "is required"),)
    told = json.loads(problem(400, "invalid_request", "x", errors, job_id="j").get_body())
    assert (told["errors"], told["job_id"]) == ([{"field": "prompt", "message": "is required"}], "j")


def test_a_problem_is_not_cached() -> None:
    """What is missing or refused now may be there in a moment."""
    for answer in (problem(404, "x", "y"), *failing(RequestRefused(503, "busy", "No.", retry_after=5))):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers.get("Retry-After") == ("5" if answer.status_code == 503 else None)


def test_text_that_is_no_utf_8_is_told_all_the_same() -> None:
    """JSON can hold half a surrogate pair, UTF-8 cannot: the answer is escaped."""
    for answer in (json_answer({"a": "\ud800 ü"}), tagged_answer(request(), {"a": "\ud800 ü"})):
        assert json.loads(answer.get_body()) == {"a": "\ud800 ü"}
    assert json.loads(problem(400, "x", "\ud800").get_body())["detail"] == "\ud800"


def test_a_tag_follows_the_content() -> None:
    """The same content has the same tag, in whatever order it was put together."""
    one, two = tagged_answer(request(), {"a": 1, "b": 2}), tagged_answer(request(), {"b": 2, "a": 1})
    other = tagged_answer(request(), {"a": 1, "b": 3})
    assert one.headers["ETag"] == two.headers["ETag"] != other.headers["ETag"]
    known = request(if_none_match=one.headers["ETag"])
    assert tagged_answer(known, {"a": 1, "b": 2}).status_code == 304
    assert tagged_answer(known, {"a": 1, "b": 3}).status_code == 200


@pytest.mark.parametrize("header", ["", '""', "W/", "x", '"', ","])
def test_an_odd_if_none_match_is_no_match(header: str) -> None:
    """What is no tag of ours leads to a full answer."""
    assert tagged_answer(request(if_none_match=header), {"a": 1}).status_code == 200


def test_a_redirect_is_not_cached() -> None:
    """The signed URL in it lives for an hour; the link itself is for ever."""
    answer = redirect("https://x.example/?sig=1", X_Job_Status="completed")
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://x.example/?sig=1")
    assert (answer.headers["Cache-Control"], answer.headers["X-Job-Status"]) == ("no-store", "completed")


def failing(error: Exception) -> tuple[func.HttpResponse, func.HttpResponse]:
    """What a sync and an async function answer that raise `error`."""

    def plain(req: Any) -> func.HttpResponse:
        raise error

    async def awaited(req: Any) -> func.HttpResponse:
        raise error

    return answering(plain)(None), asyncio.run(answering(awaited)(None))


def test_a_refusal_becomes_its_problem() -> None:
    """Status, code, detail and fields as they were raised."""
    for answer in failing(RequestRefused(422, "idempotency_mismatch", "No.", (FieldError("f", "m"),))):
        body = json.loads(answer.get_body())
        assert (answer.status_code, body["code"], body["detail"]) == (422, "idempotency_mismatch", "No.")
        assert body["errors"] == [{"field": "f", "message": "m"}]


@pytest.mark.parametrize("error", [ServiceRequestError("no route to secret"), HttpResponseError("secret is busy")])
def test_a_storage_failure_becomes_a_503(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """With the time to come again; the cause is in the log only."""
    for answer in failing(error):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        assert b"secret" not in answer.get_body()
    assert "secret" in caplog.text


@pytest.mark.parametrize("error", [KeyError("secret"), RecordConflict("secret"), RecursionError("secret")])
def test_a_bug_becomes_a_500(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """The function's name and the traceback are in the log, none of it in the answer."""
    for answer in failing(error):
        assert (answer.status_code, json.loads(answer.get_body())["code"]) == (500, "internal_error")
        assert b"secret" not in answer.get_body()
    assert {record.message for record in caplog.records} == {"plain failed", "awaited failed"}


def test_the_wrapper_keeps_what_the_worker_inspects() -> None:
    """Name, parameters and whether it is a coroutine: the Functions worker indexes by them."""

    def plain(req: func.HttpRequest) -> func.HttpResponse:
        return json_answer({})

    async def awaited(req: func.HttpRequest, client: str) -> func.HttpResponse:
        return json_answer({})

    assert list(inspect.signature(answering(plain)).parameters) == ["req"]
    assert list(inspect.signature(answering(awaited)).parameters) == ["req", "client"]
    assert (answering(plain).__name__, answering(awaited).__name__) == ("plain", "awaited")
    assert inspect.iscoroutinefunction(answering(awaited))
    assert not inspect.iscoroutinefunction(answering(plain))
