"""Signed URLs, offline: what they allow, when they begin and end, and how often a delegation key is fetched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs

import pytest
from azure.core.credentials import AccessToken
from azure.storage.blob import UserDelegationKey

from reelkeeper.clips.blobs import BlobClips
from reelkeeper.clips.signing import AccountKeySigner, DelegationSigner
from reelkeeper.errors import SettingsError
from reelkeeper.storage import StorageConnection

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
KEY = "c2VjcmV0LWtleQ=="


class KeyService:
    """Lends user-delegation keys as the blob service does; remembers for which spans."""

    def __init__(self) -> None:
        self.spans: list[tuple[datetime, datetime]] = []

    def fetch(self, start: datetime, end: datetime) -> UserDelegationKey:
        self.spans.append((start, end))
        key = UserDelegationKey()  # type: ignore[no-untyped-call]
        key.signed_oid, key.signed_tid, key.signed_service, key.signed_version = "oid", "tid", "b", "2026-10-06"
        key.signed_start, key.signed_expiry = start.isoformat(), end.isoformat()
        key.value = KEY
        return key


def at(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


def test_an_account_key_signs_reading_one_blob() -> None:
    """Read only, one blob, until the asked end, from a quarter of an hour ago, over https where the account has it."""
    signer = AccountKeySigner("media", KEY, https_only=True, now=at(NOW))
    query = parse_qs(signer.sign("media", "a/b.mp4", NOW + HOUR))
    assert (query["sp"], query["sr"], query["spr"]) == (["r"], ["b"], ["https"])
    assert (query["st"], query["se"]) == (["2026-11-20T11:45:00Z"], ["2026-11-20T13:00:00Z"])
    assert "spr" not in parse_qs(AccountKeySigner("media", KEY, False, at(NOW)).sign("media", "a/b.mp4", NOW + HOUR))


def test_the_signature_covers_the_path() -> None:
    """Another blob has another signature; the same one has the same."""
    signer = AccountKeySigner("media", KEY, https_only=True, now=at(NOW))
    first, again, other = (signer.sign("media", path, NOW + HOUR) for path in ("a.mp4", "a.mp4", "b.mp4"))
    assert first == again
    assert parse_qs(first)["sig"] != parse_qs(other)["sig"]


def test_a_delegation_key_signs_reading_one_blob() -> None:
    """The URL names the identity that vouches for it and the key's own span."""
    query = parse_qs(DelegationSigner("media", KeyService().fetch, at(NOW)).sign("media", "a.mp4", NOW + HOUR))
    assert (query["sp"], query["sr"], query["spr"]) == (["r"], ["b"], ["https"])
    assert (query["skoid"], query["sktid"], query["sks"]) == (["oid"], ["tid"], ["b"])
    assert query["ske"] == [(NOW + timedelta(hours=24)).isoformat()]


def test_one_delegation_key_serves_a_day_and_is_renewed_in_time() -> None:
    """Hourly URLs share a key for 23 hours; the next one gets a new key before the old one could cut it short."""
    service, clock = KeyService(), [NOW]
    signer = DelegationSigner("media", service.fetch, lambda: clock[0])
    for hours in (0, 1, 12, 23):
        clock[0] = NOW + timedelta(hours=hours)
        signer.sign("media", "a.mp4", clock[0] + HOUR)
    assert service.spans == [(NOW - timedelta(minutes=15), NOW + timedelta(hours=24))]
    clock[0] += timedelta(seconds=1)
    signer.sign("media", "a.mp4", clock[0] + HOUR)
    assert len(service.spans) == 2
    assert service.spans[1][1] == clock[0] + timedelta(hours=24)


def test_a_long_url_gets_a_key_that_outlives_it() -> None:
    """Up to the week that Azure allows; beyond that the refusal says so and nothing is fetched."""
    service = KeyService()
    signer = DelegationSigner("media", service.fetch, at(NOW))
    signer.sign("media", "a.mp4", NOW + timedelta(days=6))
    assert service.spans[0][1] == NOW + timedelta(days=6)
    with pytest.raises(ValueError, match="7 days"):
        signer.sign("media", "a.mp4", NOW + timedelta(days=7))
    assert len(service.spans) == 1


def test_racing_first_urls_share_one_key() -> None:
    """A page of fifty clips asks the service once."""
    service = KeyService()
    signer = DelegationSigner("media", service.fetch, at(NOW))
    workers = [
        threading.Thread(target=signer.sign, args=("media", f"{number}.mp4", NOW + HOUR)) for number in range(50)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=10)
    assert len(service.spans) == 1


def test_urls_of_an_azure_account_are_https() -> None:
    """The blob's own https address, with `@`, `~` and blanks as URLs need them; the key is nowhere in it."""
    clips = BlobClips(StorageConnection(f"AccountName=acct;AccountKey={KEY}"), "media", now=at(NOW))
    url = clips.signed_url("user_a@b.c/videos/x~2Fy z/0.mp4", NOW + HOUR)
    assert url.startswith("https://acct.blob.core.windows.net/media/user_a%40b.c/videos/x~2Fy%20z/0.mp4?st=")
    assert parse_qs(url)["spr"] == ["https"]
    assert KEY not in url
    clips.close()


def test_an_address_that_hides_the_account_is_refused() -> None:
    """Behind a custom domain the account's name is unknown, so no identity could sign: said at the start."""
    connection = StorageConnection(
        blob_service_uri="https://media.example.com",
        table_service_uri="https://acct.table.core.windows.net",
        credential=NoToken(),
    )
    with pytest.raises(SettingsError, match="blobServiceUri"):
        BlobClips(connection)


class NoToken:
    """A credential that must not be asked."""

    def get_token(self, *scopes: str, **_: object) -> AccessToken:
        raise AssertionError(f"asked for {scopes}")
