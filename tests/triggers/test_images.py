"""The routes of images: as those of videos, with pictures in the answers."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from world import World

from reelkeeper.model import Job
from triggers import placeholder


def completed(world: World, count: int = 1) -> Job:
    world.with_images()
    job = world.record_image(n_variants=count)
    world.create(job)
    world.settle(job, kept=[world.keep(job, index) for index in range(count)])
    return world.now_as(job)


def test_a_completed_job_shows_its_pictures(world: World) -> None:
    """The same fields as a video's; there is no length and no preview."""
    job = completed(world, 2)
    answer = world.get("result", job.job_id, kind="images")
    assert (answer.status, answer.json["status"], answer.json["num_images"]) == (200, "completed", 2)
    second = answer.json["images"][1]
    assert second["filename"] == f"image_{job.job_id}_1.png"
    assert second["file_path"] == f"user_ada/images/{job.job_id}/1.png"
    assert (second["content_type"], second["width"], second["height"]) == ("image/png", 1024, 1024)
    assert (second["n_seconds"], second["thumbnail_url"], second["placeholder"]) == (None, None, False)
    assert urlsplit(second["file_url"]).path == f"/user_ada/images/{job.job_id}/1.png"
    assert second["file_size"] == len(world.clips.content(second["file_path"]))


def test_a_kind_does_not_answer_for_the_other(world: World) -> None:
    """An image is no video, whoever asks; each has a gallery of its own."""
    job = completed(world)
    assert world.get("status", job.job_id, kind="videos").status == 404
    assert [item["job_id"] for item in world.gallery(kind="images").json["items"]] == [job.job_id]
    assert world.gallery(kind="videos").json["items"] == []
    assert world.gallery(kind="images").json["items"][0]["file_url"]


@pytest.mark.parametrize("index", [0, 1])
def test_content_leads_to_each_picture(world: World, index: int) -> None:
    """By its index, as for videos."""
    job = completed(world, 2)
    answer = world.get("content", job.job_id, kind="images", query={"index": str(index)})
    assert (answer.status, answer.headers["X-Job-Status"]) == (302, "completed")
    assert urlsplit(answer.headers["Location"]).path == f"/user_ada/images/{job.job_id}/{index}.png"


def test_content_is_a_stable_link_from_the_first_second(world: World) -> None:
    """Until the picture is there it leads to one that says so."""
    world.with_images()
    job = world.record_image(n_variants=2)
    answer = world.get("content", job.job_id, kind="images", query={"index": "1"})
    assert (answer.status, answer.headers["X-Job-Status"]) == (302, "pending")
    path = placeholder.CARDS["images"].path
    assert urlsplit(answer.headers["Location"]).path == f"/{path}"
    assert world.clips.content(path).startswith(b"\x89PNG")
    assert world.get("content", job.job_id, kind="images", query={"index": "2"}).status == 404


def test_links_stay_with_their_kind(world: World) -> None:
    """What status links to are routes of images."""
    job = completed(world)
    body = world.get("status", job.job_id, kind="images").json
    assert body["kind"] == "images"
    assert {body[name].split("/api/")[1] for name in ("status_url", "result_url", "content_url")} == {
        f"images/{job.job_id}/{name}" for name in ("status", "result", "content")
    }


def test_a_submission_without_an_answer_stays_open(world: World) -> None:
    """202 with the code that tells what to do: a person has to look."""
    images = world.with_images()
    images.lose_after = 0
    job = world.record_image()
    world.create(job)
    world.create(job)
    answer = world.get("result", job.job_id, kind="images")
    assert (answer.status, answer.json["status"], answer.json["error"]["code"]) == (
        202,
        "submit_unknown",
        "submit_unknown",
    )


def test_progress_grows_while_the_create_is_under_way(world: World) -> None:
    """The provider makes the pictures meanwhile and tells nothing, so it is an estimate, which never claims the end."""
    world.with_images()
    job = world.force(world.record_image(), status="submitting", stage="submitting", submitting_since=world.clock.now())
    seen = []
    for seconds in (0, 20, 40, 600):
        world.clock.advance(seconds=seconds)
        seen.append(world.get("status", job.job_id, kind="images").json["progress"])
    assert seen == sorted(set(seen))
    assert (seen[0], seen[-1] <= 90) == (10, True)
