"""The JSON that Durable Functions exchanges with a Python orchestrator: history in, actions out.

`context_json` builds what the extension hands to the SDK, `read_answer` reads what the SDK returns or raises, and
`event` builds one history event. Numbers and field names are those of DurableTask.Core (`EventType`), of
`AsyncActionType`, and of the extension's out-of-process shim; a text that the SDK reads stays exactly as written here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import IntEnum
from typing import Any

Event = dict[str, Any]
Action = dict[str, Any]

TERMINAL = frozenset({"Completed", "Failed", "Terminated", "Canceled"})
ANSWER_LABEL = "\n\n$OutOfProcData$:"
HTTP_ACTIVITY = "BuiltIn::HttpActivity"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class EventType(IntEnum):
    """Kinds of history events."""

    EXECUTION_STARTED = 0
    EXECUTION_COMPLETED = 1
    EXECUTION_FAILED = 2
    EXECUTION_TERMINATED = 3
    TASK_SCHEDULED = 4
    TASK_COMPLETED = 5
    TASK_FAILED = 6
    SUB_CREATED = 7
    SUB_COMPLETED = 8
    SUB_FAILED = 9
    TIMER_CREATED = 10
    TIMER_FIRED = 11
    ORCHESTRATOR_STARTED = 12
    ORCHESTRATOR_COMPLETED = 13
    EVENT_SENT = 14
    EVENT_RAISED = 15
    CONTINUE_AS_NEW = 16
    GENERIC = 17
    HISTORY_STATE = 18
    SUSPENDED = 19
    RESUMED = 20


class ActionType(IntEnum):
    """Kinds of actions in an orchestrator's answer."""

    CALL_ACTIVITY = 0
    CALL_ACTIVITY_WITH_RETRY = 1
    CALL_SUB_ORCHESTRATOR = 2
    CALL_SUB_ORCHESTRATOR_WITH_RETRY = 3
    CONTINUE_AS_NEW = 4
    CREATE_TIMER = 5
    WAIT_FOR_EXTERNAL_EVENT = 6
    CALL_ENTITY = 7
    CALL_HTTP = 8
    SIGNAL_ENTITY = 9
    WHEN_ANY = 11
    WHEN_ALL = 12


def iso(moment: datetime) -> str:
    """Write a time as history events carry it: UTC, microseconds, a literal Z."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_iso(text: str) -> datetime:
    """Read a time written by `iso` or by the SDK."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def to_micros(moment: datetime) -> int:
    """Return whole microseconds since 1970: an exact, comparable number for the database."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """Reverse `to_micros`."""
    return _EPOCH + timedelta(microseconds=micros)


def event(kind: EventType, at: datetime, event_id: int = -1, **fields: Any) -> Event:
    """Build one history event; `event_id` is the sequence number of the action it confirms, else -1."""
    return {"EventType": int(kind), "EventId": event_id, "IsPlayed": False, "Timestamp": iso(at), **fields}


def execution_started(
    at: datetime,
    *,
    instance_id: str,
    execution_id: str,
    name: str,
    version: str,
    raw_input: str | None,
    parent: tuple[str, str] | None,
) -> Event:
    """Build the event that starts an execution; `parent` is (instance id, execution id)."""
    return event(
        EventType.EXECUTION_STARTED,
        at,
        OrchestrationInstance={"InstanceId": instance_id, "ExecutionId": execution_id},
        ParentInstance=parent and {"OrchestrationInstance": {"InstanceId": parent[0], "ExecutionId": parent[1]}},
        Name=name,
        Version=version,  # the SDK fails with AttributeError when it is absent
        Input=raw_input,
        Tags=None,
    )


def context_json(
    instance_id: str, parent_id: str | None, raw_input: str | None, past: list[Event], new: list[Event]
) -> str:
    """Build the `context` argument of an orchestrator; `past` must already be marked as played."""
    return json.dumps(
        {
            "history": past + new,
            "input": None if raw_input is None else json.loads(raw_input),
            "instanceId": instance_id,
            "isReplaying": bool(past),
            "parentInstanceId": parent_id,
            "upperSchemaVersion": 1,
            "upperSchemaVersionNew": 2,
            "longRunningTimerIntervalDuration": "3.00:00:00",
            "maximumShortTimerDuration": "6.00:00:00",
            "defaultHttpAsyncRequestSleepTimeMillseconds": 30000,  # spelt so by the extension
        }
    )


@dataclass(frozen=True)
class Answer:
    """What the SDK said: every action since the start of this execution, and whether user code has ended."""

    done: bool = False
    actions: list[Action] = field(default_factory=list)
    output: str | None = None  # JSON text
    error: str | None = None
    custom_status: str | None = None  # JSON text
    crashed: bool = False  # the SDK itself failed: there is no action list

    @property
    def ended(self) -> bool:
        """Whether user code has returned, raised or continued as new."""
        return self.done or self.error is not None


def read_answer(text: str) -> Answer:
    """Read the JSON an orchestrator returned. Raises ValueError or KeyError when it is not such an answer."""
    state = json.loads(text)
    return Answer(
        done=state["isDone"],
        actions=[action for group in state["actions"] for action in group],
        output=None if state.get("output") is None else json.dumps(state["output"]),
        error=state.get("error"),
        custom_status=None if state.get("customStatus") is None else json.dumps(state["customStatus"]),
    )


def read_failure(failure: BaseException) -> Answer:
    """Read what an orchestrator raised: an answer after the label, else a crash of the SDK."""
    message = str(failure)
    at = message.rfind(ANSWER_LABEL)
    if at >= 0:
        return read_answer(message[at + len(ANSWER_LABEL) :])
    return Answer(error=f"{type(failure).__name__}: {failure}", crashed=True)
