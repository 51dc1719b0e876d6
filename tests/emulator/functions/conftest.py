"""Fixtures for tests that serve a small app of `hostapps/` through a real host."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from emulator.functions.host import Host

HOST_APPS = Path(__file__).parent / "hostapps"


@pytest.fixture
def serve() -> Iterator[Callable[..., Host]]:
    """Return `serve(app, **options)`: start a host on a folder of hostapps (or any path) and stop it after the test."""
    with ExitStack() as stack:

        def start(app: str | Path, **options: Any) -> Host:
            return stack.enter_context(Host(HOST_APPS / app, **options))

        yield start


@pytest.fixture
def make_app(tmp_path: Path) -> Callable[..., Path]:
    """Return `make_app(source, host_json=None)`: write an app into an empty folder and return the folder."""

    def make(source: str, host_json: dict[str, Any] | None = None) -> Path:
        root = tmp_path / "app"
        root.mkdir(exist_ok=True)
        (root / "host.json").write_text(json.dumps({"version": "2.0", **(host_json or {})}), encoding="utf-8")
        (root / "function_app.py").write_text(source, encoding="utf-8")
        return root

    return make
