"""Settings -> Services: every door to the outside in one frozen value, handed to the functions that need it.

The adapters' vendor libraries are imported here, on first use, so that importing the app stays fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

from reelkeeper.clips.base import Clips
from reelkeeper.model import Job
from reelkeeper.outbound.base import Fetcher
from reelkeeper.providers.base import Provider
from reelkeeper.records.base import IdempotencyKeys, Jobs, Outcomes, TaskClaims, Watchdog
from reelkeeper.settings import Settings


@dataclass(frozen=True, eq=False)
class Services:
    """`providers`: by name, the default one of its kind first. `fetcher`: for what callers' addresses lead to. `now`:
    the clock, aware UTC.
    """

    jobs: Jobs
    watchdog: Watchdog
    idempotency: IdempotencyKeys
    claims: TaskClaims
    outcomes: Outcomes
    clips: Clips
    providers: dict[str, Provider]
    fetcher: Fetcher
    settings: Settings
    now: Callable[[], datetime]

    def provider_of(self, job: Job) -> Provider | None:
        """Who serves the place of the job's task: the provider of its name, or another that is configured there now."""
        named = self.providers.get(job.provider)
        if job.place is None or (named and named.place == job.place):
            return named
        return next((one for one in self.providers.values() if one.place == job.place), None)

    def default_provider(self, kind: str) -> Provider | None:
        return next((provider for provider in self.providers.values() if provider.kind == kind), None)


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def build_services(settings: Settings, now: Callable[[], datetime] = utc_now) -> Services:
    """The real adapters for these settings. Connects to nothing yet."""
    from reelkeeper.clips.blobs import BlobClips
    from reelkeeper.outbound.web import WebFetcher
    from reelkeeper.providers.azure_jobs import AzureJobs
    from reelkeeper.providers.openai_images import OpenAIImages
    from reelkeeper.providers.openai_videos import OpenAIVideos
    from reelkeeper.records.tables import Tables

    dialects: dict[str, type[AzureJobs | OpenAIVideos | OpenAIImages]] = {
        adapter.dialect: adapter for adapter in (AzureJobs, OpenAIVideos, OpenAIImages)
    }
    tables = Tables(settings.storage)
    return Services(
        jobs=tables.jobs,
        watchdog=tables.watchdog,
        idempotency=tables.idempotency,
        claims=tables.claims,
        outcomes=tables.outcomes,
        clips=BlobClips(settings.storage, settings.container, now=now),
        providers={config.name: dialects[config.dialect](config, now) for config in settings.providers},
        fetcher=WebFetcher(settings.allow_private),
        settings=settings,
        now=now,
    )
