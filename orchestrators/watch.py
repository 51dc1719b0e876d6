"""watch: wait for the provider's task to end.

1. A durable timer, as long as the last look asked for.
2. poll: one look. What it returns is the input of the next round, or the answer to `render`.
3. After some twenty polls, continue as new: replay costs grow with the square of the history.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df

from orchestrators.retry import RETRY
from reelkeeper import policy


def watch(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any] | None]:
    work: dict[str, Any] = context.get_input()
    for _ in range(policy.POLLS_PER_RUN):
        seconds = work.get("seconds", policy.poll_interval(0))
        yield context.create_timer(context.current_utc_datetime + timedelta(seconds=seconds))
        work = yield context.call_activity_with_retry("poll", RETRY, work)
        if work["next"] != "poll":
            return work
    context.continue_as_new(work)
    return None
