"""One episode: show an orchestrator its history, replay its answer, decide what happens next.

1. Terminate at once when asked to.                     2. Call the orchestrator with the context JSON.
3. Replay its actions against past and new events.      4. Complete, fail, continue as new, or go on waiting.
Nothing here touches the database: the engine commits the returned `Decision` in one transaction.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from . import drift
from .protocol import Answer, Event, EventType, context_json, read_answer, read_failure
from .replay import Command, NonDeterminismError, Replay
from .store import Instance

_EARLY_EVENT = "Potential duplicate Task completion"

Ending = Literal["Completed", "Failed", "Terminated", "ContinuedAsNew"]


@dataclass(frozen=True)
class Decision:
    """What an episode leads to; `ending` None means that the instance goes on."""

    ending: Ending | None = None
    output: str | None = (
        None  # JSON text, or raw text of a failure or termination; the next input when continuing as new
    )
    details: str | None = None  # of a failure, for the parent
    custom_status: str | None = None
    commands: list[Command] = field(default_factory=list)
    carried: list[Event] = field(default_factory=list)  # events for the next execution, the very objects given as new
    cancelled_timers: frozenset[int] = frozenset()
    suspended: bool = False
    warnings: list[str] = field(default_factory=list)


def run_episode(instance: Instance, past: list[Event], new: list[Event], call: Callable[[str, str], str]) -> Decision:
    """Run one episode of `instance`.

    `past` is its history, marked as played, and `new` starts with OrchestratorStarted. `call(name, context_json)` runs
    the orchestrator. Raises whatever is wrong with the answer itself; the caller fails the instance then.
    """
    for event in new:
        if event["EventType"] == EventType.EXECUTION_TERMINATED:
            return Decision("Terminated", event["Input"], custom_status=instance["custom_status"])
    drift.forget()
    answer = _ask(instance, past, new, call)
    seen = drift.last_seen()
    replay = Replay(instance["execution_id"], answer.actions)
    try:
        for event in past:
            replay.process(event)
        replay.live = True
        for event in new:
            replay.process(event)
    except NonDeterminismError as error:
        text = f"{error}\n{drift.advice(replay, answer)}"
        return Decision("Failed", text, f"Unhandled exception while executing orchestration: {error}")
    return _decide(instance["name"], answer, replay, seen)


def _ask(instance: Instance, past: list[Event], new: list[Event], call: Callable[[str, str], str]) -> Answer:
    context = context_json(instance["instance_id"], instance["parent_id"], instance["input"], past, new)
    _silence_early_events()
    try:
        text = call(instance["name"], context)
    except BaseException as failure:  # even SystemExit of user code must not end the dispatcher
        return read_failure(failure)
    return read_answer(text)


def _silence_early_events() -> None:
    """Let the SDK not warn of an event that comes before its wait: it is normal, and as an error it crashes the SDK."""
    if not any(pattern is not None and pattern.pattern == _EARLY_EVENT for _, pattern, *_ in warnings.filters):
        warnings.filterwarnings("ignore", message=_EARLY_EVENT)


def _decide(name: str, answer: Answer, replay: Replay, seen: drift.SdkView | None) -> Decision:
    ending: Ending | None = None
    output = details = None
    remarks = list(replay.remarks)
    if not replay.suspended and replay.finished and not replay.open and answer.ended:
        if answer.error is not None:
            ending, output = "Failed", f"Orchestrator function '{name}' failed: {answer.error}"
            details = f"Message: {answer.error}, StackTrace: "
        elif replay.continues_as_new:
            ending, output = "ContinuedAsNew", json.dumps(replay.new_input)
        else:
            ending, output = "Completed", answer.output
    elif not replay.suspended:
        remarks += drift.warnings_for(replay, answer, seen)
    return Decision(
        ending,
        output,
        details,
        answer.custom_status,
        [] if replay.suspended else list(replay.pending.values()),
        replay.carried,
        frozenset(replay.cancelled_timers),
        replay.suspended,
        remarks,
    )
