"""Read and judge a create request of dialect `openai-videos`, by the rules of the profile in force."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from aiohttp import web

from emulator.sora.forms import Upload, is_form, missing, read_form, read_json, unknown, wrong_type, wrong_value
from emulator.sora.profiles import Profile
from emulator.sora.stills import picture_size
from emulator.sora.studio import Order, Refusal

FIELDS = ("prompt", "model", "seconds", "size", "input_reference", "characters")
MAX_PROMPT = 32000
MAX_SECONDS = 120  # ours: nobody waits for the encoding of more
MAX_SIDE = 4096
REFERENCE_TYPES = ("image/jpeg", "image/png", "image/webp")
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


async def read_create(request: web.Request, profile: Profile) -> dict[str, Any]:
    """Read the body into one dict; a file comes as an Upload. Refusal when unreadable."""
    if is_form(request):
        return await read_form(request)
    if profile.form_only:  # a form without any field, as the server sees it
        raise missing("prompt")
    return await read_json(request)


def validate(body: dict[str, Any], profile: Profile, dialect: str) -> Order:
    """Judge a create body; Refusal `invalid` names the first field that is wrong."""
    if profile.strict:
        for name in body:
            if name not in FIELDS:
                raise unknown(name)
    prompt, model = _text(body, "prompt"), body.get("model")
    if len(prompt) > MAX_PROMPT:
        raise wrong_value("prompt", f"{prompt[:20]}...", rule=f"Its length must be at most {MAX_PROMPT}.")
    if model is None and profile.model_required:
        raise missing("model")
    if model is not None and not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    width, height = _size(body, profile)
    seconds = _seconds(body, profile)
    extra = _reference(body, profile, width, height)
    return Order(
        dialect,
        prompt,
        model or "sora-2",
        width,
        height,
        seconds,
        1,
        extra,
        kept_from_creation=profile.kept_from_creation,
    )


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None or value == "":
        raise missing(name)
    if not isinstance(value, str):
        raise wrong_type(name, "a string", value)
    return value


def _seconds(body: dict[str, Any], profile: Profile) -> int:
    value = body.get("seconds")
    if value is None:
        return 4
    if profile.strict and not isinstance(value, str):
        raise wrong_type("seconds", f"one of {', '.join(map(repr, profile.seconds))}", value)
    text = str(value)
    if profile.seconds and text not in profile.seconds:
        raise wrong_value("seconds", value, profile.seconds)
    if isinstance(value, bool) or not text.isdecimal() or not 1 <= int(text) <= MAX_SECONDS:
        raise wrong_value(
            "seconds", value, rule=f"It must be a whole number from 1; the simulator ends at {MAX_SECONDS}."
        )
    return int(text)


def _size(body: dict[str, Any], profile: Profile) -> tuple[int, int]:
    value = body.get("size")
    if value is None and not profile.sizes and body.get("width") and body.get("height"):
        value = f"{body['width']}x{body['height']}"
    if value is None:
        value = "720x1280"
    if not isinstance(value, str):
        raise wrong_type("size", "a string", value)
    if profile.sizes and value not in profile.sizes:
        raise wrong_value("size", value, profile.sizes)
    found = _SIZE.fullmatch(value)
    width, height = (int(side) for side in found.groups()) if found else (0, 0)
    if not (16 <= width <= MAX_SIDE and 16 <= height <= MAX_SIDE):
        raise wrong_value("size", value, rule=f"It must be WIDTHxHEIGHT, each from 16 to {MAX_SIDE}.")
    return width, height


def _reference(body: dict[str, Any], profile: Profile, width: int, height: int) -> dict[str, Any]:
    """Check the image to begin with; returns what is remembered of it."""
    given = body.get("input_reference")
    if given is None:
        return {}
    if not profile.checks_reference:
        return {"input_reference": given.filename if isinstance(given, Upload) else "text"}
    if isinstance(given, dict) and profile.object_reference:
        given = _from_object(given)
    if not isinstance(given, Upload):
        raise wrong_type("input_reference", "a file", given)
    if given.media_type not in REFERENCE_TYPES:
        text = (
            f"Invalid file 'input_reference': unsupported mimetype ('{given.media_type}'). Supported file formats are "
            "'image/jpeg', 'image/png', and 'image/webp'."
        )
        raise Refusal("invalid", param="input_reference", message=text, code="unsupported_file_mimetype")
    picture = picture_size(given.data)
    if picture is None or picture[0] != given.media_type:
        text = f"Invalid file 'input_reference': it is not a readable {given.media_type}."
        raise Refusal("invalid", param="input_reference", message=text, code="invalid_image_file")
    if picture[1:] != (width, height):
        text = "Inpaint image must match the requested width and height"
        raise Refusal("invalid", param=None, message=text, code=None)
    return {"input_reference": given.filename}


def _from_object(given: dict[str, Any]) -> Upload:
    """The picture of {"image_url": "data:..."}; the simulator fetches nothing and has no files."""
    if set(given) == {"file_id"}:
        raise wrong_value("input_reference.file_id", given["file_id"], rule="No such File object.")
    url = given.get("image_url")
    if set(given) != {"image_url"} or not isinstance(url, str):
        raise wrong_value("input_reference", "object", rule="Give exactly one of image_url and file_id.")
    found = re.fullmatch(r"data:(image/\w+);base64,(.*)", url, re.DOTALL)
    if found is None:
        rule = "The simulator downloads nothing: send a data URL, or a file in a form."
        raise wrong_value("input_reference.image_url", f"{url[:40]}", rule=rule)
    try:
        return Upload("image_url", found[1], base64.b64decode(found[2], validate=True))
    except binascii.Error:
        raise wrong_value("input_reference.image_url", "data:...", rule="It is not base64.") from None
