"""Dialect `openai-videos`: the Videos API under `/v1/videos` and `/openai/v1/videos`, as the profile's server has it.

create, list, retrieve, delete and content (with `variant` where the server knows it). One id, one output: the video.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from aiohttp import web

from emulator.sora.admission import admit
from emulator.sora.delivery import deliver
from emulator.sora.exchange import Route
from emulator.sora.faults import hides
from emulator.sora.journal import Call
from emulator.sora.media import Source
from emulator.sora.profiles import Profile
from emulator.sora.refusals import answer
from emulator.sora.stills import THUMBNAIL
from emulator.sora.studio import Refusal, Studio
from emulator.sora.tasks import Task
from emulator.sora.video_object import read_id, show, show_id
from emulator.sora.video_request import read_create, validate

BASES = ("/v1/videos", "/openai/v1/videos")
CDN = "/_cdn/openai-videos"
VARIANTS = ("video", "thumbnail", "spritesheet")
POLL_HINT = "openai-poll-after-ms"


class OpenAIVideos:
    """The dialect's routes over one studio."""

    name = "openai-videos"

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    @property
    def _profile(self) -> Profile:
        return self._studio.limits.profile

    def routes(self) -> Sequence[Route]:
        """The routes, most specific first."""
        found = [Route("GET", f"{CDN}/{{video_id}}/{{what}}", "cdn", self._by_id, self._cdn, "video/mp4", False)]
        for base in BASES:
            one = f"{base}/{{video_id}}"
            found += [
                Route("POST", base, "create", self._read_create, self._create),
                Route("GET", base, "list", self._nobody, self._list),
                Route("GET", one, "get", self._by_id, self._get),
                Route("DELETE", one, "delete", self._by_id, self._delete),
                Route("GET", f"{one}/content", "content", self._by_content, self._content, "video/mp4"),
            ]
        return found

    def elsewhere(self) -> Route:
        """What the server says to any other path under /v1."""
        return Route("*", "", "wrong_route", self._nobody, self._wrong_route, guarded=False)

    def admit(self, request: web.Request) -> None:
        """Check the key, but not for the content of a server that leaves it open."""
        if not (self._profile.open_content and request.path.endswith("/content")):
            admit(request, self._studio.limits.api_key, self._profile)

    def refuse(self, kind: str, args: dict[str, Any]) -> web.Response:
        """Word a refusal as the profile's server does."""
        shape = args.get("shape") or self._studio.limits.error_shape
        return answer(self._profile.words, kind, {"media": "video", **args}, shape)

    async def _nobody(self, request: web.Request, call: Call) -> None:
        """The call is about no task in particular."""

    async def _wrong_route(self, request: web.Request, call: Call) -> web.Response:
        raise Refusal("wrong_route", path=f"{request.method} {request.path}")

    async def _read_create(self, request: web.Request, call: Call) -> None:
        call.body = await read_create(request, self._profile)
        prompt = call.body.get("prompt")
        call.prompt = prompt if isinstance(prompt, str) else None

    async def _by_id(self, request: web.Request, call: Call) -> None:
        call.task_id = read_id(request.match_info["video_id"], self._profile)
        task = self._studio.tasks.get(call.task_id)
        call.prompt = task.prompt if task else None

    async def _by_content(self, request: web.Request, call: Call) -> None:
        await self._by_id(request, call)
        call.output_id = call.task_id
        if self._profile.variants == "names" and request.query.get("variant", "video") != "video":
            call.op = "thumbnail"

    def _find(self, call: Call) -> Task:
        try:
            return self._studio.find(self.name, call.task_id or "", self._profile.remembers_expired)
        except Refusal as refusal:
            raise Refusal(refusal.kind, id=call.task_id) from None

    async def _create(self, request: web.Request, call: Call) -> web.Response:
        if self._profile.model_first:
            self._studio.check_deployment(call.body.get("model"))
        order = validate(call.body, self._profile, self.name)
        task = self._studio.create(order, self._profile.id_prefix, None, call.fault)
        call.task_id = task.id
        return self._answer(request, task, show(task, self._profile, self._studio.at(), created=True))

    async def _get(self, request: web.Request, call: Call) -> web.Response:
        return self._answer(request, task := self._find(call), self._view(request, task, call))

    def _view(self, request: web.Request, task: Task, call: Call) -> dict[str, Any]:
        fault, now = call.fault, self._studio.at()
        odd = str(fault.args["status"]) if fault and fault.kind == "unknown_status" else None
        shown = show(task, self._profile, now, odd=odd)
        if self._studio.limits.cloud and task.ready_outputs(now):
            shown["url"] = _cdn_url(request, task, "video")
        return shown

    def _answer(self, request: web.Request, task: Task, shown: dict[str, Any]) -> web.Response:
        """The video object with its headers and, where a failed one is an HTTP error, that status."""
        limits, headers, status = self._studio.limits, {}, 200
        if self._profile.poll_hint and limits.poll_after_ms is not None and not task.done(self._studio.at()):
            headers[POLL_HINT] = str(limits.poll_after_ms)
        if self._profile.failed_is_error and shown["error"]:
            status = int(shown["error"]["code"])
        return web.json_response(shown, status=status, headers=headers)

    async def _delete(self, request: web.Request, call: Call) -> web.Response:
        profile, task = self._profile, self._find(call)
        if profile.delete == "finished" and not task.done(self._studio.at()):
            raise Refusal("not_deletable")
        shown = self._view(request, task, call)
        self._studio.delete(task, abort=profile.delete != "hides")
        if profile.words == "sglang":
            return web.json_response({**shown, "status": "deleted"})
        return web.json_response({"id": shown["id"], "object": "video.deleted", "deleted": True})

    async def _list(self, request: web.Request, call: Call) -> web.Response:
        query, profile = request.query, self._profile
        if profile.list_needs_model and not (query.get("model") or query.get("custom_llm_provider")):
            raise Refusal("list_needs_model")
        limit, order = query.get("limit"), query.get("order", "desc")
        if limit is not None and not (limit.isdecimal() and profile.list_least <= int(limit) <= 100):
            text = f"limit must be a number between {profile.list_least} and 100."
            raise Refusal("invalid", param="limit", message=text, where="query")
        if profile.strict and order not in ("asc", "desc"):
            raise Refusal("invalid", param="order", message="order must be asc or desc.", where="query")
        known = self._studio.known(self.name, profile.remembers_expired)
        found = [task for task in known if not hides(call.fault, task)]
        if order == "asc":
            found.reverse()
        if after := query.get("after"):
            found = self._behind(found, read_id(after, profile))
        count = profile.list_page if limit is None else int(limit)
        page = found if count is None else found[:count]
        body: dict[str, Any] = {"object": "list", "data": [self._view(request, task, call) for task in page]}
        if profile.list_cursors:
            ends = (show_id(page[0], profile), show_id(page[-1], profile)) if page else (None, None)
            body |= {"first_id": ends[0], "last_id": ends[1], "has_more": len(found) > len(page)}
        return web.json_response(body)

    def _behind(self, found: list[Task], task_id: str) -> list[Task]:
        for number, task in enumerate(found):
            if task.id == task_id:
                return found[number + 1 :]
        if self._profile.strict:
            raise Refusal("invalid", param="after", message=f"No video {task_id!r} in this list.", where="query")
        return []

    async def _content(self, request: web.Request, call: Call) -> web.StreamResponse:
        profile, task, now = self._profile, self._find(call), self._studio.at()
        variant, what = request.query.get("variant"), "video"
        if profile.variants == "names":
            what = variant or "video"
            if what not in VARIANTS:
                text = f"Invalid value: '{what}'. Supported values are: 'video', 'thumbnail', and 'spritesheet'."
                raise Refusal("invalid", param="variant", message=text)
        if self._studio.limits.cloud and task.ready_outputs(now):
            raise Refusal("in_cloud", url=_cdn_url(request, task, "video"))
        if task.gone(now):
            raise Refusal("content_expired")
        if not task.done(now):
            raise Refusal("not_ready")
        if not task.ready_outputs(now):
            raise Refusal("no_content", variant=variant)
        if profile.variants == "index" and variant not in (None, "0"):
            raise Refusal("no_variant", variant=variant)
        if call.fault and call.fault.kind == "redirect":
            location = call.fault.args["location"] or _cdn_url(request, task, what)
            return web.Response(status=302, headers={"Location": location})
        return await self._send(request, call, task, what)

    async def _cdn(self, request: web.Request, call: Call) -> web.StreamResponse:
        """Where a redirect and a cloud URL end: open to all, as a signed link would be."""
        task, what = self._studio.find(self.name, call.task_id or ""), request.match_info["what"]
        call.output_id = task.id
        if what not in VARIANTS or not task.ready_outputs(self._studio.at()):
            raise Refusal("not_found", id=task.id)
        return await self._send(request, call, task, what)

    async def _send(self, request: web.Request, call: Call, task: Task, what: str) -> web.StreamResponse:
        try:
            source, media_type = await self._media(task, what)
        except FileNotFoundError:  # deleted or expired while it was encoded
            raise Refusal("not_found", id=task.id) from None
        profile, headers = self._profile, {}
        if profile.attachment:
            name = re.sub(r"[^\w.=+-]", "_", show_id(task, profile))
            headers["Content-Disposition"] = f'attachment; filename="{name}.mp4"'
        modified = datetime.fromtimestamp(task.ends or task.created, timezone.utc)
        try:
            return await deliver(request, call, source, media_type, modified, headers, plain=not profile.ranges)
        finally:
            source.close()

    async def _media(self, task: Task, what: str) -> tuple[Source, str]:
        media = self._studio.media
        if what == "video":
            return await media.video(task, task.id), "video/mp4"
        if what == "spritesheet":
            return await media.spritesheet(task, task.id), "image/jpeg"
        suffix, media_type = THUMBNAIL
        return await media.thumbnail(task, task.id, suffix), media_type


def _cdn_url(request: web.Request, task: Task, what: str) -> str:
    return f"http://localhost:{request.url.port}{CDN}/{task.id}/{what}?sig=simulated"
