"""The entity `gate` as the host calls it: a batch of operations on a state; whatever comes, it answers."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import azure.durable_functions as df
import pytest

from entities.gate import LATER, keep_gate
from reelkeeper.providers.base import Terms
from reelkeeper.settings import Settings

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=timezone.utc)
JOB = {"owner": "ada", "job_id": "one"}
OTHER = {"owner": "bob", "job_id": "two"}


def run(
    state: str | None, *batch: tuple[str, Any], running: int = 1, key: str = "sora", weights: str = ""
) -> Any:  # fmt: skip
    """(the new state as JSON text, the answers) of a batch of (operation, input)."""
    env = {"AzureWebJobsStorage": "UseDevelopmentStorage=true", "OWNER_WEIGHTS": weights}
    providers = {"sora": SimpleNamespace(terms=Terms(running))}
    services: Any = SimpleNamespace(providers=providers, now=lambda: NOW, settings=Settings.from_environment(env))
    operations = [
        {"name": name, "input": None if said is None else json.dumps(json.dumps(said)), "isSignal": False}
        for name, said in batch
    ]
    context = {"self": {"name": "gate", "key": key}, "exists": state is not None, "state": state, "batch": operations}
    answer = json.loads(df.Entity.create(lambda context: keep_gate(services, context))(json.dumps(context)))
    assert [one["isError"] for one in answer["results"]] == [False] * len(batch)
    return answer["entityState"], [json.loads(one["result"]) for one in answer["results"]]


def test_operations_of_a_batch_follow_each_other() -> None:
    """Each sees what the one before has done, and the state comes back as text that the next batch begins with."""
    state, answers = run(None, ("ask", JOB), ("stay", {**JOB, "seconds": 600}), ("ask", OTHER))
    assert [answer and answer["admitted"] for answer in answers] == [True, None, False]
    state, answers = run(state, ("back", {**JOB, "code": "provider_error", "seconds": 5}), ("leave", JOB))
    assert answers == [None, None]
    state, answers = run(state, ("ask", OTHER), ("ask", JOB))
    assert [answer["admitted"] for answer in answers] == [True, False]
    assert list(json.loads(state)["leases"]) == ["two"]


def test_the_limits_are_those_of_the_settings_now() -> None:
    """Nothing of them is in the state; a provider that is not configured has none, and create says so to the job."""
    state, answers = run(None, *[("ask", {"owner": "ada", "job_id": f"{n}"}) for n in range(3)])
    assert [answer["admitted"] for answer in answers] == [True, False, False]
    _, answers = run(state, ("ask", {"owner": "ada", "job_id": "1"}), running=2)
    assert answers == [{"admitted": True}]
    _, answers = run(state, ("ask", {"owner": "ada", "job_id": "2"}), key="gone")
    assert answers == [{"admitted": True}]


@pytest.mark.parametrize(
    ("weights", "order"),
    [("", "abababababab"), ('{"ann": 3}', "aaabaaabaaab"), ('{"bob": 2, "ann": 1}', "abbabbabbabb")],
)
def test_owners_have_as_many_turns_in_a_row_as_the_settings_say(weights: str, order: str) -> None:
    """Two owners always wait; each operation is a batch of its own, with the settings of that moment."""
    jobs = [{"owner": owner, "job_id": f"{owner}-{n:02}"} for n in range(12) for owner in ("ann", "bob")]
    state, _ = run(None, ("ask", JOB), *[("ask", job) for job in jobs], weights=weights)
    before, found = JOB, ""
    for _ in order:
        state, _ = run(state, ("leave", before), weights=weights)
        state, answers = run(state, *[("ask", job) for job in jobs], weights=weights)
        (before,) = [job for job, answer in zip(jobs, answers, strict=True) if answer["admitted"]]
        jobs.remove(before)
        found += before["owner"][0]
    assert found == order


def test_a_waived_job_leaves_no_trace() -> None:
    """Nor does one that the gate has never heard of."""
    empty, _ = run(None, ("leave", JOB))
    state, answers = run(None, ("ask", JOB), ("waive", JOB), ("waive", OTHER))
    assert (answers[1:], json.loads(state)) == ([None, None], json.loads(empty))


@pytest.mark.parametrize("state", ['"text"', "[1]", '{"lines": 3}', '{"heard": "x"}', '{"leases": {"a": [1]}}'])
def test_a_state_that_cannot_be_read_is_begun_anew(state: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of a later version, or spoiled: the running jobs make themselves known again, and the log tells."""
    after, answers = run(state, ("ask", JOB))
    assert answers == [{"admitted": True}]
    assert list(json.loads(after)["leases"]) == ["one"]
    assert "gate sora: its state cannot be read; it begins anew" in caplog.text


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ("ask", None),
        ("ask", {}),
        ("ask", "one"),
        ("stay", JOB),
        ("back", JOB),
        ("sing", JOB),
    ],
)
def test_an_operation_that_makes_no_sense_changes_nothing(operation: str, said: Any) -> None:
    """It is answered all the same, since an error would fail the orchestration that asked."""
    state, _ = run(None, ("ask", JOB), ("ask", OTHER))
    after, answers = run(state, (operation, said), ("ask", JOB))
    assert answers == [LATER, {"admitted": True}]
    assert json.loads(after)["lines"] == json.loads(state)["lines"]
