"""The JSON exchanged with the SDK: the texts in golden/ are compared exactly, event by event and action by action.

Run with UPDATE_GOLDEN=1 in the environment to write them anew, then read the difference.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator, Iterator
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import pytest

from emulator.functions.clock import VirtualClock
from emulator.functions.engine import Engine
from emulator.functions.protocol import (
    ANSWER_LABEL,
    EventType,
    event,
    from_micros,
    iso,
    parse_iso,
    read_answer,
    read_failure,
    to_micros,
)
from emulator.functions.testing import PlainFunctions

GOLDEN = Path(__file__).parent / "golden"
Steps = Generator[Any, Any, Any]


def activities(context: Any) -> Steps:
    """Call an activity, then one that fails, with a custom status."""
    context.set_custom_status({"step": "first"})
    number = yield context.call_activity("double", 21)
    try:
        yield context.call_activity("fail", {"why": "boom"})
    except Exception:
        context.set_custom_status("second")
    return {"number": number}


def retries(context: Any) -> Steps:
    """Let an activity fail for good with retries."""
    yield context.call_activity_with_retry("fail", df.RetryOptions(5000, 2), {"why": "boom"})


def timers(context: Any) -> Steps:
    """Wait for two timers at once, for a long one, and cancel one that lost."""
    now = context.current_utc_datetime
    yield context.task_all([context.create_timer(now + timedelta(hours=1)), context.create_timer(now)])
    yield context.create_timer(now + timedelta(days=7))
    losing = context.create_timer(now + timedelta(days=8))
    yield context.task_any([losing, context.create_timer(now + timedelta(days=7, hours=1))])
    losing.cancel()


def children(context: Any) -> Steps:
    """Call a sub-orchestration with its own id and version, then one that fails."""
    first = yield context.call_sub_orchestrator("child", {"fail": False}, "child-1", "1.2")
    try:
        yield context.call_sub_orchestrator("child", {"fail": True})
    except Exception as error:
        return [first, str(error)]


def child(context: Any) -> Steps:
    """Return the version, or fail."""
    yield context.create_timer(context.current_utc_datetime)
    if context.get_input()["fail"]:
        raise ValueError("the child failed")
    return context.version


def events(context: Any) -> Steps:
    """Wait for an event, then go on as a new execution."""
    if context.get_input() == "again":
        return "done"
    given = yield context.wait_for_external_event("go")
    context.continue_as_new("again" if given else None)


def entities(context: Any) -> Steps:
    """Signal and call an entity, once in vain."""
    counter = df.EntityId("Counter", "a")
    context.signal_entity(counter, "add", 1)
    total = yield context.call_entity(counter, "add", 2)
    try:
        yield context.call_entity(counter, "break")
    except Exception as error:
        return [total, str(error)]


def counter(context: Any) -> None:
    """Add up, or fail."""
    if context.operation_name == "break":
        raise ValueError("no such operation")
    context.set_state(context.get_state(lambda: 0) + context.get_input())
    context.set_result(context.get_state())


def fail(given: dict[str, str]) -> None:
    """Fail for the given reason."""
    raise ValueError(given["why"])


class Recorded(PlainFunctions):
    """Notes every exchange with the SDK, without what differs from run to run."""

    def __init__(self) -> None:
        """Serve the functions above."""
        mains = (activities, retries, timers, children, child, events, entities)
        super().__init__(
            {one.__name__: one for one in mains}, {"double": lambda n: 2 * n, "fail": fail}, {"counter": counter}
        )
        self.exchanges: list[dict[str, Any]] = []

    def orchestrator(self, name: str, context_json: str) -> str:
        """Run and note."""
        exchange: dict[str, Any] = {"orchestrator": name, "context": json.loads(_stable(context_json))}
        self.exchanges.append(exchange)
        try:
            text = super().orchestrator(name, context_json)
        except Exception as error:
            exchange["raises"] = _stable(str(error))
            raise
        exchange["answer"] = json.loads(_stable(text))
        return text

    def entity(self, name: str, context_json: str) -> str:
        """Run and note."""
        text = super().entity(name, context_json)
        answer = json.loads(text)
        for one in answer["results"]:
            one.update(duration=0, startTime=0)
        self.exchanges.append({"entity": name, "context": json.loads(context_json), "answer": answer})
        return text


def _stable(text: str) -> str:
    """Blank out stack traces: they name files and lines of this machine."""
    return re.sub(r'(StackTraceString\\*": \\*").*?(\\*"})', r"\1...\2", text)


@pytest.fixture
def functions() -> Recorded:
    """The recorded functions."""
    return Recorded()


@pytest.fixture
def engine(functions: Recorded) -> Iterator[Engine]:
    """An engine whose times and execution ids are the same in every run."""
    ids = count(1)
    engine = Engine(":memory:", functions, VirtualClock(), new_id=lambda: f"execution-{next(ids)}")
    yield engine.start()
    engine.stop()


@pytest.mark.parametrize("name", ["activities", "retries", "timers", "children", "events", "entities"])
def test_exchange_with_the_sdk_is_the_golden_one(name: str, engine: Engine, functions: Recorded) -> None:
    """Every context handed to the SDK, and every answer it gives, is the recorded one."""
    engine.start_instance(name, name, '"{}"')
    engine.settle()
    if name == "events":
        engine.raise_event(name, "go", '"now"')
    engine.advance(timedelta(days=8))
    assert engine.wait(name)["status"] == ("Failed" if name == "retries" else "Completed")
    path = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(json.dumps(functions.exchanges, indent=1) + "\n", encoding="utf-8")
    assert functions.exchanges == json.loads(path.read_text(encoding="utf-8"))


def test_event_carries_the_four_fields_the_sdk_requires() -> None:
    """An event has type, id, played mark and a UTC time with microseconds and Z."""
    at = datetime(2025, 3, 1, 12, 0, 0, 5, timezone(timedelta(hours=1)))
    assert event(EventType.TIMER_FIRED, at, TimerId=7) == {
        "EventType": 11,
        "EventId": -1,
        "IsPlayed": False,
        "Timestamp": "2025-03-01T11:00:00.000005Z",
        "TimerId": 7,
    }


def test_times_survive_text_and_database_to_the_microsecond() -> None:
    """A time is the same after being written as text or as a number and read again."""
    for micros in (0, 1, 999_999):
        moment = datetime(2031, 12, 31, 23, 59, 59, micros, timezone.utc)
        assert parse_iso(iso(moment)) == moment
        assert from_micros(to_micros(moment)) == moment


def test_answer_is_read_with_all_its_parts() -> None:
    """Actions are flattened; output and custom status become JSON text; absent ones stay None."""
    text = '{"isDone": true, "schemaVersion": 2, "actions": [[{"actionType": 5}]], "output": [1], "customStatus": "x"}'
    answer = read_answer(text)
    assert (answer.done, answer.actions, answer.output) == (True, [{"actionType": 5}], "[1]")
    assert (answer.custom_status, answer.error, answer.ended) == ('"x"', None, True)
    assert read_answer('{"isDone": false, "actions": [[]]}').ended is False


def test_failure_is_read_after_the_last_label() -> None:
    """User code's message may itself hold a label; the SDK's answer is what follows the last one."""
    state = '{"isDone": false, "actions": [[]], "error": "bad"}'
    answer = read_failure(Exception(f"odd {ANSWER_LABEL} text{ANSWER_LABEL}{state}"))
    assert (answer.error, answer.crashed, answer.ended) == ("bad", False, True)


def test_failure_without_an_answer_is_a_crash_of_the_sdk() -> None:
    """An exception with no label leaves no actions, and keeps its type and message."""
    answer = read_failure(KeyError("x"))
    assert (answer.error, answer.crashed, answer.actions) == ("KeyError: 'x'", True, [])
