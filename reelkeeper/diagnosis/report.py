"""What a diagnosis says: a list of checks, each with its cause and its fix, and never a secret.

Checks that wait for a network run side by side, each on its own thread, and none may hold up the report: what has not
ended in time, or ends in a surprise, is a failed check itself.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

LEAST_SECRET = 6
"""Shorter values are words of the language; to blot them out would hide the diagnosis, not the key."""

_LIKE_A_KEY = re.compile(r"(?<![\w-])(sk-[\w-]{16,}|[0-9a-fA-F]{32}|[A-Za-z0-9]{80,}|[A-Za-z0-9+/]{86}==)(?![\w-])")
_SIGNATURE = re.compile(r"(?i)\b(sig|signature|AccountKey|SharedAccessSignature)=[^&;\s\"']+")

SURPRISE = "This is a surprise to the diagnosis itself. Run it again; if it stays, report it with the app's log."


@dataclass(frozen=True)
class Check:
    """One look at one thing. `detail`: what was found. `fix`: what to do about it; None where all is well."""

    name: str
    ok: bool
    detail: str
    fix: str | None = None


@dataclass(frozen=True)
class Report:
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """``{ok, checks: [{name, ok, detail, fix}]}``"""
        return {"ok": self.ok, "checks": [dict(vars(check)) for check in self.checks]}


def good(name: str, detail: str) -> Check:
    return Check(name, True, detail)


def bad(name: str, detail: str, fix: str) -> Check:
    return Check(name, False, detail, fix)


def like_a_key(text: str) -> bool:
    return bool(_LIKE_A_KEY.search(text))


def discreet(checks: Iterable[Check], secrets: Iterable[str]) -> tuple[Check, ...]:
    """The checks without these secrets, and without what looks like one."""
    known = tuple(secrets)
    return tuple(
        replace(
            check, detail=blotted(check.detail, known), fix=None if check.fix is None else blotted(check.fix, known)
        )
        for check in checks
    )


def blotted(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret, and whatever looks like one, made unreadable."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= LEAST_SECRET:
            text = text.replace(secret, "***")
    return _LIKE_A_KEY.sub("***", _SIGNATURE.sub(r"\1=***", text))


def side_by_side(parts: Mapping[str, Callable[[], Iterator[Check]]], seconds: float) -> list[Check]:
    """The checks of every part, in the order of the parts, within so many seconds. Raises nothing."""
    found: dict[str, list[Check]] = {name: [] for name in parts}
    threads = {
        # daemons: a hanging name lookup must not keep the process alive
        name: threading.Thread(target=_run, args=(name, part, found[name]), name=name, daemon=True)
        for name, part in parts.items()
    }
    deadline = time.monotonic() + seconds
    for thread in threads.values():
        thread.start()
    for name, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            fix = "Something answers too slowly, or not at all: look at the network between here and there."
            found[name] = [*found[name], bad(name, f"not finished within {seconds:.0f} s", fix)]
    return [check for checks in found.values() for check in checks]


def _run(name: str, part: Callable[[], Iterator[Check]], found: list[Check]) -> None:
    try:
        for check in part():
            found.append(check)  # one by one: what is known before a hang or a surprise counts
    except Exception as error:
        found.append(bad(name, f"stopped by {type(error).__name__}", SURPRISE))
