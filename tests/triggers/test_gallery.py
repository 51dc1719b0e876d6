"""GET the gallery: an owner's jobs, newest first, in pages."""

from __future__ import annotations

from datetime import timedelta

import azure.functions as func
import pytest
from world import HOST, START, Answer, World

from reelkeeper.model import Job
from triggers.answers import answering
from triggers.jobs import get_gallery


def some_jobs(world: World, number: int) -> list[Job]:
    jobs = []
    for _ in range(number):
        world.clock.advance(seconds=1)
        jobs.append(world.record())
    return jobs[::-1]


def test_the_gallery_is_newest_first_in_pages(world: World) -> None:
    """All jobs once, in order, `next_cursor` null at the end."""
    expected = [job.job_id for job in some_jobs(world, 7)]
    world.record(owner="bob")
    found: list[str] = []
    query: dict[str, str] = {"limit": "3"}
    sizes = []
    while True:
        body = world.gallery(**query).json
        assert body.keys() == {"items", "next_cursor"}
        found += [item["job_id"] for item in body["items"]]
        sizes.append(len(body["items"]))
        if body["next_cursor"] is None:
            break
        query["cursor"] = body["next_cursor"]
    assert (found, sizes) == (expected, [3, 3, 1])


def test_the_gallery_gives_twenty_unless_told(world: World) -> None:
    """A default that a page can show, and a hundred at most."""
    some_jobs(world, 25)
    assert len(world.gallery().json["items"]) == 20
    assert len(world.gallery(limit="100").json["items"]) == 25
    assert len(world.gallery(limit="1").json["items"]) == 1


def test_gallery_items_are_status_bodies_with_urls_when_completed(world: World) -> None:
    """Only a completed job has a file; its URLs are fresh."""
    done, open_ = world.completed(), world.download_failed()
    world.clock.moment = START + timedelta(hours=5)
    items = {item["job_id"]: item for item in world.gallery().json["items"]}
    until = START + timedelta(hours=6)
    assert items[done.job_id] == world.get("status", done.job_id).json | {
        "file_url": world.clips.signed_url(f"user_ada/videos/{done.job_id}/0.mp4", until),
        "thumbnail_url": world.clips.signed_url(f"user_ada/videos/{done.job_id}/0.jpg", until),
    }
    nothing = {"file_url": None, "thumbnail_url": None}
    assert items[open_.job_id] == world.get("status", open_.job_id).json | nothing


def test_the_gallery_can_be_narrowed_to_a_status(world: World) -> None:
    """Paging goes on within the status."""
    done = [world.completed().job_id for _ in range(3)]
    world.generating()
    first = world.gallery(status="completed", limit="2").json
    rest = world.gallery(status="completed", limit="2", cursor=first["next_cursor"]).json
    assert {item["job_id"] for item in first["items"] + rest["items"]} == set(done)
    assert rest["next_cursor"] is None
    assert world.gallery(status="expired").json == {"items": [], "next_cursor": None}


def test_nobody_sees_another_s_gallery(world: World) -> None:
    """Not by default either."""
    world.completed()
    for owner in ("bob", None, "ADA"):
        assert world.gallery(owner=owner).json == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("query", "field"),
    [({"limit": "0"}, "limit"), ({"limit": "101"}, "limit"), ({"limit": "ten"}, "limit"), ({"limit": "-1"}, "limit"),
     ({"status": "done"}, "status"), ({"status": "Completed"}, "status"), ({"cursor": "x"}, "cursor"),
     ({"cursor": "ZZZZ"}, "cursor"), ({"cursor": "\ud800"}, "cursor"), ({"cursor": "é"}, "cursor"),
     ({"user_id": "bob"}, "user_id")],
)  # fmt: skip
def test_a_malformed_gallery_query_is_refused(world: World, query: dict[str, str], field: str) -> None:
    """400 names the field, and for a status the known ones."""
    request = func.HttpRequest("GET", f"{HOST}/videos/user", headers={"x-user-id": "ada"}, params=query, body=b"")
    answer = Answer(answering(get_gallery)(world.services, request, "videos"))
    assert (answer.status, answer.json["code"], answer.json["errors"][0]["field"]) == (400, "invalid_request", field)
    if field == "status":
        assert "download_failed" in answer.json["errors"][0]["message"]


def test_a_cursor_of_another_owner_shows_nothing_of_theirs(world: World) -> None:
    """A cursor is a place in a list, no key to it."""
    some_jobs(world, 5)
    cursor = world.gallery(limit="2").json["next_cursor"]
    assert world.gallery(owner="bob", cursor=cursor).json["items"] == []
