"""The clips in Azure Blob Storage: one container of block blobs.

Blocks are staged unseen and checked by MD5; one conditional commit makes the clip visible; whoever loses the race for
it gets the winner's. The container is made by the first write that misses it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, TypeVar
from urllib.parse import quote

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, BlobClient, BlobServiceClient, ContentSettings, StorageErrorCode

from reelkeeper.clips import limits
from reelkeeper.clips.base import MissingBlob, MissingBlocks, StagedBlock, StoredClip
from reelkeeper.clips.signing import AccountKeySigner, DelegationSigner, Now, Signer
from reelkeeper.errors import SettingsError
from reelkeeper.storage import StorageConnection

Result = TypeVar("Result")

CLIP_CACHE_CONTROL = "private, max-age=31536000, immutable"
# What `put` writes may be replaced, so nobody may keep it for a year.
SMALL_CACHE_CONTROL = "private, max-age=3600"

# The orchestration retries too, and with more patience: here only a hiccup is bridged, by three waits of 0 to 2 s (the
# SDK's own first wait is 15 s).
_CLIENT_OPTIONS: dict[str, Any] = {
    "retry_total": 3,
    "initial_backoff": 0,
    "increment_base": 1,
    "random_jitter_range": 1,
    "connection_timeout": 5,
    "read_timeout": 60,
    "http_logging_level": logging.DEBUG,  # one INFO entry per request would drown the job's own log
}
_PING_OPTIONS: dict[str, Any] = {"retry_total": 0, "connection_timeout": 3, "read_timeout": 5}


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class BlobClips:
    """`Clips` in the container `container`, over one connection pool; safe to share between threads."""

    def __init__(self, connection: StorageConnection, container: str = "media", *, now: Now = _utc_now) -> None:
        if connection.identity_based:
            self._service = BlobServiceClient(
                connection.blob_service_uri or "", credential=connection.token_credential, **_CLIENT_OPTIONS
            )
        else:
            self._service = BlobServiceClient.from_connection_string(
                connection.full_connection_string, **_CLIENT_OPTIONS
            )
        self._container = self._service.get_container_client(container)
        self._signer = self._make_signer(connection, now)

    def _make_signer(self, connection: StorageConnection, now: Now) -> Signer:
        if not connection.identity_based:
            https_only = self._service.primary_endpoint.startswith("https:")
            return AccountKeySigner(connection.account_name, connection.account_key, https_only, now)
        if not self._service.account_name:
            raise SettingsError(
                "blobServiceUri must be the account's own address (https://ACCOUNT.blob.core.windows.net): "
                "signed URLs need the account's name, which a custom domain does not tell."
            )
        return DelegationSigner(self._service.account_name, self._service.get_user_delegation_key, now)

    def close(self) -> None:
        self._service.close()

    def staged(self, path: str) -> list[StagedBlock]:
        try:
            _, uncommitted = self._blob(path).get_block_list("uncommitted")
        except ResourceNotFoundError:
            return []
        return [StagedBlock(str(block.id), int(block.size)) for block in uncommitted]

    def stage(self, path: str, block_id: str, data: bytes) -> None:
        limits.check_block(block_id, data)
        blob = self._blob(path)
        try:
            self._write(lambda: blob.stage_block(block_id, data, validate_content=True))
        except HttpResponseError as error:
            if _is(error, StorageErrorCode.INVALID_BLOB_OR_BLOCK):
                raise ValueError("all block ids of one clip must have the same length") from None
            raise

    def commit(
        self, path: str, block_ids: list[str], *, content_type: str, filename: str, metadata: dict[str, str]
    ) -> StoredClip:
        limits.check_block_ids(block_ids)
        limits.check_metadata(metadata)
        settings = ContentSettings(
            content_type=content_type,
            cache_control=CLIP_CACHE_CONTROL,
            content_disposition=limits.inline_disposition(filename),
        )
        try:
            self._blob(path).commit_block_list(
                [BlobBlock(block_id) for block_id in block_ids],
                content_settings=settings,
                metadata=metadata,
                match_condition=MatchConditions.IfMissing,
            )
        except HttpResponseError as error:
            # A refusal may mean that another commit won: it made the blob and used up the blocks. Then the blob counts.
            stored = self.find(path) if error.status_code == 409 or _blocks_missing(error) else None
            if stored is not None:
                return stored
            if _blocks_missing(error):
                raise MissingBlocks(f"not all {len(block_ids)} blocks of {path} are staged (any more)") from None
            raise
        stored = self.find(path)
        if stored is None:
            raise MissingBlocks(f"{path} was deleted right after it was committed")
        return stored

    def find(self, path: str) -> StoredClip | None:
        try:
            found = self._blob(path).get_blob_properties()
        except ResourceNotFoundError:
            return None
        content_type = found.content_settings.content_type or "application/octet-stream"
        return StoredClip(path, int(found.size), content_type, dict(found.metadata or {}))

    def put(self, path: str, data: bytes, *, content_type: str) -> None:
        settings = ContentSettings(content_type=content_type, cache_control=SMALL_CACHE_CONTROL)
        blob = self._blob(path)
        self._write(lambda: blob.upload_blob(data, overwrite=True, content_settings=settings, validate_content=True))

    def read(self, path: str) -> bytes:
        try:
            return self._blob(path).download_blob().readall()
        except ResourceNotFoundError:
            raise MissingBlob(f"{path} is not there") from None

    def delete_all(self, prefix: str) -> None:
        limits.check_prefix(prefix)
        with suppress(ResourceNotFoundError):  # no container: nothing to list
            for blob in self._container.list_blobs(name_starts_with=prefix, include=["uncommittedblobs"]):
                self._delete(blob.name)
                if self.staged(blob.name):  # blocks alone are no blob, but to put one does away with them
                    self.put(blob.name, b"", content_type="application/octet-stream")
                    self._delete(blob.name)

    def _delete(self, path: str) -> None:
        with suppress(ResourceNotFoundError):  # blocks alone, or somebody else was faster
            self._container.delete_blob(path, delete_snapshots="include")

    def signed_url(self, path: str, expires_at: datetime) -> str:
        limits.check_path(path)
        container = self._container.container_name
        signature = self._signer.sign(container, path, expires_at)
        return f"{self._service.primary_endpoint.rstrip('/')}/{container}/{quote(path, safe='/~')}?{signature}"

    def ping(self) -> None:
        self._write(lambda: self._container.get_container_properties(**_PING_OPTIONS))

    def _blob(self, path: str) -> BlobClient:
        limits.check_path(path)
        return self._container.get_blob_client(path)

    def _write(self, send: Callable[[], Result]) -> Result:
        """Send what works in any existing container: there, 404 can only mean that the container is missing."""
        try:
            return send()
        except ResourceNotFoundError:
            with suppress(ResourceExistsError):  # another worker was faster
                self._container.create_container()
            return send()


def _is(error: HttpResponseError, code: StorageErrorCode) -> bool:
    return getattr(error, "error_code", None) == code


def _blocks_missing(error: HttpResponseError) -> bool:
    """Also when the whole container is missing: then no block is staged either."""
    return error.status_code == 404 or _is(error, StorageErrorCode.INVALID_BLOCK_LIST)
