"""Images where lost creates are made again, which may be paid for twice; and large ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from big_download import MIB
from big_images import images_rig, run_images, serving
from matrix import hold_all, killed, matrix_rig
from points import IMAGE_LIFE, UNDECIDED, images_whole, points
from wishes import IMAGE

CREATE = points(IMAGE_LIFE[1], skip=["jobs.get"])
IN_THE_POST = [point for point in CREATE if point in UNDECIDED or "clips.stage" in point]


@pytest.mark.slow
def test_a_lost_create_is_made_again_once_where_the_operator_says_so(tmp_path: Path, faults_storage: str) -> None:
    """One kill makes one more create, and only where nothing had arrived; what had, is kept."""
    orders = {f"again-{number:02d}": point for number, point in enumerate(IN_THE_POST)}
    with matrix_rig(tmp_path, faults_storage, IMAGE_RESUBMIT_UNKNOWN="true", SUBMIT_GRACE_SECONDS="1") as rig:
        for wish in rig.wish(orders, variants=2, what=IMAGE):
            point = orders[wish.owner]
            whole = images_whole(point)
            wish.kept = (whole or 2,)
            wish.creates = (2,) if not whole and point not in UNDECIDED else (1,)
        hold_all(rig, orders)
        assert rig.app.reached() == orders
        killed(rig)
        assert rig.complete(60)
        assert rig.check_all() == {owner: [] for owner in orders}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the app's memory from /proc")
def test_large_images_pass_through_one_at_a_time(tmp_path: Path, faults_storage: str) -> None:
    """However many an answer holds, what is in memory is one of them."""
    with serving([8 * MIB] * 8) as server, images_rig(tmp_path, faults_storage, server.url) as rig:
        answer = run_images(rig, server)
    assert answer.wrong == []
    assert answer.memory <= answer.allowed < 8 * 8 * MIB * 4 / 3  # all of it in Base64
