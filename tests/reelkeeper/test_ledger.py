"""The steps of the submit ledger: what each writes, and that none touches a record that has moved on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelkeeper import ledger, model, policy
from reelkeeper.errors import Fault
from reelkeeper.model import Job, JobRequest, Output, Task

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
LATER = NOW + timedelta(seconds=20)
GRACE, DAY = timedelta(seconds=60), timedelta(hours=24)
FAULT = Fault("provider_error", "It failed.")
REQUEST = JobRequest("a boat", 480, 480, 5, 1, "sora")
TASK = Task("task_1", "queued", "queued", LATER)


def a_job(**changes: Any) -> Job:
    return replace(Job("id", "ada", "videos", REQUEST, "sora", created_at=NOW, updated_at=NOW), **changes)


def begun(**changes: Any) -> Job:
    job = ledger.begun(a_job(), "run", "here", NOW)
    assert job is not None
    return replace(job, **changes)


def named(**changes: Any) -> Job:
    job = ledger.named(begun(), TASK, "here", LATER, DAY)
    assert job is not None
    return replace(job, **changes)


STEPS: dict[str, Callable[[Job, Job], Job | None]] = {
    "found": lambda current, submission: ledger.found(current, submission, TASK, "here", LATER, DAY),
    "lost": lambda current, submission: ledger.lost(current, submission, LATER, LATER + GRACE, FAULT),
    "troubled": lambda current, submission: ledger.troubled(current, submission, LATER, FAULT),
    "refused": lambda current, submission: ledger.refused(current, submission, LATER, FAULT),
    "queued": lambda current, submission: ledger.queued(current, submission, LATER, LATER, 1, FAULT),
    "parked": lambda current, submission: ledger.parked(current, submission, LATER, LATER + GRACE),
}


# begun


@pytest.mark.parametrize("status", [model.PENDING, model.QUEUED])
def test_a_waiting_job_begins_with_everything_a_reconciler_needs(status: str) -> None:
    """Run, place and time are written before the POST, and the attempt counts from there."""
    job = ledger.begun(a_job(status=status, attempts=2, next_attempt_at=NOW, fault=FAULT), "run", "here", NOW)
    assert job is not None
    assert (job.status, job.stage, job.submit_run, job.place) == ("submitting", "submitting", "run", "here")
    assert (job.submitting_since, job.attempts, job.next_attempt_at, job.fault) == (NOW, 3, None, FAULT)


@pytest.mark.parametrize("status", sorted(set(model.STATUSES) - ledger.WAITING))
def test_nothing_else_begins(status: str) -> None:
    """Whatever is under way or over gets no second POST."""
    assert ledger.begun(a_job(status=status), "run", "here", NOW) is None


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"next_attempt_at": NOW + timedelta(milliseconds=1)}, "here"),
        ({"attempts": policy.MAX_CREATE_TRIES}, "here"),
        ({}, None),
    ],
)
def test_a_job_that_may_not_begin_stays_as_it_is(changes: dict[str, Any], place: str | None) -> None:
    """Too early, too often, or nowhere to go."""
    assert ledger.begun(a_job(status=model.QUEUED, **changes), "run", place, NOW) is None


# Times


@given(st.floats(1, 600), st.floats(-5, 700))
def test_a_post_is_over_before_anybody_reconciles_it(grace: float, after: float) -> None:
    """Whatever the grace period: what may still be sent, and takes 0.6 of it, ends with a seventh of it to spare."""
    period, now = timedelta(seconds=grace), NOW + timedelta(seconds=after)
    if ledger.may_post(begun(), now, period):
        assert now + 0.6 * period <= ledger.reconcile_at(begun(), period) - period / 7


def test_a_lost_answer_gives_the_provider_the_whole_grace_period_again() -> None:
    """The list is asked that long after the POST was over, never sooner than after its beginning."""
    assert ledger.reconcile_at(begun(), GRACE) == NOW + GRACE
    assert ledger.reconcile_at(begun(next_attempt_at=LATER + GRACE), GRACE) == LATER + GRACE
    assert ledger.reconcile_at(begun(next_attempt_at=NOW), GRACE) == NOW + GRACE


def test_a_parked_job_may_be_asked_after_at_any_time() -> None:
    """The hour until the next look is a habit, not a rule."""
    job = begun(status=model.SUBMIT_UNKNOWN, next_attempt_at=NOW + timedelta(hours=9))
    assert ledger.reconcile_at(job, GRACE) == NOW + GRACE


def test_a_record_without_the_time_of_its_submission_is_as_old_as_the_job() -> None:
    """What an older version wrote is searched for from the job's creation."""
    assert ledger.since(begun(submitting_since=None)) == NOW


# named, held, dismissed


def test_a_task_is_named_before_it_is_held() -> None:
    """The id is in the record while the status still says that it is being submitted."""
    job = named()
    assert (job.status, job.stage, job.task_id, job.place, job.creates) == ("submitting", "queued", "task_1", "here", 1)
    assert (job.generating_since, job.expires_at) == (LATER, LATER + DAY)


@pytest.mark.parametrize("status", [model.PENDING, model.QUEUED, model.SUBMITTING, model.SUBMIT_UNKNOWN])
def test_an_answer_counts_however_late_it_comes(status: str) -> None:
    """Others may have taken the POST for lost meanwhile; its task is paid for."""
    job = ledger.named(a_job(status=status, next_attempt_at=LATER), TASK, "there", LATER, DAY)
    assert job is not None
    assert (job.status, job.task_id, job.place, job.next_attempt_at) == ("submitting", "task_1", "there", None)


@pytest.mark.parametrize(
    "changes",
    [{"task_id": "task_0"}, *({"status": status} for status in sorted(model.TERMINAL - {model.CANCELLED}))],
)
def test_a_job_never_changes_its_task_and_an_ended_one_gets_none(changes: dict[str, Any]) -> None:
    """The task that came first stays; after the end nothing is written, but for a cancelled job's, to withdraw it."""
    assert ledger.named(begun(**changes), TASK, "here", LATER, DAY) is None


@pytest.mark.parametrize(
    ("created", "started"),
    [
        (NOW - timedelta(hours=5), NOW),
        (NOW + timedelta(seconds=7), NOW + timedelta(seconds=7)),
        (LATER + timedelta(hours=5), LATER),
    ],
)
def test_a_wrong_clock_at_the_provider_does_not_move_the_start_of_the_task(
    created: datetime, started: datetime
) -> None:
    """It lies between the beginning of the submission and now, and the deadline counts from there."""
    job = ledger.named(begun(), replace(TASK, created_at=created), "here", LATER, DAY)
    assert job is not None
    assert (job.generating_since, job.expires_at) == (started, started + DAY)


def test_the_provider_s_own_expiry_is_taken_over() -> None:
    """Where it is told, our deadline does not count."""
    job = ledger.named(begun(), replace(TASK, expires_at=NOW + timedelta(hours=3)), "here", LATER, DAY)
    assert job is not None
    assert job.expires_at == NOW + timedelta(hours=3)


def test_a_held_task_is_watched_and_the_count_begins_anew() -> None:
    """Attempts and fault were of the submission."""
    job = ledger.held(named(attempts=4, fault=FAULT), named(), LATER)
    assert job is not None
    assert (job.status, job.task_id, job.attempts, job.fault, job.next_attempt_at) == (
        "generating", "task_1", 0, None, None
    )  # fmt: skip


def test_a_dismissed_task_leaves_the_submission_as_if_its_answer_had_been_lost() -> None:
    """Nothing of the other job's task stays behind, and the attempts still count."""
    job = ledger.dismissed(named(attempts=4), named(), LATER, LATER + GRACE)
    assert job is not None
    assert (job.status, job.stage, job.next_attempt_at) == ("submitting", "reconciling", LATER + GRACE)
    assert (job.task_id, job.expires_at, job.generating_since, job.creates) == (None, None, None, 0)
    assert job.attempts == 4
    assert ledger.undecided(job, begun())


@pytest.mark.parametrize(
    "current",
    [
        named(task_id="task_2"),
        named(task_id=None, creates=0),
        named(creates=2),
        named(status=model.GENERATING),
        named(status=model.CANCELLED),
        named(status=model.QUEUED, task_id=None),
    ],
)
def test_a_claim_decides_only_about_the_task_it_was_made_for(current: Job) -> None:
    """The same id under another number is a failed task of before that was found again: no claim of then counts."""
    assert ledger.held(current, named(), LATER) is None
    assert ledger.dismissed(current, named(), LATER, LATER) is None


def test_every_task_of_a_job_is_claimed_under_its_own_number() -> None:
    """So a task that failed before is another's when it is found again."""
    assert [ledger.holder(named(creates=number)) for number in (1, 2)] == ["id/1", "id/2"]


# What is about one submission


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("status", [model.SUBMITTING, model.SUBMIT_UNKNOWN])
def test_a_step_is_taken_while_nothing_is_decided(step: str, status: str) -> None:
    """Also for a job that is parked already, but for the trouble of asking: it shows a fault of its own."""
    untold = step == "troubled" and status == model.SUBMIT_UNKNOWN
    assert (STEPS[step](begun(status=status), begun()) is None) == untold


MOVED_ON = [
    begun(submit_run="another"),
    begun(submitting_since=NOW + timedelta(milliseconds=1)),
    begun(task_id="task_0"),
    begun(stage=ledger.REFUSED),
    begun(status=model.QUEUED),
    begun(status=model.GENERATING, task_id="task_0"),
    *(begun(status=status) for status in sorted(model.TERMINAL)),
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("current", MOVED_ON)
def test_no_step_touches_a_record_that_has_moved_on(step: str, current: Job) -> None:
    """What was found out about an older submission is nothing to a newer one, nor to a decided one."""
    assert STEPS[step](current, begun()) is None


def test_a_lost_answer_says_when_it_is_looked_into() -> None:
    """Status, run and time stay, so that the same submission is reconciled."""
    job = STEPS["lost"](begun(), begun())
    assert job is not None
    assert (job.status, job.stage, job.next_attempt_at, job.fault) == (
        "submitting", "reconciling", LATER + GRACE, FAULT
    )  # fmt: skip
    assert ledger.undecided(job, begun())


def test_trouble_is_told_once() -> None:
    """Asking every half minute for a day must not write every half minute."""
    job = STEPS["troubled"](begun(), begun())
    assert job is not None
    assert (job.status, job.stage, job.fault) == ("submitting", "reconciling", FAULT)
    assert ledger.troubled(job, begun(), LATER, replace(FAULT, request_id="another")) is None
    assert ledger.troubled(job, begun(), LATER, Fault("invalid_credentials", "No.")) is not None


def test_a_queued_job_belongs_to_no_run() -> None:
    """Its next submission is a new one, from the time it was told."""
    job = STEPS["queued"](begun(), begun())
    assert job is not None
    assert (job.status, job.stage, job.submit_run, job.attempts) == ("queued", "waiting", None, 1)
    assert (job.next_attempt_at, job.fault) == (LATER, FAULT)


def test_a_parked_job_says_so() -> None:
    """It is held for a person, with the time of the next look."""
    job = STEPS["parked"](begun(), begun())
    assert job is not None
    assert (job.status, job.stage, job.next_attempt_at) == ("submit_unknown", "parked", LATER + GRACE)
    assert job.fault is not None
    assert job.fault.code == "submit_unknown"


# cancelled


def cancelled(**changes: Any) -> Job:
    job = ledger.cancelled(begun(), LATER)
    assert job is not None
    return replace(job, **changes)


@pytest.mark.parametrize("status", sorted(set(model.STATUSES) - model.TERMINAL))
def test_whatever_has_not_ended_can_be_cancelled(status: str) -> None:
    """At once, with the time; what is left to do at the provider is a stage."""
    job = ledger.cancelled(begun(status=status, next_attempt_at=LATER, fault=FAULT), NOW)
    assert job is not None
    assert (job.status, job.withdrawing, job.finished_at) == ("cancelled", True, NOW)
    assert (job.next_attempt_at, job.fault) == (None, None)


@pytest.mark.parametrize("status", sorted(model.TERMINAL))
def test_what_has_ended_stays_as_it_ended(status: str) -> None:
    """No end is exchanged for another."""
    assert ledger.cancelled(begun(status=status), NOW) is None


@pytest.mark.parametrize(
    ("changes", "run"),
    [
        ({"status": model.PENDING}, None),
        ({"status": model.QUEUED}, None),
        ({"stage": ledger.REFUSED}, None),
        ({}, "run"),
        ({"stage": ledger.RECONCILING}, "run"),
        ({"status": model.SUBMIT_UNKNOWN}, "run"),
        ({"status": model.GENERATING, "task_id": "task_1"}, "run"),
    ],
)
def test_a_submission_is_forgotten_only_where_nothing_was_made(changes: dict[str, Any], run: str | None) -> None:
    """Elsewhere there is, or may be, a task to withdraw."""
    job = ledger.cancelled(begun(**changes), NOW)
    assert job is not None
    assert job.submit_run == run


def test_the_task_of_a_cancelled_job_is_named_to_be_withdrawn() -> None:
    """Whenever its POST is answered, also long after the job was done with; it stays cancelled."""
    for stage in (model.WITHDRAWING, "done"):
        job = ledger.named(cancelled(stage=stage), TASK, "here", LATER, DAY)
        assert job is not None
        assert (job.status, job.withdrawing, job.task_id, job.creates) == ("cancelled", True, "task_1", 1)
    assert ledger.named(cancelled(task_id="task_0"), TASK, "here", LATER, DAY) is None


def test_a_cancelled_job_is_never_watched() -> None:
    """Its named task is not held; where it is a twin's, it is dismissed, and looked for again later."""
    job = ledger.named(cancelled(), TASK, "here", LATER, DAY)
    assert job is not None
    assert ledger.held(job, job, LATER) is None
    freed = ledger.dismissed(job, job, LATER, LATER + GRACE)
    assert freed is not None
    assert (freed.withdrawing, freed.task_id, freed.creates) == (True, None, 0)
    assert ledger.reconcile_at(freed, GRACE) == LATER + GRACE


def test_a_task_is_found_for_a_cancelled_job_only_by_its_own_submission() -> None:
    """And not once the withdrawal is over."""
    found = ledger.found(cancelled(), begun(), TASK, "here", LATER, DAY)
    assert found is not None
    assert found.task_id == "task_1"
    assert ledger.found(cancelled(stage="done"), begun(), TASK, "here", LATER, DAY) is None
    assert ledger.found(cancelled(submit_run="another"), begun(), TASK, "here", LATER, DAY) is None


def test_a_refused_post_leaves_a_cancelled_job_nothing_to_look_for() -> None:
    """Unless its task is known by then."""
    job = ledger.not_made(cancelled(), begun(), LATER)
    assert job is not None
    assert (job.withdrawing, job.submit_run) == (True, None)
    assert ledger.not_made(cancelled(task_id="task_1"), begun(), LATER) is None
    assert ledger.not_made(begun(), begun(), LATER) is None


def test_a_withdrawal_ends_once_and_for_the_task_it_was_about() -> None:
    """A task that turned up meanwhile is withdrawn as well."""
    job = cancelled(next_attempt_at=LATER)
    done = ledger.withdrawn(job, job, LATER, "It may cost.")
    assert done is not None
    assert (done.status, done.stage, done.warning, done.next_attempt_at) == ("cancelled", "done", "It may cost.", None)
    assert ledger.withdrawn(done, job, LATER, None) is None
    assert ledger.withdrawn(replace(job, task_id="task_1"), job, LATER, None) is None


def test_a_withdrawal_is_tried_again_when_told() -> None:
    """The record shows when."""
    job = ledger.later(cancelled(), LATER, LATER + GRACE)
    assert job is not None
    assert (job.withdrawing, job.next_attempt_at) == (True, LATER + GRACE)
    assert ledger.later(cancelled(stage="done"), LATER, LATER) is None


@given(
    st.sampled_from(model.STATUSES),
    st.sampled_from(["submitting", "reconciling", "refused", "waiting", "withdrawing"]),
    st.sampled_from([None, "task_0", "task_1"]),
    st.integers(0, 2),
    st.sampled_from([None, "run", "another"]),
)
def test_no_step_ever_breaks_the_rules_of_a_job_s_life(
    status: str, stage: str, task_id: str | None, creates: int, run: str | None
) -> None:
    """Whatever a record holds: no illegal move, no ended job changed, no task exchanged, no negative count."""
    outputs = (Output("gen", 1, 1, 1),) if status == model.DOWNLOADING else ()
    job = begun(status=status, stage=stage, task_id=task_id, creates=creates, submit_run=run, outputs=outputs)
    steps = [
        *(step(job, begun()) for step in STEPS.values()),
        ledger.begun(job, "next", "here", LATER),
        ledger.named(job, TASK, "here", LATER, DAY),
        ledger.held(job, named(), LATER),
        ledger.dismissed(job, named(), LATER, LATER),
        ledger.cancelled(job, LATER),
        ledger.not_made(job, begun(), LATER),
        ledger.withdrawn(job, job, LATER, None),
        ledger.later(job, LATER, LATER),
    ]
    for after in steps:
        if after is not None:
            assert not job.finished or job.status == after.status == model.CANCELLED
            assert job.task_id is None or after.task_id in (job.task_id, None)
            assert after.creates >= 0
            assert after.request == job.request
