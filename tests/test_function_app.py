"""The composition root, imported as the worker imports it: in a process of its own, settings as environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
STORAGE = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
PROVIDER = {"AZURE_SORA_ENDPOINT": "https://films.openai.azure.com", "AZURE_API_KEY": "k-secret-77"}

LIST_FUNCTIONS = """
import json, logging, sys
import function_app as app
functions = {f.get_function_name(): [b.get_dict_repr() for b in f.get_bindings()] for f in app.app.get_functions()}
print(json.dumps({
    "functions": functions,
    "modules": sorted(sys.modules),
    "apps": [name for name, value in vars(app).items() if type(value).__name__ == "DFApp"],
    "azure_level": logging.getLogger("azure").level,
    "urllib3_level": logging.getLogger("urllib3").level,
}, default=str))
"""

CALL_STATUS = """
import azure.functions as func
import function_app as app
functions = {f.get_function_name(): f.get_user_function() for f in app.app.get_functions()}
answer = functions["status_videos"](func.HttpRequest("GET", "http://x/api/videos/nonsense/status",
    route_params={"job_id": "nonsense"}, body=b""))
print(answer.status_code, answer.get_body().decode())
"""


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `code` with nothing in the environment but `env` and what Python itself needs."""
    needed = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=needed | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def app() -> dict[str, Any]:
    """The app as indexed with storage and one provider set."""
    done = run(LIST_FUNCTIONS, **STORAGE, **PROVIDER)
    assert done.returncode == 0, done.stderr
    listed: dict[str, Any] = json.loads(done.stdout)
    return listed


def trigger_of(app: dict[str, Any], name: str) -> dict[str, Any]:
    (trigger,) = [binding for binding in app["functions"][name] if binding["type"].lower().endswith("trigger")]
    return dict(trigger)


def test_all_functions_are_registered_under_their_names(app: dict[str, Any]) -> None:
    """The names in the log, in the history and in the orchestrators' calls are these."""
    assert set(app["functions"]) == {
        *(f"{verb}_{kind}" for kind in ("videos", "images")
          for verb in ("generate", "batches", "batch", "status", "result", "content", "gallery", "cancel", "delete")),
        "diagnostics", "health", "providers", "sweep",
        "render", "watch", "keep", "gate", "admit", "create", "poll", "download", "store", "settle",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "method", "route", "level"),
    [
        ("generate_videos", "POST", "videos/generate", "FUNCTION"),
        ("batches_videos", "POST", "videos/batches", "FUNCTION"),
        ("batch_videos", "GET", "videos/batches/{batch_id}", "FUNCTION"),
        ("cancel_videos", "POST", "videos/{job_id}/cancel", "FUNCTION"),
        ("delete_videos", "DELETE", "videos/{job_id}", "FUNCTION"),
        ("status_videos", "GET", "videos/{job_id}/status", "FUNCTION"),
        ("result_videos", "GET", "videos/{job_id}/result", "FUNCTION"),
        ("content_videos", "GET", "videos/{job_id}/content", "FUNCTION"),
        ("gallery_videos", "GET", "videos/user", "FUNCTION"),
        ("generate_images", "POST", "images/generate", "FUNCTION"),
        ("batches_images", "POST", "images/batches", "FUNCTION"),
        ("batch_images", "GET", "images/batches/{batch_id}", "FUNCTION"),
        ("cancel_images", "POST", "images/{job_id}/cancel", "FUNCTION"),
        ("delete_images", "DELETE", "images/{job_id}", "FUNCTION"),
        ("status_images", "GET", "images/{job_id}/status", "FUNCTION"),
        ("result_images", "GET", "images/{job_id}/result", "FUNCTION"),
        ("content_images", "GET", "images/{job_id}/content", "FUNCTION"),
        ("gallery_images", "GET", "images/user", "FUNCTION"),
        ("providers", "GET", "providers", "FUNCTION"),
        ("diagnostics", "GET", "diagnostics", "FUNCTION"),
        ("health", "GET", "health", "ANONYMOUS"),
    ],
)
def test_routes_methods_and_keys(app: dict[str, Any], name: str, method: str, route: str, level: str) -> None:
    """Everything but the health check wants a function key."""
    trigger = trigger_of(app, name)
    assert (trigger["route"], trigger["methods"], trigger["authLevel"]) == (route, [method], level)


@pytest.mark.parametrize("name", ["admit", "create", "poll", "download", "store", "settle"])
def test_activities_are_registered_by_their_verb(app: dict[str, Any], name: str) -> None:
    """With the parameter name that the binding fills."""
    trigger = trigger_of(app, name)
    assert (trigger["type"], trigger["activity"], trigger["name"]) == ("activityTrigger", name, "work")


@pytest.mark.parametrize("name", ["render", "watch", "keep"])
def test_orchestrators_take_their_context_by_the_name_the_worker_wants(app: dict[str, Any], name: str) -> None:
    """Any other parameter name fails the worker's load check."""
    trigger = trigger_of(app, name)
    assert (trigger["type"], trigger["orchestration"], trigger["name"]) == ("orchestrationTrigger", name, "context")


def test_the_gate_is_the_entity_that_render_and_watch_name(app: dict[str, Any]) -> None:
    """One function for all providers: each provider's gate is one key of it."""
    trigger = trigger_of(app, "gate")
    assert (trigger["type"], trigger["entityName"], trigger["name"]) == ("entityTrigger", "gate", "context")


STARTERS = {"generate_videos", "generate_images", "batches_videos", "batches_images", "sweep"}


@pytest.mark.parametrize("name", sorted(STARTERS))
def test_who_starts_orchestrations_has_the_durable_client(app: dict[str, Any], name: str) -> None:
    """And nobody else has it."""
    assert [binding["name"] for binding in app["functions"][name] if binding["type"] == "durableClient"] == ["client"]
    clients = {n for n, bindings in app["functions"].items() if any(b["type"] == "durableClient" for b in bindings)}
    assert clients == STARTERS


@pytest.mark.parametrize(
    ("setting", "schedule"),
    [
        ({}, "0 */5 * * * *"),
        ({"SWEEP_SCHEDULE": ""}, "0 */5 * * * *"),
        ({"SWEEP_SCHEDULE": "  "}, "0 */5 * * * *"),
        ({"SWEEP_SCHEDULE": "*/10 * * * * *"}, "%SWEEP_SCHEDULE%"),
    ],
)
def test_the_sweep_s_schedule_is_a_setting_with_a_default(setting: dict[str, str], schedule: str) -> None:
    """The host resolves the setting itself; where there is none, five minutes."""
    done = run(LIST_FUNCTIONS, **STORAGE, **setting)
    assert done.returncode == 0, done.stderr
    assert trigger_of(json.loads(done.stdout), "sweep")["schedule"] == schedule


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({}, "AzureWebJobsStorage"),
        ({"AzureWebJobsStorage": "nonsense"}, "AzureWebJobsStorage"),
        (STORAGE | {"MEDIA_CONTAINER": "No Container"}, "MEDIA_CONTAINER"),
        (STORAGE | {"SWEEP_SCHEDULE": "every minute"}, "SWEEP_SCHEDULE"),
        (STORAGE | {"JOB_DEADLINE_HOURS": "soon"}, "JOB_DEADLINE_HOURS"),
        (STORAGE | {"AUTH_MODE": "none"}, "AUTH_MODE"),
        (STORAGE | PROVIDER | {"AZURE_API_KEY": "two words"}, "AZURE_API_KEY"),
        (STORAGE | {"PROVIDERS": '[{"name": "wan", "api_key": "k-secret-77"}]'}, "PROVIDERS[0].api_key"),
        (STORAGE | PROVIDER | {"AZURE_SORA_ENDPOINT": "films"}, "AZURE_SORA_ENDPOINT"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(env: dict[str, str], named: str) -> None:
    """The last line says which one; no secret is in the traceback."""
    done = run("import function_app", **env)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "SettingsError" in last
    assert named in last
    assert "k-secret-77" not in done.stderr


def test_importing_the_app_loads_no_storage_library(app: dict[str, Any]) -> None:
    """They cost half a second at every cold start; the first call pays for what it needs."""
    heavy = ("azure.storage", "azure.data", "azure.identity", "requests", "emulator", "tests")
    assert [name for name in app["modules"] if name.startswith(heavy)] == []


def test_exactly_one_app_is_a_name_of_the_module(app: dict[str, Any]) -> None:
    """The worker refuses to choose between two."""
    assert app["apps"] == ["app"]


def test_the_sdk_s_request_logs_are_quiet(app: dict[str, Any]) -> None:
    """At INFO they would write every URL."""
    assert app["azure_level"] >= 30
    assert app["urllib3_level"] >= 40  # its warnings hold whole addresses, which may be signed


def test_the_registered_functions_reach_the_services() -> None:
    """From the worker's call through the wrapper to the real adapters: an id that is none needs no storage."""
    done = run(CALL_STATUS, **STORAGE)
    assert done.returncode == 0, done.stderr
    status, _, body = done.stdout.partition(" ")
    assert (status, json.loads(body)["code"]) == ("404", "job_not_found")


def test_without_a_provider_the_app_starts(app: dict[str, Any]) -> None:
    """Health and generate say what is missing; the rest serves what is stored."""
    done = run(LIST_FUNCTIONS, **STORAGE)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["functions"].keys() == app["functions"].keys()
