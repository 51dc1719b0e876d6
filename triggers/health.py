"""GET /api/health: does the app reach its storage, and is there a provider? Anonymous, so without names or secrets."""

from __future__ import annotations

import logging

import azure.functions as func

from reelkeeper.services import Services
from triggers.answers import json_answer

log = logging.getLogger(__name__)


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
    provider = services.default_provider("videos")
    detail = "configured" if provider else "no video provider: set AZURE_SORA_ENDPOINT and AZURE_API_KEY"
    checks.append({"name": "provider", "ok": provider is not None, "detail": detail})
    status = "unavailable" if not stored else "ok" if provider else "degraded"
    return json_answer({"status": status, "checks": checks}, 200 if stored else 503, Cache_Control="no-store")
