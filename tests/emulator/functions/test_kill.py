"""kill -9 of the whole host at random moments: after every restart all work goes on, and no output is wrong."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests

APP = Path(__file__).parent / "apps" / "durable_load"
ROOT = Path(__file__).parents[3]
KILLS = 12
CHAIN = 100  # takes longer than all the time between the kills: there is always something to interrupt
WORK: dict[str, tuple[str, int, Any]] = {  # instance id -> orchestrator, its n, the one right output
    "chain-1": ("chain", CHAIN, CHAIN),
    "chain-2": ("chain", CHAIN, CHAIN),
    "fan-1": ("fan", 200, sum(range(1, 201))),
    "fan-2": ("fan", 200, sum(range(1, 201))),
    "parent": ("parent", 20, 60),
    "sleeper": ("sleeper", 6, "woke"),
    "eternal": ("eternal", 30, 30),
    "saver": ("saver", 60, 60),
    "waiter": ("waiter", 0, "came late"),
}
ACTIVITIES = 2 * CHAIN + 2 * 200 + 3 * 20 + 30


class HostProcess:
    """The embedded host as a process of its own, on one data folder."""

    def __init__(self, data: Path) -> None:
        """Start nothing yet."""
        self._data = data
        self.log = data / "activities.log"
        self._process: subprocess.Popen[str] | None = None
        self._instances = ""

    def start(self) -> None:
        """Start and wait until it serves."""
        command = [sys.executable, "-W", "ignore", "-m", "emulator.functions", "--root", str(APP)]
        command += ["--port", "0", "--rpc-port", "0", "--data", str(self._data)]
        environment = {**os.environ, "ACTIVITY_LOG": str(self.log), "PYTHONPATH": str(ROOT)}
        with (self._data / "host.log").open("a") as stderr:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        assert self._process.stdout is not None
        ready = self._process.stdout.readline().split()
        assert ready[:1] == ["ready"], (self._data / "host.log").read_text()
        self._instances = f"{ready[1]}/runtime/webhooks/durabletask"

    def kill(self) -> None:
        """End the process without any warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            if self._process.stdout is not None:
                self._process.stdout.close()

    def post(self, path: str, body: Any) -> None:
        """Call the durable HTTP API."""
        requests.post(f"{self._instances}/{path}", json=body, timeout=10).raise_for_status()

    def outputs(self) -> dict[str, Any]:
        """The outputs of all instances that have ended."""
        found = requests.get(f"{self._instances}/instances", timeout=10).json()
        return {one["instanceId"]: one["output"] for one in found if one["runtimeStatus"] not in ("Running", "Pending")}


@pytest.mark.slow
def test_no_output_is_wrong_after_a_dozen_kills_at_random_moments(tmp_path: Path) -> None:
    """Chains, fan-outs, children, timers, continue-as-new, entity and event waits survive every kill, exactly."""
    dice = random.Random(4)
    host = HostProcess(tmp_path)
    try:
        host.start()
        for instance_id, (name, n, _) in WORK.items():
            host.post(f"orchestrators/{name}/{instance_id}", {"n": n})
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.02, 0.4))  # the random moment
            host.kill()
            host.start()
        executed = len(host.log.read_text().splitlines())
        host.post("instances/waiter/raiseEvent/go", "came late")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and set(WORK) - set(outputs := host.outputs()):
            time.sleep(0.1)
    finally:
        host.kill()
    assert executed < ACTIVITIES, "the kills came too late to interrupt anything"
    assert {one: outputs.get(one) for one in WORK} == {one: right for one, (_, _, right) in WORK.items()}
    runs = Counter(host.log.read_text().splitlines())
    assert len(runs) == ACTIVITIES  # each at least once ...
    assert runs.total() - ACTIVITIES <= KILLS * 10  # ... and twice only if a kill caught it: ten run at a time
    with sqlite3.connect(tmp_path / "durable.sqlite") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM inbox").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM activities").fetchone() == (0,)
    database.close()
    print(f"{KILLS} kills, {runs.total() - ACTIVITIES} repeated executions of {ACTIVITIES}")
