"""The contract of `IdempotencyKeys`, on the fake and on Azure tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reelkeeper.records.base import IdempotencyClaim, IdempotencyKeys

OURS, THEIRS = IdempotencyClaim("job-1", "digest-1"), IdempotencyClaim("job-2", "digest-2")


def test_the_first_claim_holds(idempotency: IdempotencyKeys) -> None:
    """Whoever claims a key second gets the first claim back, however often."""
    assert idempotency.get("ada", "key") is None
    assert idempotency.claim("ada", "key", OURS) == OURS
    assert idempotency.claim("ada", "key", THEIRS) == OURS
    assert idempotency.claim("ada", "key", OURS) == OURS
    assert idempotency.get("ada", "key") == OURS


def test_owners_do_not_share_keys(idempotency: IdempotencyKeys) -> None:
    """The same key of another owner is another key."""
    idempotency.claim("ada", "key", OURS)
    assert idempotency.get("eve", "key") is None
    assert idempotency.claim("eve", "key", THEIRS) == THEIRS
    assert idempotency.get("ada", "key") == OURS


@pytest.mark.parametrize("key", ["", "a/b\\c#d?e", "o'key", "🎬 \x00\n", "x" * 10_000, "half \ud83c"])
def test_keys_may_hold_anything(idempotency: IdempotencyKeys, key: str) -> None:
    """Callers choose the key: characters and lengths that table keys forbid work, and differ from their neighbours."""
    idempotency.claim("ada", key, OURS)
    assert idempotency.get("ada", key) == OURS
    assert idempotency.get("ada", key + " ") is None


def test_of_racing_claims_one_holds_for_all(idempotency: IdempotencyKeys, race: Callable[..., list[Any]]) -> None:
    """Eight workers claim one key, as the store's first writes: all are told the same winner."""
    results = race(lambda number: idempotency.claim("ada", "key", IdempotencyClaim(f"job-{number}", "digest")))
    winner = idempotency.get("ada", "key")
    assert winner is not None
    assert results == [winner] * 8
