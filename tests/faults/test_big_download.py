"""A big video over a bad line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from big_download import MIB, MOST_MEMORY, big_rig, run_transfer

from reelkeeper.policy import BLOCK_BYTES

SIZE, CUTS, SEED = 48 * MIB + 12_345, 20, 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the app's memory from /proc")
def test_a_big_video_arrives_over_twenty_cuts(tmp_path: Path, faults_storage: str) -> None:
    """The right bytes and digest, at most one block fetched again per cut, at most 64 MiB above idle."""
    with big_rig(tmp_path, faults_storage, SIZE) as rig:
        transfer = run_transfer(rig, SIZE, CUTS, SEED)
    assert transfer.wrong == []
    assert transfer.worst <= BLOCK_BYTES
    assert 0 < transfer.again <= CUTS * BLOCK_BYTES
    assert transfer.memory <= MOST_MEMORY
