"""gate: the admission queue of one provider, which is the entity's key. The rules are in `reelkeeper.gate`.

An entity is not replayed: each operation runs once, alone, and its result is what counts. So it may ask the settings
for the provider's limits and the owners' weights as they are now, and the clock. It never raises, since that would fail
the orchestration that asked: a state that cannot be read is begun anew, and an operation that fails leaves the state as
it was.
"""

from __future__ import annotations

import logging
from typing import Any

import azure.durable_functions as df

from reelkeeper.admission import limits_of
from reelkeeper.gate import FAR, Gate
from reelkeeper.services import Services

log = logging.getLogger(__name__)

LATER = {"admitted": False, "seconds": FAR / 1000, "position": 1, "estimate": FAR // 1000}
"""What a job is told when the gate itself fails: come again, for nobody is let in before."""


def keep_gate(services: Services, context: df.DurableEntityContext) -> None:
    """Operations, each with ``{owner, job_id, ...}``:

    ``ask`` -> ``{admitted: true}`` or ``{admitted: false, seconds, position, estimate}``; ``stay`` (with `seconds`),
    ``leave``, ``waive`` and ``back`` (with `code` and `seconds`) -> nothing.
    """
    try:
        gate = _open(services, context)
        answer = _do(gate, context.operation_name, context.get_input())
        context.set_state(gate.state())
    except Exception:
        log.exception("gate %s: %s failed; the gate stays as it was", context.entity_key, context.operation_name)
        answer = LATER
    context.set_result(answer)


def _open(services: Services, context: df.DurableEntityContext) -> Gate:
    limits, now, weights = limits_of(services, context.entity_key), services.now(), services.settings.owner_weights
    try:
        return Gate(limits, now, context.get_state(), weights)
    except Exception:
        log.exception("gate %s: its state cannot be read; it begins anew", context.entity_key)
        return Gate(limits, now)


def _do(gate: Gate, operation: str, said: dict[str, Any]) -> dict[str, Any] | None:
    owner, job_id = str(said["owner"]), str(said["job_id"])
    if operation == "ask":
        return gate.ask(owner, job_id)
    if operation == "stay":
        gate.stay(owner, job_id, said["seconds"])
    elif operation == "leave":
        gate.leave(owner, job_id)
    elif operation == "waive":
        gate.waive(owner, job_id)
    elif operation == "back":
        gate.back(owner, job_id, said["code"], said["seconds"])
    else:
        raise ValueError("there is no such operation")
    return None
