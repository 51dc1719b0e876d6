"""What people paste by mistake as an endpoint, a key or a model, and what they should have pasted. Pure.

`registry` refuses what cannot be an endpoint at all; here is what could be one, but leads nowhere or tells something
of its own. The texts themselves are never repeated: they may hold a key.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from reelkeeper.diagnosis.report import like_a_key
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.providers.endpoints import AZURE_JOBS, PORTALS, is_azure, is_openai

Trouble = tuple[str, str]
"""What is wrong, and what to do about it."""

HOMES = {"azure-jobs": "AZURE_SORA_ENDPOINT", "openai-videos": "OPENAI_BASE_URL", "openai-images": "IMAGE_ENDPOINT"}
OPERATIONS = {
    "azure-jobs": r"/video/generations(/.*)?$",
    "openai-videos": r"/v1/videos(/.*)?$|/videos/?$",
    "openai-images": r"/v1/images(/.*)?$|/images/(generations|edits)/?$",
}
PLACEHOLDER = r"(?i)\byour[-_ ]|\byour-?resource|\bresource[-_]?name|<|>|\bplaceholder\b|\bchange[-_ ]?me\b|\bx{4,}\b"
COPY = "In the portal, open the resource, 'Keys and Endpoint', and copy the endpoint (https://NAME.openai.azure.com)."


def refused_endpoint(text: str) -> str:
    """What to do about a text that is no endpoint at all."""
    text = text.strip()
    if any(f"://{host}" in text.lower() for host in PORTALS):
        return COPY
    if re.search(PLACEHOLDER, text):
        return "Replace the placeholder by the name of your own resource."
    if text[:1] in "\"'" or text[-1:] in "\"'":
        return "Remove the quotes around the address."
    if like_a_key(text):
        return f"That looks like a key: it belongs into the key's setting, and the address here. {COPY}"
    if re.match(r"(?i)[\w-]+(\.[\w-]+)+(/|:|$)", text):
        return "Begin it with https://."
    return COPY


def endpoint(raw: str, config: ProviderConfig) -> Trouble | None:
    """What is wrong with an endpoint that was accepted."""
    parts, base = urlsplit(raw.strip()), urlsplit(config.base_url)
    host, setting, path = (base.hostname or "").lower(), config.endpoint_setting, parts.path.lower()
    if re.search(PLACEHOLDER, f"{host}{path}") or host.endswith(("example.com", "example.org")):
        return "This is the placeholder of an example.", "Replace the placeholder by the name of your own resource."
    told = next((dialect for dialect, words in OPERATIONS.items() if re.search(words, path)), config.dialect)
    if is_openai(config.base_url) and config.dialect == AZURE_JOBS:
        told = "openai-videos"
    if told != config.dialect:
        words = f"This is an address of the dialect {told}, but {setting} makes a provider of {config.dialect}."
        return words, f"Put it into {HOMES[told]}, or into PROVIDERS with that dialect, and leave {setting} empty."
    if re.fullmatch(r"\d{4}-\d\d-\d\d.*", config.api_version) and config.base_url.endswith("/openai/v1"):
        words = f"The v1 API knows no dated api-version such as {config.api_version}."
        return words, f"Remove ?api-version=... from {setting}, or make it api-version=preview."
    if base.scheme == "http" and (is_azure(config.base_url) or is_openai(config.base_url)):
        return "Over plain http the key would travel readable for everybody.", f"Begin {setting} with https://."
    return None


def reading_of(raw: str, config: ProviderConfig) -> str:
    """How an endpoint is read, and what was left out of it."""
    path = urlsplit(raw.strip()).path.lower()
    kinds = {
        "a project's address": "/api/projects/",
        "an address of chat completions": "/chat/completions",
        "the address of a file": "/content",
        "an address of one operation": OPERATIONS[config.dialect],
    }
    told = next((kind for kind, words in kinds.items() if re.search(words, path)), None)
    return f"{config.base_url} ({config.dialect}{f'; given as {told}' if told else ''})"


def key(config: ProviderConfig) -> Trouble | None:
    """What is wrong with a key, before anybody is asked."""
    text, setting = config.api_key, config.key_setting
    if not text:
        if is_openai(config.base_url):
            return f"{setting} is not set, and api.openai.com lets nobody in without a key.", f"Set {setting}."
        return None
    if text[0] in "\"'" or text[-1] in "\"'":
        return f"{setting} has quotes around the key.", f"Remove the quotes from {setting}."
    if re.match(r"(?i)https?://", text):
        return (
            f"{setting} holds an address, not a key.",
            f"Put the key into {setting}, the address into its own setting.",
        )
    if re.search(r"(?i)(AccountKey|SharedAccessKey)=", text):
        return f"{setting} holds a connection string.", f"Put the key of the model's resource into {setting}."
    if re.search(PLACEHOLDER, text) or set(text) <= {"*", ".", "x", "X"}:
        return f"{setting} holds a placeholder.", f"Put the real key into {setting}."
    return None


def refused_key(config: ProviderConfig) -> str:
    """What a refused key looks like, if that tells something; "" otherwise."""
    text = config.api_key
    if text.startswith("sk-") and is_azure(config.base_url):
        return " It looks like a key of OpenAI; this resource wants its own ('Keys and Endpoint' in the portal)."
    if re.fullmatch(r"[0-9a-fA-F]{32}|[A-Za-z0-9]{84}", text) and is_openai(config.base_url):
        return " It looks like a key of an Azure resource; api.openai.com wants one that begins with sk-."
    if not text and config.auth != "entra":
        return " None is set, and this server wants one."
    return ""


def model(config: ProviderConfig) -> Trouble | None:
    """What is wrong with the name of a model or deployment, before anybody is asked."""
    text, setting = config.model, config.model_setting
    if re.match(r"(?i)https?://", text):
        return f"{setting} holds an address, not a name.", f"Put the name of the deployment into {setting}."
    if like_a_key(text):
        return f"{setting} looks like a key.", f"Put the name of the deployment into {setting}."
    if re.search(PLACEHOLDER, text):
        return f"{setting} holds a placeholder.", f"Put the name of your deployment into {setting}."
    if is_azure(config.base_url) and not re.fullmatch(r"[\w.-]{1,64}", text, re.ASCII):
        words = f"{setting} cannot be the name of a deployment: those are letters, digits, '.', '_' and '-'."
        return (
            words,
            f"Copy the name from the portal's list of deployments into {setting}; it may differ from the model.",
        )
    return None
