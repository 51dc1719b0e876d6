"""Entities: called, signalled, failing, deleted; one operation at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator
from typing import Any

import azure.durable_functions as df
import pytest

from emulator.functions.engine import Engine
from emulator.functions.entities import entity_context, response_json, run_batch, split_id
from emulator.functions.store import Operation
from emulator.functions.testing import PlainFunctions, running

Steps = Generator[Any, Any, Any]
ID = df.EntityId("Counter", "Key@1")


def counter(context: Any) -> None:
    """Add, read, fail or delete."""
    if context.operation_name == "add":
        context.set_state(context.get_state(lambda: 0) + context.get_input())
    elif context.operation_name == "fail":
        raise ValueError("not today")
    elif context.operation_name == "exit":
        raise SystemExit(1)
    elif context.operation_name == "delete":
        context.destruct_on_exit()
        return
    context.set_result(context.get_state(lambda: 0))


def caller(context: Any) -> Steps:
    """Call the operation that the input names; return result or error."""
    try:
        return (yield context.call_entity(ID, context.get_input()["op"], 5))
    except Exception as error:
        return f"error: {error}"


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine with one entity."""
    with running(PlainFunctions({"caller": caller}, entities={"counter": counter})) as engine:
        yield engine


def call(engine: Engine, operation: str) -> Any:
    """Call an operation from an orchestration."""
    instance_id = engine.start_instance("caller", None, json.dumps({"op": operation}))
    return json.loads(engine.wait(instance_id)["output"] or "null")


def test_state_is_kept_between_calls_and_results_come_back(engine: Engine) -> None:
    """Each call sees what the one before left; the id's name is lowercase, its key is not."""
    assert [call(engine, "add"), call(engine, "add"), call(engine, "read")] == [5, 10, 10]
    assert engine.entity_state("@counter@Key@1") == "10"
    assert engine.entity_state("@counter@key@1") is None


def test_failed_operation_reaches_its_caller_and_keeps_the_state(engine: Engine) -> None:
    """The error text is raised in the orchestrator; other operations of the batch count."""
    call(engine, "add")
    assert call(engine, "fail") == "error: not today"
    assert call(engine, "read") == 5


def test_deleted_entity_is_gone(engine: Engine) -> None:
    """After destruct_on_exit there is no state, and the next operation starts from the initial one."""
    call(engine, "add")
    call(engine, "delete")
    assert engine.entity_state("@counter@Key@1") is None
    assert call(engine, "add") == 5


def test_signals_are_applied_in_order_without_an_answer(engine: Engine) -> None:
    """Signals from a client are taken one after the other, as many at once as wait."""
    for n in range(1, 11):
        engine.signal_entity("@counter@k", "add", json.dumps(json.dumps(n)))
    engine.settle()
    assert engine.entity_state("@counter@k") == "55"


def test_signal_of_an_orchestration_is_sent_even_if_it_ends_or_continues_at_once() -> None:
    """Neither the end nor continue_as_new loses a signal sent just before."""

    def main(context: Any) -> Steps:
        context.signal_entity(df.EntityId("counter", "k"), "add", 1)
        yield context.call_entity(df.EntityId("counter", "other"), "read")
        context.signal_entity(df.EntityId("counter", "k"), "add", 10)
        if context.get_input() is None:
            context.continue_as_new({})

    with running(PlainFunctions({"main": main}, entities={"counter": counter})) as engine:
        engine.start_instance("main", "i", None)
        engine.wait("i")
        engine.settle()
        assert engine.entity_state("@counter@k") == "22"


def test_operations_of_one_entity_never_overlap() -> None:
    """Calls from many instances are applied one by one: the sum is exact."""
    inside = threading.Lock()

    def guarded(context: Any) -> None:
        assert inside.acquire(blocking=False)
        counter(context)
        inside.release()

    def adder(context: Any) -> Steps:
        for _ in range(5):
            total = yield context.call_entity(ID, "add", 1)
        return total

    with running(PlainFunctions({"adder": adder}, entities={"counter": guarded})) as engine:
        ids = [engine.start_instance("adder", None, None) for _ in range(20)]
        totals = [json.loads(engine.wait(one)["output"] or "") for one in ids]
        assert engine.entity_state("@counter@Key@1") == "100"
    assert max(totals) == 100


def test_unknown_entity_fails_the_call_and_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets the reason, a signal is only logged, and nothing is stored."""
    with running(PlainFunctions({"caller": caller})) as engine:
        assert "The function 'counter' doesn't exist" in call(engine, "add")
        engine.signal_entity("@counter@k", "add", None)
        engine.settle()
        assert engine.entity_state("@counter@k") is None
    assert len([one for one in caplog.records if one.levelname == "ERROR"]) == 2


def test_entity_that_tries_to_end_the_process_fails_its_callers(engine: Engine) -> None:
    """SystemExit fails the batch as a whole, and the state stays as it was."""
    call(engine, "add")
    assert call(engine, "exit") == "error: SystemExit: 1"
    assert call(engine, "read") == 5


def test_falsy_signal_of_the_client_is_lost_as_on_azure(engine: Engine) -> None:
    """A signal with no input breaks get_input inside the entity; the state does not change."""
    engine.signal_entity("@counter@k", "add", None)
    engine.settle()
    assert engine.entity_state("@counter@k") in (None, "null")


def test_caller_that_is_gone_is_not_answered() -> None:
    """An entity outlives the instance that called it."""

    def main(context: Any) -> Steps:
        yield context.call_entity(ID, "end", None)

    def ender(context: Any) -> None:
        engine.terminate("i", None)

    with running(PlainFunctions({"main": main}, entities={"counter": ender})) as engine:
        engine.start_instance("main", "i", None)
        assert engine.wait("i")["status"] == "Terminated"
        engine.settle()
        assert engine.purge("i") == 1


# The batch alone


def operation(number: int, request_id: str | None) -> Operation:
    """A queued operation."""
    return Operation(number, "add", '"1"', request_id, "i", "execution")


def test_batch_context_is_what_the_sdk_reads() -> None:
    """Name and key, whether it exists, the state as text, and each operation with its kind."""
    assert json.loads(entity_context("@counter@a@b", "7", [operation(1, None), operation(2, "r")])) == {
        "self": {"name": "counter", "key": "a@b"},
        "exists": True,
        "state": "7",
        "batch": [
            {"name": "add", "input": '"1"', "isSignal": True},
            {"name": "add", "input": '"1"', "isSignal": False},
        ],
    }


def test_batch_with_too_few_results_fails_as_a_whole() -> None:
    """An answer that does not fit the batch changes nothing, and every caller is told."""
    short = json.dumps({"entityExists": True, "entityState": "8", "results": [], "signals": []})
    result = run_batch("@counter@a", "7", [operation(1, "r"), operation(2, None)], lambda name, context: short)
    assert result.state == "7"
    assert [one.operation.request_id for one in result.replies] == ["r"]
    assert "exceptionType" in json.loads(result.replies[0].response)


def test_reply_marks_a_failure_by_the_presence_of_its_type() -> None:
    """A successful reply must not hold the field at all."""
    assert json.loads(response_json("1", False)) == {"result": "1"}
    assert "exceptionType" in json.loads(response_json('"bad"', True))


@pytest.mark.parametrize("bad", ["counter@a", "@counter", "@@a", "", "counter"])
def test_what_is_no_entity_id_is_refused(bad: str, engine: Engine) -> None:
    """An id must look like @name@key."""
    with pytest.raises(ValueError, match="must look like @name@key"):
        engine.signal_entity(bad, "add", None)
    assert split_id("@counter@a@b") == ("counter", "a@b")
