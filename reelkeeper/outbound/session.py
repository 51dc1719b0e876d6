"""The HTTP session under every way out: sends what it is told and nothing else, and tells in words what went wrong."""

from __future__ import annotations

import ssl
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NameResolutionError, NewConnectionError

POOL_SIZE = 32


class Session(requests.Session):
    """No cookies, no password out of a .netrc or an address, no redirects of its own."""

    def __init__(self, adapter: HTTPAdapter | None = None) -> None:
        super().__init__()
        self.auth = lambda request: request
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = adapter or HTTPAdapter(pool_maxsize=POOL_SIZE)
        for scheme in ("https://", "http://"):
            self.mount(scheme, adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: the library would look into a redirect even when it is told not to follow it."""


def origin(url: str) -> tuple[str, str | None, int]:
    """Scheme, host and port. Raises ValueError for what has none."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def never_sent(error: Exception) -> bool:
    """Whether it failed before the request's first byte went out: then it cannot have had any effect."""
    reason = _reason(error)
    if isinstance(error, requests.exceptions.SSLError):
        causes = getattr(reason, "args", ())
        return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in (reason, *causes))
    unsent = (requests.ConnectTimeout, requests.exceptions.ProxyError, ValueError)
    return isinstance(error, unsent) or isinstance(reason, NewConnectionError)


def in_words(error: Exception) -> str:
    reason = _reason(error)
    if isinstance(error, requests.Timeout):
        return "No answer in time."
    if isinstance(error, requests.exceptions.SSLError):
        return "The TLS connection failed."
    if isinstance(error, requests.exceptions.ProxyError):
        return "The proxy could not be reached."
    if isinstance(reason, NameResolutionError):
        return "The host name does not resolve."
    if isinstance(reason, NewConnectionError):
        return "The connection was refused."
    if isinstance(error, ValueError):
        return "The address or the key cannot be used."
    return "The connection broke."


def _reason(error: Exception) -> object:
    """What urllib3 says went wrong; requests wraps it once or twice."""
    inner = error.args[0] if error.args else None
    return getattr(inner, "reason", inner)
