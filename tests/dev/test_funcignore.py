"""What ends up in the deployed package, by the rules of both programs that read .funcignore."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pathspec
import pytest

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / ".funcignore").read_text().splitlines()

DEPLOYED = """\
function_app.py host.json requirements.txt triggers/__init__.py orchestrators/render.py activities/download.py
entities/gate.py reelkeeper/model.py reelkeeper/providers/azure_jobs.py web/index.html web/gallery.js
"""
LOCAL = """\
dev.py pyproject.toml constraints.txt requirements-dev.txt local.settings.json README.md CHANGELOG.md .funcignore
.gitignore .venv/bin/python .dev/data/up.json .ci/run .git/HEAD emulator/stack.py emulator/sora/media.py
emulator/azurite/node_modules/azurite/package.json tests/conftest.py tests/dev/test_funcignore.py docs/api.md
bench/run.py infra/main.bicep out/video.mp4 .mypy_cache/3.10/x.json reelkeeper/__pycache__/model.pyc
"""


def by_core_tools(path: str) -> bool:
    """Whether Core Tools leave ``path`` out: each line is a prefix from the root that ends at a word boundary."""
    lines = sorted(line.strip().removeprefix("/") for line in LINES if line.strip() and not line.startswith("#"))
    patterns = [re.escape(line).replace(r"\*\*", "(.+)").replace(r"\*", "([^/]+)") for line in lines]
    return re.match(rf"^(({')|('.join(patterns)}))\b", path) is not None


def by_gitignore(path: str) -> bool:
    """Whether azd leaves ``path`` out: as git would."""
    return pathspec.GitIgnoreSpec.from_lines(LINES).match_file(path)


@pytest.mark.parametrize("ignores", [by_core_tools, by_gitignore])
def test_the_package_holds_the_app_and_nothing_else(ignores: Callable[[str], bool]) -> None:
    """Both readers ship every file of the app, and leave out the emulators, tests, tools and local files."""
    assert [path for path in DEPLOYED.split() if ignores(path)] == []
    assert [path for path in LOCAL.split() if not ignores(path)] == []
