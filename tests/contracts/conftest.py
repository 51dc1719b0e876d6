"""The two sides of every storage contract: the fake in memory and the real adapter on Azurite.

A test that asks for `jobs`, `watchdog`, `idempotency` or `clips` runs on both. Each test has tables and a container of
its own, so none has to clean up. `stored_*` is the real side alone, for what only a service can show.
"""

from __future__ import annotations

import secrets
import string
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import pytest

from emulator.azurite import Azurite
from reelkeeper import names
from reelkeeper.clips.base import Clips
from reelkeeper.clips.blobs import BlobClips
from reelkeeper.clips.memory import MemoryClips
from reelkeeper.model import Job, JobRequest
from reelkeeper.records.base import IdempotencyKeys, Jobs, Outcomes, TaskClaims, Watchdog
from reelkeeper.records.memory import (
    MemoryIdempotencyKeys,
    MemoryJobs,
    MemoryOutcomes,
    MemoryTaskClaims,
    MemoryWatchdog,
)
from reelkeeper.records.tables import Tables
from reelkeeper.storage import StorageConnection

START = datetime(2026, 11, 20, 9, 30, 0, 125000, timezone.utc)
Result = TypeVar("Result")


@pytest.fixture(scope="session")
def connection(azurite: Azurite) -> StorageConnection:
    return StorageConnection(azurite.connection_string)


@pytest.fixture
def tables(connection: StorageConnection) -> Iterator[Tables]:
    tables = Tables(connection, prefix="".join(secrets.choice(string.ascii_lowercase) for _ in range(12)))
    yield tables
    tables.close()


@pytest.fixture
def stored_clips(connection: StorageConnection) -> Iterator[BlobClips]:
    clips = BlobClips(connection, container=f"media-{secrets.token_hex(6)}")
    yield clips
    clips.close()


@pytest.fixture(params=["memory", "azurite"])
def jobs(request: pytest.FixtureRequest) -> Jobs:
    return MemoryJobs() if request.param == "memory" else request.getfixturevalue("tables").jobs


@pytest.fixture(params=["memory", "azurite"])
def watchdog(request: pytest.FixtureRequest) -> Watchdog:
    return MemoryWatchdog() if request.param == "memory" else request.getfixturevalue("tables").watchdog


@pytest.fixture(params=["memory", "azurite"])
def idempotency(request: pytest.FixtureRequest) -> IdempotencyKeys:
    return MemoryIdempotencyKeys() if request.param == "memory" else request.getfixturevalue("tables").idempotency


@pytest.fixture(params=["memory", "azurite"])
def claims(request: pytest.FixtureRequest) -> TaskClaims:
    return MemoryTaskClaims() if request.param == "memory" else request.getfixturevalue("tables").claims


@pytest.fixture(params=["memory", "azurite"])
def outcomes(request: pytest.FixtureRequest) -> Outcomes:
    return MemoryOutcomes() if request.param == "memory" else request.getfixturevalue("tables").outcomes


@pytest.fixture(params=["memory", "azurite"])
def clips(request: pytest.FixtureRequest) -> Clips:
    return MemoryClips() if request.param == "memory" else request.getfixturevalue("stored_clips")


@pytest.fixture(scope="session")
def make_job() -> Callable[..., Job]:
    """A job made `minutes` after START; other keywords replace its fields, `prompt` the one of its request."""

    def make(minutes: float = 0, *, prompt: str = "a lighthouse at dusk", **changes: Any) -> Job:
        now = START + timedelta(minutes=minutes)
        request = JobRequest(prompt, width=1280, height=720, n_seconds=5, n_variants=1, model="sora")
        job = Job(names.new_job_id(now), "ada", "videos", request, "azure-sora", created_at=now, updated_at=now)
        return replace(job, **changes)

    return make


@pytest.fixture(scope="session")
def race() -> Callable[..., list[Any]]:
    """Run `step(number)` in eight threads that start together; returns what each returned or raised."""

    def run(step: Callable[[int], Result], threads: int = 8) -> list[Result | Exception]:
        together = threading.Barrier(threads)
        results: dict[int, Result | Exception] = {}

        def runner(number: int) -> None:
            together.wait(timeout=10)
            try:
                results[number] = step(number)
            except Exception as error:
                results[number] = error

        workers = [threading.Thread(target=runner, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(timeout=30)
        return [results[number] for number in range(threads)]

    return run


@pytest.fixture(scope="session")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> StorageConnection:
    """An account at an address where nothing listens."""
    address = "http://127.0.0.1:9/devstoreaccount1"
    return StorageConnection(
        f"AccountName=devstoreaccount1;AccountKey=bm90IGEga2V5;BlobEndpoint={address};TableEndpoint={address}"
    )
