"""What people paste as an endpoint -> the base URL of the API. Pure."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

DEFAULT_API_VERSION = "preview"


def parse_endpoint(text: str) -> tuple[str, str]:
    """Base URL (no trailing slash) and api-version of a pasted endpoint of the jobs dialect.

    ``https://r.openai.azure.com``                                     -> ``https://r.openai.azure.com/openai/v1``
    ``https://r.openai.azure.com/openai/v1/``                          -> ``https://r.openai.azure.com/openai/v1``
    ``https://h/openai/v1/video/generations/jobs?api-version=preview`` -> ``https://h/openai/v1``

    Another path is taken as the base as it is (a gateway). Raises ValueError with the rest of a sentence that starts
    with the setting's name; the text itself is not repeated, it could hold a key.
    """
    parts = urlsplit(text.strip())
    try:
        port = parts.port
    except ValueError:
        raise ValueError("has a port that is no number.") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("is no URL: it must start with https:// and name the resource's host.")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password; give the key in its own setting.")
    path, operation, _ = parts.path.partition("/video/generations")
    path = path.rstrip("/")
    if not operation and (path in ("", "/openai") or path.startswith("/api/projects/")):
        path = "/openai/v1"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    version = parse_qs(parts.query).get("api-version", [DEFAULT_API_VERSION])[0]
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}", version
