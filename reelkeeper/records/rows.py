"""Records as table rows: what Azure Table Storage can hold, as pure functions.

Scalars are columns. Lists and objects are JSON text in a column called ``<name>_json``. Text too long for one column
goes on in ``<name>__1``, ``<name>__2``... None is an absent column. The fake stores the same rows as the real adapter,
so a job that cannot be stored is refused by both.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reelkeeper import names
from reelkeeper.model import Job, from_iso, to_iso
from reelkeeper.records.base import IdempotencyClaim, Survey, Watch

Row = dict[str, Any]

# Azure: a text column holds 64 KiB of UTF-16; 16,000 characters are at most 64,000 bytes, whatever they are.
PIECE_CHARS = 16_000
MAX_ROW_BYTES = 1024 * 1024
MAX_COLUMNS = 252
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024
# What the SDK writes around each row of a transaction: boundary, request line and headers; ~470 with a short address.
PART_BYTES = 640
# ... and for each column but its name and value: ``, "@odata.type": "Edm.String"``.
TYPE_BYTES = 29
WATCH_SHARDS = 16

_ROW_KEY = re.compile(r"[0-9a-f]{12}-" + names.JOB_ID.pattern)
_CONTINUATION = re.compile(r"__\d+\Z")
_JSON = "_json"


def to_row(partition: str, key: str, values: Mapping[str, Any]) -> Row:
    """Lay `values` out in columns. Raises ValueError when Azure would refuse the row for its size."""
    row: Row = {"PartitionKey": partition, "RowKey": key}
    for name, value in values.items():
        if value is None:
            continue
        column, content = (name, value) if _is_scalar(value) else (name + _JSON, _to_json(value))
        if not isinstance(content, str):
            row[column] = content
            continue
        row[column] = content[:PIECE_CHARS]
        for start in range(PIECE_CHARS, len(content), PIECE_CHARS):
            row[f"{column}__{start // PIECE_CHARS}"] = content[start : start + PIECE_CHARS]
    size = row_bytes(row)
    if size > MAX_ROW_BYTES or len(row) > MAX_COLUMNS:
        raise ValueError(f"record too large for a table row: {size} bytes in {len(row)} columns, at most 1 MiB in 252")
    return row


def from_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Read what `to_row` laid out."""
    values: dict[str, Any] = {}
    for name, value in row.items():
        if name in ("PartitionKey", "RowKey") or _CONTINUATION.search(name):
            continue
        number = 1
        while (more := row.get(f"{name}__{number}")) is not None:
            value, number = value + more, number + 1
        if name.endswith(_JSON):
            name, value = name.removesuffix(_JSON), json.loads(value)
        values[name] = value
    return values


def row_bytes(row: Mapping[str, Any]) -> int:
    """The size Azure bills and limits (learn.microsoft.com, "Understanding the Table service data model")."""
    keys = len(_utf16(row["PartitionKey"])) + len(_utf16(row["RowKey"]))
    columns = {name: value for name, value in row.items() if name not in ("PartitionKey", "RowKey")}
    return 4 + keys + sum(8 + 2 * len(name) + _value_bytes(value) for name, value in columns.items())


def _value_bytes(value: Any) -> int:
    return 4 + len(_utf16(value)) if isinstance(value, str) else 8


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-le")


def _is_scalar(value: Any) -> bool:
    """Half a surrogate pair (a provider cut its message in the middle of an emoji) survives only as JSON escape."""
    if isinstance(value, str):
        return _is_unicode(value)
    return isinstance(value, bool | int | float)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _to_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if _is_unicode(text) else json.dumps(value, separators=(",", ":"))


def job_row(job: Job) -> Row:
    return to_row(names.safe_owner(job.owner), names.row_key(job.job_id), job.to_dict())


def job_rows(jobs: Sequence[Job]) -> list[Row]:
    """The rows of one transaction. Raises ValueError for what cannot be one."""
    if not 1 <= len(jobs) <= names.MAX_BATCH:
        raise ValueError(f"{len(jobs)} jobs cannot be recorded together: at least 1, at most {names.MAX_BATCH}")
    if len({job.owner for job in jobs}) > 1 or len({job.job_id for job in jobs}) < len(jobs):
        raise ValueError("jobs that are recorded together must have one owner, and each its own id")
    found = [job_row(job) for job in jobs]
    size = transaction_bytes(found)
    if size > MAX_TRANSACTION_BYTES:
        raise ValueError(
            f"{len(jobs)} jobs are too large to be recorded together: {size} bytes, at most 4 MiB; send fewer at a time"
        )
    return found


def transaction_bytes(made: Iterable[Row]) -> int:
    """At least what the SDK sends for these rows; it escapes every character that is not printable ASCII."""
    return sum(PART_BYTES + len(json.dumps(row)) + sum(len(name) + TYPE_BYTES for name in row) for row in made)


def batch_keys(batch_id: str) -> tuple[str, str]:
    """The first and the last row key that a job of this batch can have."""
    return names.row_key(names.member_id(batch_id, 0)), names.row_key(names.member_id(batch_id, names.MAX_BATCH - 1))


def row_job(row: Mapping[str, Any], etag: str) -> Job:
    return Job.from_dict(from_row(row), etag)


def watch_row(watch: Watch) -> Row:
    values = {
        "owner": watch.owner,
        "kind": watch.kind,
        "due": to_iso(watch.due),
        "expires_at": to_iso(watch.expires_at),
    }
    return to_row(watch_partition(watch.job_id), watch.job_id, values)


def watch_partition(job_id: str) -> str:
    return names.shard(job_id, WATCH_SHARDS)


def row_watch(row: Mapping[str, Any]) -> Watch:
    values = from_row(row)
    due = from_iso(values["due"])
    assert due is not None  # always written
    return Watch(row["RowKey"], values["owner"], values["kind"], due, from_iso(values.get("expires_at")))


def urgency(watch: Watch) -> tuple[bool, str, str, str]:
    """Sort key of the watchdog: earliest provider expiry first (none known last), then earliest due."""
    expires_at = to_iso(watch.expires_at)
    return expires_at is None, expires_at or "", to_iso(watch.due) or "", watch.job_id


def survey(watches: Iterable[Watch]) -> Survey:
    found = [(watch.due, watch.expires_at) for watch in watches]
    expiries = [expires_at for _, expires_at in found if expires_at is not None]
    return Survey(len(found), min((due for due, _ in found), default=None), min(expiries, default=None))


def outcome_row(job: Job) -> Row:
    finished_at = job.finished_at or job.updated_at
    return to_row(finished_at.date().isoformat(), job.job_id, {"status": job.status, "kind": job.kind})


def claim_row(owner: str, key: str, claim: IdempotencyClaim) -> Row:
    values = {"job_id": claim.job_id, "body_digest": claim.body_digest, "deleted": claim.deleted}
    return to_row(names.safe_owner(owner), names.key_digest(key), values)


def row_claim(row: Mapping[str, Any]) -> IdempotencyClaim:
    return IdempotencyClaim(row["job_id"], row["body_digest"], row.get("deleted", False))


def task_row(place: str, task_id: str, job_id: str) -> Row:
    """Providers choose the id's characters and length, so the key is a digest; its first digits spread the load."""
    key = names.key_digest(f"{place}\n{task_id}")
    return to_row(key[:2], key, {"job_id": job_id, "place": place, "task_id": task_id})


def to_cursor(row_key: str) -> str:
    """Opaque to the caller: where the next page goes on."""
    return base64.urlsafe_b64encode(row_key.encode()).decode().rstrip("=")


def from_cursor(cursor: str) -> str:
    """The row key in `cursor`. Raises ValueError when it is not one that `to_cursor` made."""
    try:
        row_key = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:  # not Base64, or not text
        row_key = ""
    if not _ROW_KEY.fullmatch(row_key):
        raise ValueError("cursor is not one that this service gave out; leave it out to start at the newest job")
    return row_key


def check_limit(limit: int) -> None:
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
