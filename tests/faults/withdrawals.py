"""The matrix of cancel and delete: a job at each stage of its life, and a kill at each point of what takes it back.

1. Start the app with the orders of every job, and submit all; some are held where their stage shows best.
2. Cancel each as soon as it stands there; wait until every cancel, or what goes on with it, stands at its own point.
3. Strike as the matrix does: `killed`, `lost` (the task hub, too) or `overtaken` (all that is held goes on at once).
4. Wait until each job is cancelled, or completed where its cancel had not come to the record; compare as ever.
One twin per stage has the same prompt and is left alone. Deletes strike completed jobs in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from matrix import FINISH_SECONDS, FROZEN, REACH_SECONDS, Findings, images_after, label
from points import (
    BLOCK_BYTES,
    DONE_WITH,
    IMAGE_TAKEN_BACK,
    PUT_OFF,
    SUBMITTED,
    TAKEN_BACK,
    VIDEO_BYTES,
    Run,
    cancel_run,
    delete_run,
    points,
)
from rig import Rig, until
from wishes import CANCELLED, COMPLETED, DELETED, IMAGE, VIDEO, Submission

from reelkeeper.parts import IMAGES, VIDEOS

SETTLE_SECONDS = 40.0
UNDER_WAY_SECONDS = 2.0
"""How long a create takes that is cancelled meanwhile: less than the app waits for it."""

RECORDED = "jobs.save:after#1"
"""From this point of a cancel on the job is cancelled."""

GONE = "jobs.delete:after#1"
"""From this point of a delete on the job is deleted."""


@dataclass(frozen=True)
class Stage:
    """Where a job stands when it is cancelled: it has passed `point`, and is held there if `held`.

    `withdrawal`: the calls of the cancel's own try. `runs`: what goes on with it afterwards, the calls of earlier runs
    included, of which `known` are no points of the withdrawal. `ended`: its task must have succeeded to come there.
    `fault`: what befalls it at the provider, until its cancel is answered. `kept`, `creates`: as of a wish, where the
    cancel comes too late.
    """

    what: str
    point: str
    withdrawal: str
    held: bool = True
    runs: tuple[Run, ...] = ()
    known: int = 0
    ended: bool = False
    fault: tuple[str, str, Mapping[str, Any]] | None = None
    kept: Sequence[int] = ()
    creates: Sequence[int] = (1,)

    @property
    def kind(self) -> str:
        return IMAGES if self.what == IMAGE else VIDEOS

    def stops(self) -> list[str]:
        """The points of the withdrawal."""
        later = points(*self.runs)[self.known :]
        return points(cancel_run(self.kind, self.withdrawal)) + later


POSTED = "create provider.submit:before#1"
ANSWERED = "create provider.submit:after#1"
SLOW = ("create", "delay", {"delay": UNDER_WAY_SECONDS})
SOUGHT: Run = ("create", f"jobs.get provider.find jobs.get jobs.save {TAKEN_BACK}")
ARRIVED: Run = ("create", f"jobs.get watchdog.watch jobs.save watchdog.watch {IMAGE_TAKEN_BACK}")
IMAGE_POSTED: Run = ("create", "jobs.get watchdog.watch jobs.get jobs.save watchdog.watch")

STAGES: dict[str, Stage] = {
    "pending": Stage(VIDEO, "create jobs.get:before#1", DONE_WITH),
    "begun": Stage(VIDEO, POSTED, PUT_OFF),
    "under way": Stage(VIDEO, POSTED, PUT_OFF, held=False, fault=SLOW),
    "unanswered": Stage(
        VIDEO, "create watchdog.watch:after#2", PUT_OFF, held=False, fault=("create", "drop_answer", {}),
        runs=(SUBMITTED, SOUGHT), known=len(points(SUBMITTED)),
    ),
    "answered": Stage(VIDEO, ANSWERED, PUT_OFF),
    "named": Stage(VIDEO, "create claims.claim:before#1", TAKEN_BACK),
    "generating": Stage(VIDEO, "poll watchdog.watch:after#1", TAKEN_BACK),
    "undeletable": Stage(
        VIDEO, "poll watchdog.watch:after#1", f"claims.claim provider.cancel provider.look {PUT_OFF}", held=False,
        fault=("delete", "server_error", {"times": None}),
        runs=(("poll", "claims.claim provider.cancel clips.delete_all outcomes.note watchdog.unwatch"),),
    ),
    "downloading": Stage(VIDEO, "download content.chunk:after#3", TAKEN_BACK, ended=True),
    "storing": Stage(VIDEO, "store clips.commit:before#1", TAKEN_BACK, ended=True),
    "stored": Stage(VIDEO, "store clips.commit:after#1", TAKEN_BACK, ended=True),
    "download_failed": Stage(
        VIDEO, "settle watchdog.watch:after#1", TAKEN_BACK, ended=True,
        fault=("content", "forbidden", {"times": None}),
    ),
    "image pending": Stage(IMAGE, "create jobs.get:before#1", DONE_WITH),
    "image begun": Stage(IMAGE, POSTED, PUT_OFF),
    "image under way": Stage(
        IMAGE, POSTED, PUT_OFF, held=False, fault=SLOW, kept=(0, 1, 2), creates=(0, 1),
        runs=(IMAGE_POSTED, ARRIVED), known=len(points(IMAGE_POSTED)),
    ),
    "image arriving": Stage(IMAGE, "create clips.stage:after#3", PUT_OFF),
    "image answered": Stage(IMAGE, ANSWERED, PUT_OFF),
    "image named": Stage(IMAGE, "create claims.claim:before#1", IMAGE_TAKEN_BACK),
    "image downloading": Stage(IMAGE, "download clips.staged:before#1", IMAGE_TAKEN_BACK),
    "image stored": Stage(IMAGE, "store clips.commit:after#1", IMAGE_TAKEN_BACK),
}  # fmt: skip

UNDER_WAY, AT_ONCE = ("under way", "image under way"), 10

Plays = Mapping[str, Sequence[str]]
"""Stage -> the points at which the withdrawal of such jobs is struck; "" for one that is answered first."""


def every_play() -> dict[str, list[str]]:
    return {name: ["", *stage.stops()] for name, stage in STAGES.items()}


def portions(at: Plays, number: int) -> list[Plays]:
    """So many portions of them, each with some of every stage: the app has threads for some hundred held calls.

    Before those, small ones of cancels that are struck so soon that the create is still under way.
    """
    soon = [(name, stop) for name in UNDER_WAY for stop in at[name] if not stop.startswith("create")]
    rest = {name: [stop for stop in stops if (name, stop) not in soon] for name, stops in at.items()}
    few = [soon[first : first + AT_ONCE] for first in range(0, len(soon), AT_ONCE)]
    return [{name: [stop for one, stop in some if one == name] for name in UNDER_WAY} for some in few] + [
        {name: stops[one::number] for name, stops in rest.items() if stops[one::number]} for one in range(number)
    ]


def withdrawal_rig(folder: Path, connection_string: str) -> Rig:
    """As of the matrix, with a longer time for a create: to be cancelled in."""
    provider = {"media_bytes": VIDEO_BYTES, "generation_seconds": FROZEN, "image_seconds": 0.1}
    ways = {"FAULTS_BLOCK_BYTES": str(BLOCK_BYTES), "SUBMIT_GRACE_SECONDS": "5", "FAULTS_FORGET_SECONDS": "1"}
    return Rig(folder, connection_string, provider=provider, **ways)


@dataclass
class Play:
    """One job of a run: what is ordered for it, and what it shall come to."""

    name: str
    stage: Stage
    stop: str
    wish: Submission
    cancelled: bool = False
    fault: int | None = None

    @property
    def label(self) -> str:
        return f"{self.name}: {self.stop or 'answered'}"

    @property
    def orders(self) -> tuple[str, ...]:
        return (*([self.stage.point] if self.stage.held else []), *([self.stop] if self.stop else []))

    def expect(self, strike: str) -> None:
        """How it shall end: what had not come to the record when the app was killed, nobody knows of."""
        stage, wish, of_cancel = self.stage, self.wish, points(cancel_run(self.stage.kind, self.stage.withdrawal))
        recorded = of_cancel.index(f"cancel_{stage.kind} {RECORDED}")
        wish.ends, wish.creates = (CANCELLED,), (0, 1)
        if self.stop not in of_cancel[:recorded]:
            return
        if strike == "overtaken":  # the job may be faster than a cancel that sleeps, which is refused then
            wish.ends = (COMPLETED, CANCELLED)
            return
        wish.ends, wish.kept, wish.creates = (COMPLETED,), stage.kept, stage.creates
        if stage.what == IMAGE and stage.held:
            wish.kept, wish.creates = images_after("killed", stage.point)


def run_withdrawals(rig: Rig, at: Plays, strike: str, number: int = 0) -> Findings:
    """Strike one job at each of these points. `number`: of the portion, to make its owners its own."""
    plays, twins = _plan(rig, at, strike, f"{strike}{number}")
    rig.app.start({play.wish.owner: play.orders for play in plays if play.orders})
    rig.submit([*(play.wish for play in plays), *twins])
    until(lambda: _come(rig, plays), REACH_SECONDS)
    rig.simulator.clear_faults()
    rig.simulator.set_generation_seconds(0.5)
    STRIKES[strike](rig)
    until(lambda: _settled(rig), SETTLE_SECONDS)
    for post in rig.submit_unanswered():
        post.result()
    until(lambda: not rig.app.busy(), REACH_SECONDS)
    found, reached = rig.check_all(), set(rig.app.lines("reached.log"))
    for play in plays:
        missed = [point for point in play.orders if (play.wish.owner, point) not in reached]
        found[play.wish.owner] += [f"it never came to {point}" for point in missed]
        if play.stop == "" and play.wish.answers != [202]:
            found[play.wish.owner].append(f"its cancel was answered {play.wish.answers}")
    return {
        **{play.label: found[play.wish.owner] for play in plays},
        **{f"twin {twin.owner}": found[twin.owner] for twin in twins},
    }


def _plan(rig: Rig, at: Plays, strike: str, run: str) -> tuple[list[Play], list[Submission]]:
    plays, twins = [], []
    for name, stops in at.items():
        stage, short = STAGES[name], name.replace(" ", "_")
        owners = [f"{run}-{short}-{number:02d}" for number in range(len(stops))]
        wishes = rig.wish(owners, 2 if stage.what == IMAGE else 1, stage.what)
        for wish, stop in zip(wishes, stops, strict=True):
            plays.append(Play(name, stage, stop, wish))
            plays[-1].expect(strike)
            if stage.fault:
                op, kind, args = stage.fault
                plays[-1].fault = rig.simulator.fault(op, kind, match={"prompt": wish.prompt}, **args)["id"]
        if stage.what == VIDEO and not stage.fault:
            (twin,) = rig.wish([f"{run}-twin-{short}"])
            twin.prompt = wishes[-1].prompt
            twins.append(twin)
    return plays, twins


def _come(rig: Rig, plays: Sequence[Play]) -> bool:
    """Cancel whoever stands where it should; whether all of them came to their last point."""
    ended = {play.wish.prompt for play in plays if play.stage.ended}
    for task in rig.simulator.tasks():
        if task["prompt"] in ended and task["phase"] != "succeeded":
            rig.simulator.force(task["id"], "succeeded")
    passed = set(rig.app.lines("passed.log"))
    for play in plays:
        if not play.cancelled and play.wish.job_id and (play.wish.owner, play.stage.point) in passed:
            play.cancelled = True
            rig.cancel(play.wish)
        if play.wish.answers and play.fault is not None:
            requests.delete(f"{rig.simulator.url}/_control/faults/{play.fault}", timeout=30)
            play.fault = None
    reached = set(rig.app.lines("reached.log"))
    return all((play.wish.owner, play.stop) in reached if play.stop else play.wish.answers for play in plays)


def _settled(rig: Rig) -> bool:
    rig.finish_wanted()
    return rig.settled()


def killed(rig: Rig) -> None:
    rig.kill()
    rig.app.start()


def hub_lost(rig: Rig) -> None:
    rig.kill()
    rig.app.lose_hub()
    rig.app.start()


def overtaken(rig: Rig) -> None:
    """No kill: what is held sleeps so long that others may do its work, and wakes up."""
    until(lambda: _settled(rig), 8)
    rig.app.release()
    until(lambda: all(wish.asked is None or wish.asked.done() for wish in rig.wishes.values()), REACH_SECONDS)


STRIKES: dict[str, Callable[[Rig], None]] = {"killed": killed, "lost": hub_lost, "overtaken": overtaken}


def run_deletes(rig: Rig, kinds: Sequence[str] = (VIDEO, IMAGE)) -> Findings:
    """Kill the app at each point of deletes of completed jobs: each job is whole, or gone without a trace."""
    orders: dict[str, tuple[str, str]] = {}
    for what in kinds:
        stops = ["", *points(delete_run(IMAGES if what == IMAGE else VIDEOS))]
        orders |= {f"deleted-{what}-{number:02d}": (what, stop) for number, stop in enumerate(stops)}
    for owner, (what, _) in orders.items():
        rig.wish([owner], 2 if what == IMAGE else 1, what)
    rig.simulator.set_generation_seconds(0.5)
    rig.app.start({owner: stop for owner, (_, stop) in orders.items() if stop})
    rig.submit(rig.wishes.values())
    rig.complete(FINISH_SECONDS)
    for wish in rig.wishes.values():
        rig.delete(wish)
    held = {(owner, stop) for owner, (_, stop) in orders.items() if stop}
    answered = [rig.wishes[owner] for owner, (_, stop) in orders.items() if not stop]
    until(lambda: held <= set(rig.app.lines("reached.log")) and all(one.answers for one in answered), REACH_SECONDS)
    for owner, (_, stop) in orders.items():
        names = points(delete_run(rig.wishes[owner].kind))
        goes = not stop or names.index(stop) >= names.index(f"delete_{rig.wishes[owner].kind} {GONE}")
        rig.wishes[owner].ends = (DELETED,) if goes else (COMPLETED,)
    rig.kill()
    rig.app.start()
    until(lambda: not rig.watched(), FINISH_SECONDS)
    found = rig.check_all()
    _delete_again(rig, found)
    reached = set(rig.app.lines("reached.log"))
    for owner, stop in held - reached:
        found[owner].append(f"it never came to {stop}")
    return {
        label(what, stop or f"delete_{rig.wishes[owner].kind} answered"): found[owner]
        for owner, (what, stop) in orders.items()
    }


def _delete_again(rig: Rig, found: Findings) -> None:
    """Whoever was not answered asks again; then nobody's key makes a second job."""
    for wish in rig.wishes.values():
        if wish.ends == (COMPLETED,):
            wish.ends = (DELETED,)
            rig.delete(wish)
            assert wish.asked is not None
            wish.asked.result()
            if wish.answers != [204]:
                found[wish.owner].append(f"its second delete was answered {wish.answers}")
    for post in rig.submit(rig.wishes.values()):
        post.result()
    for owner, wrong in rig.check_all().items():
        found[owner] += wrong
