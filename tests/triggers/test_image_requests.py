"""POST generate for images: the words that this kind has of its own, and that the two kinds do not mix."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import HOST, Answer, World

from reelkeeper import policy
from reelkeeper.errors import RequestRefused
from reelkeeper.model import Job, JobRequest
from reelkeeper.providers.openai_images import DALL_E, GPT_IMAGE, GPT_IMAGE_2, OTHERS
from reelkeeper.records.base import Watch
from triggers.bodies import MODELS, ImageBody, read_body, to_request

BODY = {"prompt": "a lighthouse"}


@pytest.fixture
def world() -> World:
    """An app that makes videos, and images with a model of the newer sort."""
    world = World()
    world.with_images().abilities = GPT_IMAGE_2
    return world


def post(world: World, **headers: Any) -> Answer:
    fields = {name: value for name, value in headers.items() if name not in ("idempotency_key", "x_user_id")}
    named = {name: value for name, value in headers.items() if name in ("idempotency_key", "x_user_id")}
    return world.post(BODY | fields, "images", **named)


def jobs_of(world: World, kind: str = "images", owner: str = "default") -> list[Job]:
    return world.jobs.page(owner, kind, limit=100)[0]


def request_of(world: World, **fields: Any) -> JobRequest:
    """What is recorded for a body."""
    answer = post(world, **fields)
    assert answer.status == 202, answer.json
    return jobs_of(world)[0].request


def refusal(world: World, **fields: Any) -> dict[str, str]:
    answer = post(world, idempotency_key="k1", **fields)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert (jobs_of(world), world.watched(), world.client.started) == ([], {}, [])
    assert world.idempotency.get("default", "k1") is None
    return {error["field"]: error["message"] for error in answer.json["errors"]}


def test_a_request_becomes_a_job_of_its_kind(world: World) -> None:
    """202 with the links of the kind's own routes; record, watchdog row and start as for a video."""
    answer = post(world, x_user_id="ada")
    (job,) = jobs_of(world, owner="ada")
    urls = {f"{name}_url": f"{HOST}/images/{job.job_id}/{name}" for name in ("status", "result", "content")}
    assert answer.json == {
        "job_id": job.job_id, "status": "pending", "created_at": "2026-11-20T09:00:00.000Z", **urls,
    }  # fmt: skip
    assert answer.headers["Location"] == urls["status_url"]
    assert (job.kind, job.provider, jobs_of(world, "videos", "ada")) == ("images", "image", [])
    assert world.watched()[job.job_id] == Watch(job.job_id, "ada", "images", job.created_at + policy.START_GRACE)
    assert world.client.started == [("render", job.job_id, {"owner": "ada", "job_id": job.job_id})]


def test_only_the_prompt_is_needed_for_an_image(world: World) -> None:
    """One square of 1024; format, quality and background are the provider's choice."""
    model = world.services.providers["image"].model
    assert request_of(world) == JobRequest("a lighthouse", 1024, 1024, 0, 1, model)


def test_everything_asked_for_is_recorded(world: World) -> None:
    """In the words of the videos dialect or of the images dialect."""
    asked = {"output_format": "webp", "quality": "low", "background": "transparent", "metadata": {"tag": "x"}}
    ours = request_of(world, width=1536, height=1024, n_variants=3, **asked)
    theirs = request_of(world, size="1536x1024", n=3, **asked)
    assert ours == theirs
    assert (ours.width, ours.height, ours.n_variants, ours.n_seconds) == (1536, 1024, 3, 0)
    assert (ours.output_format, ours.quality, ours.background) == ("webp", "low", "transparent")


def test_the_size_may_be_left_to_the_provider(world: World) -> None:
    """0 x 0 stands for it in the record."""
    request = request_of(world, size="auto", n=2)
    assert (request.width, request.height, request.n_variants) == (0, 0, 2)


def test_a_size_by_rule_is_offered(world: World) -> None:
    """Newer models make any size within bounds."""
    assert request_of(world, size="2048x1152").width == 2048


def test_the_usual_size_is_one_that_the_provider_has(world: World) -> None:
    """Not everybody makes squares of 1024."""
    images: Any = world.services.providers["image"]
    images.abilities = replace(OTHERS, sizes=((512, 512),), size_rule=None)
    assert request_of(world).width == 512


ANY = "one of 1024x1024, 1024x1536, 1536x1024, or both sides a multiple of 16"
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    # name: (fields, field, words)
    "seconds": ({"n_seconds": 5}, "n_seconds", "not a known field; allowed: prompt, width, height, n_variants, model"),
    "input image": ({"input_image": {"url": "https://a/b"}}, "input_image", "is not a known field"),
    "callback": ({"callback_url": "https://a/b"}, "callback_url", "is not a known field"),
    "size as numbers": ({"size": [1024, 1024]}, "size", "must be a text"),
    "size in words": ({"size": "large"}, "size", "auto, or width and height such as 1024x1024"),
    "size of nothing": ({"size": "0x0"}, "size", "auto, or width and height"),
    "size with blanks": ({"size": "1024 x 1024"}, "size", "auto, or width and height"),
    "size in other digits": ({"size": "１024x1024"}, "size", "auto, or width and height"),
    "endless size": ({"size": "9" * 5000 + "x1"}, "size", "auto, or width and height"),
    "odd size": ({"size": "1000x1001"}, "size", f"1000x1001 is not offered; it must be {ANY}"),
    "odd sides": ({"width": 1000, "height": 1001}, "width", f"is not offered; width x height must be {ANY}"),
    "sides of nothing": ({"width": 0, "height": 0}, "width", "must be at least 1"),
    "only width": ({"width": 1024}, "height", "is needed together with width"),
    "size twice": ({"size": "1024x1024", "width": 1024, "height": 1024}, "size", "one or the other"),
    "size and width": ({"size": "1024x1024", "width": 1024}, "size", "one or the other"),
    "no image": ({"n": 0}, "n", "must be from 1 to 10 at 1024x1024"),
    "too many": ({"n_variants": 11}, "n_variants", "must be from 1 to 10"),
    "too many in other words": ({"n": 11, "size": "auto"}, "n", "must be from 1 to 10"),
    "two numbers": ({"n": 2, "n_variants": 3}, "n", "differs from n_variants"),
    "number as text": ({"n": "2"}, "n", "must be a whole number"),
    "gif": ({"output_format": "gif"}, "output_format", "must be one of png, jpeg, webp"),
    "empty format": ({"output_format": ""}, "output_format", "must be one of png, jpeg, webp"),
    "jpg": ({"output_format": "jpg"}, "output_format", "must be one of png, jpeg, webp"),
    "quality": ({"quality": "best"}, "quality", "must be one of auto, low, medium, high"),
    "quality in sentences": ({"quality": "as good as can be"}, "quality", "a word of at most 32"),
    "empty quality": ({"quality": ""}, "quality", "a word of at most 32"),
    "background": ({"background": "green"}, "background", "must be one of auto, transparent, opaque"),
    "transparent jpeg": ({"background": "transparent", "output_format": "jpeg"}, "background", "png or webp"),
    "another's model": ({"model": "sora"}, "model", "'sora' is not offered"),
    "another kind's provider": ({"provider": "sora"}, "provider", "'sora' is not configured; allowed: image"),
    "long prompt": ({"prompt": "x" * 32_001}, "prompt", "at most 32000"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_refused_and_leaves_nothing(world: World, name: str) -> None:
    """400 with the field that the caller gave, and what is allowed there."""
    fields, field, words = WRONG[name]
    found = refusal(world, **fields)
    assert words in found[field]


def test_what_the_model_cannot_do_is_told_where_it_was_said(world: World) -> None:
    """All at once: an older model takes no auto size, no second image, and no low quality."""
    images: Any = world.services.providers["image"]
    images.abilities = DALL_E
    sizes = "1024x1024, 1792x1024, 1024x1792"
    assert refusal(world, size="auto", quality="low", output_format="webp") == {
        "size": f"auto is not offered; it must be one of {sizes}",
        "quality": "must be one of standard, hd",
        "output_format": "must be one of png",
    }
    assert refusal(world, n=2) == {"n": "must be from 1 to 1 at 1024x1024"}


def test_a_server_that_nobody_documents_may_have_words_of_its_own(world: World) -> None:
    """Only the shape of a word is checked then."""
    images: Any = world.services.providers["image"]
    images.abilities = OTHERS
    assert request_of(world, quality="ultra-2").quality == "ultra-2"


def test_without_an_image_provider_no_image_can_be_generated() -> None:
    """503 names the settings of the kind, although videos could be made; and the other way round."""
    world = World()
    answer = world.post(BODY, "images")
    assert (answer.status, answer.json["code"]) == (503, "no_provider")
    assert "IMAGE_ENDPOINT and IMAGE_API_KEY, or PROVIDERS" in answer.json["detail"]
    world.with_images()
    del world.services.providers["sora"]
    assert "AZURE_SORA_ENDPOINT" in world.post(BODY).json["detail"]
    assert world.post(BODY, "images").status == 202


def test_videos_do_not_know_the_words_of_images(world: World) -> None:
    """What has no meaning for a video is refused, not passed over."""
    for field in ("size", "n", "output_format", "quality", "background"):
        answer = world.post(BODY | {field: None})
        assert (answer.status, answer.json["errors"][0]["field"]) == (400, field)


# Idempotency


def test_the_same_image_in_other_words_is_the_same_body(world: World) -> None:
    """Size and number in either form, defaults and nulls written out."""
    first = post(world, idempotency_key="k1")
    for same in ({"size": "1024x1024"}, {"width": 1024, "height": 1024}, {"n": 1}, {"n": 1, "n_variants": 1},
                 {"quality": None, "size": None}):  # fmt: skip
        again = post(world, idempotency_key="k1", **same)
        assert (again.status, again.json) == (200, first.json)
    assert len(jobs_of(world)) == 1


@pytest.mark.parametrize(
    "change", [{"size": "auto"}, {"n": 2}, {"quality": "low"}, {"background": "opaque"}, {"output_format": "png"}]
)
def test_another_image_is_another_body(world: World, change: dict[str, Any]) -> None:
    """422, for every word that changes the result."""
    post(world, idempotency_key="k1")
    assert post(world, idempotency_key="k1", **change).status == 422


def test_a_key_of_a_video_is_not_free_for_an_image(world: World) -> None:
    """One owner's keys are one set: the same prompt for both kinds is two wishes."""
    assert world.post(BODY, idempotency_key="k1").status == 202
    assert post(world, idempotency_key="k1").status == 422


# Any JSON


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["auto", "512x512", "png"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from([*ImageBody.model_fields, "extra"])


@settings(deadline=None)
@given(st.dictionaries(FIELDS, VALUES, max_size=6), st.text(min_size=1), st.sampled_from([DALL_E, GPT_IMAGE, OTHERS]))
def test_no_values_break_the_image_reader(fields: dict[str, Any], prompt: str, abilities: Any) -> None:
    """Any JSON in any field becomes a request within the provider's limits, or a 400 that names fields."""
    provider = World().with_images()
    provider.abilities = abilities
    raw = json.dumps({"prompt": prompt} | fields).encode()
    try:
        request = to_request(read_body("application/json", raw, "images"), provider)
    except RequestRefused as refused:
        found = refused
    else:
        assert provider.abilities.refusals(request) == ()
        assert (request.n_seconds, request.input_image) == (0, None)
        return
    assert found.status == 400
    assert found.errors
    assert all(error.field and error.message for error in found.errors)


def test_both_kinds_refuse_what_they_do_not_know() -> None:
    """A new field must be added to a model before it can be sent."""
    for kind, model in MODELS.items():
        with pytest.raises(RequestRefused) as caught:
            read_body("", b'{"prompt": "a", "pormpt": "b"}', kind)
        assert caught.value.errors[0].message.endswith(", ".join(model.model_fields))
