"""Dialect `azure-jobs`: the Azure OpenAI jobs API of Sora 1, under `/openai/v1/video/generations`.

create, get, list, delete a job; get a generation; its video (`/content/video`) and thumbnail. Anything else under
`/openai` is the API gateway's 404, among it the tempting `/generations/{id}/content` without `/video`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime, timezone
from typing import Any

from aiohttp import web

from emulator.sora.admission import admit
from emulator.sora.azure_request import read_create, validate
from emulator.sora.delivery import deliver
from emulator.sora.exchange import Route
from emulator.sora.faults import Fault, hides
from emulator.sora.journal import Call
from emulator.sora.media import Source
from emulator.sora.profiles import PROFILES
from emulator.sora.refusals import answer
from emulator.sora.studio import Refusal, Studio
from emulator.sora.tasks import Task

BASE = "/openai/v1/video/generations"
CDN = "/_cdn/azure-jobs"
WORDS = {"queued": "queued", "preparing": "preprocessing", "rendering": "running", "finishing": "processing"}
STATUSES = ("preprocessing", "queued", "running", "processing", "cancelled", "succeeded", "failed")


class AzureJobs:
    """The dialect's routes over one studio."""

    name = "azure-jobs"

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def routes(self) -> Sequence[Route]:
        """The routes, most specific first."""
        jobs, one = f"{BASE}/jobs", f"{BASE}/{{generation_id}}"
        video, thumbnail = f"{one}/content/video", f"{one}/content/thumbnail"
        return (
            Route("POST", jobs, "create", self._read_create, self._create),
            Route("GET", jobs, "list", self._nobody, self._list),
            Route("GET", f"{jobs}/{{job_id}}", "get", self._by_job, self._get),
            Route("DELETE", f"{jobs}/{{job_id}}", "delete", self._by_job, self._delete),
            Route("GET", one, "generation", self._by_generation, self._generation),
            Route("GET", video, "content", self._by_generation, self._video, "video/mp4"),
            Route("HEAD", video, "content", self._by_generation, self._video, "video/mp4"),
            Route("GET", thumbnail, "thumbnail", self._by_generation, self._thumbnail, "image/jpg"),
            Route("HEAD", thumbnail, "thumbnail", self._by_generation, self._thumbnail, "image/jpg"),
            # where a redirected download ends: open to all, as a signed link would be
            Route("GET", f"{CDN}/{{generation_id}}/video", "cdn", self._by_generation, self._video, "video/mp4", False),
            Route(
                "GET", f"{CDN}/{{generation_id}}/thumbnail", "cdn", self._by_generation, self._thumbnail, "image/jpg"
            ),
        )

    def elsewhere(self) -> Route:
        """What the API gateway says to any other path."""
        return Route("*", "", "wrong_route", self._nobody, self._wrong_route, guarded=False)

    def admit(self, request: web.Request) -> None:
        """Check the key (either header) and the api-version."""
        admit(request, self._studio.limits.api_key, PROFILES["azure"])

    def refuse(self, kind: str, args: dict[str, Any]) -> web.Response:
        """Word a refusal, wrapped in {"error": ...} as seen live or flat as specified."""
        return answer("azure", kind, args, args.get("shape") or self._studio.limits.error_shape)

    async def _nobody(self, request: web.Request, call: Call) -> None:
        """The call is about no task in particular."""

    async def _wrong_route(self, request: web.Request, call: Call) -> web.Response:
        raise Refusal("wrong_route")

    async def _read_create(self, request: web.Request, call: Call) -> None:
        call.body = await read_create(request)
        prompt = call.body.get("prompt")
        call.prompt = prompt if isinstance(prompt, str) else None

    async def _by_job(self, request: web.Request, call: Call) -> None:
        call.task_id = request.match_info["job_id"]
        task = self._studio.tasks.get(call.task_id)
        call.prompt = task.prompt if task else None

    async def _by_generation(self, request: web.Request, call: Call) -> None:
        call.output_id = request.match_info["generation_id"]
        task = self._studio.tasks.of_output(call.output_id)
        if task is not None:
            call.task_id, call.prompt = task.id, task.prompt

    async def _create(self, request: web.Request, call: Call) -> web.Response:
        self._studio.check_deployment(call.body.get("model"))
        task = self._studio.create(validate(call.body, self.name), "task_", "gen_", call.fault)
        call.task_id = task.id
        return web.json_response(self._job(task), status=201)

    async def _get(self, request: web.Request, call: Call) -> web.Response:
        return web.json_response(self._job(self._studio.find(self.name, call.task_id or ""), call.fault))

    async def _delete(self, request: web.Request, call: Call) -> web.Response:
        self._studio.delete(self._studio.find(self.name, call.task_id or ""))
        return web.Response(status=204)

    async def _list(self, request: web.Request, call: Call) -> web.Response:
        query, fault = request.query, call.fault
        if not (query.get("limit", "10").isdecimal() and 1 <= int(query.get("limit", "10")) <= 100):
            raise Refusal("invalid", param="limit", message="limit must be a number between 1 and 100.")
        limit = int(query.get("limit", "10"))
        wanted = [word for part in query.getall("statuses", []) for word in part.split(",") if word]
        for word in wanted:
            if word not in STATUSES:
                raise Refusal("invalid", param="statuses", message=f"{word!r} is not one of {', '.join(STATUSES)}.")
        now = self._studio.at()
        found = [
            task
            for task in self._studio.known(self.name)
            if not hides(fault, task) and (not wanted or _status(task, now) in wanted)
        ]
        after, before = query.get("after"), query.get("before")
        if after:
            found = found[_place(found, after, "after") + 1 :]
        if before:
            found = found[: _place(found, before, "before")]
        # `before` pages back towards the newest: the page next to the cursor, not the first one
        page = found[-limit:] if before and not after else found[:limit]
        ids = {"first_id": page[0].id, "last_id": page[-1].id} if page else {"first_id": None, "last_id": None}
        data = [self._job(task, fault) for task in page]
        return web.json_response({"object": "list", "data": data, "has_more": len(found) > len(page), **ids})

    async def _generation(self, request: web.Request, call: Call) -> web.Response:
        output_id = call.output_id or ""
        return web.json_response(_generation(self._studio.find_output(self.name, output_id), output_id))

    async def _video(self, request: web.Request, call: Call) -> web.StreamResponse:
        quality = request.query.get("quality", "high")
        if quality not in ("high", "low"):
            raise Refusal("invalid", param="quality", message="quality must be high or low.")
        task = self._studio.find_output(self.name, call.output_id or "")
        if call.fault and call.fault.kind == "redirect":
            return _redirect(request, call, "video")
        source = await self._media(self._studio.media.video(task, call.output_id or "", quality))
        try:
            return await deliver(request, call, source, "video/mp4", self._modified(task))
        finally:
            source.close()

    async def _thumbnail(self, request: web.Request, call: Call) -> web.StreamResponse:
        task = self._studio.find_output(self.name, call.output_id or "")
        if call.fault and call.fault.kind == "redirect":
            return _redirect(request, call, "thumbnail")
        source = await self._media(self._studio.media.thumbnail(task, call.output_id or ""))
        return await deliver(request, call, source, "image/jpg", self._modified(task))

    async def _media(self, made: Awaitable[Source]) -> Source:
        try:
            return await made
        except FileNotFoundError:  # deleted or expired while it was encoded
            raise Refusal("not_found") from None

    def _modified(self, task: Task) -> datetime:
        return datetime.fromtimestamp(task.finished_at(self._studio.at()) or task.created, timezone.utc)

    def _job(self, task: Task, fault: Fault | None = None) -> dict[str, Any]:
        now = self._studio.at()
        odd = str(fault.args["status"]) if fault and fault.kind == "unknown_status" else None
        job = {
            "object": "video.generation.job",
            "id": task.id,
            "status": odd or _status(task, now),
            "created_at": int(task.created),
            "finished_at": None if odd else task.finished_at(now),
            "expires_at": None if odd else task.expires_at(now),
            "generations": [_generation(task, one) for one in (() if odd else task.ready_outputs(now))],
            "prompt": task.prompt,
            "model": task.model,
            "n_variants": task.extra["asked"],
            "n_seconds": task.seconds,
            "height": task.height,
            "width": task.width,
            "failure_reason": task.reason if task.done(now) and not odd else None,
        }
        if "inpaint_items" in task.extra:
            job["inpaint_items"] = task.extra["inpaint_items"]
        return job


def _status(task: Task, now: float) -> str:
    phase = task.phase(now)
    return WORDS.get(phase, phase)


def _generation(task: Task, output_id: str) -> dict[str, Any]:
    return {
        "object": "video.generation",
        "id": output_id,
        "job_id": task.id,
        "created_at": int(task.ends or task.created),
        "width": task.width,
        "height": task.height,
        "n_seconds": task.seconds,
        "prompt": task.prompt,
    }


def _place(tasks: list[Task], task_id: str, param: str) -> int:
    for number, task in enumerate(tasks):
        if task.id == task_id:
            return number
    raise Refusal("invalid", param=param, message=f"No job {task_id!r} in this list.")


def _redirect(request: web.Request, call: Call, what: str) -> web.Response:
    port = request.url.port
    location = call.fault.args["location"] if call.fault else None
    location = location or f"http://localhost:{port}{CDN}/{call.output_id}/{what}?sig=simulated"
    return web.Response(status=302, headers={"Location": location})
