"""A storage connection is checked when it is made and keeps its secrets to itself."""

from __future__ import annotations

import pytest

from reelkeeper.errors import SettingsError
from reelkeeper.storage import DEVSTORE_KEY, StorageConnection

KEY = "c2VjcmV0LWtleQ=="
FULL = f"DefaultEndpointsProtocol=https;AccountName=media;AccountKey={KEY};EndpointSuffix=core.windows.net"
BLOBS, TABLES = "https://media.blob.core.windows.net", "https://media.table.core.windows.net"


@pytest.mark.parametrize(
    "text", [FULL, FULL + ";", f"\n {FULL.replace(';', ' ; ')} \n", FULL.replace("Account", "ACCOUNT")]
)
def test_a_pasted_connection_string_is_understood(text: str) -> None:
    """Blanks, a last semicolon and another spelling of the names do no harm."""
    connection = StorageConnection(text)
    assert (connection.account_name, connection.account_key) == ("media", KEY)
    assert connection.full_connection_string == FULL
    assert not connection.identity_based


@pytest.mark.parametrize(
    ("text", "blobs", "tables"),
    [
        ("UseDevelopmentStorage=true", "http://127.0.0.1:10000", "http://127.0.0.1:10002"),
        ("usedevelopmentstorage=True;", "http://127.0.0.1:10000", "http://127.0.0.1:10002"),
        (
            "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://azurite/",
            "http://azurite:10000",
            "http://azurite:10002",
        ),
    ],
)
def test_development_storage_is_spelled_out(text: str, blobs: str, tables: str) -> None:
    """The short form means the well-known account on the emulator's own ports."""
    connection = StorageConnection(text)
    assert (connection.account_name, connection.account_key) == ("devstoreaccount1", DEVSTORE_KEY)
    assert f"BlobEndpoint={blobs}/devstoreaccount1" in connection.full_connection_string
    assert f"TableEndpoint={tables}/devstoreaccount1" in connection.full_connection_string


@pytest.mark.parametrize(
    ("text", "blame"),
    [
        ("", "AccountName"),
        ("media", "malformed"),
        (f"AccountKey={KEY}", "AccountName"),
        ("AccountName=media;AccountKey=", "AccountKey"),
        ("AccountName=media;SharedAccessSignature=sv=2026&sig=geheim", "AccountKey"),
        (f"AccountName=media;AccountKey={KEY[:-3]}", "Base64"),
        ("UseDevelopmentStorage=false", "AccountName"),
    ],
)
def test_a_broken_connection_string_is_refused_at_once(text: str, blame: str) -> None:
    """The message names what is wrong and never repeats a secret."""
    with pytest.raises(SettingsError, match=blame) as refused:
        StorageConnection(text)
    for secret in ("geheim", KEY[:-3]):
        assert secret not in str(refused.value)


@pytest.mark.parametrize(
    ("blobs", "tables", "blame"),
    [
        (None, None, "blobServiceUri"),
        (BLOBS, None, "tableServiceUri"),
        (None, TABLES, "blobServiceUri"),
        ("media.blob.core.windows.net", TABLES, "blobServiceUri"),
        (BLOBS, TABLES.replace("https", "http"), "tableServiceUri"),
    ],
)
def test_an_identity_needs_both_https_addresses(blobs: str | None, tables: str | None, blame: str) -> None:
    """Without a connection string, the address that is missing or unsafe for tokens is named."""
    with pytest.raises(SettingsError, match=blame):
        StorageConnection(blob_service_uri=blobs, table_service_uri=tables)


def test_all_services_share_one_credential() -> None:
    """Made when first asked for, then kept: one token cache, not one for each adapter."""
    connection = StorageConnection(blob_service_uri=BLOBS, table_service_uri=TABLES, client_id="0000-1111")
    assert connection.identity_based
    assert connection.token_credential is connection.token_credential
    assert type(connection.token_credential).__name__ == "DefaultAzureCredential"
    connection.token_credential.close()  # type: ignore[attr-defined]


def test_its_text_form_holds_no_secret() -> None:
    """A connection in a log line or a traceback shows no key."""
    assert KEY not in repr(StorageConnection(FULL))
