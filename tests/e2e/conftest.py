"""The whole service as a stranger runs it: `dev.py up` as a process, real Azurite, real HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from emulator.functions.clock import VirtualClock
from emulator.functions.host import Host
from reelkeeper.services import build_services

ROOT = Path(__file__).parents[2]
EVERY_FIVE_SECONDS = "*/5 * * * * *"


class Service:
    """One `dev.py up` on its own data folder. `up` is what it wrote to up.json."""

    def __init__(self, data: Path, *arguments: str, **environment: str) -> None:
        self.data, self._arguments = data, arguments
        self._environment = {"SWEEP_SCHEDULE": EVERY_FIVE_SECONDS, **environment}
        self.start()

    def start(self) -> None:
        """Start (again) on the same data; returns when the app serves."""
        self.data.mkdir(parents=True, exist_ok=True)
        own = ("AZURE_", "SORA_", "MEDIA_", "AzureWebJobs", "PROVIDERS", "OPENAI_", "IMAGE_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        with (self.data / "dev.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "dev.py"), "up", "--port", "0", "--data", str(self.data), *self._arguments],
                cwd=ROOT,
                env={**inherited, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line.startswith("ready http://127.0.0.1:"), (self.data / "dev.log").read_text()[-4000:]
        self.up: dict[str, Any] = json.loads((self.data / "up.json").read_text())

    def kill(self) -> None:
        """kill -9 of the whole process group, app and simulator included, as a crash of the machine's user session."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._end()

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()
        self._end()

    def _end(self) -> None:
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        url = path if path.startswith("http") else f"{self.up['app']}{path}"
        return requests.request(method, url, timeout=30, allow_redirects=False, **options)

    def submit(self, **body: Any) -> dict[str, Any]:
        small = {"prompt": "a boat", "width": 480, "height": 480, "n_seconds": 1}
        answer = self.call("POST", "/api/videos/generate", json=small | body)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def status(self, job_id: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/api/videos/{job_id}/status").json())

    def wait_for(self, job_id: str, *statuses: str, seconds: float = 60) -> dict[str, Any]:
        """The status body once the job is in one of `statuses`."""
        return dict(self.until(lambda: self.status(job_id), lambda body: body["status"] in statuses, seconds))

    def until(self, look: Callable[[], Any], good: Callable[[Any], bool], seconds: float = 60) -> Any:
        """What `look` returns as soon as it is `good`; fails with the last look after `seconds`."""
        deadline = time.monotonic() + seconds
        while not good(found := look()):
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {found}"
            time.sleep(0.2)
        return found

    def control(self, path: str, body: Any = None) -> Any:
        """Ask or steer the simulator."""
        method = "GET" if body is None else "POST"
        answer = self.call(method, f"{self.up['simulator']}/_control/{path}", json=body)
        assert answer.ok, answer.text
        return answer.json()


@contextmanager
def app_in_virtual_time(folder: Path, clock: VirtualClock, **settings: str) -> Iterator[Host]:
    """The real app on the embedded host in this process, with these settings, on a clock that only a test moves."""
    before = dict(os.environ)
    os.environ |= settings
    try:
        with Host(ROOT, data=folder, clock=clock) as host:
            app = sys.modules["function_app"]
            made = build_services(app.settings, clock.now)
            app.services = lambda: made
            yield host
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def start_app() -> Callable[..., AbstractContextManager[Host]]:
    """`app_in_virtual_time`, for fixtures of any scope."""
    return app_in_virtual_time


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with its simulator, which takes two seconds for a generation."""
    running = Service(tmp_path_factory.mktemp("service"))
    running.control("limits", {"generation_seconds": 2})
    yield running
    running.stop()


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start a service of the test's own: arguments of `dev.py up`, then environment by keyword."""
    started: list[Service] = []

    def start(*arguments: str, **environment: str) -> Service:
        started.append(Service(tmp_path / f"data-{len(started)}", *arguments, **environment))
        return started[-1]

    yield start
    for one in started:
        one.stop()
