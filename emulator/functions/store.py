"""Everything durable, in one SQLite file: instances, their history, messages on the way, queued activities, entities.

All access goes through one connection under one lock. `Store.transaction()` groups what must happen together; it may
be nested, the outermost one commits. The file is write-ahead logged (safe against the death of the process) and held
exclusively, so a second host on the same file is refused; the operating system drops the hold when a process dies.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypedDict, cast

from .protocol import Event, from_micros, iso, to_micros

_FORMAT = 1
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS instances(
  instance_id TEXT PRIMARY KEY, execution_id TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL,
  status TEXT NOT NULL, input TEXT, output TEXT, custom_status TEXT, created TEXT NOT NULL, updated TEXT NOT NULL,
  parent_id TEXT, parent_execution TEXT, parent_task INTEGER);
CREATE TABLE IF NOT EXISTS history(
  instance_id TEXT, position INTEGER, event TEXT NOT NULL, PRIMARY KEY(instance_id, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inbox(
  id INTEGER PRIMARY KEY AUTOINCREMENT, instance_id TEXT NOT NULL, execution_id TEXT, visible INTEGER NOT NULL,
  timer_id INTEGER, event TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS inbox_visible ON inbox(visible);
CREATE INDEX IF NOT EXISTS inbox_instance ON inbox(instance_id);
CREATE TABLE IF NOT EXISTS activities(
  id INTEGER PRIMARY KEY AUTOINCREMENT, instance_id TEXT NOT NULL, execution_id TEXT NOT NULL,
  task_id INTEGER NOT NULL, name TEXT NOT NULL, input TEXT);
CREATE INDEX IF NOT EXISTS activities_instance ON activities(instance_id);
CREATE TABLE IF NOT EXISTS entities(entity_id TEXT PRIMARY KEY, state TEXT NOT NULL, updated TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS operations(
  id INTEGER PRIMARY KEY AUTOINCREMENT, entity_id TEXT NOT NULL, name TEXT NOT NULL, input TEXT,
  request_id TEXT, caller_id TEXT, caller_execution TEXT);
CREATE INDEX IF NOT EXISTS operations_entity ON operations(entity_id);
CREATE TABLE IF NOT EXISTS notes(key TEXT PRIMARY KEY, text TEXT NOT NULL);
PRAGMA user_version = {_FORMAT};
"""


class DataInUseError(RuntimeError):
    """Another process, or another engine of this one, works on the same file."""


class DataUnreadableError(RuntimeError):
    """The file is no history of this host, or of another version of it."""


class Instance(TypedDict):
    """A row of the instances table, in its order. Payloads are JSON text, times ISO UTC."""

    instance_id: str
    execution_id: str
    name: str
    version: str
    status: str
    input: str | None
    output: str | None
    custom_status: str | None
    created: str
    updated: str
    parent_id: str | None
    parent_execution: str | None
    parent_task: int | None


@dataclass(frozen=True)
class Message:
    """A history event on its way to an instance; `execution_id` None reaches whatever execution is current."""

    id: int
    execution_id: str | None
    event: Event


@dataclass(frozen=True)
class Activity:
    """A scheduled activity; `input` is JSON text."""

    id: int
    instance_id: str
    execution_id: str
    task_id: int
    name: str
    input: str | None


@dataclass(frozen=True)
class Operation:
    """A queued entity operation; a signal has no `request_id`. `input` is JSON of JSON text."""

    id: int
    name: str
    input: str | None
    request_id: str | None
    caller_id: str | None
    caller_execution: str | None


class Store:
    """The database of one engine."""

    def __init__(self, path: str | Path) -> None:
        """Open or create the file at `path` (":memory:" for none).

        Raises DataInUseError when someone else holds it, DataUnreadableError when it is not ours.
        """
        self.lock = threading.RLock()
        self._db = sqlite3.connect(str(path), timeout=0.5, check_same_thread=False, isolation_level=None)
        try:
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, _FORMAT):
                raise DataUnreadableError(
                    f"{path} was written by another version of this host. Move it away or choose another data folder."
                )
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except sqlite3.DatabaseError as error:
            self._db.close()
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise DataInUseError(
                    f"{path} is in use by another host. Stop it or choose another data folder."
                ) from error
            raise DataUnreadableError(
                f"{path} cannot be used ({error}). Move it away or choose another data folder."
            ) from error
        except DataUnreadableError:
            self._db.close()
            raise

    def close(self) -> None:
        """Release the file."""
        with self.lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything done inside at once, or nothing of it when an exception leaves it."""
        with self.lock:
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _all(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        with self.lock:
            return self._db.execute(sql, values).fetchall()

    def _do(self, sql: str, *values: object) -> int:
        with self.lock:
            return self._db.execute(sql, values).rowcount

    # Instances

    def put_instance(self, instance: Instance) -> None:
        """Insert or replace the row of an instance."""
        self._do("INSERT OR REPLACE INTO instances VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)", *instance.values())

    def instance(self, instance_id: str) -> Instance | None:
        """Return one instance."""
        rows = self._all("SELECT * FROM instances WHERE instance_id=?", instance_id)
        return _instance(rows[0]) if rows else None

    def instances(
        self,
        statuses: Sequence[str],
        created_from: datetime | None,
        created_to: datetime | None,
        prefix: str,
        top: int | None,
        skip: int,
    ) -> list[Instance]:
        """Return the instances that match every given condition, oldest first."""
        rows = self._all(
            "SELECT * FROM instances WHERE substr(instance_id,1,?)=? AND created>=? AND created<=? "
            "AND (?='' OR instr(?,' '||status||' ')) ORDER BY created, instance_id LIMIT ? OFFSET ?",
            *(len(prefix), prefix),
            *(iso(created_from) if created_from else "", iso(created_to) if created_to else "9999"),
            *(" ".join(statuses), f" {' '.join(statuses)} "),
            *(-1 if top is None else top, skip),
        )
        return [_instance(row) for row in rows]

    def wipe(self, instance_id: str) -> None:
        """Delete an instance with all that belongs to it."""
        self._do("DELETE FROM instances WHERE instance_id=?", instance_id)
        self.drop_history(instance_id)
        self.stop_work(instance_id)

    def stop_work(self, instance_id: str, *, keep_open_messages: bool = False) -> None:
        """Drop queued activities and messages; `keep_open_messages` spares those for whatever execution is current."""
        self._do("DELETE FROM activities WHERE instance_id=?", instance_id)
        self._do(
            "DELETE FROM inbox WHERE instance_id=? AND (execution_id IS NOT NULL OR ?)",
            *(instance_id, not keep_open_messages),
        )

    # History

    def history(self, instance_id: str) -> list[Event]:
        """Return all history events of the current execution."""
        rows = self._all("SELECT event FROM history WHERE instance_id=? ORDER BY position", instance_id)
        return [json.loads(cast(str, row[0])) for row in rows]

    def append_history(self, instance_id: str, position: int, events: list[Event]) -> None:
        """Append events; `position` is the number of events before them."""
        rows = [(instance_id, position + i, json.dumps(event)) for i, event in enumerate(events)]
        with self.lock:
            self._db.executemany("INSERT INTO history VALUES(?,?,?)", rows)

    def drop_history(self, instance_id: str) -> None:
        """Delete the history of an instance."""
        self._do("DELETE FROM history WHERE instance_id=?", instance_id)

    # Messages

    def post(
        self, instance_id: str, execution_id: str | None, event: Event, visible: datetime, timer_id: int | None = None
    ) -> None:
        """Send an event to an instance, to be seen from `visible` on."""
        self._do(
            "INSERT INTO inbox(instance_id,execution_id,visible,timer_id,event) VALUES(?,?,?,?,?)",
            *(instance_id, execution_id, to_micros(visible), timer_id, json.dumps(event)),
        )

    def messages(self, instance_id: str, now: datetime) -> list[Message]:
        """Return the visible messages of an instance, in order."""
        rows = self._all(
            "SELECT id,execution_id,event FROM inbox WHERE instance_id=? AND visible<=? ORDER BY visible,id",
            *(instance_id, to_micros(now)),
        )
        return [Message(cast(int, a), cast("str | None", b), json.loads(cast(str, c))) for a, b, c in rows]

    def consume(self, message_ids: Iterable[int]) -> None:
        """Delete messages."""
        with self.lock:
            self._db.executemany("DELETE FROM inbox WHERE id=?", [(one,) for one in message_ids])

    def cancel_timers(self, instance_id: str, execution_id: str, timer_ids: Iterable[int]) -> None:
        """Delete the messages of timers that have not fired."""
        with self.lock:
            self._db.executemany(
                "DELETE FROM inbox WHERE instance_id=? AND execution_id=? AND timer_id=?",
                [(instance_id, execution_id, one) for one in timer_ids],
            )

    def ready_instances(self, now: datetime, limit: int) -> list[str]:
        """Return ids of instances with visible messages, the longest waiting first."""
        rows = self._all(
            "SELECT instance_id FROM inbox WHERE visible<=? GROUP BY instance_id ORDER BY MIN(id) LIMIT ?",
            *(to_micros(now), limit),
        )
        return [cast(str, row[0]) for row in rows]

    def next_visible(self) -> datetime | None:
        """Return when the earliest message can be seen."""
        found = self._all("SELECT MIN(visible) FROM inbox")[0][0]
        return None if found is None else from_micros(cast(int, found))

    # Activities

    def add_activity(self, instance_id: str, execution_id: str, task_id: int, name: str, text: str | None) -> None:
        """Queue an activity."""
        self._do(
            "INSERT INTO activities(instance_id,execution_id,task_id,name,input) VALUES(?,?,?,?,?)",
            *(instance_id, execution_id, task_id, name, text),
        )

    def activities(self, after: int, limit: int) -> list[Activity]:
        """Return queued activities with an id above `after`, in order."""
        rows = self._all(
            "SELECT id,instance_id,execution_id,task_id,name,input FROM activities WHERE id>? ORDER BY id LIMIT ?",
            *(after, limit),
        )
        return [Activity(*row) for row in rows]  # type: ignore[arg-type]

    def finish_activity(self, activity_id: int) -> bool:
        """Delete a queued activity; False when its instance has dropped it meanwhile."""
        return self._do("DELETE FROM activities WHERE id=?", activity_id) > 0

    # Entities

    def entity_state(self, entity_id: str) -> str | None:
        """Return an entity's state as JSON text, None when it does not exist."""
        rows = self._all("SELECT state FROM entities WHERE entity_id=?", entity_id)
        return cast(str, rows[0][0]) if rows else None

    def set_entity_state(self, entity_id: str, state: str | None, now: datetime) -> None:
        """Store an entity's state; None deletes the entity."""
        if state is None:
            self._do("DELETE FROM entities WHERE entity_id=?", entity_id)
        else:
            self._do("INSERT OR REPLACE INTO entities VALUES(?,?,?)", entity_id, state, iso(now))

    def add_operation(
        self,
        entity_id: str,
        name: str,
        text: str | None,
        request_id: str | None = None,
        caller: tuple[str, str] | None = None,
    ) -> None:
        """Queue an entity operation; `caller` (instance id, execution id) gets the answer to `request_id`."""
        self._do(
            "INSERT INTO operations(entity_id,name,input,request_id,caller_id,caller_execution) VALUES(?,?,?,?,?,?)",
            *(entity_id, name, text, request_id, *(caller or (None, None))),
        )

    def operations(self, entity_id: str) -> list[Operation]:
        """Return the queued operations of an entity, in order."""
        rows = self._all(
            "SELECT id,name,input,request_id,caller_id,caller_execution FROM operations WHERE entity_id=? ORDER BY id",
            entity_id,
        )
        return [Operation(*row) for row in rows]  # type: ignore[arg-type]

    def finish_operations(self, operations: list[Operation]) -> None:
        """Delete queued operations."""
        with self.lock:
            self._db.executemany("DELETE FROM operations WHERE id=?", [(one.id,) for one in operations])

    def ready_entities(self, limit: int) -> list[str]:
        """Return ids of entities with queued operations, the longest waiting first."""
        rows = self._all("SELECT entity_id FROM operations GROUP BY entity_id ORDER BY MIN(id) LIMIT ?", limit)
        return [cast(str, row[0]) for row in rows]

    def idle(self, now: datetime) -> bool:
        """Whether nothing can happen before time passes or someone asks for something."""
        found = self._all(
            "SELECT EXISTS(SELECT 1 FROM inbox WHERE visible<=?) OR EXISTS(SELECT 1 FROM activities) "
            "OR EXISTS(SELECT 1 FROM operations)",
            to_micros(now),
        )
        return not found[0][0]

    # Notes

    def note(self, key: str) -> str | None:
        """Return a remembered text."""
        rows = self._all("SELECT text FROM notes WHERE key=?", key)
        return cast(str, rows[0][0]) if rows else None

    def set_note(self, key: str, text: str) -> None:
        """Remember a text under a key."""
        self._do("INSERT OR REPLACE INTO notes VALUES(?,?)", key, text)


def _instance(row: tuple[object, ...]) -> Instance:
    return cast(Instance, dict(zip(Instance.__annotations__, row, strict=True)))  # the table's columns in order
