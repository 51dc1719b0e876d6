"""Every call that leaves the app in the life of a job: the points before and after each are what the matrix is made of.

The job has one video of three blocks, which arrive in five pieces, and a thumbnail; its task still runs at the first
poll and is done at a later one. A test compares the table with what a job really passes.
"""

from __future__ import annotations

from collections import Counter

BLOCK_BYTES = 64 * 1024
VIDEO_BYTES = 5 * BLOCK_BYTES // 2

Run = tuple[str, str]
"""A function, and the calls of one run of it in order."""

LIFE: tuple[Run, ...] = (
    ("generate", "idempotency.claim jobs.get watchdog.watch jobs.insert client.start_new"),
    (
        "create",
        "jobs.get watchdog.watch jobs.get jobs.save provider.submit jobs.get jobs.save claims.claim jobs.get jobs.save",
    ),
    ("poll", "jobs.get provider.look jobs.get jobs.save watchdog.watch"),
    ("poll", "jobs.get provider.look jobs.get jobs.save"),
    (
        "download",
        "jobs.get clips.find watchdog.watch clips.staged provider.open_output content.chunk content.chunk clips.stage "
        "content.chunk content.chunk clips.stage content.chunk content.chunk clips.stage",
    ),
    ("store", "jobs.get clips.find clips.staged clips.commit"),
    ("download", "jobs.get clips.find watchdog.watch provider.open_thumbnail content.chunk content.chunk clips.stage"),
    ("store", "jobs.get clips.find clips.staged clips.commit"),
    ("settle", "jobs.get jobs.save outcomes.note watchdog.unwatch"),
)

DUE: Run = ("sweep", "watchdog.due")
ORPHAN: Run = ("sweep", "jobs.get client.get_status watchdog.watch client.start_new")
"""What a sweep does about a job that nobody works on."""

LEFTOVER: Run = ("sweep", "jobs.get outcomes.note watchdog.unwatch")
"""What it does about a finished job whose row is still there."""


def count_calls(*runs: Run) -> Counter[str]:
    """``{"create jobs.get": 3, ...}``"""
    return Counter(f"{step} {door}" for step, doors in runs for door in doors.split())


def points(*runs: Run, skip: str = "") -> list[str]:
    """``create jobs.get:before#2`` and ``...:after#2``, in order; without the calls of the door and method `skip`."""
    found, counts = [], Counter[str]()
    for call in (f"{step} {door}" for step, doors in runs for door in doors.split() if door != skip):
        counts[call] += 1
        found += [f"{call}:{side}#{counts[call]}" for side in ("before", "after")]
    return found
