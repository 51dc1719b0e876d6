"""The door to a place that makes videos. Adapters speak our words; a vendor's words end inside its dialect's file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Protocol

from reelkeeper.errors import FieldError
from reelkeeper.model import JobRequest, Output, Task


@dataclass(frozen=True)
class Abilities:
    """What a provider can make. `seconds`: the shortest and the longest video. `variants_by_pixels`: pairs of a frame
    area and the most outputs of one task from that area up, largest area first."""

    sizes: tuple[tuple[int, int], ...]
    seconds: tuple[int, int]
    variants_by_pixels: tuple[tuple[int, int], ...]
    max_prompt: int = 4000

    def variants(self, width: int, height: int) -> int:
        """The most outputs one task of this size may have."""
        return next(most for pixels, most in self.variants_by_pixels if width * height >= pixels)

    def refusals(self, request: JobRequest) -> tuple[FieldError, ...]:
        """Every field that this provider would refuse, each with the values that it allows."""
        errors = []
        if len(request.prompt) > self.max_prompt:
            message = f"has {len(request.prompt)} characters; at most {self.max_prompt} are allowed"
            errors.append(FieldError("prompt", message))
        low, high = self.seconds
        if not low <= request.n_seconds <= high:
            errors.append(FieldError("n_seconds", f"must be a whole number from {low} to {high}"))
        if (request.width, request.height) not in self.sizes:
            allowed = ", ".join(f"{width}x{height}" for width, height in self.sizes)
            message = f"{request.width}x{request.height} is not offered; width x height must be one of {allowed}"
            known_width = any(width == request.width for width, _ in self.sizes)
            errors.append(FieldError("height" if known_width else "width", message))
        elif (most := self.variants(request.width, request.height)) < request.n_variants or request.n_variants < 1:
            message = f"must be from 1 to {most} at {request.width}x{request.height}"
            errors.append(FieldError("n_variants", message))
        return tuple(errors)


@dataclass(frozen=True)
class ProviderConfig:
    """A configured provider. The key is kept out of every repr.

    `create_seconds`: how long a create may take. It must be over, one way or the other, before anybody reconciles it.
    """

    name: str
    kind: str
    dialect: str
    base_url: str
    api_version: str
    api_key: str = field(repr=False)
    model: str
    create_seconds: float = 36.0
    endpoint_setting: str = "AZURE_SORA_ENDPOINT"
    key_setting: str = "AZURE_API_KEY"
    model_setting: str = "SORA_MODEL"


class Content(Protocol):
    """An open download; use it in a ``with``.

    `offset`: where in the file the bytes start (0 when the server did not honour a range); `total`: the file's length
    in bytes, if told; `media_type`: as declared, lower case, without parameters; `validator`: text that changes when
    the file does (ETag, Last-Modified, length), "" when the server gives none.
    """

    offset: int
    total: int | None
    media_type: str
    validator: str

    def chunks(self) -> Iterator[bytes]:
        """The bytes in pieces of bounded size. Raises ProviderError when the transfer breaks off."""

    def __enter__(self) -> Content: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Provider(Protocol):
    """One configured provider. Every method raises ProviderError for a refusal or failure.

    `place` names where its tasks live (dialect and base URL): kept with a job, so that a task is never looked for
    elsewhere.
    """

    name: str
    kind: str
    model: str
    place: str
    abilities: Abilities

    def submit(self, request: JobRequest) -> Task:
        """Create a paid task. `ProviderError.outcome_unknown` tells a refusal from a lost answer."""

    def find(self, request: JobRequest, since: datetime) -> list[Task]:
        """Every task that this request can have made since then, oldest first.

        An empty list means that there is none. A code other than an outage or a refused key means that this provider
        has no list to rely on.
        """

    def look(self, task_id: str) -> Task:
        """The task as it is now. Code ``task_lost`` when the provider says it does not know it."""

    def open_output(self, output: Output, offset: int = 0) -> Content:
        """Open the video of a finished generation, from byte `offset` where the server can."""

    def open_thumbnail(self, output: Output) -> Content | None:
        """Open the preview picture, or None when the provider has none."""
