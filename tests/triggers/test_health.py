"""GET health: reachable or not, configured or not, and nothing that an anonymous caller should not know."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError
from world import World

from reelkeeper.clips.memory import MemoryClips
from reelkeeper.records.memory import MemoryJobs

SECRET = "AccountKey=c2VjcmV0"


def away() -> Any:
    raise ServiceRequestError(f"https://account.table.core.windows.net refused {SECRET}")


class AwayJobs(MemoryJobs):
    def ping(self) -> None:
        away()


class AwayClips(MemoryClips):
    def ping(self) -> None:
        away()


def test_everything_reachable_is_ok(world: World) -> None:
    """200 with one line for each check; not to be cached."""
    answer = world.health()
    assert (answer.status, answer.json["status"]) == (200, "ok")
    assert [(check["name"], check["ok"]) for check in answer.json["checks"]] == [
        ("records", True), ("clips", True), ("provider", True),
    ]  # fmt: skip
    assert answer.headers["Cache-Control"] == "no-store"


def test_without_a_provider_the_app_is_degraded(world: World) -> None:
    """200: what is stored can be served; the check names the settings to make."""
    world.services.providers.clear()
    answer = world.health()
    assert (answer.status, answer.json["status"]) == (200, "degraded")
    assert "AZURE_SORA_ENDPOINT" in answer.json["checks"][-1]["detail"]


@pytest.mark.parametrize(("adapter", "name"), [({"jobs": AwayJobs()}, "records"), ({"clips": AwayClips()}, "clips")])
def test_a_storage_that_is_away_is_unavailable(
    world: World, adapter: dict[str, Any], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """503 names the settings to look at; neither address nor key is told to anybody, nor written into the log."""
    caplog.set_level(logging.DEBUG)
    world.use(**adapter)
    answer = world.health()
    assert (answer.status, answer.json["status"]) == (503, "unavailable")
    (check,) = [check for check in answer.json["checks"] if not check["ok"]]
    assert check["name"] == name
    assert "MEDIA_STORAGE or AzureWebJobsStorage" in check["detail"]
    for text in (answer.raw.decode(), caplog.text):
        assert SECRET not in text
        assert "core.windows.net" not in text


def test_all_checks_are_made_though_the_first_one_fails(world: World) -> None:
    """Whoever looks sees everything that is wrong at once."""
    world.use(jobs=AwayJobs(), clips=AwayClips(), providers={})
    assert [check["ok"] for check in world.health().json["checks"]] == [False, False, False]


def test_health_tells_how_the_jobs_stand(world: World) -> None:
    """Unfinished jobs, the most urgent due time and expiry, and the ends of today and yesterday."""
    job = world.record()
    jobs = world.health().json["jobs"]
    assert (jobs["unfinished"], jobs["nearest_expiry"]) == (1, None)
    assert jobs["oldest_due"] > job.created_at.isoformat()[:16]
    assert jobs["ended_since_yesterday"] == {"cancelled": 0, "completed": 0, "expired": 0, "failed": 0}
