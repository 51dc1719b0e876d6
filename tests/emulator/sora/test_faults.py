"""Every fault kind does what its description says, as often as asked, to whom it is meant."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from emulator.sora.faults import KINDS

JOBS = "/openai/v1/video/generations/jobs"


@pytest.fixture
def faulty(provider: Any) -> Callable[..., Any]:
    """Add a fault through the control endpoint."""

    def add(op: str, kind: str, **fields: Any) -> Any:
        answer = provider.control("POST", "/faults", json={"op": op, "kind": kind, **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()

    return add


@pytest.mark.parametrize(
    ("kind", "fields", "status", "error"),
    [
        ("wrong_route", {}, 404, {"code": "404", "message": "Resource not found"}),
        ("not_found", {}, 404, {"code": "404", "message": "Resource not found"}),
        ("deployment_not_found", {}, 404, {"type": "video_generation_user_error", "code": None}),
        ("too_many_running", {}, 429, {"message": "Too many running tasks", "type": "video_generation_user_error"}),
        ("rate_limited", {}, 429, {"code": "429"}),
        ("invalid", {"param": "height"}, 400, {"param": "height"}),
        ("invalid", {"message": "no such size"}, 400, {"message": "no such size", "param": "n_seconds"}),
        ("moderated", {}, 400, {"code": "contentFilter", "param": "prompt"}),
        ("unauthorized", {}, 401, {"code": "401"}),
        ("forbidden", {}, 403, {"code": "PermissionDenied"}),
        ("server_error", {}, 500, {"code": "500"}),
        ("server_error", {"status": 503}, 503, {"code": "503"}),
    ],
)
@pytest.mark.parametrize("shape", ["wrapped", "flat"])
def test_refusals_have_their_recorded_shapes_and_no_effect(
    provider: Any,
    faulty: Callable[..., Any],
    kind: str,
    fields: dict[str, Any],
    status: int,
    error: dict[str, Any],
    shape: str,
) -> None:
    """Each refusal answers a create in both shapes; nothing is created, and the next create succeeds."""
    faulty("create", kind, shape=shape, **fields)
    answer = provider.create()
    assert answer.status_code == status
    body = answer.json() if shape == "flat" else answer.json()["error"]
    assert {name: body[name] for name in error} == error
    assert body["message"]
    assert provider.create().status_code == 201
    stats = provider.simulator.stats()
    assert (stats["creates"], stats["creates_accepted"]) == (2, 1)


def test_moderated_create_carries_the_filter_verdict(provider: Any, faulty: Callable[..., Any]) -> None:
    """inner_error says ResponsibleAIPolicyViolation; a prompt with the trigger word does the same."""
    faulty("create", "moderated")
    for prompt in ("anything", "please draw [moderated] things"):
        error = provider.create(prompt).json()["error"]
        assert error["inner_error"]["code"] == "ResponsibleAIPolicyViolation"
        assert "content filter" in error["message"]


@pytest.mark.parametrize(("retry_after", "header"), [(7, "7"), (None, None)])
def test_rate_limit_comes_with_and_without_retry_after(
    provider: Any, faulty: Callable[..., Any], retry_after: int | None, header: str | None
) -> None:
    """Retry-After is the given number of seconds, or missing."""
    faulty("get", "rate_limited", retry_after=retry_after)
    answer = provider.get(provider.create().json()["id"])
    assert (answer.status_code, answer.headers.get("Retry-After")) == (429, header)


@pytest.mark.parametrize(("shape", "content_type", "body"), [("html", "text/html", b"<html>"), ("empty", None, b"")])
def test_server_errors_may_be_no_json_at_all(
    provider: Any, faulty: Callable[..., Any], shape: str, content_type: str | None, body: bytes
) -> None:
    """A 502 as an HTML page or without any body."""
    faulty("list", "server_error", status=502, shape=shape)
    answer = provider.call("GET", JOBS)
    assert (answer.status_code, answer.content[: len(body)]) == (502, body)
    assert content_type is None or answer.headers["Content-Type"].startswith(content_type)
    assert shape != "empty" or answer.content == b""


def test_any_answer_can_be_given(provider: Any, faulty: Callable[..., Any]) -> None:
    """`http` sets status, body and headers freely."""
    faulty("create", "http", status=410, body={"detail": "retired"}, headers={"X-Note": "bye"})
    answer = provider.create()
    assert (answer.status_code, answer.json(), answer.headers["X-Note"]) == (410, {"detail": "retired"}, "bye")


@pytest.mark.parametrize("op", ["get", "list", "content", "thumbnail", "delete", "generation"])
def test_every_operation_can_fail(provider: Any, faulty: Callable[..., Any], op: str) -> None:
    """A 5xx on any operation has no effect, and the next call is served."""
    job = provider.finish()
    generation = job["generations"][0]["id"]
    base = "/openai/v1/video/generations"
    method, path = {
        "get": ("GET", f"{JOBS}/{job['id']}"),
        "list": ("GET", JOBS),
        "content": ("GET", f"{base}/{generation}/content/video"),
        "thumbnail": ("GET", f"{base}/{generation}/content/thumbnail"),
        "delete": ("DELETE", f"{JOBS}/{job['id']}"),
        "generation": ("GET", f"{base}/{generation}"),
    }[op]
    faulty(op, "server_error")
    assert [provider.call(method, path).status_code for _ in range(2)] == [500, 204 if op == "delete" else 200]


REASONS = ("input_moderation", "output_moderation", "internal_error")


@pytest.mark.parametrize(
    ("reason", "by_prompt"),
    [(reason, by_prompt) for reason in REASONS for by_prompt in (False, True)] + [("solar_flare", False)],
)
def test_accepted_job_fails_later_with_a_reason(
    provider: Any, faulty: Callable[..., Any], reason: str, by_prompt: bool
) -> None:
    """The create is a 201; the job then ends as failed, without generations; by fault or by prompt word."""
    if not by_prompt:
        faulty("create", "failed", reason=reason)
    job = provider.create(f"a [{reason}] scene" if by_prompt else "a scene").json()
    assert (job["status"], job["failure_reason"]) == ("queued", None)
    provider.clock.advance(95)
    job = provider.job(job["id"])
    assert (job["status"], job["failure_reason"], job["generations"]) == ("failed", reason, [])
    assert job["finished_at"] < job["created_at"] + 95
    assert job["expires_at"] == job["finished_at"] + 86400


def test_job_succeeds_with_fewer_generations_than_variants(provider: Any, faulty: Callable[..., Any]) -> None:
    """n_variants stays as asked, the list is shorter; down to none."""
    for left in (2, 0):
        faulty("create", "partial", generations=left)
        job = provider.finish(n_variants=3)
        assert (job["status"], job["n_variants"], len(job["generations"])) == ("succeeded", 3, left)
    assert len(provider.finish("[partial]", n_variants=3)["generations"]) == 2


def test_job_that_never_finishes(provider: Any, faulty: Callable[..., Any]) -> None:
    """It runs for ever; other jobs are not affected."""
    faulty("create", "never_finish")
    stuck = [provider.create(prompt).json()["id"] for prompt in ("a", "[stuck]")]
    assert provider.finish()["status"] == "succeeded"
    provider.clock.advance(10 * 86400)
    assert [provider.job(one)["status"] for one in stuck] == ["running", "running"]


def test_unknown_status_word_hides_the_end(provider: Any, faulty: Callable[..., Any]) -> None:
    """For n polls the status is a word nobody documented and nothing is finished; then the truth shows."""
    job = provider.finish()
    faulty("get", "unknown_status", times=2)
    faulty("get", "unknown_status", status="warming_up")
    seen = [provider.job(job["id"]) for _ in range(4)]
    assert [one["status"] for one in seen] == ["rehearsing", "rehearsing", "warming_up", "succeeded"]
    assert (seen[0]["generations"], seen[0]["finished_at"]) == ([], None)


def test_list_can_hide_tasks(provider: Any, faulty: Callable[..., Any]) -> None:
    """An untrustworthy list leaves out the matching tasks, or all."""
    for prompt in ("red fox", "blue owl"):
        provider.create(prompt)
    faulty("list", "hidden", match={"prompt": "fox"})
    faulty("list", "hidden")
    lists = [[job["prompt"] for job in provider.call("GET", JOBS).json()["data"]] for _ in range(3)]
    assert lists == [["blue owl"], [], ["blue owl", "red fox"]]


def test_content_is_404_n_times_and_then_there(provider: Any, faulty: Callable[..., Any]) -> None:
    """The minutes after success: 404 three times, then the video."""
    generation = provider.generation()
    faulty("content", "not_found", times=3)
    assert [provider.video(generation).status_code for _ in range(4)] == [404, 404, 404, 200]


@pytest.mark.parametrize("op", ["get", "content", "thumbnail", "generation"])
def test_task_can_expire_under_a_call(provider: Any, faulty: Callable[..., Any], op: str) -> None:
    """The struck call and every later one find nothing."""
    job = provider.finish()
    generation = job["generations"][0]["id"]
    faulty(op, "expired")
    calls = {
        "get": lambda: provider.get(job["id"]),
        "content": lambda: provider.video(generation),
        "thumbnail": lambda: provider.video(generation, what="thumbnail"),
        "generation": lambda: provider.call("GET", f"/openai/v1/video/generations/{generation}"),
    }
    assert [calls[name]().status_code for name in (op, *calls)] == [404] * 5


def test_dropped_answer_of_a_create_leaves_a_task(provider: Any, faulty: Callable[..., Any]) -> None:
    """The client sees a cut connection, the provider has the task, and it is in the list."""
    faulty("create", "drop_answer")
    with pytest.raises(requests.ConnectionError):
        provider.create("paid for")
    (job,) = provider.call("GET", JOBS).json()["data"]
    assert job["prompt"] == "paid for"
    assert provider.simulator.stats()["accepted_by_prompt"] == {"paid for": 1}
    assert [call["status"] for call in provider.simulator.requests("create")] == [0]


def test_drop_before_has_no_effect(provider: Any, faulty: Callable[..., Any]) -> None:
    """The client sees the same, the provider has nothing."""
    faulty("create", "drop_before")
    with pytest.raises(requests.ConnectionError):
        provider.create()
    assert provider.call("GET", JOBS).json()["data"] == []


def test_delay_holds_the_answer_back(provider: Any, faulty: Callable[..., Any]) -> None:
    """The answer is right, but late; other calls are served meanwhile; any kind can be delayed."""
    job = provider.create().json()
    faulty("get", "delay", delay=0.3)
    faulty("get", "server_error", delay=0.3)
    for status in (200, 500):
        began = time.monotonic()
        assert provider.get(job["id"]).status_code == status
        assert time.monotonic() - began >= 0.3
    faulty("get", "delay", delay=30)
    with pytest.raises(requests.ReadTimeout):
        provider.call("GET", f"{JOBS}/{job['id']}", timeout=0.1)
    assert provider.get(job["id"]).status_code == 200


@pytest.mark.parametrize(
    ("body", "content_type", "starts"),
    [
        ("json", "application/json", b"{"),
        ("html", "text/html", b"<!doctype html>"),
        ("garbage", "video/mp4", b"\x00\x01\x02"),
        ("empty", "video/mp4", b""),
    ],
)
def test_wrong_body_comes_with_200(
    provider: Any, faulty: Callable[..., Any], body: str, content_type: str, starts: bytes
) -> None:
    """JSON or HTML instead of a video, garbage or nothing under the video's own type."""
    generation = provider.generation()
    faulty("content", "wrong_body", body=body)
    answer = provider.video(generation)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, content_type)
    assert answer.content.startswith(starts)
    assert bool(answer.content) == (body != "empty")
    assert b"ftyp" not in answer.content


def _read_on(arriving: Iterator[bytes], got: bytearray) -> None:
    for chunk in arriving:
        got += chunk


@pytest.mark.parametrize(("after", "start"), [(1000, 0), (0, 0), (700, 300), (None, 0)])
def test_truncated_video_is_cut_at_the_byte(
    provider: Any, faulty: Callable[..., Any], after: int | None, start: int
) -> None:
    """Content-Length promises all, exactly `after` bytes arrive, then the connection ends; a resume works."""
    generation = provider.generation()
    whole = provider.video(generation).content
    faulty("content", "truncate", after=after)
    answer = provider.video(generation, headers={"Range": f"bytes={start}-"} if start else {}, stream=True)
    assert int(answer.headers["Content-Length"]) == len(whole) - start
    arriving, got = answer.iter_content(1), bytearray()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _read_on(arriving, got)
    expected = whole[start : start + (len(whole) // 2 if after is None else after)]
    assert got == expected
    rest = provider.video(generation, headers={"Range": f"bytes={start + len(got)}-"}).content
    assert whole[:start] + got + rest == whole
    assert provider.simulator.requests("content")[1]["bytes"] == len(got)


def test_slow_video_arrives_at_the_given_rate(provider: Any, faulty: Callable[..., Any]) -> None:
    """All bytes are right, at no more than the given bytes per second."""
    generation = provider.generation()
    whole = provider.video(generation).content
    faulty("content", "slow", bytes_per_second=len(whole) * 2)
    began = time.monotonic()
    assert provider.video(generation).content == whole
    assert time.monotonic() - began >= 0.4


def test_stalled_video_goes_on_later(provider: Any, faulty: Callable[..., Any]) -> None:
    """After `after` bytes nothing comes for `seconds`: a patient client gets all, an impatient one a timeout."""
    generation = provider.generation()
    whole = provider.video(generation).content
    faulty("content", "stall", after=500, seconds=0.3)
    assert provider.video(generation).content == whole
    faulty("content", "stall", after=500, seconds=30)
    with pytest.raises(requests.ConnectionError, match="timed out"):
        provider.video(generation, timeout=0.2)


def test_right_bytes_under_a_wrong_type(provider: Any, faulty: Callable[..., Any]) -> None:
    """Only the content type is wrong."""
    generation = provider.generation()
    whole = provider.video(generation).content
    for fields, expected in (({}, "application/octet-stream"), ({"content_type": "text/plain"}, "text/plain")):
        faulty("content", "wrong_type", **fields)
        answer = provider.video(generation)
        assert (answer.headers["Content-Type"], answer.content) == (expected, whole)


def test_video_without_a_length(provider: Any, faulty: Callable[..., Any]) -> None:
    """Chunked, no Content-Length, right bytes."""
    generation = provider.generation()
    whole = provider.video(generation).content
    faulty("content", "no_length")
    answer = provider.video(generation)
    assert ("Content-Length" in answer.headers, answer.headers["Transfer-Encoding"]) == (False, "chunked")
    assert answer.content == whole


def test_range_can_be_ignored(provider: Any, faulty: Callable[..., Any]) -> None:
    """A resume is answered with 200 and the whole."""
    generation = provider.generation()
    whole = provider.video(generation).content
    faulty("content", "range_ignored")
    answer = provider.video(generation, headers={"Range": "bytes=100-"})
    assert (answer.status_code, "Content-Range" in answer.headers, answer.content) == (200, False, whole)


def test_redirect_leads_to_another_host_that_wants_no_key(provider: Any, faulty: Callable[..., Any]) -> None:
    """The video waits under another host name, without a key; the journal tells whether one was sent there."""
    generation = provider.generation()
    whole = provider.video(generation).content
    for what, op in (("video", "content"), ("thumbnail", "thumbnail")):
        faulty(op, "redirect")
        answer = provider.video(generation, what=what)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("http://localhost:")
    faulty("content", "redirect")
    followed = provider.video(generation, allow_redirects=True, headers={"api-key": "secret"})
    assert followed.content == whole
    assert requests.get(followed.url, timeout=5).content == whole
    assert [call["credentials"] for call in provider.simulator.requests("cdn")] == [True, False]
    faulty("content", "redirect", location="https://elsewhere.example/v.mp4")
    assert provider.video(generation).headers["Location"] == "https://elsewhere.example/v.mp4"


def test_fault_strikes_only_whom_it_matches(provider: Any, faulty: Callable[..., Any]) -> None:
    """By part of the prompt, by task and by generation."""
    fox, owl = provider.finish("red fox"), provider.finish("blue owl")
    faulty("create", "server_error", match={"prompt": "fox"}, times=None)
    faulty("get", "server_error", match={"task_id": fox["id"]}, times=None)
    faulty("delete", "server_error", match={"prompt": "fox"}, times=None)
    faulty("content", "server_error", match={"generation_id": fox["generations"][0]["id"]}, times=None)
    faulty("thumbnail", "server_error", match={"task_id": fox["id"], "prompt": "owl"}, times=None)
    for job, word, expected in ((owl, "owl", (200, 200, 201)), (fox, "fox", (500, 500, 500))):
        generation = job["generations"][0]["id"]
        got = (provider.get(job["id"]), provider.video(generation), provider.create(f"a {word} again"))
        assert tuple(answer.status_code for answer in got) == expected
        assert provider.video(generation, what="thumbnail").status_code == 200
    assert provider.call("DELETE", f"{JOBS}/{fox['id']}").status_code == 500


def test_faults_queue_up_and_can_be_removed(provider: Any, faulty: Callable[..., Any]) -> None:
    """Rules strike in the order added, count down, stay for ever with null, and go when removed."""
    faulty("create", "server_error", times=2)
    faulty("create", "too_many_running")
    forever = faulty("create", "rate_limited", times=None)
    faulty("get", "not_found", times=None)
    assert [provider.create().status_code for _ in range(5)] == [500, 500, 429, 429, 429]
    shown = provider.control("GET", "").json()["faults"]
    assert [(rule["op"], rule["times"], rule["struck"]) for rule in shown] == [("create", None, 2), ("get", None, 0)]
    assert provider.control("DELETE", f"/faults/{forever['id']}").json() == {"removed": 1}
    assert provider.create().status_code == 201
    assert provider.control("DELETE", "/faults").json() == {"removed": 1}
    assert provider.control("GET", "").json()["faults"] == []


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ([1], "JSON object"),
        ({"op": "create", "kind": "earthquake"}, "unknown kind"),
        ({"op": "create", "kind": "truncate"}, "is for op content"),
        ({"op": "party", "kind": "delay"}, "is for op create"),
        ({"op": "get", "kind": "delay", "times": 0}, "times"),
        ({"op": "get", "kind": "delay", "delay": "long"}, "delay"),
        ({"op": "get", "kind": "delay", "match": {"colour": "red"}}, "match"),
        ({"op": "get", "kind": "not_found", "status": 404}, "takes no status"),
        ({"op": "get", "kind": "server_error", "shape": "round"}, "shape is one of"),
        ({"op": "get", "kind": "server_error", "status": "bad"}, "status is a number"),
        ({"op": "get", "kind": "http", "headers": 1}, "headers is a JSON object"),
        ({"op": "content", "kind": "wrong_body", "body": "soup"}, "body is one of"),
        ({"op": "content", "kind": "truncate", "after": -1}, "after is a number"),
    ],
)
def test_senseless_faults_are_refused_with_the_reason(provider: Any, rule: object, why: str) -> None:
    """A typing mistake in a test must not become a fault that never strikes."""
    answer = provider.control("POST", "/faults", json=rule)
    assert answer.status_code == 400
    assert why in answer.json()["error"]
    assert provider.control("GET", "").json()["faults"] == []


def test_every_kind_has_a_test_here() -> None:
    """Each documented kind is named in this file as an argument of a test."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []
