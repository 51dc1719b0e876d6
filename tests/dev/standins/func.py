"""Stand-in for Core Tools: notes how it was called, takes a moment to start, then serves the host's status."""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Path(os.environ["FUNC_NOTE"]).write_text(
    json.dumps({"argv": sys.argv[1:], "cwd": str(Path.cwd()), "env": dict(os.environ)})
)
began = time.monotonic()


class Host(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"state": "Running" if time.monotonic() - began > 0.5 else "Initialized"}).encode()
        self.send_response(200 if self.path == "/admin/host/status" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("0.0.0.0", int(sys.argv[sys.argv.index("--port") + 1])), Host).serve_forever(poll_interval=0.02)
