"""``dev.py demo`` against a stand-in app that plays the HTTP contract of one job."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="process groups and /proc")


def test_a_prompt_becomes_a_file(tree: Any) -> None:
    """The demo draws progress, follows the content link, saves the MP4, prints the URLs, and leaves nothing behind."""
    done = tree.dev("demo", "--prompt", "a red kite")
    assert done.returncode == 0, done.stderr
    saved = tree.root / "out" / "video_j1_0.mp4"
    assert saved.read_bytes()[4:8] == b"ftyp"
    assert str(saved) in done.stdout
    for part in ("/api/videos/j1/status", "/api/videos/j1/result", "/api/videos/j1/content", "expires in 1 h"):
        assert part in done.stdout
    lines = [line.split(" s ")[1].split() for line in done.stderr.splitlines() if " s  " in line]
    assert lines == [
        ["0", "%", "pending"],
        ["45", "%", "generating"],
        ["90", "%", "generating"],
        ["100", "%", "completed"],
    ]
    assert list((tree.root / ".dev").glob("demo-*")) == []
    assert tree.processes() == []


def test_a_failed_job_is_told_with_its_code_and_keeps_the_logs(tree: Any) -> None:
    """A refused prompt ends with exit 1, the code, the sentence, and the folder of logs that was kept."""
    done = tree.dev("demo", "--prompt", "please fail")
    assert done.returncode == 1
    assert "moderation_input: The prompt was refused." in done.stderr
    kept = next((tree.root / ".dev").glob("demo-*"))
    assert str(kept / "logs") in done.stderr
    assert (kept / "logs" / "app.log").exists()


def test_a_refused_request_names_the_field(tree: Any) -> None:
    """A 400 is shown with the field the service complains about."""
    done = tree.dev("demo", "--prompt", "")
    assert done.returncode == 1
    assert "(400)" in done.stderr
    assert "prompt: too short" in done.stderr


def test_what_is_no_mp4_is_not_saved_as_one(tree: Any) -> None:
    """When the content link gives something else, the demo says so and out/ holds no .mp4."""
    done = tree.dev("demo", "--prompt", "html", "--data", str(tree.root / "mine"))
    assert done.returncode == 1
    assert "not an MP4" in done.stderr
    assert list((tree.root / "out").glob("*.mp4")) == []
    assert (tree.root / "mine" / "logs").is_dir()


def test_ctrl_c_ends_the_demo_and_its_service(tree: Any) -> None:
    """Ctrl-C in the middle of a job stops everything; the exit code is the one shells expect."""
    demo = tree.start("demo", "--prompt", "forever")
    tree.until(lambda: "75 %" in demo.stderr.read_text())
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.process.wait(30) == 130
    assert "Traceback" not in demo.stderr.read_text()
    assert tree.processes() == []
