"""Read request bodies of the OpenAI dialects: JSON objects, and forms with files; and complain as OpenAI does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import BodyPartReader, web

from emulator.sora.studio import Refusal

_TYPES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    dict: "an object",
    list: "an array",
}


@dataclass(frozen=True)
class Upload:
    """A file of a form, with the media type its part declares (None: none)."""

    filename: str
    media_type: str | None
    data: bytes


async def read_json(request: web.Request) -> dict[str, Any]:
    """Read a JSON object; Refusal `invalid` otherwise."""
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal("invalid", param=None, message="We could not parse the JSON body of your request.", code=None)
    return body


async def read_form(request: web.Request, repeated: Sequence[str] = ()) -> dict[str, Any]:
    """Read a multipart form: strings and Uploads by name, lists for the `repeated` names; Refusal when unreadable."""
    fields: dict[str, Any] = {}
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise ValueError("a part without a name")
            data = bytes(await part.read())
            # the same part without a filename is a plain field: what OpenAI calls a string
            value: str | Upload = data.decode("utf-8", "replace")
            if part.filename is not None:
                value = Upload(part.filename, part.headers.get("Content-Type"), data)
            if part.name in repeated:
                fields.setdefault(part.name, []).append(value)
            else:
                fields[part.name] = value
    except ValueError:
        text = "Could not parse multipart form."
        raise Refusal("invalid", param=None, message=text, code=None) from None
    return fields


def is_form(request: web.Request) -> bool:
    """Tell whether the body is a multipart form."""
    return request.content_type == "multipart/form-data"


def missing(name: str) -> Refusal:
    """A required field is not there."""
    text = f"Missing required parameter: '{name}'."
    return Refusal("invalid", param=name, message=text, code="missing_required_parameter")


def unknown(name: str) -> Refusal:
    """A field is not on the wire."""
    return Refusal("invalid", param=name, message=f"Unknown parameter: '{name}'.", code="unknown_parameter")


def wrong_type(name: str, wanted: str, value: object) -> Refusal:
    """A field has another type."""
    given = "null" if value is None else _TYPES.get(type(value), "a file")
    text = f"Invalid type for '{name}': expected {wanted}, but got {given} instead."
    return Refusal("invalid", param=name, message=text, code="invalid_type")


def wrong_value(name: str, value: object, allowed: Sequence[str] = (), rule: str = "") -> Refusal:
    """A field has the right type, but a value outside `allowed` or against the `rule`."""
    names = [f"'{one}'" for one in allowed]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])}, and {names[-1]}" if names else ""
    text = f"Invalid value: '{value}'. {rule or f'Supported values are: {listed}.'}"
    return Refusal("invalid", param=name, message=text, code="invalid_value")


def one_of(body: dict[str, Any], name: str, allowed: Sequence[str], default: str) -> str:
    """Read an optional word."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise wrong_type(name, f"one of {', '.join(map(repr, allowed))}", value)
    if value not in allowed:
        raise wrong_value(name, value, allowed)
    return value


def whole_number(body: dict[str, Any], name: str, least: int, most: int, default: int) -> int:
    """Read an optional whole number; a form's digits are one."""
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(name, "an integer", value)
    if not least <= value <= most:
        raise wrong_value(name, value, rule=f"It must be between {least} and {most}.")
    return value
