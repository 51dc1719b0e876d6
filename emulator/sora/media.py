"""Make and keep the media of tasks: real H.264 MP4 files, pictures, and big files made on the fly.

Encoding runs in one worker thread (PyAV lets go of the interpreter while it encodes) and every file is cached on disk
under its output's id. The bytes of an output never change, so that resuming by Range means something.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

import av
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from emulator.sora.picture import Card, Painter
from emulator.sora.stills import encode_sheet, encode_still
from emulator.sora.tasks import Task

MODES = ("full", "tiny")
_FPS = {"full": 24, "tiny": 4}
_BLOCK = 65536


class Source(Protocol):
    """Bytes that can be read anywhere. `tag` changes with the content."""

    size: int
    tag: str

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes, fewer only at the end."""
        ...

    def close(self) -> None:
        """Give back what reading needed."""
        ...


class FileSource:
    """A file on disk."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.size = path.stat().st_size
        self.tag = hashlib.sha256(f"{path.name} {self.size}".encode()).hexdigest()[:20]

    def read(self, offset: int, count: int) -> bytes:
        """Read from the file."""
        self._file.seek(offset)
        return self._file.read(count)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class BytesSource:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)
        self.tag = hashlib.sha256(data).hexdigest()[:20]

    def read(self, offset: int, count: int) -> bytes:
        """Slice the bytes."""
        return self._data[offset : offset + count]

    def close(self) -> None:
        """Nothing to give back."""


class PaddedSource:
    """A playable MP4 of any size: a real head, then one `free` box of bytes that depend on their place and the seed."""

    def __init__(self, head: bytes, size: int, seed: str) -> None:
        room = size - len(head)
        if room < 16:  # too small for a real video: a bare ftyp and mdat, still recognised as MP4
            head = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41"
            room = size - len(head)
            name = b"mdat"
        else:
            name = b"free"
        if room < 1 << 32:
            box = max(room, 0).to_bytes(4, "big") + name
        else:  # the long form of a box's size
            box = b"\x00\x00\x00\x01" + name + room.to_bytes(8, "big")
        self._head = (head + box)[:size]
        self.size = size
        self._block = hashlib.shake_256(seed.encode()).digest(_BLOCK - 8)
        self.tag = hashlib.sha256(f"{seed} {size}".encode()).hexdigest()[:20]

    def read(self, offset: int, count: int) -> bytes:
        """Make the bytes; each block begins with its number, so that a misplaced one shows."""
        end = min(offset + count, self.size)
        parts = [self._head[offset:end]]
        at = max(offset, len(self._head))
        while at < end:
            number, inside = divmod(at, _BLOCK)
            block = number.to_bytes(8, "big") + self._block
            part = block[inside : inside + end - at]
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Nothing to give back."""


def encode_video(card: Card, quality: str, path: Path) -> None:
    """Write the card as an MP4: H.264, yuv420p, index in front; the same card gives the same bytes."""
    options = {"preset": "ultrafast", "tune": "animation", "crf": "23" if quality == "high" else "38", "threads": "2"}
    unfinished = path.with_suffix(".part")
    with av.open(str(unfinished), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=card.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = card.width, card.height, "yuv420p"
        _paint(card, stream, container.mux)
    unfinished.replace(path)


def _paint(card: Card, stream: VideoStream, mux: Callable[[object], None]) -> None:
    context = stream.codec_context
    context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1  # BT.709, limited
    frame = VideoFrame(card.width, card.height, "yuv420p")
    strides = (frame.planes[0].line_size, frame.planes[1].line_size, frame.planes[2].line_size)
    painter = Painter(card, strides)
    for number in range(card.frames):
        frame.make_writable()
        for plane, painted in zip(frame.planes, painter.frame(number), strict=True):
            memoryview(plane)[: len(painted)] = painted
        frame.pts = number
        mux(stream.encode(frame))
    mux(stream.encode(None))


def _remove(path: Path, _: object = None) -> None:
    with suppress(PermissionError):  # Windows: still being sent; the next look removes it
        path.unlink(missing_ok=True)


class Media:
    """The files of all outputs, in `folder`. With `media_bytes` every video has exactly that many bytes."""

    def __init__(self, folder: Path, mode: str = "full", media_bytes: int | None = None) -> None:
        if mode not in MODES:
            raise ValueError(f"unknown media mode {mode!r}: use {' or '.join(MODES)}")
        self._folder, self._mode, self.media_bytes = folder, mode, media_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode")
        self._making: dict[Path, asyncio.Future[None]] = {}

    def card(self, task: Task, output_id: str) -> Card:
        """What an output shows."""
        number = task.outputs.index(output_id) + 1
        label = f"Simulated video / {task.width}x{task.height} / variant {number} of {len(task.outputs)}"
        shrink = 8 if self._mode == "tiny" else 1
        width, height = (max(32, side // shrink & ~1) for side in (task.width, task.height))
        return Card(task.prompt, label, output_id, width, height, float(task.seconds), _FPS[self._mode])

    async def video(self, task: Task, output_id: str, quality: str = "high") -> Source:
        """The video's bytes, encoded first if need be."""
        path = self._folder / f"{output_id}-{quality}.mp4"
        if self.media_bytes is None:
            await self._make(path, lambda: encode_video(self.card(task, output_id), quality, path))
            return FileSource(path)
        tiny = self._folder / f"{output_id}-head.mp4"
        card = Card(task.prompt, "", output_id, 160, 90, float(task.seconds), 1)
        await self._make(tiny, lambda: encode_video(card, "low", tiny))
        return PaddedSource(tiny.read_bytes(), self.media_bytes, f"{output_id} {quality}")

    async def thumbnail(self, task: Task, output_id: str, suffix: str = "jpg") -> Source:
        """The thumbnail's bytes; `suffix` jpg or webp."""
        path = self._folder / f"{output_id}.{suffix}"
        card = self.card(task, output_id)
        return await self._picture(path, lambda: encode_still(card, path, card.frames // 2))

    async def spritesheet(self, task: Task, output_id: str) -> Source:
        """The bytes of a JPEG with small pictures of the whole video."""
        path = self._folder / f"{output_id}-sheet.jpg"
        return await self._picture(path, lambda: encode_sheet(self.card(task, output_id), path))

    async def image(self, task: Task, output_id: str, suffix: str, transparent: bool = False) -> Source:
        """The bytes of a picture in its full size; `suffix` png, jpg or webp."""
        path = self._folder / f"{output_id}.{suffix}"
        number = task.outputs.index(output_id) + 1
        label = f"Simulated image / {task.width}x{task.height} / {number} of {len(task.outputs)}"
        card = Card(task.prompt, label, output_id, task.width & ~1, task.height & ~1, 0, 1)
        return await self._picture(path, lambda: encode_still(card, path, None, transparent))

    async def _picture(self, path: Path, encode: Callable[[], None]) -> Source:
        await self._make(path, encode)
        return BytesSource(path.read_bytes())

    def prepare(self, task: Task) -> None:
        """Begin to encode a task's videos, so that the first download need not wait."""
        for output_id in task.outputs if self.media_bytes is None and task.seconds else ():
            path = self._folder / f"{output_id}-high.mp4"
            if path not in self._making and not path.exists():
                card = self.card(task, output_id)
                self._start(path, partial(encode_video, card, "high", path))

    def forget(self, task: Task) -> None:
        """Remove a task's files, those just being made as soon as they are done."""
        for output_id in task.outputs:
            for path in self._folder.glob(f"{output_id}[-.]*"):
                if path.suffix != ".part":  # just being written
                    _remove(path)
            for path, future in self._making.items():
                if path.name.startswith(output_id):
                    future.add_done_callback(partial(_remove, path))

    def close(self) -> None:
        """Stop encoding; what was begun is finished first."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _start(self, path: Path, encode: Callable[[], None]) -> asyncio.Future[None]:
        future = self._making[path] = asyncio.get_running_loop().run_in_executor(self._worker, encode)
        future.add_done_callback(lambda _: self._making.pop(path, None))
        return future

    async def _make(self, path: Path, encode: Callable[[], None]) -> None:
        future = self._making.get(path)
        if future is None and path.exists():
            return
        await asyncio.shield(future or self._start(path, encode))
