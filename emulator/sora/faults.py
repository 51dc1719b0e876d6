"""Faults on demand, shared by every dialect: what can go wrong, and when it shall.

A fault names an operation and a kind, how often it strikes (`times`, None = until removed) and whom (`match`: prompt
as a part of the text, task_id, generation_id, dialect). The first rule that matches a call is used up by it, so rules
queue up in the order they were added. Faults live in memory: a restart begins healthy.
Any kind also takes `delay`: seconds to wait before answering.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from emulator.sora.tasks import Task

ANY_OP = ("create", "get", "list", "content", "thumbnail", "delete", "generation")
_MEDIA = ("content", "thumbnail")


@dataclass(frozen=True)
class Kind:
    """A sort of fault: where it applies, its arguments with their defaults, and what it does."""

    ops: tuple[str, ...]
    does: str
    args: dict[str, Any] = field(default_factory=dict)


_SHAPE = {"shape": None}
_CHOICES = {"shape": (None, "wrapped", "flat", "html", "empty"), "body": ("json", "html", "empty", "garbage")}
_COUNTS = ("retry_after", "after")  # numbers that may be null
KINDS: dict[str, Kind] = {
    # refusals: the call is answered with an error and has no effect
    "wrong_route": Kind(ANY_OP, "404 'Resource not found', as for a path that does not exist", _SHAPE),
    "not_found": Kind(ANY_OP, "the same 404: for content it is the answer of the minutes after success", _SHAPE),
    "deployment_not_found": Kind(ANY_OP, "404 'The API deployment ... does not exist'", _SHAPE),
    "unauthorized": Kind(ANY_OP, "401, wrong key", _SHAPE),
    "forbidden": Kind(ANY_OP, "403, role missing", _SHAPE),
    "too_many_running": Kind(ANY_OP, "429 'Too many running tasks', no Retry-After", _SHAPE),
    "rate_limited": Kind(
        ANY_OP, "429 per minute; retry_after: seconds or null for no header", {"retry_after": 5, **_SHAPE}
    ),
    "invalid": Kind(ANY_OP, "400 about `param`", {"param": "n_seconds", "message": None, **_SHAPE}),
    "moderated": Kind(ANY_OP, "400, refused by the content filter; code: another error code", {"code": None, **_SHAPE}),
    "server_error": Kind(ANY_OP, "5xx; shape: wrapped, flat, html or empty", {"status": 500, **_SHAPE}),
    "http": Kind(
        ANY_OP, "any answer: status, body (text or JSON), headers", {"status": 418, "body": "", "headers": {}}
    ),
    "expired": Kind(("get", "content", "thumbnail", "generation"), "the task expires now, for good: 404"),
    # the wire
    "delay": Kind(ANY_OP, "nothing but the `delay`"),
    "drop_before": Kind(ANY_OP, "connection cut before the call had any effect"),
    "drop_answer": Kind(
        ANY_OP, "the call takes effect (a create makes its task), then the connection is cut unanswered"
    ),
    "wrong_body": Kind(ANY_OP, "200 with body: json, html, empty, or garbage under the right type", {"body": "json"}),
    "truncate": Kind(
        _MEDIA, "full Content-Length, cut after `after` bytes of this answer (null: half)", {"after": None}
    ),
    "slow": Kind(_MEDIA, "right bytes at `bytes_per_second`", {"bytes_per_second": 65536}),
    "stall": Kind(_MEDIA, "stops after `after` bytes for `seconds`, then goes on", {"after": 65536, "seconds": 30.0}),
    "wrong_type": Kind(_MEDIA, "right bytes, wrong content type", {"content_type": "application/octet-stream"}),
    "no_length": Kind(_MEDIA, "chunked, without Content-Length"),
    "range_ignored": Kind(_MEDIA, "200 with the whole body although a Range was asked"),
    "redirect": Kind(
        _MEDIA, "302 to `location`; null: this server under the host name localhost, no key wanted", {"location": None}
    ),
    # the task: decided when it is created
    "failed": Kind(("create",), "accepted, later failed; reason: any reason or code", {"reason": "internal_error"}),
    "partial": Kind(
        ("create",), "accepted, later only `generations` of the variants (0: none at all)", {"generations": 1}
    ),
    "never_finish": Kind(("create",), "accepted, runs for ever"),
    # the view
    "unknown_status": Kind(("get", "list"), "the status word is one nobody documented", {"status": "rehearsing"}),
    "hidden": Kind(("list",), "matching tasks (match, or all) are missing from the list"),
}

REFUSING = frozenset(
    [
        *("wrong_route", "not_found", "deployment_not_found", "unauthorized", "forbidden", "too_many_running"),
        *("rate_limited", "invalid", "moderated", "server_error"),
    ]
)


@dataclass
class Fault:
    """One rule. `times` counts down; None strikes until removed."""

    op: str
    kind: str
    times: int | None = 1
    match: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    args: dict[str, Any] = field(default_factory=dict)
    id: int = 0
    struck: int = 0

    def view(self) -> dict[str, Any]:
        """The rule as the control endpoint shows it."""
        head = {"id": self.id, "op": self.op, "kind": self.kind, "times": self.times, "match": self.match}
        return {**head, "delay": self.delay, "struck": self.struck, **self.args}


def read_fault(raw: object) -> Fault:
    """Read a rule from JSON; ValueError says what is wrong with it."""
    if not isinstance(raw, dict):
        raise ValueError("a fault is a JSON object with op and kind")
    given = dict(raw)
    op, name = given.pop("op", None), given.pop("kind", None)
    kind = KINDS.get(str(name))
    if kind is None:
        raise ValueError(f"unknown kind {name!r}: use one of {', '.join(KINDS)}")
    if op not in kind.ops:
        raise ValueError(f"{name} is for op {', '.join(kind.ops)}, not {op!r}")
    times, match, delay = given.pop("times", 1), given.pop("match", None) or {}, given.pop("delay", 0.0)
    if not (times is None or (isinstance(times, int) and not isinstance(times, bool) and times > 0)):
        raise ValueError("times is a positive number, or null for ever")
    if not isinstance(match, dict) or set(match) - {"prompt", "task_id", "generation_id", "dialect"}:
        raise ValueError("match takes prompt (a part of it), task_id, generation_id and dialect")
    if not isinstance(delay, (int, float)) or delay < 0:
        raise ValueError("delay is a number of seconds")
    unknown = set(given) - set(kind.args)
    if unknown:
        raise ValueError(
            f"{name} takes no {', '.join(sorted(unknown))}; it takes {', '.join(kind.args) or 'nothing more'}"
        )
    for arg, value in given.items():
        _check_arg(arg, value, kind.args[arg])
    return Fault(str(op), str(name), times, {k: str(v) for k, v in match.items()}, float(delay), {**kind.args, **given})


def _check_arg(name: str, value: object, default: object) -> None:
    """Refuse an argument of the wrong sort: ValueError. Where the default is no number, None and text stand for it."""
    if name in _CHOICES and default != "":
        if value not in _CHOICES[name]:
            raise ValueError(f"{name} is one of {', '.join(map(str, _CHOICES[name]))}")
    elif isinstance(default, (int, float)) or name in _COUNTS:
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
        if not number and not (value is None and name in _COUNTS):
            raise ValueError(f"{name} is a number from 0{' or null' if name in _COUNTS else ''}")
    elif isinstance(default, dict) and not isinstance(value, dict):
        raise ValueError(f"{name} is a JSON object")


class FaultBook:
    """The rules in force, in the order they were added."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._numbers = itertools.count(1)

    def add(self, fault: Fault) -> Fault:
        """Put a rule at the end of the queue and number it."""
        fault.id = next(self._numbers)
        self._rules.append(fault)
        return fault

    def take(
        self, op: str, prompt: str | None, task_id: str | None, output_id: str | None, dialect: str
    ) -> Fault | None:
        """Use up one strike of the first rule that matches the call."""
        known = {"prompt": prompt, "task_id": task_id, "generation_id": output_id, "dialect": dialect}
        for rule in self._rules:
            asked = rule.match
            if rule.kind == "hidden":  # the rest is matched against each task of the list
                asked = {name: value for name, value in asked.items() if name == "dialect"}
            if rule.op == op and _matches(asked, known):
                rule.struck += 1
                if rule.times is not None:
                    rule.times -= 1
                    if rule.times == 0:
                        self._rules.remove(rule)
                return rule
        return None

    def clear(self, rule_id: int | None = None) -> int:
        """Remove one rule or all; returns how many went."""
        before = len(self._rules)
        self._rules = [rule for rule in self._rules if rule_id is not None and rule.id != rule_id]
        return before - len(self._rules)

    def view(self) -> list[dict[str, Any]]:
        """The rules as JSON."""
        return [rule.view() for rule in self._rules]


def _matches(match: dict[str, str], known: dict[str, str | None]) -> bool:
    return all(
        (value in (known["prompt"] or "")) if name == "prompt" else known[name] == value
        for name, value in match.items()
    )


def hides(fault: Fault | None, task: Task) -> bool:
    """Tell whether a list fault leaves this task out."""
    if fault is None or fault.kind != "hidden":
        return False
    known: dict[str, str | None] = {"prompt": task.prompt, "task_id": task.id, "dialect": task.dialect}
    return any(_matches(fault.match, {**known, "generation_id": one}) for one in task.outputs or ("",))
