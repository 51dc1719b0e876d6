"""The small real video that stands where a job's file is not there yet. Put into the container when first needed."""

from __future__ import annotations

from pathlib import Path

from reelkeeper.clips.base import Clips
from reelkeeper.parts import PARTS

FILE = Path(__file__).with_name("placeholder.mp4")
PATH = "placeholder/video-1.mp4"
"""A new picture needs a new name: the blob is cached for long by whoever fetched it."""


def put_placeholder(clips: Clips) -> int:
    """Make sure that the blob at `PATH` is there; returns its size in bytes."""
    stored = clips.find(PATH)
    if stored is None:
        clips.put(PATH, FILE.read_bytes(), content_type=PARTS["video"].media_type)
    return FILE.stat().st_size
