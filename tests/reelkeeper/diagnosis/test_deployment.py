"""Is the deployment there? Asked by a create without a prompt, at every kind of server; nothing is ever made of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from emulator.sora.profiles import PROFILES
from emulator.sora.simulator import Simulator
from reelkeeper.diagnosis.deployment import refused_create_check
from reelkeeper.diagnosis.report import Check, Report
from reelkeeper.errors import Fault, ProviderError
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.providers.registry import read_providers

KEY = "k-0d1f7a93c4-diagnosis"
JOBS, VIDEOS = "/openai/v1/video/generations/jobs", "/v1/videos"
NAMES = {"sora": "SORA_MODEL", "openai": "OPENAI_VIDEO_MODEL"}


def tasks(provider: Simulator) -> set[str]:
    """The ids of every task that was ever made there."""
    return {task["id"] for task in requests.get(f"{provider.url}/_control/tasks", timeout=5).json()["tasks"]}


@pytest.fixture
def look(
    every: dict[str, str], provider: Simulator, examine: Callable[..., Report]
) -> Iterator[Callable[..., dict[str, Check]]]:
    """Diagnose with these changes, of a server that has no tasks yet: the checks by name. No task may be there then."""
    every = {name: value for name, value in every.items() if not name.startswith("IMAGE")}
    provider.forget()
    before = tasks(provider)

    def checks(**changes: str) -> dict[str, Check]:
        return {check.name: check for check in examine(every | changes).checks}

    yield checks
    provider.set_profile("azure")
    assert tasks(provider) == before


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_the_right_one_is_never_called_wrong(profile: str, look: Any, provider: Simulator) -> None:
    """Whatever the server refuses first: it is not proven, and the way to prove it is told."""
    provider.set_profile(profile)
    checks = look()
    assert [check for check in checks.values() if not check.ok] == []
    for name in NAMES:
        deployment = checks[f"provider {name}: deployment"]
        assert "is not proven (a create without a prompt" in deployment.detail
        assert "doctor --create" in deployment.detail


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_one_is_found_at_azure(name: str, look: Any) -> None:
    """In both dialects, without a real create; key and route stay proven."""
    checks = look(**{NAMES[name]: "not-there"})
    assert [check.name for check in checks.values() if not check.ok] == [f"provider {name}: deployment"]
    deployment = checks[f"provider {name}: deployment"]
    assert "HTTP 404: The API deployment 'not-there' for this resource does not exist." in deployment.detail
    assert f"Check {NAMES[name]}" in str(deployment.fix)
    assert checks[f"provider {name}: route"].detail == "the list of tasks is answered"


def test_a_listed_task_of_it_proves_it_without_a_create(look: Any, provider: Simulator) -> None:
    """Nothing is sent that need not be."""
    creates = len(provider.requests("create"))
    provider.fault("list", "http", times=None, status=200, body={"data": [{"model": "sora"}]})
    assert look(OPENAI_VIDEO_MODEL="sora")["provider sora: deployment"].detail == "a task of sora is in the list"
    assert len(provider.requests("create")) == creates


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"kind": "server_error", "status": 503}, "HTTP 503"),
        ({"kind": "server_error", "status": 500}, "HTTP 500"),
        ({"kind": "too_many_running"}, "Too many running tasks"),
        ({"kind": "rate_limited", "retry_after": 7}, "HTTP 429"),
        ({"kind": "drop_before"}, "The connection broke"),
    ],
)
def test_trouble_is_no_proof_either_way(fault: dict[str, Any], words: str, look: Any, provider: Simulator) -> None:
    """It does not make a good route bad, and is shown."""
    provider.fault("create", fault.pop("kind"), times=None, **fault)
    checks = look()
    assert [check for check in checks.values() if not check.ok] == []
    assert words in checks["provider sora: deployment"].detail
    assert "got no verdict" in checks["provider openai: deployment"].detail


@pytest.mark.parametrize(
    ("status", "message", "fix"),
    [
        (410, "This model is gone.", "Choose another model"),
        (404, "The deployment sora was retired.", "Choose another model"),
        (400, "Invalid model name passed in model=sora.", "Check SORA_MODEL"),
        (404, "Resource not found", "Check SORA_MODEL"),
        (405, "Method Not Allowed", "the server lists tasks without making any"),
        (403, "The project has no access to this model.", "Check AZURE_API_KEY and what the key may access"),
    ],
)
def test_what_a_real_create_would_end_in_is_a_fault(
    status: int, message: str, fix: str, look: Any, provider: Simulator
) -> None:
    """With its cause and its fix; that the list is answered is said nevertheless."""
    provider.fault("create", "http", status=status, body={"error": {"message": message}})
    checks = look(OPENAI_BASE_URL="")
    assert [check.name for check in checks.values() if not check.ok] == ["provider sora: deployment"]
    assert message in checks["provider sora: deployment"].detail
    assert fix in str(checks["provider sora: deployment"].fix)
    assert checks["provider sora: credentials"].ok


@pytest.mark.parametrize(("name", "path", "status"), [("sora", JOBS, 204), ("openai", VIDEOS, 200)])
def test_a_create_that_is_taken_is_a_fault_and_is_cancelled(
    name: str, path: str, status: int, every: dict[str, str], provider: Simulator, examine: Callable[..., Report]
) -> None:
    """Against all expectation: it may have a cost, so the task is deleted at once, and both are told."""
    provider.set_profile("sglang")  # deletes also what still runs
    size = {"width": 480, "height": 480, "n_seconds": 1}
    bearer = {"Authorization": f"Bearer {every['AZURE_API_KEY']}"}
    body = {"model": "sora", "prompt": "x", **(size if name == "sora" else {})}
    made = requests.post(f"{provider.url}{path}", headers=bearer, timeout=5, json=body).json()
    provider.fault("list", "http", status=200, body={"data": []})
    provider.fault("create", "http", status=200, body=made)
    others = ("AZURE_", "IMAGE") if name == "openai" else ("OPENAI", "IMAGE")
    try:
        report = examine({key: value for key, value in every.items() if not key.startswith(others)})
    finally:
        provider.set_profile("azure")
    (wrong,) = [check for check in report.checks if not check.ok]
    assert (wrong.name, "took a create without a prompt" in wrong.detail) == (f"provider {name}: deployment", True)
    assert "portal" in str(wrong.fix)
    told = {check.name: check.detail for check in report.checks}
    assert told[f"provider {name}: task"] == f"{made['id']} was cancelled"
    last = provider.requests("delete")[-1]
    assert (last["task_id"], last["status"]) == (made["id"], status)


@pytest.mark.parametrize("body", [{"object": "video"}, "<p>Thanks!</p>"])
def test_a_taken_create_that_cannot_be_cancelled_is_told(body: Any, look: Any, provider: Simulator) -> None:
    """Without an id there is nothing to delete: the person has to look."""
    provider.fault("create", "http", status=200, body=body)
    wrong = [check for check in look(OPENAI_BASE_URL="").values() if not check.ok]
    assert [check.name for check in wrong] == ["provider sora: deployment"]
    assert "without a prompt" in str(wrong[0].fix)


def test_a_cancel_that_is_refused_names_the_task(look: Any, provider: Simulator) -> None:
    """It goes on at the provider, where only a person can end it."""
    provider.fault("create", "http", status=200, body={"id": "task_01", "status": "queued"})
    provider.fault("delete", "server_error")
    checks = look(OPENAI_BASE_URL="")
    assert "task_01 could not be cancelled: HTTP 500" in checks["provider sora: task"].detail
    assert "end it there" in str(checks["provider sora: task"].fix)


def test_the_older_image_path_tells_too(look: Any, provider: Simulator) -> None:
    """There the deployment stands in the address, and Azure looks it up before the prompt."""
    path = f"{provider.url}/openai/deployments/{{}}/images/generations?api-version=2025-04-01-preview"
    right = look(IMAGE_ENDPOINT=path.format("gpt-image-1"), IMAGE_API_KEY=KEY)
    assert [check for check in right.values() if not check.ok] == []
    assert "refused, as it must be" in right["provider image: route"].detail
    wrong = look(IMAGE_ENDPOINT=path.format("not-there"), IMAGE_API_KEY=KEY)
    assert [check.name for check in wrong.values() if not check.ok] == ["provider image: deployment"]


def at(host: str, dialect: str = "openai-videos") -> ProviderConfig:
    entry = {"name": "wan", "kind": "videos", "dialect": dialect, "base_url": f"https://{host}", "model": "my-sora"}
    (config,) = read_providers({"PROVIDERS": json.dumps([entry])}, 60.0)
    return config


def refused(status: int, words: str) -> ProviderError:
    return ProviderError(Fault("invalid_request", "advice", words, status))


@pytest.mark.parametrize("dialect", ["azure-jobs", "openai-videos"])
def test_at_azure_s_own_hosts_a_refused_prompt_is_the_proof(dialect: str) -> None:
    """The name is resolved before the body is read; a refusal of something else is no proof."""
    azure = at("films.openai.azure.com", dialect)
    check = refused_create_check("d", azure, refused(400, "Missing required parameter: 'prompt'."))
    assert check.ok
    assert check.detail.startswith("my-sora is there: a create without a prompt reached the deployment")
    check = refused_create_check("d", azure, refused(400, "Missing required parameter: 'height'."))
    assert (check.ok, "not proven" in check.detail, "'height'" in check.detail) == (True, True, True)


def test_elsewhere_the_same_refusal_proves_nothing() -> None:
    """The server may not have looked at the name yet."""
    check = refused_create_check("d", at("gateway.example"), refused(422, "prompt: field required"))
    assert (check.ok, "not proven" in check.detail) == (True, True)
