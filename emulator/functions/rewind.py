"""Undo the failures in a history, so that the instance tries those steps again.

As Azure Storage does it: a failed task and its schedule event, the failure of a child, and the failed end become
placeholders that replay ignores. A child's creation stays while the child itself can be rewound. Retries are not
undone, their timers stay in the history: an instance that failed after retries is then found non-deterministic.
"""

from __future__ import annotations

from collections.abc import Callable

from .protocol import Event, EventType

_UNDONE = {
    EventType.TASK_FAILED: EventType.TASK_SCHEDULED,
    EventType.SUB_FAILED: EventType.SUB_CREATED,
}


def undo_failures(history: list[Event], can_rewind: Callable[[str], bool]) -> tuple[list[Event], list[str]]:
    """Return the history without its failures, and the ids of the children to rewind too.

    `can_rewind(instance_id)` says of a failed child whether it is still there; else it is started anew.
    """
    failed = {(_UNDONE[EventType(e["EventType"])], e["TaskScheduledId"]) for e in history if e["EventType"] in _UNDONE}
    events: list[Event] = []
    children: list[str] = []
    for event in history:
        kind = event["EventType"]
        scheduled = (kind, event["EventId"]) in failed
        if kind == EventType.SUB_CREATED and scheduled and can_rewind(event["InstanceId"]):
            children.append(event["InstanceId"])
            scheduled = False
        if scheduled or kind in _UNDONE or kind == EventType.EXECUTION_COMPLETED:
            event = _placeholder(event)
        events.append(event)
    return events, children


def _placeholder(event: Event) -> Event:
    kept = {name: event[name] for name in ("EventId", "IsPlayed", "Timestamp")}
    return {"EventType": int(EventType.GENERIC), **kept, "Reason": f"Rewound: {EventType(event['EventType']).name}"}
