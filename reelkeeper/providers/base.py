"""The door to a place that makes videos. Adapters speak our words; a vendor's words end inside its dialect's file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from reelkeeper.model import JobRequest, Output, Task
from reelkeeper.providers.abilities import Abilities

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

    from reelkeeper.providers.answers import Exchange

COGNITIVE_SERVICES = "https://cognitiveservices.azure.com/.default"

GRACE_SHARE = 0.6
"""The part of the grace period that a create may take: it is over well before anybody reconciles it."""

Receive = Callable[[int, bytes | str], Output]
"""Takes output `index` out of the answer of a create: the bytes of its file, which are in storage when this returns, or
the address where they are. Raises ValueError for what is neither, and whatever is wrong with the storage."""


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
    for `scope` from `credential` (default: DefaultAzureCredential). `sizes`, `seconds`, `max_variants`, `max_prompt`,
    `input_image`: what it can make, where that differs from its dialect's documentation. `thumbnails`: whether it has
    preview pictures, for a dialect in which not every server has. `resubmit_unknown`: a create of unknown outcome,
    which cannot be asked for, is simply made again. `fallback`: the providers that a job goes on to when this one
    cannot take it. `observe`: is told of every exchange.
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
    input_image: bool = True
    thumbnails: bool = False
    resubmit_unknown: bool = False
    fallback: tuple[str, ...] = ()
    terms: Terms = Terms()
    observe: Callable[[Exchange], None] | None = field(default=None, repr=False, compare=False)

    @property
    def grace(self) -> timedelta:
        """How long after a create began nothing of it can be under way any more."""
        return timedelta(seconds=self.create_seconds / GRACE_SHARE)

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
            size_rule=None if self.sizes else documented.size_rule,
            auto_size=documented.auto_size and not self.sizes,
            input_image=documented.input_image and self.input_image,
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
    elsewhere. `dialect`, `host` and `terms` are what callers are told of it. `grace`: how long after a create began
    nothing of it can be under way any more. `lists`: whether it can be asked for the task of a lost answer. `fallback`:
    names of providers that take over what this one cannot take.
    """

    name: str
    kind: str
    dialect: str
    host: str
    model: str
    place: str
    abilities: Abilities
    terms: Terms
    grace: timedelta
    lists: bool
    fallback: tuple[str, ...]

    def submit(self, request: JobRequest, receive: Receive, picture: bytes | None = None) -> Task:
        """Create a paid task. `ProviderError.outcome_unknown` tells a refusal from a lost answer.

        Where the answer holds the outputs themselves, each goes to `receive` and the task has succeeded already; its id
        is "" then, as the provider has none. `picture`: the bytes of `request.input_image`.
        """

    def find(self, request: JobRequest, since: datetime) -> list[Task]:
        """Every task that this request can have made since then, oldest first.

        An empty list means that there is none. A code other than an outage or a refused key means that this provider
        has no list to rely on.
        """

    def look(self, task_id: str) -> Task:
        """The task as it is now. Code ``task_lost`` when the provider says it does not know it."""

    def cancel(self, task_id: str) -> None:
        """Delete the task and its file; one that runs is stopped where the server can do that. Gone already is as good.

        Raises ProviderError, also where a task that runs cannot be deleted yet. Dialects without tasks do nothing.
        """

    def open_output(self, output: Output, offset: int = 0) -> Content:
        """Open the video of a finished generation, from byte `offset` where the server can."""

    def open_thumbnail(self, output: Output) -> Content | None:
        """Open the preview picture, or None when the provider has none."""
