"""Replay of an orchestrator's action list against its history: a small DurableTask.Core.

The SDK answers with every action since the start of the execution, leaves out retry timers and second attempts, and
numbers nothing. Invoking the list top to bottom while the history is processed event by event (as the extension's
OutOfProcOrchestrationShim does on TaskOrchestrationContext) yields the sequence numbers, tells finished from open
work, and shows where an orchestrator took another path than its own history. What is left in `pending` is new work.

1. Invoke an action only when the task of the one before is done.   2. Number every task in order of invocation.
3. Let history confirm actions and complete tasks.                  4. Park events and actions while suspended.
"""

from __future__ import annotations

import json
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Literal

from .protocol import HTTP_ACTIVITY, Action, ActionType, Event, EventType, iso, parse_iso
from .tasks import EventWait, Node, Retry, WhenAll, WhenAny, finished

Kind = Literal["activity", "timer", "sub-orchestration", "entity message"]

_CONFIRMS: dict[int, Kind] = {
    EventType.TASK_SCHEDULED: "activity",
    EventType.TIMER_CREATED: "timer",
    EventType.SUB_CREATED: "sub-orchestration",
    EventType.EVENT_SENT: "entity message",
}
_COMPLETES = frozenset(
    {
        EventType.TASK_COMPLETED,
        EventType.TASK_FAILED,
        EventType.SUB_COMPLETED,
        EventType.SUB_FAILED,
        EventType.TIMER_FIRED,
    }
)
_FAILURES = frozenset({EventType.TASK_FAILED, EventType.SUB_FAILED})


class NonDeterminismError(Exception):
    """The orchestrator's actions do not match its own history. The message starts as the real host's does."""


class UnknownActionError(Exception):
    """The SDK sent an action that neither the real extension nor this host knows."""


@dataclass(frozen=True)
class Command:
    """New work that an episode asks for; `id` is its sequence number."""

    kind: Kind
    id: int
    name: str = ""  # function, or entity operation
    input: str | None = None  # JSON text as the worker shall see it
    fire_at: datetime | None = None
    target: str = ""  # instance id of the child, or entity id
    version: str = ""
    signal: bool = False
    request_id: str = ""
    cancelled: bool = False

    def describe(self) -> str:
        """Name the command for a message to a person."""
        return f"{self.kind} '{self.name}'" if self.name else f"a {self.kind}"


@dataclass(frozen=True)
class Timer:
    """A timer that user code created; `duration` is measured from the episode that created it."""

    fire_at: datetime
    duration: timedelta


class Replay:
    """One replay of one execution: feed it the history with `process`, then read what is left."""

    def __init__(self, execution_id: str, actions: list[Action]) -> None:
        """Prepare to replay `actions`, the SDK's cumulative list."""
        self.execution_id = execution_id
        self.actions = actions
        self.position = 0
        self.current: Node | None = None
        self.now = datetime.min.replace(tzinfo=timezone.utc)
        self.next_id = 0
        self.pending: dict[int, Command] = {}  # invoked, not yet in history
        self.open: dict[int, Node] = {}  # numbered and not done
        self.waits: dict[str, list[EventWait]] = {}  # matched last in, first out, as in the extension
        self.buffered: dict[str, deque[str]] = {}  # names of events that nobody waited for yet
        self.timers: dict[int, Timer] = {}  # those of user code, not of retries
        self.cancelled_timers: set[int] = set()
        self.started = self.suspended = self.continues_as_new = False
        self.new_input: str | None = None
        self.carried: list[Event] = []
        self.live = False  # past is over: remarks are news now
        self.remarks: list[str] = []
        self._parked_commands: dict[int, Command] = {}
        self._parked_events: list[Event] = []

    @property
    def finished(self) -> bool:
        """Whether the whole list was invoked and its last task is done."""
        at_end = self.position >= len(self.actions)
        return self.started and at_end and (self.current is None or self.current.done)

    # 1. Invoke

    def _advance(self) -> None:
        while self.position < len(self.actions) and (self.current is None or self.current.done):
            self.current = self._invoke(self.actions[self.position])
            self.position += 1

    def _invoke(self, action: Action) -> Node:
        kind = action["actionType"]
        if kind == ActionType.CALL_ACTIVITY:
            return self._activity(action["functionName"], action.get("input"))
        if kind == ActionType.CALL_HTTP:
            return self._activity(HTTP_ACTIVITY, json.dumps(action["httpRequest"]))
        if kind == ActionType.CALL_SUB_ORCHESTRATOR:
            return self._child(action)
        if kind == ActionType.CALL_ACTIVITY_WITH_RETRY:
            return Retry(
                self, action["retryOptions"], lambda: self._activity(action["functionName"], action.get("input"))
            )
        if kind == ActionType.CALL_SUB_ORCHESTRATOR_WITH_RETRY:
            return Retry(self, action["retryOptions"], lambda: self._child(action))
        if kind == ActionType.CREATE_TIMER:
            fire_at = parse_iso(action["fireAt"])
            self.timers[self.next_id] = Timer(fire_at, fire_at - self.now)
            return self.timer(fire_at, bool(action.get("isCanceled")))
        if kind == ActionType.WAIT_FOR_EXTERNAL_EVENT:
            return self._wait(action["externalEventName"])
        if kind in (ActionType.CALL_ENTITY, ActionType.SIGNAL_ENTITY):
            return self._entity(action, signal=kind == ActionType.SIGNAL_ENTITY)
        if kind in (ActionType.WHEN_ALL, ActionType.WHEN_ANY):
            children = [self._invoke(one) for one in action["compoundActions"]]
            return WhenAll(children) if kind == ActionType.WHEN_ALL else WhenAny(children)
        if kind == ActionType.CONTINUE_AS_NEW:
            self.continues_as_new, self.new_input = True, action.get("input")
            return finished()
        raise UnknownActionError(
            f"The SDK sent action type {kind!r}, which the Durable extension does not know. "
            "Check that the installed azure-functions-durable is a version this host supports."
        )

    # 2. Number

    def _number(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def _emit(self, command: Command) -> Node:
        self.pending[command.id] = command
        node = self.open[command.id] = Node()
        return node

    def timer(self, fire_at: datetime, cancelled: bool = False) -> Node:
        """Create a timer; a cancelled one still takes a number, but is done at once."""
        number = self._number()
        node = self._emit(Command("timer", number, fire_at=fire_at, cancelled=cancelled))
        if cancelled:
            self.cancelled_timers.add(number)
            del self.open[number]
            node.complete(failed=True)
        return node

    def _activity(self, name: str, text: str | None) -> Node:
        return self._emit(Command("activity", self._number(), name=name, input=text))

    def _child(self, action: Action) -> Node:
        number = self._number()
        return self._emit(
            Command(
                "sub-orchestration",
                number,
                name=action["functionName"],
                input=action.get("input"),
                target=action.get("instanceId") or f"{self.execution_id}:{number}",
                version=action.get("version") or "",
            )
        )

    def _entity(self, action: Action, signal: bool) -> Node:
        number = self._number()
        request_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.execution_id}_{number}"))
        self.pending[number] = Command(
            "entity message",
            number,
            name=action["operation"],
            input=action.get("input"),
            target=action["instanceId"],
            signal=signal,
            request_id=request_id,
        )
        return finished() if signal else self._wait(request_id)

    def _wait(self, name: str) -> Node:
        node = EventWait(name)
        key = name.casefold()
        early = self.buffered.get(key)
        if early:
            self._check_case(early.popleft(), name)
            node.complete()
        else:
            self.waits.setdefault(key, []).append(node)
        return node

    # 3. History

    def process(self, event: Event) -> None:
        """Apply one history event. Raises NonDeterminismError where history and actions part."""
        kind = event["EventType"]
        if kind == EventType.ORCHESTRATOR_STARTED:
            self.now = parse_iso(event["Timestamp"])
            return
        if self.suspended and kind != EventType.RESUMED:
            if kind != EventType.SUSPENDED:
                self._parked_events.append(event)
            return
        if kind == EventType.EXECUTION_STARTED:
            self.started = True
        elif kind in _CONFIRMS:
            self._confirm(event, _CONFIRMS[kind])
        elif kind in _COMPLETES:
            number = event["TimerId" if kind == EventType.TIMER_FIRED else "TaskScheduledId"]
            node = self.open.pop(number, None)
            if node is not None:  # else a timer that was cancelled after it fired
                node.complete(failed=kind in _FAILURES)
        elif kind == EventType.EVENT_RAISED:
            self._raised(event)
        elif kind == EventType.SUSPENDED:
            self._suspend()
        elif kind == EventType.RESUMED:
            self._resume()
        if self.started:
            self._advance()

    def _confirm(self, event: Event, kind: Kind) -> None:
        number = event["EventId"]
        command = self.pending.get(number)
        name = event["Name"] if kind in ("activity", "sub-orchestration") else ""
        same = command is not None and command.kind == kind and name.lower() in ("", command.name.lower())
        if command is None or not same:
            before = f"{kind} '{name}'" if name else f"a {kind}"
            now = f"scheduled {command.describe()}" if command else "has not (yet) scheduled anything"
            raise NonDeterminismError(
                f"Non-Deterministic workflow detected: A previous execution of this orchestration scheduled {before} "
                f"with sequence number {number}, but the current replay {now} with this sequence number."
            )
        del self.pending[number]
        self._check_same(event, command)

    def _raised(self, event: Event) -> None:
        if self.continues_as_new:
            self.carried.append(event)
            return
        key = event["Name"].casefold()
        stack = self.waits.get(key)
        if stack:
            node = stack.pop()
            if not stack:
                del self.waits[key]
            self._check_case(event["Name"], node.name)
            node.complete()
            return
        early = self.buffered.setdefault(key, deque())
        early.append(event["Name"])
        if len(early) > 1:
            self._remark(
                f"Event '{event['Name']}' was raised {len(early)} times before the orchestrator waited for it: the SDK "
                "keeps only the last one and hands it to every wait. Give each event its own name, or wait first."
            )

    # 4. Suspend

    def _suspend(self) -> None:
        self.suspended = True
        self._parked_commands.update(self.pending)
        self.pending.clear()

    def _resume(self) -> None:
        self.suspended = False
        self.pending.update(self._parked_commands)
        self._parked_commands.clear()
        parked, self._parked_events = self._parked_events, []
        for event in parked:
            self.process(event)

    # Remarks: what still works here and would surprise on another day or machine

    def _remark(self, text: str) -> None:
        if self.live:
            self.remarks.append(text)

    def _check_case(self, raised: str, awaited: str) -> None:
        if raised != awaited:
            self._remark(
                f"Event '{raised}' met a wait for '{awaited}': the host ignores upper and lower case, the SDK does "
                "not, so the orchestrator never sees it. Write the name in the same way on both sides."
            )

    def _check_same(self, event: Event, command: Command) -> None:
        """Compare what history recorded with what user code asks for now; the real host does not, and goes on."""
        if command.kind == "timer" and command.fire_at is not None and event["FireAt"] != iso(command.fire_at):
            difference = "due at another time than the first time"
        elif command.kind == "activity" and json.loads(event["Input"]) != [command.input]:
            difference = "with another input than the first time"
        else:
            return
        self.remarks.append(
            f"On replay the orchestrator asked for {command.describe()} (sequence number {command.id}) {difference}. "
            "It is not deterministic, although the Azure host goes on with the first value. Derive it from the input, "
            "from results, context.current_utc_datetime or context.new_uuid(), never from the clock, random, or I/O."
        )
