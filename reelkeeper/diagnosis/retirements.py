"""When a provider's model ends: the operator's own date, else the dates that the vendors announced.

The dates are data of 2026-11; `retires_on` of an entry in PROVIDERS overrules them. At Azure a deployment has a name of
its own, so the model's name is recognised only where the deployment is named after it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from reelkeeper.diagnosis.report import Check, bad, good
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.providers.endpoints import AZURE_JOBS, OPENAI_IMAGES, OPENAI_VIDEOS, is_azure, is_openai

SOON = timedelta(days=30)


@dataclass(frozen=True)
class Retirement:
    """`at`: azure or openai. `model`: a pattern of its whole name. `ends`: the last day that was announced."""

    at: str
    dialect: str
    model: str
    ends: date
    what: str


ANNOUNCED = (
    # OpenAI, model page of sora-2 and the SDK's deprecation marks: the models and the whole Videos API
    Retirement("openai", OPENAI_VIDEOS, ".*", date(2026, 9, 24), "OpenAI's Videos API"),
    # Azure's retirement table of early 2026: Sora 1, "no earlier than"; the jobs API served no other model
    Retirement("azure", AZURE_JOBS, ".*", date(2026, 2, 28), "Azure's Sora 1, the only model of its jobs API"),
    # Azure's retirement schedule says 2026-10-15 for the last version of sora-2, LiteLLM's price map 2026-11-02
    Retirement("azure", OPENAI_VIDEOS, "sora.*", date(2026, 11, 2), "Azure's sora-2"),
    # Azure's retirement schedule, September 2026, and the SDK's marks of OpenAI's image models
    Retirement("azure", OPENAI_IMAGES, "dall-?e-?3.*", date(2026, 3, 4), "Azure's dall-e-3"),
    Retirement("openai", OPENAI_IMAGES, "dall-e-[23].*", date(2026, 5, 12), "OpenAI's dall-e"),
    Retirement("azure", OPENAI_IMAGES, "gpt-image-1-mini", date(2027, 4, 7), "Azure's gpt-image-1-mini"),
    Retirement("azure", OPENAI_IMAGES, r"gpt-image-1\.5", date(2027, 6, 16), "Azure's gpt-image-1.5"),
    Retirement("azure", OPENAI_IMAGES, "gpt-image-2", date(2027, 10, 21), "Azure's gpt-image-2"),
    Retirement("azure", OPENAI_IMAGES, "gpt-image-1", date(2026, 10, 23), "Azure's gpt-image-1"),
    Retirement("openai", OPENAI_IMAGES, "gpt-image-1", date(2026, 10, 23), "OpenAI's gpt-image-1"),
)


def retirement_check(name: str, config: ProviderConfig, now: datetime) -> Check:
    """Fails from the day after the last one on; a month before that it warns."""
    fix = f"Choose another model ({config.model_setting}) or another provider."
    if config.terms.retires_on:
        ends, what = config.terms.retires_on, f"provider {config.name} (its retires_on)"
    elif found := announced(config):
        ends, what = found.ends, f"{found.what} (as announced)"
        fix += " If it still lives for you, say so with retires_on in an entry of PROVIDERS."
    else:
        return good(name, "no retirement date is known")
    left = ends - now.date()
    if left < timedelta(0):
        return bad(name, f"{what} retired after {ends.isoformat()}", fix)
    soon = f": only {left.days} days are left, choose its successor now" if left <= SOON else ""
    return good(name, f"{what} is in service until {ends.isoformat()}{soon}")


def announced(config: ProviderConfig) -> Retirement | None:
    at = "azure" if is_azure(config.base_url) else "openai" if is_openai(config.base_url) else ""
    return next(
        (
            one
            for one in ANNOUNCED
            if (one.at, one.dialect) == (at, config.dialect) and re.fullmatch(one.model, config.model, re.IGNORECASE)
        ),
        None,
    )
