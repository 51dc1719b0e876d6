"""When a model ends: the operator's date before the announced one, a warning before the end, a failure after it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

import pytest

from reelkeeper.diagnosis.retirements import ANNOUNCED, announced, retirement_check
from reelkeeper.providers.base import ProviderConfig, Terms

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=timezone.utc)
OWN = ProviderConfig("wan", "videos", "openai-videos", "http://gpu:8000/v1", "", "", "Wan2.2")
AZURE, OPENAI = "https://films.openai.azure.com/openai/v1", "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("days", "ok", "words"),
    [(-1, False, "retired after"), (0, True, "only 0 days"), (30, True, "only 30 days"), (31, True, "in service")],
)
def test_the_last_day_counts(days: int, ok: bool, words: str) -> None:
    """It fails the day after, and warns from a month before."""
    terms = Terms(retires_on=NOW.date() + timedelta(days=days))
    check = retirement_check("x", replace(OWN, terms=terms), NOW)
    assert (check.ok, words in check.detail) == (ok, True)
    assert ("choose its successor" in check.detail) == (0 <= days <= 30)


def test_no_date_is_no_fault() -> None:
    """Nobody has announced the end of a server of one's own."""
    assert retirement_check("x", OWN, NOW).ok


@pytest.mark.parametrize(
    ("dialect", "base_url", "model", "ok"),
    [
        ("azure-jobs", AZURE, "my-films", False),
        ("openai-videos", AZURE, "sora-2", False),
        ("openai-videos", AZURE, "my-films", True),
        ("openai-videos", OPENAI, "sora-2-pro", False),
        ("openai-images", AZURE, "gpt-image-1", False),
        ("openai-images", AZURE, "gpt-image-1-mini", True),
        ("openai-images", AZURE, "gpt-image-2", True),
        ("openai-images", OPENAI, "dall-e-3", False),
        ("openai-videos", "http://gpu:8000/v1", "sora-2", True),
        ("azure-jobs", "http://127.0.0.1:7090/openai/v1", "sora", True),
    ],
)
def test_the_vendors_dates_are_known(dialect: str, base_url: str, model: str, ok: bool) -> None:
    """At the vendors' own addresses only: the dialects live on elsewhere."""
    assert retirement_check("x", replace(OWN, dialect=dialect, base_url=base_url, model=model), NOW).ok == ok


def test_who_knows_better_may_say_so() -> None:
    """`retires_on` overrules what was announced, and the fix says that."""
    config = replace(OWN, dialect="azure-jobs", base_url=AZURE)
    assert "retires_on" in str(retirement_check("x", config, NOW).fix)
    assert retirement_check("x", replace(config, terms=Terms(retires_on=date(2027, 6, 30))), NOW).ok


def test_a_longer_name_is_another_model() -> None:
    """gpt-image-1 is gone, gpt-image-1-mini is not; each row can be reached."""
    images = replace(OWN, dialect="openai-images", base_url=AZURE)
    ends = {
        model: announced(replace(images, model=model)) for model in ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5")
    }
    assert len({found.ends for found in ends.values() if found}) == 3
    assert len({(row.at, row.dialect, row.model) for row in ANNOUNCED}) == len(ANNOUNCED)
