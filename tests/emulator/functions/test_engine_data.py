"""The data file: restart, exclusive use, refusal of what is not ours, and many threads at once."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import pytest

from emulator.functions.clock import VirtualClock
from emulator.functions.engine import AlreadyExists, DataInUseError, DataUnreadableError, Engine
from emulator.functions.testing import PlainFunctions, client_input, running

Steps = Generator[Any, Any, Any]
HOUR = timedelta(hours=1)


def everything(context: Any) -> Steps:
    """An activity, a child, an entity, a timer and an event, one after the other."""
    a = yield context.call_activity("same", "activity")
    b = yield context.call_sub_orchestrator("child", "child")
    c = yield context.call_entity(df.EntityId("keeper", "k"), "set", "entity")
    yield context.create_timer(context.current_utc_datetime + HOUR)
    d = yield context.wait_for_external_event("go")
    return [a, b, c, d]


def child(context: Any) -> Steps:
    """Sleep, then return the input."""
    yield context.create_timer(context.current_utc_datetime + HOUR)
    return context.get_input()


def keeper(context: Any) -> None:
    """Keep the last value."""
    context.set_state(context.get_input())
    context.set_result(context.get_state())


FUNCTIONS = PlainFunctions(
    {"everything": everything, "child": child}, {"same": lambda value: value}, {"keeper": keeper}
)


def test_restarted_engine_goes_on_at_every_step(tmp_path: Path) -> None:
    """Stopped and started between all steps, with nothing in memory, an orchestration still ends right."""
    path, clock = tmp_path / "durable.sqlite", VirtualClock()
    with running(FUNCTIONS, path, clock) as engine:
        engine.start_instance("everything", "i", None)
    for _ in range(4):
        with running(FUNCTIONS, path, clock) as engine:
            engine.advance(HOUR / 2)
    with running(FUNCTIONS, path, clock) as engine:
        engine.raise_event("i", "go", '"event"')
        assert json.loads(engine.wait("i")["output"] or "") == ["activity", "child", "entity", "event"]
        assert engine.entity_state("@keeper@k") == '"entity"'


def test_ended_instances_survive_a_restart(tmp_path: Path) -> None:
    """Results and histories are there for the next process."""
    path = tmp_path / "durable.sqlite"
    functions = PlainFunctions({"main": lambda context: "kept"})
    with running(functions, path) as engine:
        engine.start_instance("main", "i", None)
        ended, history = engine.wait("i"), engine.history("i")
    with running(functions, path) as engine:
        assert (engine.get("i"), engine.history("i")) == (ended, history)


def test_activity_cut_off_by_a_stop_runs_again(tmp_path: Path) -> None:
    """An activity that does not end in time is run again at the next start: at least once."""
    release, runs = threading.Event(), []

    def slow(_: Any) -> str:
        runs.append("run")
        if len(runs) == 1:
            release.wait(10)
        return "done"

    def main(context: Any) -> Steps:
        return (yield context.call_activity("slow", None))

    functions = PlainFunctions({"main": main}, {"slow": slow})
    engine = Engine(tmp_path / "durable.sqlite", functions, VirtualClock()).start()
    engine.start_instance("main", "i", None)
    with pytest.raises(TimeoutError):
        engine.settle(0.1)
    engine.stop(timeout=0.05)
    release.set()
    with running(functions, tmp_path / "durable.sqlite") as engine:
        assert engine.wait("i")["output"] == '"done"'
    assert runs == ["run", "run"]


def test_activity_that_ends_during_a_stop_is_kept(tmp_path: Path) -> None:
    """stop waits for running activities and stores their results: they do not run again."""
    begun, runs = threading.Event(), []

    def slow(_: Any) -> str:
        runs.append("run")
        begun.set()
        threading.Event().wait(0.1)  # work
        return "done"

    def main(context: Any) -> Steps:
        return (yield context.call_activity("slow", None))

    functions = PlainFunctions({"main": main}, {"slow": slow})
    with running(functions, tmp_path / "durable.sqlite") as engine:
        engine.start_instance("main", "i", None)
        assert begun.wait(10)
    with running(functions, tmp_path / "durable.sqlite") as engine:
        assert engine.wait("i")["output"] == '"done"'
    assert runs == ["run"]


def test_second_engine_on_the_same_file_is_refused(tmp_path: Path) -> None:
    """In this process and in another one the file is in use, until the first engine stops."""
    path = tmp_path / "durable.sqlite"
    code = f"from emulator.functions.store import Store; Store({str(path)!r})"
    with running(FUNCTIONS, path):
        with pytest.raises(DataInUseError, match=r"in use by another host\. Stop it or choose another data folder"):
            Engine(path, FUNCTIONS)
        command, root = [sys.executable, "-c", code], Path(__file__).parents[3]
        other = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=30, check=False)
        assert "DataInUseError" in other.stderr
    Engine(path, FUNCTIONS).stop()


def test_file_that_is_not_ours_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Neither another kind of file nor another version's is touched."""
    path = tmp_path / "durable.sqlite"
    path.write_bytes(b"not a database, but somebody's file, long enough to be read as a header" * 20)
    before = path.read_bytes()
    with pytest.raises(DataUnreadableError, match="Move it away or choose another data folder"):
        Engine(path, FUNCTIONS)
    assert path.read_bytes() == before
    newer = tmp_path / "newer.sqlite"
    db = sqlite3.connect(newer)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(DataUnreadableError, match="written by another version"):
        Engine(newer, FUNCTIONS)


def test_notes_survive_a_restart(tmp_path: Path) -> None:
    """remember keeps small texts; the latest counts, and an unknown one is None."""
    path = tmp_path / "durable.sqlite"
    with running(FUNCTIONS, path) as engine:
        engine.remember("timer", "first")
        engine.remember("timer", "second")
    with running(FUNCTIONS, path) as engine:
        assert (engine.recall("timer"), engine.recall("other")) == ("second", None)


def test_engine_is_used_from_many_threads_at_once() -> None:
    """Starts, events, queries and purges from eight threads neither fail nor get lost."""
    errors: list[BaseException] = []

    def main(context: Any) -> Steps:
        got = yield context.wait_for_external_event("go")
        return (yield context.call_activity("same", got))

    with running(PlainFunctions({"main": main}, {"same": lambda value: value})) as engine:

        def client(number: int) -> None:
            try:
                for n in range(10):
                    name = f"{number}-{n}"
                    engine.start_instance("main", name, client_input(n))
                    engine.raise_event(name, "go", json.dumps(name))
                    assert engine.query(prefix=name)
                    assert engine.wait(name)["output"] == json.dumps(name)
                    assert engine.purge(name) == 1
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(60)
        assert errors == []
        assert engine.query() == []


def test_of_many_starts_of_one_id_exactly_one_wins() -> None:
    """Concurrent starts of the same id leave one instance; all others get AlreadyExists."""
    results: list[str] = []
    gate = threading.Barrier(8)

    def main(context: Any) -> Steps:
        yield context.wait_for_external_event("never")

    with running(PlainFunctions({"main": main})) as engine:

        def client() -> None:
            gate.wait(10)
            try:
                results.append(engine.start_instance("main", "i", None))
            except AlreadyExists:
                results.append("refused")

        threads = [threading.Thread(target=client) for _ in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(10)
    assert sorted(results) == ["i", *["refused"] * 7]


def test_wait_for_an_instance_that_never_ends_times_out() -> None:
    """The error says what state it is in, or that there is none."""

    def main(context: Any) -> Steps:
        yield context.wait_for_external_event("never")

    with running(PlainFunctions({"main": main})) as engine:
        engine.start_instance("main", "i", None)
        engine.settle()
        with pytest.raises(TimeoutError, match=r"'i' is Running after 0\.01 s"):
            engine.wait("i", 0.01)
        with pytest.raises(TimeoutError, match="'nobody' does not exist"):
            engine.wait("nobody", 0.01)


def test_stopping_twice_or_before_the_start_is_harmless(tmp_path: Path) -> None:
    """stop may be called at any time, and more than once."""
    engine = Engine(tmp_path / "durable.sqlite", FUNCTIONS)
    engine.stop()
    engine.stop()
