"""The whole app on fakes, in virtual time: real orchestrators, activities and sweep, the real durable engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure.durable_functions as df
import pytest

from activities.admit import admit_job
from activities.create import create_task
from activities.download import download_part
from activities.poll import poll_task
from activities.settle import settle_job
from activities.store import store_part
from emulator.functions.clock import VirtualClock
from emulator.functions.engine import Engine
from entities.gate import keep_gate
from orchestrators.keep import keep
from orchestrators.render import render
from orchestrators.watch import watch
from reelkeeper import names, policy
from reelkeeper.admission import only_admitted
from reelkeeper.clips.memory import MemoryClips
from reelkeeper.model import Job, JobRequest
from reelkeeper.outbound.memory import MemoryFetcher
from reelkeeper.providers.memory import MemoryProvider
from reelkeeper.records.base import Watch
from reelkeeper.records.memory import (
    MemoryIdempotencyKeys,
    MemoryJobs,
    MemoryOutcomes,
    MemoryTaskClaims,
    MemoryWatchdog,
)
from reelkeeper.services import Services
from reelkeeper.settings import Settings
from triggers.sweep import sweep

START = datetime(2026, 11, 20, 9, 0, tzinfo=timezone.utc)
OWNER = "ada"


ORCHESTRATORS = {body.__name__: df.Orchestrator.create(body) for body in (render, watch, keep)}
ACTIVITIES = {
    "admit": admit_job,
    "create": only_admitted(create_task),
    "poll": poll_task,
    "download": download_part,
    "store": store_part,
    "settle": settle_job,
}


class Stage:
    """`generation_seconds`: how long the provider takes; `calls`: (seconds since start, activity, input) in order;
    `said`: the operations at the gate, in order."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock(START)
        self.provider = MemoryProvider(self.clock.now)
        self.services = Services(
            jobs=MemoryJobs(),
            watchdog=MemoryWatchdog(),
            idempotency=MemoryIdempotencyKeys(),
            claims=MemoryTaskClaims(),
            outcomes=MemoryOutcomes(),
            clips=MemoryClips(),
            providers={"sora": self.provider},
            fetcher=MemoryFetcher(),
            settings=Settings.from_environment({"AzureWebJobsStorage": "UseDevelopmentStorage=true"}),
            now=self.clock.now,
        )
        self.calls: list[tuple[float, str, dict[str, Any]]] = []
        self.generation_seconds: float | None = 20.0
        self.failing: dict[str, list[Exception]] = {}
        self.said: list[str] = []
        self.folder = folder
        self.engine = self._new_engine()

    # What the engine runs

    def has(self, kind: str, name: str) -> bool:
        known = {"activityTrigger": ACTIVITIES, "orchestrationTrigger": ORCHESTRATORS, "entityTrigger": ["gate"]}
        return name in known[kind]

    def orchestrator(self, name: str, context_json: str) -> str:
        return ORCHESTRATORS[name](SimpleNamespace(body=context_json))

    def entity(self, name: str, context_json: str) -> str:
        self.said += [one["name"] for one in json.loads(context_json)["batch"]]
        answer: str = df.Entity.create(lambda context: keep_gate(self.services, context))(context_json)
        return answer

    def activity(self, name: str, input_text: str | None, instance_id: str) -> str | None:
        work = json.loads(input_text or "null")
        self.calls.append((self.seconds, name, work))
        if self.failing.get(name):
            raise self.failing[name].pop(0)
        self._let_the_provider_work()
        return json.dumps(ACTIVITIES[name](self.services, work))

    # What a test does

    @property
    def seconds(self) -> float:
        return (self.clock.now() - START).total_seconds()

    def submit(self, owner: str = OWNER, **changes: Any) -> str:
        """Record a job as `generate` does and start `render`."""
        now = self.clock.now()
        request = JobRequest(
            **{"prompt": "a boat", "width": 480, "height": 480, "n_seconds": 5, "n_variants": 1, "model": "sora"}
            | changes
        )
        job = Job(names.new_job_id(now), owner, "videos", request, "sora", created_at=now, updated_at=now)
        self.services.watchdog.watch(Watch(job.job_id, owner, "videos", now + policy.START_GRACE))
        self.services.jobs.insert(job)
        self.start(job.job_id, owner)
        return job.job_id

    def start(self, job_id: str, owner: str = OWNER) -> None:
        text = json.dumps(json.dumps({"owner": owner, "job_id": job_id}))
        self.engine.start_instance("render", job_id, text)

    def job(self, job_id: str, owner: str = OWNER) -> Job:
        found = self.services.jobs.get(owner, job_id)
        assert found is not None
        return found

    def advance(self, **by: float) -> None:
        self.engine.advance(timedelta(**by))

    def sweep(self) -> dict[str, int]:
        counts = asyncio.run(sweep(self.services, self))  # type: ignore[arg-type]
        self.engine.settle()
        return counts

    def run_for(self, **by: float) -> None:
        """Let time pass with a sweep every five minutes, as the timer does."""
        end = self.clock.now() + timedelta(**by)
        while self.clock.now() < end:
            self.engine.advance(min(timedelta(minutes=5), end - self.clock.now()))
            self.sweep()

    def times(self, activity: str) -> list[float]:
        return [at for at, name, _ in self.calls if name == activity]

    def lose_the_task_hub(self) -> None:
        """All orchestrations and their history are gone; records, watchdog and clips stay."""
        self.engine.stop()
        for file in self.folder.iterdir():
            file.unlink()
        self.engine = self._new_engine()

    # The durable client, as far as the sweep uses it

    async def get_status(self, instance_id: str) -> Any:
        found = self.engine.get(instance_id)
        return found and SimpleNamespace(runtime_status=SimpleNamespace(name=found["status"]))

    async def start_new(self, name: str, instance_id: str, client_input: Any) -> str:
        return self.engine.start_instance(name, instance_id, json.dumps(json.dumps(client_input)))

    def _new_engine(self) -> Engine:
        return Engine(self.folder / "durable.sqlite", self, self.clock).start()  # type: ignore[arg-type]

    def _let_the_provider_work(self) -> None:
        if self.generation_seconds is None:
            return
        for task in list(self.provider._tasks.values()):
            age = (self.clock.now() - task.created_at).total_seconds()
            if task.state == "queued" and age >= self.generation_seconds:
                self.provider.finish(task.task_id)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """The app on fakes with the clock at 09:00, nothing submitted."""
    made = Stage(tmp_path)
    yield made
    made.engine.stop()
