"""What counts as the promised file, judged by its first bytes."""

from __future__ import annotations

import pytest

from reelkeeper import media
from reelkeeper.parts import media_types

MP4 = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00"


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (MP4, "video/mp4"),
        (MP4.replace(b"isom", b"mp42"), "video/mp4"),
        (MP4.replace(b"isom", b"M4V "), "video/mp4"),
        (MP4.replace(b"isom", b"qt  "), None),
        (MP4.replace(b"isom", b"M4A "), None),
        (MP4.replace(b"isom", b"avif"), None),
        (MP4.replace(b"isom", b"heic"), None),
        (MP4[:11], None),
        (MP4[4:], None),
        (JPEG, "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image/png"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", None),
        (b'{"message": "no"}', None),
        (b"<!doctype html>", None),
        (bytes(16), None),
        (b"", None),
    ],
)
def test_the_first_bytes_tell_the_media_type(head: bytes, media_type: str | None) -> None:
    """MP4, JPEG, PNG and WebP are known; relatives in the same container and messages are not taken for them."""
    assert media.sniff(head[: media.SNIFF_BYTES]) == media_type


@pytest.mark.parametrize("declared", ["video/mp4", "application/octet-stream", "", "binary/octet-stream", "image/jpg"])
def test_good_bytes_are_taken_under_any_label_of_a_file(declared: str) -> None:
    """Servers mislabel good files; the bytes decide."""
    assert media.refusal(declared, MP4, media_types("videos", "output")) is None
    assert media.refusal(declared, JPEG, media_types("videos", "thumbnail")) is None


@pytest.mark.parametrize(
    "declared", ["application/json", "application/problem+json", "text/html", "text/plain", "text/json"]
)
def test_what_is_declared_a_message_is_refused_whatever_its_bytes(declared: str) -> None:
    """A body that calls itself JSON or text is never stored; the words name what it called itself."""
    assert declared in (media.refusal(declared, MP4, ("video/mp4",)) or "")


@pytest.mark.parametrize("head", [JPEG, b'{"error": {"code": "404"}}', b"<html>", b"", MP4.replace(b"isom", b"qt  ")])
def test_other_bytes_are_refused_under_the_right_label(head: bytes) -> None:
    """A label does not make a video; the words name what was wanted."""
    assert "video/mp4" in (media.refusal("video/mp4", head, ("video/mp4",)) or "")


def test_a_picture_of_any_kept_type_is_taken_where_one_is_wanted() -> None:
    """A preview may be JPEG, PNG or WebP, as the server likes; the words name them all for what is none."""
    webp, pictures = b"RIFF\x10\x00\x00\x00WEBPVP8 ", media_types("videos", "thumbnail")
    assert [media.refusal("", head, pictures) for head in (JPEG, webp)] == [None, None]
    assert "image/png or image/jpeg or image/webp" in (media.refusal("", MP4, pictures) or "")
