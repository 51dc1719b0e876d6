"""The control endpoint: what happened, a hand on tasks, limits and the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emulator.sora.faults import KINDS

JOBS = "/openai/v1/video/generations/jobs"


def test_help_explains_itself(provider: Any) -> None:
    """GET /_control lists the endpoints, every kind with its operations and arguments, and the prompt words."""
    body = provider.control("GET", "").json()
    assert any("POST   /_control/faults" in line for line in body["help"])
    assert set(body["kinds"]) == set(KINDS)
    assert all(kind["ops"] and kind["does"] for kind in body["kinds"].values())
    assert "[moderated]" in body["prompt_triggers"]
    assert body["now"].startswith("2026-03-01T12:00")


def test_requests_tell_who_asked_what_and_got_what(serve: Callable[..., Any]) -> None:
    """Each provider call is logged with time, ids, status, bytes and range; control calls are not; no key is."""
    provider = serve(api_key="very-secret")
    provider.session.headers["api-key"] = "very-secret"
    job = provider.finish()
    generation = job["generations"][0]["id"]
    part = provider.video(generation, headers={"Range": "bytes=0-99"})
    calls = provider.control("GET", "/requests").json()["requests"]
    assert [(call["op"], call["method"], call["status"]) for call in calls] == [
        ("create", "POST", 201),
        ("get", "GET", 200),
        ("content", "GET", 206),
    ]
    assert [call["at"] for call in calls][:2] == ["2026-03-01T12:00:00+00:00", "2026-03-01T12:01:40+00:00"]
    assert {call["task_id"] for call in calls} == {job["id"]}
    last = calls[2]
    assert (last["output_id"], last["bytes"], last["range"]) == (generation, len(part.content), "bytes=0-99")
    assert "very-secret" not in provider.control("GET", "/requests").text + provider.control("GET", "").text
    assert len(provider.control("GET", "/requests", params={"op": "get"}).json()["requests"]) == 1
    assert len(provider.control("GET", "/requests", params={"since": calls[0]["n"]}).json()["requests"]) == 2
    provider.control("DELETE", "/requests")
    assert provider.simulator.requests() == []


def test_stats_count_what_money_and_bandwidth_cost(provider: Any) -> None:
    """Creates asked and accepted, accepted ones per prompt, polls per task, downloads and bytes per generation."""
    job = provider.finish("twice")
    provider.create("twice")
    provider.create("never", n_seconds=99)
    provider.job(job["id"])
    generation = job["generations"][0]["id"]
    size = len(provider.video(generation).content)
    provider.video(generation, "HEAD")
    provider.video(generation, headers={"Range": f"bytes={size - 10}-"})
    provider.call("DELETE", f"{JOBS}/{job['id']}")
    stats = provider.control("GET", "/stats").json()
    assert (stats["creates"], stats["creates_accepted"], stats["creates_by_status"]) == (3, 2, {"201": 2, "400": 1})
    assert stats["accepted_by_prompt"] == {"twice": 2}
    assert stats["polls_by_task"] == {job["id"]: 2}
    assert stats["deletes_by_task"] == {job["id"]: 1}
    assert stats["downloads_by_generation"] == {generation: 2}
    assert stats["bytes_by_generation"] == {generation: size + 10}
    assert stats["running"] == 1


@pytest.mark.parametrize(
    ("order", "status", "reason", "generations"),
    [
        ({"state": "succeeded"}, "succeeded", None, 2),
        ({"state": "succeeded", "generations": 1}, "succeeded", None, 1),
        ({"state": "failed"}, "failed", "internal_error", 0),
        ({"state": "failed", "failure_reason": "output_moderation"}, "failed", "output_moderation", 0),
        ({"state": "cancelled"}, "cancelled", None, 0),
    ],
)
def test_task_can_be_brought_to_an_end_now(
    provider: Any, order: dict[str, Any], status: str, reason: str | None, generations: int
) -> None:
    """Finish, fail with a reason, or cancel a running task without waiting."""
    task_id = provider.create(n_variants=2).json()["id"]
    assert provider.control("POST", f"/tasks/{task_id}", json=order).json()["phase"] == status
    job = provider.job(task_id)
    assert (job["status"], job["failure_reason"], len(job["generations"])) == (status, reason, generations)


@pytest.mark.parametrize("state", ["expired", "deleted"])
@pytest.mark.parametrize("finished", [True, False])
def test_task_can_be_taken_away_now(provider: Any, state: str, finished: bool) -> None:
    """Expired or deleted, finished or running: it is gone, but the accounts still know it."""
    task_id = (provider.finish() if finished else provider.create().json())["id"]
    assert provider.control("POST", f"/tasks/{task_id}", json={"state": state}).json()["gone"] is True
    assert provider.get(task_id).status_code == 404
    assert provider.control("GET", "/tasks").json()["tasks"][0]["id"] == task_id
    assert provider.simulator.stats()["creates_accepted"] == 1


def test_running_tasks_are_limited(serve: Callable[..., Any]) -> None:
    """A third task beside two running ones is 'Too many running tasks'; an end or a deletion makes room."""
    provider = serve(max_running=2)
    first, second = (provider.create().json()["id"] for _ in range(2))
    answer = provider.create()
    assert (answer.status_code, answer.json()["error"]["message"]) == (429, "Too many running tasks")
    assert "Retry-After" not in answer.headers
    provider.call("DELETE", f"{JOBS}/{first}")
    assert [provider.create().status_code for _ in range(2)] == [201, 429]
    provider.simulator.force(second, "failed")
    assert [provider.create().status_code for _ in range(2)] == [201, 429]
    provider.clock.advance(100)
    assert [provider.create().status_code for _ in range(3)] == [201, 201, 429]


def test_creates_per_minute_are_limited_in_any_sixty_seconds(serve: Callable[..., Any]) -> None:
    """Only accepted creates count; Retry-After says when the window opens, and then it is open."""
    provider = serve(creates_per_minute=2)
    assert provider.create(n_seconds=99).status_code == 400
    assert provider.create().status_code == 201
    provider.clock.advance(20)
    assert provider.create().status_code == 201
    answer = provider.create()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "40")
    provider.clock.advance(39)
    assert provider.create().status_code == 429
    provider.clock.advance(1)
    assert [provider.create().status_code for _ in range(2)] == [201, 429]


def test_limits_can_be_changed_while_it_runs(provider: Any) -> None:
    """Generation time, keeping time and both limits; null lifts a limit; nonsense is refused as a whole."""
    limits = {"generation_seconds": 5, "expiry_seconds": 60, "max_running": 1, "creates_per_minute": 9}
    answer = provider.control("POST", "/limits", json=limits)
    assert {name: answer.json()[name] for name in limits} == limits
    task_id = provider.create().json()["id"]
    assert provider.create().status_code == 429
    provider.control("POST", "/limits", json={"max_running": None})
    assert provider.create().status_code == 201
    provider.clock.advance(5)
    job = provider.job(task_id)
    assert (job["status"], job["expires_at"] - job["finished_at"]) == ("succeeded", 60)
    senseless: list[object] = [
        {"max_running": "two"},
        {"generation_seconds": None},
        {"colour": 1},
        {"max_running": 3, "colour": 1},
        {"deployments": "sora"},
        {"deployments": ["sora", 7]},
        [],
    ]
    for wrong in senseless:
        assert provider.control("POST", "/limits", json=wrong).status_code == 400
    assert provider.control("GET", "").json()["limits"]["max_running"] is None


def test_deployments_can_come_and_go_while_it_runs(provider: Any) -> None:
    """What is shown can be set: a list of names; null, or none of them, is any."""
    for names, status in ((["sora-2"], 404), (["sora", "sora-2"], 201), (None, 201), (["sora-2"], 404), ([], 201)):
        shown = provider.control("POST", "/limits", json={"deployments": names}).json()
        assert shown == provider.control("GET", "").json()["limits"]
        assert (shown["deployments"], provider.create().status_code) == (names or [], status)
    provider.simulator.set_limits(deployments=["sora-2"])
    assert provider.create().status_code == 404


def test_clock_can_be_set_forward(provider: Any) -> None:
    """Hours pass at once: a task finishes and expires."""
    task_id = provider.create().json()["id"]
    assert (
        provider.control("POST", "/clock", json={"advance_seconds": 100})
        .json()["now"]
        .startswith("2026-03-01T12:01:40")
    )
    assert provider.job(task_id)["status"] == "succeeded"
    provider.control("POST", "/clock", json={"advance_seconds": 86400})
    assert provider.get(task_id).status_code == 404
    assert provider.control("POST", "/clock", json={"advance_seconds": -1}).status_code == 400


def test_mistakes_at_the_control_endpoint_are_explained(provider: Any) -> None:
    """Unknown tasks and states, and bodies that are no JSON."""
    task_id = provider.create().json()["id"]
    assert provider.control("POST", "/tasks/task_x", json={"state": "failed"}).status_code == 404
    answer = provider.control("POST", f"/tasks/{task_id}", json={"state": "sleeping"})
    assert (answer.status_code, "succeeded, failed" in answer.json()["error"]) == (400, True)
    assert provider.control("POST", f"/tasks/{task_id}", json={"stat": "failed"}).status_code == 400
    assert provider.control("POST", "/faults", data="{").json() == {"error": "the body is not JSON"}
    assert provider.control("DELETE", "/faults/first").status_code == 400
    assert provider.control("GET", "/requests", params={"since": "noon"}).status_code == 400


def test_in_process_api_matches_the_endpoint(provider: Any) -> None:
    """fault, clear_faults, force, tasks, requests, stats and set_limits need no HTTP and no asyncio."""
    simulator = provider.simulator
    assert simulator.fault("create", "server_error", times=None, status=503)["status"] == 503
    assert provider.create().status_code == 503
    assert simulator.clear_faults() == 1
    task_id = provider.create().json()["id"]
    simulator.force(task_id, "failed", "output_moderation")
    assert simulator.tasks()[0]["phase"] == "failed"
    simulator.set_limits(max_running=0)
    assert provider.create().status_code == 429
    assert [call["status"] for call in simulator.requests("create")] == [503, 201, 429]
    with pytest.raises(ValueError, match="unknown kind"):
        simulator.fault("create", "nonsense")
    with pytest.raises(ValueError, match="no limit"):
        simulator.set_limits(colour=1)
    with pytest.raises(LookupError, match="no task"):
        simulator.force("task_x", "failed")
