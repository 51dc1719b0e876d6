"""The body of a create request -> a JobRequest, or every reason why not. Unknown fields are refused."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from reelkeeper.errors import FieldError, RequestRefused
from reelkeeper.model import JobRequest
from reelkeeper.providers.base import Provider

MAX_BODY_BYTES = 64 * 1024
MAX_ERRORS = 20
"""More of them help nobody, and a body full of unknown fields must not be answered with a multiple of its size."""

MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class GenerateBody(BaseModel):
    """The fields of ``POST /api/videos/generate``; names as in the jobs dialect."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str = Field(min_length=1)
    width: int = 1280
    height: int = 720
    n_seconds: int = 5
    n_variants: int = 1
    model: str | None = Field(default=None, min_length=1, max_length=128)
    provider: str | None = Field(default=None, min_length=1, max_length=64)
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] = Field(default_factory=dict)
    user_id: str | None = Field(default=None, min_length=1, max_length=256)


def read_body(content_type: str, raw: bytes) -> GenerateBody:
    """Raises RequestRefused: 413 too large, 415 not JSON by its own word, 400 with the fields to blame."""
    if len(raw) > MAX_BODY_BYTES:
        detail = f"The body has {len(raw)} bytes; at most {MAX_BODY_BYTES} are allowed."
        raise RequestRefused(413, "body_too_large", detail, (FieldError("body", detail),))
    if content_type.partition(";")[0].strip().lower() not in ("", "application/json"):
        detail = f"Content-Type is {content_type!r}; send application/json."
        raise RequestRefused(415, "unsupported_media_type", detail, (FieldError("Content-Type", detail),))
    try:
        data = json.loads(raw.decode("utf-8-sig"), parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as error:
        raise refused(FieldError("body", f"is no valid JSON: {error}" if raw.strip() else "is empty")) from None
    if not isinstance(data, dict):
        raise refused(FieldError("body", "must be a JSON object"))
    try:
        body = GenerateBody.model_validate(data)
    except ValidationError as error:
        raise refused(*(_in_words(item) for item in error.errors()[:MAX_ERRORS])) from None
    pair = {"width", "height"} & data.keys()
    if len(pair) == 1:
        missing = ({"width", "height"} - pair).pop()
        raise refused(FieldError(missing, f"is needed together with {pair.pop()}"))
    return body


def to_request(body: GenerateBody, provider: Provider) -> JobRequest:
    """The request as this provider can serve it, with a size and a length that it offers where none is given.

    Raises RequestRefused (400) naming what the provider allows.
    """
    errors = []
    if not body.prompt.strip():
        errors.append(FieldError("prompt", "must hold more than blanks"))
    if "\x00" in body.prompt or not _is_text(body.prompt):
        errors.append(FieldError("prompt", "must be plain Unicode text without NUL characters"))
    if body.model not in (None, provider.model):
        errors.append(FieldError("model", f"{body.model!r} is not offered; allowed: {provider.model}"))
    for key, value in body.metadata.items():
        if not _is_text(key + value):
            errors.append(FieldError(f"metadata.{key}", "must be plain Unicode text"))
    can = provider.abilities
    size, seconds = (body.width, body.height), body.n_seconds
    if "width" not in body.model_fields_set:
        size = can.usual_size(size)
    if "n_seconds" not in body.model_fields_set:
        seconds = can.usual_seconds
    request = JobRequest(
        prompt=body.prompt,
        width=size[0],
        height=size[1],
        n_seconds=seconds,
        n_variants=body.n_variants,
        model=provider.model,
        metadata=body.metadata,
    )
    errors += can.refusals(request)
    if errors:
        raise refused(*errors)
    return request


def refused(*errors: FieldError) -> RequestRefused:
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return RequestRefused(400, "invalid_request", detail, errors)


def _in_words(error: Any) -> FieldError:
    path = ".".join(str(part) for part in error["loc"] if part != "[key]") or "body"
    if error["type"] == "extra_forbidden":
        allowed = ", ".join(GenerateBody.model_fields)
        return FieldError(path, f"is not a known field; allowed: {allowed}")
    if error["type"] == "missing":
        return FieldError(path, "is required")
    return FieldError(path, error["msg"][0].lower() + error["msg"][1:])


def _is_text(text: str) -> bool:
    """Whether the text can be written as UTF-8: JSON can smuggle in lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the field {twice!r} is given twice")
    return data
