"""Starting, stopping, dying and coming back: in-process and as a command."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from emulator.sora.simulator import Simulator

JOBS = "/openai/v1/video/generations/jobs"


def test_restart_on_the_same_folder_forgets_nothing(serve: Callable[..., Any]) -> None:
    """Tasks, their progress, deletions, content bytes and accounts are as before; faults are gone."""
    before = serve()
    done = before.finish("done", n_variants=2)
    generation = done["generations"][0]["id"]
    video = before.video(generation)
    running, deleted = before.create("running").json()["id"], before.create("deleted").json()["id"]
    before.call("DELETE", f"{JOBS}/{deleted}")
    before.simulator.fault("get", "server_error", times=None)
    calls, stats = before.simulator.requests(), before.simulator.stats()
    before.simulator.stop()
    after = serve(clock=before.clock)
    assert (after.simulator.requests(), after.simulator.stats()) == (calls, stats)
    assert after.job(done["id"]) == done
    assert (after.video(generation).content, after.video(generation).headers["ETag"]) == (
        video.content,
        video.headers["ETag"],
    )
    after.clock.advance(100)
    assert after.job(running)["status"] == "succeeded"
    assert after.get(deleted).status_code == 404
    assert [job["prompt"] for job in after.call("GET", JOBS).json()["data"]] == ["running", "done"]


def test_clock_set_forward_stays_so_over_a_restart(serve: Callable[..., Any]) -> None:
    """A finished task is not unfinished again."""
    before = serve()
    task_id = before.create().json()["id"]
    before.control("POST", "/clock", json={"advance_seconds": 100})
    before.simulator.stop()
    assert serve(clock=before.clock).job(task_id)["status"] == "succeeded"


def test_stop_cuts_calls_under_way_and_may_be_repeated(serve: Callable[..., Any]) -> None:
    """A stalled download does not hold a stop up; the client sees a cut, the journal has the call."""
    provider = serve()
    generation = provider.generation()
    provider.simulator.fault("content", "stall", after=10, seconds=60)
    answer = provider.video(generation, stream=True)
    stopper = threading.Thread(target=provider.simulator.stop)
    stopper.start()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        list(answer.iter_content(1))
    stopper.join(timeout=10)
    assert not stopper.is_alive()
    provider.simulator.stop()
    assert serve(clock=provider.clock).simulator.requests("content")[0]["bytes"] == 10


def test_taken_port_is_an_os_error(serve: Callable[..., Any], tmp_path: Path) -> None:
    """start() raises in the caller's thread, and nothing keeps running."""
    port = int(serve().simulator.url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="address already in use"):
        Simulator(tmp_path / "other", port=port).start()


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run `python -m emulator.sora` with options; whatever still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def run(*options: str, **kwargs: Any) -> subprocess.Popen[str]:
        line = [
            sys.executable,
            "-W",
            "error",
            "-m",
            "emulator.sora",
            "--data",
            str(tmp_path / "cli"),
            "--media",
            "tiny",
        ]
        process = subprocess.Popen(
            [*line, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def ready(process: subprocess.Popen[str]) -> str:
    """Wait for the ready line; returns the address."""
    assert process.stdout is not None
    word, url = process.stdout.readline().split()
    assert word == "ready"
    return url


def test_command_serves_with_its_options_and_stops_cleanly(command: Callable[..., subprocess.Popen[str]]) -> None:
    """One ready line, key and faults in force, SIGTERM ends it with 0 and nothing on stderr."""
    fault = '{"op": "create", "kind": "server_error", "status": 503}'
    process = command("--port", "0", "--api-key", "k", "--generation-seconds", "0", "--fault", fault)
    url = ready(process)
    body = {"model": "sora", "prompt": "x", "width": 480, "height": 480, "n_seconds": 1}
    answers = [requests.post(url + JOBS, json=body, headers={"api-key": key}, timeout=5) for key in ("no", "k", "k")]
    assert [answer.status_code for answer in answers] == [401, 503, 201]
    job = requests.get(f"{url}{JOBS}/{answers[2].json()['id']}", headers={"api-key": "k"}, timeout=5).json()
    assert job["status"] == "succeeded"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_killed_command_comes_back_with_its_tasks(command: Callable[..., subprocess.Popen[str]]) -> None:
    """kill -9 and a new start on the same folder: the accepted task is there and the accounts are right."""
    first = command("--port", "0")
    url = ready(first)
    body = {"model": "sora", "prompt": "survivor", "width": 480, "height": 480}
    task_id = requests.post(url + JOBS, json=body, timeout=5).json()["id"]
    first.kill()
    first.wait()
    url = ready(command("--port", "0"))
    assert requests.get(f"{url}{JOBS}/{task_id}", timeout=5).json()["prompt"] == "survivor"
    assert requests.get(f"{url}/_control/stats", timeout=5).json()["accepted_by_prompt"] == {"survivor": 1}


def test_command_stops_with_its_parent(command: Callable[..., subprocess.Popen[str]]) -> None:
    """When the pipe from the parent closes, the simulator goes too."""
    process = command("--port", "0", "--stop-with-parent", stdin=subprocess.PIPE)
    ready(process)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=10) == 0


def test_command_explains_a_taken_port_and_a_bad_fault(command: Callable[..., subprocess.Popen[str]]) -> None:
    """One sentence on stderr and a non-zero exit, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = command("--port", str(taken.getsockname()[1]))
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (1, "")
    assert "address already in use" in err.lower()
    assert "Traceback" not in err
    process = command("--fault", '{"op": "create", "kind": "flood"}')
    _, err = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "unknown kind 'flood'" in err


def test_folder_belongs_to_one_simulator(serve: Callable[..., Any], tmp_path: Path) -> None:
    """A second simulator on the same folder is refused instead of working on stale copies."""
    serve()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        Simulator(tmp_path / "data").start()


@pytest.mark.parametrize("option", ["--generation-seconds=-1", "--media-bytes=0", "--max-running=x", "--media=huge"])
def test_senseless_options_are_refused(command: Callable[..., subprocess.Popen[str]], option: str) -> None:
    """Exit 2 and the option's name, before anything is served."""
    process = command(option)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, option.split("=")[0] in err) == (2, True)


def test_help_names_every_option_and_kind(command: Callable[..., subprocess.Popen[str]]) -> None:
    """--help is enough to use the simulator."""
    out, _ = command("--help", env={**os.environ, "COLUMNS": "120"}).communicate(timeout=10)
    for word in ("--generation-seconds", "--max-running", "POST   /_control/faults", "drop_answer", "[moderated]"):
        assert word in out


def test_command_speaks_with_the_profile_it_is_given(command: Callable[..., subprocess.Popen[str]]) -> None:
    """--profile, --cloud, --image-seconds and --poll-after-ms are in force; the help describes every profile."""
    url = ready(
        command("--port", "0", "--profile", "sglang", "--cloud", "--image-seconds", "0", "--poll-after-ms", "5")
    )
    limits = requests.get(f"{url}/_control", timeout=5).json()["limits"]
    assert {
        name: limits[name] for name in ("profile", "cloud", "image_seconds", "poll_after_ms", "expiry_seconds")
    } == {
        "profile": "sglang",
        "cloud": True,
        "image_seconds": 0.0,
        "poll_after_ms": 5,
        "expiry_seconds": None,
    }
    assert requests.post(f"{url}/v1/videos", json={"prompt": "x"}, timeout=5).json()["status"] == "queued"
    process = command("--profile", "azure", "--cloud")
    _, err = process.communicate(timeout=10)
    assert (process.returncode, "sglang can" in err) == (2, True)
    out, _ = command("--help").communicate(timeout=10)
    for word in ("vllm-omni", "Aquiles-Image: status word", "openai-images", "--forget-on-restart", "/_control/forget"):
        assert word in out


def test_folder_of_an_earlier_version_is_taken_over(serve: Callable[..., Any], tmp_path: Path) -> None:
    """A journal from before calls had a dialect is read and continued."""
    before = serve()
    before.create("old")
    before.simulator.stop()
    with sqlite3.connect(tmp_path / "data" / "sora.sqlite") as database:
        database.execute("ALTER TABLE calls DROP COLUMN dialect")
    database.close()
    after = serve(clock=before.clock)
    after.create("new")
    assert [call["dialect"] for call in after.simulator.requests("create")] == [None, "azure-jobs"]
    assert after.simulator.stats()["accepted_by_prompt"] == {"old": 1, "new": 1}


def test_profile_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """The constructor names the known ones."""
    with pytest.raises(ValueError, match="use azure, openai, vllm-omni, sglang, litellm, aquiles"):
        Simulator(tmp_path, profile="sora")
