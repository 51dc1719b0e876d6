"""The wire of a server that an address leads to."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "fakes"))

from wire import wire

__all__ = ["wire"]
