"""Views: links on the caller's own address, bodies that follow the record."""

from __future__ import annotations

from datetime import timedelta

import pytest
from world import World

from triggers.views import Links, gallery_item, result_body, retry_after, status_body


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://localhost:7071/api/videos/generate", "http://localhost:7071/api/videos"),
        ("https://films.example/videos/user?limit=3", "https://films.example/videos"),
        ("https://[::1]:7071/api/videos/j/status", "https://[::1]:7071/api/videos"),
        ("https://x.example/deep/er/api/videos/j/content?index=1#top", "https://x.example/deep/er/api/videos"),
        ("https://x.example/videos/api/videos/j/status", "https://x.example/videos/api/videos"),
        ("https://x.example/API/VIDEOS/j/status?code=KEY", "https://x.example/API/videos"),
    ],
)
def test_links_stay_on_the_host_and_prefix_of_the_request(url: str, base: str) -> None:
    """Absolute URLs that the caller can reach, without what was in its query."""
    assert Links(url, "videos").of("j") == {
        "status_url": f"{base}/j/status", "result_url": f"{base}/j/result", "content_url": f"{base}/j/content",
    }  # fmt: skip


def test_images_have_the_same_shape_under_their_own_name(world: World) -> None:
    """The kind is in the URLs and in the names of the result's fields, nowhere else."""
    job = world.force(world.completed(), kind="images")
    links = Links("https://films.example/api/images/j/status", "images")
    assert (
        status_body(job, links, world.clock.now())["content_url"]
        == f"https://films.example/api/images/{job.job_id}/content"
    )
    body = result_body(job, world.services)
    assert (body["num_images"], len(body["images"])) == (1, 1)
    assert body["images"][0]["filename"].startswith(f"image_{job.job_id}_0.")


def test_a_status_is_a_pure_function_of_the_record(world: World) -> None:
    """Its ETag holds for as long as the record does not change: no clock, no signature in it."""
    job = world.completed()
    links = Links("https://films.example/api/videos/j/status", "videos")
    before = status_body(job, links, world.clock.now())
    world.clock.advance(hours=1)
    assert status_body(job, links, world.clock.now()) == before
    assert "sig=" not in str(before)


def test_signed_urls_are_made_anew_each_time(world: World) -> None:
    """Each answer's URLs live for an hour from then; none is stored in the record."""
    job = world.completed()
    first = result_body(job, world.services)["videos"][0]
    world.clock.advance(minutes=10)
    second = result_body(job, world.services)["videos"][0]
    assert first["file_url"] != second["file_url"]
    assert (first["file_url_expires_at"], second["file_url_expires_at"]) == (
        "2026-11-20T10:00:00.000Z",
        "2026-11-20T10:10:00.000Z",
    )
    assert "sig=" not in str(world.now_as(job).to_dict())


def test_a_gallery_item_is_a_status_and_two_urls(world: World) -> None:
    """Of several clips the first one stands for the job."""
    job = world.completed(n_variants=2)
    links = Links("https://films.example/api/videos/user", "videos")
    item = gallery_item(job, links, world.services)
    assert item.items() >= status_body(job, links, world.clock.now()).items()
    assert f"/{job.job_id}/0.mp4?" in item["file_url"]
    assert f"/{job.job_id}/0.jpg?" in item["thumbnail_url"]


@pytest.mark.parametrize(
    ("minutes", "next_attempt", "seconds"),
    [(0, None, "3"), (0, 50, "50"), (0, -10, "3"), (0, 90_000, "3600"), (3, None, "18"), (60, None, "30")],
)
def test_retry_after_in_numbers(world: World, minutes: float, next_attempt: float | None, seconds: str) -> None:
    """The pipeline's own interval, or the rest of its wait where that is longer."""
    job = world.record()
    world.clock.advance(minutes=minutes)
    now = world.clock.now()
    if next_attempt is not None:
        job = world.force(job, next_attempt_at=now + timedelta(seconds=next_attempt))
    assert retry_after(job, now) == {"Retry_After": seconds}
