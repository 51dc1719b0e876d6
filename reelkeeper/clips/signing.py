"""Signed URLs: the query string that lets its holder read one blob for a while.

Signed with the account's key, or, when the app has only an identity, with a user-delegation key that the service
lends for some hours. Nothing here is ever logged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from azure.storage.blob import BlobSasPermissions, UserDelegationKey, generate_blob_sas

# Microsoft's advice for `st` and for key starts: clocks of clients and servers differ by up to a quarter of an hour.
CLOCK_SKEW = timedelta(minutes=15)
KEY_LIFE = timedelta(hours=24)
MAX_KEY_SPAN = timedelta(days=7)

Now = Callable[[], datetime]
FetchKey = Callable[[datetime, datetime], UserDelegationKey]


class Signer(Protocol):
    def sign(self, container: str, path: str, expires_at: datetime) -> str:
        """The query string of a URL that reads this blob until `expires_at`."""


@dataclass(frozen=True)
class AccountKeySigner:
    """Signs with the account's own key, offline. `https_only`: refuse the URL over plain http."""

    account: str
    key: str = field(repr=False)
    https_only: bool
    now: Now

    def sign(self, container: str, path: str, expires_at: datetime) -> str:
        return generate_blob_sas(
            self.account,
            container,
            path,
            account_key=self.key,
            permission=BlobSasPermissions(read=True),
            start=self.now() - CLOCK_SKEW,
            expiry=expires_at,
            protocol="https" if self.https_only else None,
        )


class DelegationSigner:
    """Signs with a user-delegation key; `fetch(start, end)` asks the service for one.

    A key is used only for URLs that it outlives, so with URLs of an hour it is renewed an hour before it ends.
    """

    def __init__(self, account: str, fetch: FetchKey, now: Now) -> None:
        self._account, self._fetch, self._now = account, fetch, now
        self._lock = threading.Lock()
        self._key: UserDelegationKey | None = None
        self._key_ends: datetime | None = None

    def sign(self, container: str, path: str, expires_at: datetime) -> str:
        """Raises ValueError when `expires_at` is more than a week away, the longest a key lives."""
        now = self._now()
        return generate_blob_sas(
            self._account,
            container,
            path,
            user_delegation_key=self._key_until(expires_at, now),
            permission=BlobSasPermissions(read=True),
            start=now - CLOCK_SKEW,
            expiry=expires_at,
            protocol="https",
        )

    def _key_until(self, expires_at: datetime, now: datetime) -> UserDelegationKey:
        with self._lock:  # held while fetching: the others wait for this key instead of each fetching one
            if self._key is None or self._key_ends is None or self._key_ends < expires_at:
                start = now - CLOCK_SKEW
                end = max(now + KEY_LIFE, expires_at)
                if end - start > MAX_KEY_SPAN:
                    raise ValueError("a URL signed with an identity can be valid for less than 7 days")
                self._key, self._key_ends = self._fetch(start, end), end
            return self._key
