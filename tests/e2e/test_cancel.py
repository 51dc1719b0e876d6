"""Cancel and delete through the real app, host and storage: counted at the provider, and looked for in the storage."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests
from azure.storage.blob import ContainerClient

from emulator.functions.clock import VirtualClock
from emulator.functions.host import Host
from emulator.sora.simulator import Simulator

KEY = "a-key-of-theirs"
CONTAINER = f"cancel-{os.getpid()}"
BODIES: dict[str, dict[str, Any]] = {
    "jobs": {"kind": "videos", "prompt": "a boat", "provider": "jobs", "width": 480, "height": 480, "n_seconds": 1},
    "videos": {"kind": "videos", "prompt": "a boat", "provider": "videos", "n_seconds": 4},
    "images": {"kind": "images", "prompt": "a boat", "provider": "images"},
}


class App:
    """The app in virtual time, and the provider behind it."""

    def __init__(self, host: Host, simulator: Simulator, connection: str) -> None:
        self.host, self.simulator = host, simulator
        self._container = ContainerClient.from_connection_string(connection, CONTAINER)

    def submit(self, provider: str) -> str:
        """The URL of a new job there."""
        body = dict(BODIES[provider])
        answer = requests.post(f"{self.host.url}/api/{body.pop('kind')}/generate", json=body, timeout=30)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["status_url"]).removesuffix("/status")

    def status(self, job: str) -> dict[str, Any]:
        return dict(requests.get(f"{job}/status", timeout=30).json())

    def pass_time(self, **by: float) -> None:
        self.host.advance(timedelta(**by))

    def tasks(self) -> list[str]:
        """The phases of the provider's tasks that are not deleted."""
        return [task["phase"] for task in self.simulator.tasks() if not task["deleted"]]

    def blobs(self, job: str) -> list[str]:
        return [name for name in self._container.list_blob_names() if job.rpartition("/")[2] in name]


@pytest.fixture
def app(tmp_path: Any, connection_string: str, start_app: Any) -> Iterator[App]:
    """A provider for each dialect, at one simulator that takes two minutes for a generation."""
    clock = VirtualClock(datetime.now(timezone.utc) - timedelta(hours=1))
    with ExitStack() as stack:
        ways: dict[str, Any] = {"media": "tiny", "generation_seconds": 120, "image_seconds": 0.0}
        simulator = stack.enter_context(Simulator(tmp_path / "provider", clock=clock.now, api_key=KEY, **ways))
        place = {"base_url": f"{simulator.url}/openai/v1", "api_key_setting": "THEIR_KEY", "auth": "bearer"}
        entries = [
            {"name": "jobs", "kind": "videos", "dialect": "azure-jobs", "model": "sora", **place},
            {"name": "videos", "kind": "videos", "dialect": "openai-videos", "model": "sora-2", **place},
            {"name": "images", "kind": "images", "dialect": "openai-images", "model": "gpt-image-2", **place},
        ]
        settings = {
            "AzureWebJobsStorage": connection_string,
            "MEDIA_CONTAINER": CONTAINER,
            "PROVIDERS": json.dumps(entries),
            "THEIR_KEY": KEY,
            "SWEEP_SCHEDULE": "0 0 0 1 1 *",  # the storage is shared: a sweep would find other tests' jobs
        }
        host = stack.enter_context(start_app(tmp_path / "host", clock, **settings))
        yield App(host, simulator, connection_string)


@pytest.mark.slow
def test_a_running_video_is_cancelled_and_deleted(app: App) -> None:
    """The jobs dialect deletes a running task: it is gone at once, and then everything else of the job as well."""
    job = app.submit("jobs")
    app.pass_time(seconds=20)
    assert (app.status(job)["status"], len(app.tasks())) == ("generating", 1)
    refused = requests.delete(job, timeout=30)
    assert (refused.status_code, refused.json()["code"]) == (409, "job_running")
    for _ in range(2):
        answer = requests.post(f"{job}/cancel", timeout=30)
        assert (answer.status_code, answer.json()["status"], answer.json()["stage"]) == (202, "cancelled", "done")
    assert app.tasks() == []
    app.pass_time(minutes=10)
    assert app.status(job)["status"] == "cancelled"
    assert requests.get(f"{job}/result", timeout=30).status_code == 409
    assert requests.delete(job, timeout=30).status_code == 204
    assert requests.get(f"{job}/status", timeout=30).status_code == 404


@pytest.mark.slow
def test_a_provider_that_deletes_only_finished_tasks_is_waited_for(app: App) -> None:
    """The videos dialect at Azure and OpenAI: cancelled for its owner at once, deleted there when it has ended."""
    job = app.submit("videos")
    app.pass_time(seconds=20)
    answer = requests.post(f"{job}/cancel", timeout=30).json()
    assert (answer["status"], answer["stage"], len(app.tasks())) == ("cancelled", "withdrawing", 1)
    assert requests.delete(job, timeout=30).status_code == 409
    app.pass_time(minutes=5)
    assert (app.status(job)["stage"], app.tasks()) == ("done", [])
    assert requests.delete(job, timeout=30).status_code == 204


@pytest.mark.slow
@pytest.mark.parametrize("provider", BODIES)
def test_a_completed_job_is_deleted_with_its_files(app: App, provider: str) -> None:
    """204; nothing of it is left in the storage, and its signed URLs lead nowhere."""
    job, other = app.submit(provider), app.submit(provider)
    app.pass_time(minutes=10)
    result = requests.get(f"{job}/result", timeout=30).json()
    (item,) = result["videos" if "videos" in result else "images"]
    assert app.blobs(job)
    assert requests.post(f"{job}/cancel", timeout=30).status_code == 409
    answer = requests.delete(job, timeout=30)
    assert (answer.status_code, answer.content) == (204, b"")
    assert app.blobs(job) == []
    assert requests.get(item["file_url"], timeout=30).status_code == 404
    assert requests.delete(job, timeout=30).status_code == 404
    assert app.status(other)["status"] == "completed"
    assert app.blobs(other)
