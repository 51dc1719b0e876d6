"""Runs queued activities in a thread pool and commits what they returned, at least once each.

An activity's row is deleted in the same transaction that posts its result, so one that was running when the process
died runs again. Finished activities are committed in batches, and the pool is handed up to 500 queued ones at a time:
both let a wide fan-out finish in few, large episodes.
"""

from __future__ import annotations

import json
import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .clock import Clock
from .ports import Functions
from .protocol import HTTP_ACTIVITY, EventType, event
from .store import Activity, Store

log = logging.getLogger("reelkeeper.functions.durable")
_PREFETCH = 500


@dataclass(frozen=True)
class _Outcome:
    activity: Activity
    result: str | None = None
    failure: str | None = None
    trace: str = ""


class ActivityPool:
    """The activities of one engine."""

    def __init__(self, store: Store, functions: Functions, clock: Clock, size: int, wake: Callable[[], None]) -> None:
        """Run at most `size` at once; `wake()` is called whenever one has finished."""
        self._store, self._functions, self._clock, self._wake = store, functions, clock, wake
        self._pool = ThreadPoolExecutor(size, "activity")
        self._finished: deque[_Outcome] = deque()
        self._lock = threading.Lock()
        self._in_flight = self._running = 0
        self._last_id = 0

    @property
    def in_flight(self) -> int:
        """How many are handed to the pool and not committed yet."""
        return self._in_flight

    @property
    def running(self) -> int:
        """How many are inside the app's code."""
        return self._running

    def dispatch(self) -> int:
        """Hand queued activities to the pool and return how many."""
        queued = self._store.activities(self._last_id, _PREFETCH - self._in_flight)
        for activity in queued:
            self._last_id = activity.id
            with self._lock:
                self._in_flight += 1
            self._pool.submit(self._run, activity)
        return len(queued)

    def commit(self) -> int:
        """Post the results of all finished activities in one transaction and return how many."""
        outcomes = [self._finished.popleft() for _ in range(len(self._finished))]
        if not outcomes:
            return 0
        try:
            with self._store.transaction():
                for outcome in outcomes:
                    self._post(outcome)
        except BaseException:
            self._finished.extendleft(reversed(outcomes))
            raise
        with self._lock:
            self._in_flight -= len(outcomes)
        return len(outcomes)

    def stop(self) -> None:
        """Start no more; those that run go on, and run again at the next start unless they are committed in time."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, activity: Activity) -> None:
        with self._lock:
            self._running += 1
        try:
            outcome = self._call(activity)
        except BaseException as failure:  # even SystemExit of user code must not leave the orchestrator waiting
            log.warning(
                "Activity '%s' of instance '%s' failed with %s.",
                *(activity.name, activity.instance_id, type(failure).__name__),
            )
            outcome = _Outcome(activity, failure=f"{type(failure).__name__}: {failure}", trace=traceback.format_exc())
        self._finished.append(outcome)
        with self._lock:
            self._running -= 1
        self._wake()

    def _call(self, activity: Activity) -> _Outcome:
        if self._functions.has("activityTrigger", activity.name):
            text = self._functions.activity(activity.name, activity.input, activity.instance_id)
            return _Outcome(activity, text)
        if activity.name == HTTP_ACTIVITY:
            reason = "context.call_http is not served by the embedded host: send the request from an activity."
        else:
            reason = f"The function '{activity.name}' doesn't exist, is disabled, or is not an activity function."
        log.error(
            "%s Instance '%s' asked for it; on Azure it would wait for ever.",
            *(reason, activity.instance_id),
        )
        return _Outcome(activity, failure=reason)

    def _post(self, outcome: _Outcome) -> None:
        activity, now = outcome.activity, self._clock.now()
        if not self._store.finish_activity(activity.id):
            return  # its instance was terminated, purged or replaced meanwhile
        if outcome.failure is None:
            done = event(EventType.TASK_COMPLETED, now, TaskScheduledId=activity.task_id, Result=outcome.result)
        else:
            details = {
                "ClassName": "System.Exception",
                "Message": f" {outcome.failure}",
                "StackTraceString": outcome.trace,
            }
            # The two blanks in the reason are the real host's.
            done = event(
                EventType.TASK_FAILED,
                now,
                TaskScheduledId=activity.task_id,
                Reason=f"Activity function '{activity.name}' failed:  {outcome.failure}",
                Details=json.dumps(details),
            )
        self._store.post(activity.instance_id, activity.execution_id, done, now)
