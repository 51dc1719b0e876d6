"""The replay of an action list against a history, rule by rule, without the SDK."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from emulator.functions.protocol import EventType as E
from emulator.functions.protocol import event, iso
from emulator.functions.replay import NonDeterminismError, Replay, UnknownActionError

START = datetime(2025, 1, 1, tzinfo=timezone.utc)
LATER = START + timedelta(hours=1)


def activity(name: str = "step") -> dict[str, Any]:
    """An action that calls an activity."""
    return {"actionType": 0, "functionName": name, "input": "1"}


def with_retry(attempts: int, name: str = "step") -> dict[str, Any]:
    """An action that calls an activity with retries every 5 s."""
    options = {"firstRetryIntervalInMilliseconds": 5000, "maxNumberOfAttempts": attempts}
    return {**activity(name), "actionType": 1, "retryOptions": options}


def timer(at: datetime = LATER, cancelled: bool = False) -> dict[str, Any]:
    """An action that creates a timer."""
    return {"actionType": 5, "fireAt": iso(at), "isCanceled": cancelled}


def wait(name: str) -> dict[str, Any]:
    """An action that waits for an external event."""
    return {"actionType": 6, "externalEventName": name, "reason": "ExternalEvent"}


def child(instance_id: str | None = None) -> dict[str, Any]:
    """An action that calls a sub-orchestration."""
    return {"actionType": 2, "functionName": "child", "input": "1", "instanceId": instance_id, "version": "2"}


def entity(kind: int) -> dict[str, Any]:
    """An action that calls (7) or signals (9) an entity."""
    return {"actionType": kind, "instanceId": "@counter@a", "operation": "add", "input": "1"}


def together(kind: int, *actions: dict[str, Any]) -> dict[str, Any]:
    """A WhenAny (11) or WhenAll (12)."""
    return {"actionType": kind, "compoundActions": list(actions)}


def scheduled(number: int, name: str = "step") -> dict[str, Any]:
    """History: an activity was scheduled."""
    return event(E.TASK_SCHEDULED, START, number, Name=name, Version="", Input='["1"]')


def completed(number: int) -> dict[str, Any]:
    """History: an activity returned."""
    return event(E.TASK_COMPLETED, START, TaskScheduledId=number, Result="1")


def failed(number: int) -> dict[str, Any]:
    """History: an activity failed."""
    return event(E.TASK_FAILED, START, TaskScheduledId=number, Reason="bad", Details="")


def fired(number: int) -> dict[str, Any]:
    """History: a timer fired."""
    return event(E.TIMER_FIRED, START, TimerId=number, FireAt=iso(LATER))


def raised(name: str) -> dict[str, Any]:
    """History: an external event came."""
    return event(E.EVENT_RAISED, START, Name=name, Input="1")


SUSPENDED, RESUMED = event(E.SUSPENDED, START, Reason=None), event(E.RESUMED, START, Reason=None)


def replay(actions: list[dict[str, Any]], *history: dict[str, Any]) -> Replay:
    """Replay actions against a history that begins as every history does."""
    found = Replay("execution", actions)
    found.live = True
    for one in (event(E.ORCHESTRATOR_STARTED, START), event(E.EXECUTION_STARTED, START), *history):
        found.process(one)
    return found


def pending(found: Replay) -> list[tuple[int, str]]:
    """The new work: numbers and names or kinds."""
    return [(one.id, one.name or one.kind) for one in found.pending.values()]


def test_actions_are_invoked_one_after_the_other() -> None:
    """The second action gets its number only when the first one's task is done."""
    assert pending(replay([activity("a"), activity("b")])) == [(0, "a")]
    assert pending(replay([activity("a"), activity("b")], scheduled(0, "a"), completed(0))) == [(1, "b")]


def test_when_all_waits_for_all_even_after_a_failure() -> None:
    """The action after a WhenAll waits for the last of its tasks, also when one has failed."""
    actions = [together(12, activity("a"), activity("b")), activity("c")]
    history = [scheduled(0, "a"), scheduled(1, "b"), failed(0)]
    assert pending(replay(actions, *history)) == []
    assert pending(replay(actions, *history, completed(1))) == [(2, "c")]


def test_when_any_goes_on_with_the_first() -> None:
    """The action after a WhenAny is invoked when one task is done; the loser stays open."""
    found = replay([together(11, activity("a"), timer()), activity("b")], scheduled(0, "a"), fired(1))
    assert pending(found) == [(1, "timer"), (2, "b")]
    assert sorted(found.open) == [0, 2]


def test_nested_compound_actions_are_numbered_depth_first() -> None:
    """Children take their numbers in the order in which they are written, depth first."""
    found = replay([together(12, activity("a"), together(11, timer(), activity("b")), activity("c"))])
    assert pending(found) == [(0, "a"), (1, "timer"), (2, "b"), (3, "c")]


def test_retry_takes_numbers_only_as_attempts_fail() -> None:
    """A failure creates a timer at now plus the interval, its firing the next attempt, and success ends it."""
    history = [scheduled(0), failed(0)]
    found = replay([with_retry(3), activity("next")], *history)
    assert [(one.id, one.fire_at) for one in found.pending.values()] == [(1, START + timedelta(seconds=5))]
    history += [event(E.TIMER_CREATED, START, 1, FireAt=iso(START + timedelta(seconds=5))), fired(1)]
    assert pending(replay([with_retry(3), activity("next")], *history)) == [(2, "step")]
    history += [scheduled(2), completed(2)]
    assert pending(replay([with_retry(3), activity("next")], *history)) == [(3, "next")]


def test_retry_ends_with_a_dummy_timer_that_is_due_at_once() -> None:
    """After the last failure one more timer is created, due now; only its firing fails the task."""
    history = [scheduled(0), failed(0)]
    found = replay([with_retry(1), activity("next")], *history)
    assert [(one.id, one.kind, one.fire_at) for one in found.pending.values()] == [(1, "timer", START)]
    history += [event(E.TIMER_CREATED, START, 1, FireAt=iso(START)), fired(1)]
    assert pending(replay([with_retry(1), activity("next")], *history)) == [(2, "next")]


def test_child_gets_its_own_id_or_one_from_the_execution_and_number() -> None:
    """Without an instance id a child is called after its parent's execution id and its number."""
    found = replay([together(12, child("mine"), child())])
    assert [(one.target, one.version) for one in found.pending.values()] == [("mine", "2"), ("execution:1", "2")]


def test_cancelled_timer_takes_a_number_but_is_not_open() -> None:
    """A cancelled timer is created, done at once, and does not keep the instance alive."""
    found = replay([timer(cancelled=True), activity("next")])
    assert pending(found) == [(0, "timer"), (1, "next")]
    assert (sorted(found.open), found.cancelled_timers) == ([1], {0})


def test_waits_for_events_take_no_number_and_are_not_open() -> None:
    """An event wait keeps the list from going on, but does not count as an open task."""
    found = replay([wait("go"), activity()])
    assert (found.next_id, found.open, found.finished) == (0, {}, False)


def test_events_are_matched_last_wait_first_and_first_event_first() -> None:
    """Of several waits the youngest gets an event; of several buffered events the eldest is taken."""
    found = replay([together(11, wait("go"), wait("go"))])
    young = found.waits["go"][1]
    found.process(raised("go"))
    assert young.done
    assert len(found.waits["go"]) == 1
    assert list(replay([timer(), wait("go")], raised("GO"), raised("Go")).buffered["go"]) == ["GO", "Go"]


def test_events_are_matched_without_case_and_the_difference_is_told() -> None:
    """The host takes `GO` for `go` as .NET does, and says that the SDK will not."""
    found = replay([wait("go"), activity("next")], raised("GO"))
    assert pending(found) == [(0, "next")]
    assert "Write the name in the same way" in found.remarks[0]


def test_event_after_continue_as_new_is_carried_and_an_earlier_one_is_not() -> None:
    """Only what arrives after the orchestrator asked for a new execution goes to that one."""
    late = raised("late")
    found = replay([timer(START), {"actionType": 4, "input": '"x"'}], raised("early"), fired(0), late)
    assert (found.continues_as_new, found.new_input, found.carried) == (True, '"x"', [late])


def test_entity_call_waits_for_its_request_id_and_a_signal_does_not() -> None:
    """Both take a number; the call goes on with the answer, the signal at once."""
    found = replay([entity(9), entity(7), activity("next")])
    signal, call = found.pending.values()
    assert (signal.id, signal.signal, call.id, call.signal) == (0, True, 1, False)
    found.process(raised(call.request_id))
    assert pending(found)[2:] == [(2, "next")]


def test_http_call_is_an_activity_with_its_builtin_name() -> None:
    """A durable HTTP call is numbered as the built-in activity."""
    found = replay([{"actionType": 8, "httpRequest": {"method": "GET"}}])
    assert pending(found) == [(0, "BuiltIn::HttpActivity")]
    assert json.loads(str(found.pending[0].input)) == {"method": "GET"}


def test_unknown_action_is_refused() -> None:
    """An action type that the extension does not know is an error, not skipped."""
    with pytest.raises(UnknownActionError, match="action type 99"):
        replay([{"actionType": 99}])


def test_suspension_parks_events_and_new_work_until_it_ends() -> None:
    """While suspended nothing completes and nothing is scheduled; resuming applies both in order."""
    found = replay([activity("a"), activity("b")], scheduled(0, "a"), SUSPENDED, completed(0))
    assert (found.suspended, pending(found)) == (True, [])
    found.process(RESUMED)
    assert (found.suspended, pending(found)) == (False, [(1, "b")])


def test_work_that_was_not_confirmed_before_a_suspension_comes_back() -> None:
    """An action of the very episode that suspends is not lost."""
    found = replay([activity("a")], SUSPENDED)
    assert pending(found) == []
    found.process(RESUMED)
    assert pending(found) == [(0, "a")]


@pytest.mark.parametrize(
    ("actions", "history", "text"),
    [
        (
            [activity("b")],
            scheduled(0, "a"),
            "scheduled activity 'a' with sequence number 0, .* scheduled activity 'b'",
        ),
        ([timer()], scheduled(0, "a"), "activity 'a' .* scheduled a timer"),
        ([activity("a")], event(E.TIMER_CREATED, START, 0, FireAt=iso(LATER)), "a timer .* scheduled activity 'a'"),
        (
            [child()],
            event(E.EVENT_SENT, START, 0, Name="op", Input="{}"),
            "entity message .* sub-orchestration 'child'",
        ),
        ([], event(E.SUB_CREATED, START, 0, Name="child", InstanceId="x"), "'child' .* has not \\(yet\\) scheduled"),
    ],
)
def test_history_that_the_actions_do_not_confirm_is_non_determinism(
    actions: list[dict[str, Any]], history: dict[str, Any], text: str
) -> None:
    """Kind and name must be those of the history, and the message says what was and what is."""
    with pytest.raises(NonDeterminismError, match=f"^Non-Deterministic workflow detected: .*{text}"):
        replay(actions, history)


def test_names_of_activities_are_compared_without_case() -> None:
    """As on the real host, `Step` confirms `step`."""
    assert pending(replay([activity("Step")], scheduled(0, "step"))) == []


def test_other_input_or_time_on_replay_is_told_but_goes_on() -> None:
    """The real host does not look at them; we say that the orchestrator is not deterministic."""
    found = replay([activity()], event(E.TASK_SCHEDULED, START, 0, Name="step", Version="", Input='["2"]'))
    assert "with another input than the first time" in found.remarks[0]
    found = replay([timer()], event(E.TIMER_CREATED, START, 0, FireAt=iso(START)))
    assert "due at another time" in found.remarks[0]


def test_second_completion_of_a_task_changes_nothing() -> None:
    """A duplicate answer, as at-least-once delivery may bring, is ignored."""
    found = replay([activity("a"), activity("b")], scheduled(0, "a"), completed(0), completed(0))
    assert pending(found) == [(1, "b")]
