"""Kills at random points and moments."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_kills import random_rig, run_random

SEED = 20


@pytest.mark.slow
def test_random_kills_lose_nothing_and_pay_once(tmp_path: Path, faults_storage: str) -> None:
    """However often the app dies: no job is paid for twice, every output is kept, of what was taken back is nothing."""
    with random_rig(tmp_path, faults_storage) as rig:
        tally = run_random(rig, kills=15, seed=SEED)
    assert tally.wrong == {}
    assert (tally.duplicates, tally.lost) == (0, 0)
    assert tally.creates + tally.unpaid == tally.jobs
    assert tally.counted + tally.parked == tally.jobs
    assert tally.kills >= 15
    assert tally.images >= 4
    assert tally.jobs - tally.images >= 8
