"""What a job is: its states, the request, the task at the provider, the clips, and the record that holds them.

Pure data. Times are aware UTC datetimes; on the wire and in storage they are ISO 8601 with milliseconds and ``Z``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from typing import Any, TypeVar

from reelkeeper.errors import ADVICE, Fault

T = TypeVar("T")

PENDING, QUEUED, SUBMITTING, GENERATING, DOWNLOADING = "pending", "queued", "submitting", "generating", "downloading"
COMPLETED, FAILED, CANCELLED, EXPIRED = "completed", "failed", "cancelled", "expired"
DOWNLOAD_FAILED, SUBMIT_UNKNOWN = "download_failed", "submit_unknown"

IN_LINE = "in_line"
"""Stage of a queued job that waits for its turn at its provider's gate."""

WITHDRAWING = "withdrawing"
"""Stage of a cancelled job whose task, if it has one, may still run at the provider."""

TERMINAL = frozenset({COMPLETED, FAILED, CANCELLED, EXPIRED})

TRANSITIONS: dict[str, frozenset[str]] = {
    PENDING: frozenset({QUEUED, SUBMITTING, FAILED, CANCELLED}),
    QUEUED: frozenset({SUBMITTING, FAILED, CANCELLED}),
    SUBMITTING: frozenset({QUEUED, GENERATING, SUBMIT_UNKNOWN, FAILED, CANCELLED}),
    SUBMIT_UNKNOWN: frozenset({SUBMITTING, GENERATING, FAILED, CANCELLED}),
    # back to queued: the provider failed its own task without charging for it, so it is created anew
    GENERATING: frozenset({QUEUED, DOWNLOADING, FAILED, CANCELLED, EXPIRED}),
    DOWNLOADING: frozenset({DOWNLOAD_FAILED, COMPLETED, FAILED, CANCELLED, EXPIRED}),
    DOWNLOAD_FAILED: frozenset({DOWNLOADING, COMPLETED, CANCELLED, EXPIRED}),
    **{end: frozenset() for end in TERMINAL},
}
STATUSES = tuple(TRANSITIONS)

PIPELINE_FAULT = Fault("pipeline_error", ADVICE["pipeline_error"])


class IllegalTransition(Exception):
    """A job was asked to move where `TRANSITIONS` has no arrow: a bug, or a predecessor that woke up late."""


def to_iso(moment: datetime | None) -> str | None:
    """2026-11-20T09:30:00.125Z, or None."""
    if moment is None:
        return None
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00"))


@dataclass(frozen=True)
class InputImage:
    """The picture that a video starts from, as kept in the owner's storage: `path` of the blob, `width` x `height` in
    pixels, `digest`: SHA-256 in hex of its bytes."""

    path: str
    media_type: str
    width: int
    height: int
    digest: str

    @property
    def file_name(self) -> str:
        """What a provider is told that the file is called: ``input.png``."""
        return f"input.{self.path.rpartition('.')[2]}"


@dataclass(frozen=True)
class JobRequest:
    """What the caller asked for, validated and with the defaults filled in.

    Videos have `n_seconds` and may have an `input_image`. Images have 0 seconds, may leave the size to the provider
    (0 x 0), and `output_format`, `quality` and `background` to it as well (None).
    `left_open`: which of "size" and "n_seconds" nobody chose, so that another provider may take its usual one. It is
    no part of what is asked for.
    """

    prompt: str
    width: int
    height: int
    n_seconds: int
    n_variants: int
    model: str
    metadata: dict[str, str] = field(default_factory=dict)
    input_image: InputImage | None = None
    output_format: str | None = None
    quality: str | None = None
    background: str | None = None
    left_open: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Staged:
    """A whole file in uncommitted blocks: the `run` that staged them, how many, their bytes in all, the file's type."""

    run: str
    blocks: int
    size: int
    media_type: str


@dataclass(frozen=True)
class Output:
    """One finished thing at the provider (a Sora generation, one image).

    `staged`: its bytes came with the answer of the create, and wait for their commit. `address`: where else they are;
    whoever knows it can fetch them, so it is never shown or logged.
    """

    output_id: str
    width: int
    height: int
    n_seconds: int
    staged: Staged | None = None
    address: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Task:
    """The provider's own job, in our words.

    `state`: queued, running, succeeded, failed or cancelled. `stage` is the provider's finer word for it.
    `fault` is set when it failed; `retry_after`: how many seconds the provider wants to pass before the next look;
    `progress`: percent, where the provider reports it.
    """

    task_id: str
    state: str
    stage: str
    created_at: datetime
    expires_at: datetime | None = None
    outputs: tuple[Output, ...] = ()
    fault: Fault | None = None
    retry_after: float | None = None
    progress: int | None = None


@dataclass(frozen=True)
class Clip:
    """One stored blob: the kept output `index` of a job."""

    index: int
    path: str
    size: int
    content_type: str
    digest: str
    output_id: str
    width: int
    height: int
    n_seconds: int
    thumbnail_path: str | None = None


@dataclass(frozen=True)
class Job:
    """The record of one job: the truth that outlives every orchestration history.

    `attempts` counts the tries of the step the job is in; `creates` the tasks the provider accepted for it.
    `submit_run` is the run of the last submission, which alone may POST.
    `place` is where the task lives (provider name, base URL), so that later calls reach the place that made it.
    `moved_from`: providers that could not take the job before the one that it is at now.
    `batch_id` is the batch that it came in; `key_digest` the digest of the Idempotency-Key that it was made under.
    `queue_position`, and `starts_at`, when its turn may come, are of any meaning only while the stage is IN_LINE.
    `etag` is the version read from storage ("" before the first insert) and no part of the record's content.
    """

    job_id: str
    owner: str
    kind: str
    request: JobRequest
    provider: str
    created_at: datetime
    updated_at: datetime
    status: str = PENDING
    stage: str = "accepted"
    progress: int = 0
    task_id: str | None = None
    place: str | None = None
    moved_from: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()
    clips: tuple[Clip, ...] = ()
    attempts: int = 0
    creates: int = 0
    submit_run: str | None = None
    submitting_since: datetime | None = None
    generating_since: datetime | None = None
    expires_at: datetime | None = None
    next_attempt_at: datetime | None = None
    finished_at: datetime | None = None
    fault: Fault | None = None
    warning: str | None = None
    queue_position: int | None = None
    starts_at: datetime | None = None
    batch_id: str | None = None
    key_digest: str | None = None
    etag: str = field(default="", compare=False)

    @property
    def finished(self) -> bool:
        return self.status in TERMINAL

    @property
    def withdrawing(self) -> bool:
        """Whether it is cancelled, and somebody still has to see to it that nothing of it runs on."""
        return self.status == CANCELLED and self.stage == WITHDRAWING

    @property
    def seen(self) -> list[str | None]:
        """What the record must still say when an end that was decided now is written down."""
        return [self.status, self.task_id]

    def to(self, status: str, now: datetime, **changes: Any) -> Job:
        """The job after a move to `status` (or none, when it is there already) and `changes`.

        Raises IllegalTransition where the table has no arrow.
        """
        if status != self.status and status not in TRANSITIONS[self.status]:
            raise IllegalTransition(f"job {self.job_id}: {self.status} -> {status}")
        return replace(self, status=status, updated_at=now, **changes)

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        del data["etag"]
        return {key: to_iso(value) if isinstance(value, datetime) else value for key, value in data.items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any], etag: str = "") -> Job:
        """Read what `to_dict` wrote; unknown keys of a newer version are ignored, missing ones get their default."""
        known = {f.name for f in fields(cls)}
        values = {key: value for key, value in data.items() if key in known and value is not None}
        for key in _TIMES & values.keys():
            values[key] = from_iso(values[key])
        request = _within(_known(JobRequest, values["request"]), input_image=InputImage)
        values["request"] = replace(request, left_open=tuple(request.left_open))
        values["outputs"] = tuple(_within(_known(Output, item), staged=Staged) for item in values.get("outputs", ()))
        values["clips"] = tuple(_known(Clip, item) for item in values.get("clips", ()))
        values["moved_from"] = tuple(values.get("moved_from", ()))
        if "fault" in values:
            values["fault"] = _known(Fault, values["fault"])
        return cls(**values, etag=etag)


def _known(cls: type[T], data: dict[str, Any]) -> T:
    """An instance from the keys that `cls` knows: a newer version's record must not stop an older one."""
    names = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    return cls(**{key: value for key, value in data.items() if key in names})


def _within(value: Any, **kinds: type[Any]) -> Any:
    """The instance with these fields, read as dicts, made instances too."""
    inner = {name: getattr(value, name) for name in kinds}
    return replace(value, **{name: _known(kinds[name], item) for name, item in inner.items() if item is not None})


_TIMES = {f.name for f in fields(Job) if "datetime" in str(f.type)}
