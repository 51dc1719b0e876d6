"""Which settings the app gets on this machine.

Order of precedence: environment variables, then the Values of local.settings.json, then what the stack itself
provides (Azurite's connection string, the simulator's address and key, the defaults that Azure would have).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from emulator.trouble import Trouble

FILE = "local.settings.json"
# Any of these means that a person chose a provider: the simulator then stays out of the way.
PROVIDER_SETTINGS = ("AZURE_SORA_ENDPOINT", "PROVIDERS", "OPENAI_BASE_URL", "IMAGE_ENDPOINT")
STORAGE_SETTINGS = ("AzureWebJobsStorage", "MEDIA_STORAGE")
SIMULATOR_KEY = "simulator-key"
# Where each of the simulator's dialects is configured, with its key; the first is the default for videos.
SIMULATED = (("AZURE_SORA_ENDPOINT", "AZURE_API_KEY"), ("OPENAI_BASE_URL", "OPENAI_API_KEY"),
             ("IMAGE_ENDPOINT", "IMAGE_API_KEY"))  # fmt: skip
DEFAULTS = {
    "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
    "FUNCTIONS_WORKER_RUNTIME": "python",
    "PYTHON_THREADPOOL_THREAD_COUNT": "32",
    "SWEEP_SCHEDULE": "0 */5 * * * *",
}


def read_settings(root: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return local.settings.json's Values overlaid by ``environment``; raises Trouble when the file is no good."""
    path = root / FILE
    if not path.exists():
        return dict(environment)
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig")).get("Values", {})
        if not isinstance(values, dict):
            raise ValueError("Values must be an object")
        settings = {str(name): str(value) for name, value in values.items() if value is not None}
    except AttributeError:
        raise Trouble(f"{path} is not the JSON that Azure Functions expects: it must be an object") from None
    except ValueError as error:
        raise Trouble(f"{path} is not the JSON that Azure Functions expects: {error}") from None
    return {**settings, **environment}


def provider_setting(settings: Mapping[str, str]) -> str | None:
    """Return the name of the setting that configures a provider, None when none does."""
    return next((name for name in PROVIDER_SETTINGS if settings.get(name, "").strip()), None)


def app_settings(settings: Mapping[str, str], storage: str, simulator: str | None) -> dict[str, str]:
    """Return the app's environment: ``settings`` with the emulators filled in where a person set nothing.

    ``storage`` is Azurite's connection string; ``simulator`` its base URL, None when it is not started.
    """
    app = {**DEFAULTS, **settings}
    for name in STORAGE_SETTINGS:
        if "UseDevelopmentStorage=true" in app.get(name, ""):
            app[name] = storage
    if not app.get("AzureWebJobsStorage") and not any(name.startswith("AzureWebJobsStorage__") for name in app):
        app["AzureWebJobsStorage"] = storage
    if simulator:
        for endpoint, key in SIMULATED:
            app |= {endpoint: simulator, key: SIMULATOR_KEY}
    return app


def spare_loopback(environment: MutableMapping[str, str]) -> None:
    """Keep a company proxy away from 127.0.0.1: HTTP clients here and in every child shall reach it directly."""
    spared = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if "127.0.0.1" not in spared:
        spared = ",".join(filter(None, (spared, "127.0.0.1", "localhost")))
    environment["no_proxy"] = environment["NO_PROXY"] = spared
