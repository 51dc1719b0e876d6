"""More jobs than a provider with limits can take, counted by the provider itself: the real app, host and storage."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import requests

from emulator.functions.clock import VirtualClock
from emulator.functions.host import Host
from emulator.sora.simulator import Simulator

ROOT = Path(__file__).parents[2]
RUNNING, PER_MINUTE = 2, 10
JOBS = 200


@pytest.fixture
def world(tmp_path: Path, connection_string: str, start_app: Any) -> Iterator[tuple[Host, Simulator]]:
    """Host, simulator and app on one virtual clock; the provider refuses what is beyond the limits the app knows."""
    clock = VirtualClock(datetime.now(timezone.utc) - timedelta(hours=2))
    limits: dict[str, Any] = {"max_running": RUNNING, "creates_per_minute": PER_MINUTE}
    ways: dict[str, Any] = {"media_bytes": 4096, "generation_seconds": 8, "api_key": "k"}
    with Simulator(tmp_path / "sora", clock=clock.now, **ways, **limits) as simulator:
        entry = {"name": "small", "kind": "videos", "dialect": "azure-jobs", "base_url": simulator.url}
        settings = {
            "AzureWebJobsStorage": connection_string,
            "MEDIA_CONTAINER": f"gate-{os.getpid()}",
            "PROVIDERS": json.dumps([{**entry, "model": "sora", "api_key_setting": "SMALL_KEY", **limits}]),
            "SMALL_KEY": "k",
            "OWNER_WEIGHTS": '{"studio": 3}',
            "SWEEP_SCHEDULE": "0 0 0 1 1 *",  # the storage is shared: a sweep would find other tests' jobs
        }
        with start_app(tmp_path / "host", clock, **settings) as host:
            yield host, simulator


def submit(session: requests.Session, host: Host, owner: str) -> str:
    body = {"prompt": owner, "width": 480, "height": 480, "n_seconds": 1, "user_id": owner}
    answer = session.post(f"{host.url}/api/videos/generate", json=body, timeout=30)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def status(session: requests.Session, host: Host, owner: str, job_id: str) -> str:
    url = f"{host.url}/api/videos/{job_id}/status"
    return str(session.get(url, params={"user_id": owner}, timeout=30).json()["status"])


def most_at_once(spans: list[tuple[float, float]]) -> int:
    """The most spans that overlap; one that begins as another ends does not."""
    steps = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    return max(accumulate(step for _, step in steps))


@pytest.mark.slow
def test_many_jobs_of_ten_owners_keep_to_the_limits(world):
    """Never more than allowed, as the provider counts; a light owner's last job starts within one round of owners."""
    host, simulator = world
    with requests.Session() as session:
        jobs = [(owner, submit(session, host, owner)) for owner in (f"owner-{n % 9}" for n in range(JOBS - 1))]
        host.advance(timedelta(minutes=1))
        before = len(simulator.tasks())
        jobs.append(("light", submit(session, host, "light")))
        host.advance(timedelta(minutes=JOBS / PER_MINUTE + 5))
        ended = {status(session, host, owner, job_id) for owner, job_id in jobs}
    assert ended == {"completed"}
    tasks = simulator.tasks()[::-1]  # oldest first
    assert simulator.stats()["creates_by_status"] == {"201": JOBS}  # none was refused, none came twice
    assert most_at_once([(task["created"], task["ends"]) for task in tasks]) == RUNNING
    assert most_at_once([(task["created"], task["created"] + 60) for task in tasks]) <= PER_MINUTE
    assert [task["prompt"] for task in tasks[before:]].index("light") <= 9


@pytest.mark.slow
def test_a_weight_is_so_many_creates_to_one(world):
    """Of any four creates while both wait three are the heavy owner's, give or take one for the second place."""
    host, simulator = world
    with requests.Session() as session:
        for owner in ("studio",) * 18 + ("ada",) * 18:
            submit(session, host, owner)
        host.advance(timedelta(minutes=10))
    order = [task["prompt"] for task in simulator.tasks()[::-1]]
    assert len(order) == 36
    both_wait = order[RUNNING : len(order) - order[::-1].index("studio")]
    shares = [both_wait[start : start + 4].count("studio") for start in range(len(both_wait) - 3)]
    assert set(shares) <= {2, 3, 4}
    assert 3 * both_wait.count("ada") <= both_wait.count("studio") + 3
