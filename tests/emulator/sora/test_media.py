"""What the simulator serves is a real video of what was asked for."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
import requests
from av import VideoFrame

from emulator.sora.font import draw_line, measure, plain, wrap
from emulator.sora.media import encode_video
from emulator.sora.picture import Card

PROMPT = "A paper boat drifts down a rain-soaked street at dusk"


def frames(data: bytes) -> Iterator[VideoFrame]:
    """Decode every frame."""
    with av.open(io.BytesIO(data)) as container:
        yield from container.decode(video=0)


def luma(frame: VideoFrame, box: tuple[float, float, float, float]) -> bytes:
    """Brightness of the pixels in a box given in shares: left, top, right, bottom."""
    plane, data = frame.planes[0], bytes(frame.planes[0])
    left, right = int(box[0] * frame.width), int(box[2] * frame.width)
    rows = range(int(box[1] * frame.height), int(box[3] * frame.height))
    return b"".join(data[row * plane.line_size + left : row * plane.line_size + right] for row in rows)


TEXT, BAND, COUNTER = (0.06, 0.16, 0.94, 0.88), (0.0, 0.93, 1.0, 1.0), (0.06, 0.94, 0.45, 0.99)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A video as the demo makes it."""
    path = tmp_path_factory.mktemp("media") / "full.mp4"
    encode_video(Card(PROMPT, "Simulated video", "gen_1", 1280, 720, 2.0, 24), "high", path)
    return path.read_bytes()


def test_video_is_playable_h264_of_the_asked_size_and_length(full: bytes) -> None:
    """H.264 in yuv420p, 1280x720, 2.0 s, with the index in front so that it plays while it loads."""
    with av.open(io.BytesIO(full)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", 1280, 720)
        assert float(container.duration or 0) / av.time_base == pytest.approx(2.0, abs=0.01)
    assert full.index(b"ftyp") < full.index(b"moov") < full.index(b"mdat")
    assert sum(1 for _ in frames(full)) == 48


def test_video_shows_the_prompt_and_a_running_counter(full: bytes) -> None:
    """White text stands out of the background, in every frame; the counter and the bar change from frame to frame."""
    decoded = list(frames(full))
    for frame in decoded[:: len(decoded) - 1]:
        assert sum(value > 200 for value in luma(frame, TEXT)) > 0.03 * len(luma(frame, TEXT))
        assert sum(value < 120 for value in luma(frame, TEXT)) > 0.5 * len(luma(frame, TEXT))
    counters = [luma(frame, COUNTER) for frame in decoded]
    for before, after in pairwise(counters):
        assert sum(abs(a - b) > 60 for a, b in zip(before, after, strict=True)) > 20


def test_another_prompt_makes_another_picture(tmp_path: Path) -> None:
    """The prompt is in the pixels: same colours and time, other words, other picture where the text stands."""
    pictures = []
    for number, prompt in enumerate((PROMPT, "An owl", "")):
        path = tmp_path / f"{number}.mp4"
        encode_video(Card(prompt, "", "gen_1", 480, 480, 1.0, 1), "high", path)
        pictures.append(luma(next(frames(path.read_bytes())), TEXT))
    boat, owl, empty = pictures
    assert sum(value > 200 for value in empty) == 0
    assert min(sum(abs(a - b) > 60 for a, b in zip(one, empty, strict=True)) for one in (boat, owl)) > 1000
    assert sum(abs(a - b) > 60 for a, b in zip(boat, owl, strict=True)) > 1000


def test_served_video_matches_its_job(serve: Callable[..., Any]) -> None:
    """Through HTTP in full size: size and length are the job's, variants differ in colour, a repeat is identical."""
    provider = serve(media="full")
    job = provider.finish(PROMPT, width=854, height=480, n_seconds=1, n_variants=2)
    first, second = (provider.video(one["id"]) for one in job["generations"])
    assert first.headers["Content-Type"] == "video/mp4"
    pictures = []
    for answer in (first, second):
        decoded = list(frames(answer.content))
        assert (decoded[0].width, decoded[0].height, len(decoded)) == (854, 480, 24)
        pictures.append((luma(decoded[0], (0, 0, 0.05, 0.1)), bytes(decoded[0].planes[1])))
    assert pictures[0] != pictures[1]
    assert provider.video(job["generations"][0]["id"]).content == first.content
    low = provider.video(job["generations"][0]["id"], params={"quality": "low"})
    assert len(low.content) < len(first.content)
    assert sum(1 for _ in frames(low.content)) == 24
    assert provider.video(job["generations"][0]["id"], params={"quality": "best"}).status_code == 400


def test_same_output_encodes_to_the_same_bytes(tmp_path: Path) -> None:
    """A lost cache file is made again byte for byte, so that a resumed download fits."""
    card = Card(PROMPT, "label", "gen_7", 480, 854, 1.0, 24)
    encode_video(card, "high", tmp_path / "a.mp4")
    encode_video(card, "high", tmp_path / "b.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_thumbnail_is_a_jpeg_of_the_video(serve: Callable[..., Any]) -> None:
    """image/jpg of the video's size, and it shows what the middle frame shows."""
    provider = serve(media="full")
    generation = provider.generation(prompt=PROMPT, n_seconds=1)
    answer = provider.video(generation, what="thumbnail")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpg")
    assert answer.content.startswith(b"\xff\xd8\xff")
    assert answer.content.endswith(b"\xff\xd9")
    (still,) = frames(answer.content)
    middle = list(frames(provider.video(generation).content))[12]
    assert (still.width, still.height) == (480, 480)
    shade, seen = (luma(one.reformat(format="rgb24"), (0, 0, 1, 1)) for one in (still, middle))
    assert sum(abs(a - b) for a, b in zip(shade, seen, strict=True)) / len(seen) < 8
    head = provider.video(generation, "HEAD", "thumbnail")
    assert (int(head.headers["Content-Length"]), head.content) == (len(answer.content), b"")


def test_server_answers_while_it_encodes(serve: Callable[..., Any]) -> None:
    """Polls go on being answered while a large video is encoded."""
    provider = serve(media="full")
    job = provider.finish(PROMPT, width=1920, height=1080, n_seconds=3)
    download, answers = background_download(provider, job)
    polls = 0
    while download.is_alive():
        assert provider.job(job["id"])["status"] == "succeeded"
        polls += 1
    assert [answer.status_code for answer in answers] == [200]
    assert polls > 3


def test_video_deleted_while_it_is_encoded_is_404(serve: Callable[..., Any], tmp_path: Path) -> None:
    """The waiting download is refused, nothing breaks, and no file is left."""
    provider = serve(media="full")
    job = provider.finish(PROMPT, width=1920, height=1080, n_seconds=5)
    download, answers = background_download(provider, job)
    assert provider.call("DELETE", f"/openai/v1/video/generations/jobs/{job['id']}").status_code == 204
    download.join()
    assert [answer.status_code for answer in answers] == [404]
    provider.simulator.stop()
    assert list((tmp_path / "data" / "media").iterdir()) == []


def background_download(provider: Any, job: dict[str, Any]) -> tuple[threading.Thread, list[requests.Response]]:
    """Begin to download a job's first video; its answer comes into the list when the thread ends."""
    url = f"{provider.simulator.url}/openai/v1/video/generations/{job['generations'][0]['id']}/content/video"
    answers: list[requests.Response] = []
    thread = threading.Thread(target=lambda: answers.append(requests.get(url, timeout=60)))
    thread.start()
    return thread, answers


@pytest.mark.parametrize("size", [1, 20, 500, 5000, 300_000])
def test_media_bytes_gives_videos_of_exactly_that_size(serve: Callable[..., Any], size: int) -> None:
    """Any size is served byte for byte the same each time, as MP4; from a few KB on it is even playable."""
    provider = serve(media_bytes=size)
    first, second = provider.generation(n_seconds=1), provider.generation(n_seconds=1)
    data = provider.video(first).content
    assert len(data) == size
    assert data[4:8] == b"ftyp"[: max(0, size - 4)]
    assert provider.video(first).content == data
    if size >= 5000:
        assert sum(1 for _ in frames(data)) == 1
        assert provider.video(second).content != data


def test_media_bytes_can_be_read_anywhere(serve: Callable[..., Any]) -> None:
    """A slice of a big file made on the fly equals the same slice of the whole, beyond 4 GiB too."""
    provider = serve(media_bytes=5 * 2**30)
    generation = provider.generation()
    slices = [(0, 70_000), (65_530, 65_545), (2**32 - 5, 2**32 + 200_000)]
    for start, end in slices:
        whole = provider.video(generation, headers={"Range": f"bytes={start}-{end - 1}"}).content
        parts = [
            provider.video(generation, headers={"Range": f"bytes={at}-{min(at + 9_999, end - 1)}"}).content
            for at in range(start, end, 10_000)
        ]
        assert (len(whole), b"".join(parts)) == (end - start, whole)


@pytest.mark.parametrize(
    ("prompt", "drawn"),
    [
        ("Plain: text!", "Plain: text!"),
        ("“Crème brûlée” – l’été…", '"Creme brulee" - l\'ete...'),
        ("猫 and 🐈", "\x7f and \x7f"),
        ("two\nlines\t", "two lines"),
    ],
)
def test_any_prompt_can_be_drawn(prompt: str, drawn: str) -> None:
    """Accents are dropped, typographic marks made plain, other scripts become boxes; nothing fails."""
    assert plain(prompt) == drawn
    assert len(draw_line(drawn, 2)[0]) == measure(drawn, 2)


def test_every_character_has_a_shape_of_its_own() -> None:
    """No two printable characters look the same, and none but the space is empty."""
    shapes = {char: b"".join(draw_line(char, 3)) for char in map(chr, range(32, 128))}
    assert len(set(shapes.values())) == 96
    assert [char for char, shape in shapes.items() if not any(shape)] == [" "]


def test_long_text_wraps_and_never_overflows(tmp_path: Path) -> None:
    """Words wrap at the width, endless words break, and a prompt of 4000 characters still makes a video quickly."""
    for text in (PROMPT, "x" * 300, "word " * 800):
        lines = wrap(plain(text), 2, 400) or []
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
        assert max(measure(line, 2) for line in lines) <= 400
    for text in ("word " * 800, "長" * 4000, "x" * 4000):
        encode_video(Card(text, "", "s", 480, 480, 1.0, 1), "high", tmp_path / "long.mp4")
        assert len(list(frames((tmp_path / "long.mp4").read_bytes()))) == 1
