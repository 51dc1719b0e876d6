"""render: the whole life of one job.

1. create: submit it to the provider, once. A refusal that time heals: wait, and begin anew.
2. watch: look at the task until it ends. A task that the provider itself failed is created anew the same way.
3. keep: bring every output into the owner's storage, side by side.
4. settle: write down the end, or when the sweep shall try again.

Every step looks at the record first, so this may be started again at any time, by anybody, and finishes what is left.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df

from orchestrators.retry import RETRY


def render(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    job: dict[str, Any] = context.get_input()
    step = yield context.call_activity_with_retry("create", RETRY, job)

    if step["next"] == "watch":
        step = yield context.call_sub_orchestrator("watch", job)

    if step["next"] == "stop":
        return "stopped"

    if step["next"] == "wait":
        yield context.create_timer(context.current_utc_datetime + timedelta(seconds=step["seconds"]))
        context.continue_as_new(job)
        return "waiting"

    if step["next"] == "keep":
        kept = yield context.task_all(
            [context.call_sub_orchestrator("keep", {**job, "index": index}) for index in range(step["outputs"])]
        )
        outcome = {**job, "kept": kept}
    else:
        outcome = {**job, "status": step["status"], "fault": step["fault"]}

    settled = yield context.call_activity_with_retry("settle", RETRY, outcome)
    return str(settled["status"])
