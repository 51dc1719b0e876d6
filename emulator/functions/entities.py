"""One batch of operations on one entity: context JSON out, answer in, a reply for each caller.

Operations of one entity run one after the other, in the order of their arrival, as many as are waiting at once; the
engine stores the new state and sends the replies in the transaction that takes the operations off the queue.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass

from .store import Operation

log = logging.getLogger("reelkeeper.functions.entities")


@dataclass(frozen=True)
class Reply:
    """An answer to a caller; `response` is the JSON text that the waiting orchestrator's SDK reads."""

    operation: Operation
    response: str


@dataclass(frozen=True)
class BatchResult:
    """The state after a batch (JSON text, None when the entity is deleted) and the replies to send."""

    state: str | None
    replies: list[Reply]


def entity_context(entity_id: str, state: str | None, operations: list[Operation]) -> str:
    """Build the `context` argument of an entity function; `entity_id` is `@name@key`."""
    name, key = split_id(entity_id)
    return json.dumps(
        {
            "self": {"name": name, "key": key},
            "exists": state is not None,
            "state": state,
            "batch": [{"name": one.name, "input": one.input, "isSignal": not one.request_id} for one in operations],
        }
    )


def run_batch(
    entity_id: str, state: str | None, operations: list[Operation], call: Callable[[str, str], str]
) -> BatchResult:
    """Run `operations` by `call(name, context_json)`; if that fails as a whole, every caller gets the error."""
    try:
        answer = json.loads(call(split_id(entity_id)[0], entity_context(entity_id, state, operations)))
        results = [(one["result"], bool(one["isError"])) for one in answer["results"]]
        new_state = answer["entityState"] if answer["entityExists"] else None
        replies = [
            Reply(operation, response_json(*result))
            for operation, result in zip(operations, results, strict=True)
            if operation.request_id
        ]
    except BaseException as failure:  # even SystemExit of user code must not end the dispatcher
        names = sorted({one.name for one in operations})
        log.error("Entity '%s' failed on %s, its state is unchanged: %r", entity_id, names, failure, exc_info=failure)
        text = json.dumps(f"{type(failure).__name__}: {failure}")
        return BatchResult(state, [Reply(one, response_json(text, True)) for one in operations if one.request_id])
    return BatchResult(new_state, replies)


def response_json(result: str, failed: bool) -> str:
    """Build a reply; to the SDK the mere presence of `exceptionType` says that the operation failed."""
    return json.dumps({"result": result, **({"exceptionType": "Error"} if failed else {})})


def split_id(entity_id: str) -> tuple[str, str]:
    """Return name and key of `@name@key`. Raises ValueError when it is none."""
    parts = entity_id.split("@", 2)
    if len(parts) != 3 or parts[0] or not parts[1]:
        raise ValueError(f"'{entity_id}' is not an entity id: it must look like @name@key.")
    return parts[1], parts[2]
