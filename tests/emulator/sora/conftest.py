"""A simulator on a virtual clock, and a client that speaks to it as the app would: through HTTP only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests

from emulator.sora.simulator import Simulator

JOBS = "/openai/v1/video/generations/jobs"
START = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
GENERATION_SECONDS = 100.0


@dataclass
class ManualClock:
    """A clock that moves when told."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Provider:
    """One simulator and a session with it."""

    simulator: Simulator
    clock: ManualClock
    session: requests.Session = field(default_factory=requests.Session)

    def call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Call any path; 5 s at most, redirects as answers."""
        return self.session.request(
            method, self.simulator.url + path, **{"timeout": 5, "allow_redirects": False, **kwargs}
        )

    def control(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Call the control endpoint."""
        return self.call(method, f"/_control{path}", **kwargs)

    def create(self, prompt: str = "a fox in the snow", **fields: Any) -> requests.Response:
        """Ask for a small video."""
        body = {"model": "sora", "prompt": prompt, "width": 480, "height": 480, "n_seconds": 1, **fields}
        return self.call("POST", JOBS, json={name: value for name, value in body.items() if value is not None})

    def get(self, task_id: str) -> requests.Response:
        """Poll a task."""
        return self.call("GET", f"{JOBS}/{task_id}")

    def job(self, task_id: str) -> dict[str, Any]:
        """Poll a task that must be there."""
        answer = self.get(task_id)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def finish(self, prompt: str = "a fox in the snow", **fields: Any) -> dict[str, Any]:
        """Create a task and let its time pass."""
        created = self.create(prompt, **fields)
        assert created.status_code == 201, created.text
        self.clock.advance(GENERATION_SECONDS)
        return self.job(created.json()["id"])

    def generation(self, **fields: Any) -> str:
        """Id of a finished generation."""
        return str(self.finish(**fields)["generations"][0]["id"])

    def video(self, generation_id: str, method: str = "GET", what: str = "video", **kwargs: Any) -> requests.Response:
        """Fetch content."""
        return self.call(method, f"/openai/v1/video/generations/{generation_id}/content/{what}", **kwargs)


@pytest.fixture
def serve(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., Provider]]:
    """Start providers (tiny media, virtual clock, folder `data` unless told otherwise); none may log an error."""
    running: list[Provider] = []

    def start(**options: Any) -> Provider:
        clock = options.pop("clock", None) or ManualClock()
        settings = {"generation_seconds": GENERATION_SECONDS, "media": "tiny", **options}
        provider = Provider(Simulator(tmp_path / "data", clock=clock, **settings).start(), clock)
        running.append(provider)
        return provider

    yield start
    for provider in running:
        provider.simulator.stop()
        provider.session.close()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.fixture
def provider(serve: Callable[..., Provider]) -> Provider:
    """A healthy provider."""
    return serve()
