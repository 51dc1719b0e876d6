"""Random kills: jobs come in all the time, the app dies again and again at random points or moments, nothing is lost.

Half of the lives end at a point drawn by the kill switch, half at a moment drawn here (so also inside the host, between
an activity's return and its history). On the way, some answers of the provider are lost, too. Some of the jobs are
images: what had not arrived whole when the app died under their create is lost with the answer, and by design nothing
is paid for again; they complete with what had, or are parked. Some jobs are cancelled on their way, and some that have
ended are deleted; their clients ask once, and take what comes of it.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from points import ARRIVES, BLOCK_BYTES, VIDEO_BYTES
from rig import Rig
from wishes import CANCELLED, DELETED, IMAGE, VIDEO

AT_ONCE = {VIDEO: 6, IMAGE: 4}
LIVES = (0.1, 1.2)
"""Seconds that the app serves before it is killed at a moment."""

POINTS_PER_LIFE = 60
BLOCKS_PER_VIDEO = 4
"""Three of the video, one of the thumbnail."""

STAGED_PER_IMAGE = len(ARRIVES.split())
"""Two blocks and a mark."""

CANCELS, CANCELLED_WITHIN = 0.15, 5.0
"""The share of the jobs whose client cancels, and how many seconds after it knows the job's id at most."""

DELETES = 0.1
"""The share of the jobs that are deleted as soon as they are seen to have ended."""

FINISH_SECONDS = 120.0

MISHAPS = (("create", "drop_answer"), ("create", "drop_before"), ("get", "server_error"), ("content", "truncate"))
"""What befalls every other video at the provider: an answer lost after or before it took effect, a 500, a cut."""

IMAGE_MISHAPS = (("create", "drop_answer"), ("create", "drop_before"), ("create", "server_error"))
"""And every fourth job for images."""


@dataclass(frozen=True)
class Tally:
    """What `python tests/faults/run.py` prints.

    `outputs`: of videos all that were asked for, of images those that were whole in storage; neither of jobs that were
    cancelled or deleted. `parked`: image jobs of which nothing was. `unpaid`: jobs, parked or cancelled, that the
    provider never accepted. `counted`: in the counts of the completed and the cancelled. `..._asked`: also those that
    were not answered. `cancelled`: jobs that ended so, some of which may be `deleted`, too.
    """

    kills: int
    jobs: int
    images: int
    creates: int
    duplicates: int
    outputs: int
    lost: int
    parked: int
    cancels_asked: int
    cancelled: int
    deletes_asked: int
    deleted: int
    unpaid: int
    counted: int
    blocks_again: int
    seconds: float
    wrong: dict[str, list[str]]

    @property
    def kept(self) -> bool:
        """Whether it is what is promised."""
        paid_once = self.creates + self.unpaid == self.jobs and not self.duplicates
        return not self.wrong and paid_once and not self.lost and self.counted + self.parked == self.jobs


def random_rig(folder: Path, connection_string: str) -> Rig:
    provider = {"media_bytes": VIDEO_BYTES, "generation_seconds": 1.0, "image_seconds": 0.1}
    ways = {"FAULTS_BLOCK_BYTES": str(BLOCK_BYTES), "FAULTS_FORGET_SECONDS": "8"}
    return Rig(folder, connection_string, provider=provider, **ways)


def run_random(rig: Rig, kills: int, seed: int) -> Tally:
    """Kill the app `kills` times while it keeps `AT_ONCE` jobs under way, then let it finish."""
    chance, began = random.Random(seed), time.monotonic()
    doom = Doom(rig, chance)
    while rig.app.kills < kills:
        by_switch = chance.random() < 0.5
        rate = 1 / POINTS_PER_LIFE if by_switch else 0.0
        served = rig.app.start(how="die", rate=rate, seed=chance.randrange(2**32))
        end = time.monotonic() + chance.uniform(*LIVES)
        while served and rig.app.alive() and (by_switch or time.monotonic() < end):
            _keep_busy(rig, chance)
            doom.ask()
            time.sleep(0.1)
        rig.kill()
    rig.app.start()
    rig.submit_unanswered()
    rig.complete(FINISH_SECONDS)
    return _tally(rig, doom, time.monotonic() - began)


class Doom:
    """Which jobs are cancelled and deleted, and when: each at most once."""

    def __init__(self, rig: Rig, chance: random.Random) -> None:
        self._rig, self._chance = rig, chance
        self._cancel_at: dict[str, float] = {}
        self._delete = set[str]()
        self.cancelled, self.deleted = set[str](), set[str]()

    def ask(self) -> None:
        now = time.monotonic()
        for owner, wish in self._rig.wishes.items():
            if not wish.job_id:
                continue
            if owner not in self._cancel_at:
                cancelled = self._chance.random() < CANCELS
                self._cancel_at[owner] = now + self._chance.uniform(0, CANCELLED_WITHIN) if cancelled else math.inf
                if self._chance.random() < DELETES:
                    self._delete.add(owner)
            if now >= self._cancel_at[owner] and owner not in self.deleted:
                self._cancel_at[owner] = math.inf
                self.cancelled.add(owner)
                wish.ends, wish.creates = (*wish.ends, CANCELLED), (0, 1)
                self._rig.cancel(wish)
        for owner in self._delete & self._rig.over:
            wish = self._rig.wishes[owner]
            if wish.asked is None or wish.asked.done():
                self._delete.remove(owner)
                self.deleted.add(owner)
                wish.ends = (*wish.ends, DELETED)
                self._rig.delete(wish)


def _keep_busy(rig: Rig, chance: random.Random) -> None:
    """Every client without an answer asks again; new ones come while there is room."""
    rig.submit_unanswered()
    busy = Counter(rig.wishes[owner].what for owner in rig.unfinished())
    for what, most in AT_ONCE.items():
        number, variants = len(rig.wishes), chance.randint(1, 2)
        owners = [f"random-{number + one:04d}" for one in range(most - busy[what])]
        for wish in rig.wish(owners, variants, what):
            mishaps, often = (IMAGE_MISHAPS, 0.25) if what == IMAGE else (MISHAPS, 0.5)
            if chance.random() < often:
                op, kind = chance.choice(mishaps)
                rig.simulator.fault(op, kind, match={"prompt": wish.prompt})


def _tally(rig: Rig, doom: Doom, seconds: float) -> Tally:
    made = rig.simulator.stats()["accepted_by_prompt"]
    passed = Counter((owner, point.partition("#")[0]) for owner, point in rig.app.lines("passed.log"))
    images = {owner: wish for owner, wish in rig.wishes.items() if wish.what == IMAGE}
    jobs = {owner: rig.find(wish) for owner, wish in rig.wishes.items()}
    standing = {owner: wish for owner, wish in rig.wishes.items() if (job := jobs[owner]) and job.status != CANCELLED}
    whole = {
        owner: passed[owner, "create clips.stage:after"] // STAGED_PER_IMAGE for owner in standing if owner in images
    }
    for owner in standing.keys() - images.keys():  # whether its client tried to cancel it or not
        rig.wishes[owner].creates = (1,)
    for owner in whole:
        wish = images[owner]
        # a kill at a moment may strike when the storage has a mark and nobody has noted it
        most = min(whole[owner] + 1, wish.variants)
        wish.kept, wish.creates = range(whole[owner], most + 1), (1,) if whole[owner] else (0, 1)
    wrong = rig.check_all()
    troubled = {call["prompt"] for call in rig.simulator.requests("create") if call["fault"]}
    for owner in rig.parked():
        if passed[owner, "create provider.submit:after"] and images[owner].prompt not in troubled:
            wrong[owner].append("it is parked, and nothing happened to its create")
    videos = {owner: wish.variants for owner, wish in standing.items() if wish.what != IMAGE}
    kept = {owner: len(job.clips) if job else 0 for owner, job in jobs.items()}
    staged = sum(passed[owner, "download clips.stage:before"] for owner in videos)
    return Tally(
        kills=rig.app.kills,
        jobs=len(rig.wishes),
        images=len(images),
        creates=sum(made.values()),
        duplicates=sum(number - 1 for number in made.values()),
        outputs=sum(videos.values()) + sum(whole.values()),
        lost=sum(max(0, whole.get(owner, wish.variants) - kept[owner]) for owner, wish in standing.items()),
        parked=len(rig.parked()),
        cancels_asked=len(doom.cancelled),
        cancelled=rig.noted(CANCELLED),
        deletes_asked=len(doom.deleted),
        deleted=sum(job is None for job in jobs.values()),
        unpaid=sum(wish.prompt not in made for wish in rig.wishes.values()),
        counted=rig.noted() + rig.noted(CANCELLED),
        blocks_again=staged - sum(videos.values()) * BLOCKS_PER_VIDEO,
        seconds=seconds,
        wrong={owner: problems for owner, problems in wrong.items() if problems},
    )
