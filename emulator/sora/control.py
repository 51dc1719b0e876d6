"""The control endpoint `/_control`: faults on demand, the journal, and a hand on tasks, limits and the clock."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from aiohttp import web

from emulator.sora.faults import KINDS, read_fault
from emulator.sora.profiles import PROFILES, find_profile
from emulator.sora.studio import PROMPT_TRIGGERS, Studio
from emulator.sora.tasks import ENDS

HELP = """
GET    /_control                this help, the fault kinds, the limits and the faults in force
POST   /_control/faults         {op, kind, times: n|null, match: {prompt, task_id, generation_id, dialect}, delay, ...},
                                or a list of such; ids as in /_control/tasks
DELETE /_control/faults[/{id}]  remove all faults or one
GET    /_control/requests       ?op=&since=  provider calls, oldest first;  DELETE forgets them
GET    /_control/stats          creates, accepted creates per prompt and dialect, polls per task, bytes per generation
GET    /_control/tasks          every task, also deleted and expired ones
POST   /_control/tasks/{id}     {state: succeeded|failed|cancelled|expired|deleted, failure_reason, generations}
POST   /_control/forget         forget every task, as a server without a database does when it restarts
POST   /_control/profile        {profile, cloud}  behave like another server; its keeping time becomes expiry_seconds
POST   /_control/limits         {generation_seconds, expiry_seconds, max_running, creates_per_minute, image_seconds,
                                poll_after_ms, deployments: [name, ...]}; null: none, for expiry_seconds for ever
POST   /_control/clock          {advance_seconds}
"""

_NUMBERS = {  # name: may be null
    "generation_seconds": False,
    "expiry_seconds": True,
    "max_running": True,
    "creates_per_minute": True,
    "image_seconds": False,
    "poll_after_ms": True,
}
_SETTABLE = (*_NUMBERS, "deployments")


class Control:
    """The control endpoint of one studio; the same verbs serve the in-process API."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        add = app.router.add_route
        add("GET", "/_control", self._help)
        add("POST", "/_control/faults", self._add_faults)
        add("DELETE", "/_control/faults", self._clear_faults)
        add("DELETE", "/_control/faults/{id}", self._clear_faults)
        add("GET", "/_control/requests", self._requests)
        add("DELETE", "/_control/requests", self._clear_requests)
        add("GET", "/_control/stats", self._stats)
        add("GET", "/_control/tasks", self._tasks)
        add("POST", "/_control/tasks/{id}", self._force)
        add("POST", "/_control/forget", self._forget)
        add("POST", "/_control/profile", self._profile)
        add("POST", "/_control/limits", self._limits)
        add("POST", "/_control/clock", self._clock)

    def limits(self) -> dict[str, Any]:
        """The limits as JSON, without the key."""
        limits = self._studio.limits
        return {name: getattr(limits, name) for name in _NUMBERS} | {
            "deployments": sorted(limits.deployments),
            "error_shape": limits.error_shape,
            "profile": limits.profile.name,
            "cloud": limits.cloud,
        }

    def set_limits(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Change limits; ValueError names what is wrong."""
        for name, value in raw.items():
            if name not in _SETTABLE:
                raise ValueError(f"no limit {name!r}: use {', '.join(_SETTABLE)}")
            if name == "deployments":
                if value is not None and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
                    raise ValueError("deployments is a list of names, or null for any")
                continue
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
            if not number and not (value is None and _NUMBERS[name]):
                raise ValueError(f"{name} is a number from 0{' or null for none' if _NUMBERS[name] else ''}")
        for name, value in raw.items():
            setattr(self._studio.limits, name, frozenset(value or ()) if name == "deployments" else value)
        return self.limits()

    def set_profile(self, name: str, cloud: bool = False) -> dict[str, Any]:
        """Behave like another server; ValueError when there is none of that name."""
        self._studio.set_profile(find_profile(name, cloud), cloud)
        return self.limits()

    def tasks(self) -> list[dict[str, Any]]:
        """Every task, newest first, with its present phase."""
        now = self._studio.at()
        return [
            {**asdict(task), "phase": task.phase(now), "gone": task.gone(now)}
            for task in self._studio.tasks.newest_first()
        ]

    def force(
        self, task_id: str, state: str, failure_reason: str | None = None, generations: int | None = None
    ) -> None:
        """Bring a task to a state now; LookupError or ValueError."""
        task = self._studio.tasks.get(task_id)
        if task is None:
            raise LookupError(f"no task {task_id[:100]!r}")
        if state not in ENDS | {"expired", "deleted"}:
            raise ValueError("state is succeeded, failed, cancelled, expired or deleted")
        self._studio.force(task, state, failure_reason, generations)

    async def _help(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "help": HELP.strip().splitlines(),
                "faults": self._studio.faults.view(),
                "limits": self.limits(),
                "now": self._studio.now().isoformat(),
                "kinds": {
                    name: {"ops": kind.ops, "does": kind.does, "args": kind.args} for name, kind in KINDS.items()
                },
                "prompt_triggers": PROMPT_TRIGGERS,
                "profiles": {name: " ".join(profile.about.split()) for name, profile in PROFILES.items()},
            }
        )

    async def _add_faults(self, request: web.Request) -> web.Response:
        raw = await _body(request)
        faults = [read_fault(one) for one in (raw if isinstance(raw, list) else [raw])]
        added = [self._studio.faults.add(fault).view() for fault in faults]
        return web.json_response(added if isinstance(raw, list) else added[0], status=201)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        rule = request.match_info.get("id")
        return web.json_response({"removed": self._studio.faults.clear(int(rule) if rule else None)})

    async def _requests(self, request: web.Request) -> web.Response:
        calls = self._studio.journal.calls(request.query.get("op"), int(request.query.get("since", "0")))
        return web.json_response({"requests": calls})

    async def _clear_requests(self, request: web.Request) -> web.Response:
        self._studio.journal.clear()
        return web.Response(status=204)

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response(self._studio.stats())

    async def _tasks(self, request: web.Request) -> web.Response:
        return web.json_response({"tasks": self.tasks()})

    async def _force(self, request: web.Request) -> web.Response:
        raw = await _object(request, "state", "failure_reason", "generations")
        task_id = request.match_info["id"]
        self.force(task_id, str(raw.get("state")), raw.get("failure_reason"), raw.get("generations"))
        return web.json_response(next(task for task in self.tasks() if task["id"] == task_id))

    async def _forget(self, request: web.Request) -> web.Response:
        return web.json_response({"forgotten": self._studio.forget()})

    async def _profile(self, request: web.Request) -> web.Response:
        raw = await _object(request, "profile", "cloud")
        return web.json_response(self.set_profile(str(raw.get("profile")), raw.get("cloud") is True))

    async def _limits(self, request: web.Request) -> web.Response:
        return web.json_response(self.set_limits(await _object(request, *_SETTABLE)))

    async def _clock(self, request: web.Request) -> web.Response:
        seconds = (await _object(request, "advance_seconds")).get("advance_seconds")
        if not isinstance(seconds, (int, float)) or seconds < 0:
            raise ValueError("advance_seconds is a number from 0")
        return web.json_response({"now": self._studio.advance(seconds).isoformat()})


@web.middleware
async def explain(request: web.Request, handler: Any) -> web.StreamResponse:
    """Turn ValueError and LookupError of the control endpoint into 400 and 404 with a sentence."""
    if not request.path.startswith("/_control"):
        response: web.StreamResponse = await handler(request)
        return response
    try:
        answer: web.StreamResponse = await handler(request)
        return answer
    except LookupError as error:
        return web.json_response({"error": str(error.args[0])}, status=404)
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)


async def _body(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError:
        raise ValueError("the body is not JSON") from None


async def _object(request: web.Request, *names: str) -> dict[str, Any]:
    raw = await _body(request)
    if not isinstance(raw, dict) or set(raw) - set(names):
        raise ValueError(f"the body is a JSON object with {', '.join(names)}")
    return raw
