"""Run the simulated provider in a thread of its own: `Simulator(data).start()`, `.url`, `.stop()`.

    with Simulator(folder, generation_seconds=2) as simulator:
        simulator.fault("content", "not_found", times=3)
        ...  # any HTTP client against simulator.url
        assert simulator.stats()["creates_accepted"] == 1

Callers need no asyncio: each method runs on the server's loop and hands back a plain value.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from aiohttp import web

from emulator.sora.azure_jobs import AzureJobs
from emulator.sora.control import Control, explain
from emulator.sora.delivery import REQUEST_ID
from emulator.sora.exchange import mount, staged
from emulator.sora.faults import read_fault
from emulator.sora.media import Media
from emulator.sora.openai_images import OpenAIImages
from emulator.sora.openai_videos import OpenAIVideos
from emulator.sora.profiles import find_profile
from emulator.sora.studio import Limits, Studio

_MAX_BODY = 128 * 1024 * 1024
T = TypeVar("T")


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


def build_app(studio: Studio) -> web.Application:
    """Assemble the web application: the dialects, the control endpoint, and the servers' 404 for all else."""
    app = web.Application(client_max_size=_MAX_BODY, middlewares=[explain])
    azure, videos = AzureJobs(studio), OpenAIVideos(studio)
    for dialect in (azure, videos, OpenAIImages(studio)):
        mount(app, studio, dialect)
    Control(studio).mount(app)

    async def stamp(request: web.Request, response: web.StreamResponse) -> None:
        if not request.path.startswith("/_control"):
            response.headers.setdefault(REQUEST_ID, str(uuid.uuid4()))

    app.router.add_route("*", "/v1/{path:.*}", staged(studio, videos, videos.elsewhere()))
    app.router.add_route("*", "/{path:.*}", staged(studio, azure, azure.elsewhere()))
    app.on_response_prepare.append(stamp)
    return app


class Simulator:
    """The provider on 127.0.0.1. Times follow `clock`; all state is in the folder `data`.

    `port` 0 takes a free one. `media`: "full" or "tiny" (an eighth of the size, 4 frames/s: quick to make), for videos.
    `media_bytes`: every video has exactly this size, made on the fly. `profile`: whose ways the dialects openai-videos
    and openai-images have (see profiles.py); it decides `expiry_seconds` and `forget_on_restart` when they are None.
    `cloud` is for profile sglang. ValueError for a profile that does not exist.
    """

    def __init__(
        self,
        data: Path | str,
        *,
        port: int = 0,
        generation_seconds: float = 8.0,
        api_key: str | None = None,
        clock: Callable[[], datetime] = _utc_now,
        media: str = "full",
        media_bytes: int | None = None,
        expiry_seconds: float | None = None,
        max_running: int | None = None,
        creates_per_minute: int | None = None,
        deployments: frozenset[str] | set[str] | tuple[str, ...] | list[str] = frozenset(),
        error_shape: str = "wrapped",
        profile: str = "azure",
        cloud: bool = False,
        forget_on_restart: bool | None = None,
        image_seconds: float = 2.0,
        poll_after_ms: int | None = 1000,
    ) -> None:
        self._data, self._port, self._clock = Path(data), port, clock
        self._media, self._media_bytes = media, media_bytes
        ways = find_profile(profile, cloud)
        self._limits = Limits(
            generation_seconds,
            ways.kept_seconds if expiry_seconds is None else expiry_seconds,
            max_running,
            creates_per_minute,
            api_key,
            frozenset(deployments),
            error_shape,
            image_seconds,
            poll_after_ms,
            ways,
            cloud,
            forget_on_restart,
        )
        self._thread = threading.Thread(target=self._run, name="sora", daemon=True)
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._stopping = asyncio.Event()
        self.url = ""

    def start(self) -> Simulator:
        """Serve; returns when requests are answered. OSError when the port is taken."""
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def stop(self) -> None:
        """Stop serving, cutting what is under way; all state stays in the folder. May be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        self._loop = asyncio.new_event_loop()
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # handed to the caller of start()
            self._error = error
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
            self._started.set()

    async def _serve(self) -> None:
        media = Media(self._data / "media", self._media, self._media_bytes)
        self._studio = Studio(self._data, self._clock, self._limits, media)
        self._control = Control(self._studio)
        runner = web.AppRunner(build_app(self._studio), access_log=None, shutdown_timeout=0.1)
        try:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", self._port)
            await site.start()
            self._port = runner.addresses[0][1]
            self.url = f"http://127.0.0.1:{self._port}"
            self._started.set()
            await self._stopping.wait()
        finally:
            await self._studio.abandon()
            await runner.cleanup()
            self._studio.close()

    def _ask(self, question: Callable[[], T]) -> T:
        """Run a question on the server's loop and wait for the answer."""

        async def run() -> T:
            return question()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def set_generation_seconds(self, seconds: float) -> None:
        """Set how long tasks created from now on take."""
        self.set_limits(generation_seconds=seconds)

    def set_limits(self, **limits: float | list[str] | None) -> None:
        """Set generation_seconds, expiry_seconds, max_running, ... (see POST /_control/limits) for what comes."""
        self._ask(lambda: self._control.set_limits(limits))

    def set_profile(self, name: str, cloud: bool = False) -> None:
        """Behave like another server from now on; the keeping time becomes that server's own."""
        self._ask(lambda: self._control.set_profile(name, cloud))

    def forget(self) -> int:
        """Forget every task, as a server without a database does when it restarts; returns how many."""
        return self._ask(self._studio.forget)

    def fault(
        self, op: str, kind: str, times: int | None = 1, match: dict[str, str] | None = None, **args: Any
    ) -> dict[str, Any]:
        """Add a fault (see emulator.sora.faults.KINDS); returns it with its id. ValueError when it makes no sense."""
        rule = read_fault({"op": op, "kind": kind, "times": times, "match": match, **args})
        return self._ask(lambda: self._studio.faults.add(rule).view())

    def clear_faults(self) -> int:
        """Remove all faults; returns how many there were."""
        return self._ask(self._studio.faults.clear)

    def requests(self, op: str | None = None) -> list[dict[str, Any]]:
        """Provider calls so far, oldest first."""
        return self._ask(lambda: self._studio.journal.calls(op))

    def stats(self) -> dict[str, Any]:
        """Counts of creates, polls and bytes, as GET /_control/stats."""
        return self._ask(self._studio.stats)

    def tasks(self) -> list[dict[str, Any]]:
        """Every task, newest first."""
        return self._ask(self._control.tasks)

    def force(
        self, task_id: str, state: str, failure_reason: str | None = None, generations: int | None = None
    ) -> None:
        """Bring a task to succeeded, failed, cancelled, expired or deleted now."""
        self._ask(lambda: self._control.force(task_id, state, failure_reason, generations))
