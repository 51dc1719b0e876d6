"""What clients do to instances: start under an id, suspend, resume, terminate, purge, rewind, query."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
import pytest

from emulator.functions.clock import VirtualClock
from emulator.functions.engine import AlreadyExists, Engine, InvalidInstanceId, NotFailed, UnknownFunction
from emulator.functions.protocol import EventType, parse_iso
from emulator.functions.testing import PlainFunctions, client_input, running

Steps = Generator[Any, Any, Any]
HOUR = timedelta(hours=1)


def waiter(context: Any) -> Steps:
    """Wait for an event, then call an activity."""
    given = yield context.wait_for_external_event("go")
    return (yield context.call_activity("same", given))


def sleeper(context: Any) -> Steps:
    """Sleep for an hour."""
    yield context.create_timer(context.current_utc_datetime + HOUR)
    return "awake"


def echo(context: Any) -> Any:
    """Return the input."""
    return context.get_input()


@pytest.fixture
def functions() -> PlainFunctions:
    """The orchestrators above; tests add their own."""
    return PlainFunctions({"waiter": waiter, "sleeper": sleeper, "echo": echo}, {"same": lambda value: value})


@pytest.fixture
def engine(functions: PlainFunctions) -> Iterator[Engine]:
    """A running engine on virtual time."""
    with running(functions) as engine:
        yield engine


def status(engine: Engine, instance_id: str = "i") -> str | None:
    """Let everything settle and return the status."""
    engine.settle()
    instance = engine.get(instance_id)
    return instance and instance["status"]


# Ids


def test_instance_without_id_gets_a_fresh_one(engine: Engine) -> None:
    """Two starts without an id make two instances."""
    ids = {engine.start_instance("echo", None, None) for _ in range(2)}
    assert len(ids) == 2
    assert all(status(engine, one) == "Completed" for one in ids)


def test_id_of_an_ended_instance_is_overwritten(engine: Engine) -> None:
    """Starting again under the id of a terminal instance leaves no trace of the first."""
    engine.start_instance("echo", "i", client_input("first"))
    first = engine.wait("i")
    engine.start_instance("echo", "i", client_input("second"))
    second = engine.wait("i")
    assert json.loads(second["output"] or "") == "second"
    assert second["execution_id"] != first["execution_id"]
    assert [one["EventType"] for one in engine.history("i")].count(EventType.EXECUTION_STARTED) == 1
    assert len(engine.query()) == 1


@pytest.mark.parametrize("state", ["Pending", "Running", "Suspended"])
def test_id_of_an_instance_that_has_not_ended_is_refused(engine: Engine, state: str) -> None:
    """A second start raises AlreadyExists and changes nothing of the first."""
    engine.start_instance("waiter", "i", None)
    if state != "Pending":
        engine.settle()
    if state == "Suspended":
        engine.suspend("i", None)
        assert status(engine) == "Suspended"
    before = engine.get("i")
    with pytest.raises(AlreadyExists, match=r"already exists\. Instance 'i' must end first"):
        engine.start_instance("echo", "i", None)
    assert before is not None
    assert engine.get("i")["execution_id"] == before["execution_id"]


def test_work_of_an_overwritten_instance_does_not_reach_its_successor(engine: Engine) -> None:
    """An event and a timer of the first instance are gone with it."""
    engine.start_instance("sleeper", "i", None)
    engine.settle()
    engine.terminate("i", "enough")
    assert status(engine) == "Terminated"
    engine.raise_event("i", "go", '"for the first"')
    engine.start_instance("waiter", "i", None)
    engine.advance(2 * HOUR)
    assert status(engine) == "Running"
    engine.raise_event("i", "go", '"for the second"')
    assert engine.wait("i")["output"] == '"for the second"'


@pytest.mark.parametrize("bad", ["@counter@a", "a/b", "a\\b", "a#b", "a?b", "a\nb", "a\x7f", "x" * 101])
def test_id_that_azure_refuses_is_refused(engine: Engine, bad: str) -> None:
    """Forbidden characters, a leading @ and more than 100 characters raise InvalidInstanceId."""
    with pytest.raises(InvalidInstanceId):
        engine.start_instance("echo", bad, None)
    assert engine.query() == []


def test_id_of_100_characters_with_odd_but_allowed_ones_is_taken(engine: Engine) -> None:
    """Spaces, colons, umlauts and a later @ are fine."""
    instance_id = "Ü :@.%".ljust(100, "x")
    engine.start_instance("echo", instance_id, None)
    assert status(engine, instance_id) == "Completed"


def test_unknown_orchestrator_and_bad_input_are_refused(engine: Engine) -> None:
    """Nothing is stored when the name is unknown or the input is no JSON."""
    with pytest.raises(UnknownFunction, match="'nobody' doesn't exist, is disabled, or is not an orchestrator"):
        engine.start_instance("nobody", "i", None)
    with pytest.raises(ValueError, match="Expecting value"):
        engine.start_instance("echo", "i", "not json")
    assert engine.get("i") is None


# Suspend, resume, terminate


def test_suspended_instance_parks_events_until_it_is_resumed(engine: Engine) -> None:
    """An event and a timer that come during the suspension take effect after it, in order."""
    engine.start_instance("waiter", "i", None)
    engine.start_instance("sleeper", "s", None)
    engine.settle()
    for one in ("i", "s"):
        engine.suspend(one, "hold")
    engine.raise_event("i", "go", '"parked"')
    engine.advance(2 * HOUR)
    assert (status(engine, "i"), status(engine, "s")) == ("Suspended", "Suspended")
    for one in ("i", "s"):
        engine.resume(one, "go on")
    assert engine.wait("i")["output"] == '"parked"'
    assert engine.wait("s")["output"] == '"awake"'


def test_instance_can_be_suspended_before_its_first_step(functions: PlainFunctions) -> None:
    """A suspension that arrives together with the start holds back the first activity."""
    functions.orchestrators["caller"] = lambda context: (yield context.call_activity("same", 1))
    engine = Engine(":memory:", functions, VirtualClock())
    engine.start_instance("caller", "i", None)
    engine.suspend("i", None)
    engine.start()
    assert status(engine) == "Suspended"
    engine.resume("i", None)
    assert engine.wait("i")["status"] == "Completed"
    engine.stop()


def test_resuming_what_is_not_suspended_changes_nothing(engine: Engine) -> None:
    """Resume is harmless on a running instance."""
    engine.start_instance("waiter", "i", None)
    engine.resume("i", None)
    assert status(engine) == "Running"


@pytest.mark.parametrize("suspended", [False, True])
def test_terminated_instance_ends_with_the_reason_and_ignores_the_rest(engine: Engine, suspended: bool) -> None:
    """Terminate ends an instance at once, also while suspended; its timer and later events are dropped."""
    engine.start_instance("sleeper", "i", None)
    engine.settle()
    if suspended:
        engine.suspend("i", None)
        engine.settle()
    engine.terminate("i", "not needed")
    ended = engine.wait("i")
    assert (ended["status"], ended["output"]) == ("Terminated", "not needed")
    engine.raise_event("i", "go", "1")
    engine.advance(2 * HOUR)
    assert engine.get("i") == ended


def test_termination_does_not_run_the_orchestrator_again(engine: Engine, functions: PlainFunctions) -> None:
    """Not even an orchestrator that can no longer be run keeps an instance from being terminated."""
    engine.start_instance("sleeper", "i", None)
    engine.settle()
    functions.orchestrators["sleeper"] = lambda context: 1 / 0
    engine.terminate("i", "broken")
    assert engine.wait("i")["status"] == "Terminated"


def test_parent_sees_a_terminated_child_as_failed(engine: Engine, functions: PlainFunctions) -> None:
    """The reason of the termination is what the parent's call raises."""

    def parent(context: Any) -> Steps:
        try:
            yield context.call_sub_orchestrator("sleeper", None, "child")
        except Exception as error:
            return str(error)

    functions.orchestrators["parent"] = parent
    engine.start_instance("parent", "i", None)
    engine.settle()
    engine.terminate("child", "enough")
    assert json.loads(engine.wait("i")["output"] or "") == "enough \n None"


def test_terminated_parent_leaves_its_child_running(engine: Engine, functions: PlainFunctions) -> None:
    """As on Azure Storage, termination does not spread to children."""

    def parent(context: Any) -> Steps:
        yield context.call_sub_orchestrator("sleeper", None, "child")

    functions.orchestrators["parent"] = parent
    engine.start_instance("parent", "i", None)
    engine.settle()
    engine.terminate("i", None)
    engine.wait("i")
    assert status(engine, "child") == "Running"
    engine.advance(HOUR)
    assert engine.wait("child")["status"] == "Completed"


# Purge, rewind, query


def test_only_ended_instances_are_purged(engine: Engine) -> None:
    """Purge deletes instance and history of a terminal instance, and nothing else."""
    engine.start_instance("echo", "done", None)
    engine.start_instance("waiter", "busy", None)
    engine.settle()
    assert (engine.purge("done"), engine.purge("busy"), engine.purge("nobody")) == (1, 0, 0)
    assert (engine.get("done"), engine.history("done")) == (None, [])
    assert status(engine, "busy") == "Running"


def test_rewound_instance_repeats_only_what_failed(engine: Engine) -> None:
    """After a rewind a failed activity runs again, one that succeeded does not, also in a failed child."""
    ran: list[str] = []
    broken = {"broken": True}

    def parent(context: Any) -> Steps:
        yield context.call_activity("note", "parent")
        return (yield context.call_sub_orchestrator("child", None, "child"))

    def child(context: Any) -> Steps:
        yield context.call_activity("note", "child")
        return (yield context.call_activity("fragile", None))

    def fragile(_: None) -> str:
        if broken:
            raise RuntimeError("down")
        return "up again"

    functions = PlainFunctions({"parent": parent, "child": child}, {"note": ran.append, "fragile": fragile})
    with running(functions) as engine:
        engine.start_instance("parent", "i", None)
        assert engine.wait("i")["status"] == "Failed"
        broken.clear()
        engine.rewind("i", "it is up again")
        assert (engine.wait("i")["status"], engine.wait("i")["output"]) == ("Completed", '"up again"')
        assert engine.wait("child")["status"] == "Completed"
    assert ran == ["parent", "child"]


def test_rewind_starts_a_purged_child_anew() -> None:
    """A failed child that is gone is created again."""
    broken = {"broken": True}

    def parent(context: Any) -> Steps:
        return (yield context.call_sub_orchestrator("child", None, "child"))

    def child(context: Any) -> str:
        if broken:
            raise RuntimeError("down")
        return "up"

    with running(PlainFunctions({"parent": parent, "child": child})) as engine:
        engine.start_instance("parent", "i", None)
        engine.wait("i")
        engine.purge("child")
        broken.clear()
        engine.rewind("i", None)
        assert engine.wait("i")["output"] == '"up"'


def test_rewind_after_exhausted_retries_is_told_to_be_impossible() -> None:
    """Retry timers stay in the history, so the instance fails again, with a reason."""

    def main(context: Any) -> Steps:
        yield context.call_activity_with_retry("bad", df.RetryOptions(1000, 1))

    with running(PlainFunctions({"main": main}, {"bad": lambda _: 1 / 0})) as engine:
        engine.start_instance("main", "i", None)
        engine.wait("i")
        engine.rewind("i", None)
        assert "Non-Deterministic" in str(engine.wait("i")["output"])


def test_only_failed_instances_are_rewound(engine: Engine) -> None:
    """Rewinding one that completed, or none at all, raises NotFailed."""
    engine.start_instance("echo", "i", None)
    engine.wait("i")
    for one in ("i", "nobody"):
        with pytest.raises(NotFailed, match="has not failed"):
            engine.rewind(one, None)


def test_query_filters_by_status_time_and_prefix_and_pages(engine: Engine) -> None:
    """Every given condition holds, results are in order of creation, and pages do not overlap."""
    engine.start_instance("echo", "a-1", None)
    engine.advance(HOUR)
    engine.start_instance("waiter", "a-2", None)
    engine.advance(HOUR)
    engine.start_instance("echo", "A-3", None)
    engine.start_instance("echo", "a%4", None)
    engine.settle()

    def ids(**conditions: Any) -> list[str]:
        return [one["instance_id"] for one in engine.query(**conditions)]

    created = {one["instance_id"]: parse_iso(one["created"]) for one in engine.query()}
    assert ids() == ["a-1", "a-2", "A-3", "a%4"]
    assert ids(statuses=["Completed"]) == ["a-1", "A-3", "a%4"]
    assert ids(statuses=["Completed", "Running"], prefix="a-") == ["a-1", "a-2"]
    assert ids(prefix="a%") == ["a%4"]
    assert ids(created_from=created["a-2"]) == ["a-2", "A-3", "a%4"]
    assert ids(created_to=created["a-2"]) == ["a-1", "a-2"]
    assert [ids(top=3, skip=0), ids(top=3, skip=3)] == [["a-1", "a-2", "A-3"], ["a%4"]]
