"""The matrix of named points: the process dies, loses its task hub, or hangs there, and the job is done once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
from matrix import STRIKES, Findings, matrix_rig, run_matrix, run_sweep_matrix
from points import DUE, LEFTOVER, LIFE, ORPHAN, count_calls, points
from rig import until

READ = "jobs.get"
"""Stopping before or after a read of the record is stopping after or before what stands beside it: standalone only."""

AS_TIME_GOES_BY = r"^poll|watchdog\.watch$"
"""What a job does the more often the longer it takes."""

WRITES = r"(save|submit|claims\.claim|stage|commit|note|unwatch):after"
KILLED = points(*LIFE, skip=READ)
HUB_LOST = KILLED[::2]
OVERTAKEN = [point for point in KILLED if re.search(WRITES, point)]
AT = {"killed": KILLED, "lost": HUB_LOST, "overtaken": OVERTAKEN}
SWEEP = [point for run in (DUE, ORPHAN, LEFTOVER) for point in points(run, skip=READ)]
Results = Callable[[str], Findings]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, faults_storage: str) -> Results:
    """Runs one kind of matrix, all its points at once, when its first point is asked for."""

    def run(kind: str) -> Findings:
        with matrix_rig(tmp_path_factory.mktemp(kind), faults_storage) as rig:
            if kind == "sweep":
                return run_sweep_matrix(rig, kind, skip=READ)
            return run_matrix(rig, AT[kind], STRIKES[kind], kind)

    @cache
    def once(kind: str) -> Future[Findings]:
        """Also a run that raises is not repeated for every point."""
        return runs.submit(run, kind)

    runs = ThreadPoolExecutor(1)
    return lambda kind: once(kind).result()


def test_the_table_names_every_call_of_a_job(tmp_path: Path, faults_storage: str) -> None:
    """An undisturbed job makes exactly the calls of the table; a new one belongs there, and so into the matrix."""
    with matrix_rig(tmp_path, faults_storage) as rig:
        rig.app.start()
        (wish,) = rig.wish(["undisturbed"])
        rig.submit([wish])
        assert until(lambda: bool(rig.polled()), 30)
        rig.finish_tasks()
        assert rig.complete(30)
        assert rig.check_all() == {"undisturbed": []}
        made = Counter(
            point.partition(":")[0]
            for owner, point in rig.app.lines("passed.log")
            if owner == "undisturbed" and ":before" in point and not point.startswith("sweep")
        )
    table = count_calls(*LIFE)
    assert made.keys() == table.keys()
    steady = [call for call in table if not re.search(AS_TIME_GOES_BY, call)]
    assert {call: made[call] for call in steady} == {call: table[call] for call in steady}
    assert made >= table


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
