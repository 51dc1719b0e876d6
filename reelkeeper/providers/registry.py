"""Environment -> the configured providers, in the order in which the first of its kind is the default.

1. `AZURE_SORA_ENDPOINT` with its key and model: the provider `sora`, dialect azure-jobs.
2. `OPENAI_BASE_URL` with its key and model: the provider `openai`, dialect openai-videos.
3. `IMAGE_ENDPOINT` with its key and model: the provider `image`, dialect openai-images.
4. `PROVIDERS`: a JSON array of any number, read in `entries`.
Who signs in how: a key goes out in Azure's own header to Azure's hosts and in the jobs dialect, as a bearer token
elsewhere. Without a key, Azure's hosts get an Entra ID token of the app's identity, others get nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from reelkeeper.errors import SettingsError
from reelkeeper.parts import IMAGES, VIDEOS
from reelkeeper.providers.base import COGNITIVE_SERVICES, ProviderConfig
from reelkeeper.providers.endpoints import AZURE_JOBS, OPENAI_IMAGES, OPENAI_VIDEOS, is_azure, is_openai, parse_endpoint
from reelkeeper.providers.entries import Entry, parse_entries

SCOPE_SETTING = "AZURE_OPENAI_SCOPE"
RESUBMIT_SETTING = "IMAGE_RESUBMIT_UNKNOWN"
LONGEST_CREATE = 480.0
"""host.json ends every function after ten minutes."""

PATIENCE = {VIDEOS: 1, IMAGES: 5}
"""How many times as long as for a video a create may take: the answer to it is the pictures themselves."""


def read_providers(env: Mapping[str, str], create_seconds: float) -> tuple[ProviderConfig, ...]:
    """Every provider that the settings describe. Raises SettingsError naming the first wrong setting."""
    scope = _text(env, SCOPE_SETTING) or COGNITIVE_SERVICES
    if not re.fullmatch(r"https://[\w.-]+/\.default", scope, re.ASCII):
        raise SettingsError(f"{SCOPE_SETTING} must be such as {COGNITIVE_SERVICES} or https://ai.azure.com/.default.")
    found = [
        *_shorthand(env, "sora", AZURE_JOBS, "AZURE_SORA_ENDPOINT", "AZURE_API_KEY", "SORA_MODEL", "sora"),
        *_shorthand(env, "openai", OPENAI_VIDEOS, "OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_VIDEO_MODEL", "sora-2"),
        *_shorthand(env, "image", OPENAI_IMAGES, "IMAGE_ENDPOINT", "IMAGE_API_KEY", "IMAGE_MODEL", "gpt-image-2"),
        *(_configured(env, entry) for entry in parse_entries(_text(env, "PROVIDERS"))),
    ]
    for name, times in Counter(config.name for config in found).items():
        if times > 1:
            raise SettingsError(
                f"PROVIDERS: the name {name} is given twice. Names must be unique; AZURE_SORA_ENDPOINT makes the "
                "provider sora, OPENAI_BASE_URL the provider openai, IMAGE_ENDPOINT the provider image."
            )
    _check_fallbacks(found)
    resubmit = _switch(env, RESUBMIT_SETTING)
    patience = {config.name: min(create_seconds * PATIENCE[config.kind], LONGEST_CREATE) for config in found}
    return tuple(
        replace(config, scope=scope, create_seconds=patience[config.name], resubmit_unknown=resubmit)
        for config in found
    )


def _check_fallbacks(found: list[ProviderConfig]) -> None:
    kinds = {config.name: config.kind for config in found}
    for config in found:
        for name in config.fallback:
            where = config.endpoint_setting.replace(".base_url", ".fallback")
            if kinds.get(name) != config.kind or name == config.name:
                words = f"must name other configured providers of the kind {config.kind}; {name} is none."
                raise SettingsError(f"{where} {words}")


def _shorthand(
    env: Mapping[str, str], name: str, dialect: str, endpoint: str, key: str, model: str, usual_model: str
) -> tuple[ProviderConfig, ...]:
    if not _text(env, endpoint):
        return ()
    base_url, api_version = _endpoint(_text(env, endpoint), dialect, endpoint)
    config = ProviderConfig(
        name=name,
        kind=IMAGES if dialect == OPENAI_IMAGES else VIDEOS,
        dialect=dialect,
        base_url=base_url,
        api_version=api_version,
        api_key=_key(env, key),
        model=_text(env, model) or usual_model,
        endpoint_setting=endpoint,
        key_setting=key,
        model_setting=model,
        thumbnails=_has_thumbnails(base_url),
    )
    return (_signing_in(config, None),)


def _configured(env: Mapping[str, str], entry: Entry) -> ProviderConfig:
    base_url, api_version = _endpoint(entry.base_url, entry.dialect, f"{entry.where}.base_url")
    key = ""
    if entry.api_key_setting:
        if not _text(env, entry.api_key_setting):
            words = "names a setting that is not there; set it, or leave api_key_setting out for a server without keys."
            raise SettingsError(f"{entry.where}.api_key_setting {words}")
        key = _key(env, entry.api_key_setting)
    config = ProviderConfig(
        name=entry.name,
        kind=entry.kind,
        dialect=entry.dialect,
        base_url=base_url,
        api_version=api_version,
        api_key=key,
        model=entry.model,
        endpoint_setting=f"{entry.where}.base_url",
        key_setting=entry.api_key_setting or f"{entry.where}.api_key_setting",
        model_setting=f"{entry.where}.model",
        sizes=entry.sizes,
        seconds=entry.seconds,
        max_variants=entry.max_variants,
        max_prompt=entry.max_prompt,
        input_image=entry.input_image,
        thumbnails=_has_thumbnails(base_url),
        fallback=entry.fallback,
        terms=entry.terms,
    )
    return _signing_in(config, entry.auth)


def _signing_in(config: ProviderConfig, auth: str | None) -> ProviderConfig:
    azure = is_azure(config.base_url)
    if urlsplit(config.base_url).scheme != "https" and (azure or is_openai(config.base_url)):
        raise SettingsError(f"{config.endpoint_setting} must start with https://: the key, or a token, is sent there.")
    if config.api_key or not azure:
        usual = "api-key" if azure or config.dialect == AZURE_JOBS else "bearer"
        return replace(config, auth=auth or usual)
    advice = f"{config.key_setting} (none is set, so the app's identity signs in; it needs the role Cognitive Services "
    return replace(config, auth="entra", key_setting=f"{advice}OpenAI User, and {SCOPE_SETTING} the right scope)")


def _endpoint(text: str, dialect: str, setting: str) -> tuple[str, str]:
    try:
        return parse_endpoint(text, dialect)
    except ValueError as error:
        raise SettingsError(f"{setting} {error}") from None


def _key(env: Mapping[str, str], setting: str) -> str:
    key = _text(env, setting)
    if key and not re.fullmatch(r"[!-~]+", key):
        raise SettingsError(f"{setting} holds a character that no key has, such as a space. Copy the key again.")
    return key


def _switch(env: Mapping[str, str], setting: str) -> bool:
    text = _text(env, setting).lower() or "false"
    if text not in ("true", "false"):
        raise SettingsError(f"{setting} must be true or false.")
    return text == "true"


def _has_thumbnails(base_url: str) -> bool:
    return is_azure(base_url) or is_openai(base_url)


def _text(env: Mapping[str, str], name: str) -> str:
    return env.get(name, "").strip()
