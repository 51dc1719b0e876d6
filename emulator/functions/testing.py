"""Run orchestrators in a test without a host: plain Python functions behind the real SDK.

    functions = PlainFunctions(orchestrators={"render": render}, activities={"create": fake_create})
    engine = Engine(":memory:", functions, VirtualClock()).start()

Orchestrators are the generator functions themselves, undecorated; activities take one value and return one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import azure.functions as func
from azure.durable_functions import Entity, Orchestrator
from azure.functions import meta

from .ports import TriggerKind

_ACTIVITY = func.get_binding_registry().get("activityTrigger")


class PlainFunctions:
    """A set of functions by name, as the engine's `Functions`."""

    def __init__(
        self,
        orchestrators: Mapping[str, Callable[[Any], Any]] | None = None,
        activities: Mapping[str, Callable[[Any], Any]] | None = None,
        entities: Mapping[str, Callable[[Any], None]] | None = None,
    ) -> None:
        """Serve the given functions; the mappings may be changed later."""
        self.orchestrators = dict(orchestrators or {})
        self.activities = dict(activities or {})
        self.entities = dict(entities or {})

    def has(self, kind: TriggerKind, name: str) -> bool:
        """Whether there is such a function."""
        return name in {
            "orchestrationTrigger": self.orchestrators,
            "activityTrigger": self.activities,
            "entityTrigger": self.entities,
        }.get(kind, {})

    def orchestrator(self, name: str, context_json: str) -> str:
        """Run an orchestrator through the SDK."""
        answer: str = Orchestrator.create(self.orchestrators[name])(context_json)
        return answer

    def entity(self, name: str, context_json: str) -> str:
        """Run a batch of operations through the SDK."""
        answer: str = Entity.create(self.entities[name])(context_json)
        return answer

    def activity(self, name: str, input_text: str | None, instance_id: str) -> str | None:
        """Run an activity on a value decoded and encoded as the worker does it."""
        value = _ACTIVITY.decode(meta.Datum("null" if input_text is None else input_text, "json"), trigger_metadata={})
        result: str = _ACTIVITY.encode(self.activities[name](value), expected_type=None).value
        return result
