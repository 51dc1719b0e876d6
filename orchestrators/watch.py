"""watch: wait for the provider's task to end.

1. A durable timer, as long as the last look asked for.
2. poll: one look. What it returns is the input of the next round, or the answer to `render`.
3. After some twenty polls, continue as new: replay costs grow with the square of the history.

A job that holds a place at a gate says once in each run that it is still there, and before an unusually long wait.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df

from orchestrators.retry import RETRY
from reelkeeper import policy

USUAL_WAIT = 30.0
"""Only a Retry-After makes a wait longer than this."""


def watch(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any] | None]:
    work: dict[str, Any] = context.get_input()
    gate = {"gate": work["gate"]} if work.get("gate") else {}
    for number in range(policy.POLLS_PER_RUN):
        seconds = work.get("seconds", policy.poll_interval(0))
        if gate and (number == 0 or seconds > USUAL_WAIT):
            said = {
                "owner": work["owner"],
                "job_id": work["job_id"],
                "seconds": seconds + policy.POLLS_PER_RUN * USUAL_WAIT,
            }
            context.signal_entity(df.EntityId("gate", gate["gate"]), "stay", said)
        yield context.create_timer(context.current_utc_datetime + timedelta(seconds=seconds))
        answer = yield context.call_activity_with_retry("poll", RETRY, work)
        work = {**answer, **gate}
        if work["next"] != "poll":
            return work
    context.continue_as_new(work)
    return None
