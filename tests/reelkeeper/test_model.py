"""The record survives its wire form, and a job moves only where the table has an arrow."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelkeeper import model
from reelkeeper.errors import ADVICE, Fault
from reelkeeper.model import Clip, IllegalTransition, InputImage, Job, JobRequest, Output, Staged

NOW = datetime(2026, 11, 20, 9, 30, 0, 125000, timezone.utc)
TEXT = st.text(max_size=40)
NUMBER = st.integers(0, 2**31 - 1)
# to the millisecond, which is what the wire form holds; in any zone
MOMENT = st.builds(
    lambda seconds, millis, zone: datetime.fromtimestamp(seconds, zone) + timedelta(milliseconds=millis),
    st.integers(0, 4_000_000_000),
    st.integers(0, 999),
    st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
STAGED = st.builds(Staged, TEXT, NUMBER, NUMBER, TEXT)
OUTPUT = st.builds(Output, TEXT, NUMBER, NUMBER, NUMBER, staged=st.none() | STAGED, address=st.none() | TEXT)
INPUT = st.builds(InputImage, TEXT, TEXT, NUMBER, NUMBER, TEXT)
CLIP = st.builds(Clip, NUMBER, TEXT, NUMBER, TEXT, TEXT, TEXT, NUMBER, NUMBER, NUMBER, thumbnail_path=st.none() | TEXT)
FAULT = st.builds(
    Fault, st.sampled_from(sorted(ADVICE)), TEXT, st.none() | TEXT, st.none() | st.integers(400, 599), st.none() | TEXT
)
REQUEST = st.builds(
    JobRequest,
    *(TEXT, NUMBER, NUMBER, NUMBER, NUMBER, TEXT),
    metadata=st.dictionaries(TEXT, TEXT, max_size=4),
    input_image=st.none() | INPUT,
    output_format=st.none() | TEXT,
    quality=st.none() | TEXT,
    background=st.none() | TEXT,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "job_id": TEXT,
    "owner": TEXT,
    "kind": st.sampled_from(["videos", "images"]),
    "request": REQUEST,
    "provider": TEXT,
    "created_at": MOMENT,
    "updated_at": MOMENT,
    "status": st.sampled_from(model.STATUSES),
    "stage": TEXT,
    "progress": st.integers(0, 100),
    "task_id": st.none() | TEXT,
    "place": st.none() | TEXT,
    "moved_from": st.lists(TEXT, max_size=2).map(tuple),
    "outputs": st.lists(OUTPUT, max_size=3).map(tuple),
    "clips": st.lists(CLIP, max_size=3).map(tuple),
    "attempts": NUMBER,
    "creates": NUMBER,
    "submit_run": st.none() | TEXT,
    "submitting_since": st.none() | MOMENT,
    "generating_since": st.none() | MOMENT,
    "expires_at": st.none() | MOMENT,
    "next_attempt_at": st.none() | MOMENT,
    "finished_at": st.none() | MOMENT,
    "fault": st.none() | FAULT,
    "warning": st.none() | TEXT,
    "queue_position": st.none() | NUMBER,
    "starts_at": st.none() | MOMENT,
    "batch_id": st.none() | TEXT,
    "key_digest": st.none() | TEXT,
}
JOBS = st.builds(Job, **FIELDS)


def a_job(**changes: Any) -> Job:
    request = JobRequest("a lighthouse", 1280, 720, 5, 1, "sora")
    return replace(Job("id", "ada", "videos", request, "azure-sora", created_at=NOW, updated_at=NOW), **changes)


@given(JOBS)
def test_a_job_survives_its_wire_form(job: Job) -> None:
    """Any job comes back equal from JSON text."""
    wire = json.loads(json.dumps(job.to_dict()))
    assert Job.from_dict(wire, etag="W/1") == job
    assert Job.from_dict(wire, etag="W/1").etag == "W/1"


def test_the_round_trip_covers_every_field() -> None:
    """A new field of the record must join it: this fails until FIELDS knows it."""
    assert set(FIELDS) == {field.name for field in fields(Job)} - {"etag"}


@given(MOMENT, MOMENT)
def test_times_on_the_wire_compare_as_times(one: datetime, other: datetime) -> None:
    """Text comparison is time comparison, whatever the zones: table filters rely on it."""
    first, second = model.to_iso(one), model.to_iso(other)
    assert first is not None
    assert second is not None
    assert (first < second, first == second) == (one < other, one == other)
    assert model.from_iso(first) == one


def test_times_look_the_same_everywhere() -> None:
    """Milliseconds and Z, always; no time is None."""
    assert model.to_iso(NOW) == "2026-11-20T09:30:00.125Z"
    assert model.to_iso(NOW.replace(microsecond=0)) == "2026-11-20T09:30:00.000Z"
    assert model.to_iso(None) is None
    assert model.from_iso(None) is None


def test_a_record_of_another_version_is_readable() -> None:
    """Keys from the future are ignored, keys that are missing get their default."""
    wire = a_job(warning="old").to_dict()
    del wire["warning"], wire["attempts"], wire["clips"]
    assert Job.from_dict({**wire, "invented_later": {"a": 1}}) == a_job()


def test_the_etag_is_no_content() -> None:
    """The version in storage is not part of the wire form, nor of what makes two jobs equal."""
    assert "etag" not in a_job(etag="W/1").to_dict()
    assert a_job(etag="W/1") == a_job(etag="W/2")


def test_the_transition_table_is_closed() -> None:
    """Arrows lead only to states that the table knows."""
    for status, targets in model.TRANSITIONS.items():
        assert targets <= set(model.STATUSES)
        assert status not in targets


def test_there_is_no_way_out_of_an_end() -> None:
    """A finished job never moves again, and only ends are without arrows."""
    assert {status for status, targets in model.TRANSITIONS.items() if not targets} == model.TERMINAL
    assert {status for status in model.STATUSES if a_job(status=status).finished} == model.TERMINAL


@pytest.mark.parametrize("status", sorted(set(model.STATUSES) - model.TERMINAL))
def test_every_unfinished_job_can_come_to_an_end(status: str) -> None:
    """No state is a dead end: some arrows lead to an end, and it can always be cancelled."""
    assert model.TRANSITIONS[status] & model.TERMINAL
    assert model.CANCELLED in model.TRANSITIONS[status]


def test_every_state_can_be_reached() -> None:
    """Each state lies on a way from `pending`."""
    reached, ways = {model.PENDING}, [model.PENDING]
    while ways:
        new = model.TRANSITIONS[ways.pop()] - reached
        reached |= new
        ways += new
    assert reached == set(model.STATUSES)


def test_completed_is_reached_only_with_the_bytes() -> None:
    """No arrow leads to `completed` but from the download states."""
    before = {status for status, targets in model.TRANSITIONS.items() if model.COMPLETED in targets}
    assert before == {model.DOWNLOADING, model.DOWNLOAD_FAILED}


@given(st.sampled_from(model.STATUSES), st.sampled_from(model.STATUSES))
def test_a_job_moves_along_the_arrows_only(start: str, end: str) -> None:
    """`to` allows an arrow of the table or staying, stamps the time, applies changes; all else is refused."""
    later = NOW + timedelta(minutes=1)
    if end == start or end in model.TRANSITIONS[start]:
        moved = a_job(status=start).to(end, later, progress=7)
        assert moved == a_job(status=end, updated_at=later, progress=7)
    else:
        with pytest.raises(IllegalTransition, match=f"{start} -> {end}"):
            a_job(status=start).to(end, later)
