"""The files that an output consists of. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One file of an output: the media type it must have, and the extension its blob gets."""

    media_type: str
    extension: str


PARTS = {"video": Part("video/mp4", "mp4"), "thumbnail": Part("image/jpeg", "jpg")}
