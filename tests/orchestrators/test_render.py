"""The life of a job, told in virtual time."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from reelkeeper import model
from reelkeeper.providers.memory import refusal


def test_a_prompt_becomes_a_stored_video(stage):
    """A job runs from its record to a committed clip with thumbnail, and its watchdog row is gone at the end."""
    job_id = stage.submit()
    stage.advance(minutes=1)
    job = stage.job(job_id)
    assert (job.status, job.progress, job.fault, job.warning) == (model.COMPLETED, 100, None, None)
    (clip,) = job.clips
    assert clip.path == f"user_ada/videos/{job_id}/0.mp4"
    assert stage.services.clips.find(clip.path).size == clip.size
    assert stage.services.clips.find(clip.thumbnail_path).content_type == "image/jpeg"
    assert stage.engine.get(job_id)["output"] == '"completed"'
    assert stage.services.watchdog.due(stage.clock.now().replace(year=2030), 10) == []
    assert len(stage.provider.submitted) == 1


def test_every_variant_is_kept_side_by_side(stage):
    """Four variants become four clips, each with its own output and index."""
    job_id = stage.submit(n_variants=4)
    stage.advance(minutes=1)
    clips = stage.job(job_id).clips
    assert [clip.index for clip in clips] == [0, 1, 2, 3]
    assert len({clip.output_id for clip in clips}) == len({clip.digest for clip in clips}) == 4


def test_fewer_outputs_than_variants_is_completed_with_a_warning(stage):
    """A partial success is a success that says so."""
    stage.generation_seconds = None
    job_id = stage.submit(n_variants=4)
    stage.advance(seconds=1)
    stage.provider.finish("task_1", outputs=3)
    stage.advance(minutes=1)
    job = stage.job(job_id)
    assert (job.status, len(job.clips)) == (model.COMPLETED, 3)
    assert job.warning == "The provider made 3 of the 4 videos asked for."


def test_a_throttled_create_waits_as_long_as_it_was_told(stage):
    """Retry-After of a 429 is obeyed, the job is `queued` meanwhile, and no attempt is used up."""
    stage.provider.planned["submit"] = [refusal("rate_limited", retry_after=90), refusal("too_many_running")]
    job_id = stage.submit()
    stage.advance(seconds=30)
    job = stage.job(job_id)
    assert (job.status, job.attempts, job.fault.code) == (model.QUEUED, 0, "rate_limited")
    stage.advance(minutes=5)
    assert stage.times("create") == [0, 90, 105]
    job = stage.job(job_id)
    assert (job.status, job.fault, job.next_attempt_at) == (model.COMPLETED, None, None)


def test_an_hour_of_too_many_running_costs_neither_the_job_nor_history(stage):
    """A create refused again and again waits on; the orchestration starts anew each time and stays small."""
    stage.provider.planned["submit"] = [refusal("too_many_running") for _ in range(240)]
    job_id = stage.submit()
    stage.advance(minutes=59)
    assert len(stage.engine.history(job_id)) < 30
    stage.advance(minutes=3)
    assert stage.job(job_id).status == model.COMPLETED


@pytest.mark.parametrize(
    "code",
    [
        "invalid_request",
        "invalid_credentials",
        "endpoint_not_found",
        "deployment_not_found",
        "model_retired",
        "moderation_input",
    ],
)
def test_a_final_refusal_fails_the_job_at_once(stage, code):
    """What no repetition can heal is told at once, with the provider's request id, and never sent again."""
    stage.provider.planned["submit"] = [refusal(code)]
    job_id = stage.submit()
    stage.run_for(hours=1)
    job = stage.job(job_id)
    assert (job.status, job.fault.code, job.fault.request_id) == (model.FAILED, code, "request-1")
    assert stage.times("create") == [0]
    assert stage.provider.submitted == []


def test_a_provider_that_is_down_is_tried_five_times(stage):
    """Failures to create are backed off and bounded."""
    stage.provider.planned["submit"] = [refusal("provider_error") for _ in range(9)]
    job_id = stage.submit()
    stage.run_for(minutes=10)
    assert stage.times("create") == [0, 5, 15, 35, 75]
    assert (stage.job(job_id).status, stage.job(job_id).fault.code) == (model.FAILED, "provider_error")


def test_a_task_that_failed_uncharged_is_created_anew_at_most_twice(stage):
    """internal_error at the provider costs nothing, so the job is submitted again; the third failure is final."""
    stage.generation_seconds = None
    job_id = stage.submit()
    for number in (1, 2, 3):
        stage.advance(seconds=1)
        stage.provider.fail(f"task_{number}", "provider_error")
        stage.advance(minutes=1)
    assert (stage.job(job_id).status, stage.job(job_id).creates) == (model.FAILED, 3)
    assert len(stage.provider.submitted) == 3


@pytest.mark.parametrize("code", ["moderation_input", "moderation_output"])
def test_a_moderated_task_is_never_sent_again(stage, code):
    """The same prompt would be refused the same way."""
    stage.generation_seconds = None
    job_id = stage.submit()
    stage.advance(seconds=1)
    stage.provider.fail("task_1", code)
    stage.run_for(hours=1)
    assert (stage.job(job_id).status, stage.job(job_id).fault.code) == (model.FAILED, code)
    assert len(stage.provider.submitted) == 1


def test_a_hiccup_of_our_own_storage_is_retried(stage):
    """An activity that raises runs again a few seconds later and the job notices nothing else."""
    for name in ("poll", "download", "store", "settle"):
        stage.failing[name] = [RuntimeError("storage is busy")]
    job_id = stage.submit()
    stage.advance(minutes=2)
    assert stage.job(job_id).status == model.COMPLETED
    assert len(stage.provider.submitted) == 1


def test_the_sweep_finishes_what_our_own_outage_stopped(stage):
    """When retries run out the orchestration fails; once storage is back the sweep brings the job to its end."""
    stage.failing["settle"] = [RuntimeError("storage is down") for _ in range(4)]
    job_id = stage.submit()
    stage.advance(minutes=2)
    assert stage.engine.get(job_id)["status"] == "Failed"
    stage.run_for(minutes=20)
    assert stage.job(job_id).status == model.COMPLETED
    assert len(stage.provider.submitted) == 1


@pytest.mark.parametrize("after", [0.5, 4, 12, 21])
def test_a_lost_task_hub_loses_no_job(stage, after):
    """With every orchestration gone the sweep starts the job again, and nothing is paid twice."""
    job_id = stage.submit()
    stage.advance(seconds=after)
    stage.lose_the_task_hub()
    stage.run_for(minutes=30)
    assert stage.job(job_id).status == model.COMPLETED
    assert len(stage.provider.submitted) == 1


def test_starting_a_finished_job_again_changes_nothing(stage):
    """`render` on a completed job stops at the first look."""
    job_id = stage.submit()
    stage.advance(minutes=1)
    before, calls = stage.job(job_id), len(stage.calls)
    stage.start(job_id)
    stage.advance(minutes=1)
    assert stage.job(job_id) == before
    assert [name for _, name, _ in stage.calls[calls:]] == ["create"]


def test_content_that_is_not_there_yet_is_waited_for(stage):
    """404 on the content right after success is asked again within two minutes, in the same orchestration."""
    stage.provider.planned["open_output"] = [refusal("content_not_ready") for _ in range(4)]
    job_id = stage.submit()
    stage.advance(minutes=3)
    assert stage.job(job_id).status == model.COMPLETED
    video = [at for at, name, work in stage.calls if name == "download" and work["part"] == "output"]
    assert [later - earlier for earlier, later in pairwise(video)] == [5, 10, 15, 20]


def test_content_that_heals_later_is_fetched_by_the_sweep_alone(stage):
    """After two minutes the job is `download_failed`; when the content appears the sweep completes it."""
    stage.provider.planned["open_output"] = [refusal("content_not_ready") for _ in range(9)]
    job_id = stage.submit()
    stage.advance(minutes=3)
    job = stage.job(job_id)
    assert (job.status, job.fault.code, job.attempts) == (model.DOWNLOAD_FAILED, "content_not_ready", 1)
    assert (job.next_attempt_at - job.updated_at).total_seconds() == 300
    stage.run_for(minutes=15)
    assert stage.job(job_id).status == model.COMPLETED
    assert len(stage.provider.submitted) == 1


def test_content_that_never_comes_ends_as_expired(stage):
    """The job holds out until the provider's expiry, with a last try shortly before it, and then says so."""
    stage.provider.planned["open_output"] = [refusal("content_not_ready") for _ in range(999)]
    job_id = stage.submit()
    stage.run_for(hours=23)
    assert stage.job(job_id).status == model.DOWNLOAD_FAILED
    stage.run_for(hours=6)
    job = stage.job(job_id)
    assert (job.status, job.fault.code) == (model.EXPIRED, "content_expired")
    last_try = max(at for at, name, _ in stage.calls if name == "download" and at < 24 * 3600)
    assert 24 * 3600 - last_try < 11 * 60


def test_one_missing_output_does_not_hold_back_its_sibling(stage):
    """The output that came is kept at once; only the missing one is fetched again."""
    job_id = stage.submit(n_variants=2)
    stage.advance(seconds=18)
    stage.provider.finish("task_1")
    lost = stage.provider.files.pop("gen_task_1_1")
    stage.advance(minutes=5)
    job = stage.job(job_id)
    assert (job.status, [clip.index for clip in job.clips]) == (model.DOWNLOAD_FAILED, [0])
    stage.provider.files["gen_task_1_1"] = lost
    opened = len(stage.provider.opened_at)
    stage.run_for(minutes=15)
    assert [clip.index for clip in stage.job(job_id).clips] == [0, 1]
    assert len(stage.provider.opened_at) == opened + 1


@pytest.mark.parametrize("seconds", [1, 7, 15, 45, 100, 179, 180, 240, 420, 1200])
def test_completion_is_noticed_in_time_with_few_polls(stage, seconds):
    """Within 30 % (or 5 s) below three minutes and 10 % above; a three-minute generation costs at most 16 polls."""
    stage.generation_seconds = seconds
    job_id = stage.submit()
    stage.advance(seconds=seconds * 1.5 + 60)
    assert stage.job(job_id).status == model.COMPLETED
    polls = stage.times("poll")
    late = polls[-1] - seconds
    assert 0 <= late <= (0.1 * seconds if seconds >= 180 else max(5, 0.3 * seconds))
    assert seconds > 180 or len(polls) <= 16
    assert all(2 <= later - earlier < 30.001 for earlier, later in pairwise(polls))


def test_no_history_grows_beyond_two_hundred_events(stage):
    """An hour of polling continues as new: no instance ever holds more than 200 events."""
    stage.generation_seconds = 3600
    stage.submit()
    longest = 0
    for _ in range(70):
        stage.advance(minutes=1)
        instances = stage.engine.query()
        longest = max([longest, *(len(stage.engine.history(one["instance_id"])) for one in instances)])
    assert 50 < longest <= 200


@pytest.mark.parametrize("refused", [True, False])
def test_retry_after_of_a_poll_is_obeyed(stage, refused):
    """A provider that asks for silence gets it, whether it refuses the look or answers it."""
    if refused:
        stage.provider.planned["look"] = [refusal("rate_limited", retry_after=120)]
    else:
        stage.provider.silence = 120
    job_id = stage.submit()
    stage.advance(minutes=4)
    assert stage.times("poll")[:2] == [3, 123]
    assert stage.job(job_id).status == model.COMPLETED


def test_a_provider_that_is_away_for_hours_while_it_generates_loses_nothing(stage):
    """Failing polls never end a paid job; status tells what is wrong meanwhile."""
    stage.generation_seconds = 3 * 3600
    job_id = stage.submit()
    stage.provider.planned["look"] = [refusal("provider_error") for _ in range(300)]
    stage.advance(hours=2)
    job = stage.job(job_id)
    assert (job.status, job.fault.code) == (model.GENERATING, "provider_error")
    stage.advance(hours=2)
    assert stage.job(job_id).status == model.COMPLETED


def test_a_forgotten_task_is_lost_after_five_misses_over_two_minutes(stage):
    """One restart of an in-memory server is no loss; lasting ignorance is."""
    stage.generation_seconds = None
    job_id = stage.submit()
    stage.advance(seconds=1)
    stage.provider.forget("task_1")
    stage.advance(minutes=10)
    job = stage.job(job_id)
    assert (job.status, job.fault.code) == (model.FAILED, "task_lost")
    polls = stage.times("poll")
    assert len(polls) >= 5
    assert polls[-1] - polls[0] >= 120


def test_four_misses_are_no_loss(stage):
    """A task that is known again goes on as if nothing had been."""
    stage.provider.planned["look"] = [refusal("task_lost") for _ in range(4)]
    job_id = stage.submit()
    stage.advance(minutes=5)
    assert stage.job(job_id).status == model.COMPLETED


def test_a_task_that_never_finishes_ends_as_expired(stage):
    """Where the provider names no expiry the watch ends with JOB_DEADLINE_HOURS (here 2), and nobody polls on."""
    stage.services = replace(stage.services, settings=replace(stage.services.settings, deadline=timedelta(hours=2)))
    stage.generation_seconds, stage.provider.keeps = math.inf, None
    job_id = stage.submit()
    stage.run_for(hours=3)
    job = stage.job(job_id)
    assert (job.status, job.fault.code) == (model.EXPIRED, "content_expired")
    assert stage.times("poll")[-1] <= 2 * 3600 + 30


def test_twenty_jobs_at_once_never_mix(stage):
    """Jobs that run side by side each keep their own output."""
    jobs = [stage.submit(prompt=f"boat {number}") for number in range(20)]
    stage.advance(minutes=2)
    outputs = {stage.job(job_id).clips[0].output_id for job_id in jobs}
    assert len(outputs) == 20
    assert {request.prompt for request in stage.provider.submitted} == {f"boat {number}" for number in range(20)}


def test_a_lost_answer_is_found_at_the_provider_and_not_paid_again(stage):
    """The POST was accepted but its answer never came: after the grace period the job adopts its task."""
    stage.provider.lose_answer = True
    job_id = stage.submit()
    stage.advance(seconds=30)
    job = stage.job(job_id)
    assert (job.status, job.stage, job.task_id) == (model.SUBMITTING, "reconciling", None)
    stage.advance(minutes=2)
    assert stage.job(job_id).status == model.COMPLETED
    assert len(stage.provider.submitted) == 1


def test_twins_that_lost_their_answers_never_share_a_task(stage):
    """Three jobs with one prompt at one moment, two of them without an answer: three tasks, one each."""
    jobs = []
    for lost in (True, False, True):
        stage.provider.lose_answer = lost
        jobs.append(stage.submit())
        stage.engine.settle()
    stage.advance(minutes=3)
    found = [stage.job(job_id) for job_id in jobs]
    assert [job.status for job in found] == [model.COMPLETED] * 3
    assert len({job.task_id for job in found}) == len(stage.provider.submitted) == 3


def test_a_create_that_never_arrived_is_sent_again(stage):
    """No answer and no task in the provider's list after the grace period: the POST took no effect."""
    stage.provider.planned["submit"] = [refusal("provider_error", outcome_unknown=True)]
    job_id = stage.submit()
    stage.advance(seconds=59)
    assert stage.provider.submitted == []
    stage.advance(minutes=2)
    assert stage.job(job_id).status == model.COMPLETED
    assert len(stage.provider.submitted) == 1


def test_a_provider_that_cannot_be_asked_is_asked_later(stage):
    """While the list cannot be had nothing is submitted; when it is back the task is adopted."""
    stage.provider.lose_answer = True
    stage.provider.planned["find"] = [refusal("provider_error") for _ in range(20)]
    job_id = stage.submit()
    stage.run_for(minutes=30)
    assert stage.job(job_id).status == model.COMPLETED
    assert len(stage.provider.submitted) == 1


def test_without_a_list_the_job_is_parked_and_never_sent_blindly(stage):
    """A provider that lists nothing cannot tell what became of the POST: the job waits for a person, visibly."""
    stage.provider.lose_answer = True
    stage.provider.planned["find"] = [refusal("endpoint_not_found") for _ in range(3)]
    job_id = stage.submit()
    stage.run_for(hours=2)
    job = stage.job(job_id)
    assert (job.status, job.fault.code, bool(job.next_attempt_at)) == (model.SUBMIT_UNKNOWN, "submit_unknown", True)
    stage.run_for(hours=2)
    assert stage.job(job_id).status == model.COMPLETED
    assert len(stage.provider.submitted) == 1


@pytest.mark.parametrize("name", ["create", "claims", "save"])
def test_a_crash_right_after_the_answer_pays_once(stage, name):
    """Whatever write fails behind the POST, the next run adopts the task instead of paying again."""
    broken = {"left": 1}

    class Claims:
        def claim(self, *arguments):
            if name == "claims" and broken["left"]:
                broken["left"] = 0
                raise RuntimeError("storage is down")
            return real_claims.claim(*arguments)

    class Jobs:
        def __getattr__(self, attribute):
            return getattr(real_jobs, attribute)

        def save(self, job):
            if name == "save" and job.task_id and broken["left"]:
                broken["left"] = 0
                raise RuntimeError("storage is down")
            return real_jobs.save(job)

    real_claims, real_jobs = stage.services.claims, stage.services.jobs
    stage.services = replace(stage.services, claims=Claims(), jobs=Jobs())
    if name == "create":
        stage.provider.lose_answer = True
    job_id = stage.submit()
    stage.run_for(minutes=10)
    assert stage.job(job_id).status == model.COMPLETED
    assert len(stage.provider.submitted) == 1
