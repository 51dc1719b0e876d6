"""Encode single pictures of a card: PNG (also with a transparent ground), JPEG, WebP, and a sheet of small frames."""

from __future__ import annotations

import io
from pathlib import Path

import av
from av.video.frame import VideoFrame

from emulator.sora.picture import Card, Painter

# What a thumbnail is: PyAV's own wheels have libwebp, a build against a system's FFmpeg may lack it.
THUMBNAIL = ("webp", "image/webp") if "libwebp" in av.codecs_available else ("jpg", "image/jpeg")
MEDIA_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
_FORMATS = {  # suffix: codec, container, pixels, options
    "png": ("png", "image2pipe", "rgb24", {"compression_level": "3"}),
    "jpg": ("mjpeg", "mjpeg", "yuvj420p", {"qmin": "3", "qmax": "3"}),
    "webp": ("libwebp", "webp", "yuv420p", {"quality": "85"}),
}
_SHEET = (5, 4)  # columns, rows
_CLEAR_BELOW = 110  # luma that turns transparent: the ground, not the text
_ALPHA = bytes(0 if luma < _CLEAR_BELOW else min(255, (luma - _CLEAR_BELOW) * 4) for luma in range(256))


def encode_still(card: Card, path: Path, number: int | None, transparent: bool = False) -> None:
    """Write the card's frame `number`, or the card without anything that moves, in the format of the path's suffix."""
    frame = _blank(card)
    painter = Painter(card, _strides(frame))
    _fill(frame, painter.picture() if number is None else painter.frame(number))
    _write(_clear(frame) if transparent else frame, path)


def encode_sheet(card: Card, path: Path) -> None:
    """Write a sheet of frames from the whole length, each a quarter of the card's width and height."""
    columns, rows = _SHEET
    width, height = (max(32, side // 4 & ~1) for side in (card.width, card.height))
    small = Card(card.prompt, card.label, card.seed, width, height, card.seconds, card.fps)
    sheet = _blank(Card("", "", "", columns * width, rows * height, 0, 1))
    painter = Painter(small, (width, width // 2, width // 2))
    for place in range(columns * rows):
        row, column = divmod(place, columns)
        planes = painter.frame(place * small.frames // (columns * rows))
        for shift, plane, painted in zip((0, 1, 1), sheet.planes, planes, strict=True):
            run, target = width >> shift, memoryview(plane)
            for line in range(height >> shift):
                start = (row * (height >> shift) + line) * plane.line_size + column * run
                target[start : start + run] = painted[line * run : (line + 1) * run]
    _write(sheet, path)


def picture_size(data: bytes) -> tuple[str, int, int] | None:
    """Media type, width and height of a PNG, JPEG or WebP; None when it is none or cannot be decoded."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        media_type = "image/png"
    elif data.startswith(b"\xff\xd8\xff"):
        media_type = "image/jpeg"
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        media_type = "image/webp"
    else:
        return None
    try:
        with av.open(io.BytesIO(data)) as container:
            frame = next(container.decode(video=0))
    except (av.FFmpegError, StopIteration):
        return None
    return media_type, frame.width, frame.height


def _blank(card: Card) -> VideoFrame:
    frame = VideoFrame(card.width, card.height, "yuv420p")
    frame.colorspace, frame.color_range, frame.pts = 1, 1, 0  # BT.709, limited
    return frame


def _strides(frame: VideoFrame) -> tuple[int, int, int]:
    return frame.planes[0].line_size, frame.planes[1].line_size, frame.planes[2].line_size


def _fill(frame: VideoFrame, planes: list[bytearray]) -> None:
    for plane, painted in zip(frame.planes, planes, strict=True):
        memoryview(plane)[: len(painted)] = painted


def _clear(frame: VideoFrame) -> VideoFrame:
    """Make the dark ground transparent."""
    luma, stride = bytes(frame.planes[0]), frame.planes[0].line_size
    clear = frame.reformat(format="rgba", src_colorspace="ITU709", src_color_range="MPEG", dst_color_range="JPEG")
    plane = clear.planes[0]
    pixels = bytearray(plane)
    for row in range(frame.height):
        alpha = luma[row * stride : row * stride + frame.width].translate(_ALPHA)
        start = row * plane.line_size
        pixels[start + 3 : start + 4 * frame.width : 4] = alpha
    plane.update(bytes(pixels))
    return clear


def _write(frame: VideoFrame, path: Path) -> None:
    codec, container_format, pixels, options = _FORMATS[path.suffix[1:]]
    if frame.format.name == "rgba":
        pixels = "rgba"
    elif codec != "libwebp":  # WebP takes limited BT.601 like the frame; the others want full range, JPEG BT.601 too
        space = "ITU601" if codec == "mjpeg" else "ITU709"
        frame = frame.reformat(format=pixels, src_colorspace="ITU709", dst_colorspace=space, dst_color_range="JPEG")
    else:
        frame = frame.reformat(format=pixels, src_colorspace="ITU709", dst_colorspace="ITU601")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=1, options=options)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, pixels
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(buffer.getvalue())
    unfinished.replace(path)
