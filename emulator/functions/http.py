"""The public HTTP side: finds the function of a request, checks its key, runs it, writes what it returned.

Behaves as the Functions host does, oddities included: routes are tried in the order of function names, a wrong method
is 404, a function that raises (or returns what is no response) is an empty 500, and a body arrives only with a
Content-Length: chunked uploads are empty. Keys are asked for only with `enforce_keys`, as `func start` asks for none.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import unquote

from aiohttp import web
from azure.functions import meta

from .indexer import AppFunction
from .keys import DURABLE, Keys
from .routes import Route, check_routes, compile_route
from .server import MAX_BODY_BYTES
from .signatures import REGISTRY
from .worker import Worker

log = logging.getLogger(__name__)

WEBHOOKS = "/runtime/webhooks/durabletask"
_ADMIN = "/admin/"
_HOP_HEADERS = ("content-length", "transfer-encoding", "connection")


class Part(Protocol):
    """What answers requests below one path; `tail` is the decoded path below it."""

    async def handle(self, request: web.Request, tail: str) -> web.StreamResponse:
        """Answer one request."""


class PublicHttp:
    """Answers every request to the public port."""

    def __init__(
        self,
        functions: Sequence[AppFunction],
        worker: Worker,
        keys: Keys,
        *,
        prefix: str,
        enforce_keys: bool,
        admin: Part,
        webhooks: Part,
    ) -> None:
        """Compile the routes of `functions`. Raises StartError when one is wrong or used twice."""
        served = [function for function in functions if function.kind == "httpTrigger"]
        self._routes = [(_route(function, prefix), function) for function in served]
        check_routes([route for route, _ in self._routes])
        self._worker, self._keys, self._enforce = worker, keys, enforce_keys
        self._admin, self._webhooks = admin, webhooks

    @property
    def routes(self) -> list[Route]:
        """The routes in the order in which they are tried."""
        return [route for route, _ in self._routes]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        path = decoded_path(request)
        given = request.headers.get("x-functions-key") or request.query.get("code") or ""
        if f"{path.lower()}/".startswith(f"{WEBHOOKS}/"):
            if self._enforce and not self._keys.open_webhook(given, DURABLE):
                return web.Response(status=401)
            return await self._webhooks.handle(request, path[len(WEBHOOKS) :])
        if path.lower().startswith(_ADMIN):
            if self._enforce and not self._keys.open_admin(given):
                return web.Response(status=401)
            return await self._admin.handle(request, path[len(_ADMIN) :])
        for route, function in self._routes:
            parameters = route.match(request.method, path)
            if parameters is not None:
                if self._enforce and not self._may_call(given, function):
                    return web.Response(status=401)
                return await self._call(request, function, parameters)
        return web.Response(status=404)

    def _may_call(self, given: str, function: AppFunction) -> bool:
        level = str(function.trigger.get("authLevel") or "FUNCTION").upper()
        if level == "ANONYMOUS":
            return True
        return self._keys.open_function(given, function.name) if level == "FUNCTION" else self._keys.open_admin(given)

    async def _call(self, request: web.Request, function: AppFunction, parameters: Mapping[str, str]) -> web.Response:
        length = request.content_length or 0
        if length > MAX_BODY_BYTES:
            return web.Response(status=413)
        body = await request.read() if length else b""
        try:
            value = await self._worker.run_async(function, _request_datum(request, parameters, body))
        except Exception:  # whatever the function raised; the worker has logged it
            return web.Response(status=500)
        if function.returns is None:
            return web.Response(status=204)
        try:
            return _response(REGISTRY.get(function.returns).encode(value, expected_type=None))
        except Exception:  # whatever the function returned
            log.exception(
                "Function %s returned %s, which is no HTTP response: return an azure.functions.HttpResponse or a str.",
                function.name,
                type(value).__name__,
            )
            return web.Response(status=500)


def decoded_path(request: web.Request) -> str:
    """Return the path with escapes decoded, except an escaped slash: it is part of a segment's value."""
    path = request.raw_path.partition("?")[0]
    return unquote(path.replace("%2F", "%252F").replace("%2f", "%252f"))


def _route(function: AppFunction, prefix: str) -> Route:
    template = function.trigger.get("route") or function.name
    methods = function.trigger.get("methods") or ()
    return compile_route(function.name, str(template), [str(method) for method in methods], prefix)


def _request_datum(request: web.Request, parameters: Mapping[str, str], body: bytes) -> meta.Datum:
    query: dict[str, list[str]] = {}
    for name, value in request.query.items():
        query.setdefault(name, []).append(value)
    joined = {name: ",".join(values) for name, values in query.items()}
    headers = {name.lower(): ",".join(request.headers.getall(name)) for name in request.headers}
    return meta.Datum(
        {
            "method": _text(request.method),
            "url": _text(f"{request.scheme}://{request.host}{request.raw_path}"),
            "headers": {name: _text(value) for name, value in headers.items()},
            "query": {name: _text(value) for name, value in joined.items() if value},
            "params": {name: _text(value) for name, value in parameters.items()},
            "body": meta.Datum(body, "bytes"),
        },
        "http",
    )


def _text(value: str) -> meta.Datum:
    return meta.Datum(value, "string")


def _response(datum: meta.Datum) -> web.Response:
    """Write a response from what the converter made. Raises ValueError when the status is no number."""
    if datum.type == "string":
        return web.Response(text=datum.value, content_type="text/plain", charset="utf-8")
    value: Mapping[str, Any] = datum.value
    response = web.Response(status=int(value["status_code"].value), body=value["body"].value)
    for name, header in value["headers"].items():
        if name.lower() not in _HOP_HEADERS:
            response.headers[name] = header.value
    for jar in value["cookies"] or ():
        for morsel in jar.values():
            response.headers.add("Set-Cookie", morsel.OutputString())
    return response
