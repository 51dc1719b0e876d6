"""What the stand-ins for the app and the simulator share: the real ones' command line, a ready line, a clean end.

Each notes its arguments, its environment and its clean end in files of its data folder, for tests to read.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from emulator.parent import stop_with_parent


def serve(handler: type[BaseHTTPRequestHandler], *flags: str) -> None:
    """Serve ``handler`` until SIGTERM or Ctrl-C; ``flags`` are the options of this stand-in beside the shared ones."""
    parser = argparse.ArgumentParser()
    for flag in ("--port", "--data", *flags):
        parser.add_argument(flag, required=True)
    parser.add_argument("--enforce-keys", action="store_true")
    parser.add_argument("--stop-with-parent", action="store_true", required=True)
    options = parser.parse_args()
    data = Path(options.data)
    data.mkdir(parents=True, exist_ok=True)
    (data / "arguments.json").write_text(json.dumps(sys.argv[1:]))
    (data / "environment.json").write_text(json.dumps(dict(os.environ)))
    if options.enforce_keys:
        (data / "keys.json").write_text(json.dumps({"default": "d", "master": "m", "systemKeys": {"x": "y"}}))
    if os.environ.get("STANDIN_FAILS") == data.name:
        sys.exit("the setting SWEEP_SCHEDULE is wrong")
    server = ThreadingHTTPServer(("127.0.0.1", int(options.port)), handler)

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    stop_with_parent()
    print(f"ready http://127.0.0.1:{server.server_port}")
    server.serve_forever(poll_interval=0.02)
    with (data.parent / "ends.txt").open("a") as ends:
        ends.write(f"{data.name}\n")
