"""The doors to the records: jobs, the watchdog over the unfinished ones, and the keys that make a POST repeatable.

Every write that matters is a compare-and-swap on the row's ETag, or an insert that only one can win.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from reelkeeper.errors import RecordConflict
from reelkeeper.model import Job


@dataclass(frozen=True)
class Watch:
    """When somebody should look at a job if nothing has moved it. `expires_at`: the provider's end, if known."""

    job_id: str
    owner: str
    kind: str
    due: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Survey:
    """The unfinished jobs: how many, when the first is due to be looked at, when the first task is deleted."""

    unfinished: int
    oldest_due: datetime | None
    nearest_expiry: datetime | None


@dataclass(frozen=True)
class IdempotencyClaim:
    """What an `Idempotency-Key` stands for: the job it made and the digest of the body that made it.

    `deleted`: the owner has deleted that job since, so nobody may make it again under this key.
    """

    job_id: str
    body_digest: str
    deleted: bool = False


class Jobs(Protocol):
    """The job rows, one partition per owner, newest first."""

    def insert(self, job: Job) -> Job:
        """Store a new job; returns it with its etag. Raises RecordExists."""

    def insert_all(self, jobs: Sequence[Job]) -> list[Job]:
        """Store up to 100 new jobs of one owner, all or none; returns them with their etags, in the order given.

        Raises RecordExists when any is there already, ValueError for no jobs, too many, several owners, the same id
        twice, or more than one transaction can carry (4 MiB).
        """

    def get(self, owner: str, job_id: str) -> Job | None:
        """The job with its etag, or None: also for another owner's job and for text that is no job id."""

    def save(self, job: Job) -> Job:
        """Replace the row read as `job.etag`; returns the job with its new etag. Raises RecordConflict."""

    def delete(self, job: Job) -> None:
        """Delete the row read as `job.etag`; nothing happens when it is gone. Raises RecordConflict."""

    def batch(self, owner: str, batch_id: str) -> list[Job]:
        """The owner's jobs of this batch that exist, by index; [] also for text that is no id."""

    def page(
        self, owner: str, kind: str, *, limit: int, cursor: str | None = None, status: str | None = None
    ) -> tuple[list[Job], str | None]:
        """At most `limit` jobs, newest first, and the next page's cursor or None. Raises ValueError on a bad cursor."""

    def ping(self) -> None:
        """Prove that the store answers and is writable; raises whatever is wrong."""


class Watchdog(Protocol):
    """One row per unfinished job, by construction: the row's key is the job."""

    def watch(self, watch: Watch) -> None:
        """Insert or replace the job's row."""

    def unwatch(self, job_id: str) -> None:
        """Delete the job's row; nothing happens when there is none."""

    def due(self, now: datetime, limit: int) -> list[Watch]:
        """At most `limit` rows with `due <= now`: earliest `expires_at` first (none known last), then earliest due."""

    def survey(self) -> Survey:
        """How things stand over all rows. Its cost grows with the number of unfinished jobs."""


class Outcomes(Protocol):
    """How jobs ended: one insert-only row per job, so that no end is counted twice and none is missed."""

    def note(self, job: Job) -> None:
        """Write down the end of a finished job; the same again changes nothing."""

    def counts(self, day: date) -> dict[str, int]:
        """Status -> how many jobs ended so on this day (UTC). Its cost grows with their number."""


class IdempotencyKeys(Protocol):
    def claim(self, owner: str, key: str, claim: IdempotencyClaim) -> IdempotencyClaim:
        """Insert-only: the claim that holds for this owner and key, ours or the one that was there first."""

    def get(self, owner: str, key: str) -> IdempotencyClaim | None:
        """The claim that holds, if any."""

    def mark_deleted(self, owner: str, key_digest: str) -> None:
        """Let the claim on the key with this `names.key_digest` tell that its job was deleted; no claim: nothing."""


class TaskClaims(Protocol):
    """Which job a provider's task belongs to: at most one, for ever."""

    def claim(self, place: str, task_id: str, job_id: str) -> str:
        """Insert-only: the job that holds the task at `place`, `job_id` or the one that was there first."""


def change(jobs: Jobs, owner: str, job_id: str, step: Callable[[Job], Job | None], tries: int = 8) -> Job | None:
    """Read the job, let `step` decide, save; on a conflict read and decide again.

    `step` returns the changed job, or None to leave it as it is. Returns the job as it then is, None when it is gone.
    Raises RecordConflict after `tries` lost races.
    """
    for _ in range(tries):
        job = jobs.get(owner, job_id)
        if job is None:
            return None
        changed = step(job)
        if changed is None:
            return job
        try:
            return jobs.save(changed)
        except RecordConflict:
            continue
    raise RecordConflict(f"job {job_id} changed {tries} times while it was being updated")
