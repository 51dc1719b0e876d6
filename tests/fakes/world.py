"""The app's services on fakes, with a clock that only a test moves: what activities and triggers are tested in.

`World` holds them, records jobs as `generate` does, brings a job into the state that a test starts from, and speaks
HTTP to the triggers with the real request type of the Functions worker.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

import azure.functions as func
from azure.durable_functions.models.DurableOrchestrationStatus import DurableOrchestrationStatus

from activities.create import create_task
from activities.download import download_part
from activities.poll import poll_task
from activities.settle import settle_job
from activities.store import store_part
from reelkeeper import names, policy
from reelkeeper.clips.memory import MemoryClips
from reelkeeper.model import Job, JobRequest
from reelkeeper.outbound.web import WebFetcher
from reelkeeper.providers.memory import MemoryImages, MemoryProvider
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
from triggers.answers import answering
from triggers.batches import create_batch, get_batch
from triggers.cancel import cancel_job
from triggers.delete import delete_job
from triggers.generate import generate
from triggers.health import get_health
from triggers.jobs import get_content, get_gallery, get_result, get_status
from triggers.sweep import sweep

START = datetime(2026, 11, 20, 9, 0, tzinfo=timezone.utc)
HOST = "https://films.example/api"
OWNER = "ada"

READS = {"status": get_status, "result": get_result, "content": get_content}


class Clock:
    """The app's clock, moved by hand."""

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        return self.moment

    def advance(self, **by: float) -> None:
        self.moment += timedelta(**by)


class DurableClient:
    """The durable client as far as the app uses it.

    `started`: (orchestrator, instance id, input) in order. `statuses`: runtime status by instance id; no entry means
    that there is no such instance. `before_start` is called first, `failing` raised instead.
    """

    def __init__(self) -> None:
        self.started: list[tuple[str, str, Any]] = []
        self.statuses: dict[str, str] = {}
        self.failing: dict[str, Exception] = {}
        self.before_start: Callable[[str], None] = lambda instance_id: None

    async def start_new(self, name: str, instance_id: str, client_input: Any) -> str:
        self.before_start(instance_id)
        if "start_new" in self.failing or instance_id in self.failing:
            raise self.failing.get("start_new") or self.failing[instance_id]
        self.started.append((name, instance_id, json.loads(json.dumps(client_input))))
        self.statuses[instance_id] = "Pending"
        return instance_id

    async def get_status(self, instance_id: str) -> DurableOrchestrationStatus:
        if "get_status" in self.failing:
            raise self.failing["get_status"]
        if instance_id not in self.statuses:
            return DurableOrchestrationStatus.from_json({})
        return DurableOrchestrationStatus.from_json(
            {
                "name": "render",
                "instanceId": instance_id,
                "createdTime": "2026-11-20T09:00:00Z",
                "lastUpdatedTime": "2026-11-20T09:00:00Z",
                "runtimeStatus": self.statuses[instance_id],
            }
        )


class World:
    """One app. `env` are settings on top of the storage's."""

    def __init__(self, **env: str) -> None:
        self.clock = Clock()
        self.provider = MemoryProvider(self.clock.now)
        self.client = DurableClient()
        self.jobs, self.watchdog, self.clips = MemoryJobs(), MemoryWatchdog(), MemoryClips()
        self.idempotency = MemoryIdempotencyKeys()
        settings = Settings.from_environment({"AzureWebJobsStorage": "UseDevelopmentStorage=true", **env})
        self.services = Services(
            jobs=self.jobs,
            watchdog=self.watchdog,
            idempotency=self.idempotency,
            claims=MemoryTaskClaims(),
            outcomes=MemoryOutcomes(),
            clips=self.clips,
            providers={"sora": self.provider},
            fetcher=WebFetcher(settings.allow_private),
            settings=settings,
            now=self.clock.now,
        )
        self.provider.grace = self.services.settings.submit_grace

    def use(self, **adapters: Any) -> None:
        """Put other adapters into the services."""
        self.services = replace(self.services, **adapters)

    # Records

    def with_images(self) -> MemoryImages:
        """Configure a provider of images, `image`, as well."""
        images = MemoryImages(self.clock.now)
        images.grace = 5 * self.services.settings.submit_grace
        self.services.providers["image"] = images
        return images

    def record_image(self, owner: str = OWNER, **changes: Any) -> Job:
        """The same as `record` for images, at the provider `image`."""
        now = self.clock.now()
        fields: dict[str, Any] = {"prompt": "a boat", "width": 1024, "height": 1024, "n_seconds": 0, "n_variants": 1}
        request = JobRequest(**fields | {"model": "gpt-image-2"} | changes)
        job = Job(names.new_job_id(now), owner, "images", request, "image", created_at=now, updated_at=now)
        self.watchdog.watch(Watch(job.job_id, owner, "images", now + policy.START_GRACE))
        return self.jobs.insert(job)

    def record(self, owner: str = OWNER, **changes: Any) -> Job:
        """A new job with its watchdog row, as `generate` leaves it; `changes` replace fields of the request."""
        now = self.clock.now()
        fields: dict[str, Any] = {
            "prompt": "a boat",
            "width": 480,
            "height": 480,
            "n_seconds": 5,
            "n_variants": 1,
            "model": "sora",
        }
        request = JobRequest(**fields | changes)
        job = Job(names.new_job_id(now), owner, "videos", request, "sora", created_at=now, updated_at=now)
        self.watchdog.watch(Watch(job.job_id, owner, "videos", now + policy.START_GRACE))
        return self.jobs.insert(job)

    def now_as(self, job: Job) -> Job:
        """The job as it is recorded now."""
        found = self.jobs.get(job.owner, job.job_id)
        assert found is not None
        return found

    def force(self, job: Job, **changes: Any) -> Job:
        """Write `changes` into the record, whatever the rules of a job's life."""
        return self.jobs.save(replace(self.now_as(job), **changes))

    def watched(self) -> dict[str, Watch]:
        """Every row of the watchdog, by job id."""
        return {watch.job_id: watch for watch in self.watchdog.due(START + timedelta(days=3650), 10_000)}

    # States, reached by the app's own steps

    def generating(self, **changes: Any) -> Job:
        job = self.record(**changes)
        assert self.create(job) == {"next": "watch"}
        return self.now_as(job)

    def downloading(self, outputs: int | None = None, **changes: Any) -> Job:
        job = self.generating(**changes)
        self.provider.finish(str(job.task_id), outputs)
        assert self.poll(job)["next"] == "keep"
        return self.now_as(job)

    def completed(self, outputs: int | None = None, **changes: Any) -> Job:
        job = self.downloading(outputs, **changes)
        self.settle(job, kept=[self.keep(job, output_index) for output_index in range(len(job.outputs))])
        return self.now_as(job)

    def download_failed(self, *, lost: tuple[int, ...] = (0,), **changes: Any) -> Job:
        """A job whose outputs `lost` the provider did not hand out; the others are kept."""
        job = self.downloading(**changes)
        files = {number: self.provider.files.pop(job.outputs[number].output_id) for number in lost}
        self.settle(job, kept=[self.keep(job, number) for number in range(len(job.outputs))])
        self.provider.files |= {job.outputs[number].output_id: file for number, file in files.items()}
        return self.now_as(job)

    def ended(self, status: str, code: str = "provider_error") -> Job:
        job = self.generating()
        fault = {"code": code, "message": f"What to do about {code}.", "request_id": "request-7"}
        self.settle(job, status=status, fault=fault)
        return self.now_as(job)

    # Activities, each as the orchestrators call it: what goes in and comes out is JSON

    def create(self, job: Job) -> dict[str, Any]:
        return self._run(create_task, job)

    def poll(self, job: Job, work: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._run(poll_task, job, **(work or {}))

    def download(self, job: Job, index: int = 0, part: str = "output") -> dict[str, Any]:
        return self._run(download_part, job, index=index, part=part)

    def store(self, job: Job, staged: dict[str, Any], index: int = 0, part: str = "output") -> dict[str, Any]:
        return self._run(store_part, job, index=index, part=part, staged=staged)

    def settle(self, job: Job, **outcome: Any) -> dict[str, Any]:
        return self._run(settle_job, job, **outcome)

    def keep(self, job: Job, index: int = 0) -> dict[str, Any]:
        """One output brought in, as the orchestrator `keep` does."""
        kept: dict[str, Any] = {"index": index}
        for part, name in (("output", "clip"), ("thumbnail", "thumbnail")):
            staged = self.download(job, index, part)
            stored = staged if "fault" in staged else self.store(job, staged, index, part)
            if part == "output" and "fault" in stored:
                return {**kept, "fault": stored["fault"]}
            kept[name] = stored.get("clip")
            if job.kind == "images":
                break
        return kept

    def _run(self, activity: Callable[..., dict[str, Any]], job: Job, **more: Any) -> dict[str, Any]:
        work = json.loads(json.dumps({**more, "owner": job.owner, "job_id": job.job_id}))
        answer: dict[str, Any] = json.loads(json.dumps(activity(self.services, work)))
        return answer

    # HTTP

    def post(self, body: Any, kind: str = "videos", **headers: str) -> Answer:
        """POST generate; `body` is sent as it is when it is bytes, else as JSON."""
        return self._start(generate, "generate", body, kind, headers)

    def post_batch(self, body: Any, kind: str = "videos", **headers: str) -> Answer:
        """POST batches; a list is sent as `requests`."""
        whole = {"requests": body} if isinstance(body, list) else body
        return self._start(create_batch, "batches", whole, kind, headers)

    def _start(self, trigger: Callable[..., Any], route: str, body: Any, kind: str, headers: dict[str, str]) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"content-type": "application/json"} | _named(headers)
        request = func.HttpRequest("POST", f"{HOST}/{kind}/{route}", headers=named, body=raw)
        return Answer(asyncio.run(answering(trigger)(self.services, request, self.client, kind)))

    def batch(self, batch_id: str, owner: str | None = OWNER, kind: str = "videos", **headers: str) -> Answer:
        """GET batches/{id}."""
        request = self.request(f"{kind}/batches/{batch_id}", owner, None, {"batch_id": batch_id}, **headers)
        return Answer(answering(get_batch)(self.services, request, kind))

    def get(self, what: str, job_id: str, owner: str | None = OWNER, query: dict[str, str] | None = None,
            kind: str = "videos", **headers: str) -> Answer:  # fmt: skip
        """GET status, result or content of a job."""
        request = self.request(f"{kind}/{job_id}/{what}", owner, query, {"job_id": job_id}, **headers)
        return Answer(answering(READS[what])(self.services, request, kind))

    def cancel(self, job_id: str, owner: str | None = OWNER, kind: str = "videos") -> Answer:
        request = self.request(f"{kind}/{job_id}/cancel", owner, route_params={"job_id": job_id})
        return Answer(answering(cancel_job)(self.services, request, kind))

    def delete(self, job_id: str, owner: str | None = OWNER, kind: str = "videos") -> Answer:
        request = self.request(f"{kind}/{job_id}", owner, route_params={"job_id": job_id})
        return Answer(answering(delete_job)(self.services, request, kind))

    def gallery(self, owner: str | None = OWNER, kind: str = "videos", **query: str) -> Answer:
        return Answer(answering(get_gallery)(self.services, self.request(f"{kind}/user", owner, query), kind))

    def health(self) -> Answer:
        return Answer(answering(get_health)(self.services))

    def sweep(self) -> dict[str, int]:
        return asyncio.run(sweep(self.services, self.client))

    @staticmethod
    def request(
        path: str,
        owner: str | None = OWNER,
        query: dict[str, str] | None = None,
        route_params: dict[str, str] | None = None,
        **headers: str,
    ) -> func.HttpRequest:
        named = _named(headers) | ({} if owner is None else {"x-user-id": owner})
        url = f"{HOST}/{path}" + (f"?{urlencode(query)}" if query else "")
        return func.HttpRequest("GET", url, headers=named, params=query, route_params=route_params, body=b"")


class Answer:
    """An HTTP answer, read."""

    def __init__(self, response: func.HttpResponse) -> None:
        self.status, self.headers, self.raw = response.status_code, response.headers, response.get_body()
        self.media_type = response.mimetype

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
