"""dev.py itself: what it needs, what it offers, and whom it turns away."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "dev.py", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def test_it_runs_before_anything_is_installed() -> None:
    """dev.py and every module it pulls in import the standard library only."""
    waiting, seen = [ROOT / "dev.py"], set()
    while waiting:
        path = waiting.pop()
        seen.add(path.name)
        for name in imports_of(path):
            top, *rest = name.split(".")
            assert top == "emulator" or top in sys.stdlib_module_names, f"{path} imports {name}"
            if top == "emulator":
                candidates = [
                    ROOT.joinpath(top, *rest[:1]).with_suffix(".py"),
                    ROOT.joinpath(top, rest[0], "__init__.py"),
                ]
                waiting += [each for each in candidates if each.exists() and each.name not in seen]
    assert {"toolchain.py", "stack.py", "demo.py", "__init__.py"} <= seen


def test_help_shows_the_commands_with_examples() -> None:
    """--help names the four commands and shows how to use them; each command has its own."""
    told = run("--help").stdout
    for part in ("demo", "up", "test", "check", "examples:", "python3 dev.py up"):
        assert part in told
    assert "--no-simulator" in run("up", "--help").stdout
    assert "pytest" in run("test", "--help").stdout


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["up", "--port", "70000"], ["up", "--host", "azure"]], ids=lambda given: " ".join(given)
)
def test_a_wrong_command_line_is_refused(arguments: list[str]) -> None:
    """Unknown commands and values end with usage and exit 2, before anything is set up."""
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_an_unsupported_python_is_told_which_are_supported() -> None:
    """Python 3.13 gets one sentence with the supported versions and its own path, and exit 1."""
    script = "import sys; sys.version_info = (3, 13, 0, 'final', 0); import dev; sys.exit(dev.main(['up']))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "3.10, 3.11 or 3.12" in done.stderr
    assert "This is Python 3.13" in done.stderr
    assert "Traceback" not in done.stderr


def test_everything_after_test_goes_to_pytest(tree: Any) -> None:
    """Options that look like ours reach pytest untouched, and its exit code is ours."""
    (tree.root / "test_it.py").write_text("def test_yes(): pass\ndef test_no(): assert 0\n")
    done = tree.dev("test", "-q", "-k", "yes", "--port", "1")
    assert done.returncode == 4
    assert "unrecognized arguments: --port" in done.stderr
    assert tree.dev("test", "-q", "-k", "yes").returncode == 0
    assert "1 failed" in tree.dev("test", "-q", "-k", "no").stdout


def test_check_runs_all_and_sums_up(tree: Any) -> None:
    """One failing check does not hide the others: all four run, the last line sums up, exit 1; --fix formats."""
    (tree.root / "tests").mkdir()
    (tree.root / "tests" / "test_layout.py").write_text("def test_layout():\n    pass\n")
    ruff = '[tool.ruff]\nline-length = 120\nextend-exclude = ["node_modules"]\n[tool.ruff.lint]\nselect = ["E9"]\n'
    (tree.root / "pyproject.toml").write_text(f'{ruff}[tool.mypy]\nfiles = ["bad.py"]\n')
    (tree.root / "bad.py").write_text("x:int = 'one'")
    done = tree.dev("check")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "check: format FAILED, lint ok, types FAILED, layout ok"
    (tree.root / "bad.py").write_text("x:int = 1")
    done = tree.dev("check", "--fix")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "check: format ok, lint ok, types ok, layout ok"
