"""The small real video or picture that stands where a job's file is not there yet; put there when first needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reelkeeper.clips.base import Clips
from reelkeeper.parts import IMAGES, VIDEOS


@dataclass(frozen=True)
class Card:
    """`path`: of the blob. A new picture needs a new one: it is cached for long by whoever fetched it."""

    file: Path
    path: str
    media_type: str


CARDS = {
    VIDEOS: Card(Path(__file__).with_name("placeholder.mp4"), "placeholder/video-1.mp4", "video/mp4"),
    IMAGES: Card(Path(__file__).with_name("placeholder.png"), "placeholder/image-1.png", "image/png"),
}


def put_placeholder(clips: Clips, kind: str) -> int:
    """Make sure that the blob of this kind is there; returns its size in bytes."""
    card = CARDS[kind]
    if clips.find(card.path) is None:
        clips.put(card.path, card.file.read_bytes(), content_type=card.media_type)
    return card.file.stat().st_size
