"""Tie a child's life to its parent's: when the parent dies, however it dies, its end of our stdin closes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

GRACE_SECONDS = 5.0


def stop_with_parent() -> None:
    """Watch stdin from a daemon thread; at end of file ask this process to stop, then insist.

    A pipe works the same on Linux, macOS and Windows, and after ``kill -9`` of the parent, where
    process groups and signals do not.
    """

    def watch() -> None:
        # not through sys.stdin's buffer: a thread inside it blocks the interpreter's own end
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="stop-with-parent", daemon=True).start()
