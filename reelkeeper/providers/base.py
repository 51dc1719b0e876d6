"""The door to a place that makes videos. Adapters speak our words; a vendor's words end inside its dialect's file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from reelkeeper.errors import FieldError
from reelkeeper.model import JobRequest, Output, Task

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

COGNITIVE_SERVICES = "https://cognitiveservices.azure.com/.default"


@dataclass(frozen=True)
class Abilities:
    """What a provider can make. `seconds`: every length it makes, shortest first. `variants_by_pixels`: pairs of a
    frame area and the most outputs of one task from that area up, largest area first. `default_seconds`: the length
    that no server of the dialect refuses."""

    sizes: tuple[tuple[int, int], ...]
    seconds: tuple[int, ...]
    variants_by_pixels: tuple[tuple[int, int], ...]
    max_prompt: int = 4000
    default_seconds: int = 5

    def variants(self, width: int, height: int) -> int:
        """The most outputs one task of this size may have."""
        return next(most for pixels, most in self.variants_by_pixels if width * height >= pixels)

    @property
    def any_second(self) -> bool:
        """Whether every whole number between the shortest and the longest is possible."""
        return 1 < len(self.seconds) == self.seconds[-1] - self.seconds[0] + 1

    def usual_size(self, wanted: tuple[int, int]) -> tuple[int, int]:
        """The size for somebody who names none: `wanted` where it is possible, else the first."""
        return wanted if wanted in self.sizes else self.sizes[0]

    @property
    def usual_seconds(self) -> int:
        """The length for somebody who names none: the default, or the possible one that is nearest to it."""
        return min(self.seconds, key=lambda seconds: (abs(seconds - self.default_seconds), seconds))

    def refusals(self, request: JobRequest) -> tuple[FieldError, ...]:
        """Every field that this provider would refuse, each with the values that it allows."""
        errors = []
        if len(request.prompt) > self.max_prompt:
            message = f"has {len(request.prompt)} characters; at most {self.max_prompt} are allowed"
            errors.append(FieldError("prompt", message))
        if request.n_seconds not in self.seconds:
            low, high, listed = self.seconds[0], self.seconds[-1], ", ".join(map(str, self.seconds))
            allowed = f"a whole number from {low} to {high}" if self.any_second else f"one of {listed}"
            errors.append(FieldError("n_seconds", f"must be {allowed}"))
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
class Terms:
    """What the operator says of a provider besides how to reach it; None where nothing is said.

    `retires_on`: the last day (UTC) on which it is asked for something new. The limits and `prices` are told to
    callers; no limit is enforced here.
    """

    max_running: int | None = None
    creates_per_minute: int | None = None
    retires_on: date | None = None
    prices: Mapping[str, Any] = field(default_factory=dict)

    def retired(self, now: datetime) -> bool:
        return self.retires_on is not None and now.date() > self.retires_on


@dataclass(frozen=True)
class ProviderConfig:
    """A configured provider. The key is kept out of every repr.

    `create_seconds`: how long a create may take. It must be over, one way or the other, before anybody reconciles it.
    `auth`: ``api-key`` or ``bearer``, the header of the key, which is not sent when it is empty; or ``entra``, a token
    for `scope` from `credential` (default: DefaultAzureCredential). `sizes`, `seconds`, `max_variants`, `max_prompt`:
    what it can make, where that differs from its dialect's documentation. `thumbnails`: whether it has preview
    pictures, for a dialect in which not every server has.
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
    auth: str = "api-key"
    scope: str = COGNITIVE_SERVICES
    credential: TokenCredential | None = field(default=None, repr=False, compare=False)
    sizes: tuple[tuple[int, int], ...] | None = None
    seconds: tuple[int, ...] | None = None
    max_variants: int | None = None
    max_prompt: int | None = None
    thumbnails: bool = False
    terms: Terms = Terms()

    @property
    def host(self) -> str:
        """Where it is, as far as everybody may know."""
        return urlsplit(self.base_url).netloc

    @property
    def place(self) -> str:
        return f"{self.dialect} {self.base_url}"

    def abilities(self, documented: Abilities) -> Abilities:
        """What it can make: as `documented` of the dialect, but for what is configured."""
        return replace(
            documented,
            sizes=self.sizes or documented.sizes,
            seconds=self.seconds or documented.seconds,
            variants_by_pixels=((0, self.max_variants),) if self.max_variants else documented.variants_by_pixels,
            max_prompt=self.max_prompt or documented.max_prompt,
        )


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
    elsewhere. `dialect`, `host` and `terms` are what callers are told of it.
    """

    name: str
    kind: str
    dialect: str
    host: str
    model: str
    place: str
    abilities: Abilities
    terms: Terms

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
