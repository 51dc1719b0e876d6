"""The records in Azure Table Storage.

A missing table is an empty one: reads find nothing there, and the first write makes it. So a fresh account needs no
set-up, a warm start costs no extra request, and a table somebody deleted comes back. Answers are told apart by HTTP
status, because the error codes differ between Azure and its emulator.
"""

from __future__ import annotations

import heapq
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime
from itertools import islice
from typing import Any, TypeVar

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.data.tables import (
    TableClient,
    TableEntity,
    TableServiceClient,
    TableTransactionError,
    TransactionOperation,
    UpdateMode,
)

from reelkeeper import names
from reelkeeper.errors import RecordConflict, RecordExists
from reelkeeper.model import Job, to_iso
from reelkeeper.records import rows
from reelkeeper.records.base import IdempotencyClaim, Survey, Watch
from reelkeeper.storage import StorageConnection

Result = TypeVar("Result")

# The orchestration retries too, and with more patience: here only a hiccup is bridged (at most ~5 s).
_CLIENT_OPTIONS: dict[str, Any] = {
    "retry_total": 3,
    "retry_backoff_factor": 0.4,
    "retry_backoff_max": 3,
    "connection_timeout": 5,
    "read_timeout": 30,
    "http_logging_level": logging.DEBUG,  # one INFO entry per request would drown the job's own log
}
_PING_OPTIONS: dict[str, Any] = {"retry_total": 0, "connection_timeout": 3, "read_timeout": 5}
_PAGE_MAX = 1000
# No owner's partition can have this name: `safe_owner` leaves no exclamation mark.
_PING_ROW = {"PartitionKey": "!ping", "RowKey": "!ping"}


class Tables:
    """The tables of one account, over one connection pool; safe to share between threads.

    `prefix` goes before every table name (letters and digits), for several deployments in one account.
    """

    def __init__(self, connection: StorageConnection, prefix: str = "") -> None:
        if connection.identity_based:
            self._service = TableServiceClient(
                endpoint=connection.table_service_uri or "",
                credential=connection.token_credential,
                **_CLIENT_OPTIONS,
            )
        else:
            self._service = TableServiceClient.from_connection_string(
                connection.full_connection_string, **_CLIENT_OPTIONS
            )
        self.jobs = TableJobs(_Table(self._service, f"{prefix}jobs"))
        self.watchdog = TableWatchdog(_Table(self._service, f"{prefix}watchdog"))
        self.idempotency = TableIdempotencyKeys(_Table(self._service, f"{prefix}idempotency"))
        self.outcomes = TableOutcomes(_Table(self._service, f"{prefix}outcomes"))
        self.claims = TableTaskClaims(_Table(self._service, f"{prefix}claims"))

    def close(self) -> None:
        self._service.close()


class _Table:
    """One table that comes into being with its first write."""

    def __init__(self, service: TableServiceClient, name: str) -> None:
        self.client: TableClient = service.get_table_client(name)

    def write(self, send: Callable[[], Result]) -> Result:
        """Send an insert or upsert: there, 404 can only mean that the table is missing."""
        try:
            return send()
        except HttpResponseError as error:  # a transaction's errors are of one type
            if error.status_code != 404:
                raise
            with suppress(ResourceExistsError):  # another worker was faster
                self.client.create_table()
            return send()

    def get(self, partition: str, key: str) -> TableEntity | None:
        try:
            return self.client.get_entity(partition, key)
        except ResourceNotFoundError:
            return None

    def query(self, query: str, *, page_size: int = _PAGE_MAX, **parameters: str) -> Iterator[TableEntity]:
        """The matching rows in key order, over all pages: Azure may give short and empty ones on the way."""
        try:
            yield from self.client.query_entities(query, parameters=parameters, results_per_page=page_size)
        except ResourceNotFoundError:
            return


def _etag(entity: TableEntity) -> str:
    return str(entity.metadata["etag"])


class TableJobs:
    """`Jobs` in one table: a partition per owner, row keys newest first."""

    def __init__(self, table: _Table) -> None:
        self._table = table

    def insert(self, job: Job) -> Job:
        row = rows.job_row(job)
        try:
            answer = self._table.write(lambda: self._table.client.create_entity(row))
        except ResourceExistsError:
            raise RecordExists(f"job {job.job_id} is already recorded") from None
        return rows.row_job(row, answer["etag"])

    def insert_all(self, jobs: Sequence[Job]) -> list[Job]:
        made = rows.job_rows(jobs)
        # without the preference Azure sends every row back
        steps = [(TransactionOperation.CREATE, row, {"response_preference": "return-no-content"}) for row in made]
        try:
            answers = self._table.write(lambda: self._table.client.submit_transaction(steps))
        except TableTransactionError as error:
            if error.status_code == 409:
                raise RecordExists(f"at least one of {len(jobs)} jobs is already recorded; none was") from None
            raise
        return [rows.row_job(row, answer["etag"]) for row, answer in zip(made, answers, strict=True)]

    def get(self, owner: str, job_id: str) -> Job | None:
        if not names.is_job_id(job_id):
            return None
        entity = self._table.get(names.safe_owner(owner), names.row_key(job_id))
        return None if entity is None else rows.row_job(entity, _etag(entity))

    def save(self, job: Job) -> Job:
        row = rows.job_row(job)
        conflict = RecordConflict(f"job {job.job_id} has changed or is gone since it was read")
        if not job.etag:
            raise conflict
        try:
            answer = self._table.client.update_entity(
                row, UpdateMode.REPLACE, etag=job.etag, match_condition=MatchConditions.IfNotModified
            )
        except HttpResponseError as error:
            if error.status_code in (404, 412):
                raise conflict from None
            raise
        return rows.row_job(row, answer["etag"])

    def delete(self, job: Job) -> None:
        conflict = RecordConflict(f"job {job.job_id} has changed since it was read")
        if not job.etag:
            raise conflict
        key = names.safe_owner(job.owner), names.row_key(job.job_id)
        try:  # the SDK takes a missing row for a deleted one
            self._table.client.delete_entity(*key, etag=job.etag, match_condition=MatchConditions.IfNotModified)
        except HttpResponseError as error:
            if error.status_code == 412:
                raise conflict from None
            raise

    def batch(self, owner: str, batch_id: str) -> list[Job]:
        if not names.is_job_id(batch_id):
            return []
        first, last = rows.batch_keys(batch_id)
        query = "PartitionKey eq @owner and RowKey ge @first and RowKey le @last and batch_id eq @batch"
        found = self._table.query(query, owner=names.safe_owner(owner), first=first, last=last, batch=batch_id)
        return [rows.row_job(entity, _etag(entity)) for entity in found]

    def page(
        self, owner: str, kind: str, *, limit: int, cursor: str | None = None, status: str | None = None
    ) -> tuple[list[Job], str | None]:
        rows.check_limit(limit)
        query, parameters = "PartitionKey eq @owner and kind eq @kind", {"owner": names.safe_owner(owner), "kind": kind}
        if cursor is not None:
            query, parameters["after"] = f"{query} and RowKey gt @after", rows.from_cursor(cursor)
        if status is not None:
            query, parameters["status"] = f"{query} and status eq @status", status
        # one row more than asked for tells whether there is a next page
        found = list(islice(self._table.query(query, page_size=min(limit + 1, _PAGE_MAX), **parameters), limit + 1))
        jobs = [rows.row_job(entity, _etag(entity)) for entity in found[:limit]]
        return jobs, rows.to_cursor(found[limit - 1]["RowKey"]) if len(found) > limit else None

    def ping(self) -> None:
        self._table.write(lambda: self._table.client.upsert_entity(_PING_ROW, UpdateMode.REPLACE, **_PING_OPTIONS))


class TableWatchdog:
    """`Watchdog` in one table, sharded by job id: a burst of jobs does not meet the rate limit of one partition."""

    def __init__(self, table: _Table) -> None:
        self._table = table

    def watch(self, watch: Watch) -> None:
        row = rows.watch_row(watch)
        self._table.write(lambda: self._table.client.upsert_entity(row, UpdateMode.REPLACE))

    def unwatch(self, job_id: str) -> None:
        self._table.client.delete_entity(rows.watch_partition(job_id), job_id)

    def due(self, now: datetime, limit: int) -> list[Watch]:
        """Reads every due row of every shard, keeping the `limit` most urgent: a paid generation about to expire must
        not wait behind rows that merely come first in key order."""
        found = self._table.query("due le @now", now=to_iso(now) or "")
        return heapq.nsmallest(limit, map(rows.row_watch, found), key=rows.urgency)

    def survey(self) -> Survey:
        return rows.survey(map(rows.row_watch, self._table.query("PartitionKey ge ''")))


class TableOutcomes:
    """`Outcomes` in one table, one partition per day."""

    def __init__(self, table: _Table) -> None:
        self._table = table

    def note(self, job: Job) -> None:
        row = rows.outcome_row(job)
        self._table.write(lambda: self._table.client.upsert_entity(row, UpdateMode.REPLACE))

    def counts(self, day: date) -> dict[str, int]:
        found = self._table.query("PartitionKey eq @day", day=day.isoformat())
        return dict(Counter(str(entity["status"]) for entity in found))


class TableIdempotencyKeys:
    """`IdempotencyKeys` in one table; the row key is a digest, since callers choose the key's characters."""

    def __init__(self, table: _Table) -> None:
        self._table = table

    def claim(self, owner: str, key: str, claim: IdempotencyClaim) -> IdempotencyClaim:
        row = rows.claim_row(owner, key, claim)
        try:
            self._table.write(lambda: self._table.client.create_entity(row))
        except ResourceExistsError:
            first = self.get(owner, key)
            if first is None:  # the conflict was about something else, such as a table being deleted
                raise
            return first
        return claim

    def get(self, owner: str, key: str) -> IdempotencyClaim | None:
        entity = self._table.get(names.safe_owner(owner), names.key_digest(key))
        return None if entity is None else rows.row_claim(entity)

    def mark_deleted(self, owner: str, key_digest: str) -> None:
        mark = {"PartitionKey": names.safe_owner(owner), "RowKey": key_digest, "deleted": True}
        with suppress(ResourceNotFoundError):
            self._table.client.update_entity(mark, UpdateMode.MERGE)


class TableTaskClaims:
    """`TaskClaims` in one table."""

    def __init__(self, table: _Table) -> None:
        self._table = table

    def claim(self, place: str, task_id: str, job_id: str) -> str:
        row = rows.task_row(place, task_id, job_id)
        try:
            self._table.write(lambda: self._table.client.create_entity(row))
        except ResourceExistsError:
            first = self._table.get(row["PartitionKey"], row["RowKey"])
            if first is None:  # the conflict was about something else, such as a table being deleted
                raise
            return str(first["job_id"])
        return job_id
