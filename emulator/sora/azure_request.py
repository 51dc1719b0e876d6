"""Read and judge a create request of dialect `azure-jobs`: JSON, or multipart with reference media."""

from __future__ import annotations

import io
import json
from typing import Any

import av
from aiohttp import BodyPartReader, web

from emulator.sora.studio import Order, Refusal

SIZES = (
    (480, 480), (480, 854), (854, 480), (720, 720), (720, 1280), (1280, 720), (1080, 1080), (1080, 1920), (1920, 1080),
)  # fmt: skip
MAX_SECONDS = 20
MAX_IMAGES = 2
MAX_REFERENCE_SECONDS = 5.0
_MAGIC = ((b"\xff\xd8\xff", "image"), (b"\x89PNG\r\n\x1a\n", "image"))


def max_variants(width: int, height: int) -> int:
    """Variants allowed at a size: 1080p one, 720p two, smaller ones four."""
    short = min(width, height)
    return 1 if short >= 1080 else 2 if short >= 720 else 4


async def read_create(request: web.Request) -> dict[str, Any]:
    """Read the body into one dict; multipart files come as `files`: name -> bytes. Refusal when unreadable."""
    if request.content_type == "multipart/form-data":
        return await _read_multipart(request)
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal("invalid", param=None, message="The request body is not a JSON object.")
    body.pop("files", None)
    if body.get("inpaint_items"):
        raise Refusal("invalid", param="inpaint_items", message="inpaint_items needs a multipart/form-data request.")
    return body


async def _read_multipart(request: web.Request) -> dict[str, Any]:
    body: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    try:
        reader = await request.multipart()
    except ValueError:
        raise Refusal("invalid", param=None, message="The multipart body has no boundary.") from None
    while (part := await reader.next()) is not None:
        if not isinstance(part, BodyPartReader) or part.name is None:
            raise Refusal("invalid", param=None, message="Every part needs a name.")
        data = bytes(await part.read())
        if part.name != "files":
            body[part.name] = data.decode("utf-8", "replace")
        elif part.filename is None:
            raise Refusal("invalid", param="files", message="Expected a file, but got a string instead.")
        else:
            files[part.filename] = data
    if not files:
        raise Refusal("invalid", param="files", message="Missing required parameter: 'files'.")
    if isinstance(items := body.get("inpaint_items"), str):
        try:
            body["inpaint_items"] = json.loads(items)
        except ValueError:
            raise Refusal("invalid", param="inpaint_items", message="inpaint_items is not JSON.") from None
    return {**body, "files": files}


def validate(body: dict[str, Any], dialect: str) -> Order:
    """Judge a create body by the service's rules; Refusal `invalid` names the first field that is wrong."""
    for name in ("model", "prompt"):
        if not isinstance(body.get(name), str) or not body[name].strip():
            raise Refusal("invalid", param=name, message=f"Missing required parameter: '{name}'.")
    width, height = _integer(body, "width"), _integer(body, "height")
    if (width, height) not in SIZES:
        allowed = ", ".join(f"{w}x{h}" for w, h in SIZES)
        raise Refusal(
            "invalid", param="width", message=f"Unsupported size {width}x{height}. Supported sizes: {allowed}."
        )
    seconds, variants = _integer(body, "n_seconds", 5), _integer(body, "n_variants", 1)
    if not 1 <= seconds <= MAX_SECONDS:
        raise Refusal("invalid", param="n_seconds", message=f"n_seconds must be between 1 and {MAX_SECONDS}.")
    most = max_variants(width, height)
    if not 1 <= variants <= most:
        raise Refusal("invalid", param="n_variants", message=f"n_variants must be between 1 and {most} at this size.")
    items = _inpaint_items(body)
    extra = {"inpaint_items": items} if items is not None else {}
    return Order(dialect, body["prompt"], body["model"], width, height, seconds, variants, extra)


def _integer(body: dict[str, Any], name: str, default: int | None = None) -> int:
    """An integer, or a string that holds one: the live service took "5" for 5."""
    value = body.get(name, default)
    if value is None:
        raise Refusal("invalid", param=name, message=f"Missing required parameter: '{name}'.")
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refusal("invalid", param=name, message=f"Invalid type for '{name}': expected an integer.")
    return value


def _inpaint_items(body: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Check the reference media of a multipart request; returns the items with their defaults filled in."""
    if "files" not in body:
        return None

    def wrong(text: str) -> Refusal:
        return Refusal("invalid", param="inpaint_items", message=text)

    items, files = body.get("inpaint_items"), body["files"]
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise wrong("inpaint_items must be a list with one object per file.")
    kinds = [item.get("type") for item in items]
    if not set(kinds) <= {"image", "video"}:
        raise wrong("type must be image or video.")
    if kinds != ["video"] and ("video" in kinds or len(kinds) > MAX_IMAGES):
        raise wrong(f"Use at most {MAX_IMAGES} images, or one video.")
    checked = []
    for item in items:
        name, frame = item.get("file_name"), item.get("frame_index", 0)
        if name not in files:
            raise wrong(f"No part of 'files' has the filename {name!r}.")
        if not isinstance(frame, int) or isinstance(frame, bool) or frame < 0:
            raise wrong("frame_index must be a number from 0.")
        if _media_kind(files[name]) != item["type"]:
            raise Refusal("invalid", param="files", message=f"{name!r} is not a readable {item['type']}.")
        if item["type"] == "video" and _seconds(files[name]) > MAX_REFERENCE_SECONDS:
            raise Refusal(
                "invalid", param="files", message=f"{name!r} is longer than {MAX_REFERENCE_SECONDS:g} seconds."
            )
        checked.append(
            {"frame_index": frame, "type": item["type"], "file_name": name, "crop_bounds": _crop(item, wrong)}
        )
    return checked


def _crop(item: dict[str, Any], wrong: Any) -> dict[str, float]:
    bounds = {"left_fraction": 0.0, "top_fraction": 0.0, "right_fraction": 1.0, "bottom_fraction": 1.0}
    given = item.get("crop_bounds") or {}
    if not isinstance(given, dict) or set(given) - set(bounds):
        raise wrong(f"crop_bounds takes {', '.join(bounds)}.")
    for name, value in given.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
            raise wrong(f"{name} must be between 0 and 1.")
        bounds[name] = float(value)
    if bounds["left_fraction"] >= bounds["right_fraction"] or bounds["top_fraction"] >= bounds["bottom_fraction"]:
        raise wrong("crop_bounds is empty.")
    return bounds


def _media_kind(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image"
    if data[4:8] == b"ftyp":
        return "video"
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)


def _seconds(data: bytes) -> float:
    try:
        with av.open(io.BytesIO(data)) as container:
            return float(container.duration or 0) / av.time_base
    except av.FFmpegError:
        raise Refusal("invalid", param="files", message="The video cannot be decoded.") from None
