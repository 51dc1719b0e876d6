"""Names that storage needs, as pure functions: a retry computes the same name and meets its own work.

Azure forbids ``/ \\ # ?`` and control characters in table keys and limits blob names to 1,024 characters; a path
segment must not end with a dot. An owner is any string, so it is escaped without two owners ever sharing a name.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from datetime import datetime, timezone

JOB_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
MAX_SAFE_OWNER = 200
MAX_BATCH = 100


def new_job_id(now: datetime) -> str:
    """A UUIDv7 (RFC 9562 section 5.7): 48 bits of Unix milliseconds, then chance."""
    millis = int(now.timestamp() * 1000)
    value = (millis & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def is_job_id(text: str) -> bool:
    return JOB_ID.fullmatch(text) is not None


def member_id(batch_id: str, index: int) -> str:
    """The id of job `index` (0 to 99) of a batch: a repeated POST names the same jobs.

    A UUIDv7 of the batch id's own millisecond that sorts by index. Its rand_a is the index behind the opposite of the
    batch id's first bit there, so that no job is ever called what the batch is; its rand_b is a digest of both.
    Raises ValueError for another index, or text that is no id.
    """
    if not 0 <= index < MAX_BATCH or not is_job_id(batch_id):
        raise ValueError(f"no job {index} of batch {batch_id!r}: a batch has at most {MAX_BATCH} jobs, from 0")
    batch = uuid.UUID(batch_id).int
    digest = hashlib.sha256(f"{batch_id}/{index}".encode()).digest()
    rand_a = (~batch >> 64 & 0x800) | index
    rand_b = int.from_bytes(digest[:8], "big") & (2**62 - 1)
    return str(uuid.UUID(int=batch >> 80 << 80 | 0x7 << 76 | rand_a << 64 | 0x2 << 62 | rand_b))


def key_digest(key: str) -> str:
    """SHA-256 in hex: what stands for text that others choose, such as an Idempotency-Key, in keys and columns."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def row_key(job_id: str) -> str:
    """Sorts newest first, computable from the id alone: the inverted time of the UUIDv7, then the id."""
    millis = uuid.UUID(job_id).int >> 80
    return f"{2**48 - 1 - millis:012x}-{job_id}"


def safe_owner(owner: str) -> str:
    """Letters, digits and ``-_@.`` stay; every other byte becomes ``~XX``; very long owners end in ``~~<digest>``."""

    def escape(match: re.Match[str]) -> str:
        return "".join(f"~{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))

    safe = re.sub(r"[^A-Za-z0-9_@.-]|\.\Z", escape, owner)
    if len(safe) <= MAX_SAFE_OWNER:
        return safe
    digest = hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()
    head = re.sub(r"~[0-9A-F]?$", "", safe[: MAX_SAFE_OWNER - 42])
    return f"{head}~~{digest[:40]}"


def clip_path(owner: str, kind: str, job_id: str, index: int, extension: str) -> str:
    return f"user_{safe_owner(owner)}/{kind}/{job_id}/{index}.{extension}"


def job_prefix(owner: str, kind: str, job_id: str) -> str:
    return f"user_{safe_owner(owner)}/{kind}/{job_id}/"


def file_name(kind: str, job_id: str, index: int, extension: str) -> str:
    """What a browser saves the file as: ``video_<job>_0.mp4``."""
    return f"{kind.rstrip('s')}_{job_id}_{index}.{extension}"


def shard(job_id: str, shards: int) -> str:
    """The watchdog partition of a job; the last hex digits of a UUIDv7 are chance, so shards fill evenly."""
    return f"{int(job_id[-4:], 16) % shards:02d}"


def utc(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, timezone.utc)
