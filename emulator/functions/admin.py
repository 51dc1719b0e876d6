"""The host's admin endpoints: state, functions, running a timer by hand, and this host's own clock.

`GET host/status`, `GET functions[/{name}]`, `POST functions/{name}` (202), `GET emulator/clock`,
`POST emulator/clock/advance` with `{"seconds": N}` (409 unless the clock is virtual).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from aiohttp import web

from .clock import Clock
from .engine import Engine
from .indexer import AppFunction
from .timers import Timer


class Admin:
    """Answers requests below /admin/; whoever calls it has checked the key."""

    def __init__(self, functions: Sequence[AppFunction], timers: Sequence[Timer], engine: Engine, clock: Clock) -> None:
        """Serve these functions and this clock."""
        self._functions = {function.name.lower(): function for function in functions}
        self._timers = {timer.name.lower(): timer for timer in timers}
        self._engine, self._clock = engine, clock
        self._started = time.monotonic()

    async def handle(self, request: web.Request, tail: str) -> web.StreamResponse:
        """Answer one request; `tail` is the path below /admin/."""
        match (request.method, *tail.strip("/").lower().split("/")):
            case ("GET", "host", "status"):
                uptime = int((time.monotonic() - self._started) * 1000)
                return web.json_response({"id": "emulator", "state": "Running", "processUptime": uptime})
            case ("GET", "functions"):
                return web.json_response([_described(function) for function in self._functions.values()])
            case ("GET", "functions", name) if name in self._functions:
                return web.json_response(_described(self._functions[name]))
            case ("POST", "functions", name) if name in self._functions:
                return self._run(name)
            case ("GET", "emulator", "clock"):
                return web.json_response({"now": self._clock.now().isoformat(), "virtual": self._clock.virtual})
            case ("POST", "emulator", "clock", "advance"):
                return await self._advance(request)
        return web.Response(status=404)

    def _run(self, name: str) -> web.Response:
        timer = self._timers.get(name)
        if timer is None:
            return _problem(400, f"{self._functions[name].name} is not a timer function; only those are run by hand.")
        timer.run_by_hand()
        return web.Response(status=202)

    async def _advance(self, request: web.Request) -> web.Response:
        if not self._clock.virtual:
            return _problem(409, "The clock is the machine's own: start the host with --virtual-clock to move it.")
        seconds = _seconds(await request.read())
        if seconds is None:
            return _problem(400, 'Send {"seconds": N} with N of zero or more.')
        try:
            await asyncio.to_thread(self._engine.advance, timedelta(seconds=seconds))
        except TimeoutError as problem:
            return _problem(504, f"The clock stands at {self._clock.now().isoformat()}: {problem}")
        return web.json_response({"now": self._clock.now().isoformat()})


def _described(function: AppFunction) -> dict[str, Any]:
    return {"name": function.name, "language": "python", "config": {"bindings": [dict(b) for b in function.bindings]}}


def _seconds(body: bytes) -> float | None:
    try:
        seconds = json.loads(body)["seconds"]
    except (ValueError, TypeError, KeyError):
        return None
    usable = isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 <= seconds <= 1e9
    return seconds if usable else None


def _problem(status: int, message: str) -> web.Response:
    return web.json_response({"Message": message}, status=status)
