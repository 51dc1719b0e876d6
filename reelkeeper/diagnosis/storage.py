"""The storage account as the app uses it: write, read and delete a blob and a row, and hand out a signed URL.

The signed URL is fetched as a browser would, without credentials; it must read and must not write, and without its
signature the same address must not be readable. Scratch things are deleted again, whatever happens.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import requests
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from reelkeeper.clips.blobs import BlobClips
from reelkeeper.diagnosis.provider import clock_check
from reelkeeper.diagnosis.report import Check, bad, good
from reelkeeper.errors import SettingsError
from reelkeeper.outbound.session import Session, in_words
from reelkeeper.providers.answers import server_time
from reelkeeper.storage import StorageConnection

OPTIONS: dict[str, Any] = {"retry_total": 0, "connection_timeout": 4, "read_timeout": 8}
HTTP_TIMEOUT = (4, 8)
TABLE = "jobs"
SCOPE = "https://storage.azure.com/.default"
SIGNED_FOR = timedelta(minutes=5)


def storage_checks(connection: StorageConnection, container: str, now: Callable[[], datetime]) -> Iterator[Check]:
    if connection.identity_based:
        # asked for by itself: the blob library stumbles over an identity without a token, and hides why
        try:
            connection.token_credential.get_token(SCOPE)
        except AzureError as error:
            fix = "Sign in (az login), or give the app a managed identity, or use a connection string."
            words = f"the app's identity got no token ({type(error).__name__})"
            yield bad("storage: credentials", words, fix)
            return
        yield good("storage: credentials", "the app's identity got a token")
    yield from _clock(connection, now)
    yield from _blobs(connection, container, now)
    yield from _tables(connection)


def _clock(connection: StorageConnection, now: Callable[[], datetime]) -> Iterator[Check]:
    """By an anonymous request, because a signed one is refused when the clock is wrong: any answer tells the time."""
    try:
        with Session() as session, session.get(blob_address(connection), timeout=HTTP_TIMEOUT, stream=True) as answer:
            yield from clock_check("storage: clock", server_time(answer.headers.get("date")), now())
    except (requests.RequestException, ValueError):
        return  # the next check says why


def _blobs(connection: StorageConnection, container: str, now: Callable[[], datetime]) -> Iterator[Check]:
    name, path, data = "storage: blobs", f"doctor/{secrets.token_hex(8)}.txt", secrets.token_bytes(64)
    try:
        with _blob_service(connection) as service:
            folder = service.get_container_client(container)
            blob = folder.get_blob_client(path)
            _write(lambda: blob.upload_blob(data), folder.create_container)
            try:
                same = blob.download_blob().readall() == data
                signed = list(_signed_url(connection, container, path, data, now)) if same else []
            finally:
                blob.delete_blob()
    except AzureError as error:
        yield bad(name, *_told(error, connection, "blob"))
        return
    if not same:
        yield bad(name, "what was written is not what is read", "Something between here and the account changes it.")
        return
    yield good(name, f"wrote, read and deleted one in the container {container}")
    yield from signed


def _signed_url(
    connection: StorageConnection, container: str, path: str, data: bytes, now: Callable[[], datetime]
) -> Iterator[Check]:
    name = "storage: signed url"
    try:
        clips = BlobClips(connection, container, now=now)
        try:
            url = clips.signed_url(path, now() + SIGNED_FOR)
        finally:
            clips.close()
        with Session() as session:
            read = session.get(url, timeout=HTTP_TIMEOUT)
            write = session.put(url, data=b"x", headers={"x-ms-blob-type": "BlockBlob"}, timeout=HTTP_TIMEOUT)
            bare = session.get(url.partition("?")[0], timeout=HTTP_TIMEOUT)
    except AzureError as error:
        yield bad(name, *_told(error, connection, "blob"))
        return
    except SettingsError as error:
        yield bad(name, str(error), "Give the account's own addresses (blobServiceUri, tableServiceUri).")
        return
    except (requests.RequestException, ValueError) as error:
        words = f"The signed URL cannot be fetched: {in_words(error)}"
        yield bad(name, words, "Callers will see the same: let them through the account's network rules.")
        return
    if read.status_code != 200 or read.content != data:
        fix = (
            "Set this machine's clock right; if the account forbids shared keys or has network rules, use an identity "
            "with the role Storage Blob Delegator (MEDIA_STORAGE__accountName), and let the callers in."
        )
        yield bad(name, f"reading by it is answered with HTTP {read.status_code}{_code(read)}", fix)
    elif write.ok:
        yield bad(name, "it can write, too", "Look who signs: the app's URLs are for reading only.")
    elif bare.status_code == 200:
        fix = f"Set the public access level of the container {container} to Private."
        yield bad(name, "the container is public: clips can be read without any signature", fix)
    else:
        yield good(name, "reads, does not write, and nothing is readable without it")


def _tables(connection: StorageConnection) -> Iterator[Check]:
    name = "storage: tables"
    # No owner's partition can have this name: `safe_owner` leaves no exclamation mark.
    row = {"PartitionKey": "!doctor", "RowKey": secrets.token_hex(8), "word": "scratch"}
    try:
        with _table_service(connection) as service:
            table = service.get_table_client(TABLE)
            _write(lambda: table.create_entity(row), table.create_table)
            try:
                same = table.get_entity(row["PartitionKey"], row["RowKey"])["word"] == row["word"]
            finally:
                table.delete_entity(row["PartitionKey"], row["RowKey"])
    except AzureError as error:
        yield bad(name, *_told(error, connection, "table"))
        return
    if same:
        yield good(name, f"wrote, read and deleted a row in the table {TABLE}")
    else:
        yield bad(name, "what was written is not what is read", "Something between here and the account changes it.")


def _write(send: Callable[[], object], make: Callable[[], object]) -> None:
    """As the app does: whoever writes first makes the container or table."""
    try:
        send()
    except ResourceNotFoundError:
        with suppress(ResourceExistsError):
            make()
        send()


def blob_address(connection: StorageConnection) -> str:
    if connection.identity_based:
        return connection.blob_service_uri or ""
    with BlobServiceClient.from_connection_string(connection.full_connection_string) as service:
        return str(service.primary_endpoint)


def _blob_service(connection: StorageConnection) -> BlobServiceClient:
    if connection.identity_based:
        uri = connection.blob_service_uri or ""
        return BlobServiceClient(uri, credential=connection.token_credential, **OPTIONS)
    return BlobServiceClient.from_connection_string(connection.full_connection_string, **OPTIONS)


def _table_service(connection: StorageConnection) -> TableServiceClient:
    if connection.identity_based:
        uri = connection.table_service_uri or ""
        return TableServiceClient(endpoint=uri, credential=connection.token_credential, **OPTIONS)
    return TableServiceClient.from_connection_string(connection.full_connection_string, **OPTIONS)


def _told(error: AzureError, connection: StorageConnection, service: str) -> tuple[str, str]:
    """What went wrong, without the address or anything signed, and what to do about it."""
    answer = getattr(error, "response", None)
    told = getattr(error, "error_code", None) or (answer.headers.get("x-ms-error-code") if answer is not None else None)
    code = str(getattr(told, "value", told) or "")[:60]  # an enum or a text, as the service's library likes it
    setting = "MEDIA_STORAGE (or AzureWebJobsStorage)"
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        local = not connection.identity_based and urlsplit(blob_address(connection)).hostname in (
            "127.0.0.1",
            "localhost",
        )
        if local:
            words = f"the storage emulator does not answer ({type(error).__name__})"
            return words, "Start it: python3 dev.py up brings it along, or: npx azurite --skipApiVersionCheck"
        fix = f"Look for a typing error in the account's name in {setting}, for a deleted account, and for its network "
        return f"the {service} service is out of reach ({type(error).__name__})", (
            f"{fix}rules; tables want an account of the kind general-purpose v2."
        )
    if not isinstance(error, HttpResponseError):
        return f"failed with {type(error).__name__}", f"Check {setting}."
    status = error.status_code
    words = f"refused with HTTP {status}{f' {code}' if code else ''}"
    if code == "AuthorizationFailure" and not connection.identity_based:
        return words, f"{_KEY} {_NETWORK}"
    return words, _FIXES.get(code) or _FIXES.get(str(status), f"Look up the code, and check {setting}.")


def _code(answer: requests.Response) -> str:
    code = answer.headers.get("x-ms-error-code", "")
    return f" {code[:60]}" if code else ""


_ROLES = (
    "Give the app's identity the roles Storage Blob Data Contributor, Storage Blob Delegator and Storage Table Data "
    "Contributor on the account (new ones need minutes to count)."
)
_NETWORK = "Or the account's network rules keep this machine out ('Networking' in the portal)."
_KEY = (
    "Copy the connection string again from 'Access keys' of the storage account: the key is of another account, or was "
    "renewed. If it is right, set this machine's clock."
)
_FIXES = {
    "AuthenticationFailed": _KEY,
    "InvalidAuthenticationInfo": _KEY,
    "AuthorizationPermissionMismatch": _ROLES,
    "InsufficientAccountPermissions": _ROLES,
    "AuthorizationFailure": f"{_ROLES} {_NETWORK}",
    "KeyBasedAuthenticationNotPermitted": (
        f"The account forbids keys: set MEDIA_STORAGE__accountName (or AzureWebJobsStorage__accountName). {_ROLES}"
    ),
    "AccountIsDisabled": "The account or its subscription is disabled: look at it in the portal.",
    "ContainerBeingDeleted": "The container is just being deleted: wait half a minute, or name another.",
    "401": _KEY,
    "403": _KEY,
}
