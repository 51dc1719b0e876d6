"""Read and judge a create request of dialect `openai-images`: a generation (JSON), or an edit (a form with images).

The strict servers have the rules of the model's family, told by its name: dall-e-3, gpt-image-1 and its kin, and from
gpt-image-2 on any size. Programs that serve open models take any size and ignore what they do not know.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from emulator.sora.forms import (
    Upload,
    is_form,
    missing,
    one_of,
    read_form,
    read_json,
    unknown,
    whole_number,
    wrong_type,
    wrong_value,
)
from emulator.sora.profiles import Profile
from emulator.sora.stills import picture_size
from emulator.sora.studio import Order, Refusal

MAX_IMAGE_BYTES = 50 * 1024 * 1024
URL_SECONDS = 3600.0
_COMMON = ("prompt", "model", "n", "size", "quality", "user")
_EDIT = ("image", "image[]", "mask", "input_fidelity")
_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})")
_SUFFIXES = {"png": "png", "jpeg": "jpg", "webp": "webp"}


@dataclass(frozen=True)
class Family:
    """The rules of models that share them. No `sizes`: any multiple of 16 within bounds."""

    max_prompt: int
    max_n: int
    sizes: tuple[str, ...]
    qualities: tuple[str, ...]
    fields: tuple[str, ...]
    answers: tuple[str, ...]  # response_format, default first


_GPT_FIELDS = ("output_format", "output_compression", "background", "moderation", "stream", "safety_identifier")
_GPT_QUALITIES = ("auto", "low", "medium", "high")
_GPT = Family(32000, 10, ("auto", "1024x1024", "1024x1536", "1536x1024"), _GPT_QUALITIES, _GPT_FIELDS, ("b64_json",))
_GPT_2 = Family(32000, 10, (), (*_GPT_QUALITIES, "xhigh", "max"), _GPT_FIELDS, ("b64_json",))
_DALL_E = Family(
    4000,
    1,
    ("1024x1024", "1792x1024", "1024x1792"),
    ("standard", "hd"),
    ("style", "response_format"),
    ("url", "b64_json"),
)


def family_of(model: str) -> Family:
    """The rules of a model, by its name."""
    if "dall-e" in model:
        return _DALL_E
    found = re.search(r"gpt-image-(\d+)", model)
    return _GPT_2 if found and int(found[1]) >= 2 else _GPT


async def read_create(request: web.Request, edit: bool) -> dict[str, Any]:
    """Read the body into one dict; the images of an edit come as lists of Uploads. Refusal when unreadable."""
    if not edit:
        return await read_json(request)
    if not is_form(request):
        text = "Invalid Content-Type: expected multipart/form-data."
        raise Refusal("invalid", param=None, message=text, code="unsupported_content_type")
    return await read_form(request, repeated=("image", "image[]"))


def validate(
    body: dict[str, Any], profile: Profile, dialect: str, edit: bool, limits: tuple[float, float | None]
) -> Order:
    """Judge a create body; Refusal `invalid` names the first field that is wrong.

    `limits`: seconds that making takes, and seconds that a URL may live at most. `extra` of the Order: how to answer.
    """
    prompt, model = body.get("prompt"), body.get("model")
    if model is None and profile.strict and (profile.model_required or not edit):
        raise missing("model")
    if model is not None and not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    model = model or "gpt-image-1"
    family = family_of(model)
    if profile.strict:
        for name in body:
            if name not in (*_COMMON, *family.fields, *(_EDIT if edit else ())):
                raise unknown(name)
    if prompt is None or prompt == "":
        raise missing("prompt")
    if not isinstance(prompt, str):
        raise wrong_type("prompt", "a string", prompt)
    if len(prompt) > family.max_prompt:
        raise wrong_value("prompt", f"{prompt[:20]}...", rule=f"Its length must be at most {family.max_prompt}.")
    if body.get("stream") not in (None, False, "false"):
        raise wrong_value("stream", body["stream"], rule="The simulator does not stream.")
    width, height = _size(body, profile, family)
    extra = {
        "quality": one_of(body, "quality", family.qualities, family.qualities[0]) if profile.strict else "auto",
        **_format(body, profile),
        "answer": one_of(body, "response_format", answers := profile.image_answers or family.answers, answers[0]),
        "edits": _images(body) if edit else 0,
    }
    if profile.strict:
        one_of(body, "moderation", ("auto", "low"), "auto")
    seconds, kept = limits
    return Order(
        dialect,
        prompt,
        model,
        width,
        height,
        0,
        whole_number(body, "n", 1, family.max_n, 1),
        extra,
        duration=seconds,
        kept_seconds=URL_SECONDS if kept is None else min(kept, URL_SECONDS),
    )


def _size(body: dict[str, Any], profile: Profile, family: Family) -> tuple[int, int]:
    value = body.get("size") or "auto"
    if not isinstance(value, str):
        raise wrong_type("size", "a string", value)
    if profile.strict and family.sizes and value not in family.sizes and body.get("size") is not None:
        raise wrong_value("size", value, family.sizes)
    if value == "auto":
        return 1024, 1024
    found = _SIZE.fullmatch(value)
    width, height = (int(side) for side in found.groups()) if found else (0, 0)
    if not profile.strict and min(width, height) >= 64 and max(width, height) <= 4096:
        return width, height
    pixels, ratio = width * height, max(width, height) / max(1, min(width, height))
    if width % 16 or height % 16 or ratio > 3 or not 655_360 <= pixels <= 8_294_400 or max(width, height) > 3840:
        rule = "Width and height must be divisible by 16, at most 3:1 and 3840 long, 655360 to 8294400 pixels."
        raise wrong_value("size", value, rule=rule)
    return width, height


def _format(body: dict[str, Any], profile: Profile) -> dict[str, Any]:
    formats = tuple(_SUFFIXES) if profile.webp else ("png", "jpeg")
    output_format = one_of(body, "output_format", formats, "png")
    background = one_of(body, "background", ("auto", "transparent", "opaque"), "auto")
    if background == "transparent" and output_format != "png":
        rule = "Transparent backgrounds are only supported for output_format 'png'."
        raise wrong_value("background", background, rule=rule)
    if whole_number(body, "output_compression", 0, 100, 100) < 100 and output_format == "png":
        raise wrong_value("output_compression", body["output_compression"], rule="For png it must be 100.")
    return {"output_format": output_format, "suffix": _SUFFIXES[output_format], "background": background}


def _images(body: dict[str, Any]) -> int:
    """Check the files of an edit; returns how many images there are."""
    images = [*body.get("image", []), *body.get("image[]", [])]
    if not images:
        raise missing("image")
    mask = body.get("mask")
    for name, given in [("image", image) for image in images] + ([("mask", mask)] if mask is not None else []):
        if not isinstance(given, Upload):
            raise wrong_type(name, "a file", given)
        picture = picture_size(given.data)
        kinds = ("image/png",) if name == "mask" else ("image/png", "image/jpeg", "image/webp")
        if given.media_type not in kinds or picture is None or picture[0] != given.media_type:
            text = f"Invalid file '{name}': unsupported mimetype ('{given.media_type}') or not such a picture."
            raise Refusal("invalid", param=name, message=text, code="unsupported_file_mimetype")
        if len(given.data) > MAX_IMAGE_BYTES:
            raise wrong_value(name, given.filename, rule="A file may have at most 50 MB.")
    return len(images)


def usage(prompt: str, width: int, height: int, quality: str, images: int, edits: int) -> dict[str, Any]:
    """Tokens in the form and in the order of magnitude of gpt-image-1."""
    each = {"low": 272, "medium": 1056}.get(quality, 4160)
    made = images * math.ceil(each * width * height / (1024 * 1024))
    text, seen = math.ceil(len(prompt) / 4), edits * 323
    details = {"text_tokens": text, "image_tokens": seen}
    return {
        "total_tokens": text + seen + made,
        "input_tokens": text + seen,
        "output_tokens": made,
        "input_tokens_details": details,
    }
