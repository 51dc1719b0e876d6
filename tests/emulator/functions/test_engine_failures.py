"""What fails, fails loudly, alone, and with words that say what to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from datetime import datetime
from typing import Any

import pytest

from emulator.functions.clock import VirtualClock
from emulator.functions.engine import Engine
from emulator.functions.testing import PlainFunctions, client_input, running

Steps = Generator[Any, Any, Any]


def caller(context: Any) -> Steps:
    """Call the activity that the input names; return the failure it raises."""
    try:
        return (yield context.call_activity(context.get_input(), {"n": 1}))
    except Exception as error:
        return str(error)


def failure(engine: Engine, name: str) -> list[str]:
    """Let `caller` call an activity; return reason and details as the orchestrator sees them."""
    engine.start_instance("caller", None, client_input(name))
    engine.settle()
    output = engine.query()[0]["output"]
    return str(json.loads(output or "")).split(" \n ", 1)


def test_failed_activity_reads_as_on_the_real_host() -> None:
    """Reason has two blanks before type and message; details are a serialized .NET exception with our trace."""

    def bad(given: dict[str, int]) -> None:
        raise ValueError(f"bad {given['n']}")

    with running(PlainFunctions({"caller": caller}, {"bad": bad})) as engine:
        reason, details = failure(engine, "bad")
    assert reason == "Activity function 'bad' failed:  ValueError: bad 1"
    assert json.loads(details)["Message"] == " ValueError: bad 1"
    assert "in bad" in json.loads(details)["StackTraceString"]


def test_unknown_activity_fails_the_task_and_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The orchestrator gets the reason, and the log says that Azure would wait for ever."""
    with running(PlainFunctions({"caller": caller})) as engine:
        reason, _ = failure(engine, "nobody")
    assert reason.endswith("The function 'nobody' doesn't exist, is disabled, or is not an activity function.")
    [record] = [one for one in caplog.records if one.levelname == "ERROR"]
    assert "on Azure it would wait for ever" in record.getMessage()


def test_durable_http_call_says_that_it_is_not_served() -> None:
    """call_http fails with a hint at what to do instead."""

    def main(context: Any) -> Steps:
        try:
            yield context.call_http("GET", "https://example.com")
        except Exception as error:
            return str(error)

    with running(PlainFunctions({"main": main})) as engine:
        engine.start_instance("main", "i", None)
        assert "send the request from an activity" in str(engine.wait("i")["output"])


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_activity_that_tries_to_end_the_process_fails_like_any_other(error: BaseException) -> None:
    """Even exceptions that are no errors come back to the orchestrator."""

    def bad(_: Any) -> None:
        raise error

    with running(PlainFunctions({"caller": caller}, {"bad": bad})) as engine:
        assert type(error).__name__ in failure(engine, "bad")[0]


def test_activity_result_that_is_no_json_fails_the_task() -> None:
    """A result that cannot be encoded is the activity's failure."""
    with running(PlainFunctions({"caller": caller}, {"bad": lambda _: {1, 2}})) as engine:
        assert "json serializable" in failure(engine, "bad")[0]


def test_failed_orchestrator_reads_as_on_the_real_host() -> None:
    """Its output is the raw text, not JSON, and it ends only when its open tasks have ended."""

    def main(context: Any) -> Steps:
        yield context.call_activity("same", 1)
        raise KeyError("missing")

    with running(PlainFunctions({"main": main}, {"same": lambda n: n})) as engine:
        engine.start_instance("main", "i", None)
        ended = engine.wait("i")
    assert (ended["status"], ended["output"]) == ("Failed", "Orchestrator function 'main' failed: 'missing'")


def test_output_that_is_no_json_fails_the_orchestrator() -> None:
    """What cannot be stored is refused by the SDK and ends as a failure."""
    with running(PlainFunctions({"main": lambda context: {1}})) as engine:
        engine.start_instance("main", "i", None)
        ended = engine.wait("i")
    assert (ended["status"], "JSON serializable" in str(ended["output"])) == ("Failed", True)


def test_unknown_child_fails_its_parents_task(caplog: pytest.LogCaptureFixture) -> None:
    """Calling an orchestrator that the app does not have raises at once in the caller, and is logged as an error."""

    def main(context: Any) -> Steps:
        try:
            yield context.call_sub_orchestrator("nobody")
        except Exception as error:
            return str(error)

    with running(PlainFunctions({"main": main})) as engine:
        engine.start_instance("main", "i", None)
        assert "'nobody' doesn't exist" in str(engine.wait("i")["output"])
    assert "could not start sub-orchestration 'nobody'" in caplog.text


@pytest.mark.parametrize(
    ("child_id", "reason"), [("i", "already exists"), ("a/b", "must not contain"), ("@a", "with @")]
)
def test_child_with_an_impossible_id_fails_its_parents_task(child_id: str, reason: str) -> None:
    """A child cannot take the id of a running instance, nor one that Azure refuses."""

    def main(context: Any) -> Steps:
        try:
            yield context.call_sub_orchestrator("main", None, child_id)
        except Exception as error:
            return str(error)

    with running(PlainFunctions({"main": main})) as engine:
        engine.start_instance("main", "i", None)
        assert reason in str(engine.wait("i")["output"])


def test_orchestrator_that_left_the_app_fails_its_instance(caplog: pytest.LogCaptureFixture) -> None:
    """An instance whose function is gone ends as failed, with an error that says how to go on."""
    functions = PlainFunctions({"main": lambda context: (yield context.wait_for_external_event("go"))})
    with running(functions) as engine:
        engine.start_instance("main", "i", None)
        engine.settle()
        functions.orchestrators.clear()
        engine.raise_event("i", "go", None)
        ended = engine.wait("i")
    assert (ended["status"], "'main' doesn't exist" in str(ended["output"])) == ("Failed", True)
    assert "Put it back, or purge the instance" in caplog.text


class Faulty(PlainFunctions):
    """Answers as no SDK would."""

    def __init__(self, answer: str) -> None:
        """Give this answer for the orchestrator `bad`."""
        super().__init__({"bad": lambda context: None, "good": lambda context: "fine"})
        self._answer = answer

    def orchestrator(self, name: str, context_json: str) -> str:
        """Answer."""
        return self._answer if name == "bad" else super().orchestrator(name, context_json)


@pytest.mark.parametrize("answer", ["no json", "{}", '{"isDone": false, "actions": [[{"actionType": 77}]]}'])
def test_failure_of_the_host_itself_fails_that_instance_only(answer: str, caplog: pytest.LogCaptureFixture) -> None:
    """A broken episode ends its instance and its parent's task; it is tried once, and others go on."""

    def parent(context: Any) -> Steps:
        try:
            yield context.call_sub_orchestrator("bad", None, "child")
        except Exception as error:
            return str(error)

    functions = Faulty(answer)
    functions.orchestrators["parent"] = parent
    with running(functions) as engine:
        engine.start_instance("parent", "i", None)
        engine.start_instance("good", "other", None)
        assert "The embedded host failed" in str(engine.wait("i")["output"])
        child = engine.wait("child")
        assert (child["status"], engine.wait("other")["status"]) == ("Failed", "Completed")
        engine.settle()
        assert engine.episodes == 4  # parent twice, child once, other once
    assert caplog.text.count("cannot go on because the host failed") == 1


def test_text_that_no_database_takes_fails_that_instance_only() -> None:
    """A lone surrogate in an error text cannot be stored; the instance still ends."""

    def main(context: Any) -> Steps:
        yield context.call_activity("same", 1)
        raise ValueError("half a pair: \ud800")

    with running(PlainFunctions({"main": main}, {"same": lambda n: n})) as engine:
        engine.start_instance("main", "i", None)
        assert engine.wait("i")["status"] == "Failed"


def test_dispatcher_survives_a_failure_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """What breaks the dispatcher itself is logged, and after a pause it goes on where it was."""

    class Broken(VirtualClock):
        failures = 0

        def now(self) -> datetime:
            if self.failures and threading.current_thread().name == "durable-dispatcher":
                self.failures -= 1
                raise OSError("no clock")
            return super().now()

    clock = Broken()
    with running(PlainFunctions({"main": lambda context: "fine"}), clock=clock) as engine:
        clock.failures = 1
        engine.start_instance("main", "i", None)
        assert engine.wait("i")["output"] == '"fine"'
    assert caplog.text.count("The dispatcher failed; it tries again") == 1


def test_large_custom_status_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    """Over 16 KB in UTF-16 Azure fails the orchestration; 16 KB are fine."""

    def main(context: Any) -> Steps:
        context.set_custom_status("x" * context.get_input()["size"])
        yield context.call_activity("same", 1)
        yield context.call_activity("same", 2)

    with running(PlainFunctions({"main": main}, {"same": lambda n: n})) as engine:
        engine.start_instance("main", "fits", '{"size": 8190}')  # two quotes make it 8,192 characters
        engine.wait("fits")
        assert "custom status" not in caplog.text
        engine.start_instance("main", "large", '{"size": 8191}')
        engine.wait("large")
    assert caplog.text.count("custom status is over 16 KB") == 1


def test_long_history_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    """Over 1,000 events the log advises continue_as_new, once per execution."""

    def main(context: Any) -> Steps:
        yield context.task_all([context.call_activity("same", n) for n in range(600)])
        yield context.call_activity("same", 1)
        yield context.call_activity("same", 2)

    with running(PlainFunctions({"main": main}, {"same": lambda n: n})) as engine:
        engine.start_instance("main", "i", None)
        engine.wait("i")
    assert caplog.text.count("over 1000 events") == 1
