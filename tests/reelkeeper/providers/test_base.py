"""What a provider can make, and how it says no."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timezone
from typing import Any

import pytest

from emulator.sora.azure_request import SIZES, max_variants
from reelkeeper.model import JobRequest
from reelkeeper.providers.abilities import Abilities
from reelkeeper.providers.azure_jobs import ABILITIES
from reelkeeper.providers.base import ProviderConfig, Terms
from reelkeeper.providers.openai_videos import OTHERS

GOOD = JobRequest("a fox in the snow", width=1280, height=720, n_seconds=5, n_variants=1, model="sora")


def test_abilities_are_those_that_the_service_documents() -> None:
    """The sizes, and how many variants each allows, agree with the simulator's reading of the documentation."""
    assert sorted(ABILITIES.sizes) == sorted(SIZES)
    assert {size: ABILITIES.variants(*size) for size in SIZES} == {size: max_variants(*size) for size in SIZES}


def test_every_documented_request_is_accepted() -> None:
    """At each size the most variants and the shortest and longest video are no reason to refuse."""
    for width, height in ABILITIES.sizes:
        most = ABILITIES.variants(width, height)
        for variants, seconds in ((1, 1), (most, 20)):
            asked = replace(GOOD, width=width, height=height, n_variants=variants, n_seconds=seconds)
            assert ABILITIES.refusals(asked) == ()
    assert ABILITIES.refusals(replace(GOOD, prompt="x" * 4000)) == ()


@pytest.mark.parametrize(
    ("changes", "field", "allowed"),
    [
        ({"prompt": "x" * 4001}, "prompt", "4000"),
        ({"n_seconds": 0}, "n_seconds", "1 to 20"),
        ({"n_seconds": 21}, "n_seconds", "1 to 20"),
        ({"n_variants": 0}, "n_variants", "1 to 2"),
        ({"n_variants": 3}, "n_variants", "1 to 2 at 1280x720"),
        ({"width": 1920, "height": 1080, "n_variants": 2}, "n_variants", "1 to 1 at 1920x1080"),
        ({"width": 480, "height": 480, "n_variants": 5}, "n_variants", "1 to 4 at 480x480"),
        ({"width": 1281}, "width", "1280x720"),
        ({"height": 721}, "height", "1280x720"),
        ({"width": 1920, "height": 1920}, "height", "1920x1080"),
        ({"width": -480, "height": -480}, "width", "480x480"),
    ],
)
def test_a_refusal_names_the_field_and_what_is_allowed(changes: dict[str, Any], field: str, allowed: str) -> None:
    """One wrong value is one refusal, with the values that would do."""
    (error,) = ABILITIES.refusals(replace(GOOD, **changes))
    assert error.field == field
    assert allowed in error.message


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Nobody has to mend a request field by field."""
    errors = ABILITIES.refusals(replace(GOOD, prompt="x" * 5000, width=1, n_seconds=99))
    assert {error.field for error in errors} == {"prompt", "width", "n_seconds"}


@pytest.mark.parametrize(
    ("seconds", "words", "any_second"),
    [
        ((4, 8, 12), "one of 4, 8, 12", False),
        ((1, 2, 3), "a whole number from 1 to 3", True),
        ((5,), "one of 5", False),
    ],
)
def test_lengths_are_a_list_or_a_range(seconds: tuple[int, ...], words: str, any_second: bool) -> None:
    """Either way the refusal names what would do."""
    can = replace(ABILITIES, seconds=seconds)
    (error,) = can.refusals(replace(GOOD, n_seconds=9))
    assert (error.field, error.message, can.any_second) == ("n_seconds", f"must be {words}", any_second)
    assert all(can.refusals(replace(GOOD, n_seconds=one)) == () for one in seconds)


def test_who_names_no_size_or_length_gets_one_that_is_offered() -> None:
    """The usual one where it is possible, else the first size and the nearest length, rather the shorter."""
    can = replace(ABILITIES, sizes=((832, 480), (480, 832)), seconds=(4, 6, 12))
    assert (ABILITIES.usual_size((1280, 720)), can.usual_size((1280, 720))) == ((1280, 720), (832, 480))
    usual = [replace(can, default_seconds=wanted).usual_seconds for wanted in (1, 4, 5, 8, 9, 10, 99)]
    assert usual == [4, 4, 4, 6, 6, 12, 12]
    assert (ABILITIES.usual_seconds, OTHERS.usual_seconds) == (5, 4)


def test_the_first_bound_that_an_area_reaches_counts() -> None:
    """Variants fall with the frame's area; the bound itself belongs to the smaller number."""
    abilities = Abilities(sizes=(), seconds=(1, 2), variants_by_pixels=((100, 1), (50, 3), (0, 9)))
    assert [abilities.variants(1, pixels) for pixels in (101, 100, 99, 50, 49, 1)] == [1, 1, 3, 3, 9, 9]


def test_a_config_never_shows_its_key() -> None:
    """What is printed of a provider's configuration tells all but the key."""
    config = ProviderConfig("sora", "videos", "azure-jobs", "https://h", "preview", "the-secret", "sora")
    assert "the-secret" not in f"{config!r} {config}"
    assert "https://h" in repr(config)


def test_a_config_tells_the_host_and_the_place() -> None:
    """The host is what callers may know; the place tells two servers apart, also on one host."""
    config = ProviderConfig("w", "videos", "openai-videos", "http://gpu:8000/v1", "", "k", "m")
    assert (config.host, config.place) == ("gpu:8000", "openai-videos http://gpu:8000/v1")


def test_what_is_configured_replaces_what_is_documented() -> None:
    """Each field on its own; one limit for all sizes replaces the steps."""
    bare = ProviderConfig("s", "videos", "azure-jobs", "https://h", "", "k", "m")
    assert bare.abilities(ABILITIES) == ABILITIES
    can = replace(bare, sizes=((64, 64),), seconds=(3,), max_variants=2, max_prompt=9).abilities(ABILITIES)
    assert can == Abilities(((64, 64),), (3,), ((0, 2),), 9, input_image=True)


@pytest.mark.parametrize(("day", "retired"), [(29, False), (30, False), (31, True)])
def test_a_provider_is_used_until_the_end_of_its_last_day(day: int, retired: bool) -> None:
    """In UTC; without a date for ever."""
    late = datetime(2026, 10, day, 23, 59, tzinfo=timezone.utc)
    assert Terms(retires_on=date(2026, 10, 30)).retired(late) is retired
    assert Terms().retired(late) is False
