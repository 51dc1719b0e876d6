"""Random kills: jobs come in all the time, the app dies again and again at random points or moments, nothing is lost.

Half of the lives end at a point drawn by the kill switch, half at a moment drawn here (so also inside the host, between
an activity's return and its history). On the way, some answers of the provider are lost, too.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

from points import BLOCK_BYTES, VIDEO_BYTES
from rig import Rig

AT_ONCE = 6
LIVES = (0.1, 1.2)
"""Seconds that the app serves before it is killed at a moment."""

POINTS_PER_LIFE = 60
BLOCKS_PER_OUTPUT = 4
"""Three of the video, one of the thumbnail."""

FINISH_SECONDS = 120.0

MISHAPS = (("create", "drop_answer"), ("create", "drop_before"), ("get", "server_error"), ("content", "truncate"))
"""What befalls every other job at the provider: an answer lost after or before it took effect, a 500, a cut."""


@dataclass(frozen=True)
class Tally:
    """What `python tests/faults/run.py` prints. `counted`: jobs in the count of the completed."""

    kills: int
    jobs: int
    creates: int
    duplicates: int
    outputs: int
    lost: int
    counted: int
    blocks_again: int
    seconds: float
    wrong: dict[str, list[str]]


def random_rig(folder: Path, connection_string: str) -> Rig:
    provider = {"media_bytes": VIDEO_BYTES, "generation_seconds": 1.0}
    return Rig(folder, connection_string, provider=provider, FAULTS_BLOCK_BYTES=str(BLOCK_BYTES))


def run_random(rig: Rig, kills: int, seed: int) -> Tally:
    """Kill the app `kills` times while it keeps `AT_ONCE` jobs under way, then let it finish."""
    chance, began = random.Random(seed), time.monotonic()
    while rig.app.kills < kills:
        by_switch = chance.random() < 0.5
        rate = 1 / POINTS_PER_LIFE if by_switch else 0.0
        served = rig.app.start(how="die", rate=rate, seed=chance.randrange(2**32))
        end = time.monotonic() + chance.uniform(*LIVES)
        while served and rig.app.alive() and (by_switch or time.monotonic() < end):
            _keep_busy(rig, chance)
            time.sleep(0.1)
        rig.kill()
    rig.app.start()
    rig.submit_unanswered()
    rig.complete(FINISH_SECONDS)
    return _tally(rig, time.monotonic() - began)


def _keep_busy(rig: Rig, chance: random.Random) -> None:
    """Every client without an answer asks again; new ones come while there is room."""
    rig.submit_unanswered()
    free = AT_ONCE - len(rig.unfinished())
    number = len(rig.wishes)
    for wish in rig.wish([f"random-{number + one:04d}" for one in range(free)], variants=chance.randint(1, 2)):
        if chance.random() < 0.5:
            op, kind = chance.choice(MISHAPS)
            rig.simulator.fault(op, kind, match={"prompt": wish.prompt})


def _tally(rig: Rig, seconds: float) -> Tally:
    creates = rig.simulator.stats()["accepted_by_prompt"]
    wrong = {owner: problems for owner, problems in rig.check_all().items() if problems}
    outputs = sum(wish.variants for wish in rig.wishes.values())
    kept = sum(len(job.clips) for wish in rig.wishes.values() if (job := rig.find(wish)))
    staged = sum(point.startswith("download clips.stage:before") for _, point in rig.app.lines("passed.log"))
    return Tally(
        kills=rig.app.kills,
        jobs=len(rig.wishes),
        creates=sum(creates.values()),
        duplicates=sum(number - 1 for number in creates.values()),
        outputs=outputs,
        lost=outputs - kept,
        counted=rig.noted(),
        blocks_again=staged - outputs * BLOCKS_PER_OUTPUT,
        seconds=seconds,
        wrong=wrong,
    )
