"""Stand-in for the embedded host and the app: the HTTP contract of a video job and an image job, played from a script.

A prompt that says "fail" ends as failed, "forever" never ends, "html" gives no file. ``POST /die`` is a crash.
STANDIN_PROVIDERS: the names of its providers, whose dialects and kinds are those of the simulator's.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from emulator.standin_child import serve

FILES = {"videos": b"\0\0\0\x18ftypisom" + b"\0" * 1000, "images": b"\x89PNG\r\n\x1a\n" + b"\0" * 1000}
CLIPS = {
    "videos": {"filename": "video_j1_0.mp4", "width": 1280, "height": 720, "n_seconds": 5},
    "images": {"filename": "image_j1_0.png", "width": 1024, "height": 1024, "n_seconds": None},
}
DIALECTS = {"sora": "azure-jobs", "openai": "openai-videos", "image": "openai-images"}
STAGES = iter([("pending", 0), ("generating", 45), ("generating", 90)])
ERROR = {"code": "moderation_input", "message": "The prompt was refused.", "provider_message": "Not that word."}
PROMPTS: list[str] = []
BODIES: list[dict[str, object]] = []


def shown(name: str) -> dict[str, object]:
    kind = "images" if name == "image" else "videos"
    return {"name": name, "kind": kind, "dialect": DIALECTS[name], "model": "m", "host": "h"}


class App(BaseHTTPRequestHandler):
    @property
    def kind(self) -> str:
        return self.path.split("/")[2]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/die":
            print(f"the key is {os.environ['AZURE_API_KEY']}; this is the last line", file=sys.stderr, flush=True)
            os._exit(7)
        BODIES.append(json.loads(body))
        (Path(sys.argv[sys.argv.index("--data") + 1]) / "bodies.json").write_text(json.dumps(BODIES))
        prompt = str(BODIES[-1]["prompt"])
        if not prompt:
            self.answer(
                400,
                {"code": "invalid_request", "detail": "no", "errors": [{"field": "prompt", "message": "too short"}]},
            )
            return
        PROMPTS.append(prompt)
        urls = {f"{name}_url": f"/api/{self.kind}/j1/{name}" for name in ("status", "result", "content")}
        self.answer(202, {"job_id": "j1", "status": "pending", **urls})

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.endswith("/status"):
            self.status()
        elif path == "/api/providers":
            names = os.environ.get("STANDIN_PROVIDERS", ",".join(DIALECTS)).split(",")
            self.answer(200, {"providers": [shown(name) for name in names]})
        elif path.endswith("/result"):
            clip = {**CLIPS[self.kind], "file_url": "http://x/y?sig=s"}
            self.answer(200, {"status": "completed", self.kind: [clip], "warning": None})
        elif path.endswith("/content"):
            self.send_response(302)
            self.send_header("Location", f"/signed/{self.kind}/0")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            body = b"{}" if "html" in PROMPTS[-1] else FILES[self.kind]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def status(self) -> None:
        ends = {"fail": ("failed", 0), "forever": ("generating", 75)}
        end = next((end for word, end in ends.items() if word in PROMPTS[-1]), ("completed", 100))
        status, progress = next(STAGES, end)
        error = ERROR if status == "failed" else None
        provider = "image" if self.kind == "images" else BODIES[-1].get("provider", "sora")
        shown = {"status": status, "stage": status, "progress": progress, "error": error, "provider": provider}
        self.answer(200, shown)

    def answer(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


serve(App, "--root", "--rpc-port")
