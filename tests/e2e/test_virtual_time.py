"""The real app, host, storage and provider in one process, with hours passing in seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests

from emulator.functions.clock import VirtualClock
from emulator.functions.host import Host
from emulator.sora.simulator import Simulator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def world(tmp_path: Path, connection_string: str, start_app: Any) -> Iterator[tuple[Host, Simulator]]:
    """Host, simulator and app on one virtual clock. It starts half an hour ago: Azurite has its own idea of now."""
    clock = VirtualClock(datetime.now(timezone.utc) - timedelta(minutes=31))
    with Simulator(tmp_path / "sora", clock=clock.now, media="tiny", api_key="k", generation_seconds=60) as simulator:
        settings = {
            "AzureWebJobsStorage": connection_string,
            "MEDIA_CONTAINER": f"virtual-{os.getpid()}",
            "AZURE_SORA_ENDPOINT": simulator.url,
            "AZURE_API_KEY": "k",
        }
        with start_app(tmp_path / "host", clock, **settings) as host:
            yield host, simulator


def submit(host: Host, **body: Any) -> str:
    small = {"prompt": "a boat", "width": 480, "height": 480, "n_seconds": 1}
    answer = requests.post(f"{host.url}/api/videos/generate", json=small | body, timeout=10)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def status(host: Host, job_id: str) -> dict[str, Any]:
    return dict(requests.get(f"{host.url}/api/videos/{job_id}/status", timeout=10).json())


def test_content_that_is_missing_for_minutes_is_kept_without_any_call(world):
    """The content answers 404 beyond the job's patience; when it is there the sweep alone completes the job."""
    host, simulator = world
    simulator.fault("content", "not_found", times=None)
    job_id = submit(host)
    host.advance(timedelta(minutes=5))
    held = status(host, job_id)
    assert (held["status"], held["error"]["code"]) == ("download_failed", "content_not_ready")
    result = requests.get(f"{host.url}/api/videos/{job_id}/result", timeout=10)
    body = result.json()
    assert (result.status_code, body["videos"][0]["placeholder"], bool(body["warning"])) == (200, True, True)
    assert (body["task_id"], body["output_ids"]) == (held["task_id"], held["output_ids"])
    content = requests.get(f"{host.url}/api/videos/{job_id}/content", timeout=10, allow_redirects=False)
    assert (content.status_code, content.headers["X-Job-Status"]) == (302, "download_failed")
    simulator.clear_faults()
    host.advance(timedelta(minutes=11))
    assert status(host, job_id)["status"] == "completed"
    assert simulator.stats()["creates"] == 1


def test_a_job_whose_start_failed_is_started_by_the_sweep(world):
    """The record is there although no orchestration ever began; within minutes the sweep starts it."""
    host, simulator = world
    job_id = submit(host)
    host.engine.terminate(job_id, "as if it had never been started")
    host.advance(timedelta(minutes=12))
    assert status(host, job_id)["status"] == "completed"
    assert simulator.stats()["creates"] == 1


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("wrong_body", {"body": "json"}),
        ("wrong_body", {"body": "html"}),
        ("wrong_body", {"body": "garbage"}),
        ("wrong_body", {"body": "empty"}),
        ("truncate", {}),
        ("drop_before", {}),
        ("server_error", {"status": 503}),
        ("unauthorized", {}),
        ("rate_limited", {"retry_after": 30}),
    ],
)
def test_whatever_the_download_is_spoiled_by_the_right_file_ends_up_kept(world, kind, more):
    """A wrong, cut or refused download is never stored as a video; the next try keeps the real one."""
    host, simulator = world
    simulator.fault("content", kind, times=2, **more)
    job_id = submit(host)
    host.advance(timedelta(minutes=30))
    body = status(host, job_id)
    assert body["status"] == "completed"
    (video,) = requests.get(f"{host.url}/api/videos/{job_id}/result", timeout=10).json()["videos"]
    output_id = body["output_ids"][0]
    source = requests.get(
        f"{simulator.url}/openai/v1/video/generations/{output_id}/content/video",
        headers={"api-key": "k"},
        timeout=10,
    )
    assert video["file_size"] == len(source.content)
    assert requests.get(video["file_url"], timeout=10).content == source.content
    assert simulator.stats()["creates"] == 1
