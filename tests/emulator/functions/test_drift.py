"""Orchestrators that break on Azure: each has the effect it would have there, and is explained in plain words."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import azure.durable_functions as df
import pytest

from emulator.functions import drift
from emulator.functions.engine import Engine
from emulator.functions.testing import PlainFunctions, running

Steps = Generator[Any, Any, Any]
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def boom(_: Any) -> None:
    """Fail."""
    raise ValueError("boom")


class Hazards:
    """One orchestrator at a time, and what was logged about it."""

    def __init__(self, functions: PlainFunctions, engine: Engine, log: pytest.LogCaptureFixture) -> None:
        """Use a running engine."""
        self.functions, self.engine, self._log = functions, engine, log

    def start(self, main: Any) -> None:
        """Start the orchestrator as instance `i` and let it settle."""
        self.functions.orchestrators["main"] = main
        self.engine.start_instance("main", "i", None)
        self.engine.settle()

    def ends(self) -> tuple[str, str]:
        """Let everything settle; return status and output."""
        self.engine.settle()
        instance = self.engine.get("i")
        assert instance is not None
        return instance["status"], instance["output"] or ""

    @property
    def remarks(self) -> list[str]:
        """Warnings about orchestrators, not about activities that failed on purpose."""
        return [one.getMessage() for one in self._log.records if "Activity" not in one.getMessage()]


@pytest.fixture
def hazards(caplog: pytest.LogCaptureFixture) -> Iterator[Hazards]:
    """An engine on virtual time with an activity that works, one that fails, and one that fails once."""
    tries = Counter[str]()

    def flaky(_: Any) -> str:
        tries["flaky"] += 1
        if tries["flaky"] == 1:
            raise RuntimeError("not yet")
        return "fine"

    functions = PlainFunctions({}, {"step": lambda value: value, "boom": boom, "flaky": flaky})
    with running(functions) as engine:
        yield Hazards(functions, engine, caplog)


def test_yielding_again_a_retry_that_lost_a_race_is_non_determinism(hazards: Hazards) -> None:
    """The numbers of the retry and of the next action change places; the advice names the retry."""

    def main(context: Any) -> Steps:
        retried = context.call_activity_with_retry("flaky", df.RetryOptions(1000, 3))
        yield context.task_any([retried, context.call_activity("step", 1)])
        yield retried
        yield context.call_activity("step", 2)

    hazards.start(main)
    hazards.engine.advance(HOUR)
    status, output = hazards.ends()
    assert status == "Failed"
    assert output.startswith("Non-Deterministic workflow detected: ")
    assert "Put the retries into a sub-orchestrator" in output


def test_cancelling_the_timer_that_a_retry_raced_is_non_determinism(hazards: Hazards) -> None:
    """A cancelled timer ends the race from the start when replayed: the retry's numbers come too late."""

    def main(context: Any) -> Steps:
        deadline = context.create_timer(context.current_utc_datetime + DAY)
        yield context.task_any([context.call_activity_with_retry("flaky", df.RetryOptions(1000, 3)), deadline])
        deadline.cancel()
        yield context.call_activity("step", 2)

    hazards.start(main)
    hazards.engine.advance(HOUR)
    assert hazards.ends()[0] == "Failed"
    assert "Put the retries into a sub-orchestrator" in hazards.ends()[1]


def test_retries_inside_a_child_may_race_a_timer(hazards: Hazards) -> None:
    """What the advice says works: the same race with the retry in a sub-orchestration completes, unremarked."""

    def child(context: Any) -> Steps:
        return (yield context.call_activity_with_retry("flaky", df.RetryOptions(1000, 3)))

    def main(context: Any) -> Steps:
        deadline = context.create_timer(context.current_utc_datetime + DAY)
        yield context.task_any([context.call_sub_orchestrator("child"), deadline])
        deadline.cancel()
        return (yield context.call_activity("step", 2))

    hazards.functions.orchestrators["child"] = child
    hazards.start(main)
    hazards.engine.advance(HOUR)
    assert (hazards.ends(), hazards.remarks) == (("Completed", "2"), [])


def test_going_on_after_a_failed_task_all_waits_for_its_siblings(hazards: Hazards) -> None:
    """The next activity starts only when the slowest task has ended, and the warning says so."""

    def main(context: Any) -> Steps:
        try:
            slow = context.create_timer(context.current_utc_datetime + HOUR)
            yield context.task_all([context.call_activity("boom", 1), slow])
        except Exception:
            return (yield context.call_activity("step", str(context.current_utc_datetime)))

    hazards.start(main)
    assert hazards.ends()[0] == "Running"
    [remark] = hazards.remarks
    assert "An exception from task_all was caught while others of its tasks still run" in remark
    hazards.engine.advance(HOUR)
    assert hazards.ends()[0] == "Completed"


def test_nested_task_all_with_a_failing_child_crashes_the_sdk(hazards: Hazards) -> None:
    """The instance fails with the real host's text, and the advice names the nesting."""

    def main(context: Any) -> Steps:
        now = context.current_utc_datetime
        inner = context.task_all([context.call_activity("boom", 1), context.create_timer(now + HOUR)])
        try:
            yield context.task_all([inner, context.create_timer(now + 2 * HOUR)])
        except Exception:
            yield context.create_timer(now + 2 * HOUR)

    hazards.start(main)
    hazards.engine.advance(3 * HOUR)
    status, output = hazards.ends()
    assert status == "Failed"
    assert "sequence number 0" in output
    assert "A task_all inside a task_all had a failing child" in output


def test_timer_that_is_not_cancelled_keeps_the_instance_running(hazards: Hazards) -> None:
    """The instance completes only when the losing timer fires; the warning says until when and what to call."""

    def main(context: Any) -> Steps:
        timer = context.create_timer(context.current_utc_datetime + HOUR)
        yield context.task_any([context.call_activity("step", 1), timer])
        return "done"

    hazards.start(main)
    assert hazards.ends()[0] == "Running"
    [remark] = hazards.remarks
    assert "stays Running until 2025-01-01T01:00:00.000000Z" in remark
    assert "timer.cancel()" in remark
    hazards.engine.advance(HOUR)
    assert hazards.ends() == ("Completed", '"done"')


def test_long_timer_cannot_be_cancelled(hazards: Hazards) -> None:
    """Cancelling a timer of more than 6 days does not reach its 3-day pieces."""

    def main(context: Any) -> Steps:
        timer = context.create_timer(context.current_utc_datetime + 10 * DAY)
        yield context.task_any([context.call_activity("step", 1), timer])
        timer.cancel()

    hazards.start(main)
    assert hazards.ends()[0] == "Running"
    assert "more than 6 days cannot be cancelled" in hazards.remarks[0]


def test_long_timers_in_parallel_drift(hazards: Hazards) -> None:
    """Their pieces are numbered one behind the other; it completes, late, and is warned about once."""

    def main(context: Any) -> Steps:
        now = context.current_utc_datetime
        yield context.task_all([context.create_timer(now + 10 * DAY), context.create_timer(now + 11 * DAY)])

    hazards.start(main)
    hazards.engine.advance(20 * DAY)
    assert hazards.ends()[0] == "Completed"
    [remark] = hazards.remarks
    assert "Several timers of more than 6 days run in parallel" in remark


def test_two_events_of_one_name_before_the_wait_become_the_last_one(hazards: Hazards) -> None:
    """The SDK hands the second event to both waits, and we say so."""

    def main(context: Any) -> Steps:
        yield context.create_timer(context.current_utc_datetime + HOUR)
        first = yield context.wait_for_external_event("go")
        second = yield context.wait_for_external_event("go")
        return [first, second]

    hazards.start(main)
    hazards.engine.raise_event("i", "go", "1")
    hazards.engine.raise_event("i", "go", "2")
    hazards.engine.advance(HOUR)
    assert hazards.ends() == ("Completed", "[2, 2]")
    [remark] = hazards.remarks
    assert "raised 2 times before the orchestrator waited for it" in remark


def test_one_event_for_two_waits_never_ends(hazards: Hazards) -> None:
    """The SDK is satisfied, the host still waits: the instance stays Running, and the warning names the event."""

    def main(context: Any) -> Steps:
        yield context.create_timer(context.current_utc_datetime + HOUR)
        yield context.wait_for_external_event("go")
        yield context.wait_for_external_event("go")

    hazards.start(main)
    hazards.engine.raise_event("i", "go", "1")
    hazards.engine.advance(30 * DAY)
    assert hazards.ends()[0] == "Running"
    [remark] = hazards.remarks
    assert "stays Running for good: the host still waits for ['go']" in remark


def test_event_in_another_case_never_reaches_the_orchestrator(hazards: Hazards) -> None:
    """Host and SDK disagree about `Go` and `go`; the warning says to write it in one way."""

    def main(context: Any) -> Steps:
        yield context.wait_for_external_event("Go")

    hazards.start(main)
    hazards.engine.raise_event("i", "go", None)
    assert hazards.ends()[0] == "Running"
    assert "Write the name in the same way on both sides" in hazards.remarks[0]


def test_old_task_in_a_new_race_is_not_waited_for(hazards: Hazards) -> None:
    """The host waits only for the new timer; the SDK goes on with the event, and the warning says how to write it."""

    def main(context: Any) -> Steps:
        approved = context.wait_for_external_event("approved")
        for _ in range(2):
            reminder = context.create_timer(context.current_utc_datetime + HOUR)
            yield context.task_any([approved, reminder])
        return (yield context.call_activity("step", 1))

    hazards.start(main)
    hazards.engine.advance(HOUR)
    hazards.engine.raise_event("i", "approved", None)
    assert hazards.ends()[0] == "Running"
    assert "was probably put into a new task_any or task_all" in hazards.remarks[0]
    hazards.engine.advance(HOUR)
    assert hazards.ends()[0] == "Completed"


def test_random_choice_is_explained(hazards: Hazards) -> None:
    """An orchestrator that takes another path on replay fails, and the error lists what is forbidden."""
    names = iter(["step", "boom"])

    def main(context: Any) -> Steps:
        yield context.call_activity(next(names), 1)

    hazards.start(main)
    status, output = hazards.ends()
    assert status == "Failed"
    assert "scheduled activity 'step' with sequence number 0" in output
    assert "current replay scheduled activity 'boom'" in output
    assert "no random or uuid4 (use context.new_uuid())" in output
    assert any("Non-Deterministic" in one for one in hazards.remarks)


def test_clock_and_random_in_arguments_are_warned_about(hazards: Hazards) -> None:
    """Azure would go on with the first value; we say which task changed, once."""
    ticks = count()  # as a clock or random would, never the same value twice

    def main(context: Any) -> Steps:
        yield context.call_activity("step", next(ticks))
        yield context.create_timer(context.current_utc_datetime - timedelta(seconds=next(ticks)))
        yield context.call_activity("step", 2)

    hazards.start(main)
    assert hazards.ends() == ("Completed", "")
    activity, timer = hazards.remarks
    assert "activity 'step' (sequence number 0) with another input than the first time" in activity
    assert "a timer (sequence number 1) due at another time than the first time" in timer


def test_orchestrator_that_ends_the_process_is_explained(hazards: Hazards) -> None:
    """SystemExit in user code fails the instance with the cause in its output."""

    def main(context: Any) -> Steps:
        yield context.call_activity("step", 1)
        raise SystemExit(3)

    hazards.start(main)
    assert hazards.ends()[0] == "Failed"
    assert "SystemExit: 3" in hazards.ends()[1]


def test_sound_orchestrator_is_not_remarked_upon(hazards: Hazards) -> None:
    """Activities, fan-out, retries, a race with a cancelled timer and events: no warning at all."""

    def main(context: Any) -> Steps:
        yield context.call_activity_with_retry("flaky", df.RetryOptions(1000, 3))
        yield context.task_all([context.call_activity("step", n) for n in range(5)])
        timer = context.create_timer(context.current_utc_datetime + DAY)
        event = context.wait_for_external_event("go")
        if (yield context.task_any([event, timer])) is event:
            timer.cancel()
        context.set_custom_status("nearly")
        return (yield context.call_activity("step", "end"))

    hazards.start(main)
    hazards.engine.advance(HOUR)
    hazards.engine.raise_event("i", "go", None)
    assert (hazards.ends(), hazards.remarks) == (("Completed", '"end"'), [])


def test_numbers_of_the_sdk_are_seen_for_the_calling_thread_only() -> None:
    """observe may be installed twice; what one thread's SDK call left is not seen by another."""
    drift.observe()
    drift.observe()
    drift.forget()
    seen: list[drift.SdkView | None] = []
    history = [
        {"EventType": 12, "EventId": -1, "IsPlayed": False, "Timestamp": "2025-01-01T00:00:00Z"},
        {"EventType": 0, "EventId": -1, "IsPlayed": False, "Timestamp": "2025-01-01T00:00:00Z", "Version": ""},
    ]
    context = {"history": history, "input": None, "instanceId": "i", "isReplaying": False, "parentInstanceId": None}

    def call() -> None:
        functions = PlainFunctions({"main": lambda context: (yield context.wait_for_external_event("Go"))})
        functions.orchestrator("main", json.dumps({**context, "upperSchemaVersionNew": 2}))
        seen.append(drift.last_seen())

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(10)
    assert drift.last_seen() is None
    assert seen == [drift.SdkView(frozenset(), frozenset({"go"}), 0)]
