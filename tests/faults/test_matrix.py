"""The matrix of named points: the process dies, loses its task hub, or hangs there, and the job is done once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from matrix import Findings, Results, label, matrix_rig, once_each, run_matrix, run_sweep_matrix
from points import DUE, IMAGE_LIFE, LEFTOVER, LIFE, LIVES, ORPHAN, PICTURE, count_calls, points
from rig import until
from wishes import IMAGE, PICTURED, VIDEO

READS = ("jobs.get", "clips.find")
"""Stopping before or after a look at what is there is stopping beside what comes before or after: standalone only."""

AS_TIME_GOES_BY = r"^poll|watchdog\.watch$"
"""What a job does the more often the longer it takes."""

WRITES = r"(save|submit|claims\.claim|stage|commit|note|unwatch):after"
VIDEOS, IMAGES, PICTURES = (points(*life, skip=READS) for life in (LIFE, IMAGE_LIFE, PICTURE))
AT = {
    "killed": {VIDEO: VIDEOS, IMAGE: IMAGES, PICTURED: PICTURES},
    "lost": {VIDEO: VIDEOS[::2], IMAGE: [point for point in IMAGES if point.startswith("create")][::2]},
    "overtaken": {
        VIDEO: [point for point in VIDEOS if re.search(WRITES, point)],
        IMAGE: [point for point in IMAGES if re.search(rf"create .*({WRITES}|submit:before)", point)],
    },
}
KILLED, HUB_LOST, OVERTAKEN = (
    [label(what, point) for what, where in at.items() for point in where] for at in AT.values()
)
SWEEP = [point for run in (DUE, ORPHAN, LEFTOVER) for point in points(run, skip=READS)]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, faults_storage: str) -> Results:
    """Runs one kind of matrix, all its points at once, when its first point is asked for."""

    def run(kind: str) -> Findings:
        with matrix_rig(tmp_path_factory.mktemp(kind), faults_storage) as rig:
            if kind == "sweep":
                return run_sweep_matrix(rig, kind, skip=READS)
            return run_matrix(rig, AT[kind], kind)

    return once_each(run)


def test_the_tables_name_every_call_of_a_job(tmp_path: Path, faults_storage: str) -> None:
    """Undisturbed jobs make exactly the calls of the tables; a new one belongs there, and so into the matrix."""
    made: dict[str, Counter[str]] = {what: Counter() for what in LIVES}
    with matrix_rig(tmp_path, faults_storage) as rig:
        rig.app.start()
        wishes = [rig.wish([what], variants=2 if what == IMAGE else 1, what=what)[0] for what in LIVES]
        rig.submit(wishes)
        assert until(lambda: {VIDEO, PICTURED} <= rig.polled(), 30)
        rig.finish_tasks()
        assert rig.complete(30)
        assert rig.check_all() == {what: [] for what in LIVES}
        for owner, point in rig.app.lines("passed.log"):
            if owner in made and ":before" in point and not point.startswith("sweep"):
                made[owner][point.partition(":")[0]] += 1
    for what, life in LIVES.items():
        table = count_calls(*life)
        assert made[what].keys() == table.keys()
        steady = [call for call in table if not re.search(AS_TIME_GOES_BY, call)]
        assert {call: made[what][call] for call in steady} == {call: table[call] for call in steady}
        assert made[what] >= table


@pytest.mark.parametrize("point", KILLED)
def test_a_process_killed_at_a_point_loses_nothing_and_pays_once(results: Results, point: str) -> None:
    """After a restart the job completes: one create, the right bytes, no watchdog row left."""
    assert results("killed")[point] == []


@pytest.mark.parametrize("point", HUB_LOST)
def test_a_job_survives_the_loss_of_the_task_hub_at_a_point(results: Results, point: str) -> None:
    """With every history deleted the sweep alone finds the job and completes it, without a second create."""
    assert results("lost")[point] == []


@pytest.mark.parametrize("point", OVERTAKEN)
def test_a_render_that_hangs_at_a_point_may_be_overtaken(results: Results, point: str) -> None:
    """A second render completes the job; the first, waking up afterwards, and a third change nothing."""
    assert results("overtaken")[point] == []


@pytest.mark.parametrize("point", SWEEP)
def test_a_sweep_killed_at_a_point_is_made_good_by_the_next(results: Results, point: str) -> None:
    """The orphan is started, the left-over row goes, once each."""
    assert results("sweep")[point] == []
