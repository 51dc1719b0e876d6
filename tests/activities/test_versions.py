"""What an earlier version has left in histories and records, or writes while workers of both run."""

from __future__ import annotations

from dataclasses import replace

from world import World


def test_a_keep_of_the_previous_version_does_not_take_the_preview_for_the_video(world: World) -> None:
    """`part: "video"` is scheduled by the version before, also while workers of both run: it means the output."""
    job = world.downloading()
    staged = world.download(job, part="video")
    world.settle(job, kept=[{"index": 0, **world.store(job, staged, part="video"), "thumbnail": None}])
    done = world.now_as(job)
    assert (done.status, done.clips[0].content_type) == ("completed", "video/mp4")


def test_blocks_that_the_previous_version_staged_are_stored(world: World) -> None:
    """Its answers told no media type; they stand in histories that this version goes on with."""
    job = world.downloading()
    for part in ("output", "thumbnail"):
        staged = world.download(job, part=part)
        del staged["media_type"]
        assert "clip" in world.store(job, staged, part=part)


def test_a_record_that_an_old_worker_wrote_back_still_has_its_pictures(world: World) -> None:
    """A version that knows no `staged` drops it: the marks in storage still tell."""
    world.with_images()
    job = world.record_image()
    world.create(job)
    now = world.now_as(job)
    world.force(job, outputs=tuple(replace(output, staged=None) for output in now.outputs))
    assert "clip" in world.keep(job, 0)
