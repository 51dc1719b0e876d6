"""What Azure Blob Storage accepts, checked before anything is sent: emulators are laxer, and a clip that cannot be
committed must not be found out after the download. All checks raise ValueError.

Limits: learn.microsoft.com, "Put Block", "Put Block List" and "Naming and referencing containers, blobs, and metadata".
"""

from __future__ import annotations

import re

MAX_PATH_CHARS = 1024
MAX_BLOCK_ID_CHARS = 64
MAX_BLOCKS = 50_000
MAX_METADATA_BYTES = 8 * 1024

_METADATA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PRINTABLE = re.compile(r"[ -~]*")
_FILENAME = re.compile(r'[^"\\]+')


def check_path(path: str) -> None:
    if not 1 <= len(path) <= MAX_PATH_CHARS:
        raise ValueError(f"blob path has {len(path)} characters; allowed are 1 to {MAX_PATH_CHARS}")


def check_prefix(prefix: str) -> None:
    check_path(prefix)
    if not prefix.endswith("/"):
        raise ValueError(f'prefix must end with "/", or it would take its neighbours with it: {prefix!r}')


def check_block(block_id: str, data: bytes) -> None:
    if not (block_id.isascii() and 1 <= len(block_id) <= MAX_BLOCK_ID_CHARS):
        raise ValueError(f"block id must be 1 to {MAX_BLOCK_ID_CHARS} ASCII characters: {block_id!r}")
    if not data:
        raise ValueError("a block cannot be empty")


def check_block_ids(block_ids: list[str]) -> None:
    if not 1 <= len(block_ids) <= MAX_BLOCKS:
        raise ValueError(f"a clip is made of 1 to {MAX_BLOCKS} blocks, not {len(block_ids)}")
    if len({len(block_id) for block_id in block_ids}) > 1:
        raise ValueError("all block ids of one clip must have the same length")


def check_metadata(metadata: dict[str, str]) -> None:
    for name, value in metadata.items():
        if not _METADATA_NAME.fullmatch(name):
            raise ValueError(
                f"metadata name {name!r} must be letters, digits and underscores, not starting with a digit"
            )
        if not _PRINTABLE.fullmatch(value) or value != value.strip():
            raise ValueError(f"metadata value of {name!r} must be printable ASCII without spaces around it")
    if len({name.lower() for name in metadata}) < len(metadata):
        raise ValueError("metadata names must differ in more than upper and lower case")
    size = sum(len(name) + len(value) for name, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"metadata is {size} bytes; at most {MAX_METADATA_BYTES} are allowed")


def inline_disposition(filename: str) -> str:
    """The Content-Disposition that shows the clip in place and saves it as `filename`."""
    if not (_PRINTABLE.fullmatch(filename) and _FILENAME.fullmatch(filename)):
        raise ValueError(f"file name must be printable ASCII without quotes or backslashes: {filename!r}")
    return f'inline; filename="{filename}"'
