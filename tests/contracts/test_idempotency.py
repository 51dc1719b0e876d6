"""The contract of `IdempotencyKeys`, on the fake and on Azure tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reelkeeper import names
from reelkeeper.records.base import IdempotencyClaim, IdempotencyKeys

OURS, THEIRS = IdempotencyClaim("job-1", "digest-1"), IdempotencyClaim("job-2", "digest-2")
KEYS = ["", "a/b\\c#d?e", "o'key", "🎬 \x00\n", "x" * 10_000, "half \ud83c"]


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


@pytest.mark.parametrize("key", KEYS)
def test_keys_may_hold_anything(idempotency: IdempotencyKeys, key: str) -> None:
    """Callers choose the key: characters and lengths that table keys forbid work, and differ from their neighbours."""
    idempotency.claim("ada", key, OURS)
    assert idempotency.get("ada", key) == OURS
    assert idempotency.get("ada", key + " ") is None


def test_a_claim_remembers_that_its_job_was_deleted(idempotency: IdempotencyKeys) -> None:
    """Whoever repeats the POST is told, for ever, which job it was and that its owner deleted it."""
    idempotency.claim("ada", "key", OURS)
    idempotency.claim("ada", "other", OURS)
    idempotency.claim("eve", "key", OURS)
    for _ in range(2):
        idempotency.mark_deleted("ada", names.key_digest("key"))
        assert idempotency.get("ada", "key") == replace(OURS, deleted=True)
        assert idempotency.claim("ada", "key", THEIRS) == replace(OURS, deleted=True)
    assert idempotency.get("ada", "other") == idempotency.get("eve", "key") == OURS


def test_marking_a_key_that_nobody_claimed_changes_nothing(idempotency: IdempotencyKeys) -> None:
    """Neither in a store without a table nor beside other claims does it bring a claim into being."""
    idempotency.mark_deleted("ada", names.key_digest("key"))
    idempotency.claim("ada", "other", OURS)
    idempotency.mark_deleted("ada", names.key_digest("key"))
    assert idempotency.get("ada", "key") is None
    assert idempotency.claim("ada", "key", THEIRS) == THEIRS


@pytest.mark.parametrize("key", KEYS)
def test_a_claim_of_any_key_can_be_marked(idempotency: IdempotencyKeys, key: str) -> None:
    """The digest alone finds the claim: nobody has to keep the key itself."""
    idempotency.claim("o'brien/ü", key, OURS)
    idempotency.mark_deleted("o'brien/ü", names.key_digest(key))
    assert idempotency.get("o'brien/ü", key) == replace(OURS, deleted=True)


def test_of_racing_claims_one_holds_for_all(idempotency: IdempotencyKeys, race: Callable[..., list[Any]]) -> None:
    """Eight workers claim one key, as the store's first writes: all are told the same winner."""
    results = race(lambda number: idempotency.claim("ada", "key", IdempotencyClaim(f"job-{number}", "digest")))
    winner = idempotency.get("ada", "key")
    assert winner is not None
    assert results == [winner] * 8
