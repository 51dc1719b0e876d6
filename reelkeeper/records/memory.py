"""The records in memory, for unit tests: same rows, etags, conflicts and limits as the real tables, no network.

Jobs, watches and claims are kept as the rows the real adapter would send, so what cannot be stored there cannot be
stored here, and what is read is never the object that was written.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from itertools import count

from reelkeeper import names
from reelkeeper.errors import RecordConflict, RecordExists
from reelkeeper.model import Job, to_iso
from reelkeeper.records import rows
from reelkeeper.records.base import IdempotencyClaim, Survey, Watch

Key = tuple[str, str]


class MemoryJobs:
    """`Jobs` in a dict of (partition, row key) -> (row, etag)."""

    def __init__(self) -> None:
        self._rows: dict[Key, tuple[rows.Row, str]] = {}
        self._versions = count(1)
        self._lock = threading.Lock()

    def insert(self, job: Job) -> Job:
        row = rows.job_row(job)
        with self._lock:
            if _key(row) in self._rows:
                raise RecordExists(f"job {job.job_id} is already recorded")
            return self._put(row)

    def insert_all(self, jobs: Sequence[Job]) -> list[Job]:
        made = rows.job_rows(jobs)
        with self._lock:
            if any(_key(row) in self._rows for row in made):
                raise RecordExists(f"at least one of {len(jobs)} jobs is already recorded; none was")
            return [self._put(row) for row in made]

    def get(self, owner: str, job_id: str) -> Job | None:
        if not names.is_job_id(job_id):
            return None
        with self._lock:
            found = self._rows.get((names.safe_owner(owner), names.row_key(job_id)))
        return None if found is None else rows.row_job(*found)

    def save(self, job: Job) -> Job:
        row = rows.job_row(job)
        with self._lock:
            if not job.etag or self._rows.get(_key(row), ({}, ""))[1] != job.etag:
                raise RecordConflict(f"job {job.job_id} has changed or is gone since it was read")
            return self._put(row)

    def delete(self, job: Job) -> None:
        key = names.safe_owner(job.owner), names.row_key(job.job_id)
        with self._lock:
            if not job.etag or self._rows.get(key, ({}, job.etag))[1] != job.etag:
                raise RecordConflict(f"job {job.job_id} has changed since it was read")
            self._rows.pop(key, None)

    def batch(self, owner: str, batch_id: str) -> list[Job]:
        if not names.is_job_id(batch_id):
            return []
        first, last = rows.batch_keys(batch_id)
        with self._lock:
            mine = sorted(
                (key[1], row, etag)
                for key, (row, etag) in self._rows.items()
                if key[0] == names.safe_owner(owner) and first <= key[1] <= last and row.get("batch_id") == batch_id
            )
        return [rows.row_job(row, etag) for _, row, etag in mine]

    def page(
        self, owner: str, kind: str, *, limit: int, cursor: str | None = None, status: str | None = None
    ) -> tuple[list[Job], str | None]:
        rows.check_limit(limit)
        after = "" if cursor is None else rows.from_cursor(cursor)
        with self._lock:
            mine = sorted(
                (key[1], row, etag)
                for key, (row, etag) in self._rows.items()
                if key[0] == names.safe_owner(owner) and key[1] > after
            )
        found = [item for item in mine if item[1]["kind"] == kind and status in (None, item[1]["status"])]
        jobs = [rows.row_job(row, etag) for _, row, etag in found[:limit]]
        return jobs, rows.to_cursor(found[limit - 1][0]) if len(found) > limit else None

    def ping(self) -> None:
        """Memory always answers."""

    def _put(self, row: rows.Row) -> Job:
        etag = f'W/"{next(self._versions)}"'
        self._rows[_key(row)] = (row, etag)
        return rows.row_job(row, etag)


class MemoryWatchdog:
    """`Watchdog` in a dict of job id -> row."""

    def __init__(self) -> None:
        self._rows: dict[str, rows.Row] = {}
        self._lock = threading.Lock()

    def watch(self, watch: Watch) -> None:
        row = rows.watch_row(watch)
        with self._lock:
            self._rows[watch.job_id] = row

    def unwatch(self, job_id: str) -> None:
        with self._lock:
            self._rows.pop(job_id, None)

    def due(self, now: datetime, limit: int) -> list[Watch]:
        with self._lock:
            found = [rows.row_watch(row) for row in self._rows.values() if row["due"] <= (to_iso(now) or "")]
        return sorted(found, key=rows.urgency)[:limit]

    def survey(self) -> Survey:
        with self._lock:
            return rows.survey([rows.row_watch(row) for row in self._rows.values()])


class MemoryOutcomes:
    """`Outcomes` in a dict of (partition, row key) -> row."""

    def __init__(self) -> None:
        self._rows: dict[Key, rows.Row] = {}
        self._lock = threading.Lock()

    def note(self, job: Job) -> None:
        row = rows.outcome_row(job)
        with self._lock:
            self._rows[_key(row)] = row

    def counts(self, day: date) -> dict[str, int]:
        with self._lock:
            return dict(Counter(row["status"] for (key, _), row in self._rows.items() if key == day.isoformat()))


class MemoryIdempotencyKeys:
    """`IdempotencyKeys` in a dict of (partition, row key) -> row."""

    def __init__(self) -> None:
        self._rows: dict[Key, rows.Row] = {}
        self._lock = threading.Lock()

    def claim(self, owner: str, key: str, claim: IdempotencyClaim) -> IdempotencyClaim:
        row = rows.claim_row(owner, key, claim)
        with self._lock:
            return rows.row_claim(self._rows.setdefault(_key(row), row))

    def get(self, owner: str, key: str) -> IdempotencyClaim | None:
        with self._lock:
            row = self._rows.get((names.safe_owner(owner), names.key_digest(key)))
        return None if row is None else rows.row_claim(row)

    def mark_deleted(self, owner: str, key_digest: str) -> None:
        key = names.safe_owner(owner), key_digest
        with self._lock:
            if key in self._rows:
                self._rows[key] = {**self._rows[key], "deleted": True}


class MemoryTaskClaims:
    """`TaskClaims` in a dict of (partition, row key) -> job id."""

    def __init__(self) -> None:
        self._holders: dict[Key, str] = {}
        self._lock = threading.Lock()

    def claim(self, place: str, task_id: str, job_id: str) -> str:
        with self._lock:
            return self._holders.setdefault(_key(rows.task_row(place, task_id, job_id)), job_id)


def _key(row: rows.Row) -> Key:
    return row["PartitionKey"], row["RowKey"]
