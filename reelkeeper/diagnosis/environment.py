"""What is wrong before anything is connected: the settings, the worker, host.json.

The app stops at the first wrong setting. Here each is laid aside in turn, so that all are found, and whatever does not
depend on them can still be checked.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reelkeeper.diagnosis import pasted
from reelkeeper.diagnosis.report import SURPRISE, Check, bad, good
from reelkeeper.errors import SettingsError
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.settings import Settings
from reelkeeper.storage import StorageConnection

STORAGES = ("MEDIA_STORAGE", "AzureWebJobsStorage")
ENDPOINTS = ("AZURE_SORA_ENDPOINT", "OPENAI_BASE_URL", "IMAGE_ENDPOINT")
KEYS = ("AZURE_API_KEY", "OPENAI_API_KEY", "IMAGE_API_KEY")
WHERE = "local.settings.json, the environment, or the Function App's configuration"
MOST_WRONG = 20
PYTHONS = ((3, 10), (3, 11), (3, 12))

BUNDLE, BUNDLE_RANGE = "Microsoft.Azure.Functions.ExtensionBundle", "[4.*, 5.0.0)"
_RANGE = re.compile(r"[\[(]\s*(\d+)(\.[\d*]+){0,2}\s*,\s*(\d+)(\.[\d*]+){0,2}\s*[\])]", re.ASCII)
_NAME = re.compile(r"\b(?:PROVIDERS|AzureWebJobsStorage\w*|[A-Z][A-Z0-9]*(?:_[A-Za-z0-9]+)+)", re.ASCII)


@dataclass(frozen=True)
class Reading:
    """The settings without the wrong ones (None when even that is impossible), and what is wrong: message and fix.

    `laid_aside`: the names of the settings that were left out, with a stand-in where others need one.
    """

    settings: Settings | None
    wrong: tuple[tuple[str, str], ...]
    laid_aside: frozenset[str]

    @property
    def storage_known(self) -> bool:
        return self.settings is not None and not self.laid_aside & set(STORAGES)

    @property
    def providers(self) -> tuple[ProviderConfig, ...]:
        """Those whose settings are all right."""
        return tuple(
            config
            for config in (self.settings.providers if self.settings else ())
            if not self.laid_aside & {config.endpoint_setting, config.key_setting, config.model_setting}
        )


def read_settings(env: Mapping[str, str]) -> Reading:
    left, aside = dict(env), set[str]()
    wrong: list[tuple[str, str]] = []
    for _ in range(MOST_WRONG):
        try:
            return Reading(Settings.from_environment(left), tuple(wrong), frozenset(aside))
        except SettingsError as error:
            name = _blamed(str(error), left)
            wrong.append((str(error), _fix(name, env)))
            if not name or name in aside:
                break
            aside.add(name)
            _lay_aside(name, left)
        except Exception as error:
            wrong.append((f"The settings cannot be read ({type(error).__name__}).", SURPRISE))
            break
    return Reading(None, tuple(wrong), frozenset(aside))


def settings_check(reading: Reading) -> Check:
    if not reading.wrong:
        return good("settings", "all are well-formed")
    fixes = dict.fromkeys(fix for _, fix in reading.wrong)
    return bad("settings", " ".join(message for message, _ in reading.wrong), " ".join(fixes))


def _blamed(message: str, env: Mapping[str, str]) -> str:
    """The name of the setting that a message is about; "" when it names none that is there."""
    if message.startswith(STORAGES):
        return next(prefix for prefix in STORAGES if message.startswith(prefix))
    return next((name for name in _NAME.findall(message) if name in env), "")


def _lay_aside(name: str, left: dict[str, str]) -> None:
    """Take a setting out, or put something harmless in its place where others need it; nobody connects to that."""
    if name in STORAGES:
        for each in [other for other in left if other.startswith(f"{name}__")]:
            del left[each]
    left.pop(name, None)
    if name == "AzureWebJobsStorage":
        left[name] = "UseDevelopmentStorage=true"
    elif name in ENDPOINTS:
        left[name] = "https://stand-in.invalid"
    elif name in KEYS or f'"{name}"' in left.get("PROVIDERS", ""):
        left[name] = "stand-in"


def _fix(name: str, env: Mapping[str, str]) -> str:
    if name in STORAGES:
        prefix = f"Set {name} in {WHERE}: the connection string from 'Access keys' of the storage account, whole, or "
        return f"{prefix}{name}__accountName for an identity. To try it all without Azure: python3 dev.py up."
    if name in ENDPOINTS:
        return f"Correct {name}. {pasted.refused_endpoint(env.get(name, ''))}"
    if not name:
        return f"Correct it in {WHERE}; README.md, 'Settings', tells what each takes."
    return f"Correct {name} in {WHERE}; README.md, 'Settings', tells what it takes."


def worker_check(env: Mapping[str, str]) -> Check:
    runtime = env.get("FUNCTIONS_WORKER_RUNTIME", "").strip()
    version = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    if runtime and runtime != "python":
        fix = "Set FUNCTIONS_WORKER_RUNTIME to python."
        return bad("worker", "FUNCTIONS_WORKER_RUNTIME is another language's: no function is found then.", fix)
    if sys.version_info[:2] not in PYTHONS:
        return bad("worker", f"{version} is not supported", "Use Python 3.10, 3.11 or 3.12.")
    return good(
        "worker", f"{version}, FUNCTIONS_WORKER_RUNTIME {'python' if runtime else 'not set (Azure wants python)'}"
    )


def schedule_check(reading: Reading) -> Iterator[Check]:
    """Nothing where the schedule is wrong: `settings` says so."""
    if reading.settings is None or "SWEEP_SCHEDULE" in reading.laid_aside:
        return
    text = reading.settings.sweep_schedule
    if len(text.split()) == 1:
        fix = "Write it as NCRONTAB, seconds first, such as 0 */5 * * * *."
        yield bad("schedule", "SWEEP_SCHEDULE is a time span, which only an App Service plan understands", fix)
        return
    seconds = " (five fields: minutes first)" if len(text.split()) == 5 else ""
    yield good("schedule", f"SWEEP_SCHEDULE {text} parses{seconds}")


def host_storage_check(reading: Reading, env: Mapping[str, str]) -> Iterator[Check]:
    """The Functions host keeps its keys, locks and Durable's histories there, wherever the clips are.

    Nothing where `settings` says it already.
    """
    name = "host storage"
    if "AzureWebJobsStorage" in reading.laid_aside:
        return
    text = env.get("AzureWebJobsStorage", "").strip()
    try:
        if text:
            StorageConnection(connection_string=text)
    except SettingsError as error:
        yield bad(name, f"AzureWebJobsStorage: {error}", _fix(STORAGES[1], env))
        return
    if text or any(key.startswith("AzureWebJobsStorage__") and value.strip() for key, value in env.items()):
        yield good(name, "AzureWebJobsStorage is set")
    else:
        yield bad(name, "AzureWebJobsStorage is not set: the Functions host does not start", _fix(STORAGES[1], env))


def host_json_check(root: Path) -> Check:
    """The extension bundle brings Durable; without it, or with an old one, orchestrations never start."""
    name = "host.json"
    entry = f'"extensionBundle": {{"id": "{BUNDLE}", "version": "{BUNDLE_RANGE}"}}'
    fix = f"Write into host.json: {entry}"
    try:
        host = json.loads((root / "host.json").read_text(encoding="utf-8-sig"))
        bundle = host.get("extensionBundle") or {}
        told, version = bundle.get("id"), str(bundle.get("version", ""))
    except FileNotFoundError:
        return bad(name, "host.json is missing beside function_app.py", "Take it from the repository.")
    except (OSError, ValueError, AttributeError) as error:
        return bad(name, f"host.json cannot be read ({type(error).__name__})", "Take it from the repository.")
    if not told:
        return bad(name, "there is no extensionBundle, so no Durable extension", fix)
    if told != BUNDLE:
        return bad(name, "the extensionBundle is another one than the released bundle", fix)
    found = _RANGE.fullmatch(version)
    if not found:
        return bad(name, "the version of the extensionBundle is no range", fix)
    low, high = int(found[1]), int(found[3])
    if low < 4 or high <= low:
        return bad(name, f"the extensionBundle's range {version} holds old bundles, which are out of support", fix)
    if low > 4 or high > 5:
        return bad(name, f"the extensionBundle's range {version} goes beyond bundle 4, which the app is made for", fix)
    return good(name, f"extension bundle {version}")
