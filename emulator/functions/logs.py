"""One-line logs on stderr: time, level, function, invocation, message; levels as host.json's `logging.logLevel` says.

`running` is the invocation that the current thread or task works for; the worker sets it. Categories are the Functions
host's: what user code logs is `Function.<name>.User`, what the host says of a run is `Function.<name>`, the durable
engine is `Host.Triggers.DurableTask`, the rest of the host is `Host`. The longest category named in host.json decides.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timezone

_HOST = "emulator.functions"
_ENGINE = "reelkeeper.functions"


@dataclass(frozen=True)
class Invocation:
    """One run of one function."""

    id: str
    function: str


running: ContextVar[Invocation | None] = ContextVar("running", default=None)


def configure_logging(levels: Mapping[str, int]) -> None:
    """Send every log record to stderr, filtered by `levels` (category -> lowest level)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    handler.addFilter(_CategoryFilter(levels))
    verbose = os.environ.get("PYTHON_ENABLE_DEBUG_LOGGING", "").lower() in ("true", "1")  # as in the worker
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True)
    for ours in (_HOST, _ENGINE):
        logging.getLogger(ours).setLevel(min(levels.values()))


class _CategoryFilter(logging.Filter):
    def __init__(self, levels: Mapping[str, int]) -> None:
        super().__init__()
        self._levels = levels

    def filter(self, record: logging.LogRecord) -> bool:
        category = _category(record.name)
        named = [name for name in self._levels if f"{category}.".startswith(f"{name}.")]
        return record.levelno >= self._levels[max(named, key=len, default="default")]


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        invocation = running.get()
        moment = datetime.fromtimestamp(record.created, timezone.utc).strftime("%H:%M:%S.%f")[:-3]
        where = f"{invocation.function} {invocation.id[:8]}" if invocation else record.name.rpartition(".")[2]
        line = f"{moment}Z {record.levelname:<7} {where}: {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _category(logger: str) -> str:
    if logger.startswith(_ENGINE):
        return "Host.Triggers.DurableTask"
    invocation, ours = running.get(), logger.startswith(_HOST)
    if invocation:
        return f"Function.{invocation.function}" + ("" if ours else ".User")
    return "Host" if ours else logger
