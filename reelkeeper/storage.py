"""How to reach the storage account: by connection string, or by identity and service addresses.

Checked when it is made, so that a truncated key stops the start instead of the first upload. Vendor libraries are
imported only when an adapter asks for a credential: settings may import this module for free.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reelkeeper.errors import SettingsError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

# Account and key of every storage emulator, published by Microsoft: no secret.
DEVSTORE_ACCOUNT = "devstoreaccount1"
DEVSTORE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class StorageConnection:
    """One storage account, told in one of two ways.

    `connection_string`: with an AccountKey, or ``UseDevelopmentStorage=true``. Or `blob_service_uri` and
    `table_service_uri`, reached with `credential` (default: DefaultAzureCredential, as the user-assigned identity
    `client_id` where one is given). Raises SettingsError, whose message never holds a secret.
    """

    connection_string: str | None = field(default=None, repr=False)
    blob_service_uri: str | None = None
    table_service_uri: str | None = None
    client_id: str | None = None
    credential: TokenCredential | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.connection_string is not None:
            _check_key(self._parts)
            return
        for name, uri in (("blobServiceUri", self.blob_service_uri), ("tableServiceUri", self.table_service_uri)):
            if urlsplit(uri or "").scheme != "https" or not urlsplit(uri or "").netloc:
                raise SettingsError(
                    f"Storage has no connection string, so {name} must be the service's https address, "
                    "such as https://ACCOUNT.blob.core.windows.net or https://ACCOUNT.table.core.windows.net."
                )

    @property
    def identity_based(self) -> bool:
        return self.connection_string is None

    @property
    def full_connection_string(self) -> str:
        """The connection string with ``UseDevelopmentStorage=true`` spelled out."""
        return ";".join(f"{name}={value}" for name, value in self._parts.items())

    @property
    def account_name(self) -> str:
        """The account of the connection string; KeyError when identity based."""
        return self._parts["AccountName"]

    @property
    def account_key(self) -> str:
        return self._parts["AccountKey"]

    @cached_property
    def token_credential(self) -> TokenCredential:
        """One credential for all services, so that they share its token cache."""
        if self.credential is not None:
            return self.credential
        from azure.identity import DefaultAzureCredential

        if self.client_id is None:
            return DefaultAzureCredential()
        return DefaultAzureCredential(managed_identity_client_id=self.client_id)

    @cached_property
    def _parts(self) -> dict[str, str]:
        """Name -> value of the connection string, names as Azure spells them."""
        parts: dict[str, str] = {}
        for piece in (self.connection_string or "").split(";"):
            name, equals, value = piece.strip().partition("=")
            if name and not equals:
                raise SettingsError(
                    "The storage connection string is malformed: it must read Name=Value;Name=Value;... "
                    "Copy it whole from 'Access keys' of the storage account."
                )
            if name:
                parts[_SPELLING.get(name.lower(), name)] = value
        if parts.get("UseDevelopmentStorage", "").lower() != "true":
            return parts
        host = parts.get("DevelopmentStorageProxyUri", "http://127.0.0.1").rstrip("/")
        return {
            "DefaultEndpointsProtocol": urlsplit(host).scheme,
            "AccountName": DEVSTORE_ACCOUNT,
            "AccountKey": DEVSTORE_KEY,
            "BlobEndpoint": f"{host}:10000/{DEVSTORE_ACCOUNT}",
            "QueueEndpoint": f"{host}:10001/{DEVSTORE_ACCOUNT}",
            "TableEndpoint": f"{host}:10002/{DEVSTORE_ACCOUNT}",
        }


_SPELLING = {
    name.lower(): name
    for name in (
        "AccountName",
        "AccountKey",
        "BlobEndpoint",
        "TableEndpoint",
        "UseDevelopmentStorage",
        "DevelopmentStorageProxyUri",
    )
}


def _check_key(parts: dict[str, str]) -> None:
    """Signed URLs need the account's name and key, and a cut key fails only when first used: look now."""
    for name in ("AccountName", "AccountKey"):
        if not parts.get(name):
            raise SettingsError(
                f"The storage connection string has no {name}, which signed URLs need. Copy it whole from "
                "'Access keys' of the storage account, or use blobServiceUri and tableServiceUri with an identity."
            )
    try:
        base64.b64decode(parts["AccountKey"], validate=True)
    except binascii.Error:
        raise SettingsError(
            "The AccountKey in the storage connection string is not valid Base64. Was it cut when it was copied?"
        ) from None
