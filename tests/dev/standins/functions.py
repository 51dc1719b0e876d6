"""Stand-in for the embedded host and the app: the HTTP contract of one video job, played from a script.

A prompt that says "fail" ends as failed, "forever" never ends, "html" gives no video. ``POST /die`` is a crash.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler

from emulator.standin_child import serve

MP4 = b"\0\0\0\x18ftypisom" + b"\0" * 1000
STAGES = iter([("pending", 0), ("generating", 45), ("generating", 90)])
PROMPTS: list[str] = []


class App(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/die":
            print(f"the key is {os.environ['AZURE_API_KEY']}; this is the last line", file=sys.stderr, flush=True)
            os._exit(7)
        prompt = json.loads(body)["prompt"]
        if not prompt:
            self.answer(
                400,
                {"code": "invalid_request", "detail": "no", "errors": [{"field": "prompt", "message": "too short"}]},
            )
            return
        PROMPTS.append(prompt)
        urls = {f"{name}_url": f"/api/videos/j1/{name}" for name in ("status", "result", "content")}
        self.answer(202, {"job_id": "j1", "status": "pending", **urls})

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.endswith("/status"):
            self.status()
        elif path.endswith("/result"):
            clip = {"filename": "video_j1_0.mp4", "file_url": "http://x/y?sig=s", "width": 1280, "height": 720}
            self.answer(200, {"status": "completed", "videos": [{**clip, "n_seconds": 5}], "warning": None})
        elif path.endswith("/content"):
            self.send_response(302)
            self.send_header("Location", "/signed/0.mp4")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            body = b"{}" if "html" in PROMPTS[-1] else MP4
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def status(self) -> None:
        ends = {"fail": ("failed", 0), "forever": ("generating", 75)}
        end = next((end for word, end in ends.items() if word in PROMPTS[-1]), ("completed", 100))
        status, progress = next(STAGES, end)
        error = {"code": "moderation_input", "detail": "The prompt was refused."} if status == "failed" else None
        self.answer(200, {"status": status, "stage": status, "progress": progress, "error": error})

    def answer(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


serve(App, "--root", "--rpc-port")
