"""GET /api/providers: what can be asked for, where, on which terms. No key, no address beyond the host."""

from __future__ import annotations

from typing import Any

import azure.functions as func

from reelkeeper.providers.abilities import Abilities
from reelkeeper.providers.base import Provider
from reelkeeper.services import Services
from triggers.answers import json_answer


def get_providers(services: Services) -> func.HttpResponse:
    """``{providers: [...]}`` in the configured order; `default` marks the one of its kind that nobody has to name."""
    providers = services.providers.values()
    return json_answer({"providers": [_shown(services, provider) for provider in providers]})


def _shown(services: Services, provider: Provider) -> dict[str, Any]:
    can, terms = provider.abilities, provider.terms
    return {
        "name": provider.name,
        "kind": provider.kind,
        "default": services.default_provider(provider.kind) is provider,
        "dialect": provider.dialect,
        "host": provider.host,
        "model": provider.model,
        "sizes": [f"{width}x{height}" for width, height in can.sizes],
        "other_sizes": str(can.size_rule) if can.size_rule else None,
        "seconds": _seconds(can),
        "max_variants": {f"{width}x{height}": can.variants(width, height) for width, height in can.sizes},
        "max_prompt": can.max_prompt,
        "input_image": can.input_image,
        "output_formats": list(can.formats),
        "qualities": list(can.qualities),
        "backgrounds": list(can.backgrounds),
        "fallback": list(provider.fallback),
        "max_running": terms.max_running,
        "creates_per_minute": terms.creates_per_minute,
        "prices": terms.prices,
        "retires_on": terms.retires_on.isoformat() if terms.retires_on else None,
        "retired": terms.retired(services.now()),
    }


def _seconds(can: Abilities) -> dict[str, int] | list[int] | None:
    """In the form in which `PROVIDERS` takes them; None for images."""
    if not can.seconds:
        return None
    return {"min": can.seconds[0], "max": can.seconds[-1]} if can.any_second else list(can.seconds)
