"""Every way a job can go wrong, as one tree.

    ReelkeeperError
    ├── SettingsError       a setting is missing or wrong; stops the start and names the setting
    ├── RequestRefused      the caller's mistake; carries the field errors of a 400
    ├── ProviderError       the provider refused, failed, or could not be reached; carries a `Fault`
    ├── RecordExists        an insert found the row already there
    └── RecordConflict      the row changed since it was read; read it again and decide anew

Raise = "retry me"; a `Fault` that is *returned* is an answer. `ADVICE` is the one place that says what a code means
to the person who has to act on it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

ADVICE: dict[str, str] = {
    "invalid_request": "The provider refused the request as invalid. Change it as the provider's message says.",
    "invalid_credentials": "The provider refused our credentials. Check {key_setting} and what the key may access.",
    "endpoint_not_found": "The provider does not know this route. {endpoint_setting} must be the resource's base URL.",
    "deployment_not_found": "The provider has no such deployment. Check {model_setting}; a new one can take hours.",
    "model_retired": "The provider has retired this model. Choose another model or provider ({model_setting}).",
    "moderation_input": "The content policy refused the prompt. Change it; do not send the same again.",
    "moderation_output": "The content policy withheld the result. Change the prompt; do not send the same again.",
    "rate_limited": "The provider's requests-per-minute limit is reached. The job waits and goes on by itself.",
    "too_many_running": "The provider runs as many tasks as it allows. The job waits its turn and goes on by itself.",
    "provider_error": "The provider failed or could not be reached.",
    "submit_unknown": "Whether the provider accepted the job is not known, and it cannot be asked. Look in its portal.",
    "content_not_ready": "The generation is done but its file is not handed out yet. It is fetched later by itself.",
    "content_invalid": "The provider sent something that is not the promised file. It is fetched again by itself.",
    "content_expired": "The provider deleted the generation before its file could be kept. Submit the job again.",
    "task_lost": "The provider no longer knows this task. Submit the job again.",
    "pipeline_error": "A step failed on our side, not the provider's. It is tried again by itself.",
}
"""Code (design section 5) -> one sentence to act on. `{..._setting}` is filled with the provider's setting names."""


@dataclass(frozen=True)
class Fault:
    """What went wrong, in a form that fits the record, the history and the HTTP answer."""

    code: str
    message: str
    provider_message: str | None = None
    provider_status: int | None = None
    request_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Fault:
        """Read what `to_dict` wrote; unknown keys of a newer version are ignored."""
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})


@dataclass(frozen=True)
class FieldError:
    """One refused field of a request: `field` is a path such as ``prompt`` or ``metadata.tag``."""

    field: str
    message: str


class ReelkeeperError(Exception):
    """Root of the tree."""


class SettingsError(ReelkeeperError):
    """A setting is missing or wrong. The message names it."""


class RequestRefused(ReelkeeperError):
    """The request cannot be accepted: `status` and `code` of the answer, and the fields to blame.

    `retry_after`: after how many seconds the same request may be.
    """

    def __init__(
        self, status: int, code: str, detail: str, errors: tuple[FieldError, ...] = (), retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.errors = status, code, detail, errors
        self.retry_after = retry_after


class ProviderError(ReelkeeperError):
    """The provider's refusal or failure. `retry_after`: seconds the provider asked for, or None.

    `outcome_unknown`: the request may have been carried out although no usable answer came back.
    """

    def __init__(self, fault: Fault, *, retry_after: float | None = None, outcome_unknown: bool = False) -> None:
        super().__init__(f"{fault.code}: {fault.provider_message or fault.message}")
        self.fault, self.retry_after, self.outcome_unknown = fault, retry_after, outcome_unknown


class RecordExists(ReelkeeperError):
    """An insert-only row is already there."""


class RecordConflict(ReelkeeperError):
    """Compare-and-swap lost: the row is newer than the one in hand, or gone."""
