"""A throw-away copy of the repository in which dev.py runs for real, with stand-ins for the app and the simulator."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from emulator.toolchain import REQUIREMENTS

ROOT = Path(__file__).resolve().parents[2]
STANDINS = Path(__file__).with_name("standins")
# What a developer has set on this machine must not change what these tests see.
PERSONAL = ("AZURE_SORA_ENDPOINT", "AZURE_API_KEY", "PROVIDERS", "OPENAI_BASE_URL", "IMAGE_ENDPOINT", "MEDIA_STORAGE")
PERSONAL += ("AzureWebJobsStorage", "NO_PROXY", "no_proxy")
DEADLINE_SECONDS = 30.0


@dataclass
class Tree:
    """The copy at ``root``; ``env`` is the environment of the dev.py processes started in it."""

    root: Path
    env: dict[str, str]
    running: list[Started] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.root / ".dev" / "data"

    def read(self, path: Path | str) -> Any:
        """Return the JSON of a file, relative to the default data folder."""
        return json.loads((self.data / path).read_text())

    def processes(self) -> list[str]:
        """Command lines of the living processes that name this tree (Linux)."""
        lines = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                lines.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        return [line for line in lines if str(self.root) in line]

    def until(self, true: Callable[[], object]) -> None:
        """Wait for a condition with a deadline."""
        wait_until(true)

    def answers(self, url: str) -> bool:
        """Whether an HTTP server listens at ``url``."""
        try:
            urllib.request.build_opener().open(url, timeout=2).close()
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            return False
        return True

    def dev(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run dev.py to its end."""
        command = [sys.executable, "dev.py", *arguments]
        return subprocess.run(
            command, cwd=self.root, env=self.env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
        )

    def up(self, *arguments: str, port: str = "0") -> Started:
        """Start ``dev.py up``, without waiting."""
        return self.start("up", "--port", port, *arguments)

    def start(self, *arguments: str) -> Started:
        """Start dev.py in a process group of its own, without waiting."""
        number = len(self.running)
        out, err = self.root / f"dev{number}.out", self.root / f"dev{number}.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "dev.py", *arguments],
                cwd=self.root,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self.running.append(Started(process, out, err))
        return self.running[-1]


@dataclass
class Started:
    """A dev.py that runs, with the files of its output."""

    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    def ready(self) -> str:
        """Wait for the ready line and return the app's URL."""
        wait_until(lambda: self.process.poll() is not None or self.stdout.read_text().endswith("\n"))
        assert self.process.poll() is None, self.stderr.read_text()
        return self.stdout.read_text().split()[1]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)


def wait_until(true: Callable[[], object]) -> None:
    """Wait for a condition with a deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """A set-up copy of the repository: stamps in place, .venv and node_modules linked to the real ones."""
    root = tmp_path / "reelkeeper"
    emulator = root / "emulator"
    (emulator / "functions").mkdir(parents=True)
    (emulator / "sora").mkdir()
    for name in (*REQUIREMENTS, "dev.py"):
        shutil.copy(ROOT / name, root)
    for path in (ROOT / "emulator").glob("*.py"):
        shutil.copy(path, emulator)
    shutil.copytree(ROOT / "emulator" / "azurite", emulator / "azurite", ignore=shutil.ignore_patterns("node_modules"))
    shutil.copy(STANDINS / "child.py", emulator / "standin_child.py")
    for name in ("functions", "sora"):
        shutil.copy(STANDINS / f"{name}.py", emulator / name / "__main__.py")

    modules = emulator / "azurite" / "node_modules"
    modules.mkdir()
    (modules / "azurite").symlink_to(ROOT / "emulator" / "azurite" / "node_modules" / "azurite")
    lockfile = (emulator / "azurite" / "package-lock.json").read_bytes()
    (modules / "reelkeeper-azurite").write_text(hashlib.sha256(lockfile).hexdigest())

    (root / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", root / ".venv")
    (root / ".venv" / "lib").symlink_to(Path(sys.prefix) / "lib")
    (root / ".venv" / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    (root / ".venv" / "bin" / "ruff").symlink_to(Path(sys.prefix) / "bin" / "ruff")  # a program, not a module
    requirements = b"\0".join((root / name).read_bytes() for name in REQUIREMENTS)
    (root / ".venv" / "reelkeeper-packages").write_text(hashlib.sha256(requirements).hexdigest())

    env = {name: value for name, value in os.environ.items() if name not in PERSONAL}
    made = Tree(root, env)
    yield made
    for each in made.running:
        if each.process.poll() is None:
            os.killpg(each.process.pid, signal.SIGKILL)
            each.process.wait()
    wait_until(lambda: not made.processes())
