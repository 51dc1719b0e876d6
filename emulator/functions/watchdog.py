"""Says so when an orchestrator or entity holds up the dispatcher: on Azure too, it would hold up all others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("reelkeeper.functions.durable")


class Watchdog:
    """Watches one call at a time, from a thread of its own."""

    def __init__(self, limit: float = 5.0) -> None:
        """Complain once about each call that takes more than `limit` seconds."""
        self._limit = limit
        self._call: tuple[str, float] | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()

    @contextmanager
    def watch(self, name: str) -> Iterator[None]:
        """Watch the call of function `name` that is made inside."""
        self._call = (name, time.monotonic())
        try:
            yield
        finally:
            self._call = None

    def _run(self) -> None:
        told: tuple[str, float] | None = None
        while not self._closed.wait(self._limit / 4):
            call = self._call
            if call and call is not told and time.monotonic() - call[1] > self._limit:
                told = call
                log.warning(
                    "Function '%s' has been running for over %g s and holds up every other orchestration. It must only "
                    "schedule work: move waiting, I/O and long computation into activities, and wait with "
                    "context.create_timer.",
                    call[0],
                    self._limit,
                )
