"""Run orchestrators in a test without a host: plain Python functions behind the real SDK.

    with running(PlainFunctions({"render": render}, {"create": fake_create})) as engine:
        engine.start_instance("render", "job-1", client_input({"prompt": "a cat"}))
        engine.advance(timedelta(hours=24))

Orchestrators are the generator functions themselves, undecorated; activities take one value and return one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import azure.functions as func
from azure.durable_functions import Entity, Orchestrator
from azure.functions import meta

from .clock import Clock, VirtualClock
from .engine import Engine
from .ports import Functions, TriggerKind

_ACTIVITY = func.get_binding_registry().get("activityTrigger")  # type: ignore[no-untyped-call]


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


def client_input(value: Any) -> str:
    """Encode an input as the durable client's `start_new` does: JSON text inside a JSON string."""
    return json.dumps(_ACTIVITY.encode(value, expected_type=None).value)


@contextmanager
def running(
    functions: Functions, path: str | Path = ":memory:", clock: Clock | None = None, *, cached_histories: int = 256
) -> Iterator[Engine]:
    """Run an engine on these functions, on virtual time unless a clock is given, and stop it at the end."""
    engine = Engine(path, functions, clock or VirtualClock(), cached_histories=cached_histories).start()
    try:
        yield engine
    finally:
        engine.stop()
