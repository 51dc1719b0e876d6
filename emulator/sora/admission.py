"""Check the key and the api-version of a call, as the profile's server does."""

from __future__ import annotations

import secrets

from aiohttp import web

from emulator.sora.profiles import Profile
from emulator.sora.studio import Refusal

_VERSIONS = ("preview", "v1")


def admit(request: web.Request, wanted: str | None, profile: Profile) -> None:
    """Let the call in, or raise Refusal: `unauthorized` without the `wanted` key, `api_version` on Azure alone."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not profile.bearer_only:
        given = request.headers.get("api-key") or given
    if wanted is not None and not secrets.compare_digest(given.encode(), wanted.encode()):
        raise Refusal("unauthorized")
    if profile.words == "azure" and request.query.get("api-version", "v1") not in _VERSIONS:
        raise Refusal("api_version")
