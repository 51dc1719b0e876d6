"""GET /api/health: does the app reach its storage, and is there a provider? Anonymous, so without names or secrets."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from datetime import timedelta
from typing import Any

import azure.functions as func

from reelkeeper import model
from reelkeeper.model import to_iso
from reelkeeper.parts import IMAGES, VIDEOS
from reelkeeper.services import Services
from triggers.answers import json_answer

log = logging.getLogger(__name__)

FIGURES_KEPT_SECONDS = 15
CONFIGURED = {VIDEOS: "videos: configured", IMAGES: "images: configured"}
NONE = {
    VIDEOS: "no video provider: set AZURE_SORA_ENDPOINT and AZURE_API_KEY",
    IMAGES: "no image provider: set IMAGE_ENDPOINT and IMAGE_API_KEY",
}


def get_health(services: Services) -> func.HttpResponse:
    """200 ``ok``, 200 ``degraded`` without a provider (what is stored can still be served), 503 ``unavailable``."""
    checks = []
    for name, ping in (("records", services.jobs.ping), ("clips", services.clips.ping)):
        try:
            ping()
            checks.append({"name": name, "ok": True, "detail": "reachable"})
        except Exception as error:
            log.warning("health: %s: %s", name, type(error).__name__)
            detail = f"not reachable ({type(error).__name__}); check MEDIA_STORAGE or AzureWebJobsStorage"
            checks.append({"name": name, "ok": False, "detail": detail})
    stored = all(check["ok"] for check in checks)
    detail = "; ".join(words if services.default_provider(kind) else NONE[kind] for kind, words in CONFIGURED.items())
    checks.append({"name": "provider", "ok": bool(services.providers), "detail": detail})
    status = "unavailable" if not stored else "ok" if services.providers else "degraded"
    body: dict[str, Any] = {"status": status, "checks": checks}
    if stored:
        body["jobs"] = _figures(services, int(services.now().timestamp()) // FIGURES_KEPT_SECONDS)
    return json_answer(body, 200 if stored else 503, Cache_Control="no-store")


@functools.lru_cache(maxsize=1)
def _figures(services: Services, period: int) -> dict[str, Any]:
    """How many jobs are unfinished, how urgent they are, and how those of today and yesterday (UTC) ended.

    Anybody may ask for health as often as they like, so the tables are read once in a while only.
    """
    survey, today = services.watchdog.survey(), services.now().date()
    ended = Counter(services.outcomes.counts(today)) + Counter(services.outcomes.counts(today - timedelta(days=1)))
    return {
        "unfinished": survey.unfinished,
        "oldest_due": to_iso(survey.oldest_due),
        "nearest_expiry": to_iso(survey.nearest_expiry),
        "ended_since_yesterday": {status: ended[status] for status in sorted(model.TERMINAL)},
    }
