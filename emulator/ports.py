"""TCP ports of 127.0.0.1: is one free, and which one to use when the well-known one is not."""

from __future__ import annotations

import random
import socket
import sys

QUIET = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server may listen on ``port`` of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex(("127.0.0.1", port)) == 0:  # macOS lets a loopback bind hide a wildcard listener
            return False
    with socket.socket() as listener:
        if sys.platform != "win32":  # a restart must not wait for the old connections' TIME_WAIT
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def preferred(port: int) -> int:
    """Return ``port`` when it is free, else 0: any free one."""
    return port if is_free(port) else 0


def any_free() -> int:
    """Return a port that is free now, for programs that cannot choose one themselves, or need the same one again.

    Not one of those that systems give to outgoing connections, as long as there is another: it would soon be taken.
    """
    for port in random.sample(QUIET, 50):
        if is_free(port):
            return port
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
