"""The `PROVIDERS` setting: a JSON array -> checked entries. Every mistake is told by index and field. Pure.

Values are never repeated in a message: a key may have been pasted into the wrong field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from reelkeeper.errors import SettingsError
from reelkeeper.parts import IMAGES, KINDS, VIDEOS
from reelkeeper.providers.base import Terms
from reelkeeper.providers.endpoints import AZURE_JOBS, OPENAI_IMAGES, OPENAI_VIDEOS

SETTING = "PROVIDERS"
REQUIRED = ("name", "kind", "dialect", "base_url", "model")
LIMITS = ("max_running", "creates_per_minute", "retires_on", "prices")
NAME = r"[a-z0-9-]{1,40}"
DIALECTS = {VIDEOS: (AZURE_JOBS, OPENAI_VIDEOS), IMAGES: (OPENAI_IMAGES,)}
MOST_SECONDS, MOST_VARIANTS, MOST_PROMPT, MOST_PRICES = 3600, 10, 32_000, 100

Check = Callable[[Any], Any]
"""The value as we keep it. Raises ValueError with the rest of the sentence "<field> must be ..."."""


@dataclass(frozen=True)
class Entry:
    """One provider of the array; `where` is ``PROVIDERS[index]``."""

    where: str
    name: str
    kind: str
    dialect: str
    base_url: str
    model: str
    api_key_setting: str = ""
    auth: str | None = None
    sizes: tuple[tuple[int, int], ...] | None = None
    seconds: tuple[int, ...] | None = None
    max_variants: int | None = None
    max_prompt: int | None = None
    input_image: bool = True
    fallback: tuple[str, ...] = ()
    terms: Terms = field(default_factory=Terms)


def parse_entries(text: str) -> tuple[Entry, ...]:
    """The entries of the setting, none when it is empty. Raises SettingsError."""
    if not text:
        return ()
    try:
        data = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{SETTING} is no valid JSON: {error}.") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{SETTING} is no usable JSON: {error}.") from None
    if not isinstance(data, list) or not data:
        raise SettingsError(f"{SETTING} must be a JSON array of providers, such as [{{...}}]; leave it out for none.")
    return tuple(_entry(f"{SETTING}[{index}]", item) for index, item in enumerate(data))


def _entry(where: str, item: object) -> Entry:
    if not isinstance(item, dict):
        raise SettingsError(f"{where} must be an object with at least {', '.join(REQUIRED)}.")
    for name in item:
        if name not in CHECKS:
            raise SettingsError(
                f"{where}{_named(name)} is not a known field; allowed: {', '.join(CHECKS)}.{_hint(name)}"
            )
    for name in REQUIRED:
        if item.get(name) is None:
            raise SettingsError(f"{where}.{name} is missing; required: {', '.join(REQUIRED)}.")
    values = {}
    for name, value in item.items():
        if value is None:
            continue
        try:
            values[name] = CHECKS[name](value)
        except ValueError as error:
            raise SettingsError(f"{where}.{name} must be {error}.") from None
    _check_pairs(where, values)
    terms = Terms(**{name: values.pop(name) for name in LIMITS if name in values})
    return Entry(where=where, terms=terms, **values)


def _check_pairs(where: str, values: dict[str, Any]) -> None:
    """What each field allows may still not go together."""
    kind, dialect = values["kind"], values["dialect"]
    if dialect not in DIALECTS[kind]:
        raise SettingsError(f"{where}.dialect must be {' or '.join(DIALECTS[kind])} for the kind {kind}.")
    if dialect == OPENAI_VIDEOS and values.get("max_variants", 1) != 1:
        raise SettingsError(f"{where}.max_variants must be 1: a task of the dialect {OPENAI_VIDEOS} has one output.")
    if kind == IMAGES and (given := {"seconds", "input_image"} & values.keys()):
        raise SettingsError(f"{where}.{min(given)} must be left out: it is about videos.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        raise ValueError("a field is given twice in one object")
    return data


def _named(name: str) -> str:
    """A field's name as it may be repeated: what looks like a word is one, anything else may be a secret."""
    return f".{name}" if re.fullmatch(r"[a-z_]{1,24}", name) else ": one of its fields"


def _hint(name: str) -> str:
    hint = " Put the key into a setting of its own and give that setting's name as api_key_setting."
    return hint if "key" in name.lower() else ""


def _text(pattern: str, words: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(words)
        return value

    return check


def _one_of(*allowed: str) -> Check:
    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return str(value)

    return check


def _whole(low: int, high: int) -> Check:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def _sizes(value: Any) -> tuple[tuple[int, int], ...]:
    words = 'a list of sizes from 16x16 to 8192x8192 in pixels, such as ["1280x720", "720x1280"], none twice'
    found = [re.fullmatch(r"(\d{2,4})x(\d{2,4})", text) if isinstance(text, str) else None for text in _listed(value)]
    sizes = tuple((int(size[1]), int(size[2])) for size in found if size)
    good = all(16 <= side <= 8192 for size in sizes for side in size)
    if not sizes or not good or len(set(sizes)) < len(found):
        raise ValueError(words)
    return sizes


def _seconds(value: Any) -> tuple[int, ...]:
    words = f'whole seconds from 1 to {MOST_SECONDS}: {{"min": 1, "max": 20}}, or a list such as [4, 8, 12], none twice'
    whole = _whole(1, MOST_SECONDS)
    try:
        if isinstance(value, dict) and value.keys() == {"min", "max"}:
            seconds = tuple(range(whole(value["min"]), whole(value["max"]) + 1))
        else:
            seconds = tuple(sorted({whole(one) for one in _listed(value)}))
    except ValueError:
        seconds = ()
    if not seconds or (isinstance(value, list) and len(seconds) < len(value)):
        raise ValueError(words)
    return seconds


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _names(value: Any) -> tuple[str, ...]:
    names = _listed(value)
    if not names or not all(isinstance(name, str) and re.fullmatch(NAME, name) for name in names):
        raise ValueError('a list of names of other providers, such as ["backup"]')
    if len(set(names)) < len(names):
        raise ValueError("a list in which no name is given twice")
    return tuple(names)


def _date(value: Any) -> date:
    try:
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError("a date such as 2027-06-30, the last day on which it is used")


def _prices(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MOST_PRICES or not all(map(_is_price, value.values())):
        raise ValueError('an object of numbers and short texts, such as {"currency": "USD", "per_second": 0.1}')
    return value


def _is_price(value: Any, nested: bool = True) -> bool:
    if isinstance(value, dict):
        return nested and len(value) <= MOST_PRICES and all(_is_price(one, nested=False) for one in value.values())
    if isinstance(value, str):
        return len(value) <= 40
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6


CHECKS: dict[str, Check] = {
    "name": _text(NAME, "1 to 40 of a-z, 0-9 and hyphens"),
    "kind": _one_of(*KINDS),
    "dialect": _one_of(AZURE_JOBS, OPENAI_VIDEOS, OPENAI_IMAGES),
    "base_url": _text(r".{1,2000}", "the provider's https address"),
    "model": _text(r"[^\x00-\x1f\x7f]{1,128}", "the name of the model or deployment, 1 to 128 characters"),
    "api_key_setting": _text(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "the name of the setting that holds the key"),
    "auth": _one_of("api-key", "bearer"),
    "sizes": _sizes,
    "seconds": _seconds,
    "max_variants": _whole(1, MOST_VARIANTS),
    "max_prompt": _whole(1, MOST_PROMPT),
    "input_image": _yes_or_no,
    "fallback": _names,
    "max_running": _whole(1, 10_000),
    "creates_per_minute": _whole(1, 100_000),
    "retires_on": _date,
    "prices": _prices,
}
