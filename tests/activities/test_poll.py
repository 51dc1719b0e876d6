"""poll: only the provider's own word, or its time, ends a paid task."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from world import START, World

from reelkeeper import model, policy
from reelkeeper.errors import Fault
from reelkeeper.model import Job
from reelkeeper.providers.memory import MemoryProvider, refusal


def poll_until(world: World, job: Job, work: dict[str, Any], planned: list[str]) -> dict[str, Any]:
    """One look after the other, each as late as the last one asked for, each meeting the next planned refusal."""
    for code in planned:
        world.provider.planned["look"] = [refusal(code)]
        work = world.poll(job, work)
        if work["next"] != "poll":
            break
        world.clock.advance(seconds=work["seconds"])
    return work


def set_task(world: World, job: Job, **changes: Any) -> None:
    tasks = world.provider._tasks
    tasks[str(job.task_id)] = replace(tasks[str(job.task_id)], **changes)


def test_a_running_task_is_looked_at_again(world: World) -> None:
    """The answer holds what the next round needs, the record the stage and a progress, the watchdog a later time."""
    job = world.generating()
    set_task(world, job, state="running", stage="processing")
    world.clock.advance(seconds=60)
    answer = world.poll(job)
    assert answer == {"next": "poll", "seconds": policy.poll_interval(60), "owner": job.owner, "job_id": job.job_id}
    now = world.now_as(job)
    assert (now.status, now.stage) == (model.GENERATING, "processing")
    assert 10 < now.progress < 90
    row = world.watched()[job.job_id]
    assert row.due == world.clock.now() + timedelta(seconds=answer["seconds"]) + policy.STEP_GRACE
    assert row.expires_at == job.expires_at


def test_progress_never_goes_back(world: World) -> None:
    """A provider that puts a running task back into its queue does not turn the bar back."""
    job = world.generating()
    set_task(world, job, state="running", stage="running")
    world.clock.advance(seconds=90)
    world.poll(job)
    before = world.now_as(job).progress
    set_task(world, job, state="queued", stage="queued")
    world.poll(job)
    assert (world.now_as(job).stage, world.now_as(job).progress) == ("queued", before)


def test_a_progress_that_the_provider_tells_is_believed(world: World) -> None:
    """Its own figure comes before our estimate, and never claims the end: the file has yet to be kept."""
    job = world.generating()
    for told, shown in ((37, 37), (100, 90)):
        set_task(world, job, state="running", stage="running")
        world.provider.progress = told
        world.poll(job)
        assert world.now_as(job).progress == shown


def test_a_task_that_expired_at_the_provider_expires_the_job(world: World) -> None:
    """Its time was up before anything could be kept: that is no failure of the prompt."""
    job = world.generating()
    set_task(world, job, state="failed", stage="expired", fault=refusal("content_expired").fault)
    assert world.poll(job)["status"] == model.EXPIRED


def test_an_unmoved_task_costs_no_write(world: World) -> None:
    """The record is written when something changed, not with every look."""
    job = world.generating()
    world.poll(job)
    before = world.now_as(job)
    world.clock.advance(seconds=3)
    world.poll(job)
    assert world.now_as(job).etag == before.etag


def test_a_task_that_succeeded_is_kept(world: World) -> None:
    """The outputs are in the record before anything is fetched, with the provider's expiry."""
    job = world.generating(n_variants=2)
    world.provider.finish(str(job.task_id))
    expires_at = START + timedelta(hours=30)
    set_task(world, job, expires_at=expires_at)
    assert world.poll(job) == {"next": "keep", "outputs": 2}
    now = world.now_as(job)
    assert (now.status, now.stage, now.attempts, now.expires_at) == ("downloading", "downloading", 0, expires_at)
    assert [output.output_id for output in now.outputs] == ["gen_task_1_0", "gen_task_1_1"]


def test_looking_again_after_success_changes_nothing(world: World) -> None:
    """A second run of the step answers the same from the record, without asking the provider."""
    job = world.downloading(n_variants=2)
    world.provider.forget(str(job.task_id))
    for _ in range(3):
        assert world.poll(job) == {"next": "keep", "outputs": 2}
    assert world.now_as(job) == job


@pytest.mark.parametrize("status", sorted(model.TERMINAL))
def test_a_finished_job_stops_its_watch(world: World, status: str) -> None:
    """Whoever polls a job that has ended stops, and leaves neither fault nor watchdog row behind."""
    job = world.completed() if status == model.COMPLETED else world.ended(status)
    world.provider.planned["look"] = [refusal("provider_error")]
    assert world.poll(job) == {"next": "stop"}
    assert world.now_as(job) == job
    assert world.watched() == {}


def test_a_deleted_job_stops_its_watch(world: World) -> None:
    """Without a record there is nothing to look at."""
    assert world.poll(World().record()) == {"next": "stop"}


def test_a_fault_met_while_the_job_ends_is_not_written_into_it(world: World) -> None:
    """The look was under way when another run completed the job: its trouble is nobody's any more."""
    job = world.generating()
    look = world.provider.look

    def look_late(task_id: str) -> Any:
        world.provider.finish(task_id)
        world.provider.look = look  # type: ignore[method-assign]
        world.poll(job)
        world.settle(job, kept=[world.keep(job)])
        raise refusal("provider_error")

    world.provider.look = look_late  # type: ignore[method-assign]
    world.poll(job)
    now = world.now_as(job)
    assert (now.status, now.fault) == (model.COMPLETED, None)


@pytest.mark.parametrize("code", ["moderation_input", "moderation_output"])
def test_a_refused_content_fails_the_job(world: World, code: str) -> None:
    """Moderation is an answer: no second task for the same prompt."""
    job = world.generating()
    world.provider.fail(str(job.task_id), code)
    answer = world.poll(job)
    seen = ["generating", job.task_id]
    assert answer == {"next": "settle", "status": "failed", "fault": refusal(code).fault.to_dict(), "seen": seen}


def test_a_cancelled_task_cancels_the_job(world: World) -> None:
    """Somebody cancelled at the provider: that is not a failure of ours, and nothing is created anew."""
    job = world.generating()
    set_task(world, job, state="cancelled", stage="cancelled", fault=refusal("provider_error").fault)
    answer = world.poll(job)
    assert (answer["next"], answer["status"], answer["fault"]["code"]) == ("settle", "cancelled", "provider_error")


def test_a_success_without_outputs_fails_the_job(world: World) -> None:
    """There is nothing to fetch, and the task may have been charged: no second one."""
    job = world.generating()
    world.provider.finish(str(job.task_id), outputs=0)
    answer = world.poll(job)
    assert (answer["next"], answer["status"], answer["fault"]["code"]) == ("settle", "failed", "provider_error")
    assert "without any output" in answer["fault"]["message"]


def test_a_task_that_the_provider_failed_is_created_anew_twice(world: World) -> None:
    """The first and two more tasks, a longer pause before each, then the provider's failure is the answer."""
    job, pauses = world.record(), []
    for number in range(policy.MAX_CREATES):
        assert world.create(job) == {"next": "watch"}
        world.provider.fail(f"task_{number + 1}", "provider_error")
        answer = world.poll(job)
        if answer["next"] == "wait":
            pauses.append(answer["seconds"])
            now = world.now_as(job)
            assert (now.status, now.task_id, now.expires_at, now.progress) == ("queued", None, None, 0)
            assert now.next_attempt_at == world.clock.now() + timedelta(seconds=answer["seconds"])
            world.clock.advance(seconds=answer["seconds"])
    assert pauses == [5, 10]
    assert (answer["next"], answer["fault"]["code"]) == ("settle", "provider_error")
    assert len(world.provider.submitted) == policy.MAX_CREATES


def test_forgetting_a_failed_task_twice_is_forgetting_it_once(world: World) -> None:
    """The step ran, nobody heard of it, it runs again: the job still waits for its next create."""
    job = world.generating()
    world.provider.fail(str(job.task_id), "provider_error")
    assert world.poll(job) == {"next": "wait", "seconds": 5}
    before = world.now_as(job)
    world.clock.advance(seconds=2)
    assert world.poll(job) == {"next": "wait", "seconds": 3}
    world.clock.advance(seconds=9)
    assert world.poll(job) == {"next": "wait", "seconds": 0}
    assert world.now_as(job) == before


def test_an_old_look_does_not_touch_the_next_task(world: World) -> None:
    """The job was created anew while an older look was under way: what that saw is about another task."""
    job = world.generating()
    look = world.provider.look

    def look_late(task_id: str) -> Any:
        world.provider.fail(task_id, "provider_error")
        world.provider.look = look  # type: ignore[method-assign]
        world.clock.advance(seconds=world.poll(job)["seconds"])
        world.create(job)
        raise refusal("rate_limited")

    world.provider.look = look_late  # type: ignore[method-assign]
    world.poll(job)
    now = world.now_as(job)
    assert (now.status, now.task_id, now.fault) == ("generating", "task_2", None)


def test_five_misses_over_two_minutes_lose_the_task(world: World) -> None:
    """The count travels with the watch: not sooner than five times, and not sooner than two minutes."""
    job = world.generating()
    answer = poll_until(world, job, {}, ["task_lost"] * 20)
    assert (answer["next"], answer["status"], answer["fault"]["code"]) == ("settle", "failed", "task_lost")
    assert world.clock.now() - START >= policy.LOST_AFTER


@pytest.mark.parametrize("between", ["provider_error", None])
def test_another_answer_in_between_starts_the_count_anew(world: World, between: str | None) -> None:
    """Misses count only in a row: a server that restarts, or one look that finds the task, begins a new row."""
    job = world.generating()
    work = poll_until(world, job, {}, ["task_lost"] * 4)
    assert (work["misses"], work["failures"]) == (4, 0)
    world.clock.advance(minutes=5)
    work = poll_until(world, job, work, [between]) if between else world.poll(job, work)
    work = poll_until(world, job, work, ["task_lost"])
    assert (work["next"], work["misses"]) == ("poll", 1)


@pytest.mark.parametrize("code", ["provider_error", "invalid_credentials", "rate_limited", "invalid_request"])
def test_an_unreachable_provider_does_not_end_a_paid_job(world: World, code: str) -> None:
    """Almost a day of refusals, and the job is still watched; its record tells the trouble."""
    job, work = world.generating(), dict[str, Any]()
    while world.clock.now() - START < timedelta(hours=23):
        work = poll_until(world, job, work, [code])
        assert work["next"] == "poll"
        assert 5 <= work["seconds"] <= 30
        world.clock.advance(minutes=20)
    now = world.now_as(job)
    assert (now.status, now.fault) == ("generating", refusal(code).fault)
    world.provider.finish(str(job.task_id))
    assert world.poll(job, work) == {"next": "keep", "outputs": 1}
    assert world.now_as(job).fault is None


def test_the_fault_goes_when_the_provider_is_back(world: World) -> None:
    """A status that shows yesterday's trouble would send people looking for it."""
    job = world.generating()
    work = poll_until(world, job, {}, ["provider_error"])
    assert world.now_as(job).fault is not None
    world.poll(job, work)
    assert world.now_as(job).fault is None


def test_a_provider_taken_out_of_the_settings_does_not_end_a_paid_job(world: World) -> None:
    """It can be configured again within the provider's time; the message says so."""
    job = world.generating()
    provider = world.services.providers.pop("sora")
    work = world.poll(job)
    assert (work["next"], work["failures"]) == ("poll", 1)
    fault = world.now_as(job).fault
    assert fault is not None
    assert "'memory sora'" in fault.message
    assert "Configure it again" in fault.message
    world.services.providers["sora"] = provider
    world.provider.finish(str(job.task_id))
    assert world.poll(job, work)["next"] == "keep"


def test_a_task_is_never_looked_for_at_another_place(world: World) -> None:
    """The setting names another resource now: its 'unknown task' would lose a paid one."""
    job = world.generating()
    world.provider.place = "memory elsewhere"
    work: dict[str, Any] = {}
    for _ in range(8):
        work = world.poll(job, work)
        world.clock.advance(minutes=1)
    assert (work["next"], work["misses"], work["failures"]) == ("poll", 0, 8)
    world.provider.place = "memory sora"
    world.provider.finish(str(job.task_id))
    assert world.poll(job, work)["next"] == "keep"


@pytest.mark.parametrize("refused", [False, True])
def test_the_provider_s_expiry_ends_the_watch(world: World, refused: bool) -> None:
    """Past it the provider has deleted everything: the job expires, whether it answers or not."""
    job = world.generating()
    world.clock.advance(hours=24)
    world.provider.planned["look"] = [refusal("provider_error")] * refused
    answer = world.poll(job)
    assert (answer["next"], answer["status"], answer["fault"]["code"]) == ("settle", "expired", "content_expired")


def test_a_success_seen_after_the_expiry_still_counts(world: World) -> None:
    """If the provider hands it out all the same, it is kept."""
    job = world.generating()
    world.provider.finish(str(job.task_id))
    world.clock.advance(hours=30)
    assert world.poll(job)["next"] == "keep"


@pytest.mark.parametrize("refused", [False, True])
def test_our_own_deadline_ends_the_watch_of_a_task_without_an_expiry(refused: bool) -> None:
    """Where the provider names none, a task that runs for longer than JOB_DEADLINE_HOURS is given up."""
    world = World(JOB_DEADLINE_HOURS="1.5")
    world.provider.keeps = None
    job = world.generating()
    assert job.expires_at == START + timedelta(hours=1.5)
    world.clock.advance(minutes=89)
    assert world.poll(job)["next"] == "poll"
    world.clock.advance(minutes=1)
    world.provider.planned["look"] = [refusal("provider_error")] * refused
    assert world.poll(job)["status"] == "expired"


def test_our_own_deadline_does_not_cut_the_provider_s_time_short() -> None:
    """An expiry that the provider names counts, longer or shorter: what it still keeps is watched."""
    world = World(JOB_DEADLINE_HOURS="1.5")
    job = world.generating()
    world.clock.advance(hours=23)
    assert world.poll(job)["next"] == "poll"
    world.clock.advance(hours=1)
    assert world.poll(job)["status"] == "expired"


def test_a_success_without_an_expiry_is_kept_for_the_deadline() -> None:
    """The files of a task whose end nobody names are fetched until JOB_DEADLINE_HOURS after its creation."""
    world = World(JOB_DEADLINE_HOURS="30")
    world.provider.keeps = None
    job = world.generating()
    world.clock.advance(hours=1)
    world.provider.finish(str(job.task_id))
    world.poll(job)
    assert world.now_as(job).expires_at == START + timedelta(hours=30)


@pytest.mark.parametrize("status", [model.SUBMITTING, model.SUBMIT_UNKNOWN, model.QUEUED])
def test_a_task_that_is_not_held_yet_is_not_watched(world: World, status: str) -> None:
    """It may be another job's: a watch that outlived its task hands over to `create`, without a look."""
    job = world.force(world.generating(), status=status)
    world.provider.planned["look"] = [refusal("task_lost")]
    assert world.poll(job) == {"next": "wait", "seconds": 0}
    assert len(world.provider.planned["look"]) == 1
    assert world.now_as(job) == job


def test_the_deadline_counts_from_the_task_not_from_the_queue(world: World) -> None:
    """A job that waited for 23 hours for its turn still has its task watched for as long as any other."""
    job = world.record()
    world.provider.planned["submit"] = [refusal("rate_limited")]
    world.create(job)
    world.clock.advance(hours=23)
    world.create(job)
    world.clock.advance(hours=2)
    assert world.poll(job)["next"] == "poll"


def test_the_provider_s_retry_after_is_obeyed(world: World) -> None:
    """Not sooner than asked for, yet never later than an hour."""
    job = world.generating()
    for asked, seconds in ((45, 45), (86_400, 3600)):
        world.provider.planned["look"] = [refusal("rate_limited", retry_after=asked)]
        answer = world.poll(job)
        assert answer["seconds"] == seconds
        due = world.clock.now() + timedelta(seconds=seconds) + policy.STEP_GRACE
        assert world.watched()[job.job_id].due == due


def test_a_newer_expiry_is_taken_over(world: World) -> None:
    """The provider names its real expiry only later: record and watchdog follow."""
    job = world.generating()
    sooner = START + timedelta(hours=3)
    set_task(world, job, state="running", stage="running", expires_at=sooner)
    world.poll(job)
    assert world.now_as(job).expires_at == sooner
    world.poll(job)
    assert world.watched()[job.job_id].expires_at == sooner


def test_a_fault_that_the_record_can_hold(world: World) -> None:
    """What a provider says, half an emoji included, is kept as it is."""
    job = world.generating()
    error = refusal("provider_error")
    error.fault = replace(error.fault, provider_message="cut \ud83d")
    world.provider.planned["look"] = [error]
    world.poll(job)
    fault = world.now_as(job).fault
    assert isinstance(fault, Fault)
    assert fault.provider_message == "cut \ud83d"


def test_a_provider_that_got_another_name_is_still_known_by_its_place(world: World) -> None:
    """The task is where it was made: whoever is configured there now is asked, and hands the file out."""
    job = world.generating()
    world.provider.finish(str(job.task_id))
    elsewhere = MemoryProvider(world.clock.now, "elsewhere")
    world.services.providers.clear()
    world.services.providers.update({"sora": elsewhere, "renamed": world.provider})
    assert world.poll(job)["next"] == "keep"
    assert "clip" in world.keep(world.now_as(job))


def test_a_lost_answer_is_looked_for_where_it_was_posted(world: World) -> None:
    """Also when the name stands for another place by now: nobody else knows the task, and none is made there."""
    world.provider.lose_answer = True
    job = world.record()
    world.create(job)
    elsewhere = MemoryProvider(world.clock.now, "elsewhere")
    world.services.providers.clear()
    world.services.providers.update({"sora": elsewhere, "renamed": world.provider})
    world.clock.advance(seconds=60)
    assert world.create(job) == {"next": "watch"}
    assert (len(world.provider.submitted), elsewhere.submitted) == (1, [])
