"""The simulated provider behind every dialect: clock, limits, tasks, faults, media and the journal of calls.

It knows no wire format. A dialect asks it to `create`, `find` and `find_output`; limits and faults that decide a task's
life are applied here, and what is refused is raised as a `Refusal` that the dialect words in its own way.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from emulator.sora.faults import Fault, FaultBook
from emulator.sora.journal import Call, Journal
from emulator.sora.media import Media
from emulator.sora.profiles import PROFILES, Profile
from emulator.sora.tasks import Task, TaskStore, ends_at, make_id

# Words in a prompt that decide the task's fate, so that a person can see each end without the control endpoint.
PROMPT_TRIGGERS = {
    "[moderated]": "create is refused with 400 by the content filter",
    "[input_moderation]": "accepted, then failed with input_moderation (an image create: refused)",
    "[output_moderation]": "accepted, then failed with output_moderation (an image create: refused)",
    "[internal_error]": "accepted, then failed with internal_error (an image create: 500)",
    "[partial]": "one generation less than n_variants (none of one)",
    "[stuck]": "accepted, never finishes (an image create: never answered)",
}
_FAILING = ("input_moderation", "output_moderation", "internal_error")


class Refusal(Exception):
    """A call is answered with an error: `kind` as in faults.KINDS or refusals.py, with that kind's arguments."""

    def __init__(self, kind: str, **args: Any) -> None:
        super().__init__(kind)
        self.kind, self.details = kind, args


@dataclass
class Limits:
    """What can be set, also while running. Seconds are of the simulator's clock; each dialect counts for itself."""

    generation_seconds: float = 8.0
    expiry_seconds: float | None = 86400.0  # None: for ever
    max_running: int | None = None
    creates_per_minute: int | None = None
    api_key: str | None = None
    deployments: frozenset[str] = frozenset()
    error_shape: str = "wrapped"
    image_seconds: float = 2.0
    poll_after_ms: int | None = 1000
    profile: Profile = PROFILES["azure"]
    cloud: bool = False  # profile sglang: content is in a cloud storage
    forget_on_restart: bool | None = None  # None: as the profile does


@dataclass(frozen=True)
class Order:
    """A valid create request in dialect-neutral words. `extra` is echoed back by the dialect.

    `duration` and `kept_seconds` are the limits' when None.
    """

    dialect: str
    prompt: str
    model: str
    width: int
    height: int
    seconds: int
    outputs: int
    extra: dict[str, Any] = field(default_factory=dict)
    duration: float | None = None
    kept_seconds: float | None = None
    kept_from_creation: bool = False


class Studio:
    """State and rules of the provider; used from one event loop only."""

    def __init__(self, data: Path, clock: Callable[[], datetime], limits: Limits, media: Media) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(data / "sora.sqlite", isolation_level=None, timeout=1.0)
        # One process per folder: a second one would work on stale copies. Freed by the system when the process dies.
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        # Survives a kill -9; only a power cut could lose the last writes, and this is a development tool.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value REAL)")
        self.limits, self.media = limits, media
        self.tasks, self.journal, self.faults = TaskStore(self._database), Journal(self._database), FaultBook()
        self._clock = clock
        self.under_way: set[asyncio.Task[Any]] = set()
        row = self._database.execute("SELECT value FROM settings WHERE name = 'clock_offset'").fetchone()
        self._offset = float(row[0]) if row else 0.0
        self._accepted = [(task.dialect, task.created) for task in self.tasks.newest_first()]
        if limits.profile.forgets if limits.forget_on_restart is None else limits.forget_on_restart:
            self.forget()

    def now(self) -> datetime:
        """The simulator's time, aware, UTC."""
        return self._clock() + timedelta(seconds=self._offset)

    def at(self) -> float:
        """The simulator's time in Unix seconds."""
        return self.now().timestamp()

    def advance(self, seconds: float) -> datetime:
        """Set the clock forward; remembered over restarts, so that no task lies in the future."""
        self._offset += seconds
        self._database.execute("INSERT OR REPLACE INTO settings VALUES ('clock_offset', ?)", (self._offset,))
        return self.now()

    def create(self, order: Order, task_prefix: str, output_prefix: str | None, fault: Fault | None) -> Task:
        """Accept a paid task, or raise Refusal for a deployment, a filter or a limit.

        Without an `output_prefix` the task is its own only output.
        """
        limits, now = self.limits, self.at()
        self.check_deployment(order.model)
        if "[moderated]" in order.prompt:
            raise Refusal("moderated", model=order.model)
        if limits.max_running is not None and self.tasks.running(now, order.dialect) >= limits.max_running:
            raise Refusal("too_many_running")
        self._accepted = [(dialect, at) for dialect, at in self._accepted if now - 60 < at]
        recent = [at for dialect, at in self._accepted if dialect == order.dialect]
        if limits.creates_per_minute is not None and len(recent) >= limits.creates_per_minute:
            after = min(recent, default=now) + 60 - now
            raise Refusal("rate_limited", retry_after=max(1, round(after + 0.5)))
        self._accepted.append((order.dialect, now))
        kind = fault.kind if fault else ""
        reason = next((word for word in _FAILING if f"[{word}]" in order.prompt), None)
        if fault and kind == "failed":
            reason = str(fault.args["reason"])
        outputs = order.outputs - 1 if "[partial]" in order.prompt else order.outputs
        if fault and kind == "partial":
            outputs = min(order.outputs, int(fault.args["generations"]))
        end = "failed" if reason else "succeeded"
        duration = limits.generation_seconds if order.duration is None else order.duration
        stuck = kind == "never_finish" or "[stuck]" in order.prompt
        task_id = make_id(task_prefix, now)
        return self.tasks.save(
            Task(
                id=task_id,
                dialect=order.dialect,
                prompt=order.prompt,
                model=order.model,
                width=order.width,
                height=order.height,
                seconds=order.seconds,
                created=now,
                duration=duration,
                ends=None if stuck else ends_at(now, duration, end, reason),
                end=end,
                reason=reason,
                outputs=tuple(make_id(output_prefix, now) if output_prefix else task_id for _ in range(outputs)),
                kept_seconds=limits.expiry_seconds if order.kept_seconds is None else order.kept_seconds,
                kept_from_creation=order.kept_from_creation,
                extra={**order.extra, "asked": order.outputs},
            )
        )

    def check_deployment(self, model: object) -> None:
        """Raise Refusal for a name that is not among the deployments, where any are set."""
        if self.limits.deployments and isinstance(model, str) and model not in self.limits.deployments:
            raise Refusal("deployment_not_found", model=model)

    def find(self, dialect: str, task_id: str, also_expired: bool = False) -> Task:
        """The task as the service still knows it; Refusal not_found otherwise."""
        task = self.tasks.get(task_id)
        if task is None or task.dialect != dialect or task.deleted:
            raise Refusal("not_found")
        if self._gone(task):
            if not also_expired:
                raise Refusal("not_found")
            return task
        if task.phase(self.at()) in ("finishing", "succeeded"):
            self.media.prepare(task)
        return task

    def find_output(self, dialect: str, output_id: str) -> Task:
        """The task of a finished output; Refusal not_found while it is unfinished or gone."""
        task = self.tasks.of_output(output_id)
        if task is None or output_id not in task.ready_outputs(self.at()):
            raise Refusal("not_found")
        return self.find(dialect, task.id)

    def _gone(self, task: Task) -> bool:
        if not task.gone(self.at()):
            return False
        self.media.forget(task)
        return True

    def known(self, dialect: str, also_expired: bool = False) -> list[Task]:
        """The dialect's tasks that are not deleted and not, unless asked for, expired; newest first."""
        now = self.at()
        return [
            task
            for task in self.tasks.newest_first()
            if task.dialect == dialect and not (task.deleted if also_expired else task.gone(now))
        ]

    def delete(self, task: Task, abort: bool = True) -> Task:
        """Forget a task and its files, also while it runs; without `abort` the work goes on and holds its place."""
        self.media.forget(task)
        return self.tasks.change(task, deleted=True, unaborted=not abort)

    def forget(self) -> int:
        """Forget every task, as a server without a database does when it restarts; returns how many."""
        known = [task for task in self.tasks.newest_first() if not task.deleted]
        for task in known:
            self.delete(task)
        return len(known)

    def set_profile(self, profile: Profile, cloud: bool = False) -> None:
        """Behave like another server; the keeping time becomes that server's own."""
        self.limits.profile, self.limits.cloud, self.limits.expiry_seconds = profile, cloud, profile.kept_seconds

    def expire(self, task: Task) -> Task:
        """End the task's keeping time now; one that still runs ends first."""
        now = self.at()
        ends = min(now, task.ends if task.ends is not None else now)
        since = task.created if task.kept_from_creation else ends
        return self.tasks.change(task, ends=ends, kept_seconds=int(now) - int(since))

    def force(self, task: Task, state: str, reason: str | None = None, outputs: int | None = None) -> Task:
        """Bring a task to `succeeded`, `failed`, `cancelled`, `expired` or `deleted` now."""
        if state == "expired":
            return self.expire(task)
        if state == "deleted":
            return self.delete(task)
        ids = task.outputs if outputs is None else task.outputs[:outputs]
        why = (reason or "internal_error") if state == "failed" else None
        kept = self.limits.expiry_seconds
        return self.tasks.change(task, ends=self.at(), end=state, reason=why, outputs=ids, kept_seconds=kept)

    async def abandon(self) -> None:
        """Break off every call under way."""
        for task in self.under_way:
            task.cancel()
        await asyncio.gather(*self.under_way, return_exceptions=True)

    def note(self, call: Call) -> None:
        """Write a finished call to the journal."""
        self.journal.note(call)

    def stats(self) -> dict[str, Any]:
        """Counts over everything that ever happened on this data folder."""
        tasks = self.tasks.newest_first()
        accepted: dict[str, int] = {}
        for task in tasks:
            accepted[task.prompt] = accepted.get(task.prompt, 0) + 1
        creates = self.journal.count_by("status", "create")
        return {
            "creates": sum(creates.values()),
            "creates_accepted": len(tasks),
            "creates_by_status": creates,
            "accepted_by_prompt": accepted,
            "running": self.tasks.running(self.at()),
            "polls_by_task": self.journal.count_by("task_id", "get"),
            "deletes_by_task": self.journal.count_by("task_id", "delete"),
            "lists": sum(self.journal.count_by("op", "list").values()),
            "wrong_routes": self.journal.count_by("path", "wrong_route"),
            "downloads_by_generation": self.journal.count_by("output_id", "content", "method = 'GET'"),
            "bytes_by_generation": self.journal.bytes_by_output(),
            "by_dialect": {
                name: {
                    "creates": asked,
                    "creates_accepted": sum(task.dialect == name for task in tasks),
                    "running": self.tasks.running(self.at(), name),
                }
                for name, asked in self.journal.count_by("dialect", "create").items()
            },
        }

    def close(self) -> None:
        """Finish encoding and close the database."""
        self.media.close()
        self._database.close()
