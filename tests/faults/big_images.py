"""One answer with many large images in Base64: the right bytes, and no more of them in memory than one image.

The server here only writes such answers, as fast as they are read; the simulated provider would have to make pictures.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import requests
from big_download import MIB, idle_memory, peak_memory
from rig import Rig, sha256
from wishes import IMAGE

LARGE = (24 * MIB,) * 10
PIECE = 3 * 256 * 1024
"""Whole groups of three bytes, so that the Base64 of pieces is the Base64 of the whole."""


@dataclass(frozen=True)
class Answer:
    """How it went: bytes of `memory` above idle, while every image had `size` bytes."""

    size: int
    memory: int
    seconds: float
    wrong: list[str]

    @property
    def kept(self) -> bool:
        return not self.wrong and self.memory <= self.allowed

    @property
    def allowed(self) -> int:
        """An image is in memory three times in Base64 (the parser's, its text, a copy to decode), and once decoded."""
        return 5 * self.size + 40 * MIB


class ImageServer(ThreadingHTTPServer):
    """Answers every POST with images of these `sizes` in bytes, the largest first. `posts`: how many came."""

    daemon_threads = True

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sizes, self.posts = sizes, 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @cached_property
    def digests(self) -> list[str]:
        """SHA-256 of every image."""
        found = []
        for number, size in enumerate(self.sizes):
            digest = hashlib.sha256()
            for piece in image(number, size):
                digest.update(piece)
            found.append(digest.hexdigest())
        return found


class _Handler(BaseHTTPRequestHandler):
    server: ImageServer

    def do_POST(self) -> None:
        self.server.posts += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()  # the end of the answer is that of the connection
        self.wfile.write(json.dumps({"created": int(time.time())}).removesuffix("}").encode() + b', "data": [')
        for number, size in enumerate(self.server.sizes):
            self.wfile.write(b', {"b64_json": "' if number else b'{"b64_json": "')
            for piece in image(number, size):
                self.wfile.write(base64.b64encode(piece))
            self.wfile.write(b'"}')
        self.wfile.write(b"]}")

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(sizes: Sequence[int]) -> Iterator[ImageServer]:
    with ImageServer(sizes) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def image(number: int, size: int) -> Iterator[bytes]:
    """The bytes of a file that begins as a PNG does, in pieces; each piece tells its place."""
    header = struct.pack(">IIBBBBB", 3840, 2160, 8, 2, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header
    head += struct.pack(">I", zlib.crc32(b"IHDR" + header)) + struct.pack(">I", size) + b"IDAT"
    block = hashlib.shake_256(f"image {number}".encode()).digest(PIECE)
    for start in range(0, size, PIECE):
        head = head or start.to_bytes(8, "big")
        yield (head + block)[: min(PIECE, size - start)]
        head = b""


def images_rig(folder: Path, connection_string: str, url: str) -> Rig:
    return Rig(folder, connection_string, IMAGE_ENDPOINT=url, SUBMIT_GRACE_SECONDS="60")


def run_images(rig: Rig, server: ImageServer) -> Answer:
    """Let one job have all the images of one answer."""
    rig.app.start()
    requests.get(f"{rig.app.url}/api/health", timeout=30)  # builds every adapter
    idle = idle_memory(rig.app)
    (wish,) = rig.wish(["many"], variants=len(server.sizes), what=IMAGE)
    began = time.monotonic()
    rig.submit([wish])[0].result()
    done = rig.complete(120)
    seconds, memory = time.monotonic() - began, peak_memory(rig.app) - idle
    job = rig.find(wish)
    if not done or job is None or job.status != "completed":
        return Answer(server.sizes[0], memory, seconds, [f"it is {job and job.status}: {job and job.fault}"])
    url = f"{rig.app.url}/api/images/{job.job_id}/result"
    kept = requests.get(url, headers={"X-User-Id": wish.owner}, timeout=30).json()["images"]
    wrong = [] if server.posts == 1 else [f"{server.posts} creates were sent"]
    if [sha256(one["file_url"]) for one in kept] != server.digests:
        wrong.append("an image is missing or has the wrong bytes")
    return Answer(server.sizes[0], memory, seconds, wrong)
