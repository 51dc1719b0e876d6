"""Provider tasks and their life, shared by every dialect.

A task's whole life is fixed when it is made: it passes the phases queued, preparing, rendering and finishing
in shares of its duration and ends at `ends` (never, when None) as succeeded, failed or cancelled. What it looks
like is then a pure function of the time, so the injected clock rules everything and a restart changes nothing.
`TaskStore` keeps the tasks in SQLite and remembers deleted ones, because "was this prompt paid twice?" is asked
after the deletion too.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import asdict, dataclass, field, replace
from typing import Any

PHASES = (("queued", 0.05), ("preparing", 0.15), ("rendering", 0.90), ("finishing", 1.0))
ENDS = frozenset({"succeeded", "failed", "cancelled"})
FAILS_AT = {"input_moderation": 0.15, "internal_error": 0.6, "output_moderation": 0.9}
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True)
class Task:
    """One paid generation. Times are Unix seconds of the simulator's clock; `outputs` are the ids it will yield.

    `kept_seconds` count from the end, or from the creation; None keeps it for ever. A picture has 0 `seconds`.
    A deleted task that is `unaborted` works on and holds its place.
    """

    id: str
    dialect: str
    prompt: str
    model: str
    width: int
    height: int
    seconds: int
    created: float
    duration: float
    ends: float | None
    end: str
    reason: str | None
    outputs: tuple[str, ...]
    kept_seconds: float | None
    deleted: bool = False
    kept_from_creation: bool = False
    unaborted: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    def phase(self, now: float) -> str:
        """Name the phase at `now`: one of PHASES or ENDS."""
        if self.ends is not None and now >= self.ends:
            return self.end
        share = self._share(now)
        return next((name for name, until in PHASES if share < until), "finishing")

    def _share(self, now: float) -> float:
        share = (now - self.created) / self.duration if self.duration > 0 else 1.0
        return share if self.ends is not None else min(share, 0.5)

    def progress(self, now: float) -> int:
        """Percent done: 0 while queued, 100 on success only; what failed stays where it was."""
        phase = self.phase(now)
        if phase in ("queued", "succeeded"):
            return 100 if phase == "succeeded" else 0
        return min(99, int(100 * self._share(min(now, self.ends) if self.ends is not None else now)))

    def done(self, now: float) -> bool:
        """Tell whether the task reached its end."""
        return self.ends is not None and now >= self.ends

    def finished_at(self, now: float) -> int | None:
        """Unix second of the end, None before it."""
        return int(self.ends) if self.ends is not None and now >= self.ends else None

    def expires_at(self, now: float) -> int | None:
        """Unix second at which metadata and content go, None before the end and when they never do."""
        finished = self.finished_at(now)
        if finished is None or self.kept_seconds is None:
            return None
        return int((int(self.created) if self.kept_from_creation else finished) + self.kept_seconds)

    def gone(self, now: float) -> bool:
        """Tell whether the service has forgotten the task: deleted or expired."""
        expires = self.expires_at(now)
        return self.deleted or (expires is not None and now >= expires)

    def ready_outputs(self, now: float) -> tuple[str, ...]:
        """Ids of the finished outputs: none before success."""
        return self.outputs if self.phase(now) == "succeeded" else ()


def ends_at(created: float, duration: float, end: str, reason: str | None) -> float:
    """When a task that will end so ends: refusals come early, a success takes the full duration."""
    return created + duration * (1.0 if end == "succeeded" else FAILS_AT.get(reason or "", 0.6))


def make_id(prefix: str, at: float) -> str:
    """Make a sortable id in the observed form: a prefix and a lower-case ULID."""
    number = (int(at * 1000) << 80) | secrets.randbits(80)
    return prefix + "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


class TaskStore:
    """All tasks ever made here, in memory and, write-through, in SQLite."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute("CREATE TABLE IF NOT EXISTS tasks (n INTEGER PRIMARY KEY, id TEXT UNIQUE, body TEXT)")
        self._tasks: dict[str, Task] = {}
        self._owner: dict[str, str] = {}
        for (body,) in database.execute("SELECT body FROM tasks ORDER BY n"):
            raw = json.loads(body)
            self._remember(Task(**{**raw, "outputs": tuple(raw["outputs"])}))

    def _remember(self, task: Task) -> None:
        self._tasks[task.id] = task
        for output in task.outputs:
            self._owner[output] = task.id

    def save(self, task: Task) -> Task:
        """Insert or replace, on disk before in memory."""
        self._database.execute(
            "INSERT INTO tasks (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (task.id, json.dumps(asdict(task))),
        )
        self._remember(task)
        return task

    def change(self, task: Task, **fields: Any) -> Task:
        """Save a copy with other field values."""
        return self.save(replace(task, **fields))

    def get(self, task_id: str) -> Task | None:
        """The task with that id, also when deleted or expired."""
        return self._tasks.get(task_id)

    def of_output(self, output_id: str) -> Task | None:
        """The task that owns an output id."""
        return self._tasks.get(self._owner.get(output_id, ""))

    def newest_first(self) -> list[Task]:
        """Every task, also deleted and expired ones, newest first."""
        return list(reversed(self._tasks.values()))

    def running(self, now: float, dialect: str | None = None) -> int:
        """How many tasks hold a place at the provider, of one dialect or all."""
        return sum(
            (not task.deleted or task.unaborted) and not task.done(now)
            for task in self._tasks.values()
            if dialect in (None, task.dialect)
        )
