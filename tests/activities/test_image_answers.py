"""Odd answers to an image create, from the wire to the record: what is paid for is kept, and not paid for again."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import responses
from world import World

from reelkeeper.model import Job
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.providers.memory import PNG, MemoryImages
from reelkeeper.providers.openai_images import OpenAIImages

URL = "https://r.example/v1/images/generations"


@pytest.fixture
def real(world: World) -> World:
    """With the real adapter of images."""
    config = ProviderConfig(
        "image", "images", "openai-images", "https://r.example/v1", "", "key-123456", "gpt-image-2", auth="bearer",
        create_seconds=180.0,
    )  # fmt: skip
    world.services.providers["image"] = OpenAIImages(config, world.clock.now)
    return world


def live(world: World, job: Job) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    for _ in range(60):
        try:
            answer = world.create(job)
        except ValueError:
            world.clock.advance(seconds=5)
            continue
        if answer["next"] != "wait":
            break
        world.clock.advance(seconds=answer["seconds"] + 1)
    return answer


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, {"message": "Service Unavailable"}),
        (500, {"statusCode": 500, "message": "Internal server error", "activityId": "x"}),
        (
            500,
            {"error": {"message": "litellm.InternalServerError: OpenAIException - Connection error.", "code": "500"}},
        ),
        (500, {"error": {"message": "litellm.APIConnectionError: Server disconnected", "code": "500"}}),
    ],
    ids=["AWS HTTP API after 30 s", "API Management", "LiteLLM", "LiteLLM disconnected"],
)
def test_a_gateway_that_lost_the_server_behind_it_is_not_asked_again(real: World, status: int, body: Any) -> None:
    """The server behind goes on and charges: a second create is a second payment."""
    job = real.record_image()
    with responses.RequestsMock() as calls:
        calls.post(URL, status=status, json=body)
        live(real, job)
        assert len(calls.calls) == 1


def test_a_blind_second_create_is_the_last_and_never_goes_elsewhere(world: World) -> None:
    """`IMAGE_RESUBMIT_UNKNOWN` allows one more payment, not five, and none at the fallback."""
    images, backup = world.with_images(), MemoryImages(world.clock.now, "backup")
    images.resubmits, images.fallback = True, ("backup",)
    world.services.providers["backup"] = backup
    job = world.record_image()
    for _ in range(40):
        images.lose_after = backup.lose_after = 0
        answer = world.create(job)
        if answer["next"] != "wait":
            break
        world.clock.advance(seconds=answer["seconds"] + 1)
    assert (len(images.submitted), len(backup.submitted)) == (2, 0)


@pytest.mark.parametrize("more", [0, 2_000_000], ids=["small", "too large for a record"])
def test_a_picture_in_a_data_url_is_kept(real: World, more: int) -> None:
    """It is the file itself, under the name of an address; a large one would not even fit into the record."""
    job, data = real.record_image(), PNG + bytes(more)
    with responses.RequestsMock() as calls:
        calls.post(URL, json={"data": [{"url": "data:image/png;base64," + base64.b64encode(data).decode()}]})
        assert live(real, job)["next"] == "keep"
    clip = real.keep(job, 0)["clip"]
    assert real.clips.content(clip["path"]) == data


def test_addresses_that_have_arrived_are_not_lost(real: World) -> None:
    """The answer breaks off behind the first address; nothing of it is in storage yet, and nobody could ask later."""
    job = real.record_image(n_variants=2)
    whole = json.dumps({"data": [{"url": f"https://cdn.example/{index}.png?sig=1"} for index in range(2)]})
    with responses.RequestsMock() as calls:
        calls.post(URL, body=whole[: whole.index("/1.png")])
        assert live(real, job) == {"next": "keep", "outputs": 1}
