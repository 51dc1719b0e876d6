"""The host's HTTP servers: on 127.0.0.1 only, on an event loop and a thread of their own.

The app's functions never run on this loop, so whatever they do, the host keeps answering.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from aiohttp import web

from .settings import StartError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")

ADDRESS = "127.0.0.1"
MAX_BODY_BYTES = 100 * 2**20  # as in the Functions host
_STOP_SECONDS = 2.0

log = logging.getLogger(__name__)


class Server:
    """An event loop with any number of listeners."""

    def __init__(self) -> None:
        """Start the loop; nothing listens yet."""
        self._loop = asyncio.new_event_loop()
        self._runners: list[web.AppRunner] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="host-http", daemon=True)
        self._thread.start()

    def listen(self, handler: Handler, port: int) -> int:
        """Serve `handler` at `port` (0: any free one) and return the port. Raises StartError when it is taken."""
        return self._do(self._listen(handler, port))

    def close(self) -> None:
        """Stop listening, give open requests a moment, end the loop."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self, handler: Handler, port: int) -> int:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, ADDRESS, port).start()
        except OSError as problem:
            await runner.cleanup()
            reason = (
                "is in use by another program" if problem.errno == errno.EADDRINUSE else f"cannot be used: {problem}"
            )
            raise StartError(f"Port {port} {reason}. Stop that program, or choose another with --port.") from problem
        self._runners.append(runner)
        actual: int = runner.addresses[0][1]
        return actual

    async def _close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_default_executor()
