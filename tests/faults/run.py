"""Everything at full size: `python tests/faults/run.py [--kills 200] [--seed 1] [--mib 512] [--cuts 20] [--only PART]`.

1. The matrix of all named points of a video, one that starts from a picture, and two images: killed, task hub lost,
   overtaken; and killed in the sweep.
2. The same of cancels at every stage of a video and of images, and of deletes.
3. Random kills. 4. One big download with cuts. 5. One answer with ten large images.
Prints a table each; exit 1 when anything was lost, paid twice, or wrong.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))  # behind this folder, which Python puts first

from big_download import MIB, big_rig, run_transfer
from big_images import LARGE, images_rig, run_images, serving
from matrix import STRIKES, matrix_rig, run_matrix, run_sweep_matrix, safe_when
from points import IMAGE_LIFE, LIFE, PICTURE, points
from random_kills import random_rig, run_random
from wishes import CANCELLED, IMAGE, PICTURED, VIDEO
from withdrawals import every_play, portions, run_deletes, run_withdrawals, withdrawal_rig

from emulator.azurite import Azurite

PARTS = ("matrix", "withdrawals", "random", "download", "images")
EVERYWHERE = {VIDEO: points(*LIFE), PICTURED: points(*PICTURE), IMAGE: points(*IMAGE_LIFE)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="random kills (default: 200)")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="of chance (default: any)")
    parser.add_argument("--mib", type=int, default=512, help="size of the big download (default: 512)")
    parser.add_argument("--cuts", type=int, default=20, help="cuts of the big download (default: 20)")
    parser.add_argument("--only", choices=PARTS, action="append", help="run this part only; may be given again")
    options = parser.parse_args()
    for dying in ("aiohttp.server", "urllib3.connectionpool"):  # that the other end goes away is what this is about
        logging.getLogger(dying).setLevel(logging.CRITICAL)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, Azurite(Path(folder) / "azurite") as azurite:
        place, storage, good = Path(folder), azurite.connection_string, True
        if "matrix" in (options.only or PARTS):
            good &= print_matrix(place, storage)
        if "withdrawals" in (options.only or PARTS):
            good &= print_withdrawals(place, storage)
        if "random" in (options.only or PARTS):
            good &= print_random(place, storage, options.kills, options.seed)
        if "download" in (options.only or PARTS):
            good &= print_download(place, storage, options.mib * MIB + 12_345, options.cuts, options.seed)
        if "images" in (options.only or PARTS):
            good &= print_images(place, storage)
    return 0 if good else 1


def print_matrix(place: Path, storage: str) -> bool:
    print(
        f"\n{'matrix':<12}{'points':>8}{'kills':>8}{'jobs':>8}{'creates':>9}{'wrong':>8}{'parked':>8}{'seconds':>9}",
        flush=True,
    )
    good = True
    for kind in (*STRIKES, "sweep"):
        began = time.monotonic()
        with matrix_rig(place / kind, storage) as rig:
            if kind == "sweep":
                found = run_sweep_matrix(rig, kind)
            else:
                at = {what: [one for one in all_ if safe_when(kind, what, one)] for what, all_ in EVERYWHERE.items()}
                found = run_matrix(rig, at, kind)
            wrong = {point: problems for point, problems in found.items() if problems}
            creates = rig.simulator.stats()["creates_accepted"]
            figures = f"{len(found):>8}{rig.app.kills:>8}{len(rig.wishes):>8}{creates:>9}{len(wrong):>8}"
            parked = len(rig.parked())
        print(f"{kind:<12}{figures}{parked:>8}{time.monotonic() - began:>9.1f}", flush=True)
        for point, problems in wrong.items():
            print(f"    {point}: {'; '.join(problems)}")
        good &= not wrong
    return good


def print_withdrawals(place: Path, storage: str) -> bool:
    """The points of a kill all; of the other strikes, whose waits are longer, every third one."""
    print(
        f"\n{'cancel':<12}{'points':>8}{'kills':>8}{'jobs':>8}{'creates':>9}{'wrong':>8}{'cancelled':>11}{'seconds':>9}"
    )
    good = True
    for kind in (*STRIKES, "delete"):
        began, found, sums = time.monotonic(), dict[str, list[str]](), Counter[str]()
        at = {name: stops if kind == "killed" else stops[::3] for name, stops in every_play().items()}
        blows = [{}] if kind == "delete" else portions(at, 6 if kind == "killed" else 2)
        for number, portion in enumerate(blows):
            with withdrawal_rig(place / f"cancel-{kind}-{number}", storage) as rig:
                found |= run_deletes(rig) if kind == "delete" else run_withdrawals(rig, portion, kind, number)
                creates, cancelled = rig.simulator.stats()["creates_accepted"], rig.noted(CANCELLED)
                sums.update(kills=rig.app.kills, jobs=len(rig.wishes), creates=creates, cancelled=cancelled)
        wrong = {point: problems for point, problems in found.items() if problems}
        figures = f"{len(found):>8}{sums['kills']:>8}{sums['jobs']:>8}{sums['creates']:>9}{len(wrong):>8}"
        print(f"{kind:<12}{figures}{sums['cancelled']:>11}{time.monotonic() - began:>9.1f}", flush=True)
        for point, problems in wrong.items():
            print(f"    {point}: {'; '.join(problems)}")
        good &= not wrong
    return good


def print_random(place: Path, storage: str, kills: int, seed: int) -> bool:
    with random_rig(place / "random", storage) as rig:
        tally = run_random(rig, kills, seed)
    rows = {
        "kills": tally.kills, "jobs": tally.jobs, "of them for images": tally.images,
        "creates": tally.creates, "duplicates": tally.duplicates,
        "outputs": tally.outputs, "outputs lost": tally.lost, "counted as ended": tally.counted,
        "parked": tally.parked, "never accepted": tally.unpaid,
        "cancels asked for": tally.cancels_asked, "cancelled": tally.cancelled,
        "deletes asked for": tally.deletes_asked, "deleted": tally.deleted,
        "blocks staged again": tally.blocks_again,
        "seconds": round(tally.seconds, 1),
    }  # fmt: skip
    _print_rows("random kills", rows)
    for owner, problems in tally.wrong.items():
        print(f"    {owner}: {'; '.join(problems)}")
    return tally.kept


def print_download(place: Path, storage: str, size: int, cuts: int, seed: int) -> bool:
    with big_rig(place / "download", storage, size) as rig:
        transfer = run_transfer(rig, size, cuts, seed)
    rows = {
        "MiB": round(size / MIB, 1), "cuts": cuts, "MiB fetched again": round(transfer.again / MIB, 1),
        "at most for one cut": round(transfer.worst / MIB, 1),
        "MiB of memory above idle": round(transfer.memory / MIB, 1),
        "seconds": round(transfer.seconds, 1),
    }  # fmt: skip
    _print_rows("big download", rows)
    for problem in transfer.wrong:
        print(f"    {problem}")
    return transfer.kept


def print_images(place: Path, storage: str) -> bool:
    with serving(LARGE) as server, images_rig(place / "images", storage, server.url) as rig:
        answer = run_images(rig, server)
    rows = {
        "images": len(server.sizes), "MiB each": round(server.sizes[0] / MIB, 1),
        "MiB of memory above idle": round(answer.memory / MIB, 1),
        "seconds": round(answer.seconds, 1),
    }  # fmt: skip
    _print_rows("large images", rows)
    for problem in answer.wrong:
        print(f"    {problem}")
    return answer.kept


def _print_rows(title: str, rows: Mapping[str, object]) -> None:
    print(f"\n{title}")
    for name, figure in rows.items():
        print(f"  {name:<26}{figure!s:>10}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
