"""A provider whose files cannot be had for most of the time that it keeps them; the hours pass in virtual time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
from rig import KEY, ROOT, sha256

from emulator.functions.clock import VirtualClock
from emulator.functions.host import Host
from emulator.sora.simulator import Simulator
from reelkeeper.model import from_iso
from reelkeeper.services import build_services

WINDOWS = [timedelta(hours=24) - number * timedelta(minutes=20) for number in range(4)]
"""How long the provider keeps each job's files: the job that came last has the least time."""

BEGIN = timedelta(hours=21)
"""How long ago the clock starts, so that signed URLs are good when they are used."""


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(datetime.now(timezone.utc) - BEGIN)


@pytest.fixture
def simulator(tmp_path: Path, clock: VirtualClock) -> Iterator[Simulator]:
    with Simulator(tmp_path / "sora", clock=clock.now, media="tiny", api_key=KEY, generation_seconds=60) as running:
        yield running


@pytest.fixture
def settings(faults_storage: str, simulator: Simulator) -> Iterator[None]:
    """The app's environment."""
    before = dict(os.environ)
    os.environ |= {
        "AzureWebJobsStorage": faults_storage,
        "MEDIA_CONTAINER": f"outage-{os.getpid()}",
        "AZURE_SORA_ENDPOINT": simulator.url,
        "AZURE_API_KEY": KEY,
    }
    yield
    os.environ.clear()
    os.environ.update(before)


@contextmanager
def serving(data: Path, clock: VirtualClock, jobs_per_sweep: int) -> Iterator[Host]:
    """The real app, as far as it can be on this clock."""
    with Host(ROOT, data=data, clock=clock) as host:
        app = sys.modules["function_app"]
        made = build_services(app.settings, clock.now)
        vars(app)["services"] = lambda: made
        vars(sys.modules["triggers.sweep"])["MOST_PER_SWEEP"] = jobs_per_sweep
        yield host


def submit(host: Host, prompt: str) -> str:
    body = {"prompt": prompt, "width": 480, "height": 480, "n_seconds": 1}
    return str(requests.post(f"{host.url}/api/videos/generate", json=body, timeout=10).json()["job_id"])


def ask(host: Host, job_id: str, what: str) -> dict[str, Any]:
    return dict(requests.get(f"{host.url}/api/videos/{job_id}/{what}", timeout=10).json())


def moment(body: dict[str, Any], name: str) -> datetime:
    found = from_iso(body[name])
    assert found is not None
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("settings")
def test_all_is_kept_when_files_cannot_be_had_for_20_of_24_hours(
    tmp_path: Path, clock: VirtualClock, simulator: Simulator
) -> None:
    """Before the provider deletes anything, soonest expiry first, though we too are away for an hour, and slow then."""
    simulator.fault("content", "server_error", times=None, status=503)
    with serving(tmp_path, clock, jobs_per_sweep=200) as host:
        jobs = []
        for window in WINDOWS:
            simulator.set_limits(expiry_seconds=window.total_seconds())
            jobs.append(submit(host, f"kept for {window}"))
            host.engine.settle()  # its task exists now, made under this limit
        host.advance(timedelta(hours=19))
        assert {ask(host, job_id, "status")["status"] for job_id in jobs} == {"download_failed"}
    clock.move_to(clock.now() + timedelta(hours=1))
    simulator.clear_faults()
    with serving(tmp_path, clock, jobs_per_sweep=1) as host:
        host.advance(timedelta(hours=1))
        done = {job_id: ask(host, job_id, "status") for job_id in jobs}
        assert [body["status"] for body in done.values()] == ["completed"] * len(jobs)
        assert all(moment(body, "finished_at") < moment(body, "expires_at") for body in done.values())
        assert sorted(jobs, key=lambda job_id: moment(done[job_id], "finished_at")) == jobs[::-1]
        for job_id in jobs:
            (video,) = ask(host, job_id, "result")["videos"]
            source = f"{simulator.url}/openai/v1/video/generations/{video['output_id']}/content/video"
            assert sha256(video["file_url"]) == sha256(source)
    assert simulator.stats()["creates"] == len(jobs)
