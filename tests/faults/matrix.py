"""The matrix: one job per named point, all held there at once, then one blow for all of them.

1. Start the app with an order for every job, submit all, and let the tasks run until every job was looked at.
2. Let the tasks succeed; wait until every job stands at its point.
3. Strike: `killed`, `hub_lost` or `overtaken`.
4. Wait until all are completed, then compare records, provider and storage job by job.
One blow strikes jobs of every kind. The points of the sweep take a kill each, because one sweep looks after all jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

from points import BLOCK_BYTES, DUE, LEFTOVER, ORPHAN, UNDECIDED, VIDEO_BYTES, images_whole, points
from rig import Rig, until
from wishes import IMAGE, VIDEO

REACH_SECONDS = 60.0
FINISH_SECONDS = 90.0
FROZEN = 3600.0

Points = Mapping[str, Sequence[str]]
"""What is wished for -> the points at which such jobs are struck."""

Findings = dict[str, list[str]]
"""Point -> what is wrong with the job that was struck there; [] when nothing is. Those of other jobs than videos begin
with what they are, as in ``image create jobs.save:after#1``."""

Results = Callable[[str], Findings]
"""What was found, by the kind of run."""

BEFORE_ANY_TASK = "create jobs.get:before#1"
BEFORE_THE_ROW_GOES = "settle outcomes.note:before#1"


def matrix_rig(folder: Path, connection_string: str, **environment: str) -> Rig:
    """A provider whose videos have three (small) blocks, and that finishes their tasks only when told to."""
    provider = {"media_bytes": VIDEO_BYTES, "generation_seconds": FROZEN, "image_seconds": 0.1}
    return Rig(folder, connection_string, provider=provider, FAULTS_BLOCK_BYTES=str(BLOCK_BYTES), **environment)


def run_matrix(rig: Rig, at: Points, kind: str) -> Findings:
    """Strike one job at each of these points. `kind`: of the strike; it makes the owners of this run its own."""
    orders = {what: _owners(f"{kind}-{what}", where) for what, where in at.items()}
    for what, owners in orders.items():
        for wish in rig.wish(owners, variants=2 if what == IMAGE else 1, what=what):
            if what == IMAGE:
                wish.kept, wish.creates = images_after(kind, owners[wish.owner])
    hold_all(rig, {owner: point for owners in orders.values() for owner, point in owners.items()})
    STRIKES[kind](rig)
    rig.complete(FINISH_SECONDS)
    found = {what: _findings(rig, owners) for what, owners in orders.items()}
    return {label(what, point): wrong for what in at for point, wrong in found[what].items()}


def label(what: str, point: str) -> str:
    return point if what == VIDEO else f"{what} {point}"


def images_after(kind: str, point: str) -> tuple[Collection[int], Collection[int]]:
    """How many images a job that was struck at this point may keep, and how many creates may have been accepted.

    Nothing is submitted again, so what is not in storage at a kill is lost with the answer. Whoever was overtaken and
    wakes up goes on where it stood: it POSTs, or has the rest of an answer that it may read no longer.
    """
    whole = images_whole(point)
    if kind == "overtaken":
        return ((2,) if point in UNDECIDED else (1, 2) if whole == 0 else (whole,)), (1,)
    return (whole,), ((0,) if point in UNDECIDED else (1,))


def run_sweep_matrix(rig: Rig, name: str, skip: Collection[str] = ()) -> Findings:
    """Kill the process at each point of a sweep over orphans and over rows that a finished job left behind."""
    orphans, leftovers = (
        _owners(f"{name}-{what}", points(run, skip=skip)) for what, run in (("orphan", ORPHAN), ("left", LEFTOVER))
    )
    make_orphans(rig, orphans, leftovers)
    due = points(DUE)
    for point in due:
        rig.app.start({"": point}, how="die")
        rig.app.sweep()
        until(lambda: not rig.app.alive(), REACH_SECONDS)
        rig.kill()
    orders = orphans | leftovers
    deadline = time.monotonic() + REACH_SECONDS
    while not _reached(rig, orders) and time.monotonic() < deadline:
        rig.app.start(orders, how="die")
        rig.app.sweep()
        until(lambda: not rig.app.alive(), deadline - time.monotonic())
        rig.kill()
    rig.app.start()
    rig.complete(FINISH_SECONDS)
    reached = rig.app.lines("reached.log")
    return {
        **{point: [] if ("", point) in reached else ["no sweep ever came to this point"] for point in due},
        **_findings(rig, orders),
    }


def make_orphans(rig: Rig, orphans: Mapping[str, str], leftovers: Mapping[str, str]) -> None:
    """Leave jobs of these owners behind without any orchestration: not begun, or completed with their row left."""
    hold_all(rig, dict.fromkeys(orphans, BEFORE_ANY_TASK) | dict.fromkeys(leftovers, BEFORE_THE_ROW_GOES))
    rig.kill()
    rig.app.lose_hub()


def hold_all(rig: Rig, orders: Mapping[str, str]) -> None:
    """Bring one job per order to its point; gives up waiting after a while for those that never come there."""
    rig.simulator.set_generation_seconds(FROZEN)
    rig.app.start(orders)
    rig.submit([rig.wishes.get(owner) or rig.wish([owner])[0] for owner in orders])
    until(lambda: orders.keys() <= rig.app.reached().keys() | rig.polled(), REACH_SECONDS)
    rig.simulator.set_generation_seconds(0.5)
    rig.finish_tasks()
    until(lambda: _reached(rig, orders), REACH_SECONDS)


def killed(rig: Rig) -> None:
    """SIGKILL, and a restart on the same data; clients that got no answer ask again."""
    rig.kill()
    rig.app.start()
    rig.submit_unanswered()


def hub_lost(rig: Rig) -> None:
    """SIGKILL, and the whole task hub is gone. Only who has no record asks again: the sweep must find the others."""
    rig.kill()
    rig.app.lose_hub()
    rig.app.start()
    rig.submit([wish for wish in rig.wishes.values() if not rig.find(wish)])


def overtaken(rig: Rig) -> None:
    """No kill: a second `render` does the job while the first hangs, which then wakes up and goes on. Then, a third."""
    recorded = [wish for wish in rig.wishes.values() if rig.find(wish)]
    rig.submit([wish for wish in rig.wishes.values() if wish not in recorded])
    for wish in recorded:
        rig.render(wish)  # refused where the first one lives
        rig.render(wish, "-second")
    rig.complete(FINISH_SECONDS)
    rig.app.release()
    until(lambda: not rig.app.busy(), FINISH_SECONDS)
    for wish in rig.wishes.values():
        rig.render(wish)
    until(lambda: not rig.app.busy(), FINISH_SECONDS)


STRIKES: dict[str, Callable[[Rig], None]] = {"killed": killed, "lost": hub_lost, "overtaken": overtaken}


def safe_when(kind: str, what: str, point: str) -> bool:
    """Whether the app promises anything for this point and blow.

    A process that is frozen right before its POST and wakes up when another run has found that there is no task, would
    make a second one: no provider takes a key that prevents it. The app looks at the clock before the POST, so this
    takes a freeze between that look and the request. Images are safe here, too: nothing is submitted without a list.
    """
    return what == IMAGE or kind != "overtaken" or point != "create provider.submit:before#1"


def _owners(name: str, at: Sequence[str]) -> dict[str, str]:
    return {f"{name}-{number:03d}": point for number, point in enumerate(at)}


def _reached(rig: Rig, orders: Mapping[str, str]) -> bool:
    return orders.items() <= set(rig.app.lines("reached.log"))


def _findings(rig: Rig, orders: Mapping[str, str]) -> Findings:
    reached = set(rig.app.lines("reached.log"))
    wrong = rig.check_all()
    return {
        point: wrong[owner] + ([] if (owner, point) in reached else ["no job ever came to this point"])
        for owner, point in orders.items()
    }


def once_each(run: Results) -> Results:
    """`run`, but each of its kinds once, when its first point is asked for; one that raises is not repeated either."""

    @cache
    def once(kind: str) -> Future[Findings]:
        return runs.submit(run, kind)

    runs = ThreadPoolExecutor(1)
    return lambda kind: once(kind).result()
