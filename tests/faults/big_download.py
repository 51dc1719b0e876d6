"""A big video whose transfer is cut again and again: the right bytes, little fetched twice, little memory."""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import requests
from rig import KEY, App, Rig

from reelkeeper.policy import BLOCK_BYTES

MIB = 1024 * 1024
MOST_MEMORY = 64 * MIB


@dataclass(frozen=True)
class Transfer:
    """How it went, in bytes. `again`: what the provider sent twice, `worst`: for one cut; `memory`: above idle."""

    size: int
    cuts: int
    again: int
    worst: int
    memory: int
    seconds: float
    wrong: list[str]

    @property
    def kept(self) -> bool:
        """Whether it is what is promised: at most a block again for each cut, at most 64 MiB."""
        return not self.wrong and self.worst <= BLOCK_BYTES and self.memory <= MOST_MEMORY


def big_rig(folder: Path, connection_string: str, size: int) -> Rig:
    return Rig(folder, connection_string, provider={"media_bytes": size, "generation_seconds": 1.0})


def run_transfer(rig: Rig, size: int, cuts: int, seed: int) -> Transfer:
    """Fetch one video of `size` bytes that is cut at `cuts` random places."""
    rig.app.start()
    requests.get(f"{rig.app.url}/api/health", timeout=30)  # builds every adapter
    idle = idle_memory(rig.app)
    for after in cuts_of(size, cuts, random.Random(seed)):
        rig.simulator.fault("content", "truncate", after=after)
    (wish,) = rig.wish(["big"])
    began = time.monotonic()
    rig.submit([wish])[0].result()
    rig.complete(60 + size / MIB)
    seconds, memory = time.monotonic() - began, peak_memory(rig.app) - idle
    job = rig.find(wish)
    answers = rig.simulator.requests("content")
    sent = sum(answer["bytes"] for answer in answers)
    worst = max(_begin(one) + one["bytes"] - _begin(next_one) for one, next_one in pairwise(answers))
    wrong = rig.check_all()[wish.owner]
    if len(answers) != cuts + 1:
        wrong.append(f"the transfer took {len(answers)} answers, not one more than the {cuts} cuts")
    if job and job.clips and job.clips[0].digest != digest_of(rig.source(job.outputs[0].output_id)):
        wrong.append("the digest in the record is not the file's")
    return Transfer(size, cuts, sent - size, worst, memory, seconds, wrong)


def _begin(answer: dict[str, Any]) -> int:
    """Where in the file an answer began."""
    return int((answer["range"] or "bytes=0-").removeprefix("bytes=").partition("-")[0])


def cuts_of(size: int, cuts: int, chance: random.Random) -> list[int]:
    """After how many bytes of each answer the transfer is cut, so that the cuts lie anywhere in the file.

    Each answer begins where the block that the cut before it fell into begins.
    """
    places = sorted(chance.sample(range(1, size), cuts))
    begins = [0, *(place // BLOCK_BYTES * BLOCK_BYTES for place in places)]
    return [place - begin for place, begin in zip(places, begins, strict=False)]


def digest_of(source: str) -> str:
    """The digest that the app should have written down: over the digests of the blocks."""
    parts = []
    with requests.get(f"{source}/video", headers={"api-key": KEY}, stream=True, timeout=60) as answer:
        while block := answer.raw.read(BLOCK_BYTES):
            parts.append(hashlib.sha256(block).digest())
    return f"{hashlib.sha256(b''.join(parts)).hexdigest()}-{len(parts)}"


def idle_memory(app: App) -> int:
    """Bytes in use now; from here on the peak counts anew."""
    Path(f"/proc/{app.pid}/clear_refs").write_text("5")
    return _status(app, "VmRSS")


def peak_memory(app: App) -> int:
    return _status(app, "VmHWM")


def _status(app: App, name: str) -> int:
    lines = Path(f"/proc/{app.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
