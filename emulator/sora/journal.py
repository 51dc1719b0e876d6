"""The log of provider calls, in SQLite so that it outlives a crash of everything: what was asked, what was answered."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Any

from emulator.sora.faults import Fault

COLUMNS = (
    "at", "op", "method", "path", "status", "task_id", "output_id", "prompt", "fault", "range", "bytes", "seconds",
    "credentials", "request_id", "dialect",
)  # fmt: skip


@dataclass
class Call:
    """One provider call while it is being answered. `status` stays 0 when the connection was cut before an answer."""

    op: str
    at: str
    method: str = ""
    path: str = ""
    status: int = 0
    task_id: str | None = None
    output_id: str | None = None
    prompt: str | None = None
    range: str | None = None
    bytes: int = 0
    seconds: float = 0.0
    credentials: bool = False
    request_id: str = ""
    dialect: str = ""
    fault: Fault | None = None
    body: dict[str, Any] = field(default_factory=dict)


class Journal:
    """Every finished call, oldest first."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        columns = ", ".join(f'"{name}"' for name in COLUMNS)
        database.execute(f"CREATE TABLE IF NOT EXISTS calls (n INTEGER PRIMARY KEY, {columns})")
        if "dialect" not in {row[1] for row in database.execute("PRAGMA table_info(calls)")}:
            database.execute('ALTER TABLE calls ADD COLUMN "dialect"')  # a folder from before there were several

    def note(self, call: Call) -> None:
        """Append one call."""
        values = [call.fault.kind if name == "fault" and call.fault else getattr(call, name) for name in COLUMNS]
        marks = ", ".join("?" for _ in COLUMNS)
        self._database.execute(f"INSERT INTO calls VALUES (NULL, {marks})", values)  # noqa: S608 - constant text

    def calls(self, op: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        """Calls after number `since`, of one operation or all, as rows with `n` and COLUMNS."""
        rows = self._database.execute(
            "SELECT * FROM calls WHERE n > ? AND (? IS NULL OR op = ?) ORDER BY n", (since, op, op)
        )
        return [dict(zip(("n", *COLUMNS), row, strict=True)) for row in rows]

    def count_by(self, column: str, op: str, where: str = "TRUE") -> dict[str, int]:
        """Count one operation's calls by a column (`task_id`, `output_id`, `status`, ...)."""
        query = f'SELECT "{column}", COUNT(*) FROM calls WHERE op = ? AND {where} AND "{column}" NOTNULL GROUP BY 1'  # noqa: S608
        return {str(key): number for key, number in self._database.execute(query, (op,))}

    def bytes_by_output(self) -> dict[str, int]:
        """Sum up the bytes of video sent per output, redirected downloads included."""
        query = "SELECT output_id, SUM(bytes) FROM calls WHERE op IN ('content', 'cdn') AND status < 300 GROUP BY 1"
        return dict(self._database.execute(query).fetchall())

    def clear(self) -> None:
        """Forget every call."""
        self._database.execute("DELETE FROM calls")
