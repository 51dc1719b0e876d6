"""What people paste as an endpoint -> the base URL of the API. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

AZURE_JOBS, OPENAI_VIDEOS, OPENAI_IMAGES = "azure-jobs", "openai-videos", "openai-images"
DEFAULT_API_VERSION = "preview"
DEPLOYMENT_API_VERSION = "2025-04-01-preview"
"""The older paths answer nothing without one."""
AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")

PORTALS = (
    "portal.azure.com", "ai.azure.com", "oai.azure.com", "ml.azure.com", "management.azure.com",
    "platform.openai.com", "chatgpt.com",
)  # fmt: skip
"""Where people are when they copy an address."""

_NAME = re.compile(r"\w[\w-]*(\.[\w-]+)*\.?", re.ASCII)
_V1 = re.compile(r"(?i)(.*?/openai/v1)(/.*)?")
_OPERATION = re.compile(r"(?i)(.*?)/video/generations(/.*)?")
_RESOURCE = re.compile(r"(?i)|/openai(/deployments(/.*)?)?|/api/projects/.*")
"""Paths that tell which resource is meant, but not where its v1 API is."""

_VIDEOS = re.compile(r"(?i)(.*?)/videos(/.*)?")
_IMAGES = re.compile(r"(?i)(.*?)/images(/.*)?")
_DEPLOYMENT = re.compile(r"(?i)/openai/deployments/[^/]+")
_OTHER_OPERATION = re.compile(r"(?i)(.*?/v1)/(chat|images|models|responses|completions|files|video|audio)(/.*)?")


def is_azure(url: str) -> bool:
    """Whether the host is one of Azure's own, where a key has its own header and an identity is known."""
    return (urlsplit(url).hostname or "").endswith(AZURE_HOSTS)


def is_openai(url: str) -> bool:
    return urlsplit(url).hostname == "api.openai.com"


def parse_endpoint(text: str, dialect: str = AZURE_JOBS) -> tuple[str, str]:
    """Base URL (no trailing slash) and api-version ("" where the dialect has none) of a pasted endpoint.

    ``https://r.openai.azure.com``                                     -> ``https://r.openai.azure.com/openai/v1``
    ``https://r.openai.azure.com/openai/v1/``                          -> ``https://r.openai.azure.com/openai/v1``
    ``https://h/openai/v1/video/generations/jobs?api-version=preview`` -> ``https://h/openai/v1``
    ``https://h/openai/deployments/d/video/generations/jobs``          -> ``https://h/openai/deployments/d``
    ``https://r.services.ai.azure.com/api/projects/p``                 -> ``https://r.services.ai.azure.com/openai/v1``

    In the other dialects a bare host means ``/v1`` (Azure: ``/openai/v1``), and ``.../v1/videos/...`` its ``/v1``.
    Images of a deployment path, ``/openai/deployments/d/images/generations``, stay there. Another path is taken as the
    base as it is (a gateway). Raises ValueError with the rest of a sentence that starts with the setting's name; the
    text itself is not repeated, it could hold a key.
    """
    text = text.strip()
    if re.search(r"[^!-~]|[<>{}\"'`\\^|]", text):
        raise ValueError("holds a space, a quote or a placeholder in brackets; give the bare https:// address.")
    try:
        parts = urlsplit(text)
        ip_version = ip_address(parts.hostname or "").version if ":" in (parts.hostname or "") else 0
    except ValueError:
        parts, ip_version = urlsplit(""), 0
    bracketed = "[" in parts.netloc and not ip_version  # older versions of Python take any name in brackets
    if parts.scheme not in ("https", "http") or bracketed or not (ip_version or _NAME.fullmatch(parts.hostname or "")):
        raise ValueError("is no URL: it must start with https:// and name the resource's host.")
    if parts.hostname in PORTALS:
        raise ValueError("is a portal's web page, not an API; copy the resource's own endpoint from there.")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password; give the key in its own setting.")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("has a port that is no number from 1 to 65535.")
    host = f"[{parts.hostname}]" if ip_version else parts.hostname
    if port not in (None, 443 if parts.scheme == "https" else 80):
        host = f"{host}:{port}"
    query = {name.lower(): values[0].strip() for name, values in parse_qs(parts.query).items()}
    path = re.sub("/{2,}", "/", parts.path).rstrip("/")
    if dialect == OPENAI_VIDEOS:
        return f"{parts.scheme}://{host}{_videos_path(path, is_azure(text))}", ""
    if dialect == OPENAI_IMAGES:
        path = _images_path(path, is_azure(text))
        usual = DEPLOYMENT_API_VERSION if _DEPLOYMENT.fullmatch(path) else ""
        return f"{parts.scheme}://{host}{path}", query.get("api-version") or usual
    return f"{parts.scheme}://{host}{_jobs_path(path)}", query.get("api-version") or DEFAULT_API_VERSION


def _jobs_path(path: str) -> str:
    if found := _V1.fullmatch(path) or _OPERATION.fullmatch(path):
        path = found[1]
        return "/openai/v1" if path.lower().startswith("/api/projects/") else path
    return "/openai/v1" if _RESOURCE.fullmatch(path) else path


def _videos_path(path: str, azure: bool) -> str:
    if azure:
        return "/openai/v1"
    if found := _V1.fullmatch(path) or _VIDEOS.fullmatch(path) or _OTHER_OPERATION.fullmatch(path):
        return found[1]
    return {"": "/v1", "/openai": "/openai/v1"}.get(path.lower(), path)


def _images_path(path: str, azure: bool) -> str:
    path = found[1] if (found := _IMAGES.fullmatch(path)) else path
    if _DEPLOYMENT.fullmatch(path):
        return path
    return _videos_path(path, azure)
