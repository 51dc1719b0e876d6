"""The placeholder: a small real video, put into the container once."""

from __future__ import annotations

from io import BytesIO

import av
from world import World

from reelkeeper.media import sniff
from triggers import placeholder


def test_the_placeholder_is_a_playable_video() -> None:
    """It decodes, has a picture of some size, and is small enough to be put anywhere."""
    data = placeholder.FILE.read_bytes()
    assert sniff(data[:16]) == "video/mp4"
    assert len(data) < 100_000
    with av.open(BytesIO(data)) as video:
        frames = list(video.decode(video=0))
        assert len(frames) > 10
        assert video.streams.video[0].codec_context.name == "h264"
    assert min(frames[0].width, frames[0].height) >= 240


def test_it_is_put_when_first_needed_and_only_then(world: World) -> None:
    """The second answer finds it there; its type is the video's."""
    assert world.clips.find(placeholder.PATH) is None
    size = placeholder.put_placeholder(world.clips)
    stored = world.clips.find(placeholder.PATH)
    assert stored is not None
    assert (stored.size, stored.content_type) == (size, "video/mp4")

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("written twice")

    world.clips.put = refused  # type: ignore[method-assign]
    assert placeholder.put_placeholder(world.clips) == size


def test_no_owner_s_path_can_be_the_placeholder_s(world: World) -> None:
    """Every owner's folder begins with `user_`."""
    assert not placeholder.PATH.startswith("user_")
    assert world.completed(owner="placeholder").clips[0].path.startswith("user_placeholder/")
