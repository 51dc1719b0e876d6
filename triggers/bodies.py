"""The body of a create request -> a JobRequest, or every reason why not. Unknown fields are refused.

1. `read_json`: size, JSON, an object.
2. `to_body`: types, and what the fields say of each other. Each kind has a model of its own. `read_body` does both.
3. `to_request`: what the provider makes of it, with a size and a length that it offers where none is given.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode
from collections import Counter
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from reelkeeper.errors import FieldError, RequestRefused
from reelkeeper.model import JobRequest
from reelkeeper.parts import IMAGES, PICTURES, VIDEOS
from reelkeeper.pictures import MAX_PICTURE_BYTES
from reelkeeper.providers.abilities import FORMATS
from reelkeeper.providers.base import Provider

MAX_BODY_BYTES = 512 * 1024
"""Of everything but the text of a picture: the longest prompt fits, in whatever way its characters are written."""

MAX_BASE64 = (MAX_PICTURE_BYTES + 2) // 3 * 4
MAX_ERRORS = 20
"""More of them help nobody, and a body full of unknown fields must not be answered with a multiple of its size."""

WORDS = {
    "missing": "is required",
    "string_type": "must be a text",
    "string_unicode": "must be plain Unicode text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "bool_type": "must be true or false",
    "literal_error": "must be {expected}",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} entries",
}
"""By pydantic's type of error. Every least length is 1."""

Model = TypeVar("Model", bound=BaseModel)

MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


def _decoded(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("must be a text")
    if value.startswith("data:"):
        raise ValueError("must be the base64 text alone, without the 'data:...;base64,' of a data URL")
    try:
        data = b64decode(value, validate=True)
    except ValueError:
        raise ValueError("is not base64: A-Z, a-z, 0-9, + and /, padded with =, without line breaks") from None
    if not 0 < len(data) <= MAX_PICTURE_BYTES:
        raise ValueError(f"holds {len(data)} bytes; 1 to {MAX_PICTURE_BYTES} (20 MiB) are allowed")
    return data


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class InputImageBody(Strict):
    """The picture that a video starts from: an address, or its bytes with their type."""

    url: str | None = Field(default=None, min_length=1, max_length=2048)
    base64: Annotated[bytes | None, BeforeValidator(_decoded)] = Field(default=None, repr=False)
    media_type: str | None = Field(default=None, max_length=64)
    fit: Literal["cover", "contain"] | None = None

    def mistakes(self) -> list[FieldError]:
        if (self.url is None) == (self.base64 is None):
            return [FieldError("input_image", "needs either url, or base64 and media_type")]
        if self.url is not None and self.media_type is not None:
            return [FieldError("input_image.media_type", "goes with base64 only; leave it out with url")]
        if self.base64 is not None and self.media_type not in PICTURES:
            return [FieldError("input_image.media_type", f"must be one of {', '.join(PICTURES)}")]
        return []


class Body(Strict):
    """The fields that both kinds have; names as in the jobs dialect."""

    prompt: str = Field(min_length=1)
    width: int
    height: int
    n_variants: int = 1
    model: str | None = Field(default=None, min_length=1, max_length=128)
    provider: str | None = Field(default=None, min_length=1, max_length=64)
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] = Field(default_factory=dict)
    user_id: str | None = Field(default=None, min_length=1, max_length=256)

    @property
    def named_size(self) -> tuple[int, int] | None:
        """The size that the caller wants, or None when the choice is ours."""
        return (self.width, self.height) if "width" in self.model_fields_set else None

    def mistakes(self) -> list[FieldError]:
        """What is wrong with the fields taken together."""
        pair = {"width", "height"} & self.model_fields_set
        if len(pair) != 1:
            return []
        missing = ({"width", "height"} - pair).pop()
        return [FieldError(missing, f"is needed together with {pair.pop()}")]

    def digest(self) -> str:
        """The same for two bodies that mean the same."""
        return hashlib.sha256(json.dumps(self._meaning(), sort_keys=True).encode()).hexdigest()

    def _meaning(self) -> dict[str, Any]:
        return self.model_dump(exclude={"user_id"})


class VideoBody(Body):
    """The fields of ``POST /api/videos/generate``."""

    width: int = 1280
    height: int = 720
    n_seconds: int = 5
    input_image: InputImageBody | None = None

    def mistakes(self) -> list[FieldError]:
        return super().mistakes() + (self.input_image.mistakes() if self.input_image else [])

    def _meaning(self) -> dict[str, Any]:
        meaning = super()._meaning()
        image = meaning.pop("input_image")
        if image is None:
            return meaning
        data = image.pop("base64")
        return meaning | {"input_image": image | {"sha256": data and hashlib.sha256(data).hexdigest()}}


class ImageBody(Body):
    """The fields of ``POST /api/images/generate``; `size` and `n` are the images dialect's words."""

    width: int = Field(default=1024, ge=1)
    height: int = Field(default=1024, ge=1)
    size: str | None = None
    n: int | None = None
    output_format: str | None = None
    quality: str | None = None
    background: str | None = None

    @property
    def named_size(self) -> tuple[int, int] | None:
        """(0, 0) leaves it to the provider."""
        if self.size is None:
            return super().named_size
        width, _, height = self.size.replace("auto", "0x0").partition("x")
        return int(width), int(height)

    def mistakes(self) -> list[FieldError]:
        found = super().mistakes()
        if self.size is not None and not re.fullmatch(r"auto|[1-9]\d{0,4}x[1-9]\d{0,4}", self.size, re.ASCII):
            found.append(FieldError("size", "must be auto, or width and height such as 1024x1024"))
        elif self.size is not None and {"width", "height"} & self.model_fields_set:
            found.append(FieldError("size", "stands for width and height; give one or the other"))
        if self.n is not None and "n_variants" in self.model_fields_set and self.n != self.n_variants:
            found.append(FieldError("n", "differs from n_variants, which means the same; give one of them"))
        if self.output_format not in (None, *FORMATS):
            found.append(FieldError("output_format", f"must be one of {', '.join(FORMATS)}"))
        for name in ("quality", "background"):
            word = getattr(self, name)
            if word is not None and not re.fullmatch(r"[a-z0-9_-]{1,32}", word):
                found.append(FieldError(name, "must be a word of at most 32 small letters"))
        return found

    def _meaning(self) -> dict[str, Any]:
        width, height = self.named_size or (self.width, self.height)
        meaning = super()._meaning() | {"width": width, "height": height}
        return meaning | {"size": None, "n": None, "n_variants": self.n_variants if self.n is None else self.n}


MODELS: dict[str, type[VideoBody] | type[ImageBody]] = {VIDEOS: VideoBody, IMAGES: ImageBody}


def read_body(content_type: str, raw: bytes, kind: str) -> VideoBody | ImageBody:
    """Raises RequestRefused: 413 too large, 415 not JSON by its own word, 400 with the fields to blame."""
    return to_body(read_json(content_type, raw, MAX_BODY_BYTES, pictures=1 if kind == VIDEOS else 0), kind)


def read_json(content_type: str, raw: bytes, most: int, pictures: int) -> dict[str, Any]:
    """The object in `raw`, at most `most` bytes besides the base64 texts of so many pictures. Raises RequestRefused."""
    _check_length(raw, most, pictures)
    if content_type.partition(";")[0].strip().lower() not in ("", "application/json"):
        detail = f"Content-Type is {content_type!r}; send application/json."
        raise RequestRefused(415, "unsupported_media_type", detail, (FieldError("Content-Type", detail),))
    try:
        data = json.loads(raw.decode("utf-8-sig"), parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as error:
        raise refused(FieldError("body", f"is no valid JSON: {error}" if raw.strip() else "is empty")) from None
    if not isinstance(data, dict):
        raise refused(FieldError("body", "must be a JSON object"))
    return data


def to_body(data: Any, kind: str) -> VideoBody | ImageBody:
    """Raises RequestRefused (400)."""
    body = validated(MODELS[kind], data)
    if mistakes := body.mistakes():
        raise refused(*mistakes)
    return body


def validated(model: type[Model], data: Any) -> Model:
    """Raises RequestRefused (400)."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise refused(*(_in_words(item, model) for item in error.errors()[:MAX_ERRORS])) from None


def to_request(body: VideoBody | ImageBody, provider: Provider, picture: tuple[int, int] | None = None) -> JobRequest:
    """The request as this provider can serve it; `picture`: the pixel size of its input image, once that is known.

    Raises RequestRefused (400) naming what the provider allows.
    """
    can, image = provider.abilities, body if isinstance(body, ImageBody) else None
    size = body.named_size
    unsure = size is None and isinstance(body, VideoBody) and body.input_image is not None and picture is None
    if size is None:
        size = picture if picture and can.offers(*picture) else can.usual_size((body.width, body.height))
    request = JobRequest(
        prompt=body.prompt,
        width=size[0],
        height=size[1],
        n_seconds=_seconds(body, provider),
        n_variants=image.n if image and image.n is not None else body.n_variants,
        model=provider.model,
        metadata=body.metadata,
        output_format=image.output_format if image else None,
        quality=image.quality if image else None,
        background=image.background if image else None,
        left_open=_left_open(body),
    )
    errors = _misfits(body, provider)
    for error in can.refusals(request):
        most = max(count for _, count in can.variants_by_pixels)
        if not (unsure and error.field == "n_variants" and 1 <= request.n_variants <= most):
            errors.append(_in_their_words(error, image))
    if errors:
        raise refused(*errors)
    return request


def refused(*errors: FieldError) -> RequestRefused:
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return RequestRefused(400, "invalid_request", detail, errors)


def _check_length(raw: bytes, most: int, pictures: int) -> None:
    """Before anything is parsed: only the texts of pictures may be long."""
    if len(raw) <= most:
        return
    starts = [found.end() for found in re.finditer(rb'"base64"\s*:\s*"', raw)] if pictures else []
    spans = [(start, raw.find(b'"', start)) for start in starts]
    texts = sorted((max(end - start, 0), start) for start, end in spans)[-pictures:]
    rest = len(raw) - sum(length for length, _ in texts)
    if rest > most:
        besides = " besides its pictures" if texts else ""
        detail = f"The body has {rest} bytes{besides}; at most {most} are allowed."
    # some languages write / as \/
    elif longest := [
        length
        for length, start in texts
        if length > MAX_BASE64 and length - raw.count(b"\\/", start, start + length) > MAX_BASE64
    ]:
        detail = f"A picture's base64 text has {longest[-1]} bytes; at most {MAX_BASE64} (20 MiB decoded) are allowed."
    else:
        return
    raise RequestRefused(413, "body_too_large", detail, (FieldError("body", detail),))


def _seconds(body: VideoBody | ImageBody, provider: Provider) -> int:
    if isinstance(body, ImageBody):
        return 0
    return body.n_seconds if "n_seconds" in body.model_fields_set else provider.abilities.usual_seconds


def _left_open(body: VideoBody | ImageBody) -> tuple[str, ...]:
    """What nobody chose. The size of a video that starts from a picture is not open: the picture is kept in it."""
    video = body if isinstance(body, VideoBody) else None
    size = body.named_size in (None, (0, 0)) and not (video and video.input_image)
    seconds = video is not None and "n_seconds" not in video.model_fields_set
    return ("size",) * size + ("n_seconds",) * seconds


def _misfits(body: Body, provider: Provider) -> list[FieldError]:
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
    return errors


def _in_their_words(error: FieldError, image: ImageBody | None) -> FieldError:
    """The error at the field that the caller gave: `size` and `n` stand for others."""
    if image and image.size is not None and error.field in ("width", "height"):
        return FieldError("size", error.message.replace("0x0", "auto", 1).replace("width x height", "it", 1))
    if image and image.n is not None and error.field == "n_variants":
        return FieldError("n", error.message)
    return error


def _in_words(error: Any, model: type[BaseModel]) -> FieldError:
    path = ".".join(str(part) for part in error["loc"] if part != "[key]") or "body"
    if error["type"] == "extra_forbidden":
        model = InputImageBody if error["loc"][0] == "input_image" and len(error["loc"]) > 1 else model
        return FieldError(path, f"is not a known field; allowed: {', '.join(model.model_fields)}")
    words = WORDS.get(error["type"], "").format(**error.get("ctx", {})) or error["msg"].removeprefix("Value error, ")
    return FieldError(path, f"the name {words}" if "[key]" in error["loc"] else words)


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
