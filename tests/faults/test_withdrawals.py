"""Cancel and delete when the app dies: a cancelled job leaves nothing behind, a deleted one even less."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from matrix import Findings, Results, once_each
from points import TAKEN_BACK, cancel_run, count_calls, delete_run, points
from rig import until
from wishes import CANCELLED, DELETED, VIDEO
from withdrawals import STAGES, run_deletes, run_withdrawals, withdrawal_rig

from reelkeeper.parts import VIDEOS

OF_ALL = "cancel_{} jobs.save:after#1"
AT = {name: [OF_ALL.format(stage.kind)] for name, stage in STAGES.items()}
AT["generating"] = points(cancel_run(VIDEOS, TAKEN_BACK))[5::2]
AT["unanswered"] += ["", *[stop for stop in STAGES["unanswered"].stops() if stop.startswith("create")][1::4]]
AT["undeletable"] += ["poll provider.cancel:after#1", "poll outcomes.note:after#1"]
AT["stored"] += ["", "cancel_videos jobs.save:before#1"]
AT["image under way"] += ["create jobs.save:before#2", "create clips.delete_all:before#1"]
CANCELS = [f"{name}: {stop or 'answered'}" for name, stops in AT.items() for stop in stops]
DELETES = points(delete_run(VIDEOS))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, faults_storage: str) -> Results:
    """Runs all cancels at once, or all deletes, when the first of them is asked for."""

    def run(what: str) -> Findings:
        with withdrawal_rig(tmp_path_factory.mktemp(what), faults_storage) as rig:
            return run_deletes(rig, [VIDEO]) if what == "delete" else run_withdrawals(rig, AT, "killed")

    return once_each(run)


@pytest.mark.parametrize("point", CANCELS)
def test_a_cancel_killed_at_a_point_leaves_nothing_behind(results: Results, point: str) -> None:
    """Once the record says cancelled: no task at the provider, no blob, no row. Before: the job completes, once."""
    assert results("cancel")[point] == []


def test_twins_of_cancelled_jobs_complete(results: Results) -> None:
    """The other job with the same prompt keeps its task, whatever its twin took back."""
    twins = {name: wrong for name, wrong in results("cancel").items() if name.startswith("twin")}
    assert len(twins) >= 5
    assert [wrong for wrong in twins.values() if wrong] == []


@pytest.mark.parametrize("point", DELETES)
def test_a_delete_killed_at_a_point_leaves_all_or_nothing(results: Results, point: str) -> None:
    """Before the record goes the job is whole, and can be deleted again; after that the sweep removes the rest."""
    assert results("delete")[point] == []


def test_the_tables_name_every_call_of_cancel_and_delete(tmp_path: Path, faults_storage: str) -> None:
    """An undisturbed cancel and delete make exactly the calls of the tables."""
    with withdrawal_rig(tmp_path, faults_storage) as rig:
        rig.app.start()
        (wish,) = rig.wish(["undisturbed"])
        rig.submit([wish])
        assert until(lambda: bool(rig.polled()), 30)
        wish.ends, wish.creates = (CANCELLED,), (0, 1)
        rig.cancel(wish)
        assert until(lambda: wish.answers == [202], 30)
        assert rig.check_all() == {"undisturbed": []}
        wish.ends = (DELETED,)
        rig.delete(wish)
        assert until(lambda: wish.answers == [202, 204], 30)
        assert rig.check_all() == {"undisturbed": []}
        made = Counter(point.partition(":")[0] for _, point in rig.app.lines("passed.log") if ":before" in point)
    table = count_calls(cancel_run(VIDEOS, TAKEN_BACK), delete_run(VIDEOS))
    assert {call: number for call, number in made.items() if call.startswith(("cancel", "delete"))} == table
