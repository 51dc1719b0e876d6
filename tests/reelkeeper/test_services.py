"""The doors to the outside are built from settings alone, without touching any of them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from reelkeeper.outbound.base import NotFetched
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.openai_images import OpenAIImages
from reelkeeper.providers.openai_videos import OpenAIVideos
from reelkeeper.services import build_services, utc_now
from reelkeeper.settings import Settings

# Nothing listens there: any connection would fail loudly.
STORAGE = (
    "AccountName=devstoreaccount1;AccountKey=bm90IGEga2V5;BlobEndpoint=http://127.0.0.1:9/devstoreaccount1;"
    "TableEndpoint=http://127.0.0.1:9/devstoreaccount1"
)
SORA = {"AZURE_SORA_ENDPOINT": "http://127.0.0.1:9", "AZURE_API_KEY": "secret-key", "SORA_MODEL": "my-sora"}


def test_services_are_built_without_a_connection() -> None:
    """Storage and provider may be down when the app starts: it starts all the same."""
    settings = Settings.from_environment({"AzureWebJobsStorage": STORAGE, **SORA})
    services = build_services(settings)
    assert services.settings is settings
    provider = services.default_provider("videos")
    assert isinstance(provider, AzureJobs)
    assert (provider.name, provider.kind, provider.model) == ("sora", "videos", "my-sora")
    assert provider.place == "azure-jobs http://127.0.0.1:9/openai/v1"
    assert services.default_provider("images") is None


def test_every_dialect_has_its_adapter() -> None:
    """The first of a kind is the default, whichever dialect it speaks."""
    entry = '[{"name": "wan", "kind": "videos", "dialect": "openai-videos", "base_url": "http://gpu", "model": "w"}]'
    env = {"AzureWebJobsStorage": STORAGE, "PROVIDERS": entry, "IMAGE_ENDPOINT": "http://gpu", **SORA}
    services = build_services(Settings.from_environment(env))
    assert {name: type(provider) for name, provider in services.providers.items()} == {
        "sora": AzureJobs,
        "image": OpenAIImages,
        "wan": OpenAIVideos,
    }
    assert services.default_provider("images") is services.providers["image"]
    assert services.default_provider("videos") is services.providers["sora"]
    assert services.providers["wan"].place == "openai-videos http://gpu/v1"


def test_without_a_provider_there_is_none_to_choose() -> None:
    """The app serves what is stored even when nothing can make videos."""
    services = build_services(Settings.from_environment({"AzureWebJobsStorage": STORAGE}))
    assert services.providers == {}
    assert services.default_provider("videos") is None


@pytest.mark.parametrize(("switch", "words"), [("false", "without https"), ("true", "connection was refused")])
def test_callers_addresses_are_fetched_as_the_setting_says(switch: str, words: str) -> None:
    """Plain http and private addresses only in development."""
    env = {"AzureWebJobsStorage": STORAGE, "WEBHOOK_ALLOW_PRIVATE": switch}
    with pytest.raises(NotFetched, match=words):
        build_services(Settings.from_environment(env)).fetcher.fetch("http://127.0.0.1:9/a.png", 1)


def test_the_clock_is_aware_utc_and_can_be_replaced() -> None:
    """Every adapter reads the time handed in; the real one is UTC."""
    moment = datetime(2026, 11, 20, tzinfo=timezone.utc)
    services = build_services(Settings.from_environment({"AzureWebJobsStorage": STORAGE}), now=lambda: moment)
    assert services.now() == moment
    assert utc_now().utcoffset() == timedelta(0)
