"""keep: bring one output into the owner's storage. Never raises: its siblings run inside one `task_all`.

1. download it into uncommitted blocks; while the provider says "not yet", wait and try again, two minutes long.
2. store: commit the blocks.
3. The thumbnail of a video the same way, once; that there is none is no error.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df

from orchestrators.retry import RETRY
from reelkeeper import policy
from reelkeeper.model import PIPELINE_FAULT
from reelkeeper.parts import OUTPUT, PICTURES, THUMBNAIL


def keep(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any]]:
    work: dict[str, Any] = context.get_input()
    output = yield from _bring(context, {**work, "part": OUTPUT}, policy.CONTENT_WAITS)
    if "fault" in output:
        return {"index": work["index"], "fault": output["fault"]}
    kept = {"index": work["index"], "clip": output["clip"], "thumbnail": None}
    if output["clip"]["content_type"] in PICTURES:
        return kept
    thumbnail = yield from _bring(context, {**work, "part": THUMBNAIL}, ())
    return {**kept, "thumbnail": thumbnail.get("clip")}


def _bring(
    context: df.DurableOrchestrationContext, work: dict[str, Any], waits: tuple[int, ...]
) -> Generator[Any, Any, dict[str, Any]]:
    try:
        staged = yield context.call_activity_with_retry("download", RETRY, work)
        for seconds in waits:
            if not staged.get("again"):
                break
            pause = timedelta(seconds=max(seconds, staged["retry_after"]))
            yield context.create_timer(context.current_utc_datetime + pause)
            staged = yield context.call_activity_with_retry("download", RETRY, work)
        if "fault" in staged:
            return dict(staged)
        stored = yield context.call_activity_with_retry("store", RETRY, {**work, "staged": staged})
        return dict(stored)
    except Exception:
        # an activity that raised is our own failure and told in its log; the sweep comes back to the job
        return {"fault": PIPELINE_FAULT.to_dict()}
