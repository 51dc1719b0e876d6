"""The files that an output consists of: the output itself, and for a video its preview picture. Pure."""

from __future__ import annotations

OUTPUT, THUMBNAIL = "output", "thumbnail"

PICTURES = ("image/png", "image/jpeg", "image/webp")
EXTENSIONS = {"video/mp4": "mp4", "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
"""Every media type that is kept, and the extension its blob gets."""

VIDEOS, IMAGES = "videos", "images"
KINDS = (VIDEOS, IMAGES)


def media_types(kind: str, part: str) -> tuple[str, ...]:
    """What this file of a job of this kind may be. What is no thumbnail is the output: it was called "video" once."""
    return ("video/mp4",) if kind == VIDEOS and part != THUMBNAIL else PICTURES
