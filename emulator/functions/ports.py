"""What the durable engine needs from the rest of the host: the functions it runs, and other users of its clock."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol

TriggerKind = Literal["orchestrationTrigger", "activityTrigger", "entityTrigger"]


class Functions(Protocol):
    """The app's durable functions. Names are matched as the worker matches them."""

    def has(self, kind: TriggerKind, name: str) -> bool:
        """Whether the app has this function."""

    def orchestrator(self, name: str, context_json: str) -> str:
        """Run an orchestrator ON THE CALLING THREAD and return the SDK's answer; what it raises is read as one."""

    def entity(self, name: str, context_json: str) -> str:
        """Run a batch of entity operations and return the SDK's answer."""

    def activity(self, name: str, input_text: str | None, instance_id: str) -> str | None:
        """Run an activity to its end and return its result as JSON text; called from several threads at once."""


class TimeSource(Protocol):
    """Something else that acts when the engine's clock reaches a moment, such as a timer trigger.

    While its work runs, an optional attribute `running` must be true (then `settle` waits for it); when it ends, or
    when its due time changes, call `Engine.wake()`.
    """

    def next_due(self) -> datetime | None:
        """Return when to fire next. Called under the engine's lock: answer at once, wait for nothing."""

    def fire(self, now: datetime) -> None:
        """Start the work and return at once. One that raises is never asked again."""
