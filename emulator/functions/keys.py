"""The host's access keys: made once, kept in one file that only its owner can read.

One `default` key opens every function, `master` opens everything, a function's own keys open that function, and a
system key opens one extension's webhooks. Which level a caller needs is the caller's business (`http.py`).
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .settings import StartError

DURABLE = "durabletask_extension"


@dataclass(frozen=True)
class Keys:
    """Every key of one host; the secrets stay out of `repr`."""

    default: str = field(repr=False)
    master: str = field(repr=False)
    system: dict[str, str] = field(repr=False)
    functions: dict[str, dict[str, str]] = field(repr=False)

    def open_function(self, given: str, name: str) -> bool:
        """Tell whether `given` may call the function `name` (level FUNCTION)."""
        return _among(given, [self.default, self.master, *self.functions.get(name, {}).values()])

    def open_webhook(self, given: str, extension: str) -> bool:
        """Tell whether `given` may call the webhooks of `extension`."""
        return _among(given, [self.system[extension], self.master])

    def open_admin(self, given: str) -> bool:
        """Tell whether `given` is the master key (level ADMIN)."""
        return _among(given, [self.master])


def load_keys(path: Path | None) -> Keys:
    """Read the keys at `path`, adding those that are missing; None makes keys that are not kept.

    Raises StartError when the file cannot be read as keys.
    """
    stored: dict[str, object] = {}
    if path is not None and path.exists():
        try:
            stored = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as problem:
            raise StartError(f"{path} does not hold keys: delete it to get new ones.") from problem
    system, functions = stored.get("systemKeys"), stored.get("functionKeys")
    keys = Keys(
        default=_kept(stored.get("default")),
        master=_kept(stored.get("master")),
        system={DURABLE: _kept(system.get(DURABLE) if isinstance(system, dict) else None)},
        functions=functions if isinstance(functions, dict) else {},
    )
    if path is not None:
        _write(path, keys)
    return keys


def _kept(value: object) -> str:
    return value if isinstance(value, str) and value else secrets.token_urlsafe(32)


def _write(path: Path, keys: Keys) -> None:
    content: dict[str, object] = {"default": keys.default, "master": keys.master, "systemKeys": keys.system}
    if keys.functions:
        content["functionKeys"] = keys.functions
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
    draft.replace(path)


def _among(given: str, accepted: Iterable[str]) -> bool:
    # every key is compared, in constant time: the answer's timing says nothing about any of them
    return sum(secrets.compare_digest(given.encode(errors="surrogateescape"), key.encode()) for key in accepted) > 0
