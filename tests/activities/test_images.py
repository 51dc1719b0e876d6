"""Images: the answer of the create holds them. Whatever breaks off, what arrived is kept, and none is paid twice."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from world import START, World

from reelkeeper import model, policy
from reelkeeper.errors import RecordConflict
from reelkeeper.model import Job
from reelkeeper.providers.memory import PNG, MemoryImages, refusal

GRACE = timedelta(minutes=5)
WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8 " + bytes(40)


@pytest.fixture
def images(world: World) -> MemoryImages:
    return world.with_images()


class Crash(Exception):
    """The worker dies here."""


def die_before_the_task_is_written(world: World) -> None:
    save = world.jobs.save

    def save_no_task(job: Job) -> Job:
        if job.task_id:
            world.jobs.save = save  # type: ignore[method-assign]
            raise Crash
        return save(job)

    world.jobs.save = save_no_task  # type: ignore[method-assign]


def die_at_stage(world: World, number: int) -> None:
    """Die at the `number`-th block that is staged from now on."""
    stage, calls = world.clips.stage, iter(range(1_000))

    def stage_or_die(path: str, block_id: str, data: bytes) -> None:
        if next(calls) == number:
            world.clips.stage = stage  # type: ignore[method-assign]
            raise Crash
        stage(path, block_id, data)

    world.clips.stage = stage_or_die  # type: ignore[method-assign]


def crash(world: World, job: Job) -> None:
    with pytest.raises(Crash):
        world.create(job)


def keep_all(world: World, job: Job) -> Job:
    """The rest of the job's life, as `render` leads it."""
    count = len(world.now_as(job).outputs)
    world.settle(job, kept=[world.keep(job, index) for index in range(count)])
    return world.now_as(job)


def test_the_pictures_of_an_answer_are_staged_and_then_stored(world: World, images: MemoryImages) -> None:
    """No bytes in the record, one commit per picture, and nothing to watch."""
    job = world.record_image(n_variants=3)
    assert world.create(job) == {"next": "keep", "outputs": 3}
    held = world.now_as(job)
    assert (held.status, held.stage, held.creates) == (model.DOWNLOADING, "downloading", 1)
    assert held.task_id == f"image_{held.submit_run}"
    assert [output.output_id for output in held.outputs] == [f"{held.task_id}_{index}" for index in range(3)]
    assert len(json.dumps(held.to_dict())) < 4_000
    assert world.clips.find(f"user_ada/images/{job.job_id}/0.png") is None
    done = keep_all(world, job)
    assert (done.status, done.warning, len(images.submitted)) == (model.COMPLETED, None, 1)
    assert [clip.path.rpartition("/")[2] for clip in done.clips] == ["0.png", "1.png", "2.png"]
    assert [world.clips.content(clip.path) for clip in done.clips] == [
        PNG + f"1-{index}".encode() for index in range(3)
    ]
    assert {clip.thumbnail_path for clip in done.clips} == {None}


def test_creating_again_and_again_pays_once(world: World, images: MemoryImages) -> None:
    """Every later run finds the outputs in the record."""
    job = world.record_image(n_variants=2)
    assert [world.create(job) for _ in range(3)] == [{"next": "keep", "outputs": 2}] * 3
    assert len(images.submitted) == 1


def test_a_picture_is_named_by_what_it_is(world: World, images: MemoryImages) -> None:
    """Some servers ignore the format that was asked for; the blob tells the truth."""
    images.oddities = [WEBP]
    job = world.record_image(output_format="jpeg")
    world.create(job)
    (clip,) = keep_all(world, job).clips
    assert (clip.path.rpartition("/")[2], clip.content_type) == ("0.webp", "image/webp")


def test_an_answer_with_fewer_pictures_completes_with_a_warning(world: World, images: MemoryImages) -> None:
    """They are paid for, and what is missing is told."""
    images.makes = 2
    job = world.record_image(n_variants=4)
    world.create(job)
    done = keep_all(world, job)
    assert (done.status, done.warning) == ("completed", "The provider made 2 of the 4 images asked for.")


def test_a_worker_that_dies_with_the_pictures_in_storage_loses_none(world: World, images: MemoryImages) -> None:
    """The next run waits until the POST must be over, and finds them by their marks."""
    job = world.record_image(n_variants=2)
    die_before_the_task_is_written(world)
    crash(world, job)
    assert world.create(job) == {"next": "wait", "seconds": GRACE.total_seconds()}
    assert world.watched()[job.job_id].due == START + GRACE + policy.STEP_GRACE
    world.clock.advance(seconds=300)
    assert world.create(job) == {"next": "keep", "outputs": 2}
    done = keep_all(world, job)
    assert (done.status, len(done.clips), len(images.submitted), done.creates) == ("completed", 2, 1, 1)


@pytest.mark.parametrize(("number", "whole"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_only_whole_pictures_survive_a_crash_in_the_middle(
    world: World, images: MemoryImages, number: int, whole: int
) -> None:
    """Each is a block and a mark here; half a picture is never committed, a whole one never lost."""
    job = world.record_image(n_variants=3)
    die_at_stage(world, number)
    crash(world, job)
    world.clock.advance(seconds=300)
    answer = world.create(job)
    if not whole:
        assert (answer, world.now_as(job).status) == ({"next": "stop"}, model.SUBMIT_UNKNOWN)
        return
    assert answer == {"next": "keep", "outputs": whole}
    done = keep_all(world, job)
    assert (done.status, len(done.clips), len(images.submitted)) == ("completed", whole, 1)
    assert done.warning == f"The provider made {whole} of the 3 images asked for."


@pytest.mark.parametrize("arrived", [1, 2])
def test_an_answer_that_breaks_off_is_settled_at_once_with_what_arrived(
    world: World, images: MemoryImages, arrived: int
) -> None:
    """There is no list to wait for: what is in storage is all that will ever be known."""
    images.lose_after = arrived
    job = world.record_image(n_variants=3)
    assert world.create(job) == {"next": "wait", "seconds": 0}
    assert world.now_as(job).stage == "reconciling"
    assert world.create(job) == {"next": "keep", "outputs": arrived}
    assert len(keep_all(world, job).clips) == arrived
    assert len(images.submitted) == 1


def test_an_answer_that_is_lost_whole_is_parked(world: World, images: MemoryImages) -> None:
    """It may be paid for, and nobody can be asked: a person has to look. Nothing is submitted again, ever."""
    images.lose_after = 0
    job = world.record_image()
    world.create(job)
    assert world.create(job) == {"next": "stop"}
    now = world.now_as(job)
    assert (now.status, now.fault and now.fault.code) == (model.SUBMIT_UNKNOWN, "submit_unknown")
    for _ in range(30):
        world.clock.advance(hours=1)
        assert world.create(job) == {"next": "stop"}
    assert len(images.submitted) == 1


def test_a_lost_answer_is_paid_for_again_only_by_explicit_setting(world: World, images: MemoryImages) -> None:
    """Whoever prefers a second bill to a parked job says so."""
    images.lose_after, images.resubmits = 0, True
    job = world.record_image()
    assert [world.create(job)["next"] for _ in range(3)] == ["wait", "wait", "keep"]
    assert (len(images.submitted), keep_all(world, job).status) == (2, "completed")


def test_what_arrived_is_kept_also_where_lost_creates_are_made_again(world: World, images: MemoryImages) -> None:
    """A picture in storage is no lost answer."""
    images.lose_after, images.resubmits = 1, True
    job = world.record_image(n_variants=2)
    world.create(job)
    assert world.create(job) == {"next": "keep", "outputs": 1}
    assert len(images.submitted) == 1


def test_a_refusal_that_time_heals_waits(world: World, images: MemoryImages) -> None:
    """As for videos: the provider said that it made nothing."""
    images.planned["submit"] = [refusal("rate_limited", retry_after=9), refusal("provider_error")]
    job = world.record_image()
    for seconds in (20, 5):
        assert world.create(job) == {"next": "wait", "seconds": seconds}
        world.clock.advance(seconds=seconds)
    assert world.create(job) == {"next": "keep", "outputs": 1}
    assert len(images.submitted) == 1


def test_a_refused_prompt_ends_the_job(world: World, images: MemoryImages) -> None:
    """Never the same prompt again."""
    images.planned["submit"] = [refusal("moderation_output")]
    answer = world.create(world.record_image())
    assert (answer["next"], answer["fault"]["code"], images.submitted) == ("settle", "moderation_output", [])


def test_blocks_that_storage_lost_before_their_commit_are_told(world: World, images: MemoryImages) -> None:
    """The picture cannot be had again, so the job is expired, not retried for ever."""
    job = world.record_image()
    world.create(job)
    world.clips.drop_blocks()
    failed = world.download(job)
    assert (failed["fault"]["code"], failed["again"]) == ("content_expired", False)
    assert keep_all(world, job).status == model.EXPIRED


# Addresses in place of files


def test_a_picture_behind_an_address_is_fetched_as_a_video_is(world: World, images: MemoryImages) -> None:
    """With every retry, until the hour is over that such an address lives."""
    images.by_address = True
    job = world.record_image(n_variants=2)
    assert world.create(job) == {"next": "keep", "outputs": 2}
    assert world.now_as(job).expires_at == START + timedelta(hours=1)
    images.planned["open_output"] = [refusal("content_not_ready")]
    assert world.download(job)["again"]
    done = keep_all(world, job)
    assert (done.status, len(done.clips), len(images.submitted)) == ("completed", 2, 1)


def test_an_address_stays_between_us_and_the_provider(
    world: World, images: MemoryImages, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever knows it can fetch the picture: it is in no answer and no log."""
    caplog.set_level(logging.DEBUG)
    images.by_address = True
    job = world.record_image()
    world.create(job)
    images.files.clear()
    world.settle(job, kept=[world.keep(job)])
    status, result = world.get("status", job.job_id, kind="images"), world.get("result", job.job_id, kind="images")
    assert result.json["images"][0]["placeholder"] is True
    shown = f"{status.raw!r}{result.raw!r}{caplog.text}{world.now_as(job)!r}"
    assert "sig=secret" not in shown
    assert world.now_as(job).outputs[0].address


def test_an_address_that_ran_out_expires_the_job(world: World, images: MemoryImages) -> None:
    """After its hour nothing more is tried."""
    images.by_address = True
    job = world.record_image()
    world.create(job)
    images.files.clear()
    world.clock.advance(minutes=61)
    assert keep_all(world, job).status == model.EXPIRED


# Side by side with another run


def test_a_run_that_slept_through_the_grace_period_meets_its_own_pictures(world: World, images: MemoryImages) -> None:
    """Another run has adopted what had arrived: both end in the same outputs, and one create is paid for."""
    job = world.record_image(n_variants=2)
    submit, answers = images.submit, list[dict[str, Any]]()

    def submit_and_sleep(*given: Any) -> Any:
        task = submit(*given)
        world.clock.advance(seconds=301)
        answers.append(world.create(job))
        return task

    images.submit = submit_and_sleep  # type: ignore[method-assign]
    answers.append(world.create(job))
    assert answers == [{"next": "keep", "outputs": 2}] * 2
    done = keep_all(world, job)
    assert (len(done.clips), len(images.submitted), done.creates) == (2, 1, 1)


def test_a_run_that_may_not_post_any_more_waits_its_turn(world: World, images: MemoryImages) -> None:
    """Asleep between its write and its POST, it could still be posting when the next one reconciles."""
    job = world.record_image()
    save = world.jobs.save

    def save_and_sleep(job: Job) -> Job:
        saved = save(job)
        world.jobs.save = save  # type: ignore[method-assign]
        world.clock.advance(seconds=76)
        return saved

    world.jobs.save = save_and_sleep  # type: ignore[method-assign]
    assert world.create(job)["next"] == "wait"
    assert (images.submitted, world.now_as(job).status) == ([], model.QUEUED)


def test_a_conflict_after_the_answer_is_decided_anew(world: World, images: MemoryImages) -> None:
    """The write that names the task is repeated on the record as it then is."""
    job = world.record_image()
    save = world.jobs.save

    def save_after_a_conflict(job: Job) -> Job:
        if not job.task_id:
            return save(job)
        world.jobs.save = save  # type: ignore[method-assign]
        raise RecordConflict("somebody wrote")

    world.jobs.save = save_after_a_conflict  # type: ignore[method-assign]
    assert world.create(job) == {"next": "keep", "outputs": 1}
    assert len(images.submitted) == 1
