"""One embedded Functions host: settings, app, worker, durable engine, timers and HTTP, started and stopped together.

A development tool for one machine: it binds 127.0.0.1 and keeps its state in one folder (`durable.sqlite`,
`keys.json`). Several may run in one process, one after the other or side by side, as tests do.
"""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType

from aiohttp import web

from .admin import Admin
from .clock import Clock
from .engine import DataInUseError, DataUnreadableError, Engine
from .http import WEBHOOKS, PublicHttp, decoded_path
from .indexer import AppFunction, load_functions
from .keys import DURABLE, Keys, load_keys
from .links import Links
from .server import ADDRESS, Handler, Server
from .settings import StartError, read_host_json
from .timers import Timer
from .webhooks import Webhooks
from .worker import Worker

log = logging.getLogger(__name__)

_RPC = "/durabletask/"
_STOP_SECONDS = 3.0  # for activities under way; what is cut off runs again at the next start


class Host:
    """A host for the function app in one folder; a context manager that starts and stops it."""

    def __init__(
        self,
        root: str | Path,
        *,
        data: str | Path | None = None,
        clock: Clock | None = None,
        port: int = 0,
        rpc_port: int = 0,
        enforce_keys: bool = False,
    ) -> None:
        """Prepare a host; nothing is read before `start`.

        `root` holds function_app.py and host.json, `data` the state (None: nothing is kept), port 0 is any free one,
        `enforce_keys` asks for keys as Azure does and `func start` does not.
        """
        self.root = Path(root).resolve()
        self.clock = clock or Clock()
        self.functions: list[AppFunction] = []
        self.keys: Keys
        self.engine: Engine
        self.url = ""
        self._data = None if data is None else Path(data).resolve()
        self._port, self._rpc_port = port, rpc_port
        self._enforce_keys = enforce_keys
        self._stack = ExitStack()

    def start(self) -> Host:
        """Start everything; on return the host serves. Raises StartError, having undone what was begun."""
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def stop(self) -> None:
        """Stop everything, in the reverse order of `start`; a second call does nothing."""
        self._stack.close()

    def advance(self, by: timedelta) -> None:
        """Move a virtual clock; everything due on the way has happened on return."""
        self.engine.advance(by)

    def __enter__(self) -> Host:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        settings = read_host_json(self.root)
        data = self._data
        try:
            if data is not None:
                data.mkdir(parents=True, exist_ok=True)
            self.keys = load_keys(data and data / "keys.json")
        except OSError as problem:
            raise StartError(f"The data folder cannot be used: {problem}") from problem
        self._stack.callback(_leave_path, str(self.root))
        self.functions = load_functions(self.root)
        links = Links(settings.hub_name, self.keys.system[DURABLE])
        worker = Worker(self.functions, links.client_binding, settings.function_timeout)
        self._stack.callback(worker.close)
        try:
            self.engine = Engine(
                data / "durable.sqlite" if data else ":memory:", worker, self.clock, settings.max_activities
            )
        except (DataInUseError, DataUnreadableError) as problem:
            raise StartError(str(problem)) from problem
        self._stack.callback(self.engine.stop, _STOP_SECONDS)
        timers = [Timer(one, worker, self.engine) for one in self.functions if one.kind == "timerTrigger"]
        for timer in timers:
            self._stack.callback(timer.close)
        webhooks = Webhooks(self.engine, links, settings.default_version)
        public = PublicHttp(
            self.functions,
            worker,
            self.keys,
            prefix=settings.route_prefix,
            enforce_keys=self._enforce_keys,
            admin=Admin(self.functions, timers, self.engine, self.clock),
            webhooks=webhooks,
        )
        server = Server()
        self._stack.callback(server.close)

        async def answer_rpc(request: web.Request) -> web.StreamResponse:
            path = decoded_path(request)
            if not path.lower().startswith(_RPC):
                return web.Response(status=404)
            return await webhooks.handle(request, path[len(_RPC) :])

        links.rpc = f"http://{ADDRESS}:{self._listen_rpc(server, answer_rpc)}{_RPC}"
        self.url = f"http://{ADDRESS}:{server.listen(public.handle, self._port)}"
        links.base = f"{self.url}{WEBHOOKS}"
        self.engine.extra_due.extend(timers)
        self.engine.start()
        for route in public.routes:
            log.info("%s: [%s] %s/%s", route.function, ",".join(sorted(route.methods)) or "*", self.url, route.template)

    def _listen_rpc(self, server: Server, handler: Handler) -> int:
        """Listen at the wanted RPC port, or any free one: the SDK is told the address."""
        try:
            return server.listen(handler, self._rpc_port)
        except StartError:
            port = server.listen(handler, 0)
            log.warning("Port %d is in use; the durable client's private endpoint uses %d.", self._rpc_port, port)
            return port


def _leave_path(folder: str) -> None:
    if folder in sys.path:
        sys.path.remove(folder)
