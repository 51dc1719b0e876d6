"""What stands in `host.json` and `local.settings.json`, checked when the host starts.

`read_host_json` gives the part of host.json that this host honours, `load_local_settings` puts the `Values` of
local.settings.json into the environment, `resolve` replaces `%Setting%`. Whatever is wrong in the app or its
settings becomes a `StartError`: one message that names the file or the setting, and what to do.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 10,
}
_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_SETTING = re.compile(r"%([^%]+)%")
_TIMESPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})")
_HUB_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{2,44}")


class StartError(Exception):
    """Something in the app or its settings keeps the host from starting; the message is for the person."""


@dataclass(frozen=True)
class HostSettings:
    """The part of host.json that this host honours, with the defaults of the Functions host."""

    route_prefix: str = "api"
    hub_name: str = "TestHubName"
    default_version: str = ""
    max_activities: int = 10
    function_timeout: timedelta | None = timedelta(minutes=30)
    log_levels: Mapping[str, int] = field(default_factory=lambda: {"default": logging.INFO})


def read_host_json(root: Path) -> HostSettings:
    """Read and check `root/host.json`. Raises StartError naming the property that is wrong."""
    if not (root / "host.json").is_file():
        raise StartError(f"There is no host.json in {root}: --root must be the folder that holds function_app.py.")
    config = _read_json(root / "host.json")
    if config.get("version") != "2.0":
        raise StartError('host.json must have "version": "2.0".')
    extensions = _section(config, "extensions")
    durable = _section(extensions, "durableTask")
    levels = _section(_section(config, "logging"), "logLevel")
    return HostSettings(
        route_prefix=str(_section(extensions, "http").get("routePrefix", "api")).strip("/"),
        hub_name=_hub_name(durable.get("hubName", HostSettings.hub_name)),
        default_version=str(durable.get("defaultVersion", "")),
        max_activities=_positive(durable, "maxConcurrentActivityFunctions", HostSettings.max_activities),
        function_timeout=_timeout(config.get("functionTimeout", "00:30:00")),
        log_levels={"default": logging.INFO, **{name: _level(name, value) for name, value in levels.items()}},
    )


def load_local_settings(root: Path, environment: MutableMapping[str, str] = os.environ) -> None:
    """Put the `Values` of `root/local.settings.json` into `environment`, where what is there already wins."""
    path = root / "local.settings.json"
    if not path.is_file():
        return
    content = _read_json(path)
    if content.get("IsEncrypted"):
        raise StartError("local.settings.json is encrypted: run `func settings decrypt`, then start again.")
    for name, value in _section(content, "Values").items():
        if value is not None:
            environment.setdefault(name, value if isinstance(value, str) else json.dumps(value))


def resolve(text: str, where: str, environment: Mapping[str, str] = os.environ) -> str:
    """Replace every `%Setting%` in `text`; a missing one is a StartError that names it and `where`."""

    def look_up(match: re.Match[str]) -> str:
        value = environment.get(match[1])
        if value is None:
            raise StartError(
                f"{where} needs the setting {match[1]}, which is not set: "
                "put it into the environment or into Values of local.settings.json."
            )
        return value

    return _SETTING.sub(look_up, text)


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; comments and a byte order mark are allowed, as in the Functions host."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(_COMMENT.sub(lambda match: match[1] or "", text))
    except (OSError, ValueError) as problem:
        raise StartError(f"{path.name} cannot be read: {problem}") from problem
    if not isinstance(content, dict):
        raise StartError(f"{path.name} must hold a JSON object.")
    return content


def _section(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = parent.get(name) or {}
    if not isinstance(value, dict):
        raise StartError(f"{name!r} must be a JSON object, not {value!r}.")
    return value


def _positive(section: Mapping[str, Any], name: str, default: int) -> int:
    value = section.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise StartError(f"host.json: {name} must be a whole number above zero, not {value!r}.")
    return value


def _hub_name(value: object) -> str:
    name = resolve(str(value), "host.json: extensions.durableTask.hubName")
    if not _HUB_NAME.fullmatch(name):
        raise StartError(f"host.json: hubName {name!r} must be 3 to 45 letters and digits, a letter first.")
    return name


def _timeout(value: object) -> timedelta | None:
    """Return the limit of one run, None for no limit."""
    if value == "-1":
        return None
    match = _TIMESPAN.fullmatch(str(value))
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    limit = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not limit:
        raise StartError(f"host.json: functionTimeout must be hh:mm:ss above zero, or -1, not {value!r}.")
    return limit


def _level(category: str, value: object) -> int:
    try:
        return _LEVELS[str(value).lower()]
    except KeyError:
        raise StartError(
            f"host.json: logLevel {category!r} is {value!r}; it must be one of Trace, Debug, Information, Warning, "
            "Error, Critical, None."
        ) from None
