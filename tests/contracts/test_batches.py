"""The contract of `Jobs.insert_all` and `Jobs.batch`, on the fake and on Azure tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from reelkeeper import names
from reelkeeper.errors import RecordExists
from reelkeeper.model import Job
from reelkeeper.records import rows
from reelkeeper.records.base import Jobs

MakeJob = Callable[..., Job]
NOW = datetime(2026, 11, 20, 9, 30, 0, 125000, timezone.utc)


def make_batch(make_job: MakeJob, number: int, batch_id: str | None = None, **changes: Any) -> list[Job]:
    """The first `number` jobs of a batch."""
    batch_id = batch_id or names.new_job_id(NOW)
    return [
        make_job(job_id=names.member_id(batch_id, index), batch_id=batch_id, attempts=index, **changes)
        for index in range(number)
    ]


@pytest.mark.parametrize("number", [1, 100])
def test_a_batch_is_inserted_at_once(jobs: Jobs, make_job: MakeJob, number: int) -> None:
    """One job or a hundred, as the store's first write: each with the etag that it is read and saved with."""
    made = make_batch(make_job, number)
    inserted = jobs.insert_all(made)
    assert inserted == made
    for job in (inserted[0], inserted[-1]):
        found = jobs.get(job.owner, job.job_id)
        assert found == job
        assert found.etag == job.etag
    assert jobs.save(replace(inserted[-1], progress=50)).progress == 50


def test_jobs_are_returned_in_the_order_given(jobs: Jobs, make_job: MakeJob) -> None:
    """Whatever order their keys have in the store."""
    made = make_batch(make_job, 5)[::-1]
    inserted = jobs.insert_all(made)
    assert inserted == made
    assert [job.etag for job in inserted] == [found.etag for job in made if (found := jobs.get("ada", job.job_id))]


def test_one_job_that_exists_keeps_all_the_others_out(jobs: Jobs, make_job: MakeJob) -> None:
    """The fiftieth is there already: it stays as it is, and none of the ninety-nine is recorded."""
    made = make_batch(make_job, 100)
    first = jobs.insert(replace(made[49], stage="first"))
    with pytest.raises(RecordExists):
        jobs.insert_all(made)
    assert jobs.page("ada", "videos", limit=200) == ([first], None)


def test_of_racing_inserts_of_a_batch_one_wins(jobs: Jobs, make_job: MakeJob, race: Callable[..., list[Any]]) -> None:
    """Eight workers record the same batch, as the store's first writes: exactly the jobs of one are there."""
    made = make_batch(make_job, 20)
    results = race(lambda number: jobs.insert_all([replace(job, creates=number) for job in made]))
    assert [type(result) for result in results].count(RecordExists) == 7
    winner = next(result for result in results if isinstance(result, list))
    assert jobs.batch("ada", made[0].batch_id or "") == winner


def test_what_cannot_be_one_transaction_is_refused(jobs: Jobs, make_job: MakeJob) -> None:
    """No jobs, 101, two owners, one id twice: a ValueError, and nothing is stored."""
    made = make_batch(make_job, 100)
    for wrong in ([], [*made, make_job()], [*made[:2], make_job(owner="eve")], [*made[:2], made[0]]):
        with pytest.raises(ValueError, match="together"):
            jobs.insert_all(wrong)
    with pytest.raises(ValueError, match="too large"):
        jobs.insert_all([*made[:2], make_job(prompt="x" * 600_000)])
    assert jobs.page("ada", "videos", limit=10) == ([], None)


@pytest.mark.parametrize("character", ["x", "é", '"', "\x7f", "🎬"])
def test_a_batch_may_have_all_that_a_transaction_carries(jobs: Jobs, make_job: MakeJob, character: str) -> None:
    """Close to 4 MiB, as computed, is taken by the service too; more is a ValueError that says what to do."""
    empty, with_100 = (
        rows.transaction_bytes([rows.job_row(make_batch(make_job, 1, prompt=character * length)[0])])
        for length in (0, 100)
    )
    room = rows.MAX_TRANSACTION_BYTES // 100 - empty - 200  # long text needs a few more columns
    fits = room * 100 // (with_100 - empty)
    made = make_batch(make_job, 100, prompt=character * fits)
    assert rows.transaction_bytes(map(rows.job_row, made)) > 0.99 * rows.MAX_TRANSACTION_BYTES
    assert jobs.insert_all(made) == made
    with pytest.raises(ValueError, match="4 MiB; send fewer"):
        jobs.insert_all(make_batch(make_job, 100, prompt=character * (fits + fits // 10)))


def test_a_megabyte_of_any_language_fits(jobs: Jobs, make_job: MakeJob) -> None:
    """A hundred jobs whose prompts are 1 MiB of JSON in all, whatever it is but a megabyte of DEL."""
    for character in ("x", "é", "猫", "🎬", '"', "\n", "\x01"):
        length = 1024 * 1024 // 100 // len(json.dumps(character, ensure_ascii=False).encode()[1:-1])
        made = make_batch(make_job, 100, prompt=character * length, key_digest=names.key_digest("key"))
        assert jobs.insert_all(made) == made


def test_a_batch_is_found_by_index(jobs: Jobs, make_job: MakeJob) -> None:
    """The owner's jobs of this batch that are left, with their etags; no neighbour of the same millisecond."""
    made = jobs.insert_all(make_batch(make_job, 12))
    batch_id = made[0].batch_id or ""
    jobs.insert_all(make_batch(make_job, 12, batch_id[:-1] + ("1" if batch_id.endswith("0") else "0")))
    jobs.insert_all(make_batch(make_job, 3, batch_id, owner="eve"))
    for _ in range(3):
        jobs.insert(make_job())
    jobs.delete(made[7])
    made[3] = jobs.save(replace(made[3], progress=70))
    found = jobs.batch("ada", batch_id)
    assert found == made[:7] + made[8:]
    assert [job.etag for job in found] == [job.etag for job in made[:7] + made[8:]]


def test_only_the_owner_finds_a_batch(jobs: Jobs, make_job: MakeJob) -> None:
    """Another owner's batch, an unknown one, a job's own id and text that is no id are all empty."""
    assert jobs.batch("ada", names.new_job_id(NOW)) == []
    made = jobs.insert_all(make_batch(make_job, 2))
    batch_id = made[0].batch_id or ""
    assert jobs.batch("eve", batch_id) == []
    for text in (names.new_job_id(NOW), made[0].job_id, "", "nonsense", batch_id.upper(), f"{batch_id}'", "x" * 2000):
        assert jobs.batch("ada", text) == []
