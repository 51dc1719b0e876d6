"""`dev.py up` and `dev.py demo` with the real app, simulator and Azurite: what a stranger's first minutes look like."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

ROOT = Path(__file__).parents[2]


def processes_naming(folder: Path) -> list[str]:
    """Command lines of the living processes that name `folder` (Linux)."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(entry.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if str(folder) in line]


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for left-over processes in /proc")
def test_up_serves_with_keys_and_leaves_no_process(start_service: Callable[..., Any]) -> None:
    """`--enforce-keys` refuses a caller without the key in up.json; SIGTERM leaves no process and no up.json."""
    service = start_service("--enforce-keys")
    job = {"prompt": "a boat", "width": 480, "height": 480, "n_seconds": 1}
    assert service.call("POST", "/api/videos/generate", json=job).status_code == 401
    key = {"x-functions-key": service.up["keys"]["default"]}
    assert service.call("POST", "/api/videos/generate", json=job, headers=key).status_code == 202
    assert service.up["host"] == "embedded"
    assert processes_naming(service.data)
    service.stop()
    assert processes_naming(service.data) == []
    assert not (service.data / "up.json").exists()


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end, without a provider of this machine's person."""
    own = ("AZURE", "OPENAI", "IMAGE", "PROVIDERS")
    return subprocess.run(
        [sys.executable, "dev.py", "demo", *arguments, "--out", str(folder / "out"), "--data", str(folder / "data")],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(own)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_demo_saves_a_playable_video(tmp_path: Path) -> None:
    """One command: exit 0, progress on stderr, and a file whose frames decode at the size and length asked for."""
    done = demo(tmp_path, "--width", "480", "--height", "480", "--n-seconds", "1")
    assert done.returncode == 0, done.stderr
    assert "100 %  completed" in done.stderr
    (saved,) = (tmp_path / "out").glob("*.mp4")
    assert str(saved) in done.stdout
    with av.open(str(saved)) as video:
        frames = list(video.decode(video=0))
        assert (frames[0].width, frames[0].height) == (480, 480)
        assert float(video.duration / av.time_base) == pytest.approx(1, abs=0.1)
    assert len(frames) >= 20


@pytest.mark.slow
def test_demo_speaks_the_other_dialects(tmp_path: Path) -> None:
    """`--provider openai-videos --image` and nothing else: a video and an image of their usual sizes, both decode."""
    done = demo(tmp_path, "--provider", "openai-videos", "--image")
    assert done.returncode == 0, done.stderr
    for said in ("provider openai (openai-videos: sora-2", "provider image (openai-images: gpt-image-"):
        assert said in done.stdout
    found = {path.suffix: path for path in (tmp_path / "out").iterdir()}
    sizes = {}
    for suffix, path in found.items():
        assert f"saved    {path} (" in done.stdout
        with av.open(str(path)) as opened:
            frame = next(opened.decode(video=0))
            sizes[suffix] = (frame.width, frame.height)
    assert sizes == {".mp4": (1280, 720), ".png": (1024, 1024)}
