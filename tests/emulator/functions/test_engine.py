"""Orchestrations through the real SDK on virtual time: what each kind of step does."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df

from emulator.functions.engine import Engine
from emulator.functions.protocol import EventType
from emulator.functions.testing import PlainFunctions, client_input, running

Steps = Generator[Any, Any, Any]
HOUR = timedelta(hours=1)


def outcome(engine: Engine, instance_id: str = "i") -> Any:
    """Wait for an instance to complete and decode its output."""
    instance = engine.wait(instance_id)
    assert instance["status"] == "Completed", instance["output"]
    return json.loads(instance["output"]) if instance["output"] is not None else None


def run(main: Any, given: Any = None, hours: int = 0, **functions: Any) -> Any:
    """Run one orchestrator to its end, `hours` of virtual time later, and return its output."""
    with running(PlainFunctions({"main": main, "child": functions.pop("child", None)}, functions)) as engine:
        engine.start_instance("main", "i", client_input(given))
        if hours:
            engine.advance(hours * HOUR)
        return outcome(engine)


def test_chain_of_activities_passes_results_on() -> None:
    """Each activity gets what the one before returned, and the instance returns the last."""

    def main(context: Any) -> Steps:
        number = context.get_input()
        for _ in range(5):
            number = yield context.call_activity("double", number)
        return number

    assert run(main, 3, double=lambda n: 2 * n) == 96


def test_fan_out_keeps_the_order_of_its_results() -> None:
    """task_all returns results in the order of the tasks, whichever finished first, and runs them in parallel."""
    meeting = threading.Barrier(4, timeout=10)

    def main(context: Any) -> Steps:
        return (yield context.task_all([context.call_activity("step", n) for n in range(40)]))

    def step(n: int) -> int:
        if n < 4:
            meeting.wait()  # four at once, or this fails
        return n

    assert run(main, step=step) == list(range(40))


def test_every_json_value_survives_a_round_through_an_activity() -> None:
    """None, numbers, texts, lists and objects come back as they went in."""
    values = [None, True, 0, -1.5, "", "é \u2028 \U0001f600", [], [None, {"a": []}], {}]

    def main(context: Any) -> Steps:
        return (yield context.task_all([context.call_activity("same", value) for value in values]))

    assert run(main, same=lambda value: value) == values


def test_bare_input_works_for_objects_only() -> None:
    """An input that is not wrapped as the client wraps it reads as an object, but breaks as a list: so does Azure's."""
    with running(PlainFunctions({"main": lambda context: context.get_input()})) as engine:
        engine.start_instance("main", "object", '{"n": 4}')
        engine.start_instance("main", "list", "[4]")
        assert outcome(engine, "object") == {"n": 4}
        assert engine.wait("list")["status"] == "Failed"


def test_orchestrator_that_is_no_generator_completes_at_once() -> None:
    """A plain function is a valid orchestrator; no output is no output."""
    assert run(lambda context: None) is None
    assert run(lambda context: {"id": context.instance_id}) == {"id": "i"}


def test_retry_tries_again_after_the_interval() -> None:
    """Two failures and a success take exactly two intervals of virtual time."""
    tries = Counter[str]()

    def main(context: Any) -> Steps:
        begin = context.current_utc_datetime
        yield context.call_activity_with_retry("flaky", df.RetryOptions(60_000, 3))
        return (context.current_utc_datetime - begin).total_seconds()

    def flaky(_: None) -> None:
        tries["flaky"] += 1
        if tries["flaky"] < 3:
            raise RuntimeError("not yet")

    assert run(main, hours=1, flaky=flaky) == 120


def test_retries_that_run_out_fail_with_the_last_error() -> None:
    """After the last attempt the orchestrator sees that attempt's failure, with no further waiting."""
    tries = Counter[str]()

    def main(context: Any) -> Steps:
        begin = context.current_utc_datetime
        try:
            yield context.call_activity_with_retry("bad", df.RetryOptions(60_000, 2))
        except Exception as error:
            return [str(error).split("\n")[0], (context.current_utc_datetime - begin).total_seconds()]

    def bad(_: None) -> None:
        tries["bad"] += 1
        raise RuntimeError(f"no {tries['bad']}")

    assert run(main, hours=1, bad=bad) == ["Activity function 'bad' failed:  RuntimeError: no 2 ", 60]


def test_child_orchestrations_return_and_fail_to_their_parent() -> None:
    """A parent gets its child's output; of a failed child it gets the real host's two texts."""

    def main(context: Any) -> Steps:
        good = yield context.call_sub_orchestrator("child", 1)
        try:
            yield context.call_sub_orchestrator("child", 0)
        except Exception as error:
            return [good, str(error)]

    def child(context: Any) -> Steps:
        yield context.call_activity("same", 1)
        return 1 / context.get_input()

    text = "Orchestrator function 'child' failed: division by zero \n Message: division by zero, StackTrace: "
    assert run(main, child=child, same=lambda n: n) == [1.0, text]


def test_child_with_retry_is_started_again_under_a_new_id() -> None:
    """Every attempt of a child is an instance of its own."""
    seen: list[str] = []

    def main(context: Any) -> Steps:
        return (yield context.call_sub_orchestrator_with_retry("child", df.RetryOptions(1000, 3)))

    def child(context: Any) -> Steps:
        yield context.call_activity("note", context.instance_id)
        if len(set(seen)) < 3:
            raise RuntimeError("again")
        return "third time"

    assert run(main, hours=1, child=child, note=seen.append) == "third time"
    assert len(set(seen)) == 3


def test_child_knows_its_parent_version_and_id() -> None:
    """parent_instance_id, version and a given instance id arrive in the child."""

    def main(context: Any) -> Steps:
        return (yield context.call_sub_orchestrator("child", None, "my-child", "7.1"))

    def child(context: Any) -> list[Any]:
        return [context.parent_instance_id, context.version, context.instance_id]

    assert run(main, child=child) == ["i", "7.1", "my-child"]


def test_child_id_can_be_used_again_once_the_child_has_ended() -> None:
    """The second child of the same id replaces the first."""

    def main(context: Any) -> Steps:
        first = yield context.call_sub_orchestrator("child", 1, "same-id")
        second = yield context.call_sub_orchestrator("child", 2, "same-id")
        return [first, second]

    assert run(main, child=lambda context: context.get_input()) == [1, 2]


def test_version_given_at_the_start_reaches_the_orchestrator() -> None:
    """context.version is what the instance was started with."""
    with running(PlainFunctions({"main": lambda context: context.version})) as engine:
        engine.start_instance("main", "i", None, version="2.0")
        assert outcome(engine) == "2.0"


def test_event_reaches_a_wait_that_came_before_it_and_one_that_comes_later() -> None:
    """External events are kept until the orchestrator waits for them."""

    def main(context: Any) -> Steps:
        first = yield context.wait_for_external_event("first")
        second = yield context.wait_for_external_event("second")
        return [first, second]

    with running(PlainFunctions({"main": main})) as engine:
        engine.start_instance("main", "i", None)
        engine.settle()
        engine.raise_event("i", "second", '{"n": 2}')
        engine.raise_event("i", "first", '"one"')
        assert outcome(engine) == ["one", {"n": 2}]


def test_event_without_waiting_instance_is_dropped() -> None:
    """An event for an id that does not exist yet is not kept for a later instance of that id."""

    def main(context: Any) -> Steps:
        return (yield context.wait_for_external_event("go"))

    with running(PlainFunctions({"main": main})) as engine:
        engine.raise_event("i", "go", "1")
        engine.settle()
        engine.start_instance("main", "i", None)
        engine.settle()
        engine.raise_event("i", "go", "2")
        assert outcome(engine) == 2


def test_task_any_returns_the_first_and_a_cancelled_timer_does_not_hold_up_the_end() -> None:
    """With its timer cancelled the instance ends at once, and the timer never fires."""

    def main(context: Any) -> Steps:
        timer = context.create_timer(context.current_utc_datetime + 24 * HOUR)
        approved = context.wait_for_external_event("approved")
        winner = yield context.task_any([approved, timer])
        if winner is approved:
            timer.cancel()
        return winner is approved

    with running(PlainFunctions({"main": main})) as engine:
        engine.start_instance("main", "i", None)
        engine.settle()
        engine.raise_event("i", "approved", "true")
        assert outcome(engine) is True
        assert EventType.TIMER_FIRED not in [one["EventType"] for one in engine.history("i")]


def test_continue_as_new_starts_over_with_a_fresh_history_and_execution() -> None:
    """Each round sees its own input; history and execution id are new, instance id and creation time stay."""
    executions = set()

    def main(context: Any) -> Steps:
        n = context.get_input()
        yield context.call_activity("note", n)
        if n < 5:
            context.continue_as_new(n + 1)
        return n

    with running(
        PlainFunctions({"main": main}, {"note": lambda n: executions.add(engine.get("i")["execution_id"])})
    ) as engine:
        engine.start_instance("main", "i", client_input(0))
        before = engine.get("i")["created"]
        assert outcome(engine) == 5
        assert len(executions) == 6
        assert engine.get("i")["created"] == before
        assert len(engine.history("i")) == 8  # two episodes and the end


def test_events_that_arrive_while_an_execution_ends_reach_the_next_one() -> None:
    """A loop of wait and continue_as_new loses none of many events, and keeps their order."""

    def main(context: Any) -> Steps:
        got = context.get_input()
        got.append((yield context.wait_for_external_event("item")))
        if len(got) < 30:
            context.continue_as_new(got)
        return got

    with running(PlainFunctions({"main": main})) as engine:
        engine.start_instance("main", "i", client_input([]))
        engine.settle()
        for n in range(30):
            engine.raise_event("i", "item", str(n))
        assert outcome(engine) == list(range(30))


def test_event_is_carried_over_even_if_a_timer_delays_the_new_execution() -> None:
    """An event after continue_as_new is kept while an open task holds the old execution up."""

    def main(context: Any) -> Steps:
        if context.get_input() == "second":
            return (yield context.wait_for_external_event("late"))
        yield context.task_any(
            [context.call_activity("same", 1), context.create_timer(context.current_utc_datetime + HOUR)]
        )
        context.continue_as_new("second")

    with running(PlainFunctions({"main": main}, {"same": lambda n: n})) as engine:
        engine.start_instance("main", "i", None)
        engine.settle()
        engine.raise_event("i", "late", '"kept"')
        engine.settle()
        assert engine.get("i")["status"] == "Running"
        engine.advance(HOUR)
        assert outcome(engine) == "kept"


def test_custom_status_is_shown_while_the_instance_runs_and_after() -> None:
    """The latest truthy status is stored with each episode."""

    def main(context: Any) -> Steps:
        context.set_custom_status({"at": "start"})
        yield context.wait_for_external_event("go")
        context.set_custom_status("end")

    with running(PlainFunctions({"main": main})) as engine:
        engine.start_instance("main", "i", None)
        engine.settle()
        assert json.loads(engine.get("i")["custom_status"]) == {"at": "start"}
        engine.raise_event("i", "go", None)
        engine.wait("i")
        assert json.loads(engine.get("i")["custom_status"]) == "end"


def test_is_replaying_lets_a_message_be_logged_once() -> None:
    """Each step sees is_replaying False exactly once, however often it is replayed."""
    said: list[int] = []

    def main(context: Any) -> Steps:
        for n in range(4):
            if not context.is_replaying:
                said.append(n)
            yield context.call_activity("same", n)

    run(main, same=lambda n: n)
    assert said == [0, 1, 2, 3]


def test_new_uuid_is_the_same_on_every_replay() -> None:
    """Ids made by the context are stable within an instance."""

    def main(context: Any) -> Steps:
        name = context.new_uuid()
        yield context.call_activity("note", name)
        yield context.call_activity("note", name)
        return name

    seen: list[str] = []
    assert run(main, note=seen.append) == seen[0] == seen[1]


def test_history_reads_as_the_real_one_does() -> None:
    """Each episode is framed by OrchestratorStarted and -Completed; new events come before new actions."""

    def main(context: Any) -> Steps:
        yield context.call_activity("same", 1)

    with running(PlainFunctions({"main": main}, {"same": lambda n: n})) as engine:
        engine.start_instance("main", "i", None)
        engine.wait("i")
        assert [EventType(one["EventType"]).name for one in engine.history("i")] == [
            "ORCHESTRATOR_STARTED",
            "EXECUTION_STARTED",
            "TASK_SCHEDULED",
            "ORCHESTRATOR_COMPLETED",
            "ORCHESTRATOR_STARTED",
            "TASK_COMPLETED",
            "ORCHESTRATOR_COMPLETED",
            "EXECUTION_COMPLETED",
        ]


def test_many_orchestrations_do_not_mix_up() -> None:
    """Two hundred instances at once each end with their own result."""

    def main(context: Any) -> Steps:
        n = yield context.call_activity("same", context.get_input())
        return (yield context.call_activity("same", n + 1))

    with running(PlainFunctions({"main": main}, {"same": lambda n: n})) as engine:
        for n in range(200):
            engine.start_instance("main", f"i{n}", client_input(n))
        assert [outcome(engine, f"i{n}") for n in range(200)] == [n + 1 for n in range(200)]
