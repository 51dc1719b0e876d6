"""The real LiteLLM proxy from PyPI: an environment of its own under .dev, and one process in front of one upstream.

Plan: 1. a virtual environment per LiteLLM and Python version, made once (about 40 s, 740 MB) by whoever comes first
and complete when its marker is there; 2. a config with a model of each kind, whose upstream is given; 3. the proxy as a
child process whose proxy settings send everything but 127.0.0.1 to a port on which nobody listens.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from emulator.children import Child
from emulator.lock import FolderLock
from emulator.ports import any_free
from emulator.toolchain import WINDOWS, fault_of

ROOT = Path(__file__).parents[2]
CONSTRAINTS = Path(__file__).with_name("litellm-constraints.txt")
VERSION = "1.106.2"
INSTALL_SECONDS = 480.0
START_SECONDS = 90.0
STOP_SECONDS = 15.0
KEY = "sk-of-the-proxy"
MODELS = {"videos": "sora-2", "images": "gpt-image-1.5"}
OUTSIDE = "http://127.0.0.1:9"
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "TEMP", "SYSTEMROOT", "USERPROFILE")


class NotInstallable(Exception):
    """LiteLLM cannot be installed here; the text says why, in pip's words."""


def installed(root: Path = ROOT) -> Path:
    """The Python of LiteLLM's environment, which is made now unless it is there. Raises NotInstallable."""
    folder = root / ".dev" / f"litellm-{VERSION}-py{sys.version_info[0]}{sys.version_info[1]}"
    python = folder / ("Scripts/python.exe" if WINDOWS else "bin/python")
    complete = folder / "complete"
    deadline = time.monotonic() + INSTALL_SECONDS
    with _one_at_a_time(folder.with_name(f"{folder.name}.lock"), deadline):
        if complete.exists() and not fault_of(python):
            return python
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", folder], deadline)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "2"]
        seen: list[str | Path] = ["-c", CONSTRAINTS] if sys.version_info >= (3, 11) else []
        _run([*pip, *seen, "--only-binary", ":all:", f"litellm[proxy]=={VERSION}"], deadline)
        complete.touch()
    return python


@contextlib.contextmanager
def _one_at_a_time(path: Path, deadline: float) -> Iterator[None]:
    lock = FolderLock(path)
    path.parent.mkdir(exist_ok=True)
    while not lock.acquire(str(os.getpid())):
        if time.monotonic() > deadline:
            raise NotInstallable(f"process {lock.holder()} has been installing LiteLLM for too long")
        time.sleep(0.2)
    try:
        yield
    finally:
        lock.release()


def _run(command: list[str | Path], deadline: float) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=max(deadline - time.monotonic(), 1),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotInstallable(f"litellm=={VERSION} was not installed within {INSTALL_SECONDS:.0f} s") from None
    if done.returncode:
        lines = [line[:200] for line in done.stdout.splitlines()]  # pip may list a thousand versions in one
        said = " ".join([line for line in lines if line.startswith("ERROR")] or lines[-3:])
        raise NotInstallable(f"litellm=={VERSION} cannot be installed: {said}")


@contextlib.contextmanager
def proxy(folder: Path, upstream: str, upstream_key: str) -> Iterator[str]:
    """Run the proxy in front of `upstream` (a /v1 base URL); yields its own /v1 base URL."""
    python, port = installed(), any_free()
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.json"  # YAML is a superset
    config.write_text(json.dumps(_config(upstream, upstream_key)))
    child = Child(
        "LiteLLM",
        [
            *(sys.executable, "-m", "emulator.guard", python.with_name("litellm")),
            *("--config", config, "--host", "127.0.0.1", "--port", str(port)),
        ],
        cwd=ROOT,
        env={
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "HTTP_PROXY": OUTSIDE,
            "HTTPS_PROXY": OUTSIDE,
            "NO_PROXY": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
        },
        log=folder / "litellm.log",
    )
    try:
        _await(child, f"http://127.0.0.1:{port}/health/liveliness")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        child.stop(STOP_SECONDS)


def _config(upstream: str, upstream_key: str) -> dict[str, object]:
    """Without `num_retries` the proxy sends a create again whose answer it lost, and pays for two tasks."""
    place = {"api_base": upstream, "api_key": upstream_key}
    served = {model: {"model": f"openai/{model}", **place} for model in MODELS.values()}
    return {
        "model_list": [{"model_name": model, "litellm_params": params} for model, params in served.items()],
        "general_settings": {"master_key": KEY},
        "router_settings": {"num_retries": 0},
        "litellm_settings": {"telemetry": False},
    }


def _await(child: Child, url: str) -> None:
    opener, deadline = urllib.request.build_opener(urllib.request.ProxyHandler({})), time.monotonic() + START_SECONDS
    while True:
        child.check()
        with contextlib.suppress(OSError), opener.open(url, timeout=5):
            return
        assert time.monotonic() < deadline, child.tail()
        time.sleep(0.1)
