"""Check the key and the api-version of a call, as the profile's server does."""

from __future__ import annotations

import re
import secrets

from aiohttp import web

from emulator.sora.profiles import Profile
from emulator.sora.studio import Refusal

_VERSIONS = r"preview|v1"
_DATED = r"20\d\d-\d\d-\d\d(-preview)?"


def admit(request: web.Request, wanted: str | None, profile: Profile, dated: bool = False) -> None:
    """Let the call in, or raise Refusal: `unauthorized` without the `wanted` key, `api_version` on Azure alone.

    `dated`: the route is one of the older ones, which are not there without an api-version, and want it as a date.
    """
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not profile.bearer_only:
        given = request.headers.get("api-key") or given
    if wanted is not None and not secrets.compare_digest(given.encode(), wanted.encode()):
        raise Refusal("unauthorized")
    if profile.words != "azure":
        return
    version = request.query.get("api-version", "" if dated else "v1")
    if dated and not version:
        raise Refusal("wrong_route")
    if not re.fullmatch(_DATED if dated else _VERSIONS, version):
        raise Refusal("api_version")
