"""The placeholders: a small real video and a small real picture, each put into the container once."""

from __future__ import annotations

from io import BytesIO

import av
import pytest
from PIL import Image
from world import World

from reelkeeper.media import sniff
from reelkeeper.parts import KINDS
from triggers import placeholder


def test_the_placeholder_is_a_playable_video() -> None:
    """It decodes, has a picture of some size, and is small enough to be put anywhere."""
    data = placeholder.CARDS["videos"].file.read_bytes()
    assert sniff(data[:16]) == "video/mp4"
    assert len(data) < 100_000
    with av.open(BytesIO(data)) as video:
        frames = list(video.decode(video=0))
        assert len(frames) > 10
        assert video.streams.video[0].codec_context.name == "h264"
    assert min(frames[0].width, frames[0].height) >= 240


def test_the_placeholder_of_an_image_is_one() -> None:
    """As small, and of the type that it is served as."""
    data = placeholder.CARDS["images"].file.read_bytes()
    assert sniff(data[:16]) == placeholder.CARDS["images"].media_type
    assert len(data) < 100_000
    with Image.open(BytesIO(data)) as picture:
        picture.load()
        assert min(picture.size) >= 240


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_put_when_first_needed_and_only_then(world: World, kind: str) -> None:
    """The second answer finds it there, under its own type."""
    card = placeholder.CARDS[kind]
    assert world.clips.find(card.path) is None
    size = placeholder.put_placeholder(world.clips, kind)
    stored = world.clips.find(card.path)
    assert stored is not None
    assert (stored.size, stored.content_type) == (size, card.media_type)

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("written twice")

    world.clips.put = refused  # type: ignore[method-assign]
    assert placeholder.put_placeholder(world.clips, kind) == size


def test_no_owner_s_path_can_be_the_placeholder_s(world: World) -> None:
    """Every owner's folder begins with `user_`."""
    assert not any(card.path.startswith("user_") for card in placeholder.CARDS.values())
    assert world.completed(owner="placeholder").clips[0].path.startswith("user_placeholder/")
