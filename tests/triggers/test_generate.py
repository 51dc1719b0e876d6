"""POST generate: a record before anything else, one job per idempotency key, and nothing at all from a bad request."""

from __future__ import annotations

import json
import logging
from datetime import date, timedelta
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError
from world import HOST, OWNER, START, World

from reelkeeper import model, names, policy
from reelkeeper.errors import RecordExists
from reelkeeper.model import Job
from reelkeeper.providers.base import Terms
from reelkeeper.providers.memory import MemoryProvider
from reelkeeper.records.base import Watch
from reelkeeper.records.memory import MemoryIdempotencyKeys, MemoryJobs, MemoryWatchdog

BODY = {"prompt": "a lighthouse", "width": 1280, "height": 720, "n_seconds": 5}


def jobs_of(world: World, owner: str = "default") -> list[Job]:
    return world.jobs.page(owner, "videos", limit=100)[0]


def test_a_request_becomes_a_job(world: World) -> None:
    """202 with exactly the promised fields, Location and Retry-After, and absolute URLs of the job's routes."""
    answer = world.post(BODY)
    (job,) = jobs_of(world)
    urls = {f"{name}_url": f"{HOST}/videos/{job.job_id}/{name}" for name in ("status", "result", "content")}
    assert (answer.status, answer.media_type) == (202, "application/json")
    assert answer.json == {
        "job_id": job.job_id, "status": "pending", "created_at": "2026-11-20T09:00:00.000Z", **urls,
    }  # fmt: skip
    assert answer.headers["Location"] == urls["status_url"]
    assert answer.headers["Retry-After"] == "3"
    assert "Idempotent-Replayed" not in answer.headers


def test_the_record_holds_what_was_asked_for(world: World) -> None:
    """Defaults filled in, the owner, the provider's name and model, the metadata."""
    metadata = {"tag": "ü", "empty": ""}
    world.post({"prompt": "Ein Leuchtturm 🗼", "n_variants": 2, "metadata": metadata, "user_id": "ada"})
    (job,) = jobs_of(world, "ada")
    request = job.request
    assert (request.prompt, request.width, request.height) == ("Ein Leuchtturm 🗼", 1280, 720)
    assert (request.n_seconds, request.n_variants, request.model) == (5, 2, "sora")
    assert request.metadata == metadata
    assert (job.owner, job.provider, job.status, job.stage) == ("ada", "sora", "pending", "accepted")
    assert names.is_job_id(job.job_id)


def test_record_and_watchdog_row_are_there_before_the_start(world: World) -> None:
    """Whatever happens from the start on, the sweep knows the job."""
    seen: list[Any] = []

    def look(instance_id: str) -> None:
        seen.append((world.jobs.get("ada", instance_id), world.watched().get(instance_id)))

    world.client.before_start = look
    answer = world.post(BODY, x_user_id="ada")
    job_id = answer.json["job_id"]
    ((job, row),) = seen
    assert (job.job_id, job.status) == (job_id, "pending")
    assert row == Watch(job_id, "ada", "videos", START + policy.START_GRACE)
    assert world.client.started == [("render", job_id, {"owner": "ada", "job_id": job_id})]


def test_the_watchdog_row_is_there_before_the_record(world: World) -> None:
    """A record without a row would be a job that nobody looks after."""
    order: list[str] = []

    class Jobs(MemoryJobs):
        def insert(self, job: Job) -> Job:
            order.append("record")
            assert job.job_id in world.watched()
            return super().insert(job)

    world.use(jobs=Jobs())
    assert world.post(BODY).status == 202
    assert order == ["record"]


def test_a_start_that_fails_is_made_up_for_by_the_sweep(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets its 202 all the same; the log names the job; a minute later the sweep starts it."""
    world.client.failing["start_new"] = ConnectionError("the extension is away")
    answer = world.post(BODY)
    job_id = answer.json["job_id"]
    assert (answer.status, world.client.started) == (202, [])
    assert f"job {job_id}: accepted, but its orchestration could not be started" in caplog.text
    assert world.sweep() == {"started": 0, "pushed": 0, "cleared": 0, "failed": 0}
    world.client.failing.clear()
    world.clock.advance(minutes=1)
    assert world.sweep()["started"] == 1
    assert world.client.started == [("render", job_id, {"owner": "default", "job_id": job_id})]


@pytest.mark.parametrize("part", ["watchdog", "jobs", "idempotency"])
def test_without_storage_nothing_is_accepted(world: World, part: str) -> None:
    """503 as a problem that says when to come again, and no start."""

    def away(*_: Any) -> Any:
        raise ServiceRequestError("no connection")

    broken: Any = {"watchdog": MemoryWatchdog(), "jobs": MemoryJobs(), "idempotency": MemoryIdempotencyKeys()}[part]
    for method in ("watch", "insert", "claim"):
        if hasattr(broken, method):
            setattr(broken, method, away)
    world.use(**{part: broken})
    answer = world.post(BODY, idempotency_key="k1")
    assert (answer.status, answer.media_type) == (503, "application/problem+json")
    assert (answer.json["code"], answer.json["status"]) == ("storage_unavailable", 503)
    assert answer.headers["Retry-After"] == "10"
    assert world.client.started == []
    assert jobs_of(world) == []


def test_a_record_that_fails_leaves_a_row_that_is_swept_away(world: World) -> None:
    """The row was first: without its record it is forgotten after a while."""

    class Jobs(MemoryJobs):
        def insert(self, job: Job) -> Job:
            raise ServiceRequestError("no connection")

    world.use(jobs=Jobs())
    assert world.post(BODY).status == 503
    assert len(world.watched()) == 1
    world.clock.advance(minutes=30)
    assert world.sweep()["cleared"] == 1
    assert world.watched() == {}


def test_our_own_mistake_is_a_problem_without_insides(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """500 says nothing of the cause; the log does."""

    class Jobs(MemoryJobs):
        def insert(self, job: Job) -> Job:
            raise LookupError("table 7 of account secret")

    world.use(jobs=Jobs())
    answer = world.post(BODY)
    assert (answer.status, answer.media_type, answer.json["code"]) == (
        500,
        "application/problem+json",
        "internal_error",
    )
    assert b"secret" not in answer.raw
    assert "table 7 of account secret" in caplog.text


def test_without_a_provider_nothing_can_be_generated(world: World) -> None:
    """503 `no_provider` names the settings to make; nothing is recorded."""
    world.services.providers.clear()
    answer = world.post(BODY)
    assert (answer.status, answer.json["code"]) == (503, "no_provider")
    assert "AZURE_SORA_ENDPOINT" in answer.json["detail"]
    assert (jobs_of(world), world.watched(), world.client.started) == ([], {}, [])


def test_a_request_may_name_its_provider(world: World) -> None:
    """The first of its kind is the default; the record holds which one it is."""
    second = MemoryProvider(world.clock.now, "second")
    second.model = "sora-large"
    world.services.providers["second"] = second
    world.post({**BODY, "provider": "second", "model": "sora-large"})
    (job,) = jobs_of(world)
    assert (job.provider, job.request.model) == ("second", "sora-large")


# Idempotency


def test_the_same_key_and_body_find_the_same_job(world: World) -> None:
    """200, the very same job, marked as a replay; nothing is started again."""
    first = world.post(BODY, idempotency_key="k1")
    world.clock.advance(minutes=5)
    again = world.post(BODY, idempotency_key="k1")
    assert (first.status, again.status) == (202, 200)
    assert again.json == first.json
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert len(jobs_of(world)) == len(world.client.started) == 1


def test_the_body_is_compared_by_its_meaning(world: World) -> None:
    """Order, blanks and defaults that are written out make no other body; nor does where the owner is named."""
    first = world.post({"prompt": "x", "n_seconds": 5, "user_id": "ada"}, idempotency_key="k1")
    raw = b' { "n_seconds": 5, "width":1280, "height":720,\n "prompt":"\\u0078" } '
    again = world.post(raw, idempotency_key="k1", x_user_id="ada")
    assert (again.status, again.json["job_id"]) == (200, first.json["job_id"])


@pytest.mark.parametrize("change", [{"prompt": "b"}, {"n_seconds": 6}, {"metadata": {"a": "b"}}, {"n_variants": 2}])
def test_the_same_key_with_another_body_is_refused(world: World, change: dict[str, Any]) -> None:
    """422: two different wishes under one key are a mistake of the caller's."""
    world.post(BODY, idempotency_key="k1")
    answer = world.post(BODY | change, idempotency_key="k1")
    assert (answer.status, answer.json["code"]) == (422, "idempotency_mismatch")
    assert answer.json["errors"][0]["field"] == "Idempotency-Key"
    assert len(jobs_of(world)) == len(world.client.started) == 1


def test_two_owners_may_use_the_same_key(world: World) -> None:
    """A key belongs to its owner: nobody meets another's job."""
    first = world.post(BODY, idempotency_key="k1", x_user_id="ada")
    second = world.post(BODY | {"prompt": "other"}, idempotency_key="k1", x_user_id="bob")
    assert (first.status, second.status) == (202, 202)
    assert first.json["job_id"] != second.json["job_id"]


def test_a_crash_between_claim_and_record_is_finished_by_the_next_post(world: World) -> None:
    """The claim names the id: the repeated POST makes the job under it, and starts it."""
    whole = world.services.jobs

    class Dying(MemoryJobs):
        def insert(self, job: Job) -> Job:
            raise SystemError("the worker dies here")

    world.use(jobs=Dying())
    assert world.post(BODY, idempotency_key="k1").status == 500
    world.use(jobs=whole)
    (claimed,) = world.watched()
    world.clock.advance(minutes=2)
    answer = world.post(BODY, idempotency_key="k1")
    assert (answer.status, answer.json["job_id"]) == (202, claimed)
    assert [job.job_id for job in jobs_of(world)] == [claimed]
    assert [instance_id for _, instance_id, _ in world.client.started] == [claimed]


def test_two_posts_at_once_with_one_key_make_one_job(world: World) -> None:
    """The slower one finds the faster one's record at its insert, and starts nothing."""

    class Racing(MemoryJobs):
        first = True

        def insert(self, job: Job) -> Job:
            if Racing.first:
                Racing.first = False
                super().insert(job)
                raise RecordExists("a twin was faster")
            return super().insert(job)

    world.use(jobs=(jobs := Racing()))
    answer = world.post(BODY, idempotency_key="k1")
    assert (answer.status, answer.headers["Idempotent-Replayed"]) == (200, "true")
    assert world.client.started == []
    assert len(jobs.page("default", "videos", limit=9)[0]) == 1


def test_a_replay_tells_how_far_the_job_is(world: World) -> None:
    """A finished job is answered without Retry-After."""
    answer = world.post(BODY, idempotency_key="k1", x_user_id="ada")
    job = world.jobs.get("ada", answer.json["job_id"])
    assert job is not None
    world.force(job, status=model.FAILED, finished_at=world.clock.now())
    again = world.post(BODY, idempotency_key="k1", x_user_id="ada")
    assert (again.status, again.json["status"]) == (200, "failed")
    assert "Retry-After" not in again.headers


def test_a_key_of_the_full_length_is_taken(world: World) -> None:
    """1 to 255 visible ASCII characters, slashes and quotes among them."""
    for key in ("x", "k" * 255, '"8e03978e-40d5/43e8#?"'):
        assert world.post(BODY, idempotency_key=key).status == 202
        assert world.post(BODY, idempotency_key=key).status == 200


# What else is accepted


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON", ""]
)
def test_json_by_any_of_its_names_is_read(world: World, content_type: str) -> None:
    """Parameters, case and a missing header are no reason to refuse a body that is JSON."""
    assert world.post(BODY, content_type=content_type).status == 202


def test_a_byte_order_mark_is_tolerated(world: World) -> None:
    """RFC 8259 lets a parser ignore it, and some editors write it."""
    assert world.post(b"\xef\xbb\xbf" + json.dumps(BODY).encode()).status == 202


def test_the_longest_prompt_and_the_fullest_metadata_fit(world: World) -> None:
    """Everything at its limit is accepted and recorded as it is."""
    metadata = {f"{number:064d}": "ö" * 512 for number in range(16)}
    body = json.dumps({"prompt": "🗼" * 4000, "metadata": metadata}, ensure_ascii=False).encode()
    assert world.post(body).status == 202
    (job,) = jobs_of(world)
    assert (job.request.prompt, job.request.metadata) == ("🗼" * 4000, metadata)


def test_jobs_of_one_moment_are_different_jobs(world: World) -> None:
    """Without a key every POST is a new job."""
    ids = {world.post(BODY).json["job_id"] for _ in range(20)}
    assert len(ids) == len(jobs_of(world)) == 20


def test_the_log_of_a_request_names_only_the_job(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Neither prompt nor owner nor idempotency key is written into the log."""
    caplog.set_level(logging.DEBUG)
    job_id = world.post(BODY, x_user_id="ada@home.example", idempotency_key="k-77").json["job_id"]
    text = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("triggers"))
    assert text == f"job {job_id}: accepted"


def test_a_job_is_known_at_once_to_status_and_gallery(world: World) -> None:
    """Before any orchestration has run a step."""
    job_id = world.post(BODY, x_user_id="ada").json["job_id"]
    assert world.get("status", job_id).json["status"] == "pending"
    assert [item["job_id"] for item in world.gallery().json["items"]] == [job_id]
    assert world.watched()[job_id].due - START == timedelta(minutes=1)


def test_a_retired_default_is_succeeded_by_its_fallback(world: World) -> None:
    """Nobody has to change a request on the day a model ends: the first living one gets the job."""
    retired = Terms(retires_on=date(2026, 11, 19))
    world.provider.terms, world.provider.fallback = retired, ("gone", "backup")
    for name, terms in (("gone", retired), ("backup", Terms())):
        other = MemoryProvider(world.clock.now, name)
        other.terms, other.model = terms, f"model of {name}"
        world.services.providers[name] = other
    job = world.jobs.get(OWNER, world.post({"prompt": "a boat"}, x_user_id=OWNER).json["job_id"])
    assert job is not None
    assert (job.provider, job.request.model, job.moved_from) == ("backup", "model of backup", ("sora", "gone"))
    assert world.create(job) == {"next": "watch"}


def test_a_retired_provider_whose_fallbacks_have_retired_is_told(world: World) -> None:
    """Also when they name each other: 400 with the code."""
    world.provider.terms, world.provider.fallback = Terms(retires_on=date(2026, 11, 19)), ("other",)
    other = MemoryProvider(world.clock.now, "other")
    other.terms, other.fallback = world.provider.terms, ("sora",)
    world.services.providers["other"] = other
    answer = world.post({"prompt": "a boat"})
    assert (answer.status, answer.json["code"]) == (400, "model_retired")
