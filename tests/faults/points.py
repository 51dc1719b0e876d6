"""Every call that leaves the app in the life of a job: the points before and after each are what the matrix is made of.

The job has one video of three blocks, which arrive in five pieces, and a thumbnail; its task still runs at the first
poll and is done at a later one. The other job has two images of two blocks each, which come with the answer of its
create. A test compares the tables with what a job really passes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

from wishes import IMAGE, PICTURED, VIDEO

BLOCK_BYTES = 32 * 1024
VIDEO_BYTES = 5 * BLOCK_BYTES // 2

Run = tuple[str, str]
"""A function, and the calls of one run of it in order."""

ANY_NAME = "clips.find clips.find clips.find"
"""A picture's name tells its type, which is not known before."""

LIFE: tuple[Run, ...] = (
    ("generate_videos", "idempotency.claim jobs.get watchdog.watch jobs.insert idempotency.get client.start_new"),
    (
        "create",
        "jobs.get watchdog.watch jobs.get jobs.save provider.submit jobs.get jobs.save claims.claim jobs.get jobs.save",
    ),
    ("poll", "jobs.get provider.look jobs.get jobs.save watchdog.watch"),
    ("poll", "jobs.get provider.look jobs.get jobs.save"),
    (
        "download",
        "jobs.get watchdog.watch clips.find clips.staged provider.open_output content.chunk content.chunk clips.stage "
        "content.chunk content.chunk clips.stage content.chunk content.chunk clips.stage",
    ),
    ("store", "jobs.get clips.find clips.staged clips.commit jobs.get"),
    (
        "download",
        f"jobs.get watchdog.watch {ANY_NAME} provider.open_thumbnail content.chunk content.chunk clips.stage",
    ),
    ("store", f"jobs.get {ANY_NAME} clips.staged clips.commit jobs.get"),
    ("settle", "jobs.get jobs.save outcomes.note watchdog.unwatch"),
)

ARRIVES = "clips.stage clips.stage clips.stage"
"""An image: its two blocks, and the mark that it is whole. It happens inside `provider.submit`."""

IMAGE_LIFE: tuple[Run, ...] = (
    ("generate_images", "idempotency.claim jobs.get watchdog.watch jobs.insert idempotency.get client.start_new"),
    (
        "create",
        f"jobs.get watchdog.watch jobs.get jobs.save watchdog.watch provider.submit {ARRIVES} {ARRIVES} "
        "jobs.get jobs.save claims.claim jobs.get jobs.save",
    ),
    ("download", f"jobs.get watchdog.watch {ANY_NAME} clips.staged"),
    ("download", f"jobs.get watchdog.watch {ANY_NAME} clips.staged"),
    ("store", f"jobs.get {ANY_NAME} clips.staged clips.commit jobs.get"),
    ("store", f"jobs.get {ANY_NAME} clips.staged clips.commit jobs.get"),
    ("settle", "jobs.get jobs.save outcomes.note watchdog.unwatch"),
)

PICTURE: tuple[Run, ...] = (("generate_videos", "idempotency.get clips.put"), ("create", "clips.read"))
"""What a job whose video starts from a picture does besides."""

LIVES = {VIDEO: LIFE, IMAGE: IMAGE_LIFE, PICTURED: (*LIFE, *PICTURE)}

UNDECIDED = (
    "create jobs.save:after#1", "create watchdog.watch:before#2", "create watchdog.watch:after#2",
    "create provider.submit:before#1",
)  # fmt: skip
"""Where an image job says that it may have been submitted, and has not been."""

SUBMITTED: Run = (
    "create",
    "jobs.get watchdog.watch jobs.get jobs.save provider.submit jobs.get jobs.save watchdog.watch",
)
"""A create whose answer is lost, or one that has an answer: up to what comes of it."""

DONE_WITH = "clips.delete_all jobs.get jobs.save outcomes.note watchdog.unwatch jobs.get"
TAKEN_BACK = f"claims.claim provider.cancel provider.look {DONE_WITH}"
IMAGE_TAKEN_BACK = f"claims.claim {DONE_WITH}"
PUT_OFF = "jobs.get jobs.save watchdog.watch"
"""How a withdrawal ends: there is no task; there is one; not now."""


def cancel_run(kind: str, withdrawal: str) -> Run:
    return f"cancel_{kind}", f"jobs.get jobs.get jobs.save watchdog.watch {withdrawal} jobs.get"


def delete_run(kind: str) -> Run:
    return (
        f"delete_{kind}",
        "jobs.get watchdog.watch outcomes.note idempotency.mark_deleted jobs.delete clips.delete_all watchdog.unwatch",
    )


DUE: Run = ("sweep", "watchdog.due")
ORPHAN: Run = ("sweep", "jobs.get client.get_status watchdog.watch client.start_new")
"""What a sweep does about a job that nobody works on."""

LEFTOVER: Run = ("sweep", "jobs.get outcomes.note watchdog.unwatch")
"""What it does about a finished job whose row is still there."""


def count_calls(*runs: Run) -> Counter[str]:
    """``{"create jobs.get": 3, ...}``"""
    return Counter(f"{step} {door}" for step, doors in runs for door in doors.split())


def points(*runs: Run, skip: Collection[str] = ()) -> list[str]:
    """``create jobs.get:before#2`` and ``...:after#2``, in order; without the calls of doors and methods in `skip`."""
    found, counts = [], Counter[str]()
    for call in (f"{step} {door}" for step, doors in runs for door in doors.split() if door not in skip):
        counts[call] += 1
        found += [f"{call}:{side}#{counts[call]}" for side in ("before", "after")]
    return found


def images_whole(point: str) -> int:
    """How many of the two images are in storage for good when an image job is killed at this point of its life.

    Before the POST is begun, and so made later on, and after it: both.
    """
    if point in UNDECIDED:
        return 0
    if stage := re.fullmatch(r"create clips\.stage:(before|after)#(\d+)", point):
        return (int(stage[2]) - (stage[1] == "before")) // len(ARRIVES.split())
    return 2
