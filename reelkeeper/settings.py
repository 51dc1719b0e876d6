"""Environment -> Settings. Everything is checked here, once, at start: a wrong setting stops the start by name.

Secrets never appear in a repr or a message; nor do other values, because a key may be pasted into the wrong setting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from reelkeeper.errors import SettingsError
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.providers.registry import read_providers
from reelkeeper.storage import StorageConnection

DEFAULT_SWEEP = "0 */5 * * * *"
MOST_WEIGHTS, HEAVIEST = 1000, 100
LONGEST_OWNER = 256
_TIME_SPAN = re.compile(r"(\d{1,4}\.)?([01]?\d|2[0-3])(:[0-5]\d){2}", re.ASCII)
_CRON_PART = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/0*[1-9]\d*)?", re.ASCII)
_MONTHS = "january february march april may june july august september october november december"
_DAYS = "sunday monday tuesday wednesday thursday friday saturday"
_CRON_FIELDS = ((0, 59, ""), (0, 59, ""), (0, 23, ""), (1, 31, ""), (1, 12, _MONTHS), (0, 6, _DAYS))


@dataclass(frozen=True)
class Settings:
    storage: StorageConnection = field(repr=False)
    container: str
    sweep_schedule: str
    deadline: timedelta
    submit_grace: timedelta
    providers: tuple[ProviderConfig, ...]
    allow_private: bool = False
    """Whether callers' addresses may be http and private (development)."""
    owner_weights: Mapping[str, int] = field(default_factory=dict, repr=False, hash=False)
    """How many turns in a row an owner has at a gate; whoever is not named has one."""

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Settings:
        """Read and check every setting. Raises SettingsError naming the first wrong one."""
        auth_mode = _text(env, "AUTH_MODE", "key")
        if auth_mode != "key":
            raise SettingsError("AUTH_MODE must be 'key' (function keys): this version knows no other.")
        grace = _submit_grace(env)
        return cls(
            storage=_storage(env),
            container=_container(env),
            sweep_schedule=_schedule(env),
            deadline=_deadline(env),
            submit_grace=grace,
            providers=read_providers(env, create_seconds=0.6 * grace.total_seconds()),
            allow_private=_switch(env, "WEBHOOK_ALLOW_PRIVATE"),
            owner_weights=_owner_weights(env),
        )


def _text(env: Mapping[str, str], name: str, default: str = "") -> str:
    return env.get(name, "").strip() or default


def _switch(env: Mapping[str, str], name: str) -> bool:
    word = _text(env, name, "false").lower()
    if word not in ("true", "false"):
        raise SettingsError(f"{name} must be true or false.")
    return word == "true"


def _storage(env: Mapping[str, str]) -> StorageConnection:
    for prefix in ("MEDIA_STORAGE", "AzureWebJobsStorage"):
        try:
            if connection := _connection(env, prefix):
                return connection
        except SettingsError as error:
            raise SettingsError(f"{prefix}: {error}") from None
    raise SettingsError(
        "AzureWebJobsStorage is not set. Give a storage connection string there (or in MEDIA_STORAGE), "
        "or UseDevelopmentStorage=true with Azurite running."
    )


def _connection(env: Mapping[str, str], prefix: str) -> StorageConnection | None:
    """What the settings under this prefix, named as the host's own, describe; None when there are none."""
    if text := _text(env, prefix):
        return StorageConnection(connection_string=text)
    account = _text(env, f"{prefix}__accountName")
    if account and not re.fullmatch(r"[a-z0-9]{3,24}", account):
        raise SettingsError(f"{prefix}__accountName must be the account's name alone: 3 to 24 of a-z and 0-9.")
    blob = _text(env, f"{prefix}__blobServiceUri") or (account and f"https://{account}.blob.core.windows.net")
    table = _text(env, f"{prefix}__tableServiceUri") or (account and f"https://{account}.table.core.windows.net")
    if bool(blob) != bool(table):
        missing = f"{prefix}__tableServiceUri" if blob else f"{prefix}__blobServiceUri"
        raise SettingsError(f"{missing} is missing: identity-based storage needs both service URIs.")
    if not blob:
        return None
    client_id = _text(env, f"{prefix}__clientId") or None
    return StorageConnection(blob_service_uri=blob, table_service_uri=table, client_id=client_id)


def _container(env: Mapping[str, str]) -> str:
    name = _text(env, "MEDIA_CONTAINER", "media")
    if not re.fullmatch(r"[a-z0-9](-?[a-z0-9])*", name) or not 3 <= len(name) <= 63:
        raise SettingsError("MEDIA_CONTAINER must be a container name: 3 to 63 of a-z, 0-9 and single hyphens between.")
    return name


def _schedule(env: Mapping[str, str]) -> str:
    """An NCRONTAB expression, or a time span (which only some hosting plans take)."""
    text = _text(env, "SWEEP_SCHEDULE", DEFAULT_SWEEP)
    cron = text.split()
    fields = _CRON_FIELDS[-len(cron) :]
    is_cron = len(cron) in (5, 6) and all(
        _is_cron_part(part, *field) for spec, field in zip(cron, fields, strict=True) for part in spec.split(",")
    )
    if is_cron or (_TIME_SPAN.fullmatch(text) and re.search("[1-9]", text)):
        return text
    raise SettingsError(f"SWEEP_SCHEDULE must be an NCRONTAB expression such as {DEFAULT_SWEEP!r} (seconds first).")


def _is_cron_part(part: str, low: int, high: int, names: str) -> bool:
    """Whether NCrontab takes this: ``*``, ``n``, ``a-b``, each with ``/step``; names may be cut short."""
    found = _CRON_PART.fullmatch(part)
    return found is not None and all(
        low <= int(word) <= high if word.isdigit() else any(name.startswith(word.lower()) for name in names.split())
        for word in found.groups()
        if word
    )


def _deadline(env: Mapping[str, str]) -> timedelta:
    return timedelta(hours=_number(env, "JOB_DEADLINE_HOURS", 24, 0.01, 24 * 30, "hours"))


def _submit_grace(env: Mapping[str, str]) -> timedelta:
    return timedelta(seconds=_number(env, "SUBMIT_GRACE_SECONDS", 60, 1, 600, "seconds"))


def _owner_weights(env: Mapping[str, str]) -> dict[str, int]:
    name = "OWNER_WEIGHTS"
    try:
        entries = json.loads(_text(env, name, "{}"), object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{name} is no usable JSON: {error}.") from None
    if not isinstance(entries, tuple):
        words = 'must be a JSON object of owners and their turns in a row, such as {"studio": 5, "ada": 2}.'
        raise SettingsError(f"{name} {words}")
    if len(entries) > MOST_WEIGHTS:
        raise SettingsError(f"{name} may name at most {MOST_WEIGHTS} owners; all others have the weight 1.")
    for number, (owner, weight) in enumerate(entries, 1):
        if len(owner) > LONGEST_OWNER or not owner.isprintable() or not owner.strip():
            raise SettingsError(f"{name}: owner number {number} must be 1 to {LONGEST_OWNER} printable characters.")
        if type(weight) is not int or not 1 <= weight <= HEAVIEST:
            words = f"must be a whole number from 1 to {HEAVIEST}, without quotes."
            raise SettingsError(f"{name}: the weight of owner number {number} {words}")
    weights = dict(entries)
    if len(weights) < len(entries):
        raise SettingsError(f"{name} names an owner twice.")
    return weights


def _number(env: Mapping[str, str], name: str, default: float, low: float, high: float, unit: str) -> float:
    try:
        number = float(_text(env, name, str(default)))
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise SettingsError(f"{name} must be a number of {unit} from {low:g} to {high:g}.")
    return number
