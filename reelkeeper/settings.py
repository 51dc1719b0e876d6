"""Environment -> Settings. Everything is checked here, once, at start: a wrong setting stops the start by name.

Secrets never appear in a repr or a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from reelkeeper.errors import SettingsError
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.providers.endpoints import parse_endpoint
from reelkeeper.storage import StorageConnection

DEFAULT_SWEEP = "0 */5 * * * *"
_CRON_FIELD = re.compile(r"[\w*/,-]+")
_TIME_SPAN = re.compile(r"(\d+\.)?\d{1,2}:\d{2}(:\d{2})?")


@dataclass(frozen=True)
class Settings:
    storage: StorageConnection = field(repr=False)
    container: str
    sweep_schedule: str
    deadline: timedelta
    providers: tuple[ProviderConfig, ...]

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Settings:
        """Read and check every setting. Raises SettingsError naming the first wrong one."""
        auth_mode = _text(env, "AUTH_MODE", "key")
        if auth_mode != "key":
            raise SettingsError(f"AUTH_MODE is {auth_mode!r}; this version knows only 'key' (function keys).")
        return cls(
            storage=_storage(env),
            container=_container(env),
            sweep_schedule=_schedule(env),
            deadline=_deadline(env),
            providers=_providers(env),
        )


def _text(env: Mapping[str, str], name: str, default: str = "") -> str:
    return env.get(name, "").strip() or default


def _storage(env: Mapping[str, str]) -> StorageConnection:
    for prefix in ("MEDIA_STORAGE", "AzureWebJobsStorage"):
        if connection := _text(env, prefix):
            if connection != "UseDevelopmentStorage=true" and "AccountName=" not in connection:
                raise SettingsError(f"{prefix} is not a storage connection string (no AccountName= in it).")
            return StorageConnection(connection_string=connection)
        account = _text(env, f"{prefix}__accountName")
        blob = _text(env, f"{prefix}__blobServiceUri") or (account and f"https://{account}.blob.core.windows.net")
        table = _text(env, f"{prefix}__tableServiceUri") or (account and f"https://{account}.table.core.windows.net")
        if bool(blob) != bool(table):
            missing = f"{prefix}__tableServiceUri" if blob else f"{prefix}__blobServiceUri"
            raise SettingsError(f"{missing} is missing: identity-based storage needs both service URIs.")
        if blob:
            return StorageConnection(blob_service_uri=blob, table_service_uri=table)
    raise SettingsError(
        "AzureWebJobsStorage is not set. Give a storage connection string there (or in MEDIA_STORAGE), "
        "or UseDevelopmentStorage=true with Azurite running."
    )


def _container(env: Mapping[str, str]) -> str:
    name = _text(env, "MEDIA_CONTAINER", "media")
    if not re.fullmatch(r"[a-z0-9](-?[a-z0-9]){2,62}", name):
        raise SettingsError(f"MEDIA_CONTAINER {name!r} is no container name: 3 to 63 of a-z, 0-9 and single hyphens.")
    return name


def _schedule(env: Mapping[str, str]) -> str:
    text = _text(env, "SWEEP_SCHEDULE", DEFAULT_SWEEP)
    cron = text.split()
    if _TIME_SPAN.fullmatch(text) or (len(cron) in (5, 6) and all(_CRON_FIELD.fullmatch(part) for part in cron)):
        return text
    raise SettingsError(f"SWEEP_SCHEDULE {text!r} is no NCRONTAB expression such as {DEFAULT_SWEEP!r} (seconds first).")


def _deadline(env: Mapping[str, str]) -> timedelta:
    text = _text(env, "JOB_DEADLINE_HOURS", "24")
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= 24 * 30:
        raise SettingsError(f"JOB_DEADLINE_HOURS {text!r} is no number of hours above 0 and up to 720.")
    return timedelta(hours=hours)


def _providers(env: Mapping[str, str]) -> tuple[ProviderConfig, ...]:
    endpoint = _text(env, "AZURE_SORA_ENDPOINT")
    if not endpoint:
        return ()
    key = _text(env, "AZURE_API_KEY")
    if not key:
        raise SettingsError("AZURE_API_KEY is not set, but AZURE_SORA_ENDPOINT is. Give the resource's key.")
    try:
        base_url, api_version = parse_endpoint(endpoint)
    except ValueError as error:
        raise SettingsError(f"AZURE_SORA_ENDPOINT {error}") from None
    return (
        ProviderConfig(
            name="sora",
            kind="videos",
            dialect="azure-jobs",
            base_url=base_url,
            api_version=api_version,
            api_key=key,
            model=_text(env, "SORA_MODEL", "sora"),
        ),
    )
