"""GET providers, and what a request gets from the provider it names or does not name."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from world import START, Answer, World

from reelkeeper.providers.base import Terms
from reelkeeper.providers.memory import MemoryProvider
from reelkeeper.services import build_services
from triggers.answers import answering
from triggers.providers import get_providers

KEY = "k-51d0e7f3a4-secret"
WAN = {
    "name": "wan",
    "kind": "videos",
    "dialect": "openai-videos",
    "base_url": "http://gpu:8000/v1",
    "model": "Wan2.2",
    "api_key_setting": "WAN_KEY",
    "sizes": ["832x480"],
    "seconds": [4, 6],
    "max_running": 2,
    "creates_per_minute": 10,
    "retires_on": "2026-11-19",
    "prices": {"per_second": 0.1},
}
PAST = Terms(retires_on=date(2026, 11, 19))


def listed(world: World) -> Any:
    answer = Answer(answering(get_providers)(world.services))
    assert answer.status == 200
    return answer.json["providers"]


def test_every_provider_is_shown_with_what_it_can_and_on_which_terms() -> None:
    """Sizes, lengths and variants as a request may name them; the retirement as a date and as a fact."""
    world = World(
        AZURE_SORA_ENDPOINT="https://films.openai.azure.com",
        AZURE_API_KEY=KEY,
        PROVIDERS=json.dumps([WAN]),
        WAN_KEY=KEY,
    )
    world.use(providers=build_services(world.services.settings, world.clock.now).providers)
    sora, wan = listed(world)
    assert wan == {
        "name": "wan",
        "kind": "videos",
        "default": False,
        "dialect": "openai-videos",
        "host": "gpu:8000",
        "model": "Wan2.2",
        "sizes": ["832x480"],
        "seconds": [4, 6],
        "max_variants": {"832x480": 1},
        "max_prompt": 32_000,
        "input_image": True,
        "other_sizes": None,
        "output_formats": [],
        "qualities": [],
        "backgrounds": [],
        "fallback": [],
        "max_running": 2,
        "creates_per_minute": 10,
        "prices": {"per_second": 0.1},
        "retires_on": "2026-11-19",
        "retired": True,
    }
    assert (sora["name"], sora["default"], sora["dialect"], sora["host"]) == (
        "sora",
        True,
        "azure-jobs",
        "films.openai.azure.com",
    )
    assert sora["seconds"] == {"min": 1, "max": 20}
    assert (sora["max_variants"]["1920x1080"], sora["max_variants"]["480x480"]) == (1, 4)
    assert (sora["max_running"], sora["prices"], sora["retires_on"], sora["retired"]) == (None, {}, None, False)
    assert KEY not in str([sora, wan])


def test_without_a_provider_the_list_is_empty(world: World) -> None:
    """That is an answer, not an error."""
    world.services.providers.clear()
    assert listed(world) == []


def test_a_retired_provider_takes_nothing_new(world: World) -> None:
    """400 `model_retired` names the field and what is left, and nothing is recorded or started."""
    world.provider.terms = PAST
    second = MemoryProvider(world.clock.now, "second")
    world.services.providers["second"] = second
    for body in ({"prompt": "a"}, {"prompt": "a", "provider": "sora"}):
        answer = world.post(body)
        assert (answer.status, answer.json["code"]) == (400, "model_retired")
        (error,) = answer.json["errors"]
        assert error == {"field": "provider", "message": "'sora' retired after 2026-11-19; allowed: second"}
    assert (world.watched(), world.client.started) == ({}, [])
    assert world.post({"prompt": "a", "provider": "second"}).status == 202


def test_the_last_day_counts_and_the_only_one_may_retire(world: World) -> None:
    """Until midnight UTC it is used; then the answer says that there is no other."""
    world.provider.terms = Terms(retires_on=START.date())
    assert world.post({"prompt": "a"}).status == 202
    world.clock.advance(days=1)
    assert world.post({"prompt": "a"}).json["detail"].endswith("no other is configured")


def test_a_job_of_a_provider_that_retires_is_still_brought_home(world: World) -> None:
    """What is paid for is watched and fetched: the date is about new jobs only."""
    job = world.generating()
    world.provider.terms = PAST
    world.provider.finish(str(job.task_id))
    assert world.poll(job)["next"] == "keep"


@pytest.mark.parametrize(
    ("body", "made"),
    [
        ({}, (832, 480, 4)),
        ({"n_seconds": 6}, (832, 480, 6)),
        ({"width": 480, "height": 832}, (480, 832, 4)),
    ],
)
def test_who_names_no_size_or_length_gets_what_the_provider_offers(
    world: World, body: dict[str, Any], made: tuple[int, int, int]
) -> None:
    """A prompt is enough at every provider, whatever its sizes are."""
    world.provider.abilities = replace(world.provider.abilities, sizes=((832, 480), (480, 832)), seconds=(4, 6))
    assert world.post({"prompt": "a"} | body).status == 202
    (job,) = world.jobs.page("default", "videos", limit=5)[0]
    assert (job.request.width, job.request.height, job.request.n_seconds) == made


def test_what_is_named_is_never_replaced(world: World) -> None:
    """A size or length that is written out counts, also where it is the usual one: the refusal lists the offer."""
    world.provider.abilities = replace(world.provider.abilities, sizes=((832, 480),), seconds=(4, 8, 12))
    errors = world.post({"prompt": "a", "width": 1280, "height": 720, "n_seconds": 5}).json["errors"]
    assert {error["field"]: error["message"].partition("must be ")[2] for error in errors} == {
        "width": "one of 832x480",
        "n_seconds": "one of 4, 8, 12",
    }


def test_a_provider_of_images_is_shown_with_its_words() -> None:
    """No seconds; the sizes that are usual, the rule for others, and the words for format, quality and background."""
    world = World(IMAGE_ENDPOINT="https://films.openai.azure.com", IMAGE_API_KEY=KEY)
    world.use(providers=build_services(world.services.settings, world.clock.now).providers)
    (image,) = listed(world)
    assert (image["name"], image["kind"], image["default"]) == ("image", "images", True)
    assert (image["seconds"], image["input_image"], image["max_variants"]["1024x1024"]) == (None, False, 10)
    assert image["sizes"] == ["1024x1024", "1024x1536", "1536x1024"]
    assert image["other_sizes"].startswith("both sides a multiple of 16")
    assert image["output_formats"] == ["png", "jpeg"]
    assert image["qualities"] == ["auto", "low", "medium", "high"]
    assert image["backgrounds"] == ["auto", "transparent", "opaque"]
