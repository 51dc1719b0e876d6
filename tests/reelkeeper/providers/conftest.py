"""Adapters at a fixed time, and the wire of a server to point them at."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from reelkeeper.model import JobRequest, Output
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.providers.openai_videos import OpenAIVideos

sys.path.append(str(Path(__file__).parents[2] / "fakes"))

from wire import wire

__all__ = ["wire"]

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
KEY = "sEcReT/k3y+for=tests"


@pytest.fixture
def adapter() -> Callable[..., AzureJobs]:
    """An adapter for a base URL, at NOW."""

    def make(base_url: str = "https://r.example/openai/v1", api_version: str = "preview", **names: str) -> AzureJobs:
        config = ProviderConfig("sora", "videos", "azure-jobs", base_url, api_version, KEY, "sora")
        return AzureJobs(replace(config, **names), lambda: NOW)  # type: ignore[arg-type]

    return make


@pytest.fixture
def videos() -> Callable[..., OpenAIVideos]:
    """An adapter of the videos dialect for a base URL, at NOW; `changes` of its configuration."""

    def make(base_url: str = "https://r.example/v1", **changes: object) -> OpenAIVideos:
        config = ProviderConfig("wan", "videos", "openai-videos", base_url, "", KEY, "sora-2", auth="bearer")
        return OpenAIVideos(replace(config, **changes), lambda: NOW)  # type: ignore[arg-type]

    return make


@pytest.fixture
def request_() -> JobRequest:
    return JobRequest("a fox in the snow", width=1280, height=720, n_seconds=5, n_variants=2, model="my-sora")


@pytest.fixture
def output() -> Output:
    return Output("gen_1", 1280, 720, 5)
