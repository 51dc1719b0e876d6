"""What the durable HTTP API shows of an instance: its status, and its history in the extension's reading form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .protocol import EventType

_NAMES = {
    EventType.EXECUTION_STARTED: "ExecutionStarted",
    EventType.EXECUTION_COMPLETED: "ExecutionCompleted",
    EventType.EXECUTION_FAILED: "ExecutionFailed",
    EventType.EXECUTION_TERMINATED: "ExecutionTerminated",
    EventType.TASK_SCHEDULED: "TaskScheduled",
    EventType.TASK_COMPLETED: "TaskCompleted",
    EventType.TASK_FAILED: "TaskFailed",
    EventType.SUB_CREATED: "SubOrchestrationInstanceCreated",
    EventType.SUB_COMPLETED: "SubOrchestrationInstanceCompleted",
    EventType.SUB_FAILED: "SubOrchestrationInstanceFailed",
    EventType.TIMER_CREATED: "TimerCreated",
    EventType.TIMER_FIRED: "TimerFired",
    EventType.EVENT_SENT: "EventSent",
    EventType.EVENT_RAISED: "EventRaised",
    EventType.CONTINUE_AS_NEW: "ContinueAsNew",
    EventType.GENERIC: "GenericEvent",
    EventType.HISTORY_STATE: "HistoryState",
    EventType.SUSPENDED: "ExecutionSuspended",
    EventType.RESUMED: "ExecutionResumed",
}
_ENDS = {
    EventType.TASK_COMPLETED: EventType.TASK_SCHEDULED,
    EventType.TASK_FAILED: EventType.TASK_SCHEDULED,
    EventType.SUB_COMPLETED: EventType.SUB_CREATED,
    EventType.SUB_FAILED: EventType.SUB_CREATED,
}
_INNER = (
    "EventId",
    "IsPlayed",
    "TaskScheduledId",
    "TimerId",
    "OrchestrationInstance",
    "ParentInstance",
    "Tags",
    "Version",
)
_HIDDEN = (EventType.ORCHESTRATOR_STARTED, EventType.ORCHESTRATOR_COMPLETED)


def status_view(
    instance: Mapping[str, Any], *, show_input: bool, history: list[dict[str, Any]] | None
) -> dict[str, Any]:
    """Return an instance's status as JSON-ready data; times are cut to seconds."""
    view = {
        "name": instance["name"],
        "instanceId": instance["instance_id"],
        "runtimeStatus": instance["status"],
        "input": read_text(instance["input"]) if show_input else None,
        "customStatus": read_text(instance["custom_status"]),
        "output": read_text(instance["output"]),
        "createdTime": f"{instance['created'][:19]}Z",
        "lastUpdatedTime": f"{instance['updated'][:19]}Z",
    }
    return view if history is None else {**view, "historyEvents": history}


def history_view(events: Sequence[Mapping[str, Any]], *, show_input: bool, show_output: bool) -> list[dict[str, Any]]:
    """Return history events with names for numbers; what has ended is one entry with its schedule merged in."""
    scheduled = {(event["EventType"], event["EventId"]): event for event in events}
    ended = {(_ENDS[kind], event["TaskScheduledId"]) for event in events if (kind := event["EventType"]) in _ENDS}
    shown = []
    for event in events:
        kind = EventType(event["EventType"])
        if kind in _HIDDEN or (kind, event["EventId"]) in ended:
            continue
        view: dict[str, Any] = {"EventType": _NAMES[kind]}
        view.update((key, value) for key, value in event.items() if key not in _INNER and key != "EventType")
        if kind in _ENDS:
            start = scheduled.get((_ENDS[kind], event["TaskScheduledId"]), {})
            view |= {
                "ScheduledTime": start.get("Timestamp"),
                "FunctionName": start.get("Name"),
                "Input": start.get("Input"),
            }
        if kind is EventType.EXECUTION_STARTED:
            view["FunctionName"] = view.pop("Name")
        if "Result" in view:
            view["Result"] = read_text(view["Result"])
            if not show_output:
                del view["Result"]
        if not show_input:
            view.pop("Input", None)
        shown.append(view)
    return shown


def read_text(text: str | None) -> Any:
    """Read stored JSON text; text that is no JSON, such as the reason of a termination, is shown as it is."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
