"""Dialect `openai-images`: POST images/generations and images/edits under `/v1` and `/openai/v1`.

Azure alone also has the older path of a deployment, with a dated api-version; there the path names the model.

One call makes the images and answers them: base64, or URLs of this server that live for an hour. The making takes
`image_seconds` of the simulator's clock; a task stands behind each call, so that accounts, limits and faults are as for
videos. Also a call that nobody waits for any more makes its images, and they are paid for.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from aiohttp import web

from emulator.sora.admission import admit
from emulator.sora.delivery import deliver
from emulator.sora.exchange import Route
from emulator.sora.image_request import family_of, read_create, usage, validate
from emulator.sora.journal import Call
from emulator.sora.media import Source
from emulator.sora.refusals import answer
from emulator.sora.stills import MEDIA_TYPES
from emulator.sora.studio import Refusal, Studio
from emulator.sora.tasks import Task

BASES = ("/v1/images", "/openai/v1/images")
OLD = "/openai/deployments/{deployment}/images/generations"
CDN = "/_cdn/openai-images"
_LOOK_SECONDS = 0.1  # the clock may be set forward, or the task forced, while a call waits
_SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("sexual", "violence", "hate", "self_harm")}


class OpenAIImages:
    """The dialect's routes over one studio."""

    name = "openai-images"

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def routes(self) -> Sequence[Route]:
        """The routes."""
        # a URL that create answered: open to all, as a signed link would be
        found = [Route("GET", f"{CDN}/{{name}}", "content", self._by_file, self._file, "image/png", False)]
        found.append(Route("POST", OLD, "create", self._read_deployment, self._generate))
        for base in BASES:
            found += [
                Route("POST", f"{base}/generations", "create", self._read_generation, self._generate),
                Route("POST", f"{base}/edits", "create", self._read_edit, self._edit),
            ]
        return found

    def admit(self, request: web.Request) -> None:
        """Check the key and the api-version."""
        limits = self._studio.limits
        admit(request, limits.api_key, limits.profile, dated="deployment" in request.match_info)

    def refuse(self, kind: str, args: dict[str, Any]) -> web.Response:
        """Word a refusal as the profile's server does."""
        limits = self._studio.limits
        return answer(limits.profile.words, kind, {"media": "image", **args}, args.get("shape") or limits.error_shape)

    async def _read_generation(self, request: web.Request, call: Call) -> None:
        self._read(call, await read_create(request, edit=False))

    async def _read_deployment(self, request: web.Request, call: Call) -> None:
        if self._studio.limits.profile.words != "azure":
            raise Refusal("wrong_route", path=f"{request.method} {request.path}")
        body = await read_create(request, edit=False)
        self._read(call, {**body, "model": request.match_info["deployment"]})

    async def _read_edit(self, request: web.Request, call: Call) -> None:
        self._read(call, await read_create(request, edit=True))

    def _read(self, call: Call, body: dict[str, Any]) -> None:
        call.body, prompt = body, body.get("prompt")
        call.prompt = prompt if isinstance(prompt, str) else None

    async def _by_file(self, request: web.Request, call: Call) -> None:
        call.output_id = request.match_info["name"].partition(".")[0]
        task = self._studio.tasks.of_output(call.output_id)
        if task is not None:
            call.task_id, call.prompt = task.id, task.prompt

    async def _generate(self, request: web.Request, call: Call) -> web.Response:
        return await self._make(request, call, edit=False)

    async def _edit(self, request: web.Request, call: Call) -> web.Response:
        return await self._make(request, call, edit=True)

    async def _make(self, request: web.Request, call: Call, edit: bool) -> web.Response:
        studio, limits = self._studio, self._studio.limits
        if limits.profile.model_first:
            studio.check_deployment(call.body.get("model"))
        order = validate(call.body, limits.profile, self.name, edit, (limits.image_seconds, limits.expiry_seconds))
        task = studio.create(order, "image_", "img_", call.fault)
        call.task_id = task.id
        task = await self._wait(task)
        if task.end != "succeeded" or task.gone(studio.at()):
            if (task.reason or "").endswith("_moderation"):
                raise Refusal("moderated", model=task.model, output=task.reason == "output_moderation")
            raise Refusal("server_error")
        data = [await self._item(request, task, output_id) for output_id in task.outputs]
        return web.json_response(self._body(task, data))

    async def _wait(self, task: Task) -> Task:
        """Wait until the task has ended by the simulator's clock, or by force."""
        while not task.done(now := self._studio.at()) and not task.deleted:
            await asyncio.sleep(min(_LOOK_SECONDS, (task.ends or now + 1) - now))
            task = self._studio.tasks.get(task.id) or task
        return task

    async def _item(self, request: web.Request, task: Task, output_id: str) -> dict[str, Any]:
        item: dict[str, Any] = {}
        if task.extra["answer"] == "url":
            host = f"http://localhost:{request.url.port}"
            item["url"] = f"{host}{CDN}/{output_id}.{task.extra['suffix']}?sig=simulated"
        else:
            source = await self._picture(task, output_id)
            item["b64_json"] = base64.b64encode(source.read(0, source.size)).decode()
        if "dall-e" in task.model:
            item["revised_prompt"] = f"{task.prompt}, in fine detail"
        if self._studio.limits.profile.filter_results:
            jailbreak = {"jailbreak": {"filtered": False, "detected": False}}
            item |= {"content_filter_results": _SAFE, "prompt_filter_results": {**_SAFE, **jailbreak}}
        return item

    def _body(self, task: Task, data: list[dict[str, Any]]) -> dict[str, Any]:
        body: dict[str, Any] = {"created": int(task.created), "data": data}
        if "output_format" not in family_of(task.model).fields:
            return body
        quality = "high" if task.extra["quality"] == "auto" else task.extra["quality"]
        background = "opaque" if task.extra["background"] == "auto" else task.extra["background"]
        tokens = usage(task.prompt, task.width, task.height, quality, len(data), task.extra["edits"])
        size = f"{task.width}x{task.height}"
        more = {"background": background, "output_format": task.extra["output_format"], "quality": quality}
        return {**body, **more, "size": size, "usage": tokens}

    async def _file(self, request: web.Request, call: Call) -> web.StreamResponse:
        task = self._studio.find_output(self.name, call.output_id or "")
        source = await self._picture(task, call.output_id or "")
        modified = datetime.fromtimestamp(task.ends or task.created, timezone.utc)
        return await deliver(request, call, source, MEDIA_TYPES[task.extra["suffix"]], modified)

    async def _picture(self, task: Task, output_id: str) -> Source:
        try:
            transparent = task.extra["background"] == "transparent"
            return await self._studio.media.image(task, output_id, task.extra["suffix"], transparent)
        except FileNotFoundError:  # deleted or expired while it was encoded
            raise Refusal("not_found") from None
