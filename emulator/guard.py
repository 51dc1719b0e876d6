"""Runs a command that does not watch its parent (Core Tools) and ends it when the parent is gone.

``python -m emulator.guard COMMAND...``: passes SIGTERM on, ends the command when stdin closes, exits with its code.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

GRACE_SECONDS = 10.0


def main(command: Sequence[str]) -> int:
    """Run ``command`` to its end and return its exit code."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the command as well, and its end ends us
    threading.Thread(target=_end_with_parent, args=(process,), daemon=True).start()
    return process.wait()


def _end_with_parent(process: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):  # not sys.stdin: a thread that waits in it keeps Python from ending
        pass
    if sys.platform == "win32":  # terminate() would spare the command's own children
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], check=False)
        return
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
