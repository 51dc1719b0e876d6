"""The durable engine: one SQLite file, one dispatcher thread, a pool for activities.

The dispatcher repeats: commit finished activities, hand out queued ones, fire due time sources, run an episode of every
instance and a batch of every entity that has messages; then it sleeps until something is due or someone calls. All
public methods may be called from any thread. With a virtual clock time stands still until `advance`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from . import drift
from .activities import ActivityPool
from .clock import Clock, VirtualClock
from .entities import run_batch, split_id
from .instances import (
    AlreadyExists,
    Instances,
    InvalidInstanceId,
    NotFailed,
    UnknownFunction,
    new_execution_id,
)
from .ports import Functions, TimeSource
from .protocol import TERMINAL, Event, EventType, event
from .store import DataInUseError, DataUnreadableError, Instance, Store

__all__ = [
    "TERMINAL",
    "AlreadyExists",
    "DataInUseError",
    "DataUnreadableError",
    "Engine",
    "Functions",
    "Instance",
    "InvalidInstanceId",
    "NotFailed",
    "TimeSource",
    "UnknownFunction",
]

log = logging.getLogger("reelkeeper.functions.durable")
_BATCH = 64
_PAUSE_AFTER_FAILURE = 1.0
_LONGEST_SLEEP = 60.0  # a sleeping laptop stops the monotonic clock, not the time of day


class Engine:
    """Runs orchestrations, activities and entities durably."""

    def __init__(
        self,
        path: str | Path,
        functions: Functions,
        clock: Clock | None = None,
        max_activities: int = 10,
        *,
        cached_histories: int = 256,
        new_id: Callable[[], str] = new_execution_id,
    ) -> None:
        """Open the data file at `path` (":memory:" for none); nothing runs before `start`.

        `cached_histories` 0 reads every history from disk for every episode, as another machine would.
        Raises DataInUseError when another engine holds the file, DataUnreadableError when it is not ours.
        """
        self.clock = clock or Clock()
        self.functions = functions
        self.extra_due: list[TimeSource] = []
        self.episodes = 0
        self._store = Store(path)
        self._instances = Instances(self._store, functions, self.clock, cached_histories, new_id)
        self._activities = ActivityPool(self._store, functions, self.clock, max_activities, self.wake)
        self._new_id = new_id
        self._changed = threading.Condition(self._store.lock)
        self._advancing = threading.Lock()
        self._dirty = True
        self._busy = self._stopping = False
        self._thread: threading.Thread | None = None

    # Lifecycle

    def start(self) -> Engine:
        """Start the dispatcher; whatever was under way when the last process ended goes on."""
        drift.observe()
        self._thread = threading.Thread(target=self._run, name="durable-dispatcher", daemon=True)
        self._thread.start()
        return self

    def stop(self, timeout: float = 10.0) -> None:
        """Stop, giving running activities `timeout` seconds to end; those that do not run again at the next start."""
        with self._changed:
            if self._stopping:
                return
            self._stopping = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join(timeout)
        self._activities.stop()
        with self._changed:
            if not self._changed.wait_for(lambda: not self._activities.running, timeout):
                log.warning(
                    "%d activities still run and are cut off; they run again at the next start.",
                    self._activities.running,
                )
            self._activities.commit()
            self._store.close()

    def wake(self) -> None:
        """Make the dispatcher look for work; to be called when a time source is done or due at another time."""
        with self._changed:
            self._dirty = True
            self._changed.notify_all()

    # Clients: instances

    def start_instance(self, name: str, instance_id: str | None, raw_input: str | None, version: str = "") -> str:
        """Start an orchestration and return its id, a fresh one when none is given; `raw_input` is JSON text.

        An instance of the same id that has ended is replaced. Raises AlreadyExists when it has not ended,
        UnknownFunction, InvalidInstanceId, and ValueError when the input is not JSON.
        """
        instance_id = instance_id or self._new_id()
        self._instances.create(name, instance_id, raw_input, version)
        self.wake()
        return instance_id

    def get(self, instance_id: str) -> Instance | None:
        """Return an instance, None when there is none."""
        return self._store.instance(instance_id)

    def query(
        self,
        statuses: Sequence[str] = (),
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        prefix: str = "",
        top: int | None = None,
        skip: int = 0,
    ) -> list[Instance]:
        """Return the instances that match every given condition, oldest first."""
        return self._store.instances(statuses, created_from, created_to, prefix, top, skip)

    def history(self, instance_id: str) -> list[Event]:
        """Return the history of an instance's current execution."""
        return self._store.history(instance_id)

    def raise_event(self, instance_id: str, name: str, raw: str | None) -> None:
        """Send an external event; `raw` is JSON text. An instance that does not exist or has ended ignores it."""
        self._post(instance_id, EventType.EVENT_RAISED, {"Name": name, "Input": raw})

    def terminate(self, instance_id: str, reason: str | None) -> None:
        """End an instance with `reason` as its output; its sub-orchestrations and running activities go on."""
        self._post(instance_id, EventType.EXECUTION_TERMINATED, {"Input": reason})

    def suspend(self, instance_id: str, reason: str | None) -> None:
        """Hold an instance: what it waits for is kept until `resume`."""
        self._post(instance_id, EventType.SUSPENDED, {"Reason": reason})

    def resume(self, instance_id: str, reason: str | None) -> None:
        """Let a suspended instance go on."""
        self._post(instance_id, EventType.RESUMED, {"Reason": reason})

    def purge(self, instance_id: str) -> int:
        """Delete an instance that has ended, with its history; return how many were deleted (0 or 1)."""
        return self._instances.purge(instance_id)

    def rewind(self, instance_id: str, reason: str | None) -> None:
        """Undo the failures of a failed instance and its children, and let it try again. Raises NotFailed."""
        self._instances.rewind(instance_id, reason)
        self.wake()

    def _post(self, instance_id: str, kind: EventType, fields: Event) -> None:
        now = self.clock.now()
        with self._store.transaction():
            self._store.post(instance_id, None, event(kind, now, **fields), now)
        self.wake()

    # Clients: entities and notes

    def signal_entity(self, entity_id: str, operation: str, raw: str | None) -> None:
        """Send an operation to the entity `@name@key`; `raw` is JSON text. Raises ValueError when the id is none."""
        split_id(entity_id)
        with self._store.transaction():
            self._store.add_operation(entity_id, operation, raw)
        self.wake()

    def entity_state(self, entity_id: str) -> str | None:
        """Return an entity's state as JSON text, None when it does not exist."""
        return self._store.entity_state(entity_id)

    def remember(self, key: str, text: str) -> None:
        """Keep a small text beside the histories, such as a timer trigger's last run."""
        with self._store.transaction():
            self._store.set_note(key, text)

    def recall(self, key: str) -> str | None:
        """Return what `remember` kept."""
        return self._store.note(key)

    # Time and waiting

    def wait(self, instance_id: str, timeout: float = 30.0) -> Instance:
        """Return the instance once it has ended. Raises TimeoutError."""

        def ended() -> bool:
            instance = self._store.instance(instance_id)
            return instance is not None and instance["status"] in TERMINAL

        with self._changed:
            if not self._changed.wait_for(ended, timeout):
                found = self._store.instance(instance_id)
                state = f"is {found['status']}" if found else "does not exist"
                raise TimeoutError(f"Instance '{instance_id}' {state} after {timeout:g} s.")
            instance = self._store.instance(instance_id)
        assert instance is not None
        return instance

    def settle(self, timeout: float = 30.0) -> None:
        """Return once nothing can happen before time passes or a client calls. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(self._quiet, timeout):
                raise TimeoutError(
                    f"Still busy after {timeout:g} s: {self._activities.in_flight} activities and "
                    f"{sum(bool(_running(one)) for one in self.extra_due)} timer triggers are under way."
                )

    def advance(self, by: timedelta, timeout: float = 30.0) -> datetime:
        """Move a virtual clock, stopping at every moment at which something is due; return the new time.

        Everything due on the way has happened when this returns; each stop may take `timeout` seconds of real time.
        Raises RuntimeError on the machine's clock, TimeoutError when the engine does not come to rest.
        """
        clock = self.clock
        if not isinstance(clock, VirtualClock):
            raise RuntimeError("Only a virtual clock can be moved: start the host with one.")
        if by < timedelta():
            raise ValueError("Time runs forwards only.")
        with self._advancing:
            target = clock.now() + by
            while True:
                self.settle(timeout)
                with self._changed:
                    due = self._next_due()
                    if due is None or due > target:
                        clock.move_to(target)
                        return target
                    clock.move_to(due)
                    self.wake()

    def _quiet(self) -> bool:
        now = self.clock.now()
        if self._dirty or self._busy or self._activities.in_flight or not self._store.idle(now):
            return False
        return not any(_running(one) or _is_due(one, now) for one in self.extra_due)

    def _next_due(self) -> datetime | None:
        due = [self._store.next_visible(), *(one.next_due() for one in self.extra_due if not _running(one))]
        return min((one for one in due if one is not None), default=None)

    # Dispatcher

    def _run(self) -> None:
        while not self._stopping:
            try:
                sound = not self._sleep() or self._pass()
            except Exception:
                log.exception("The dispatcher failed; it tries again in %g s.", _PAUSE_AFTER_FAILURE)
                sound = False
            if not sound:
                time.sleep(_PAUSE_AFTER_FAILURE)
                self.wake()
            with self._changed:
                self._changed.notify_all()

    def _sleep(self) -> bool:
        """Wait for work; False when the engine stops."""
        with self._changed:
            while not (self._dirty or self._stopping):
                due = self._next_due()
                seconds = None
                if due is not None:
                    left = (due - self.clock.now()).total_seconds()
                    if left <= 0:
                        break
                    seconds = None if self.clock.virtual else min(left, _LONGEST_SLEEP)
                self._busy = False
                self._changed.notify_all()
                self._changed.wait(seconds)
            self._dirty, self._busy = False, True
            return not self._stopping

    def _pass(self) -> bool:
        """Do everything that can be done now; False when even failing an instance failed."""
        self._activities.commit()
        handed_out = self._activities.dispatch()  # before the episodes: results then arrive in larger batches
        now = self.clock.now()
        self._fire(now)
        instances, entities = self._store.ready_instances(now, _BATCH), self._store.ready_entities(_BATCH)
        failures = [one for one in instances if not self._episode(one)]
        for entity_id in entities:
            self._entity(entity_id)
        handed_out += self._activities.dispatch()
        if instances or entities or handed_out:
            self.wake()
        return not failures

    def _fire(self, now: datetime) -> None:
        for source in list(self.extra_due):
            try:
                if not _running(source) and _is_due(source, now):
                    source.fire(now)
            except Exception:
                log.exception("A timer trigger cannot be run by this host and is switched off until the next start.")
                self.extra_due.remove(source)

    def _episode(self, instance_id: str) -> bool:
        """Run an episode; if the host itself fails in it, fail the instance rather than try for ever."""
        self.episodes += 1
        try:
            self._instances.run(instance_id)
        except Exception as error:
            log.exception(
                "Instance '%s' cannot go on because the host failed; the instance is set to Failed.", instance_id
            )
            try:
                self._instances.fail(instance_id, f"The embedded host failed: {type(error).__name__}: {error}")
            except Exception:
                log.exception("Instance '%s' could not be set to Failed.", instance_id)
                return False
        return True

    def _entity(self, entity_id: str) -> None:
        with self._store.lock:
            operations = self._store.operations(entity_id)
            state = self._store.entity_state(entity_id)
        result = run_batch(entity_id, state, operations, self._call_entity)
        with self._store.transaction():
            now = self.clock.now()
            self._store.finish_operations(operations)
            self._store.set_entity_state(entity_id, result.state, now)
            for reply in result.replies:
                asked = reply.operation
                answer = event(EventType.EVENT_RAISED, now, Name=asked.request_id, Input=reply.response)
                self._store.post(str(asked.caller_id), asked.caller_execution, answer, now)

    def _call_entity(self, name: str, context_json: str) -> str:
        if not self.functions.has("entityTrigger", name):
            raise LookupError(f"The function '{name}' doesn't exist, is disabled, or is not an entity function.")
        return self.functions.entity(name, context_json)


def _running(source: TimeSource) -> bool:
    return bool(getattr(source, "running", False))


def _is_due(source: TimeSource, now: datetime) -> bool:
    due = source.next_due()
    return due is not None and due <= now
