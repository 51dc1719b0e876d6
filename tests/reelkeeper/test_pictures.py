"""The picture that a video starts from: what is refused and in which words, and what resizing does to it."""

from __future__ import annotations

import hashlib
import io
import struct
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "fakes"))

from drawn import BLACK, BLUE, GREEN, RED, WHITE, colour, drawn, opened

from reelkeeper.pictures import Form, Picture, PictureRefused, adapt, inspect

TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def refusal(data: bytes, declared: str | None = None, size: tuple[int, int] = (64, 48), fit: str | None = None) -> str:
    """The words with which the picture is refused."""
    with pytest.raises(PictureRefused) as caught:
        adapt(data, inspect(data, declared), size, fit)
    return str(caught.value)


def adapted(data: bytes, size: tuple[int, int], fit: str | None = None) -> Picture:
    return adapt(data, inspect(data), size, fit)


def huge(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is this large."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", TYPES)
def test_a_picture_of_the_right_size_stays_as_it_is(form: str) -> None:
    """To the byte, with its type from the bytes and its digest; nothing is encoded twice."""
    data = drawn(64, 48, form)
    assert inspect(data, TYPES[form]) == Form(TYPES[form], 64, 48, turned=False)
    picture = adapted(data, (64, 48))
    assert picture == Picture(data, TYPES[form], 64, 48)
    assert picture.digest == hashlib.sha256(data).hexdigest()
    assert adapted(data, (64, 48), "cover").data == data


@pytest.mark.parametrize("form", TYPES)
def test_another_size_is_refused_with_the_needed_one(form: str) -> None:
    """Both sizes and both ways out are named."""
    assert refusal(drawn(80, 60, form)) == (
        "is 80x60; this request needs 64x48: send that size, or set input_image.fit to cover or contain"
    )


def test_the_bytes_decide_what_it_is() -> None:
    """A wrong declaration is told apart from what is no picture at all."""
    assert refusal(drawn(64, 48), "image/jpeg") == "is declared as image/jpeg, but its bytes are image/png"
    for data in (b"", b"GIF89a" + bytes(99), b"<html>", b"\x00\x00\x00\x18ftypmp42" + bytes(99), b"\x89PNG"):
        assert refusal(data, "image/png") == "is no PNG, JPEG or WebP picture"


@pytest.mark.parametrize("form", TYPES)
def test_damage_is_found_before_anybody_pays(form: str) -> None:
    """The whole picture is decoded, not only its head."""
    data = drawn(64, 48, form)
    assert refusal(data[: len(data) * 2 // 3]) == f"is a damaged {form} file"
    assert refusal(data[:20]) == f"is a damaged {form} file"


@pytest.mark.parametrize("size", [(7072, 7072), (10_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_not_opened(size: tuple[int, int]) -> None:
    """50 million pixels are the limit, told from the head alone."""
    assert refusal(huge(*size), fit="cover") == "has more than 50 million pixels"


def test_a_very_large_picture_of_the_wrong_size_is_not_decoded() -> None:
    """Its head is enough to refuse it: what follows would be found damaged."""
    assert refusal(huge(7071, 7071)).startswith("is 7071x7071; this request needs 64x48")


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(TYPES)), st.integers(0, 400), st.binary(min_size=1, max_size=8), st.booleans())
def test_no_damage_is_our_mistake(form: str, at: int, noise: bytes, fitted: bool) -> None:
    """Whatever bytes are wrong, the picture is taken or refused in words."""
    data = bytearray(drawn(64, 48, form))
    data[at : at + len(noise)] = noise
    with suppress(PictureRefused):
        picture = adapted(bytes(data), (64, 48), "contain" if fitted else None)
        assert (picture.width, picture.height) == (64, 48)


# Resizing


@pytest.mark.parametrize(("form", "kept"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/png")])
def test_cover_fills_the_frame_and_cuts_the_rest_off(form: str, kept: str) -> None:
    """A wide picture in a square frame loses its sides, not its top; JPEG stays JPEG, all else becomes PNG."""
    picture = adapted(drawn(160, 80, form), (64, 64), "cover")
    image = opened(picture.data)
    assert (picture.media_type, picture.width, picture.height) == (kept, 64, 64)
    assert (image.size, image.mode, Image.MIME[str(image.format)]) == ((64, 64), "RGB", kept)
    assert [colour(image, *at) for at in ((0.02, 0.5), (0.98, 0.5), (0.5, 0.05), (0.5, 0.5))] == [
        WHITE, WHITE, BLUE, WHITE,
    ]  # fmt: skip


@pytest.mark.parametrize(("form", "kept"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/png")])
def test_contain_shows_all_of_it_between_black_bars(form: str, kept: str) -> None:
    """Above and below a wide picture; nothing is cut off."""
    picture = adapted(drawn(160, 80, form), (64, 64), "contain")
    image = opened(picture.data)
    assert (picture.media_type, image.size) == (kept, (64, 64))
    assert [colour(image, *at) for at in ((0.5, 0.1), (0.5, 0.9), (0.05, 0.6), (0.95, 0.6), (0.5, 0.6))] == [
        BLACK, BLACK, RED, GREEN, WHITE,
    ]  # fmt: skip


@pytest.mark.parametrize("fit", ["cover", "contain"])
def test_a_small_picture_grows(fit: str) -> None:
    """In either way the frame is exactly as large as the video."""
    assert opened(adapted(drawn(16, 16), (128, 72), fit).data).size == (128, 72)


@pytest.mark.parametrize("fit", ["cover", "contain"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_kind_of_png_can_be_resized(mode: str, fit: str) -> None:
    """Grey, with a palette, with transparency, in black and white: the result is plain colour."""
    image = opened(adapted(drawn(64, 64, mode=mode), (96, 48), fit).data)
    assert (image.mode, image.size) == ("RGB", (96, 48))
    assert colour(image, 0.5, 0.5) == WHITE


def test_a_cmyk_jpeg_can_be_resized() -> None:
    """As print shops send them; their colour profile would be wrong for the result."""
    image = opened(adapted(drawn(64, 64, "JPEG", "CMYK", icc_profile=b"of inks"), (32, 32), "cover").data)
    assert (image.mode, image.info.get("icc_profile")) == ("RGB", None)


def test_transparent_becomes_black() -> None:
    """A video has no transparency, and what lies hidden below it should not come out."""
    out = io.BytesIO()
    Image.new("RGBA", (40, 40), (255, 255, 255, 0)).save(out, "PNG")
    assert colour(opened(adapted(out.getvalue(), (20, 20), "contain").data), 0.5, 0.5) == BLACK


def test_the_colours_keep_their_profile_and_the_place_is_left_out() -> None:
    """A telephone's colours stay right; its EXIF, with the place in it, goes nowhere."""
    exif = Image.Exif()
    exif[0x010E] = "at home, 59.33 N 18.07 E"
    data = drawn(64, 64, "JPEG", icc_profile=b"P3", exif=exif)
    picture = adapted(data, (32, 32), "cover")
    assert opened(picture.data).info["icc_profile"] == b"P3"
    assert b"59.33" in data
    assert b"59.33" not in picture.data


# Pictures that a camera marks as turned


@pytest.mark.parametrize("form", TYPES)
def test_a_turned_picture_is_seen_upright(form: str) -> None:
    """Its size is the one that a person sees, and the provider gets it so, without the mark."""
    data = drawn(48, 64, form, turn=6)
    assert inspect(data) == Form(TYPES[form], 64, 48, turned=True)
    image = opened(adapted(data, (64, 48)).data)
    assert (image.size, image.getexif().get(0x0112)) == ((64, 48), None)
    # turned by a quarter to the right: left comes up, the top goes right
    assert [colour(image, *at) for at in ((0.5, 0.05), (0.95, 0.5), (0.5, 0.95))] == [RED, BLUE, GREEN]


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_is_known(turn: int) -> None:
    """From 5 on width and height change places."""
    seen = (48, 64) if turn >= 5 else (64, 48)
    data = drawn(64, 48, "JPEG", turn=turn)
    assert refusal(data, size=(10, 10)).startswith(f"is {seen[0]}x{seen[1]};")
    assert opened(adapted(data, (30, 30), "contain").data).size == (30, 30)


def test_a_mark_that_means_nothing_is_passed_over() -> None:
    """The picture is taken as it is stored."""
    data = drawn(64, 48, "JPEG", turn=77)
    assert adapted(data, (64, 48)).data == data


def test_a_result_above_the_limit_is_refused() -> None:
    """A small file can become a large one; the words say what helps."""
    data = drawn(64, 48)
    limit = len(adapted(data, (640, 480), "cover").data)
    assert adapt(data, inspect(data), (640, 480), "cover", limit).width == 640
    with pytest.raises(PictureRefused, match="becomes too large a file at 640x480; send it as JPEG"):
        adapt(data, inspect(data), (640, 480), "cover", limit - 1)


def test_a_picture_that_is_decoded_for_minutes_is_refused() -> None:
    """A progressive JPEG is decoded once for each of its scans, and all other pictures wait meanwhile."""
    out = io.BytesIO()
    Image.new("L", (640, 640), 128).save(out, "JPEG", progressive=True, quality=50)
    data = out.getvalue()
    assert inspect(data).width == 640
    last = data[data.rfind(b"\xff\xda") : -2]
    with pytest.raises(PictureRefused, match="more than 100 scans"):
        inspect(data[:-2] + last * 500 + b"\xff\xd9")
