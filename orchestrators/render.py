"""render: the whole life of one job.

1. create: submit it to the provider, once. A refusal that time heals: wait, and begin anew.
   A provider with limits has a gate: ask it first, and wait in line until it lets the job in.
2. watch: look at the task until it ends. A task that the provider itself failed is created anew the same way.
3. Leave the gate: the place is another job's from here on.
4. keep: bring every output into the owner's storage, side by side.
5. settle: write down the end, or when the sweep shall try again.

Every step looks at the record first, so this may be started again at any time, by anybody, and finishes what is left.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df

from orchestrators.retry import RETRY

Steps = Generator[Any, Any, dict[str, Any]]


def render(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    given: dict[str, Any] = context.get_input()
    job = {"owner": given["owner"], "job_id": given["job_id"]}
    step = yield from _create(context, job, given.get("gate"))
    gate = step.get("gate")

    if step["next"] == "watch":
        step = yield context.call_sub_orchestrator("watch", {**job, "gate": gate} if gate else job)

    if gate and step["next"] != "line":
        said = {"code": step.get("code"), "seconds": step.get("seconds", 0)}
        context.signal_entity(df.EntityId("gate", gate), step.get("slot", "leave"), {**job, **said})

    if step["next"] == "stop":
        return "stopped"

    if step["next"] in ("wait", "line"):
        yield context.create_timer(context.current_utc_datetime + timedelta(seconds=step["seconds"]))
        context.continue_as_new({**job, "gate": gate} if step["next"] == "line" else job)
        return "waiting"

    if step["next"] == "keep":
        kept = yield context.task_all(
            [context.call_sub_orchestrator("keep", {**job, "index": index}) for index in range(step["outputs"])]
        )
        outcome = {**job, "kept": kept}
    else:
        outcome = {**job, "status": step["status"], "fault": step["fault"]}
        if "seen" in step:  # not in the history of an earlier version
            outcome["seen"] = step["seen"]

    settled = yield context.call_activity_with_retry("settle", RETRY, outcome)
    return str(settled["status"])


def _create(context: df.DurableOrchestrationContext, job: dict[str, Any], gate: str | None) -> Steps:
    """The answer of create, with the `gate` that was passed; or of admit, while the job stands in line there."""
    if gate is None:
        step = yield context.call_activity_with_retry("create", RETRY, job)
        if step["next"] != "admit":
            return dict(step)
        gate = step["gate"]
    turn = yield context.call_entity(df.EntityId("gate", gate), "ask", job)
    if turn["admitted"]:
        step = yield context.call_activity_with_retry("create", RETRY, {**job, "admitted": gate})
    else:
        step = yield context.call_activity_with_retry("admit", RETRY, {**job, **turn, "gate": gate})
    if step["next"] == "admit":  # at another gate: the job has gone to another provider meanwhile
        step = {"next": "wait", "seconds": 0}
    return {**step, "gate": gate}
