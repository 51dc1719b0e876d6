"""The durable HTTP API: what the SDK's client calls at the RPC port, and people at /runtime/webhooks/durabletask.

Statuses and bodies follow the extension's `HttpApiHandler`: 202 with links for a start, 409 for a running id, 404 with
an empty body for a missing instance, 410 for one that has ended, 412 for a purge too early or a rewind of what has not
failed. Every engine call runs on a thread of its own, so a busy engine never stalls the HTTP loop.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from aiohttp import web

from .engine import AlreadyExists, Engine, Instance
from .links import Links
from .protocol import TERMINAL
from .statusview import history_view, read_text, status_view

_PAGE_HEADER = "x-ms-continuation-token"
_STATUSES = ("Running", "Completed", "ContinuedAsNew", "Failed", "Canceled", "Terminated", "Pending", "Suspended")


@dataclass(frozen=True)
class Call:
    """One request, read."""

    method: str
    path: tuple[str, ...]  # decoded segments below the base
    query: Mapping[str, str]  # lower-case names, the last value of each
    token: str
    content_type: str
    body: str
    url: str

    def flag(self, name: str, default: bool) -> bool:
        """Read a boolean query parameter; anything but true and false is the default."""
        return {"true": True, "false": False}.get(self.query.get(name, "").lower(), default)

    def moment(self, name: str) -> datetime | None:
        """Read a time query parameter; None when absent or no time."""
        return _moment(self.query.get(name, ""))

    def seconds(self, name: str) -> float | None:
        """Read a query parameter of seconds; None when absent or no number."""
        try:
            return float(self.query[name])
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True)
class Answer:
    """One response; a body of None is empty."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    started: str = ""  # the id of an instance that this call has started


class Webhooks:
    """Serves the durable HTTP API over one engine."""

    def __init__(self, engine: Engine, links: Links, default_version: str = "") -> None:
        """Serve `engine`; `default_version` is host.json's defaultVersion."""
        self._engine, self._links, self._version = engine, links, default_version

    async def handle(self, request: web.Request, tail: str) -> web.StreamResponse:
        """Answer one request; `tail` is the decoded path below the base."""
        call = Call(
            method=request.method,
            path=tuple(part for part in tail.strip("/").split("/") if part),
            query={name.lower(): value for name, value in request.query.items()},
            token=request.headers.get(_PAGE_HEADER, ""),
            content_type=request.content_type.lower(),
            body=(await request.read()).decode(errors="replace"),
            url=str(request.url),
        )
        answer = await asyncio.to_thread(self.answer, call)
        timeout, interval = call.seconds("timeout"), call.seconds("pollinginterval")
        if answer.started and timeout is not None and interval is not None:
            answer = await self._wait(call, answer, timeout, interval)
        if answer.body is None:
            return web.Response(status=answer.status, headers=answer.headers)
        return web.json_response(answer.body, status=answer.status, headers=answer.headers)

    def answer(self, call: Call) -> Answer:
        """Answer one call; errors become the extension's error bodies."""
        try:
            return self._route(call)
        except AlreadyExists as problem:
            return Answer(409, {"Message": str(problem)})
        except ValueError as problem:
            return _error(400, "One or more of the arguments submitted is incorrect", problem)
        except Exception as problem:  # the API's last resort, as in the extension
            return _error(500, "Something went wrong while processing your request", problem)

    def _route(self, call: Call) -> Answer:
        match (call.path[0].lower() if call.path else "", *call.path[1:]):
            case ("orchestrators", name) if call.method == "POST":
                return self._start(call, name, None)
            case ("orchestrators", name, instance_id) if call.method == "POST":
                return self._start(call, name, instance_id)
            case ("instances",) if call.method in ("GET", "DELETE"):
                return self._list(call) if call.method == "GET" else self._purge_many(call)
            case ("instances", instance_id) if call.method in ("GET", "DELETE"):
                return self._status(call, instance_id) if call.method == "GET" else self._purge(instance_id)
            case ("instances", instance_id, operation) if call.method == "POST":
                return self._control(call, instance_id, operation.lower())
            case ("instances", instance_id, raised, event) if call.method == "POST" and raised.lower() == "raiseevent":
                return self._raise_event(call, instance_id, event)
            case ("entities", name, key) if call.method in ("GET", "POST", "DELETE"):
                return self._entity(call, name, "" if key == "$" else key)
        return Answer(404)

    def _start(self, call: Call, name: str, instance_id: str | None) -> Answer:
        try:
            raw = json.dumps(json.loads(call.body)) if call.body else None
        except ValueError as problem:
            return _error(400, "Invalid JSON content", problem)
        version = call.query.get("version", self._version)
        return self._started(self._engine.start_instance(name, instance_id, raw, version))

    def _started(self, instance_id: str) -> Answer:
        links = self._links.of_instance(instance_id)
        body = {name: link for name, link in links.items() if name != "rewindPostUri"}
        return Answer(202, body, {"Location": links["statusQueryGetUri"], "Retry-After": "10"}, instance_id)

    async def _wait(self, call: Call, started: Answer, timeout: float, interval: float) -> Answer:
        """Wait for the end of an instance just started: its output, or the links when the time is over."""
        if interval > timeout:
            problem = ValueError(f"Total timeout {timeout} should be bigger than retry timeout {interval}")
            return _error(400, "One or more of the arguments submitted is incorrect", problem)
        deadline = time.monotonic() + timeout
        while True:
            instance = await asyncio.to_thread(self._engine.get, started.started)
            if instance is not None and instance["status"] in TERMINAL:
                if instance["status"] == "Completed":
                    return Answer(200, read_text(instance["output"]))
                return await asyncio.to_thread(self._status, call, started.started)
            left = deadline - time.monotonic()
            if left <= 0:
                return started
            await asyncio.sleep(min(interval, left))

    def _status(self, call: Call, instance_id: str) -> Answer:
        instance = self._engine.get(instance_id)
        if instance is None:
            return Answer(404)
        show_input = call.flag("showinput", True)
        history = None
        if call.flag("showhistory", False) and instance["status"] != "Pending":
            events = self._engine.history(instance_id)
            show_output = call.flag("showhistoryoutput", False)
            history = history_view(events, show_input=show_input, show_output=show_output)
        body = status_view(instance, show_input=show_input, history=history)
        if instance["status"] not in TERMINAL:
            return Answer(202, body, {"Location": call.url, "Retry-After": "5"})
        failed = instance["status"] == "Failed" and call.flag("returninternalservererroronfailure", False)
        return Answer(500 if failed else 200, body)

    def _list(self, call: Call) -> Answer:
        """Return instances oldest first, `top` at a time; the token names the last one shown."""
        found = self._matching(call, prefix=call.query.get("instanceidprefix", ""))
        after = _read_token(call.token)
        rest = [instance for instance in found if _key(instance) > after] if after else found
        top = call.query.get("top", "")
        page = rest[: int(top)] if top.isdigit() and int(top) else rest
        show_input = call.flag("showinput", True)
        views = [status_view(instance, show_input=show_input, history=None) for instance in page]
        return Answer(200, views, {_PAGE_HEADER: _write_token(page[-1])} if len(page) < len(rest) else {})

    def _matching(self, call: Call, prefix: str = "") -> list[Instance]:
        asked = [status for status in call.query.get("runtimestatus", "").split(",") if status in _STATUSES]
        start, end = call.moment("createdtimefrom"), call.moment("createdtimeto")
        found = self._engine.query(statuses=asked, created_from=start, created_to=end, prefix=prefix)
        return sorted(found, key=_key)

    def _purge(self, instance_id: str) -> Answer:
        instance = self._engine.get(instance_id)
        if instance is None:
            return Answer(404)
        if instance["status"] not in TERMINAL:
            message = "Only orchestrations in a terminal state can be purged, but the orchestration with instance ID"
            return Answer(412, f"{message} {instance_id} has status {instance['status']}")
        return Answer(200, {"instancesDeleted": self._engine.purge(instance_id)})

    def _purge_many(self, call: Call) -> Answer:
        if call.moment("createdtimefrom") is None:
            return Answer(400, "Please provide value for 'createdTimeFrom' parameter.")
        deleted = sum(self._engine.purge(instance["instance_id"]) for instance in self._matching(call))
        return Answer(200, {"instancesDeleted": deleted}) if deleted else Answer(404)

    def _control(self, call: Call, instance_id: str, operation: str) -> Answer:
        engine, reason = self._engine, call.query.get("reason")
        instance = engine.get(instance_id)
        if operation == "restart":
            if instance is None:
                problem = ValueError(f"An orchestration with the instanceId {instance_id} was not found.")
                return _error(400, "InstanceId does not match a valid orchestration instance.", problem)
            new_id = None if call.flag("restartwithnewinstanceid", True) else instance_id
            return self._started(
                engine.start_instance(instance["name"], new_id, instance["input"], instance["version"])
            )
        if operation == "rewind":
            if instance is None:
                return Answer(404, f'No orchestration with instance ID "{instance_id}" found.')
            if instance["status"] != "Failed":
                message = f"This orchestration has status {instance['status']}"
                return Answer(412, f'{message}, but only orchestrations in the "Failed" state can be rewound.')
            engine.rewind(instance_id, reason)
            return Answer(202)
        controls: dict[str, Callable[[str, str | None], None]] = {
            "terminate": engine.terminate,
            "suspend": engine.suspend,
            "resume": engine.resume,
        }
        if operation not in controls or instance is None:
            return Answer(404)
        if instance["status"] in TERMINAL:
            return Answer(410)
        controls[operation](instance_id, reason)
        return Answer(202)

    def _raise_event(self, call: Call, instance_id: str, event: str) -> Answer:
        instance = self._engine.get(instance_id)
        if instance is None:
            return Answer(404)
        if instance["status"] in TERMINAL:
            return Answer(410)
        if call.content_type != "application/json":
            return Answer(400, {"Message": "Only application/json request content is supported"})
        try:
            raw = json.dumps(json.loads(call.body))
        except ValueError as problem:
            return _error(400, "Invalid JSON content", problem)
        self._engine.raise_event(instance_id, event, raw)
        return Answer(202)

    def _entity(self, call: Call, name: str, key: str) -> Answer:
        entity_id = f"@{name.lower()}@{key}"
        if call.method == "GET":
            state = self._engine.entity_state(entity_id)
            return Answer(404) if state is None else Answer(200, read_text(state))
        if not self._engine.functions.has("entityTrigger", name):
            return Answer(
                400, {"Message": f"The function '{name}' doesn't exist, is disabled, or is not an entity function."}
            )
        operation = "delete" if call.method == "DELETE" else call.query.get("op", "")
        try:
            given = json.loads(call.body) if call.body and call.content_type == "application/json" else call.body
        except ValueError as problem:
            return Answer(400, {"Message": f"Could not parse JSON content: {problem}"})
        self._engine.signal_entity(entity_id, operation, json.dumps(given) if call.body else None)
        return Answer(202)


def _error(status: int, message: str, problem: Exception) -> Answer:
    body = {"Message": message, "ExceptionMessage": str(problem), "ExceptionType": type(problem).__name__}
    return Answer(status, {**body, "StackTrace": None})


def _moment(text: str) -> datetime | None:
    """Read ISO 8601 with any number of decimals; a time without zone is UTC."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,7}))?)?\s*(Z|[+ -]\d\d:\d\d)?", text)
    if not found:
        return None
    day, clock, decimals, zone = found.groups()
    offset = {None: "+00:00", "Z": "+00:00"}.get(zone, (zone or "").replace(" ", "+"))  # a raw + in a URL is a blank
    micros = (decimals or "0").ljust(6, "0")[:6]
    seconds = clock if clock and clock.count(":") == 2 else f"{clock or '00:00'}:00"
    try:
        return datetime.fromisoformat(f"{day}T{seconds}.{micros}{offset}").astimezone(timezone.utc)
    except ValueError:
        return None


def _key(instance: Mapping[str, Any]) -> tuple[str, str]:
    return instance["created"], instance["instance_id"]


def _write_token(instance: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(_key(instance)).encode()).decode()


def _read_token(token: str) -> tuple[str, str] | None:
    if not token:
        return None
    try:
        created, instance_id = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError) as problem:
        raise ValueError(f"The {_PAGE_HEADER} header holds no token of this API.") from problem
    return str(created), str(instance_id)
