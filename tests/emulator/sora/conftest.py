"""A simulator on a virtual clock, and clients that speak to it as the app would: through HTTP only."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
import pytest
import requests

from emulator.sora.simulator import Simulator

JOBS = "/openai/v1/video/generations/jobs"
GENERATIONS = "/openai/v1/images/generations"
START = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
GENERATION_SECONDS = 100.0


@dataclass
class ManualClock:
    """A clock that moves when told."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Provider:
    """One simulator and a session with it."""

    simulator: Simulator
    clock: ManualClock
    session: requests.Session = field(default_factory=requests.Session)

    def call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Call any path; 5 s at most, redirects as answers."""
        return self.session.request(
            method, self.simulator.url + path, **{"timeout": 5, "allow_redirects": False, **kwargs}
        )

    def control(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Call the control endpoint."""
        return self.call(method, f"/_control{path}", **kwargs)

    def create(self, prompt: str = "a fox in the snow", **fields: Any) -> requests.Response:
        """Ask for a small video."""
        body = {"model": "sora", "prompt": prompt, "width": 480, "height": 480, "n_seconds": 1, **fields}
        return self.call("POST", JOBS, json={name: value for name, value in body.items() if value is not None})

    def get(self, task_id: str) -> requests.Response:
        """Poll a task."""
        return self.call("GET", f"{JOBS}/{task_id}")

    def job(self, task_id: str) -> dict[str, Any]:
        """Poll a task that must be there."""
        answer = self.get(task_id)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def finish(self, prompt: str = "a fox in the snow", **fields: Any) -> dict[str, Any]:
        """Create a task and let its time pass."""
        created = self.create(prompt, **fields)
        assert created.status_code == 201, created.text
        self.clock.advance(GENERATION_SECONDS)
        return self.job(created.json()["id"])

    def generation(self, **fields: Any) -> str:
        """Id of a finished generation."""
        return str(self.finish(**fields)["generations"][0]["id"])

    def video(self, generation_id: str, method: str = "GET", what: str = "video", **kwargs: Any) -> requests.Response:
        """Fetch content."""
        return self.call(method, f"/openai/v1/video/generations/{generation_id}/content/{what}", **kwargs)


@dataclass
class Videos:
    """A client of the Videos API at one simulator."""

    provider: Provider
    form: bool  # the server takes forms only
    base: str = "/v1/videos"

    def create(self, prompt: str = "a fox in the snow", **fields: Any) -> requests.Response:
        """Ask for a video, the smallest there is; files are (name, bytes, media type)."""
        body = {"model": "sora-2", "prompt": prompt, "seconds": "4", "size": "720x1280", **fields}
        body = {name: value for name, value in body.items() if value is not None}
        if self.form or any(isinstance(value, tuple) for value in body.values()):
            parts = {name: value if isinstance(value, tuple) else (None, value) for name, value in body.items()}
            return self.provider.call("POST", self.base, files=parts)
        return self.provider.call("POST", self.base, json=body)

    def call(self, method: str, video_id: str, path: str = "", **kwargs: Any) -> requests.Response:
        """Call a route of one video."""
        return self.provider.call(method, f"{self.base}/{quote(video_id, safe='')}{path}", **kwargs)

    def get(self, video_id: str) -> requests.Response:
        """Poll a video."""
        return self.call("GET", video_id)

    def new(self, prompt: str = "a fox in the snow", **fields: Any) -> str:
        """Create a video that must be accepted; returns its id."""
        answer = self.create(prompt, **fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def finish(self, prompt: str = "a fox in the snow", **fields: Any) -> str:
        """Create a video and let its time pass."""
        video_id = self.new(prompt, **fields)
        self.provider.clock.advance(GENERATION_SECONDS)
        return video_id

    def content(self, video_id: str, variant: str | None = None, **kwargs: Any) -> requests.Response:
        """Fetch content."""
        return self.call("GET", video_id, "/content", params={"variant": variant} if variant else {}, **kwargs)

    def ids(self, query: str = "") -> list[str]:
        """The ids in the list."""
        answer = self.provider.call("GET", f"{self.base}?{query}")
        assert answer.status_code == 200, answer.text
        return [video["id"] for video in answer.json()["data"]]


class Draw:
    """A client of the Images API; the provider starts with the first call, with its `profile`."""

    def __init__(self, serve: Callable[..., Any]) -> None:
        self._serve = serve
        self.provider: Any = None

    def __call__(
        self, prompt: Any = "a fox in the snow", path: str = GENERATIONS, profile: str = "azure", **fields: Any
    ) -> requests.Response:
        """Ask for an image; fields that are None are left out."""
        self.provider = self.provider or self._serve(profile=profile)
        body = {"model": "gpt-image-1", "prompt": prompt, **fields}
        body = {name: value for name, value in body.items() if value is not None}
        answer: requests.Response = self.provider.call("POST", path, json=body)
        return answer


@pytest.fixture
def serve(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., Provider]]:
    """Start providers (tiny media, virtual clock, folder `data` unless told otherwise); none may log an error."""
    running: list[Provider] = []

    def start(**options: Any) -> Provider:
        clock = options.pop("clock", None) or ManualClock()
        settings = {"generation_seconds": GENERATION_SECONDS, "media": "tiny", "image_seconds": 0, **options}
        provider = Provider(Simulator(tmp_path / "data", clock=clock, **settings).start(), clock)
        running.append(provider)
        return provider

    yield start
    for provider in running:
        provider.simulator.stop()
        provider.session.close()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.fixture
def provider(serve: Callable[..., Provider]) -> Provider:
    """A healthy provider."""
    return serve()


@pytest.fixture
def speak(serve: Callable[..., Provider]) -> Callable[..., Videos]:
    """Start a provider with a profile and options; returns a client of its Videos API."""

    def start(profile: str = "azure", **options: Any) -> Videos:
        return Videos(serve(profile=profile, **options), form=profile == "vllm-omni")

    return start


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Make a PNG, JPEG or WebP of some size."""

    def make(width: int, height: int, codec: str = "png") -> bytes:
        container_format, pixels = {
            "png": ("image2pipe", "rgb24"),
            "mjpeg": ("mjpeg", "yuvj420p"),
            "libwebp": ("webp", "yuv420p"),
        }[codec]
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=container_format) as container:
            stream = container.add_stream(codec, rate=1)
            stream.width, stream.height, stream.pix_fmt = width, height, pixels
            container.mux(stream.encode(av.VideoFrame(width, height, pixels)))
            container.mux(stream.encode(None))
        return buffer.getvalue()

    return make


@pytest.fixture
def decode() -> Callable[[bytes], list[av.VideoFrame]]:
    """Decode a video or a picture into its frames."""

    def frames(data: bytes) -> list[av.VideoFrame]:
        with av.open(io.BytesIO(data)) as container:
            return list(container.decode(video=0))

    return frames


@pytest.fixture
def draw(serve: Callable[..., Any]) -> Draw:
    """A client of the Images API."""
    return Draw(serve)


@pytest.fixture
def images() -> Callable[[requests.Response], list[bytes]]:
    """Take the pictures out of a base64 answer."""

    def pictures(answer: requests.Response) -> list[bytes]:
        assert answer.status_code == 200, answer.text
        return [base64.b64decode(item["b64_json"], validate=True) for item in answer.json()["data"]]

    return pictures
