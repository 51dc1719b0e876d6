"""The life of orchestration instances: created, moved on by episodes, ended, purged.

Each step is ONE transaction: take the messages off the inbox, append to the history, queue activities, timers, children
and entity messages, set the status, tell the parent. So a process that dies at any moment has either done all of a step
or none of it. Only the dispatcher thread calls `run`; everything else may be called from any thread.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from .clock import Clock
from .episode import Decision, run_episode
from .ports import Functions
from .protocol import TERMINAL, Event, EventType, event, execution_started, iso, parse_iso
from .replay import Command
from .rewind import undo_failures
from .store import Instance, Message, Store

log = logging.getLogger("reelkeeper.functions.durable")

_MAX_ID = 100
_MAX_CUSTOM_STATUS = 16 * 1024
_MANY_EVENTS = 1000
_REMEMBERED_REMARKS = 10_000

Parent = tuple[str, str, int]  # instance id, execution id, sequence number of the child


class AlreadyExists(Exception):
    """An instance with this id has not ended yet."""


class UnknownFunction(ValueError):
    """The app has no orchestrator of this name."""


class NotFailed(ValueError):
    """Only a failed instance can be rewound."""


class InvalidInstanceId(ValueError):
    """Azure would refuse this instance id."""


class Instances:
    """All orchestration instances of one engine."""

    def __init__(
        self,
        store: Store,
        functions: Functions,
        clock: Clock,
        cached_histories: int,
        new_id: Callable[[], str],
    ) -> None:
        """Keep parsed histories of `cached_histories` instances between episodes; 0 reads them from disk each time."""
        self._store, self._functions, self._clock = store, functions, clock
        self._cached_histories, self._new_id = cached_histories, new_id
        self._cache: OrderedDict[str, list[Event]] = OrderedDict()
        self._told: set[tuple[str, str]] = set()

    # Create and delete

    def create(
        self, name: str, instance_id: str, raw_input: str | None, version: str, parent: Parent | None = None
    ) -> None:
        """Create an instance, in place of one with the same id that has ended.

        Raises UnknownFunction, InvalidInstanceId, AlreadyExists, and ValueError when `raw_input` is not JSON.
        """
        if not self._functions.has("orchestrationTrigger", name):
            raise UnknownFunction(
                f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function."
            )
        _check_id(instance_id)
        if raw_input is not None:
            json.loads(raw_input)
        with self._store.transaction():
            before = self._store.instance(instance_id)
            if before is not None and before["status"] not in TERMINAL:
                raise AlreadyExists(
                    f"An Orchestration instance with the status {before['status']} already exists. Instance "
                    f"'{instance_id}' must end first: terminate it, or choose another id."
                )
            self._wipe(instance_id)
            now = self._clock.now()
            instance = Instance(
                instance_id=instance_id,
                execution_id=self._new_id(),
                name=name,
                version=version,
                status="Pending",
                input=raw_input,
                output=None,
                custom_status=None,
                created=iso(now),
                updated=iso(now),
                parent_id=parent[0] if parent else None,
                parent_execution=parent[1] if parent else None,
                parent_task=parent[2] if parent else None,
            )
            self._store.put_instance(instance)
            self._post_start(instance, now)

    def purge(self, instance_id: str) -> int:
        """Delete an instance that has ended; return how many were deleted."""
        with self._store.transaction():
            instance = self._store.instance(instance_id)
            if instance is None or instance["status"] not in TERMINAL:
                return 0
            self._wipe(instance_id)
            return 1

    def rewind(self, instance_id: str, reason: str | None) -> None:
        """Undo the failures of a failed instance and of its failed children, and let it go on.

        Raises NotFailed when it has not failed.
        """
        with self._store.transaction():
            instance = self._store.instance(instance_id)
            if instance is None or instance["status"] != "Failed":
                raise NotFailed(f"Instance '{instance_id}' has not failed, and only failed instances can be rewound.")
            events, children = undo_failures(self._store.history(instance_id), self._has_failed)
            self._store.drop_history(instance_id)
            self._store.append_history(instance_id, 0, events)
            self._cache.pop(instance_id, None)
            now = self._clock.now()
            self._update(instance, "Running", None, instance["custom_status"], now)
            for child in children:
                self.rewind(child, reason)
            if not children:  # else the parent goes on when they report
                again = event(EventType.GENERIC, now, Data=reason)
                self._store.post(instance_id, instance["execution_id"], again, now)

    def _has_failed(self, instance_id: str) -> bool:
        instance = self._store.instance(instance_id)
        return instance is not None and instance["status"] == "Failed"

    def _wipe(self, instance_id: str) -> None:
        self._store.wipe(instance_id)
        self._cache.pop(instance_id, None)

    def _post_start(self, instance: Instance, now: datetime) -> None:
        parent_id, parent_execution = instance["parent_id"], instance["parent_execution"]
        started = execution_started(
            now,
            instance_id=instance["instance_id"],
            execution_id=instance["execution_id"],
            name=instance["name"],
            version=instance["version"],
            raw_input=instance["input"],
            parent=(parent_id, parent_execution) if parent_id and parent_execution else None,
        )
        self._store.post(instance["instance_id"], instance["execution_id"], started, now)

    # Episodes

    def run(self, instance_id: str) -> None:
        """Run one episode on all visible messages. Raises whatever goes wrong in the host itself; see `fail`."""
        with self._store.lock:
            instance = self._store.instance(instance_id)
            messages = self._store.messages(instance_id, self._clock.now())
            past = self._history(instance_id)
        if instance is None or instance["status"] in TERMINAL:
            self._store.consume(one.id for one in messages)
            return
        mine = [one.event for one in messages if one.execution_id in (None, instance["execution_id"])]
        mine.sort(key=lambda one: one["EventType"] != EventType.EXECUTION_STARTED)
        if not mine or not (past or mine[0]["EventType"] == EventType.EXECUTION_STARTED):
            self._store.consume(one.id for one in messages)  # answers to an execution that is over
            return
        now = self._clock.now()
        if past:  # as the SDK's own clock, ours never runs backwards within an instance
            now = max(now, parse_iso(past[-1]["Timestamp"]))
        new = [event(EventType.ORCHESTRATOR_STARTED, now), *mine]
        if self._functions.has("orchestrationTrigger", instance["name"]):
            decision = run_episode(instance, past, new, self._functions.orchestrator)
        else:
            reason = (
                f"The function '{instance['name']}' doesn't exist, is disabled, or is not an orchestrator function."
            )
            log.error("Instance '%s' cannot go on. %s Put it back, or purge the instance.", instance_id, reason)
            decision = Decision("Failed", f"Orchestrator function '{instance['name']}' failed: {reason}", reason)
        self._commit(instance, past, new, messages, decision)
        self._remark(instance, len(past), decision)

    def fail(self, instance_id: str, reason: str) -> None:
        """End an instance as failed because the host itself cannot go on with it."""
        with self._store.transaction():
            instance = self._store.instance(instance_id)
            self._cache.pop(instance_id, None)
            if instance is None or instance["status"] in TERMINAL:
                self._store.stop_work(instance_id)
                return
            now = self._clock.now()
            ended = self._end(instance, Decision("Failed", reason, reason, instance["custom_status"]), now)
            self._store.append_history(instance_id, len(self._store.history(instance_id)), [ended])

    def _history(self, instance_id: str) -> list[Event]:
        past = self._cache.get(instance_id)
        if past is None:
            past = self._store.history(instance_id)
            if self._cached_histories:
                self._cache[instance_id] = past
                if len(self._cache) > self._cached_histories:
                    self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(instance_id)
        return past

    # Commit

    def _commit(
        self, instance: Instance, past: list[Event], new: list[Event], messages: list[Message], decision: Decision
    ) -> None:
        instance_id, execution_id = instance["instance_id"], instance["execution_id"]
        with self._store.transaction():
            current = self._store.instance(instance_id)
            if current is None or current["execution_id"] != execution_id:
                return  # purged or replaced meanwhile
            now = self._clock.now()
            if decision.ending == "ContinuedAsNew":
                self._continue_as_new(instance, messages, decision, now)
                return
            self._store.consume(one.id for one in messages)
            events = [*new, *(self._apply(instance, command, now) for command in decision.commands)]
            self._store.cancel_timers(instance_id, execution_id, decision.cancelled_timers)
            events.append(event(EventType.ORCHESTRATOR_COMPLETED, now))
            if decision.ending:
                events.append(self._end(instance, decision, now))
            else:
                status = "Suspended" if decision.suspended else "Running"
                self._update(instance, status, None, decision.custom_status, now)
            for one in events:
                one["IsPlayed"] = True
            self._store.append_history(instance_id, len(past), events)
        if self._cached_histories and not decision.ending:
            past.extend(events)

    def _apply(self, instance: Instance, command: Command, now: datetime) -> Event:
        """Start what a command asks for; return the history event that confirms it."""
        instance_id, execution_id = instance["instance_id"], instance["execution_id"]
        if command.kind == "activity":
            self._store.add_activity(instance_id, execution_id, command.id, command.name, command.input)
            return event(
                EventType.TASK_SCHEDULED,
                now,
                command.id,
                Name=command.name,
                Version="",
                Input=json.dumps([command.input]),
            )
        if command.kind == "timer":
            fire_at = command.fire_at or now
            if not command.cancelled:
                fired = event(EventType.TIMER_FIRED, fire_at, TimerId=command.id, FireAt=iso(fire_at))
                self._store.post(instance_id, execution_id, fired, fire_at, command.id)
            return event(EventType.TIMER_CREATED, now, command.id, FireAt=iso(fire_at))
        if command.kind == "sub-orchestration":
            return self._start_child(instance, command, now)
        return self._send_to_entity(instance, command, now)

    def _start_child(self, instance: Instance, command: Command, now: datetime) -> Event:
        instance_id, execution_id = instance["instance_id"], instance["execution_id"]
        raw = json.dumps(command.input)
        try:
            self.create(command.name, command.target, raw, command.version, (instance_id, execution_id, command.id))
        except (AlreadyExists, UnknownFunction, InvalidInstanceId) as error:
            log.error("Instance '%s' could not start sub-orchestration '%s'. %s", instance_id, command.name, error)
            failed = event(EventType.SUB_FAILED, now, TaskScheduledId=command.id, Reason=str(error), Details="")
            self._store.post(instance_id, execution_id, failed, now)
        return event(
            EventType.SUB_CREATED,
            now,
            command.id,
            Name=command.name,
            Version=command.version,
            InstanceId=command.target,
            Input=raw,
        )

    def _send_to_entity(self, instance: Instance, command: Command, now: datetime) -> Event:
        caller = (instance["instance_id"], instance["execution_id"])
        raw = None if command.input is None else json.dumps(command.input)
        request_id = None if command.signal else command.request_id
        self._store.add_operation(command.target, command.name, raw, request_id, caller)
        message = {
            "op": command.name,
            "id": command.request_id,  # the SDK waits for an event of this name
            **({"signal": True} if command.signal else {}),
            "input": raw,
            "parent": caller[0],
            "parentExecution": caller[1],
        }
        return event(
            EventType.EVENT_SENT, now, command.id, InstanceId=command.target, Name="op", Input=json.dumps(message)
        )

    def _continue_as_new(self, instance: Instance, messages: list[Message], decision: Decision, now: datetime) -> None:
        """Start over with a new input; events that came after the orchestrator asked for it go to the new execution."""
        instance_id = instance["instance_id"]
        carried = {id(one) for one in decision.carried}
        kept = {id(one.event) for one in messages if id(one.event) in carried and one.execution_id is None}
        self._store.consume(one.id for one in messages if id(one.event) not in kept)
        for command in decision.commands:  # nothing but entity messages can be new here: open tasks keep it waiting
            self._apply(instance, command, now)
        self._store.drop_history(instance_id)
        self._store.stop_work(instance_id, keep_open_messages=True)
        self._cache.pop(instance_id, None)
        fresh: Instance = {**instance, "execution_id": self._new_id(), "input": decision.output}
        self._update(fresh, "Running", None, decision.custom_status, now)
        self._post_start(fresh, now)
        for one in decision.carried:
            if id(one) not in kept:  # came in an earlier episode, while a task or a suspension held this one up
                self._store.post(instance_id, None, one, now)

    def _end(self, instance: Instance, decision: Decision, now: datetime) -> Event:
        """Set the final status, drop what is left to do, tell the parent; return the closing history event."""
        status = str(decision.ending)
        self._update(instance, status, decision.output, decision.custom_status, now)
        self._store.stop_work(instance["instance_id"])
        self._cache.pop(instance["instance_id"], None)
        if instance["parent_id"]:
            task = instance["parent_task"]
            if status == "Completed":
                answer = event(EventType.SUB_COMPLETED, now, TaskScheduledId=task, Result=decision.output)
            else:
                answer = event(
                    EventType.SUB_FAILED, now, TaskScheduledId=task, Reason=decision.output, Details=decision.details
                )
            self._store.post(instance["parent_id"], instance["parent_execution"], answer, now)
        return event(EventType.EXECUTION_COMPLETED, now, OrchestrationStatus=status, Result=decision.output)

    def _update(
        self, instance: Instance, status: str, output: str | None, custom_status: str | None, now: datetime
    ) -> None:
        self._store.put_instance(
            {**instance, "status": status, "output": output, "custom_status": custom_status, "updated": iso(now)}
        )

    # Remarks

    def _remark(self, instance: Instance, events: int, decision: Decision) -> None:
        """Log each remark once per execution; a failure by non-determinism at ERROR."""
        remarks = list(decision.warnings)
        size = len((decision.custom_status or "").encode("utf-16-le"))
        if size > _MAX_CUSTOM_STATUS:
            remarks.append(
                "Its custom status is over 16 KB in UTF-16: Azure fails the orchestration. Keep it to a few words."
            )
        if events > _MANY_EVENTS:
            remarks.append(
                f"Its history has over {_MANY_EVENTS} events, and every step replays all of them. Use continue_as_new "
                "or sub-orchestrations."
            )
        if decision.ending == "Failed" and (decision.output or "").startswith("Non-Deterministic"):
            log.error("Instance '%s' of '%s': %s", instance["instance_id"], instance["name"], decision.output)
        for text in remarks:
            key = (instance["execution_id"], text.partition(" (")[0])  # numbers in brackets change with every episode
            if key not in self._told:
                if len(self._told) >= _REMEMBERED_REMARKS:
                    self._told.clear()
                self._told.add(key)
                log.warning("Instance '%s' of '%s': %s", instance["instance_id"], instance["name"], text)


def new_execution_id() -> str:
    """Return a fresh random id."""
    return uuid.uuid4().hex


def _check_id(instance_id: str) -> None:
    if not instance_id or len(instance_id) > _MAX_ID:
        raise InvalidInstanceId(f"Instance ids have 1 to {_MAX_ID} characters, this one has {len(instance_id)}.")
    if instance_id.startswith("@"):
        raise InvalidInstanceId("Orchestration instance ids must not start with @.")
    if any(char in "/\\#?" or ord(char) < 32 or 127 <= ord(char) < 160 for char in instance_id):
        raise InvalidInstanceId("Orchestration instance ids must not contain /, \\, #, ?, or control characters.")
