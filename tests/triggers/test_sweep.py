"""The sweep: whatever happened, an unfinished job is taken up again, the most urgent first, each on its own."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from world import START, World

from reelkeeper import model, policy
from reelkeeper.model import Job
from reelkeeper.records.base import Watch
from reelkeeper.records.memory import MemoryJobs, MemoryWatchdog

NOTHING = {"started": 0, "pushed": 0, "cleared": 0, "failed": 0}


def due_now(world: World, job: Job) -> Job:
    world.watchdog.watch(Watch(job.job_id, job.owner, job.kind, world.clock.now(), job.expires_at))
    return job


def started(world: World) -> list[str]:
    return [instance_id for _, instance_id, _ in world.client.started]


def test_what_is_not_due_is_left_alone(world: World) -> None:
    """Neither the orchestration nor the record is asked about."""
    world.record()
    world.client.failing["get_status"] = AssertionError("not due")
    world.clock.advance(seconds=59)
    assert world.sweep() == NOTHING
    assert started(world) == []


@pytest.mark.parametrize("status", ["Running", "Pending", "ContinuedAsNew", "Suspended"])
def test_a_living_orchestration_is_only_pushed_forward(world: World, status: str) -> None:
    """Its job gets another grace, and is not started a second time."""
    job = due_now(world, world.generating())
    world.client.statuses[job.job_id] = status
    assert world.sweep() == NOTHING | {"pushed": 1}
    assert started(world) == []
    assert world.watched()[job.job_id] == Watch(
        job.job_id, job.owner, job.kind, START + policy.STEP_GRACE, job.expires_at
    )
    assert world.sweep() == NOTHING


@pytest.mark.parametrize("status", ["Completed", "Failed", "Terminated", "Canceled", None])
@pytest.mark.parametrize("state", ["record", "generating", "downloading", "download_failed"])
def test_where_nobody_is_at_work_render_is_started(world: World, status: str | None, state: str) -> None:
    """A start that failed, a lost task hub, a crash, a download to try again: all the same."""
    job = due_now(world, getattr(world, state)())
    if status:
        world.client.statuses[job.job_id] = status
    assert world.sweep() == NOTHING | {"started": 1}
    assert world.client.started == [("render", job.job_id, {"owner": "ada", "job_id": job.job_id})]
    assert world.watched()[job.job_id].due == START + policy.STEP_GRACE
    assert world.sweep() == NOTHING


def test_a_download_is_not_tried_before_its_time(world: World) -> None:
    """download_failed is due at `next_attempt_at`, not sooner."""
    job = world.download_failed()
    world.clock.advance(minutes=4, seconds=59)
    assert world.sweep() == NOTHING
    world.clock.advance(seconds=1)
    assert world.sweep() == NOTHING | {"started": 1}
    assert started(world) == [job.job_id]


@pytest.mark.parametrize("status", sorted(model.TERMINAL))
def test_a_finished_job_loses_its_row(world: World, status: str) -> None:
    """What a crash left behind after the end is cleared, nothing is started."""
    job = due_now(world, world.completed() if status == model.COMPLETED else world.ended(status))
    assert world.sweep() == NOTHING | {"cleared": 1}
    assert (world.watched(), started(world)) == ({}, [])
    assert world.now_as(job) == job


def test_a_row_without_a_record_is_forgotten_after_a_while(world: World) -> None:
    """Not at once: the POST that wrote it may be about to write the record."""
    ghost = due_now(world, World().record())
    world.sweep()
    assert list(world.watched()) == [ghost.job_id]
    world.clock.advance(minutes=10)
    assert world.sweep() == NOTHING | {"cleared": 1}
    assert (world.watched(), started(world)) == ({}, [])


def test_a_post_that_records_in_the_moment_of_the_clearing_is_watched_again(world: World) -> None:
    """Whoever clears a row looks once more whether there is a record now."""
    due_now(world, job := world.record())
    world.clock.advance(minutes=11)

    class Slow(MemoryJobs):
        looks = 0

        def get(self, owner: str, job_id: str) -> Job | None:
            self.looks += 1
            return None if self.looks == 1 else world.jobs.get(owner, job_id)

    world.use(jobs=Slow())
    assert world.sweep()["cleared"] == 1
    assert list(world.watched()) == [job.job_id]


def test_the_soonest_expiry_comes_first(world: World) -> None:
    """A generation that the provider is about to delete does not wait behind the others."""
    jobs = {hours: world.record() for hours in (30, 2, None, 9)}
    for hours, job in jobs.items():
        expires_at = None if hours is None else START + timedelta(hours=hours)
        world.watchdog.watch(Watch(job.job_id, job.owner, job.kind, START, expires_at))
    assert world.sweep()["started"] == 4
    assert started(world) == [jobs[hours].job_id for hours in (2, 9, 30, None)]


def test_one_job_s_trouble_does_not_stop_the_others(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A start that fails, a record that cannot be read: counted, logged with the job, come back to later."""
    unstartable, unreadable, fine = (due_now(world, world.record()) for _ in range(3))

    class Jobs(MemoryJobs):
        def get(self, owner: str, job_id: str) -> Job | None:
            if job_id == unreadable.job_id:
                raise ConnectionError("this one only")
            return world.jobs.get(owner, job_id)

    world.use(jobs=Jobs())
    world.client.failing[unstartable.job_id] = ConnectionError("this one too")
    assert world.sweep() == NOTHING | {"failed": 2, "started": 1}
    assert started(world) == [fine.job_id]
    for job in (unstartable, unreadable):
        assert f"job {job.job_id}: the sweep could not look after it" in caplog.text
    world.use(jobs=world.jobs)
    world.client.failing.clear()
    world.clock.advance(minutes=5)
    world.client.statuses[fine.job_id] = "Running"
    assert world.sweep() == NOTHING | {"started": 2, "pushed": 1}
    assert set(started(world)) == {unstartable.job_id, unreadable.job_id, fine.job_id}


def test_a_durable_client_that_is_away_loses_no_row(world: World) -> None:
    """Nobody knows who is alive: nothing is started, everything stays due."""
    jobs = [due_now(world, world.record()) for _ in range(3)]
    world.client.failing["get_status"] = ConnectionError("the extension is away")
    assert world.sweep() == NOTHING | {"failed": 3}
    world.client.failing.clear()
    assert world.sweep() == NOTHING | {"started": 3}
    assert sorted(started(world)) == sorted(job.job_id for job in jobs)


def test_what_render_writes_into_the_row_stays(world: World) -> None:
    """The started orchestration may be faster than the sweep: its own next time is not overwritten."""
    job = due_now(world, world.download_failed())
    far = START + timedelta(hours=4)

    def run_at_once(instance_id: str) -> None:
        world.watchdog.watch(Watch(job.job_id, job.owner, job.kind, far, job.expires_at))

    world.client.before_start = run_at_once
    assert world.sweep()["started"] == 1
    assert world.watched()[job.job_id].due == far


def test_a_watchdog_that_is_away_is_raised(world: World) -> None:
    """The timer's run fails visibly, and the next one comes by itself."""

    class Away(MemoryWatchdog):
        def due(self, now: object, limit: int) -> list[Watch]:
            raise ConnectionError("storage is away")

    world.use(watchdog=Away())
    with pytest.raises(ConnectionError):
        world.sweep()


def test_a_sweep_with_nothing_to_do_is_silent(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Every five minutes a line that says nothing would bury the others."""
    caplog.set_level(logging.INFO)
    world.sweep()
    assert caplog.text == ""


def test_thousands_of_due_jobs_take_several_sweeps(world: World) -> None:
    """One run stays within its time; the rest is still due."""
    for _ in range(250):
        due_now(world, world.record())
    assert world.sweep()["started"] == 200
    assert world.sweep()["started"] == 50
    assert len(set(started(world))) == 250
