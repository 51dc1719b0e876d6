"""The contract of `Jobs`, on the fake and on Azure tables."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.exceptions import AzureError
from azure.data.tables import TableServiceClient

from reelkeeper import names
from reelkeeper.errors import Fault, RecordConflict, RecordExists
from reelkeeper.model import COMPLETED, DOWNLOADING, FAILED, Clip, Job, Output
from reelkeeper.records import rows
from reelkeeper.records.base import Jobs, change
from reelkeeper.records.tables import Tables
from reelkeeper.storage import StorageConnection

MakeJob = Callable[..., Job]
Race = Callable[..., list[Any]]


def everything(job: Job) -> Job:
    """The job with a value in every field."""
    later = job.created_at + timedelta(minutes=3, milliseconds=7)
    return replace(
        job,
        request=replace(job.request, metadata={"campaign": "Frühling", "empty": ""}),
        status=DOWNLOADING,
        stage="storing",
        progress=90,
        task_id="task_01",
        place="https://example.openai.azure.com",
        outputs=(Output("gen_1", 1280, 720, 5), Output("gen_2", 1280, 720, 5)),
        clips=(Clip(0, "user_ada/videos/x/0.mp4", 123456, "video/mp4", "sha256:00", "gen_1", 1280, 720, 5, "0.jpg"),),
        attempts=2,
        creates=1,
        submitting_since=later,
        generating_since=later,
        expires_at=later,
        next_attempt_at=later,
        finished_at=later,
        fault=Fault("provider_error", "It failed.", "boom 💥", 503, "req-1"),
        warning="1 of 2 outputs",
        batch_id=names.new_job_id(later),
        key_digest=names.key_digest("key"),
    )


def test_a_job_is_read_back_as_it_was_inserted(jobs: Jobs, make_job: MakeJob) -> None:
    """Every field survives storage, nothing becomes something, and a stored job has an etag."""
    for job in (make_job(), everything(make_job())):
        inserted = jobs.insert(job)
        assert inserted == job
        assert inserted.etag
        found = jobs.get(job.owner, job.job_id)
        assert found == job
        assert found.etag == inserted.etag


def test_inserting_a_job_twice_keeps_the_first(jobs: Jobs, make_job: MakeJob) -> None:
    """A second insert under the same id is refused and changes nothing."""
    job = jobs.insert(make_job())
    with pytest.raises(RecordExists):
        jobs.insert(replace(job, stage="intruder"))
    assert jobs.get(job.owner, job.job_id) == job


def test_only_the_owner_finds_a_job(jobs: Jobs, make_job: MakeJob) -> None:
    """Another owner's job, an unknown id and text that is no id are all None."""
    job = jobs.insert(make_job(owner="ada"))
    assert jobs.get("ada", job.job_id) == job
    assert jobs.get("eve", job.job_id) is None
    assert jobs.get("ada", make_job().job_id) is None
    for text in ("", "nonsense", job.job_id.upper(), f"{job.job_id}'", "../jobs", "x" * 2000):
        assert jobs.get("ada", text) is None


@pytest.mark.parametrize("owner", ["a/b\\c", "a~2Fb", "o'brien", "#?%&+ =", "..", "Ümit 🎬", "\x00\n", "x" * 5000])
def test_owners_may_have_any_name(jobs: Jobs, make_job: MakeJob, owner: str) -> None:
    """Names that table keys forbid still hold, list and return the owner's jobs."""
    job = jobs.insert(make_job(owner=owner))
    assert jobs.get(owner, job.job_id) == job
    assert jobs.page(owner, "videos", limit=10) == ([job], None)


def test_save_replaces_the_version_that_was_read(jobs: Jobs, make_job: MakeJob) -> None:
    """A save with the current etag counts, gives a new etag, and leaves nothing of longer old values."""
    job = jobs.insert(make_job(prompt="long " * 9000, warning="gone later"))
    saved = jobs.save(replace(job, request=replace(job.request, prompt="short"), warning=None))
    assert saved.etag != job.etag
    assert (saved.request.prompt, saved.warning) == ("short", None)
    found = jobs.get(job.owner, job.job_id)
    assert found == saved
    assert found.etag == saved.etag


def test_a_stale_save_is_refused(jobs: Jobs, make_job: MakeJob) -> None:
    """Whoever read the job before the last save must read it again."""
    stale = jobs.insert(make_job())
    fresh = jobs.save(replace(stale, progress=50))
    with pytest.raises(RecordConflict):
        jobs.save(replace(stale, progress=10))
    assert jobs.get(stale.owner, stale.job_id) == fresh


def test_saving_a_job_that_is_not_there_is_refused(jobs: Jobs, make_job: MakeJob) -> None:
    """A save never brings a row into being, with an etag or without."""
    gone = replace(make_job(), etag=jobs.insert(make_job()).etag)
    for job in (gone, make_job()):
        with pytest.raises(RecordConflict):
            jobs.save(job)
        assert jobs.get(job.owner, job.job_id) is None


def test_a_deleted_job_is_gone(jobs: Jobs, make_job: MakeJob) -> None:
    """It alone; deleting it again is no error; its id is free again."""
    job, other = jobs.insert(make_job()), jobs.insert(make_job())
    jobs.delete(job)
    assert jobs.get(job.owner, job.job_id) is None
    assert jobs.page("ada", "videos", limit=10) == ([other], None)
    jobs.delete(job)
    assert jobs.insert(job) == job


def test_deleting_in_an_empty_store_is_no_error(jobs: Jobs, make_job: MakeJob) -> None:
    """Also when the whole table is gone, the job is."""
    job = replace(make_job(), etag="W/\"datetime'2026-11-20T09%3A30%3A00.1250000Z'\"")
    jobs.delete(job)
    assert jobs.get(job.owner, job.job_id) is None


def test_a_job_that_changed_is_not_deleted(jobs: Jobs, make_job: MakeJob) -> None:
    """Whoever read it before the last save, or never, must read it again and decide anew."""
    stale = jobs.insert(make_job())
    fresh = jobs.save(replace(stale, progress=50))
    for job in (stale, replace(stale, etag="")):
        with pytest.raises(RecordConflict):
            jobs.delete(job)
    assert jobs.get(stale.owner, stale.job_id) == fresh


def test_racing_saves_and_deletes_never_both_win(jobs: Jobs, make_job: MakeJob, race: Race) -> None:
    """Four save and four delete what they read: either one save counts and the job stays, or it is gone for all."""
    for _ in range(5):
        job = jobs.insert(make_job())

        def save_or_delete(number: int, job: Job = job) -> Job | None:
            return jobs.save(replace(job, attempts=number)) if number % 2 else jobs.delete(job)

        results = race(save_or_delete)
        saves, deletes = results[1::2], results[::2]
        left = jobs.get(job.owner, job.job_id)
        if left is None:
            assert ([type(result) for result in saves], deletes) == ([RecordConflict] * 4, [None] * 4)
        else:
            assert [type(result) for result in deletes] == [RecordConflict] * 4
            assert [result for result in saves if isinstance(result, Job)] == [left]


def test_of_racing_saves_exactly_one_wins(jobs: Jobs, make_job: MakeJob, race: Race) -> None:
    """Eight workers save what they read at the same moment: one row, one winner, seven conflicts."""
    job = jobs.insert(make_job())
    for _ in range(5):
        start = job
        results = race(lambda number, start=start: jobs.save(replace(start, attempts=number)))
        winners = [result for result in results if isinstance(result, Job)]
        assert [type(result) for result in results].count(RecordConflict) == 7
        assert len(winners) == 1
        job = winners[0]
        assert jobs.get(job.owner, job.job_id) == job


def test_racing_changes_lose_no_update(jobs: Jobs, make_job: MakeJob, race: Race) -> None:
    """Read, decide, save, again on conflict: forty increments by eight workers are forty."""
    job = jobs.insert(make_job())

    def five_increments(_: int) -> None:
        for _ in range(5):
            change(jobs, job.owner, job.job_id, lambda now: replace(now, attempts=now.attempts + 1), tries=200)

    assert race(five_increments) == [None] * 8
    found = jobs.get(job.owner, job.job_id)
    assert found is not None
    assert found.attempts == 40


def test_of_racing_inserts_exactly_one_wins(jobs: Jobs, make_job: MakeJob, race: Race) -> None:
    """Eight inserts of one id, as the very first writes to the store: one job, seven times RecordExists."""
    job = make_job()
    results = race(lambda number: jobs.insert(replace(job, attempts=number)))
    assert [type(result) for result in results].count(RecordExists) == 7
    winner = next(result for result in results if isinstance(result, Job))
    assert jobs.get(job.owner, job.job_id) == winner


@pytest.mark.parametrize("prompt", ["🎬" * 32_000, 'é"\\\n🎬 ' * 5_333, "x" * 15_999 + "🎬" * 16_001])
def test_the_longest_prompts_survive(jobs: Jobs, make_job: MakeJob, prompt: str) -> None:
    """32,000 characters, emoji included, exceed one column and come back whole."""
    job = jobs.insert(make_job(prompt=prompt))
    assert jobs.get(job.owner, job.job_id) == job
    assert job.request.prompt == prompt


def test_half_an_emoji_from_a_provider_survives(jobs: Jobs, make_job: MakeJob) -> None:
    """A message cut in the middle of a surrogate pair must not make the job unsaveable."""
    job = jobs.insert(make_job(stage="cut \ud83c", fault=Fault("provider_error", "It failed.", "cut \ud83c")))
    assert jobs.get(job.owner, job.job_id) == job


def test_a_job_too_large_for_a_row_is_refused(jobs: Jobs, make_job: MakeJob) -> None:
    """More than 1 MiB is a ValueError before anything is stored."""
    job = make_job(prompt="x" * 600_000)
    with pytest.raises(ValueError, match="too large"):
        jobs.insert(job)
    assert jobs.get(job.owner, job.job_id) is None


def test_pages_run_from_newest_to_oldest(jobs: Jobs, make_job: MakeJob) -> None:
    """Paging shows every job of the owner once, newest first, whatever order they were made in."""
    made = [jobs.insert(make_job(minutes)) for minutes in (3, 0, 6, 1, 5, 2, 4)]
    jobs.insert(make_job(owner="eve"))
    newest_first = sorted(made, key=lambda job: job.created_at, reverse=True)

    seen, cursor = jobs.page("ada", "videos", limit=3)
    assert len(seen) == 3
    jobs.insert(make_job(minutes=60))  # newer than the page in hand: must not shift the next ones
    while cursor is not None:
        more, cursor = jobs.page("ada", "videos", limit=3, cursor=cursor)
        assert 1 <= len(more) <= 3
        seen += more
    assert seen == newest_first
    assert seen[0].etag == made[2].etag


def test_a_page_that_ends_exactly_has_no_next(jobs: Jobs, make_job: MakeJob) -> None:
    """The last full page says that it is the last; an owner without jobs has one empty page."""
    newer, older = jobs.insert(make_job(1)), jobs.insert(make_job(0))
    assert jobs.page("ada", "videos", limit=2) == ([newer, older], None)
    assert jobs.page("nobody", "videos", limit=2) == ([], None)


def test_pages_can_be_narrowed(jobs: Jobs, make_job: MakeJob) -> None:
    """Kind always narrows, status when given; cursors work within."""
    for minute in range(6):
        jobs.insert(
            make_job(minute, kind="images" if minute % 2 else "videos", status=COMPLETED if minute < 4 else FAILED)
        )
    videos, cursor = jobs.page("ada", "videos", limit=10)
    assert ([job.created_at.minute for job in videos], cursor) == ([34, 32, 30], None)
    first, cursor = jobs.page("ada", "videos", limit=1, status=COMPLETED)
    second, end = jobs.page("ada", "videos", limit=1, status=COMPLETED, cursor=cursor)
    assert ([job.created_at.minute for job in first + second], end) == ([32, 30], None)


@pytest.mark.parametrize("cursor", ["", "!", "a", "AAAA", "bm90IGEgcm93IGtleQ", "é", "' or PartitionKey ne '"])
def test_a_malformed_cursor_is_refused(jobs: Jobs, cursor: str) -> None:
    """A cursor that this service did not give out is a ValueError that says so."""
    with pytest.raises(ValueError, match="cursor"):
        jobs.page("ada", "videos", limit=3, cursor=cursor)


def test_a_page_of_nothing_is_refused(jobs: Jobs) -> None:
    """A limit below one is a ValueError."""
    with pytest.raises(ValueError, match="limit"):
        jobs.page("ada", "videos", limit=0)


def test_ping_leaves_no_trace_for_owners(jobs: Jobs, make_job: MakeJob) -> None:
    """A ping of a fresh store and of a used one passes and shows up in nobody's jobs."""
    jobs.ping()
    job = jobs.insert(make_job())
    jobs.ping()
    assert jobs.page("ada", "videos", limit=10) == ([job], None)


def test_reads_of_a_fresh_account_find_nothing(tables: Tables, make_job: MakeJob) -> None:
    """Before the first write there is no table, and that is no error."""
    job = make_job()
    assert tables.jobs.get(job.owner, job.job_id) is None
    assert tables.jobs.page("ada", "videos", limit=5) == ([], None)
    with pytest.raises(RecordConflict):
        tables.jobs.save(replace(job, etag='W/"1"'))


def test_a_deleted_table_comes_back(connection: StorageConnection, make_job: MakeJob) -> None:
    """Somebody's clean-up loses the rows it deleted and no later ones."""
    prefix = f"gone{secrets.token_hex(4)}"
    tables, service = (
        Tables(connection, prefix),
        TableServiceClient.from_connection_string(connection.full_connection_string),
    )
    lost, later = tables.jobs.insert(make_job(0)), make_job(1)
    service.delete_table(f"{prefix}jobs")
    assert tables.jobs.get(lost.owner, lost.job_id) is None
    tables.jobs.insert(later)
    assert tables.jobs.page("ada", "videos", limit=5) == ([later], None)
    service.close()
    tables.close()


def test_logs_hold_no_key_and_no_signature(
    tables: Tables, connection: StorageConnection, make_job: MakeJob, caplog: pytest.LogCaptureFixture
) -> None:
    """Even at DEBUG the SDK's log names neither; at INFO and above it is silent about a job's every request."""
    with caplog.at_level("DEBUG"):
        job = tables.jobs.insert(make_job())
        with pytest.raises(RecordExists):
            tables.jobs.insert(job)
    assert "Response status: 409" in caplog.text
    assert "SharedKey" not in caplog.text
    assert connection.account_key not in caplog.text
    assert [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"] == []


def test_an_unreachable_store_fails_the_ping(nowhere: StorageConnection) -> None:
    """A ping tells that nobody answers instead of hanging on."""
    tables = Tables(nowhere)
    with pytest.raises(AzureError):
        tables.jobs.ping()
    tables.close()


Page = tuple[list[Job], bool]
BUSY: Page = ([], False)


@contextmanager
def table_service(*pages: Page) -> Iterator[tuple[StorageConnection, list[dict[str, list[str]]]]]:
    """A table service that answers queries with `pages` of (jobs, more to come), or 503 for BUSY.

    Yields its connection and the queries it got.
    """
    queries: list[dict[str, list[str]]] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages[len(queries)]
            jobs, more = page
            queries.append(parse_qs(urlsplit(self.path).query))
            found = [{**rows.job_row(job), "odata.etag": "W/x", "Timestamp": "2026-11-20T09:30:00Z"} for job in jobs]
            body = json.dumps({"value": found}).encode()
            self.send_response(503 if page is BUSY else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if more:
                self.send_header("x-ms-continuation-NextPartitionKey", "next")
                self.send_header("x-ms-continuation-NextRowKey", str(len(queries)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/account"
        yield StorageConnection(f"AccountName=account;AccountKey=a2V5;TableEndpoint={address}"), queries
        server.shutdown()


def test_short_and_empty_service_pages_are_followed(make_job: MakeJob) -> None:
    """Azure may answer a filtered query with short or empty pages and a token: our page is full all the same."""
    made = [make_job(minutes) for minutes in (3, 2, 1, 0)]
    with table_service(([], True), (made[:1], True), ([], True), (made[1:3], True), (made[3:], False)) as (
        where,
        queries,
    ):
        tables = Tables(where)
        found, cursor = tables.jobs.page("ada", "videos", limit=3)
        tables.close()
    assert found == made[:3]
    assert cursor is not None
    assert [query.get("NextRowKey") for query in queries] == [None, ["1"], ["2"], ["3"], ["4"]]
    assert {query["$top"][0] for query in queries} == {"4"}


def test_a_large_page_asks_for_no_more_than_azure_gives(make_job: MakeJob) -> None:
    """Azure refuses to give more than 1,000 rows at a time: a larger limit is fetched in several answers."""
    with table_service(([make_job(1)], True), ([make_job(0)], False)) as (where, queries):
        tables = Tables(where)
        found, cursor = tables.jobs.page("ada", "videos", limit=1500)
        tables.close()
    assert (len(found), cursor) == (2, None)
    assert {query["$top"][0] for query in queries} == {"1000"}


def test_a_busy_service_is_asked_again(make_job: MakeJob) -> None:
    """A hiccup is bridged without the caller noticing."""
    made = make_job()
    with table_service(BUSY, BUSY, ([made], False)) as (where, queries):
        tables = Tables(where)
        assert tables.jobs.page("ada", "videos", limit=5) == ([made], None)
        tables.close()
    assert len(queries) == 3


def test_a_service_that_stays_busy_is_left_in_peace(make_job: MakeJob) -> None:
    """Four tries, then the error goes up: whoever called has more patience, and a plan."""
    with table_service(*[BUSY] * 5) as (where, queries):
        tables = Tables(where)
        with pytest.raises(AzureError):
            tables.jobs.page("ada", "videos", limit=5)
        tables.close()
    assert len(queries) == 4


def test_a_batch_is_read_by_one_query_for_its_keys(make_job: MakeJob) -> None:
    """One request however many other jobs the owner has: it names the partition, the first key and the last."""
    batch_id = names.new_job_id(make_job().created_at)
    first, last = (make_job(job_id=names.member_id(batch_id, index), batch_id=batch_id) for index in (0, 99))
    with table_service(([first, last], False)) as (where, queries):
        tables = Tables(where)
        assert tables.jobs.batch("ada", batch_id) == [first, last]
        tables.close()
    assert [query["$filter"] for query in queries] == [
        [
            f"PartitionKey eq 'ada' and RowKey ge '{names.row_key(first.job_id)}' and "
            f"RowKey le '{names.row_key(last.job_id)}' and batch_id eq '{batch_id}'"
        ]
    ]
