"""``dev.py demo`` against a stand-in app that plays the HTTP contract of its jobs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from emulator.demo import Wish, chosen
from emulator.trouble import Trouble

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
    assert "provider sora (azure-jobs: m at h)" in done.stdout
    assert list((tree.root / ".dev").glob("demo-*")) == []
    assert tree.processes() == []


def test_only_what_was_asked_for_is_sent() -> None:
    """Sizes and lengths nobody gave are not named, so that they are the provider's own; nor is a provider."""
    assert Wish(Path("out"), "a kite").body() == {"prompt": "a kite"}
    wish = Wish(Path("out"), "a kite", width=480, height=854, n_seconds=8, n_variants=2, provider="openai", image=True)
    size = {"width": 480, "height": 854, "n_seconds": 8, "n_variants": 2}
    assert wish.body() == {"prompt": "a kite", "provider": "openai", **size}


@pytest.mark.parametrize(
    ("wanted", "name"),
    [(None, None), ("azure-jobs", "sora"), ("openai-videos", "mine"), ("openai", "openai")],
)
def test_a_provider_is_named_by_its_name_or_its_dialect(wanted: str | None, name: str | None) -> None:
    """The first of a dialect is taken; nobody named leaves the choice to the service."""
    offered = {"sora": "azure-jobs", "mine": "openai-videos", "openai": "openai-videos"}
    assert chosen([{"name": name, "dialect": dialect} for name, dialect in offered.items()], wanted) == name


def test_an_unknown_provider_is_told_with_those_there_are() -> None:
    """The message names each one with its dialect."""
    with pytest.raises(Trouble, match=r"--provider acme: .*there is mine \(openai-videos\)"):
        chosen([{"name": "mine", "dialect": "openai-videos"}], "acme")


def test_an_image_is_made_as_well(tree: Any) -> None:
    """With --image a second job is told in the same words as the first, and its PNG is saved beside the video."""
    asked = ["--provider", "openai-videos", "--image", "--prompt", "a kite", "--data", str(tree.data)]
    done = tree.dev("demo", *asked)
    assert done.returncode == 0, done.stderr
    assert tree.read("functions/bodies.json") == [{"prompt": "a kite", "provider": "openai"}, {"prompt": "a kite"}]
    assert sorted(path.name for path in (tree.root / "out").iterdir()) == ["image_j1_0.png", "video_j1_0.mp4"]
    assert (tree.root / "out" / "image_j1_0.png").read_bytes().startswith(b"\x89PNG")
    for part in ("provider openai (openai-videos", "/api/images/j1/content", "provider image (openai-images"):
        assert part in done.stdout
    assert "image_j1_0.png (1024x1024, 1 kB)" in done.stdout
    assert done.stderr.count("100 %  completed") == 2


def test_what_nobody_makes_is_refused_before_anything_is_paid(tree: Any) -> None:
    """Without a provider of images --image sends no job at all, not even the video's."""
    tree.env["STANDIN_PROVIDERS"] = "openai"
    done = tree.dev("demo", "--image", "--data", str(tree.data))
    assert done.returncode == 1
    assert "Set IMAGE_ENDPOINT" in done.stderr
    assert not (tree.data / "functions" / "bodies.json").exists()


def test_a_failed_job_is_told_with_its_code_and_keeps_the_logs(tree: Any) -> None:
    """A refused prompt ends with exit 1, the code, the sentence, the provider's own, and the folder of logs."""
    done = tree.dev("demo", "--prompt", "please fail")
    assert done.returncode == 1
    assert "moderation_input: The prompt was refused.\n  The provider says: Not that word.\n" in done.stderr
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
    assert "is not MP4" in done.stderr
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
