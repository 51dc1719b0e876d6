"""How a request shows who we are: a key in one of two headers, an Entra ID token, or nothing at all.

The identity library is imported with the first token that is needed, never at start.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Protocol

from reelkeeper.providers.base import ProviderConfig

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

log = logging.getLogger(__name__)

RENEW_BEFORE = timedelta(minutes=5)


class NoToken(Exception):
    """There is no token to be had. `refused`: the identity was turned down; else its service was out of reach."""

    def __init__(self, words: str, refused: bool) -> None:
        super().__init__(words)
        self.words, self.refused = words, refused


class Credentials(Protocol):
    def headers(self) -> dict[str, str]:
        """What to send along. Raises NoToken."""

    def renew(self, refused: dict[str, str]) -> bool:
        """Whether there is something newer than the headers that were just `refused`. Raises NoToken."""

    def secrets(self) -> tuple[str, ...]:
        """What must never be repeated."""


def credentials_of(config: ProviderConfig, now: Callable[[], datetime]) -> Credentials:
    return IdentityCredentials(config, now) if config.auth == "entra" else KeyCredentials(config)


class KeyCredentials:
    """The configured key, or none: self-hosted servers often want none."""

    def __init__(self, config: ProviderConfig) -> None:
        key = config.api_key
        named = {"api-key": key} if config.auth == "api-key" else {"Authorization": f"Bearer {key}"}
        self._headers = named if key else {}
        self._secrets = (key,) if key else ()

    def headers(self) -> dict[str, str]:
        return dict(self._headers)

    def renew(self, refused: dict[str, str]) -> bool:
        return False

    def secrets(self) -> tuple[str, ...]:
        return self._secrets


class IdentityCredentials:
    """Tokens of the app's own identity, kept until shortly before they run out."""

    def __init__(self, config: ProviderConfig, now: Callable[[], datetime]) -> None:
        self._scope, self._credential, self._now = config.scope, config.credential, now
        self._token: AccessToken | None = None
        self._lock = threading.Lock()

    def headers(self) -> dict[str, str]:
        with self._lock:
            if self._token is None or self._left(self._token) < RENEW_BEFORE:
                self._token = self._fetch()
            return _bearer(self._token)

    def renew(self, refused: dict[str, str]) -> bool:
        with self._lock:
            if self._token is None or _bearer(self._token) == refused:
                self._token = None
                self._token = self._fetch()
            return _bearer(self._token) != refused

    def secrets(self) -> tuple[str, ...]:
        token = self._token
        return (token.token,) if token else ()

    def _left(self, token: AccessToken) -> timedelta:
        return datetime.fromtimestamp(token.expires_on, timezone.utc) - self._now()

    def _fetch(self) -> AccessToken:
        """A new token; the old one when there is no new one yet and it still counts."""
        from azure.core.exceptions import AzureError, ClientAuthenticationError

        try:
            return self._identity().get_token(self._scope)
        except AzureError as error:
            if self._token is not None and self._left(self._token) > timedelta(0):
                log.warning("no new token: %s; the old one still counts", type(error).__name__)
                return self._token
            refused = isinstance(error, ClientAuthenticationError)
            raise NoToken(f"The app's identity gave no token ({type(error).__name__}).", refused) from None

    def _identity(self) -> TokenCredential:
        if self._credential is None:
            from azure.identity import DefaultAzureCredential

            self._credential = DefaultAzureCredential()
        return self._credential


def _bearer(token: AccessToken) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.token}"}
