"""POST and GET batches: all jobs or none, the same jobs again for the same key, and one look at them all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError
from world import HOST, OWNER, START, Answer, World

from reelkeeper import model, names, policy
from reelkeeper.errors import RecordExists
from reelkeeper.model import Job
from reelkeeper.providers.base import Terms
from reelkeeper.records.base import IdempotencyClaim, Watch
from reelkeeper.records.memory import MemoryIdempotencyKeys, MemoryJobs, MemoryWatchdog
from triggers.accepting import start
from triggers.batch_bodies import MAX_BATCH_BYTES

SMALL = {"width": 480, "height": 480, "n_seconds": 1}


def wishes(count: int, **more: Any) -> list[dict[str, Any]]:
    return [SMALL | {"prompt": f"boat {number}"} | more for number in range(count)]


def jobs_of(world: World, owner: str = "default", kind: str = "videos") -> list[Job]:
    return world.jobs.page(owner, kind, limit=1000)[0]


def started(world: World) -> list[str]:
    return [instance_id for _, instance_id, _ in world.client.started]


def ids_of(answer: Answer) -> list[str]:
    assert answer.status in (200, 202), answer.json
    return [job["job_id"] for job in answer.json["jobs"]]


def refusal(world: World, answer: Answer, status: int = 400, code: str = "invalid_request") -> dict[str, str]:
    """The fields to blame, with the words; nothing may be left behind."""
    assert (answer.status, answer.media_type) == (status, "application/problem+json")
    assert answer.json["code"] == code
    assert (world.jobs._rows, world.watched(), world.client.started, world.clips._blobs) == ({}, {}, [], {})
    assert world.idempotency.get("default", "k1") is None
    return {error["field"]: error["message"] for error in answer.json["errors"]}


# What becomes of it


def test_a_batch_becomes_its_jobs(world: World) -> None:
    """202 with the jobs in the order of the requests, each with its own routes, and where to see them all."""
    answer = world.post_batch(wishes(3), x_user_id=OWNER)
    body = answer.json
    assert (answer.status, answer.media_type) == (202, "application/json")
    assert body.keys() == {"batch_id", "jobs", "status_url", "created_at"}
    assert body["status_url"] == answer.headers["Location"] == f"{HOST}/videos/batches/{body['batch_id']}"
    assert (answer.headers["Retry-After"], body["created_at"]) == ("3", "2026-11-20T09:00:00.000Z")
    assert "Idempotent-Replayed" not in answer.headers
    for index, item in enumerate(body["jobs"]):
        job_id = names.member_id(body["batch_id"], index)
        urls = {f"{name}_url": f"{HOST}/videos/{job_id}/{name}" for name in ("status", "result", "content")}
        assert item == {"job_id": job_id, "status": "pending", "created_at": body["created_at"], **urls}
        job = world.jobs.get(OWNER, job_id)
        assert job is not None
        assert (job.request.prompt, job.batch_id, job.key_digest) == (f"boat {index}", body["batch_id"], None)
        assert world.get("status", job_id).json["batch_id"] == body["batch_id"]


def test_100_jobs_are_recorded_watched_and_started(world: World) -> None:
    """In the order of the requests, each under its own id, and every record there before the first start."""
    seen: list[int] = []
    world.client.before_start = lambda _: seen.append(len(jobs_of(world)))
    ids = ids_of(world.post_batch(wishes(100)))
    assert ids == sorted(set(ids))
    assert [job.request.prompt for job in sorted(jobs_of(world), key=lambda job: job.job_id)] == [
        f"boat {number}" for number in range(100)
    ]
    assert world.client.started == [("render", job_id, {"owner": "default", "job_id": job_id}) for job_id in ids]
    assert world.watched() == {job_id: Watch(job_id, "default", "videos", START + policy.START_GRACE) for job_id in ids}
    assert seen == [100] * 100


def test_the_watchdog_rows_are_there_before_the_records(world: World) -> None:
    """A record without a row would be a job that nobody looks after."""

    class Jobs(MemoryJobs):
        def insert_all(self, jobs: Any) -> list[Job]:
            assert {job.job_id for job in jobs} == world.watched().keys()
            return super().insert_all(jobs)

    world.use(jobs=Jobs())
    assert world.post_batch(wishes(5)).status == 202


def test_images_come_in_batches_too(world: World) -> None:
    """With the words of their kind, and links to their own routes."""
    world.with_images()
    asked = [{"prompt": "a boat", "size": "1024x1024", "n": 2}, {"prompt": "an oar", "output_format": "jpeg"}]
    answer = world.post_batch(asked, "images")
    first, second = (world.jobs.get("default", job_id) for job_id in ids_of(answer))
    assert first is not None
    assert second is not None
    assert (first.kind, first.provider, first.request.n_variants) == ("images", "image", 2)
    assert second.request.output_format == "jpeg"
    assert answer.json["status_url"] == f"{HOST}/images/batches/{first.batch_id}"
    assert [item["status"] for item in world.batch(str(first.batch_id), "default", "images").json["jobs"]] == [
        "pending", "pending",
    ]  # fmt: skip


def test_a_start_that_fails_is_made_up_for_by_the_sweep(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It holds nobody else up, and every job is started once."""
    away = ConnectionError("the extension is away")
    world.client.before_start = lambda one: world.client.failing.update({one: away} if one[-1] in "02468ace" else {})
    ids = ids_of(world.post_batch(wishes(40)))
    failed = set(world.client.failing)
    assert set(started(world)) == set(ids) - failed
    assert all(f"job {job_id}: accepted, but its orchestration could not" in caplog.text for job_id in failed)
    world.client.before_start = lambda _: None
    world.client.failing.clear()
    world.clock.advance(minutes=1)
    assert world.sweep()["started"] == len(failed) > 0
    assert sorted(started(world)) == ids


def test_a_host_that_does_not_answer_holds_the_caller_up_only_for_a_while(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Sixteen starts are under way at once; what is not done in time is named in the log."""
    asked: list[str] = []

    class Deaf:
        async def start_new(self, name: str, instance_id: str, client_input: Any) -> str:
            asked.append(instance_id)
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    jobs = [world.record() for _ in range(20)]
    client: Any = Deaf()
    asyncio.run(start(client, jobs, seconds=0.05))
    assert asked == [job.job_id for job in jobs[:16]]
    assert all(f"job {job.job_id}: accepted, but not started within 0.05 s" in caplog.text for job in jobs)


# What is refused


def test_mistakes_of_all_requests_are_told_at_once(world: World) -> None:
    """Each at its index and field, whatever stage of the judging finds it; and nothing exists."""
    asked: list[Any] = wishes(6)
    asked[1] = {"width": 480}
    asked[2] |= {"n_seconds": 99}
    asked[4] |= {"provider": "nobody", "input_image": {}}
    asked[5] = "a boat"
    found = refusal(world, world.post_batch(asked, idempotency_key="k1"))
    assert found == {
        "requests[1].prompt": "is required",
        "requests[2].n_seconds": "must be a whole number from 1 to 20",
        "requests[4].input_image": "needs either url, or base64 and media_type",
        "requests[5]": "must be an object",
    }


WRONG: dict[str, tuple[Any, dict[str, str], str, str]] = {
    # name: (body, headers, field, words)
    "no requests": ({}, {}, "requests", "is required"),
    "none": ({"requests": []}, {}, "requests", "must not be empty"),
    "too many": ({"requests": wishes(101)}, {}, "requests", "must have at most 100 entries"),
    "object": ({"requests": {"0": SMALL}}, {}, "requests", "must be a list"),
    "unknown field": ({"requests": wishes(1), "n": 1}, {}, "n", "is not a known field; allowed: requests, user_id"),
    "list": (b"[]", {}, "body", "must be a JSON object"),
    "null": ([None], {}, "requests[0]", "must be an object"),
    "batch in a batch": ([{"prompt": "x", "requests": wishes(1)}], {}, "requests[0].requests", "is not a known field"),
    "unknown name inside": ([SMALL | {"prompt": "x", "fps": 3}], {}, "requests[0].fps", "allowed: prompt, width"),
    "callers at odds": ([*wishes(1, user_id="ada"), *wishes(1, user_id="bob")], {}, "requests[1].user_id", "has one"),
    "batch and request": ({"requests": wishes(1, user_id="a"), "user_id": "b"}, {}, "requests[0].user_id", "differs"),
    "header and request": (wishes(1, user_id="ada"), {"x_user_id": "bob"}, "requests[0].user_id", "differs"),
    "header and batch": ({"requests": wishes(1), "user_id": "ada"}, {"x_user_id": "bob"}, "user_id", "differs"),
    "blank owner": (wishes(1, user_id=" "), {}, "requests[0].user_id", "printable"),
    "owner as number": ({"requests": wishes(1), "user_id": 7}, {}, "user_id", "must be a text"),
    "key": (wishes(1), {"idempotency_key": "two words"}, "Idempotency-Key", "visible ASCII"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_batch_is_refused_and_leaves_nothing(world: World, name: str) -> None:
    """400 with the field to blame."""
    body, headers, field, words = WRONG[name]
    found = refusal(world, world.post_batch(body, **{"idempotency_key": "k1"} | headers))
    assert list(found) == [field]
    assert words in found[field]


def test_one_owner_may_be_named_in_many_places(world: World) -> None:
    """In the batch, the header and some of the requests, as long as it is the same one."""
    mixed = [*wishes(1), *wishes(1, user_id="ada")]
    for body, headers in (
        ({"requests": mixed, "user_id": "ada"}, {"x_user_id": "ada"}),
        ({"requests": mixed}, {"x_user_id": "ada"}),
        ({"requests": mixed}, {}),
    ):
        assert world.post_batch(body, **headers).status == 202
    assert (len(jobs_of(world, "ada")), jobs_of(world)) == (6, [])


def test_a_batch_full_of_mistakes_gets_a_short_answer(world: World) -> None:
    """Twenty are told, whatever their number."""
    found = refusal(world, world.post_batch([{str(number): 1 for number in range(50)}] * 100))
    assert len(found) == 20


def test_a_batch_has_a_mebibyte(world: World) -> None:
    """To the byte, pictures aside; then 413."""
    rest = len(json.dumps({"requests": wishes(100, prompt="")}))
    share, more = divmod(MAX_BATCH_BYTES - rest, 100)
    world.provider.abilities = replace(world.provider.abilities, max_prompt=share + more + 1)
    asked = wishes(100, prompt="x" * share)
    asked[0]["prompt"] += "x" * more
    assert world.post_batch(asked).status == 202
    asked[0]["prompt"] += "x"
    answer = world.post_batch(asked)
    assert (answer.status, answer.json["code"]) == (413, "body_too_large")
    assert f"has {MAX_BATCH_BYTES + 1} bytes; at most {MAX_BATCH_BYTES}" in answer.json["detail"]


def test_jobs_too_large_for_one_transaction_are_refused(world: World) -> None:
    """Within the mebibyte only characters can get there that storage writes as six; none is recorded or started."""
    world.provider.abilities = replace(world.provider.abilities, max_prompt=10_000)
    raw = json.dumps({"requests": wishes(100, prompt="\x7f" * 10_000)}).encode().replace(b"\\u007f", b"\x7f")
    answer = world.post_batch(raw)
    assert (answer.status, answer.json["code"]) == (413, "body_too_large")
    assert "send fewer at a time" in answer.json["detail"]
    assert (jobs_of(world), started(world)) == ([], [])


def test_a_refusal_keeps_its_code_when_it_is_the_only_one(world: World) -> None:
    """A client may act on `model_retired`; nobody configured at all is a 503 as for one job."""
    world.provider.terms = Terms(retires_on=START.date().replace(day=1))
    found = refusal(world, world.post_batch(wishes(2)), 400, "model_retired")
    assert list(found) == ["requests[0].provider", "requests[1].provider"]
    refusal(world, world.post_batch([*wishes(1), {}]), 400, "invalid_request")
    world.services.providers.clear()
    assert world.post_batch(wishes(2)).json["code"] == "no_provider"


# The same batch again


def test_the_same_key_and_body_find_the_same_batch(world: World) -> None:
    """200, the batch as it is by now, marked as a replay; nothing is started again."""
    first = world.post_batch(wishes(3), idempotency_key="k1")
    world.force(jobs_of(world)[0], status=model.FAILED, finished_at=START)
    world.clock.advance(minutes=5)
    again = world.post_batch(wishes(3), idempotency_key="k1")
    assert (first.status, again.status) == (202, 200)
    assert ids_of(again) == ids_of(first) == started(world)
    assert [job["status"] for job in again.json["jobs"]] == ["failed", "pending", "pending"]
    assert again.json["batch_id"] == first.json["batch_id"]
    assert (again.headers["Idempotent-Replayed"], again.headers["Location"]) == ("true", first.headers["Location"])
    assert {job.key_digest for job in jobs_of(world)} == {names.key_digest("k1")}


@pytest.mark.parametrize("other", [wishes(2), wishes(4), wishes(3, n_seconds=2), list(reversed(wishes(3)))])
def test_the_same_key_with_another_batch_is_refused(world: World, other: list[Any]) -> None:
    """Fewer, more, other or differently ordered requests are another wish."""
    world.post_batch(wishes(3), idempotency_key="k1")
    answer = world.post_batch(other, idempotency_key="k1")
    assert (answer.status, answer.json["code"]) == (422, "idempotency_mismatch")
    assert len(jobs_of(world)) == 3


def test_a_key_stands_for_one_job_or_for_a_batch(world: World) -> None:
    """A batch of one is not the job."""
    (one,) = wishes(1)
    world.post(one, idempotency_key="k1")
    assert world.post_batch([one], idempotency_key="k1").status == 422
    world.post_batch([one], idempotency_key="k2")
    assert world.post(one, idempotency_key="k2").status == 422
    assert len(jobs_of(world)) == 2


class Dying(MemoryJobs):
    """Dies at `insert_all`, before or after it has written."""

    def __init__(self, after: bool) -> None:
        super().__init__()
        self.after, self.alive = after, False

    def insert_all(self, jobs: Any) -> list[Job]:
        made = super().insert_all(jobs) if self.after or self.alive else []
        if not self.alive:
            raise SystemError("the worker dies here")
        return made


def test_a_crash_before_the_records_is_finished_by_the_next_post(world: World) -> None:
    """The claim names the batch: the repeated POST makes the same jobs, and starts each once."""
    world.use(jobs=(jobs := Dying(after=False)))
    assert world.post_batch(wishes(20), idempotency_key="k1").status == 500
    claimed = world.watched().keys()
    jobs.alive = True
    world.clock.advance(minutes=2)
    answer = world.post_batch(wishes(20), idempotency_key="k1")
    assert (answer.status, set(ids_of(answer))) == (202, claimed)
    assert started(world) == ids_of(answer)
    assert len(jobs.page("default", "videos", limit=100)[0]) == 20


def test_a_crash_after_the_records_loses_nothing_and_doubles_nothing(world: World) -> None:
    """The repeated POST finds the jobs, and the sweep starts each of them once."""
    world.use(jobs=(jobs := Dying(after=True)))
    assert world.post_batch(wishes(20), idempotency_key="k1").status == 500
    jobs.alive = True
    answer = world.post_batch(wishes(20), idempotency_key="k1")
    assert (answer.status, started(world)) == (200, [])
    world.clock.advance(minutes=2)
    world.sweep()
    assert sorted(started(world)) == ids_of(answer)
    assert len(jobs.page("default", "videos", limit=100)[0]) == 20


def test_a_crash_during_the_starts_loses_nothing_and_doubles_nothing(world: World) -> None:
    """What was started stays so, what was not the sweep starts; the repeated POST finds all of them."""
    starts: list[str] = []

    def die(instance_id: str) -> None:
        starts.append(instance_id)
        if len(starts) > 7:
            raise KeyboardInterrupt

    world.client.before_start = die
    with pytest.raises(KeyboardInterrupt):
        world.post_batch(wishes(20), idempotency_key="k1")
    world.client.before_start = lambda _: None
    assert 0 < len(started(world)) < 20
    answer = world.post_batch(wishes(20), idempotency_key="k1")
    assert answer.status == 200
    world.clock.advance(minutes=2)
    world.sweep()
    assert sorted(started(world)) == ids_of(answer)


@pytest.mark.parametrize("key", ["k1", None])
def test_records_that_are_there_already_are_the_batch(world: World, key: str | None) -> None:
    """A twin with the key was faster and starts them; without a key it was our own write, whose answer was lost."""

    class Racing(MemoryJobs):
        def insert_all(self, jobs: Any) -> list[Job]:
            super().insert_all(jobs)
            raise RecordExists("they are there")

    world.use(jobs=Racing())
    answer = world.post_batch(wishes(3), **({"idempotency_key": key} if key else {}))
    assert answer.status == (200 if key else 202)
    assert started(world) == ([] if key else ids_of(answer))


def test_two_posts_at_once_with_one_key_make_one_batch(world: World) -> None:
    """Both find no claim; the slower one is given the faster one's."""

    class Late(MemoryIdempotencyKeys):
        def get(self, owner: str, key: str) -> IdempotencyClaim | None:
            return None

    world.use(idempotency=Late())
    first = world.post_batch(wishes(3), idempotency_key="k1")
    again = world.post_batch(wishes(3), idempotency_key="k1")
    assert (first.status, again.status, again.json) == (202, 200, first.json)
    assert len(started(world)) == len(world.watched()) == 3


def test_what_was_deleted_is_not_made_again(world: World) -> None:
    """410 for the key of a job or of a whole batch; while a job of the batch is left, the batch is what is left."""

    def delete(job_id: str) -> None:
        job = world.jobs.get("default", job_id)
        assert job is not None
        world.force(job, status=model.FAILED, finished_at=START)
        assert world.delete(job_id, "default").status == 204

    one, two = ids_of(world.post_batch(wishes(2), idempotency_key="k1"))
    delete(one)
    assert ids_of(world.post_batch(wishes(2), idempotency_key="k1")) == [two]
    delete(two)
    single = world.post(wishes(1)[0], idempotency_key="k2").json["job_id"]
    delete(single)
    gone = world.post_batch(wishes(2), idempotency_key="k1"), world.post(wishes(1)[0], idempotency_key="k2")
    for answer in gone:
        assert (answer.status, answer.json["code"]) == (410, "job_deleted")
        assert answer.json["detail"] == "What this Idempotency-Key made was deleted. Use a new key to make it anew."
    assert (len(started(world)), jobs_of(world)) == (3, [])


@pytest.mark.parametrize("part", ["idempotency", "watchdog", "jobs"])
def test_without_storage_no_batch_is_accepted(world: World, part: str) -> None:
    """503, no record and no start; a row without a record is swept away."""

    def away(*_: Any) -> Any:
        raise ServiceRequestError("no connection")

    broken: Any = {"watchdog": MemoryWatchdog(), "jobs": MemoryJobs(), "idempotency": MemoryIdempotencyKeys()}[part]
    for method in ("watch", "insert_all", "claim"):
        if hasattr(broken, method):
            setattr(broken, method, away)
    world.use(**{part: broken})
    answer = world.post_batch(wishes(10), idempotency_key="k1")
    assert (answer.status, answer.json["code"]) == (503, "storage_unavailable")
    assert (world.jobs._rows, started(world)) == ({}, [])
    world.clock.advance(minutes=30)
    world.sweep()
    assert world.watched() == {}


# One look at them all


def test_a_batch_tells_how_its_jobs_are(world: World) -> None:
    """How many in which status, and each job's own status in the order of the requests."""
    answer = world.post_batch(wishes(4), x_user_id=OWNER)
    first, second, *_ = ids_of(answer)
    for job_id in (first, second):
        world.force(_job(world, job_id), status=model.COMPLETED, finished_at=START)
    world.clock.advance(seconds=60)
    seen = world.batch(answer.json["batch_id"])
    body = seen.json
    assert seen.status == 200
    assert body.keys() == {"batch_id", "kind", "total", "counts", "finished", "created_at", "jobs", "status_url"}
    assert (body["batch_id"], body["kind"], body["total"]) == (answer.json["batch_id"], "videos", 4)
    assert (body["counts"], body["finished"]) == ({"completed": 2, "pending": 2}, False)
    assert (body["created_at"], body["status_url"]) == (answer.json["created_at"], answer.json["status_url"])
    assert body["jobs"] == [world.get("status", job_id).json for job_id in ids_of(answer)]
    assert seen.headers["Retry-After"] == world.get("status", ids_of(answer)[3]).headers["Retry-After"]


def test_retry_after_is_that_of_the_first_job_worth_a_look(world: World) -> None:
    """One that waits for hours does not hide one that moves; a finished batch has none."""
    answer = world.post_batch(wishes(2), x_user_id=OWNER)
    world.force(_job(world, ids_of(answer)[0]), next_attempt_at=START + 60 * policy.START_GRACE)
    assert world.batch(answer.json["batch_id"]).headers["Retry-After"] == "3"
    for job_id in ids_of(answer):
        world.force(_job(world, job_id), status=model.FAILED, finished_at=START)
    seen = world.batch(answer.json["batch_id"])
    assert (seen.json["finished"], "Retry-After" in seen.headers) == (True, False)


def test_an_unchanged_batch_is_not_sent_again(world: World) -> None:
    """304 for the tag; another one once a job has moved."""
    batch_id = world.post_batch(wishes(2), x_user_id=OWNER).json["batch_id"]
    tag = world.batch(batch_id).headers["ETag"]
    again = world.batch(batch_id, if_none_match=tag)
    assert (again.status, again.raw) == (304, b"")
    world.force(jobs_of(world, OWNER)[0], status=model.QUEUED)
    assert world.batch(batch_id, if_none_match=tag).status == 200


def test_a_batch_is_found_by_its_owner_only(world: World) -> None:
    """404 alike for another's, another kind's, a job's id, and nonsense."""
    answer = world.post_batch(wishes(2), x_user_id=OWNER)
    batch_id, job_id = answer.json["batch_id"], ids_of(answer)[0]
    looks: list[Callable[[], Answer]] = [
        lambda: world.batch(batch_id, "bob"),
        lambda: world.batch(batch_id, None),
        lambda: world.batch(batch_id, kind="images"),
        lambda: world.batch(job_id),
        lambda: world.batch(names.new_job_id(START)),
        lambda: world.batch("status"),
        lambda: world.batch("x" * 5000),
    ]
    for look in looks:
        answer = look()
        assert (answer.status, answer.json["code"]) == (404, "batch_not_found")
        assert len(answer.raw) < 500
    assert world.batch(batch_id.upper()).status == 200


def _job(world: World, job_id: str) -> Job:
    job = world.jobs.get(OWNER, job_id)
    assert job is not None
    return job
