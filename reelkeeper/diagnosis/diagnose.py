"""The whole diagnosis: settings first, then storage and every provider side by side, within bounded time.

Nothing is paid for, and nothing that fails stops the rest. Used by GET /api/diagnostics and by `dev.py doctor`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path

from reelkeeper.diagnosis.environment import (
    Reading,
    host_json_check,
    host_storage_check,
    read_settings,
    schedule_check,
    settings_check,
    worker_check,
)
from reelkeeper.diagnosis.report import SURPRISE, Check, Report, bad, blotted, discreet, side_by_side
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.services import utc_now

SECONDS = 40.0
_SECRET_NAME = re.compile(r"(?i)key|secret|password|token|connection|storage$")
_KEY_SETTING = re.compile(r'"api_key_setting"\s*:\s*"([^"]+)"')
_SECRET_PART = re.compile(r"(?i)(?:AccountKey|SharedAccessSignature|sig)=([^;&\s]+)")


def diagnose(
    env: Mapping[str, str], root: Path, now: Callable[[], datetime] = utc_now, seconds: float = SECONDS
) -> Report:
    """Check the settings in `env`, the host.json in `root`, and what they lead to. Raises nothing."""
    reading = read_settings(env)
    parts: dict[str, Callable[[], Iterator[Check]]] = {"app": lambda: _app_checks(reading, env, root)}
    if reading.settings is not None and reading.storage_known:
        parts["storage"] = partial(_storage_checks, reading, now)
    for config in reading.providers:
        parts[f"provider {config.name}"] = partial(_provider_checks, config, env, now)
    return Report(discreet(side_by_side(parts, seconds), secrets_of(env)))


def generations(
    env: Mapping[str, str],
    report: Report,
    tell: Callable[[str], None],
    only: str | None = None,
    now: Callable[[], datetime] = utc_now,
) -> tuple[Check, ...]:
    """One real, paid generation at each provider, or at the one named `only`, unless `report` has something against it.

    An announced retirement is no hindrance: whether it came to pass is just what a generation tells. `tell` takes the
    lines of the story. Raises nothing but what interrupts the program.
    """
    from reelkeeper.diagnosis.generation import Generation, builder

    reading, secrets, checks = read_settings(env), secrets_of(env), []
    known = reading.providers
    if only is not None and only not in {config.name for config in known}:
        names = ", ".join(config.name for config in known) or "none"
        words = f"not made: {only} is none of the providers whose settings are right ({names})"
        checks.append(bad("generation", words, "Correct its settings first, or name another."))
    for config in known:
        name = f"provider {config.name}: "
        if reading.settings is None or only not in (None, config.name):
            continue
        if any(
            not check.ok for check in report.checks if check.name.startswith(name) and check.name != f"{name}retirement"
        ):
            checks.append(bad(f"{name}generation", "not made: a check of this provider failed", "Mend that first."))
            continue
        tell(f"{config.name}: one real generation, which is charged")
        build = builder(reading.settings, now)
        try:
            checks.append(Generation(config, build, lambda line: tell(f"  {blotted(line, secrets)}")).run())
        except Exception as error:
            checks.append(bad(f"{name}generation", f"stopped by {type(error).__name__}", SURPRISE))
    return discreet(checks, secrets)


def _app_checks(reading: Reading, env: Mapping[str, str], root: Path) -> Iterator[Check]:
    yield settings_check(reading)
    yield worker_check(env)
    yield host_json_check(root)
    yield from schedule_check(reading)
    yield from host_storage_check(reading, env)
    if reading.settings and not reading.settings.providers and "PROVIDERS" not in reading.laid_aside:
        fix = (
            "Set AZURE_SORA_ENDPOINT and AZURE_API_KEY, or OPENAI_BASE_URL, or PROVIDERS (README.md, 'Settings'). "
            "To try it all without any: python3 dev.py up."
        )
        yield bad("providers", "none is configured: the app starts, but generates nothing", fix)


def _storage_checks(reading: Reading, now: Callable[[], datetime]) -> Iterator[Check]:
    from reelkeeper.diagnosis.storage import storage_checks

    if reading.settings is not None:
        yield from storage_checks(reading.settings.storage, reading.settings.container, now)


def _provider_checks(config: ProviderConfig, env: Mapping[str, str], now: Callable[[], datetime]) -> Iterator[Check]:
    from reelkeeper.diagnosis.provider import provider_checks

    yield from provider_checks(config, pasted_endpoint(config, env), now)


def provider_names(env: Mapping[str, str]) -> tuple[str, ...] | None:
    """The names of the configured providers, right or wrong; None where the settings do not let them be read."""
    reading = read_settings(env)
    if reading.settings is None or "PROVIDERS" in reading.laid_aside:
        return None
    return tuple(config.name for config in reading.settings.providers)


def pasted_endpoint(config: ProviderConfig, env: Mapping[str, str]) -> str:
    """The endpoint as the operator wrote it; what was made of it where that cannot be told."""
    if text := env.get(config.endpoint_setting, "").strip():
        return text
    found = re.fullmatch(r"PROVIDERS\[(\d+)\]\.base_url", config.endpoint_setting)
    try:
        return str(json.loads(env.get("PROVIDERS", ""))[int(found[1])]["base_url"]) if found else config.base_url
    except (ValueError, LookupError, TypeError):
        return config.base_url


def secrets_of(env: Mapping[str, str]) -> tuple[str, ...]:
    """Every value of the environment that may be secret, whole and in parts."""
    of_entries = set(_KEY_SETTING.findall(env.get("PROVIDERS", "")))
    named = [value.strip() for name, value in env.items() if _SECRET_NAME.search(name) or name in of_entries]
    values = [value for value in named if value and value != "UseDevelopmentStorage=true"]
    parts = [part for value in env.values() for part in _SECRET_PART.findall(value)]
    return tuple(dict.fromkeys([*values, *parts]))
