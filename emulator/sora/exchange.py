"""One provider call from arrival to journal: who is it about, which fault strikes, what is answered.

1. `identify` reads the ids and the prompt; 2. the first matching fault is taken; 3. its delay passes; 4. it cuts the
connection, answers in the call's place, or is left on the call for the handler; 5. the handler runs; 6. the answer may
be cut off; 7. the call is noted in the journal. A dialect brings routes and wording, nothing else.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from emulator.sora.delivery import REQUEST_ID, cut
from emulator.sora.faults import REFUSING
from emulator.sora.journal import Call
from emulator.sora.studio import Refusal, Studio

_WRONG_BODIES: dict[str, tuple[str, bytes]] = {
    "json": ("application/json", b'{"message": "not what you asked for"}'),
    "html": ("text/html", b"<!doctype html><title>Proxy</title><h1>Please sign in</h1>"),
    "empty": ("", b""),
    "garbage": ("", bytes(range(256)) * 64),
}


@dataclass(frozen=True)
class Route:
    """A route of a dialect. `identify` fills the call in; `handle` answers, or raises Refusal."""

    method: str
    path: str
    op: str
    identify: Callable[[web.Request, Call], Awaitable[None]]
    handle: Callable[[web.Request, Call], Awaitable[web.StreamResponse]]
    media_type: str = "application/json"
    guarded: bool = True  # wants the key and a known api-version


class Dialect(Protocol):
    """A wire format over the studio."""

    name: str

    def routes(self) -> Sequence[Route]:
        """The routes, most specific first."""
        ...

    def admit(self, request: web.Request) -> None:
        """Check key and version; Refusal when they are wrong."""
        ...

    def refuse(self, kind: str, args: dict[str, Any]) -> web.Response:
        """Word a refusal."""
        ...


def mount(app: web.Application, studio: Studio, dialect: Dialect) -> None:
    """Add a dialect's routes to the application."""
    for route in dialect.routes():
        app.router.add_route(route.method, route.path, staged(studio, dialect, route))


def staged(studio: Studio, dialect: Dialect, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Wrap a route into the steps above."""

    async def run(request: web.Request) -> web.StreamResponse:
        began = time.monotonic()
        call = Call(route.op, studio.now().isoformat(), request.method, request.path_qs)
        call.range = request.headers.get("Range")
        call.credentials = "api-key" in request.headers or "Authorization" in request.headers
        call.request_id, call.dialect = str(uuid.uuid4()), dialect.name
        task = asyncio.current_task()
        if task is not None:
            studio.under_way.add(task)
            task.add_done_callback(studio.under_way.discard)
        try:
            response = await _answer(request, call, studio, dialect, route)
            if not response.prepared:
                response.headers[REQUEST_ID] = call.request_id
            if request.transport is not None and not request.transport.is_closing():
                call.status = response.status
            if isinstance(response, web.Response) and isinstance(response.body, bytes):
                call.bytes = len(response.body)
            return response
        finally:
            call.seconds = round(time.monotonic() - began, 4)
            studio.note(call)

    return run


async def _answer(
    request: web.Request, call: Call, studio: Studio, dialect: Dialect, route: Route
) -> web.StreamResponse:
    try:
        if route.guarded:
            dialect.admit(request)
        await route.identify(request, call)
        fault = call.fault = studio.faults.take(call.op, call.prompt, call.task_id, call.output_id, call.dialect)
        if fault is None:
            return await route.handle(request, call)
        await asyncio.sleep(fault.delay)
        if fault.kind == "drop_before":
            cut(request)
            return web.Response(status=500)
        if fault.kind in REFUSING:
            raise Refusal(fault.kind, **fault.args)
        if fault.kind == "http":
            return _any_answer(fault.args)
        if fault.kind == "wrong_body":
            media_type, body = _WRONG_BODIES[fault.args["body"]]
            return web.Response(body=body, headers={"Content-Type": media_type or route.media_type})
        if fault.kind == "expired":
            task = studio.tasks.get(call.task_id or "") or studio.tasks.of_output(call.output_id or "")
            if task is not None:
                studio.expire(task)
        response = await route.handle(request, call)
        if fault.kind == "drop_answer":
            cut(request)
        return response
    except Refusal as refusal:
        return dialect.refuse(refusal.kind, refusal.details)


def _any_answer(args: dict[str, Any]) -> web.Response:
    body, headers = args["body"], dict(args["headers"])
    text = body if isinstance(body, str) else json.dumps(body)
    headers.setdefault("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
    return web.Response(status=int(args["status"]), body=text.encode(), headers=headers)
