"""The failure vocabulary: every code has advice, and a fault survives storage."""

from __future__ import annotations

import string

import pytest

from reelkeeper.errors import ADVICE, Fault, FieldError, ProviderError, RequestRefused

SETTINGS = {"key_setting": "THE_KEY", "endpoint_setting": "THE_ENDPOINT", "model_setting": "THE_MODEL"}
CODES = {
    "invalid_request", "invalid_credentials", "endpoint_not_found", "deployment_not_found", "model_retired",
    "moderation_input", "moderation_output", "rate_limited", "too_many_running", "provider_error", "content_not_ready",
    "content_invalid", "content_expired", "task_lost", "submit_unknown", "pipeline_error",
}  # fmt: skip


def test_every_code_has_one_piece_of_advice() -> None:
    """No failure is without a sentence, and no sentence without a failure."""
    assert set(ADVICE) == CODES


@pytest.mark.parametrize("code", sorted(CODES))
def test_advice_is_a_sentence_that_can_be_filled_in(code: str) -> None:
    """Only the provider's setting names are left open, and the filled sentence has no gap."""
    gaps = {name for _, name, _, _ in string.Formatter().parse(ADVICE[code]) if name}
    assert gaps <= set(SETTINGS)
    filled = ADVICE[code].format(**SETTINGS)
    assert filled.endswith(".")
    assert all(SETTINGS[gap] in filled for gap in gaps)
    assert "{" not in filled


@pytest.mark.parametrize(
    ("code", "setting"),
    [
        ("invalid_credentials", "key_setting"),
        ("endpoint_not_found", "endpoint_setting"),
        ("deployment_not_found", "model_setting"),
        ("model_retired", "model_setting"),
    ],
)
def test_a_mistake_in_the_settings_names_the_setting(code: str, setting: str) -> None:
    """What only the operator can heal says where."""
    assert SETTINGS[setting] in ADVICE[code].format(**SETTINGS)


@pytest.mark.parametrize(
    "fault", [Fault("task_lost", "Gone."), Fault("provider_error", "It failed.", "boom 💥", 503, "req-1")]
)
def test_a_fault_survives_storage_also_from_a_newer_version(fault: Fault) -> None:
    """What to_dict wrote is read back; a key that only a later version knows is passed over."""
    assert Fault.from_dict(fault.to_dict()) == fault
    assert Fault.from_dict({**fault.to_dict(), "hint": "of tomorrow"}) == fault


def test_errors_carry_what_their_handlers_need() -> None:
    """A provider error knows the pause and whether the request may have worked; a refusal knows the fields."""
    fault = Fault("rate_limited", "Wait.", "slow down")
    assert (ProviderError(fault).retry_after, ProviderError(fault).outcome_unknown) == (None, False)
    error = ProviderError(fault, retry_after=3.5, outcome_unknown=True)
    assert (str(error), error.retry_after, error.outcome_unknown) == ("rate_limited: slow down", 3.5, True)
    assert str(ProviderError(Fault("task_lost", "Gone."))) == "task_lost: Gone."
    refused = RequestRefused(400, "invalid_request", "prompt: too long", (FieldError("prompt", "too long"),))
    assert (refused.status, refused.code, str(refused)) == (400, "invalid_request", "prompt: too long")
