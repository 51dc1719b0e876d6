"""GET status, result and content: what an owner sees of a job in each of its states."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import azure.functions as func
import pytest
from azure.core.exceptions import HttpResponseError
from world import HOST, Answer, World

from reelkeeper import model
from reelkeeper.model import Job
from reelkeeper.providers.memory import PICTURE, VIDEO, refusal
from reelkeeper.records.memory import MemoryJobs
from triggers import placeholder
from triggers.answers import answering
from triggers.jobs import get_status

STATUS_FIELDS = {
    "job_id", "kind", "batch_id", "status", "stage", "progress", "prompt", "created_at", "updated_at", "finished_at",
    "provider", "task_id", "output_ids", "attempts", "next_attempt_at", "expires_at", "queue_position",
    "estimated_start_at", "error", "warning", "status_url", "result_url", "content_url", "metadata",
}  # fmt: skip
CLIP_FIELDS = {
    "filename", "file_path", "file_url", "file_url_expires_at", "file_size", "content_type", "digest", "width",
    "height", "n_seconds", "output_id", "thumbnail_url", "placeholder",
}  # fmt: skip


def queued(world: World) -> Job:
    job = world.record()
    world.provider.planned["submit"] = [refusal("rate_limited", retry_after=50)]
    world.create(job)
    return world.now_as(job)


STATES: dict[str, Callable[[World], Job]] = {
    "pending": lambda world: world.record(),
    "queued": queued,
    "submitting": lambda world: world.force(world.record(), status="submitting"),
    "submit_unknown": lambda world: world.force(world.record(), status="submit_unknown"),
    "generating": lambda world: world.generating(),
    "downloading": lambda world: world.downloading(),
    "download_failed": lambda world: world.download_failed(),
    "completed": lambda world: world.completed(),
    "failed": lambda world: world.ended("failed", "moderation_output"),
    "cancelled": lambda world: world.ended("cancelled"),
    "expired": lambda world: world.ended("expired", "content_expired"),
}
UNFINISHED = sorted(STATES.keys() - model.TERMINAL)
WITHOUT_FILE = sorted(STATES.keys() - model.TERMINAL - {"download_failed"})
ENDED = {
    "failed": (409, "moderation_output"),
    "cancelled": (409, "provider_error"),
    "expired": (410, "content_expired"),
}


def test_the_table_of_states_is_complete() -> None:
    """Every status that a job can have is tried below."""
    assert set(STATES) == set(model.STATUSES)


# status


@pytest.mark.parametrize("state", STATES)
def test_status_has_all_fields_in_every_state(world: World, state: str) -> None:
    """One shape from the first second to the last, nulls where there is nothing to say."""
    job = STATES[state](world)
    answer = world.get("status", job.job_id)
    body = answer.json
    assert (answer.status, answer.media_type) == (200, "application/json")
    assert body.keys() == STATUS_FIELDS
    assert (body["job_id"], body["kind"], body["status"]) == (job.job_id, "videos", state)
    assert (body["prompt"], body["created_at"]) == ("a boat", "2026-11-20T09:00:00.000Z")
    assert (body["finished_at"] is not None) == (state in model.TERMINAL)
    assert 0 <= body["progress"] <= 100
    assert body["status_url"] == f"{HOST}/videos/{job.job_id}/status"
    assert body["result_url"] == f"{HOST}/videos/{job.job_id}/result"
    assert body["content_url"] == f"{HOST}/videos/{job.job_id}/content"


@pytest.mark.parametrize("state", STATES)
def test_retry_after_is_there_while_unfinished(world: World, state: str) -> None:
    """And only then: a client that obeys it stops by itself."""
    job = STATES[state](world)
    for what in ("status", "result"):
        headers = world.get(what, job.job_id).headers
        assert ("Retry-After" in headers) == (state in UNFINISHED)


def test_retry_after_follows_the_pipeline_s_own_waits(world: World) -> None:
    """As long as the next look takes, or until the next attempt, and at most an hour."""
    fresh, waiting = world.generating(), queued(world)
    assert world.get("status", fresh.job_id).headers["Retry-After"] == "3"
    assert world.get("status", waiting.job_id).headers["Retry-After"] == "50"
    world.clock.advance(seconds=100)
    assert world.get("status", fresh.job_id).headers["Retry-After"] == "24"
    failed = world.download_failed()
    world.force(failed, next_attempt_at=world.clock.now() + timedelta(hours=4))
    assert world.get("status", failed.job_id).headers["Retry-After"] == "3600"


def test_status_tells_task_outputs_and_times(world: World) -> None:
    """What a person needs to find the job again at the provider."""
    job = world.download_failed(n_variants=2, lost=(1,), metadata={"scene": "7"})
    body = world.get("status", job.job_id).json
    assert (body["provider"], body["task_id"]) == ("sora", "task_1")
    assert body["output_ids"] == ["gen_task_1_0", "gen_task_1_1"]
    assert (body["attempts"], body["next_attempt_at"]) == (1, "2026-11-20T09:05:00.000Z")
    assert body["expires_at"] == "2026-11-21T09:00:00.000Z"
    assert "fetched by itself" in body["warning"]
    assert body["metadata"] == {"scene": "7"}
    assert body["error"] == {
        "code": "content_not_ready",
        "message": refusal("content_not_ready").fault.message,
        "provider_message": "simulated content_not_ready",
        "provider_status": None,
        "request_id": "request-1",
    }


def test_a_known_status_is_not_sent_again(world: World) -> None:
    """304 without a body for the ETag that the caller holds, strong, weak or among others; a new one after a change."""
    job = world.generating()
    first = world.get("status", job.job_id)
    etag = first.headers["ETag"]
    assert etag.startswith('"')
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = world.get("status", job.job_id, if_none_match=known)
        assert (again.status, again.raw, again.headers["ETag"]) == (304, b"", etag)
        assert again.headers["Retry-After"] == "3"
    assert world.get("status", job.job_id, if_none_match='"other"').status == 200
    world.clock.advance(seconds=30)
    assert world.get("status", job.job_id, if_none_match=etag).status == 304
    world.poll(job)
    changed = world.get("status", job.job_id, if_none_match=etag)
    assert (changed.status, changed.headers["ETag"] != etag) == (200, True)


def test_nothing_of_an_owner_is_kept_by_a_cache(world: World) -> None:
    """Signed URLs are never stored on the way; a status may be, if it is asked for again each time."""
    job = world.completed()
    assert world.get("status", job.job_id).headers["Cache-Control"] == "private, no-cache"
    assert world.get("result", job.job_id).headers["Cache-Control"] == "no-store"
    assert world.get("content", job.job_id).headers["Cache-Control"] == "no-store"
    assert world.gallery().headers["Cache-Control"] == "no-store"


def test_half_an_emoji_of_a_provider_does_not_break_the_answer(world: World) -> None:
    """A message cut in the middle of a surrogate pair is no UTF-8, but can be told all the same."""
    job = world.ended("failed")
    assert job.fault is not None
    fault = type(job.fault)("provider_error", "Try again.", "cut \ud83d")
    world.force(job, fault=fault)
    assert world.get("status", job.job_id).json["error"]["provider_message"] == "cut \ud83d"
    assert world.get("result", job.job_id).json["provider_message"] == "cut \ud83d"


def test_urls_are_made_from_the_address_that_was_called(world: World) -> None:
    """Host, port, route prefix and spelling of the request; never its key."""
    job = world.record(owner="default")
    for url, base in {
        f"http://127.0.0.1:7071/api/videos/{job.job_id}/status?code=KEY": "http://127.0.0.1:7071/api/videos",
        f"https://films.example/videos/{job.job_id}/status": "https://films.example/videos",
        f"https://x.example/my/videos/api/v1/videos/{job.job_id}/status": "https://x.example/my/videos/api/v1/videos",
        f"https://x.example/API/Videos/{job.job_id}/STATUS": "https://x.example/API/videos",
    }.items():
        request = func.HttpRequest("GET", url, route_params={"job_id": job.job_id}, body=b"")
        body = Answer(answering(get_status)(world.services, request, "videos")).json
        assert body["status_url"] == f"{base}/{job.job_id}/status"


# whose job it is


@pytest.mark.parametrize("what", ["status", "result", "content"])
def test_another_owner_s_job_is_as_good_as_missing(world: World, what: str) -> None:
    """404 in exactly the shape of a job that never was: nobody can find out what others have."""
    job, ghost = world.completed(), World().record()
    missing = world.get(what, ghost.job_id)
    assert (missing.status, missing.json["code"]) == (404, "job_not_found")
    for stranger in ("bob", "Ada", "ada ", "ada/", None, "default"):
        answer = world.get(what, job.job_id, owner=stranger)
        assert (answer.status, answer.media_type) == (404, "application/problem+json")
        assert {**answer.json, "detail": ""} == {**missing.json, "detail": ""}
        assert answer.json["detail"].replace(job.job_id, "") == missing.json["detail"].replace(ghost.job_id, "")
        assert dict(answer.headers) == dict(missing.headers)
    assert world.get(what, job.job_id, owner="ada").status != 404


@pytest.mark.parametrize("what", ["status", "result", "content"])
@pytest.mark.parametrize(
    "job_id",
    ["x", "0", "..", "%2e%2e", "../status", "a" * 5000, "'; drop", "00000000-0000-0000-0000-000000000000", "jöb",
     "\ud800", "019a0000-0000-7000-8000-00000000000g"],
)  # fmt: skip
def test_a_malformed_job_id_is_a_missing_job(world: World, what: str, job_id: str) -> None:
    """404, not 400 or 500: there is no such job, whatever the text."""
    answer = world.get(what, job_id)
    assert (answer.status, answer.json["code"]) == (404, "job_not_found")
    assert len(answer.raw) < 1000


def test_a_job_id_is_found_in_capitals_too(world: World) -> None:
    """Some clients print UUIDs that way."""
    job = world.completed()
    assert world.get("status", job.job_id.upper()).json["job_id"] == job.job_id


def test_owners_must_not_disagree(world: World) -> None:
    """Header and query name the owner: one of them, or the same."""
    job = world.completed()
    assert world.get("status", job.job_id, owner=None, query={"user_id": "ada"}).status == 200
    assert world.get("status", job.job_id, query={"user_id": "ada"}).status == 200
    answer = world.get("status", job.job_id, query={"user_id": "bob"})
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "user_id")


def test_a_storage_that_is_away_is_a_503(world: World) -> None:
    """Not a 404: the caller must not take its job for lost."""

    class Away(MemoryJobs):
        def get(self, owner: str, job_id: str) -> Job | None:
            raise HttpResponseError("server busy")

    job = world.completed()
    world.use(jobs=Away())
    for what in ("status", "result", "content"):
        answer = world.get(what, job.job_id)
        assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "storage_unavailable", "10")


# result


@pytest.mark.parametrize("state", WITHOUT_FILE)
def test_an_unfinished_result_is_the_status(world: World, state: str) -> None:
    """202 with the status body: come again."""
    job = STATES[state](world)
    answer = world.get("result", job.job_id)
    assert (answer.status, answer.json) == (202, world.get("status", job.job_id).json)


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("what", ["result", "content"])
def test_a_job_without_result_says_why(world: World, state: str, what: str) -> None:
    """A problem with the failure's code, what to do about it, and the provider's request id."""
    job, (status, code) = STATES[state](world), ENDED[state]
    answer = world.get(what, job.job_id)
    assert (answer.status, answer.media_type) == (status, "application/problem+json")
    body = answer.json
    assert {key: body[key] for key in ("code", "status", "detail", "job_id", "job_status", "request_id")} == {
        "code": code, "status": status, "detail": f"What to do about {code}.", "job_id": job.job_id,
        "job_status": state, "request_id": "request-7",
    }  # fmt: skip
    assert "Retry-After" not in answer.headers


def test_a_completed_result_has_its_clips(world: World) -> None:
    """Every field of the contract, and URLs that are made for this answer and live for an hour."""
    job = world.completed(n_variants=2)
    world.clock.advance(hours=5)
    answer = world.get("result", job.job_id)
    body = answer.json
    assert answer.status == 200
    assert body.keys() == {"job_id", "status", "num_videos", "warning", "videos"}
    assert (body["job_id"], body["status"], body["num_videos"], body["warning"]) == (job.job_id, "completed", 2, None)
    for index, clip in enumerate(body["videos"]):
        assert clip.keys() == CLIP_FIELDS
        assert clip["filename"] == f"video_{job.job_id}_{index}.mp4"
        assert clip["file_path"] == f"user_ada/videos/{job.job_id}/{index}.mp4"
        assert clip["file_url_expires_at"] == "2026-11-20T15:00:00.000Z"
        assert (clip["file_size"], clip["content_type"]) == (len(VIDEO) + 12, "video/mp4")
        assert (clip["width"], clip["height"], clip["n_seconds"]) == (480, 480, 5)
        assert (clip["output_id"], clip["placeholder"]) == (f"gen_task_1_{index}", False)
        assert len(clip["digest"]) == 64
        check_signed(clip["file_url"], clip["file_path"])
        check_signed(clip["thumbnail_url"], f"user_ada/videos/{job.job_id}/{index}.jpg")
    assert world.clips.content(f"user_ada/videos/{job.job_id}/0.jpg") == PICTURE


def check_signed(url: str, path: str) -> None:
    parts = urlsplit(url)
    assert parts.path == f"/{path}"
    query = parse_qs(parts.query)
    assert (query["sp"], query["se"]) == (["r"], ["2026-11-20T15:00:00.000Z"])


def test_a_missing_thumbnail_is_null(world: World) -> None:
    """And nothing else is missing."""
    job = world.downloading()
    world.provider.thumbnails.clear()
    world.settle(job, kept=[world.keep(job)])
    (clip,) = world.get("result", job.job_id).json["videos"]
    assert (clip["thumbnail_url"], clip["placeholder"]) == (None, False)
    assert clip["file_url"].startswith("https://memory.invalid/")


def test_a_result_with_fewer_clips_has_a_warning(world: World) -> None:
    """As many as there are, and no URL that is null."""
    job = world.completed(outputs=2, n_variants=4)
    body = world.get("result", job.job_id).json
    assert (body["num_videos"], len(body["videos"])) == (2, 2)
    assert body["warning"] == "The provider made 2 of the 4 videos asked for."
    assert all(clip["file_url"] for clip in body["videos"])


def test_a_failed_download_is_shown_with_placeholders(world: World) -> None:
    """200: the clip that is there as it is, for the other one a playable placeholder, and when it is tried again."""
    job = world.download_failed(n_variants=2, lost=(0,))
    answer = world.get("result", job.job_id)
    body = answer.json
    assert (answer.status, body["status"], body["num_videos"]) == (200, "download_failed", 2)
    assert "placeholder" in body["warning"]
    assert (body["task_id"], body["output_ids"]) == ("task_1", ["gen_task_1_0", "gen_task_1_1"])
    assert body["next_attempt_at"] == "2026-11-20T09:05:00.000Z"
    assert body["error"]["code"] == "content_not_ready"
    missing, there = body["videos"]
    assert missing.keys() == there.keys() == CLIP_FIELDS
    assert (missing["placeholder"], there["placeholder"]) == (True, False)
    assert (missing["output_id"], missing["digest"], missing["thumbnail_url"]) == ("gen_task_1_0", None, None)
    assert urlsplit(missing["file_url"]).path == f"/{placeholder.CARDS['videos'].path}"
    assert missing["file_size"] == len(world.clips.content(placeholder.CARDS["videos"].path))
    assert urlsplit(there["file_url"]).path == f"/user_ada/videos/{job.job_id}/1.mp4"


# content


@pytest.mark.parametrize("state", UNFINISHED)
def test_content_is_a_stable_link_from_the_first_second(world: World, state: str) -> None:
    """302 to the placeholder while the file is not there, with the status and when to come again."""
    job = STATES[state](world)
    answer = world.get("content", job.job_id)
    assert (answer.status, answer.raw) == (302, b"")
    assert urlsplit(answer.headers["Location"]).path == f"/{placeholder.CARDS['videos'].path}"
    assert answer.headers["X-Job-Status"] == state
    assert int(answer.headers["Retry-After"]) >= 3
    assert world.clips.content(placeholder.CARDS["videos"].path)[4:8] == b"ftyp"


def test_content_of_a_completed_job_is_its_clip(world: World) -> None:
    """302 to a URL made for this request, without Retry-After."""
    job = world.completed(n_variants=2)
    world.clock.advance(hours=5)
    for index, query in enumerate([None, {"index": "1"}]):
        answer = world.get("content", job.job_id, query=query)
        assert (answer.status, answer.headers["X-Job-Status"]) == (302, "completed")
        check_signed(answer.headers["Location"], f"user_ada/videos/{job.job_id}/{index}.mp4")
        assert "Retry-After" not in answer.headers


def test_content_leads_to_each_clip_as_soon_as_it_is_there(world: World) -> None:
    """The kept output of a job whose other one is missing."""
    job = world.download_failed(n_variants=2, lost=(0,))
    there = world.get("content", job.job_id, query={"index": "1"})
    assert urlsplit(there.headers["Location"]).path.endswith("/1.mp4")
    missing = world.get("content", job.job_id, query={"index": "0"})
    assert urlsplit(missing.headers["Location"]).path == f"/{placeholder.CARDS['videos'].path}"


def test_an_output_that_will_never_be_is_a_404(world: World) -> None:
    """More than asked for, more than made, or deleted by the provider: the problem says which ones there are."""
    asked, made = world.generating(n_variants=2), world.completed(outputs=1, n_variants=2)
    assert world.get("content", asked.job_id, query={"index": "1"}).status == 302
    for job, indexes in ((asked, "0, 1"), (made, "0")):
        answer = world.get("content", job.job_id, query={"index": "2"})
        assert (answer.status, answer.json["code"]) == (404, "output_not_found")
        assert answer.json["detail"] == f"The job has no output 2; there is index {indexes}."
    assert world.get("content", made.job_id, query={"index": "1"}).status == 404


def test_the_output_that_expired_is_named_as_missing(world: World) -> None:
    """Of two outputs the first was deleted by the provider: the second one is still there under its own number."""
    job = world.downloading(n_variants=2)
    expired = {"index": 0, "fault": refusal("content_expired").fault.to_dict()}
    world.settle(job, kept=[expired, world.keep(job, 1)])
    assert world.get("content", job.job_id).json["detail"] == "The job has no output 0; there is index 1."
    assert world.get("content", job.job_id, query={"index": "1"}).status == 302


@pytest.mark.parametrize("index", ["-1", "x", "1.0", "100", "1e1", "٣", "²", "9" * 5000, " 1"])
def test_a_malformed_index_is_refused(world: World, index: str) -> None:
    """400 names the field and the range."""
    answer = world.get("content", world.completed().job_id, query={"index": index})
    assert (answer.status, answer.json["errors"]) == (
        400,
        [{"field": "index", "message": "must be a whole number from 0 to 99"}],
    )


# everywhere


def test_no_answer_ever_holds_a_management_url(world: World) -> None:
    """Durable's own URLs carry a system key; only our own routes are told."""
    texts: list[Any] = []
    for make in STATES.values():
        job = make(world)
        texts += [world.get(what, job.job_id).raw for what in ("status", "result")]
    texts.append(world.gallery().raw)
    assert not any(b"runtime/webhooks" in text or b"code=" in text for text in texts)
