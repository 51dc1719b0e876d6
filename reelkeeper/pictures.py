"""The picture that a video starts from: judged by its bytes, and made to fit the pixel size that the video needs.

1. `inspect` reads only its head: what it is, and how large somebody sees it (cameras turn by a mark in EXIF).
2. `adapt` decodes it, which finds damage; turns and resizes it where that is wanted, one picture at a time.
Pillow is imported on first use: it would slow the start of every worker.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reelkeeper.media import SNIFF_BYTES, sniff

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PICTURE_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 50_000_000
"""Decoded, a pixel takes four bytes, twice while it is resized."""

FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
ORIENTATION, UPRIGHT, SIDEWAYS = 0x0112, 1, range(5, 9)
JPEG_QUALITY = 95
SCAN, MAX_SCANS = b"\xff\xda\x00", 100
"""A progressive JPEG is decoded once over for each of its scans, and a scan may have a hundred bytes."""

_one_at_a_time = threading.Lock()


class PictureRefused(Exception):
    """The picture cannot be used. The message is for the caller, and goes on where "the picture ..." ends."""


@dataclass(frozen=True)
class Form:
    """What a picture is: its type, its size in pixels as it is seen, and whether it is stored in another position."""

    media_type: str
    width: int
    height: int
    turned: bool


@dataclass(frozen=True)
class Picture:
    data: bytes
    media_type: str
    width: int
    height: int

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def inspect(data: bytes, declared: str | None = None) -> Form:
    """Read the head of a picture. Raises PictureRefused, also where it is not what it is `declared` to be."""
    media_type = sniff(data[:SNIFF_BYTES])
    if media_type not in FORMATS:
        raise PictureRefused("is no PNG, JPEG or WebP picture")
    if declared is not None and declared != media_type:
        raise PictureRefused(f"is declared as {declared}, but its bytes are {media_type}")
    if data.count(SCAN) > MAX_SCANS:
        raise PictureRefused(f"has more than {MAX_SCANS} scans")
    with _reading(data, media_type) as image:
        width, height = image.size
        turn = _turn_of(image)
    if turn in SIDEWAYS:
        width, height = height, width
    return Form(media_type, width, height, turn != UPRIGHT)


def adapt(
    data: bytes, form: Form, size: tuple[int, int], fit: str | None = None, limit: int = MAX_PICTURE_BYTES
) -> Picture:
    """The picture as `size` needs it; bytes that fit are left as they are.

    `fit` allows to resize: ``cover`` fills the frame and cuts off what sticks out, ``contain`` shows all of it between
    black bars. What is transparent becomes black then. The result has at most `limit` bytes. Raises PictureRefused.
    """
    if (form.width, form.height) != size and fit is None:
        needed = f"{size[0]}x{size[1]}"
        raise PictureRefused(
            f"is {form.width}x{form.height}; this request needs {needed}: send that size, or set input_image.fit to "
            "cover or contain"
        )
    fits = (form.width, form.height) == size
    with _one_at_a_time, _reading(data, form.media_type) as image:
        if not fits:
            image.draft(None, (2 * max(size), 2 * max(size)))  # a large JPEG is decoded at a half, a quarter...
        image.load()
        if fits and not form.turned:
            return Picture(data, form.media_type, *size)
        picture = _encoded(_resized(image, size, fit), form.media_type)
    if len(picture.data) > limit:
        raise PictureRefused(f"becomes too large a file at {size[0]}x{size[1]}; send it as JPEG")
    return picture


def _resized(image: Image, size: tuple[int, int], fit: str | None) -> Image:
    from PIL import ImageOps
    from PIL.Image import Resampling

    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
    ImageOps.exif_transpose(image, in_place=True)
    made = _opaque(image)
    if made.size != size:
        resize = ImageOps.pad if fit == "contain" else ImageOps.fit
        made = resize(made, size, Resampling.LANCZOS)
    made.info = {"icc_profile": profile} if profile else {}
    return made


def _opaque(image: Image) -> Image:
    """In plain colours; what shines through is black."""
    from PIL import Image as images

    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    clear = image.convert("RGBA")
    made = images.new("RGB", image.size)
    made.paste(clear, mask=clear.getchannel("A"))
    return made


def _encoded(image: Image, media_type: str) -> Picture:
    """JPEG stays JPEG; anything else becomes PNG, which loses nothing. Marks and places of the camera are left out."""
    out = io.BytesIO()
    options: dict[str, Any] = {"icc_profile": image.info.get("icc_profile")}
    kept = "image/jpeg" if media_type == "image/jpeg" else "image/png"
    if kept == "image/jpeg":
        options["quality"] = JPEG_QUALITY
    image.save(out, FORMATS[kept], **options)
    return Picture(out.getvalue(), kept, image.width, image.height)


def _turn_of(image: Image) -> int:
    """The EXIF orientation. Of a PNG only where it stands before the pixels: looking further would decode them."""
    if image.format == "PNG" and "exif" not in image.info:
        return UPRIGHT
    turn = image.getexif().get(ORIENTATION, UPRIGHT)
    return turn if turn in range(1, 9) else UPRIGHT


@contextmanager
def _reading(data: bytes, media_type: str) -> Iterator[Image]:
    """An open picture, of which nothing is decoded yet. Whatever is wrong with it becomes PictureRefused."""
    from PIL import Image as images

    try:
        with images.open(io.BytesIO(data), formats=[FORMATS[media_type]]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise images.DecompressionBombError
            yield image
    except PictureRefused:
        raise
    except (images.DecompressionBombError, images.DecompressionBombWarning):
        raise PictureRefused(f"has more than {MAX_PIXELS // 1_000_000} million pixels") from None
    except Exception:  # decoders raise all sorts of errors at damaged files
        raise PictureRefused(f"is a damaged {FORMATS[media_type]} file") from None
