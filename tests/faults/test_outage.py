"""A provider whose files cannot be had for most of the time that it keeps them; the hours pass in virtual time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
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

OUTAGE = timedelta(hours=20, minutes=20)
"""It ends right after a try; the next regular one would be four hours later, and too late."""

BEGIN = timedelta(hours=25)
"""How long ago the clock starts: so that it is never ahead of the storage's, which does not know of it."""


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
def serving(data: Path, clock: VirtualClock, jobs_per_sweep: int = 200) -> Iterator[Host]:
    """The real app, as far as it can be on this clock."""
    with Host(ROOT, data=data, clock=clock) as host:
        app = sys.modules["function_app"]
        made = build_services(app.settings, clock.now)
        vars(app)["services"] = lambda: made
        sweeping = vars(sys.modules["triggers.sweep"])
        usual, sweeping["MOST_PER_SWEEP"] = sweeping["MOST_PER_SWEEP"], jobs_per_sweep
        try:
            yield host
        finally:  # the module may be shared with the unit tests of this process
            sweeping["MOST_PER_SWEEP"] = usual


def ask(host: Host, job_id: str, what: str) -> dict[str, Any]:
    return dict(requests.get(f"{host.url}/api/videos/{job_id}/{what}", timeout=10).json())


def moment(body: dict[str, Any], name: str) -> datetime:
    found = from_iso(body[name])
    assert found is not None
    return found


def submit_all(host: Host, simulator: Simulator, windows: Sequence[timedelta]) -> list[str]:
    """One job for each time that the provider will keep its files."""
    jobs = []
    for window in windows:
        simulator.set_limits(expiry_seconds=window.total_seconds())
        body = {"prompt": f"kept for {window}", "width": 480, "height": 480, "n_seconds": 1}
        jobs.append(requests.post(f"{host.url}/api/videos/generate", json=body, timeout=10).json()["job_id"])
        host.engine.settle()  # its task exists now, made under this limit
    return jobs


def end_outage(simulator: Simulator) -> dict[str, str]:
    """Output id -> digest of the file that the provider has now, and hands out again."""
    simulator.clear_faults()
    base = f"{simulator.url}/openai/v1/video/generations"
    return {one: sha256(f"{base}/{one}/content/video") for task in simulator.tasks() for one in task["outputs"]}


def check_kept(host: Host, clock: VirtualClock, files: dict[str, str], in_order: Sequence[str]) -> None:
    """All were kept in time, one after the other, with the right bytes."""
    done = [ask(host, job_id, "status") for job_id in in_order]
    assert [body["status"] for body in done] == ["completed"] * len(in_order)
    finished = [moment(body, "finished_at") for body in done]
    assert all(end < moment(body, "expires_at") for end, body in zip(finished, done, strict=True))
    assert sorted(set(finished)) == finished
    clock.move_to(datetime.now(timezone.utc))  # what is signed then, is good for the storage
    for job_id in in_order:
        (video,) = ask(host, job_id, "result")["videos"]
        assert sha256(video["file_url"]) == files[video["output_id"]]


@pytest.mark.slow
@pytest.mark.usefixtures("settings")
def test_all_is_kept_when_files_cannot_be_had_for_20_of_24_hours(
    tmp_path: Path, clock: VirtualClock, simulator: Simulator
) -> None:
    """Every job is fetched in the hours that are left before the provider deletes its file, soonest expiry first."""
    simulator.fault("content", "server_error", times=None, status=503)
    with serving(tmp_path, clock) as host:
        jobs = submit_all(host, simulator, [timedelta(hours=hours) for hours in (24, 23, 22)])
        host.advance(OUTAGE)
        assert {ask(host, job_id, "status")["status"] for job_id in jobs} == {"download_failed"}
        files = end_outage(simulator)
        host.advance(timedelta(hours=24) - OUTAGE)
        check_kept(host, clock, files, jobs[::-1])
        assert simulator.stats()["creates"] == len(jobs)


@pytest.mark.slow
@pytest.mark.usefixtures("settings")
def test_when_many_are_overdue_the_soonest_expiry_goes_first(
    tmp_path: Path, clock: VirtualClock, simulator: Simulator
) -> None:
    """After an hour in which nobody swept, and with one job per sweep, the order is that of the deadlines."""
    simulator.fault("content", "server_error", times=None, status=503)
    with serving(tmp_path, clock) as host:
        jobs = submit_all(host, simulator, [timedelta(minutes=minutes) for minutes in (240, 220, 200, 180, 160)])
        host.advance(timedelta(minutes=50))
    clock.move_to(clock.now() + timedelta(hours=1))
    files = end_outage(simulator)
    with serving(tmp_path, clock, jobs_per_sweep=1) as host:
        host.advance(timedelta(minutes=40))
        check_kept(host, clock, files, jobs[::-1])
