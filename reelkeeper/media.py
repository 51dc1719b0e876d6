"""Tell media from the JSON, HTML or garbage that providers send in its place, by the first bytes. Pure."""

from __future__ import annotations

SNIFF_BYTES = 16
OTHER_BRANDS = frozenset({b"qt  ", b"M4A ", b"M4B ", b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"})
"""What also begins with a ``ftyp`` box and is no MP4 video: QuickTime, audio, pictures."""


def sniff(head: bytes) -> str | None:
    """The media type that the first `SNIFF_BYTES` bytes announce (MP4, JPEG, PNG, WebP), or None.

    MP4: ISO/IEC 14496-12 section 4.3, a ``ftyp`` box first, its brand being none of `OTHER_BRANDS`.
    """
    if head[4:8] == b"ftyp" and len(head) >= 12 and head[8:12] not in OTHER_BRANDS:
        return "video/mp4"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return None


def refusal(declared: str, head: bytes, wanted: tuple[str, ...]) -> str | None:
    """Why this cannot be any of the `wanted` media types, in words, or None when it is.

    The bytes decide. The declared type refuses only where it says outright that this is a message, not a file:
    real servers label good files ``application/octet-stream``.
    """
    if declared.endswith("json") or declared.startswith("text/"):
        return f"it is declared as {declared}"
    if sniff(head) not in wanted:
        return f"its first bytes are not those of {' or '.join(wanted)}"
    return None
