"""A storage of the fault tests' own: a sweep looks after every job that it finds there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "fakes"))

from emulator.azurite import Azurite


@pytest.fixture(scope="session")
def faults_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of one Azurite that outlives every kill."""
    with Azurite(tmp_path_factory.mktemp("faults") / "azurite") as running:
        yield running.connection_string
