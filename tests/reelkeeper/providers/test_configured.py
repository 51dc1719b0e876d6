"""What an adapter of any dialect tells of the provider that it was configured as."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest

from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.base import Provider, ProviderConfig, Terms
from reelkeeper.providers.openai_images import OpenAIImages
from reelkeeper.providers.openai_videos import OpenAIVideos

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize("adapter", [AzureJobs, OpenAIVideos, OpenAIImages])
def test_every_dialect_tells_the_configuration(adapter: type[AzureJobs | OpenAIVideos | OpenAIImages]) -> None:
    """All that `Provider` names, and what it can make as configured; the rest as documented of its dialect."""
    terms = Terms(max_running=2, retires_on=date(2027, 6, 30))
    config = ProviderConfig(
        "wan", "films", adapter.dialect, "http://gpu:8000/v1", "", "key", "Wan2.2", create_seconds=60.0,
        sizes=((832, 480),), max_variants=3, fallback=("sora",), terms=terms,
    )  # fmt: skip
    told: Provider = adapter(config, lambda: NOW)
    assert (told.name, told.kind, told.model) == ("wan", "films", "Wan2.2")
    assert (told.dialect, told.host, told.place) == (
        adapter.dialect,
        "gpu:8000",
        f"{adapter.dialect} http://gpu:8000/v1",
    )
    assert (told.terms, told.grace, told.fallback) == (terms, timedelta(seconds=100), ("sora",))
    assert told.abilities.sizes == ((832, 480),)
    assert told.abilities.variants(832, 480) == 3
    assert told.abilities.max_prompt >= 4000
