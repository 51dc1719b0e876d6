"""A provider that is not ours: another server that speaks the dialect, reached by two settings alone."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

KEY = "a-key-of-their-own"
VIDEO = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + bytes(200_000)


class Foreign(ThreadingHTTPServer):
    """Answers 200 (not 201) to a create, sends chunked files, knows no thumbnail and no range."""

    daemon_threads = True

    def __init__(self) -> None:
        self.tasks: dict[str, tuple[float, dict[str, Any]]] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        super().__init__(("127.0.0.1", 0), ForeignHandler)


class ForeignHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Foreign

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append(("POST", self.path, dict(self.headers)))
        if self.headers["api-key"] != KEY:
            return self.answer(401, {"error": {"code": "401", "message": "Access denied"}})
        task_id = f"vgjob/{len(self.server.tasks)}?x"  # ids are opaque: this one needs quoting
        self.server.tasks[task_id] = (time.time(), body)
        return self.answer(200, self.task(task_id))

    def do_GET(self) -> None:
        self.server.seen.append(("GET", self.path, dict(self.headers)))
        found = re.fullmatch(r"/custom/base/video/generations/jobs/([^/?]+)\?api-version=v1", self.path)
        if found:
            return self.answer(200, self.task(unquote(found[1])))
        if re.fullmatch(r"/custom/base/video/generations/g-\d+/content/video\?api-version=v1", self.path):
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (VIDEO[:1000], VIDEO[1000:]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            return None
        return self.answer(404, {"error": {"code": "404", "message": "Resource not found"}})

    def task(self, task_id: str) -> dict[str, Any]:
        created, body = self.server.tasks[task_id]
        done = time.time() - created > 1
        number = list(self.server.tasks).index(task_id)
        made = [{"id": f"g-{number}", "object": "video.generation"}] if done else []
        return {**body, "id": task_id, "status": "succeeded" if done else "running", "generations": made}

    def answer(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    """The other server on a free port."""
    server = Foreign()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_another_server_of_the_dialect_works_by_two_settings(foreign, start_service):
    """With AZURE_SORA_ENDPOINT and AZURE_API_KEY alone a job runs there, and no simulator is started."""
    endpoint = f"http://127.0.0.1:{foreign.server_port}/custom/base/video/generations/jobs?api-version=v1"
    service = start_service(AZURE_SORA_ENDPOINT=endpoint, AZURE_API_KEY=KEY)
    assert service.up["simulator"] is None
    job_id = service.submit()["job_id"]
    service.wait_for(job_id, "completed")
    (video,) = service.call("GET", f"/api/videos/{job_id}/result").json()["videos"]
    assert (video["file_size"], video["thumbnail_url"]) == (len(VIDEO), None)
    assert service.call("GET", video["file_url"]).content == VIDEO
    assert sum(method == "POST" for method, _, _ in foreign.seen) == 1
    assert all(headers.get("api-key") == KEY for _, _, headers in foreign.seen)
    logs = "".join(path.read_text(errors="replace") for path in service.data.rglob("*.log"))
    assert job_id in logs
    assert KEY not in logs
    assert "sig=" not in logs


def test_a_wrong_key_is_told_by_the_setting_to_look_at(foreign, start_service):
    """401 fails the job at once with `invalid_credentials`, naming AZURE_API_KEY and never the key."""
    endpoint = f"http://127.0.0.1:{foreign.server_port}"
    service = start_service(AZURE_SORA_ENDPOINT=endpoint, AZURE_API_KEY="wrong-key")
    body = service.wait_for(service.submit()["job_id"], "failed")
    assert body["error"]["code"] == "invalid_credentials"
    assert "AZURE_API_KEY" in body["error"]["message"]
    assert "wrong-key" not in json.dumps(body)
    assert foreign.seen[0][1] == "/openai/v1/video/generations/jobs?api-version=preview"


def test_without_a_provider_the_app_starts_and_says_so(start_service):
    """`generate` answers 503 `no_provider`, health says what to set, and the gallery still answers."""
    service = start_service("--no-simulator")
    answer = service.call("POST", "/api/videos/generate", json={"prompt": "x"})
    health = service.call("GET", "/api/health")
    gallery = service.call("GET", "/api/videos/user")
    assert (answer.status_code, answer.json()["code"]) == (503, "no_provider")
    assert "AZURE_SORA_ENDPOINT" in answer.json()["detail"]
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert gallery.json() == {"items": [], "next_cursor": None}
