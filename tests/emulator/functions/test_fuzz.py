"""Random orchestrators: the host numbers their tasks exactly as the SDK does, in every episode."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
import pytest

from emulator.functions import drift
from emulator.functions.clock import VirtualClock
from emulator.functions.engine import Engine
from emulator.functions.protocol import read_answer
from emulator.functions.replay import Replay
from emulator.functions.testing import PlainFunctions

PROGRAMS = 300
SHORT = timedelta(days=5)  # below the 6 days from which the SDK splits a timer


class Compared(PlainFunctions):
    """Replays every answer of a random orchestrator anew and compares the numbers with the SDK's."""

    def __init__(self) -> None:
        """Serve the random orchestrators and what they call."""
        super().__init__(
            {"child": child, "flaky_child": flaky_child, **{f"p{n}": program(n) for n in range(PROGRAMS)}},
            {"step": lambda given: given["n"], "flaky": self.flaky, "shout": self.shout},
            {"sum": add},
        )
        self.engine: Engine
        self.compared = 0
        self.mismatches: list[str] = []
        self._attempts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def orchestrator(self, name: str, context_json: str) -> str:
        """Run an episode and compare, unless user code has ended: then the SDK reads no further."""
        text = super().orchestrator(name, context_json)
        answer, seen = read_answer(text), drift.last_seen()
        if not answer.ended and seen is not None:
            history = json.loads(context_json)["history"]
            replay = Replay(history[1]["OrchestrationInstance"]["ExecutionId"], answer.actions)
            for event in history:
                replay.process(event)
            self.compared += 1
            if drift.host_view(replay) != seen:
                self.mismatches.append(f"{name}: SDK {seen}, host {drift.host_view(replay)}")
        return text

    def flaky(self, given: dict[str, Any]) -> int:
        """Fail until the attempt that shall succeed."""
        with self._lock:
            self._attempts[given["key"]] += 1
            attempt = self._attempts[given["key"]]
        if attempt < given["succeeds"]:
            raise RuntimeError("not yet")
        return int(given["n"])

    def shout(self, given: dict[str, str]) -> None:
        """Raise an external event from outside, before or after its wait as it happens."""
        self.engine.raise_event(given["instance"], given["event"], '"hello"')


def program(seed: int) -> Callable[[Any], Generator[Any, Any, list[str]]]:
    """Build the random orchestrator of one seed; what the contract names as breaking on Azure does not occur in it."""

    def run(context: Any) -> Generator[Any, Any, list[str]]:
        dice = random.Random(seed)
        may_retry = dice.random() < 0.7  # a cancelled timer beside pending retries drifts, see test_drift
        given = context.get_input() or {"round": 0}
        options = df.RetryOptions(dice.choice([10, 1000]), 5)
        events = iter(range(1000))

        def leaf() -> Any:
            kinds = ["step", "step", "timer", "child", "entity", "event"]
            kind = dice.choice(kinds + ["retry", "retry child"] * may_retry)
            n = dice.randrange(10**6)
            again = {"n": n, "key": f"{context.instance_id}-{n}", "succeeds": dice.randint(1, 5)}
            if kind == "retry":
                return context.call_activity_with_retry("flaky", options, again)
            if kind == "retry child":
                return context.call_sub_orchestrator_with_retry("flaky_child", options, again)
            if kind == "timer":
                seconds = dice.choice([1, 60, SHORT.total_seconds()])
                return context.create_timer(context.current_utc_datetime + timedelta(seconds=seconds))
            if kind == "child":
                return context.call_sub_orchestrator("child", {"n": n})
            if kind == "entity":
                return context.call_entity(df.EntityId("sum", "all"), "add", 1)
            if kind == "event":
                name = f"e{given['round']}-{next(events)}"
                shout = context.call_activity("shout", {"instance": context.instance_id, "event": name})
                return context.task_all([shout, context.wait_for_external_event(name)])
            return context.call_activity("step", {"n": n})

        def tree(depth: int) -> Any:
            if depth == 0 or dice.random() < 0.5:
                return leaf()
            return context.task_all([tree(depth - 1) for _ in range(dice.randint(1, 3))])

        done: list[str] = []
        for _ in range(dice.randint(1, 5)):
            choice = dice.random()
            if dice.random() < 0.15:
                context.signal_entity(df.EntityId("sum", "all"), "add", 1)
            if choice < 0.45:
                yield tree(2)
            elif choice < 0.65:
                yield context.task_any([leaf() for _ in range(dice.randint(1, 4))])
            elif choice < 0.8 and not may_retry:
                timer = context.create_timer(context.current_utc_datetime + SHORT)
                winner = yield context.task_any([leaf(), timer])
                if winner is not timer:
                    timer.cancel()
            else:
                tasks = [leaf() for _ in range(3)]
                yield context.task_all(tasks)
                yield tasks[1]  # a task that is done already
            done.append(context.current_utc_datetime.isoformat())
        if given["round"] < seed % 3:
            context.continue_as_new({"round": given["round"] + 1})
        return done

    return run


def child(context: Any) -> Generator[Any, Any, Any]:
    """Call one activity."""
    return (yield context.call_activity("step", context.get_input()))


def flaky_child(context: Any) -> Generator[Any, Any, Any]:
    """Call one activity that may fail, and fail with it."""
    return (yield context.call_activity("flaky", context.get_input()))


def add(context: Any) -> None:
    """Add to a sum."""
    total = context.get_state(lambda: 0) + context.get_input()
    context.set_state(total)
    context.set_result(total)


@pytest.mark.slow
@pytest.mark.parametrize(("cached_histories", "seeds"), [(256, range(0, PROGRAMS, 2)), (0, range(1, PROGRAMS, 2))])
def test_random_orchestrators_are_numbered_as_the_sdk_numbers_them(
    cached_histories: int, seeds: range, caplog: pytest.LogCaptureFixture
) -> None:
    """All complete, no episode's numbers differ from the SDK's, and none is said to drift, also with no cache."""
    functions = Compared()
    engine = Engine(":memory:", functions, VirtualClock(), max_activities=4, cached_histories=cached_histories)
    functions.engine = engine.start()
    try:
        for seed in seeds:
            engine.start_instance(f"p{seed}", f"p{seed}", None)
        for _ in range(20):  # a program has at most 3 rounds of 5 steps of 5 days
            engine.advance(timedelta(days=5), timeout=60)
        ends = Counter(instance["status"] for instance in engine.query(prefix="p"))
    finally:
        engine.stop()
    assert functions.mismatches == []
    assert ends == {"Completed": len(seeds)}
    assert functions.compared > 10 * len(seeds)
    assert "Drift" not in caplog.text
    assert "deterministic" not in caplog.text
