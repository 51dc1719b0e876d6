"""Pictures made by Pillow for tests: their corners tell how they were turned, their middle what was cut off."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def drawn(width: int, height: int, form: str = "PNG", mode: str = "RGB", turn: int = 1, **options: Any) -> bytes:
    """White, with a red left, green right, blue top eighth. `turn`: an EXIF orientation mark."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 8, height))
    image.paste(GREEN, (width - width // 8, 0, width, height))
    image.paste(BLUE, (0, 0, width, height // 8))
    out = io.BytesIO()
    if turn != 1:
        exif = Image.Exif()
        exif[0x0112] = turn
        options["exif"] = exif
    image.convert(mode).save(out, form, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """The picture, decoded as it is stored."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def colour(image: Image.Image, x: float, y: float) -> tuple[int, ...]:
    """The colour at a fraction of width and height, each part rounded to dark or bright."""
    pixel = image.convert("RGB").getpixel((int(x * image.width), int(y * image.height)))
    assert isinstance(pixel, tuple)
    return tuple(255 if part > 127 else 0 for part in pixel)
