"""A fresh app on fakes for every test of the activities."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.extend([str(Path(__file__).parent), str(Path(__file__).parents[1] / "fakes")])

from world import World


@pytest.fixture
def world() -> World:
    """The app's services at 09:00, nothing recorded."""
    return World()
