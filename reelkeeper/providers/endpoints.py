"""What people paste as an endpoint -> the base URL of the API. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

DEFAULT_API_VERSION = "preview"

_NAME = re.compile(r"\w[\w-]*(\.[\w-]+)*\.?", re.ASCII)
_V1 = re.compile(r"(?i)(.*?/openai/v1)(/.*)?")
_OPERATION = re.compile(r"(?i)(.*?)/video/generations(/.*)?")
_RESOURCE = re.compile(r"(?i)|/openai(/deployments(/.*)?)?|/api/projects/.*")
"""Paths that tell which resource is meant, but not where its v1 API is."""


def parse_endpoint(text: str) -> tuple[str, str]:
    """Base URL (no trailing slash) and api-version of a pasted endpoint of the jobs dialect.

    ``https://r.openai.azure.com``                                     -> ``https://r.openai.azure.com/openai/v1``
    ``https://r.openai.azure.com/openai/v1/``                          -> ``https://r.openai.azure.com/openai/v1``
    ``https://h/openai/v1/video/generations/jobs?api-version=preview`` -> ``https://h/openai/v1``
    ``https://h/openai/deployments/d/video/generations/jobs``          -> ``https://h/openai/deployments/d``
    ``https://r.services.ai.azure.com/api/projects/p``                 -> ``https://r.services.ai.azure.com/openai/v1``

    Another path is taken as the base as it is (a gateway). Raises ValueError with the rest of a sentence that starts
    with the setting's name; the text itself is not repeated, it could hold a key.
    """
    text = text.strip()
    if re.search(r"[^!-~]|[<>{}\"'`\\^|]", text):
        raise ValueError("holds a space, a quote or a placeholder in brackets; give the bare https:// address.")
    try:
        parts = urlsplit(text)
        ip_version = ip_address(parts.hostname or "").version if ":" in (parts.hostname or "") else 0
    except ValueError:
        parts, ip_version = urlsplit(""), 0
    if parts.scheme not in ("https", "http") or not (ip_version or _NAME.fullmatch(parts.hostname or "")):
        raise ValueError("is no URL: it must start with https:// and name the resource's host.")
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
    return f"{parts.scheme}://{host}{_base_path(parts.path)}", query.get("api-version") or DEFAULT_API_VERSION


def _base_path(path: str) -> str:
    path = re.sub("/{2,}", "/", path).rstrip("/")
    if found := _V1.fullmatch(path) or _OPERATION.fullmatch(path):
        path = found[1]
        return "/openai/v1" if path.lower().startswith("/api/projects/") else path
    return "/openai/v1" if _RESOURCE.fullmatch(path) else path
