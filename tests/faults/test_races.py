"""Two at the same work at the same time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from matrix import make_orphans, matrix_rig
from points import LEFTOVER, LIFE, ORPHAN, points
from rig import until
from world import World

from reelkeeper.clips.base import StagedBlock
from reelkeeper.clips.memory import MemoryClips


@pytest.mark.slow
def test_racing_sweeps_are_harmless(tmp_path: Path, faults_storage: str) -> None:
    """Sweeps that hang at every point over every kind of row, and wake up when others did the work, do no harm."""
    orphans = {f"orphan-{number}": point for number, point in enumerate(points(ORPHAN, skip=["jobs.get"]))}
    leftovers = {f"leftover-{number}": point for number, point in enumerate(points(LEFTOVER, skip=["jobs.get"]))}
    orders = orphans | leftovers
    with matrix_rig(tmp_path, faults_storage) as rig:
        make_orphans(rig, orphans, leftovers)
        rig.app.start(orders)

        def all_held() -> bool:
            rig.app.sweep()  # passes what the others hang at, and hangs at the next
            return orders.items() <= set(rig.app.lines("reached.log"))

        def all_settled() -> bool:
            rig.app.sweep()  # by hand, as the one on schedule hangs with the others
            return rig.settled()

        assert until(all_held, 60, pause=0.3)
        assert until(all_settled, 60, pause=0.2)
        rig.app.release()
        assert until(lambda: not rig.app.busy(), 30)
        assert until(lambda: rig.check_all() == {owner: [] for owner in orders}, 30, pause=0.3), rig.check_all()


@pytest.mark.slow
def test_many_renders_of_one_job_run_at_once(tmp_path: Path, faults_storage: str) -> None:
    """Six jobs, each rendered by four orchestrations from the first moment: six creates, six files."""
    with matrix_rig(tmp_path, faults_storage) as rig:
        rig.app.start()
        rig.simulator.set_generation_seconds(3)
        wishes = rig.wish([f"crowd-{number}" for number in range(6)])
        for post, wish in zip(rig.submit(wishes), wishes, strict=True):
            post.result()
            assert [rig.render(wish, suffix) for suffix in ("-b", "-c", "-d")] == [True] * 3
        assert rig.complete(60)
        assert until(lambda: not rig.app.busy(), 60)
        assert rig.check_all() == {wish.owner: [] for wish in wishes}


@pytest.mark.slow
def test_twins_whose_processes_die_never_share_a_task(tmp_path: Path, faults_storage: str) -> None:
    """Jobs with one prompt, killed at every point around the POST: as many creates as jobs, each with its own task."""
    around_the_post = points(LIFE[1])[6:]
    orders = {f"twin-{number}": point for number, point in enumerate(around_the_post)}
    with matrix_rig(tmp_path, faults_storage) as rig:
        rig.app.start(orders)
        wishes = rig.wish([*orders, "twin-unhurt-a", "twin-unhurt-b"])
        for wish in wishes:
            wish.prompt = "the same boat"
        rig.submit(wishes)
        assert until(lambda: orders == rig.app.reached(), 30)
        rig.kill()
        rig.simulator.set_generation_seconds(0.5)
        rig.finish_tasks()
        rig.app.start()
        assert rig.complete(60)
        assert rig.check_all() == {wish.owner: [] for wish in wishes}


class Beaten(MemoryClips):
    """Lets a rival finish first, between two looks at the storage."""

    rival: Callable[[], object] | None = None

    def staged(self, path: str) -> list[StagedBlock]:
        rival, self.rival = self.rival, None
        if rival:
            rival()
        return super().staged(path)


def test_a_store_that_is_beaten_to_the_commit_takes_the_other_ones_file() -> None:
    """The commit uses up every staged block; who then finds none did not lose its file."""
    world, clips = World(), Beaten()
    world.use(clips=clips)
    job = world.downloading()
    staged = world.download(job, part="thumbnail")
    clips.rival = lambda: world.store(job, staged, part="thumbnail")
    assert world.store(job, staged, part="thumbnail")["clip"]["size"] > 0
