"""Warnings about orchestrators that work here by luck and break on Azure, in plain words.

The SDK and the host number an orchestration's tasks independently. `observe` lets us see the SDK's own numbers after
each call; `warnings_for` compares them with the replay and says what the orchestrator did and what to do instead.
`advice` explains a replay that failed. The constructs named here were each seen to break the numbering.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from azure.durable_functions.orchestrator import Orchestrator

from .protocol import Action, ActionType, Answer, iso
from .replay import Replay
from .tasks import WhenAll

_LONG_PIECE = timedelta(days=3)
_last = threading.local()
_install = threading.Lock()

_GENERIC = (
    "The orchestrator took another path than its own history. It must do the same on every replay: no clock (use "
    "context.current_utc_datetime), no random or uuid4 (use context.new_uuid()), no environment, file or network, no "
    "iteration over a set, and no change of its code while instances run."
)
_FAILED_ALL = (
    "An exception from task_all was caught while others of its tasks still run: the host starts the next action only "
    "when all of them are done, the SDK numbers it at once. Let the activities return error values instead of raising, "
    "or retry inside a sub-orchestrator."
)
_RETRY_IN_ANY = (
    "A with-retry task raced in task_any: its retries take numbers at other moments for the SDK than for the host, "
    "above all when it is yielded again or when the timer it raced is cancelled. Put the retries into a "
    "sub-orchestrator, or retry by hand."
)
_LONG_TIMERS = (
    "Several timers of more than 6 days run in parallel: their 3-day pieces are created one behind the other. Use one "
    "timer at a time, such as for the nearest deadline."
)
_OLD_TASK = (
    "The SDK goes on while the host still waits. A task that was yielded before was probably put into a new task_any "
    "or task_all: the host waits only for the tasks that are new in it. Yield the old task alone, create all tasks "
    "before the first yield, or cancel the losing timer."
)
_NESTED_ALL = (
    "A task_all inside a task_all had a failing child, which the SDK cannot handle. Flatten it, put the inner one into "
    "a sub-orchestrator, or let the activities return error values."
)


@dataclass(frozen=True)
class SdkView:
    """The SDK's numbering after a call: open sequence numbers, awaited event names, the next number."""

    numbers: frozenset[int]
    names: frozenset[str]
    next_number: int


def observe() -> None:
    """Watch every SDK orchestrator call in this process; calling it again changes nothing."""
    with _install:
        original = Orchestrator.handle
        if hasattr(original, "observed"):
            return

        def handle(self: Any, context: Any) -> Any:
            _last.context = context
            return original(self, context)

        handle.observed = True  # type: ignore[attr-defined]
        Orchestrator.handle = handle


def forget() -> None:
    """Drop what this thread last saw, before the next call."""
    _last.context = None


def last_seen() -> SdkView | None:
    """Return the numbering after this thread's last SDK call, or None when there was none."""
    context = getattr(_last, "context", None)
    if context is None:
        return None
    still_open = [key for key, task in context.open_tasks.items() if task and not getattr(task, "is_cancelled", False)]
    return SdkView(
        numbers=frozenset(key for key in still_open if isinstance(key, int)),
        names=frozenset(key.casefold() for key in still_open if isinstance(key, str)),
        next_number=context._sequence_number,
    )


def host_view(replay: Replay) -> SdkView:
    """Return the replay's numbering in the same terms."""
    calls = [one for one in replay.pending.values() if one.request_id and not one.signal]
    unsent = {one.request_id for one in calls}  # the SDK knows a call by number until it is in history
    return SdkView(
        numbers=frozenset(replay.open) | {one.id for one in calls},
        names=frozenset(name for name in replay.waits if name not in unsent),
        next_number=replay.next_id,
    )


def warnings_for(replay: Replay, answer: Answer, seen: SdkView | None) -> list[str]:
    """Say what an unfinished, not suspended execution does that will surprise on Azure; an empty list if nothing."""
    if answer.ended:
        return _stays_running(replay)
    if seen is None or seen == host_view(replay):
        return []
    causes = _causes(replay, answer)
    if not causes:
        waits = replay.current is not None and not replay.current.done
        behind = waits and replay.position < len(replay.actions)
        causes = [_OLD_TASK if behind else "The SDK and the host count the tasks of this orchestrator differently."]
    return [
        f"Drift: {' '.join(causes)} (To the SDK, {_describe(seen)}; to the host, {_describe(host_view(replay))}. On "
        "Azure this can end in 'Non-Deterministic workflow detected', or in an instance that waits for nothing.)"
    ]


def advice(replay: Replay, answer: Answer) -> str:
    """Say what the orchestrator did wrong when its replay failed, and what to do."""
    if answer.crashed:
        nested = "does not have pending sub-task" in (answer.error or "")
        return (
            f"The SDK gave no actions, because it failed with {answer.error!r}. {_NESTED_ALL if nested else ''}".strip()
        )
    return " ".join([*_causes(replay, answer), _GENERIC])


def _stays_running(replay: Replay) -> list[str]:
    late = [timer.fire_at for number, timer in replay.timers.items() if number in replay.open]
    if late:
        return [
            f"The orchestrator has ended, but its instance stays Running until {iso(max(late))}: a timer is still "
            "open. Cancel a timer that lost a task_any (timer.cancel()); one of more than 6 days cannot be cancelled."
        ]
    if not replay.open and not replay.finished:
        names = sorted({wait.name for waits in replay.waits.values() for wait in waits})
        return [
            f"The orchestrator has ended, but its instance stays Running for good: the host still waits for {names}. "
            "The SDK gave one event to several waits. Give each event its own name, or wait before it is raised."
        ]
    return []


def _causes(replay: Replay, answer: Answer) -> list[str]:
    causes = []
    current = replay.current
    if isinstance(current, WhenAll) and not current.done and any(child.failed for child in current.children):
        causes.append(_FAILED_ALL)
    if any(_has_retry(action) for action in _flat(answer.actions) if action["actionType"] == ActionType.WHEN_ANY):
        causes.append(_RETRY_IN_ANY)
    if sum(timer.duration == _LONG_PIECE for timer in replay.timers.values()) > 1:
        causes.append(_LONG_TIMERS)
    return causes


def _describe(view: SdkView) -> str:
    waits = f", events {sorted(view.names)} awaited" if view.names else ""
    return f"tasks {sorted(view.numbers)} are open{waits} and {view.next_number} is the next number"


def _flat(actions: list[Action]) -> Iterator[Action]:
    for action in actions:
        yield action
        yield from _flat(action.get("compoundActions", []))


def _has_retry(action: Action) -> bool:
    return any("retryOptions" in one for one in _flat([action]))
