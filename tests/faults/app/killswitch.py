"""The kill switch: counts the calls that leave the app, and at the one it was told stops the process or holds it.

A point is ``<function> <door>.<method>:<before|after>#<n>``: the n-th time that this function makes this call for this
owner. Every job under test has an owner of its own, so the owner says whose call it is. What to do stands in the
folder's `orders.json`: ``{"at": {owner: point}, "how": "hold" | "die", "rate": chance of dying per point, "seed"}``.
"hold" blocks the caller until somebody kills the process, or releases all by SIGUSR1. A list of points means each of
them. Each order is obeyed once, also over restarts: `reached.log` tells. Every point passed is noted in `passed.log`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from emulator.functions.logs import running
from reelkeeper.model import Job
from reelkeeper.providers.base import Content
from reelkeeper.records.base import Watch
from reelkeeper.services import Services

READING = re.compile(r"(status|result|content|gallery)_(videos|images)|providers|health|diagnostics")
"""Functions that only answer questions, which the tests ask, too."""

NO_DOORS = ("providers", "settings", "now")
WIDE = 128


class Run:
    """One run of one function. Whose job it works for shows with the first call that names it."""

    def __init__(self, switch: Switch, step: str) -> None:
        self._switch, self._step = switch, step
        self.owner = ""

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        number = self._switch.reach(self.owner, f"{self._step} {call}", "before")
        try:
            yield
        finally:
            self._switch.reach(self.owner, f"{self._step} {call}", "after", number)


current: ContextVar[Run | None] = ContextVar("current", default=None)


class Switch:
    """Obeys the orders in `folder`."""

    def __init__(self, folder: Path) -> None:
        orders = json.loads((folder / "orders.json").read_text())
        self._reached = folder / "reached.log"
        done = self._reached.read_text().splitlines() if self._reached.exists() else []
        wanted = {owner: [at] if isinstance(at, str) else at for owner, at in orders["at"].items()}
        self._at = {(owner, point) for owner, at in wanted.items() for point in at if f"{owner}\t{point}" not in done}
        self._dies, self._rate = orders["how"] == "die", orders["rate"]
        self._chance = random.Random(f"{orders['seed']} {len(done)}")
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock, self._released = threading.Lock(), threading.Event()
        self._passed = os.open(folder / "passed.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        # held calls must not take the threads that the others need
        self._threads = ThreadPoolExecutor(WIDE, "held")
        signal.signal(signal.SIGUSR1, lambda *_: self._released.set())

    def reach(self, owner: str, call: str, side: str, number: int | None = None) -> int:
        """Pass a point, or stop there; returns the number of the call."""
        with self._lock:
            if number is None:
                self._counts[owner, call] += 1
                number = self._counts[owner, call]
            point = f"{call}:{side}#{number}"
            os.write(self._passed, f"{owner}\t{point}\n".encode())
            ordered = (owner, point) in self._at
            if ordered or self._chance.random() < self._rate:
                with self._reached.open("a") as log:
                    log.write(f"{owner}\t{point}\n")
                if self._dies:
                    os.kill(os.getpid(), signal.SIGKILL)
                self._at.discard((owner, point))
        if ordered:
            self._released.wait()
        return number

    def guard(self, services: Services) -> Services:
        """The same services for one run of a function, each call around a pair of points."""
        invocation = running.get()
        if invocation is None or READING.fullmatch(invocation.function):
            return services
        run = Run(self, invocation.function)
        current.set(run)
        with suppress(RuntimeError):  # a sync function has no loop, and a thread of its own
            asyncio.get_running_loop().set_default_executor(self._threads)
        names = [field.name for field in fields(services) if field.name not in NO_DOORS]
        doors: dict[str, Any] = {name: Door(run, name, getattr(services, name)) for name in names}
        doors["providers"] = {name: Door(run, "provider", one) for name, one in services.providers.items()}
        return replace(services, **doors)

    def guard_client(self, client: type[Any]) -> None:
        """Put a pair of points around each call of the durable client that the app uses."""
        for name in ("start_new", "get_status"):
            setattr(client, name, self._guarded(name, getattr(client, name)))

    def _guarded(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            run = current.get()
            if run is None:
                return await method(*args, **kwargs)
            points = run.around(f"client.{name}")
            await asyncio.to_thread(points.__enter__)
            try:
                return await method(*args, **kwargs)
            finally:
                await asyncio.to_thread(points.__exit__, None, None, None)

        return call


class Door:
    """An adapter, with a pair of points around each call."""

    def __init__(self, run: Run, name: str, adapter: Any) -> None:
        self._run, self._name, self._adapter = run, name, adapter

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._adapter, attribute)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._run.owner = self._owner(args) or self._run.owner
            with self._run.around(f"{self._name}.{attribute}"):
                answer = value(*args, **kwargs)
            return Download(self._run, answer) if attribute.startswith("open_") and answer else answer

        return call

    def _owner(self, args: tuple[Any, ...]) -> str | None:
        first = args[0] if args else None
        if isinstance(first, (Job, Watch)):
            return first.owner
        if not isinstance(first, str):
            return None
        if self._name == "clips":
            found = re.match("user_([^/]+)/", first)
            return found[1] if found else None
        return first if self._name in ("jobs", "idempotency") else None


class Download:
    """An open download, with a pair of points around the arrival of each piece."""

    def __init__(self, run: Run, content: Content) -> None:
        self._run, self._content = run, content

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._content, attribute)

    def chunks(self) -> Iterator[bytes]:
        pieces = self._content.chunks()
        while True:
            with self._run.around("content.chunk"):
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def __enter__(self) -> Download:
        self._content.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._content.__exit__(kind, error, trace)
