"""One provider, asked without paying for anything: does it let us in, is the route right, is the model there?

Dialects with tasks are asked for the list of them, one at most; that it is answered proves key and route. Whether the
deployment is there is told by a create only: an incomplete one, without a prompt, which every server must refuse, is
sent after the list, and at once where there is none, for images. See `deployment` for how it is read. What it does not
prove is called "not proven", not "ok" in silence. A model list is never asked: it names models, not what may be called.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from reelkeeper.diagnosis import pasted
from reelkeeper.diagnosis.deployment import (
    ASK_SECONDS,
    TAKEN,
    advice,
    in_brief,
    incomplete_create_checks,
    said_by,
    unproven,
)
from reelkeeper.diagnosis.network import way_checks
from reelkeeper.diagnosis.report import Check, bad, good
from reelkeeper.diagnosis.retirements import retirement_check
from reelkeeper.errors import ProviderError
from reelkeeper.providers.answers import Exchange
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.providers.endpoints import AZURE_JOBS, OPENAI_IMAGES
from reelkeeper.providers.failures import CREATE, LIST, code_of_refusal
from reelkeeper.providers.http import ProviderHttp
from reelkeeper.providers.reading import path_of

MOST_SKEW = timedelta(minutes=5)
"""Azure refuses what is signed more than 15 minutes off."""


def provider_checks(config: ProviderConfig, raw: str, now: Callable[[], datetime]) -> Iterator[Check]:
    """`raw`: the endpoint as it was pasted. A failure that makes what follows pointless is the last check."""
    prefix = f"provider {config.name}"
    wrong = pasted.endpoint(raw, config)
    yield bad(f"{prefix}: endpoint", *wrong) if wrong else good(f"{prefix}: endpoint", pasted.reading_of(raw, config))
    yield retirement_check(f"{prefix}: retirement", config, now())
    if wrong:
        return
    way = list(way_checks(prefix, config.base_url, config.endpoint_setting, now()))
    yield from way
    wrong_key, wrong_model = pasted.key(config), pasted.model(config)
    if wrong_key:
        yield bad(f"{prefix}: credentials", *wrong_key)
    if wrong_model:
        yield bad(f"{prefix}: deployment", *wrong_model)
    if not (wrong_key or wrong_model) and all(check.ok for check in way):
        yield from _asked(prefix, config, now)


def _asked(prefix: str, config: ProviderConfig, now: Callable[[], datetime]) -> Iterator[Check]:
    seen: list[Exchange] = []
    http = ProviderHttp(replace(config, observe=seen.append, create_seconds=ASK_SECONDS), now)
    told: list[Check] = []
    for check in _asked_once(prefix, config, http):
        told.append(check)
        yield check
    judged = any(check.name == f"{prefix}: deployment" for check in told)
    if config.dialect != OPENAI_IMAGES and not judged and all(check.ok for check in told):
        yield from incomplete_create_checks(prefix, config, http, now)
    answers = [exchange for exchange in seen if exchange.status is not None]
    quota = next((exchange.quota for exchange in reversed(answers) if exchange.quota), {})
    if quota or any(exchange.status < 300 for exchange in answers if exchange.status):
        yield good(f"{prefix}: quota", _quota(config, quota))
    if answers:
        yield from clock_check(f"{prefix}: clock", answers[-1].date, now())


def _asked_once(prefix: str, config: ProviderConfig, http: ProviderHttp) -> Iterator[Check]:
    version = {"api-version": config.api_version} if config.api_version else {}
    deadline = time.monotonic() + ASK_SECONDS
    try:
        if config.dialect == OPENAI_IMAGES:
            path, body = path_of("/images/generations", **version), {"model": config.model}
            http.exchange(CREATE, path, body=body, deadline=deadline)
            yield from _took_an_incomplete_create(prefix, config)
        else:
            root, jobs = ("/video/generations", ["jobs"]) if config.dialect == AZURE_JOBS else ("/videos", [])
            answer, _ = http.exchange(LIST, path_of(root, *jobs, limit=1, **version), deadline=deadline)
            yield from _listed(prefix, config, answer)
    except ProviderError as error:
        yield from _refused(prefix, config, error)


def _listed(prefix: str, config: ProviderConfig, answer: dict[str, Any]) -> Iterator[Check]:
    items = answer.get("data")
    if not isinstance(items, list):
        words = "The answer is JSON, but no list of tasks: another API lives there."
        yield bad(f"{prefix}: route", words, advice(config, "endpoint_not_found"))
        return
    yield good(f"{prefix}: credentials", _who(config))
    yield good(f"{prefix}: route", "the list of tasks is answered")
    newest = items[0] if items and isinstance(items[0], dict) else {}
    if newest.get("model") == config.model:
        yield good(f"{prefix}: deployment", f"a task of {config.model} is in the list")


def _took_an_incomplete_create(prefix: str, config: ProviderConfig) -> Iterator[Check]:
    yield good(f"{prefix}: credentials", _who(config))
    yield bad(f"{prefix}: route", TAKEN, advice(config, "endpoint_not_found"))


def _refused(prefix: str, config: ProviderConfig, error: ProviderError) -> Iterator[Check]:
    """What a refusal tells: it may be just the one that was hoped for."""
    fault = error.fault
    status, said, images = fault.provider_status, said_by(fault), config.dialect == OPENAI_IMAGES
    if status is None:
        name = "credentials" if config.auth == "entra" and "identity" in said else "route"
        yield bad(f"{prefix}: {name}", said, advice(config, fault.code) + _look_at_the_way(name, config))
        return
    code = code_of_refusal(CREATE, status, {"message": fault.provider_message})
    if status in (401, 402, 403):
        closed = any(word in said.lower() for word in ("firewall", "virtual network", "public access"))
        door = " Let this machine through the resource's network rules ('Networking' in the portal)." if closed else ""
        yield bad(f"{prefix}: credentials", said, advice(config, code) + (door or pasted.refused_key(config)))
        return
    if "api version" in said.lower():
        fix = f"Remove ?api-version=... from {config.endpoint_setting}, or make it api-version=preview."
        yield bad(f"{prefix}: route", said, fix)
        return
    if code == "endpoint_not_found" or (200 <= status < 300):
        other = f" Or the server does not speak {config.dialect}."
        yield bad(f"{prefix}: route", said, advice(config, "endpoint_not_found") + other)
        return
    if status >= 500 and not (images and status == 500):
        fix = "The server itself is in trouble: try again later, look at its status page or its log."
        yield bad(f"{prefix}: route", said, fix)
        return
    yield good(f"{prefix}: credentials", _who(config))
    asked = "a create without a prompt is refused, as it must be" if images else "answers, though it shows no list"
    yield good(f"{prefix}: route", f"{asked} ({in_brief(fault)})" if status != 429 else "answers")
    if code in ("deployment_not_found", "model_retired"):
        yield bad(f"{prefix}: deployment", said, advice(config, code))
    elif status == 429:
        wait = f" It asks for {error.retry_after:g} s of silence." if error.retry_after else ""
        fix = f"Wait, or have the quota raised; max_running and creates_per_minute in PROVIDERS keep within it.{wait}"
        yield bad(f"{prefix}: quota", said, fix)
    elif images and status in (400, 422):
        words = "a create without a prompt is refused for its prompt, not for its model"
        yield good(f"{prefix}: deployment", unproven(config, words))
    elif images:
        yield good(f"{prefix}: deployment", unproven(config, "the question was refused"))


def clock_check(name: str, theirs: datetime | None, ours: datetime) -> Iterator[Check]:
    """Whether two clocks agree; nothing where the other one is not told."""
    if theirs is None:
        return
    apart = ours - theirs
    seconds = round(abs(apart.total_seconds()))
    words = f"{seconds} s {'ahead of' if apart > timedelta(0) else 'behind'} the server's" if seconds > 2 else "right"
    if abs(apart) <= MOST_SKEW:
        yield good(name, f"this machine's clock is {words}")
        return
    fix = "Set this machine's clock (NTP). More than 15 minutes off, Azure refuses signed requests and URLs."
    yield bad(name, f"this machine's clock is {words}", fix)


def _quota(config: ProviderConfig, told: dict[str, str]) -> str:
    plain = {name.removeprefix("x-"): value for name, value in told.items()}
    figures = []
    for what in ("requests", "tokens", ""):
        end = f"-{what}" if what else ""
        left, limit = plain.get(f"ratelimit-remaining{end}"), plain.get(f"ratelimit-limit{end}")
        if left or limit:
            figures.append(f"{left or '?'} of {limit or '?'} {what or 'calls'} left")
    terms = config.terms
    named = {"max_running": terms.max_running, "creates_per_minute": terms.creates_per_minute}
    ours = [f"{name} {value}" for name, value in named.items() if value]
    return "; ".join(
        [
            ", ".join(figures) or "the server tells of no limits",
            *([f"the gate keeps to {', '.join(ours)}"] if ours else []),
        ]
    )


def _who(config: ProviderConfig) -> str:
    if config.auth == "entra":
        return "the app's identity is let in"
    return f"{config.key_setting} is accepted" if config.api_key else "none are asked for"


def _look_at_the_way(name: str, config: ProviderConfig) -> str:
    if name == "credentials":
        return " Sign in (az login), or give the app an identity, or set a key."
    return f" Look at {config.endpoint_setting}, at the server's log, and at proxies on the way."
