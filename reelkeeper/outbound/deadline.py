"""A total time for an exchange: its connections are shut down when the time is over.

A server that sends a byte now and then stays within every timeout between two bytes.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Deadline:
    """Shuts every connection that it was told of once `seconds` are over."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._lines: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def watch(self, line: socket.socket) -> None:
        with self._lock:
            if self.over:
                raise TimeoutError
            self._lines.append(line.dup())  # TLS takes the socket itself over

    def _cut(self) -> None:
        with self._lock:
            self.over = True
            for line in self._lines:
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for line in self._lines:
                line.close()
            self._lines.clear()
