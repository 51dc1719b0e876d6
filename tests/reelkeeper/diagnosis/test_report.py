"""The report: nothing holds it up, nothing breaks it, and nothing secret is in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.sora.simulator import Simulator
from reelkeeper.diagnosis.diagnose import diagnose, secrets_of
from reelkeeper.diagnosis.report import Check, Report, bad, blotted, discreet, good, side_by_side

KEYS = st.text("ABCDEFGHJKMNabcdefghjkmn23456789+/=-_.~", min_size=16, max_size=90)


def test_what_hangs_is_a_failed_check_and_what_was_known_before_counts() -> None:
    """The others' checks are there, in their order, once the time is over."""
    over = threading.Event()

    def hanging() -> Iterator[Check]:
        yield good("slow: first", "known")
        over.wait(30)

    def quick() -> Iterator[Check]:
        yield good("quick", "done")

    began = time.monotonic()
    checks = side_by_side({"slow": hanging, "quick": quick}, 0.2)
    over.set()
    assert time.monotonic() - began < 10
    assert [(check.name, check.ok) for check in checks] == [("slow: first", True), ("slow", False), ("quick", True)]
    assert "not finished" in checks[1].detail


def test_a_surprise_is_a_failed_check_with_its_type() -> None:
    """Never a crash, and nothing of its text, which could hold anything."""

    def surprised() -> Iterator[Check]:
        yield good("first", "done")
        raise LookupError("AccountKey=c2VjcmV0")

    checks = side_by_side({"storage": surprised}, 10)
    assert [(check.name, check.ok) for check in checks] == [("first", True), ("storage", False)]
    assert "LookupError" in checks[1].detail
    assert "c2VjcmV0" not in str(checks)


def test_the_form_of_the_answer() -> None:
    """`fix` is null where all is well."""
    report = Report((good("a", "fine"), bad("b", "broken", "mend it")))
    assert report.to_dict() == {
        "ok": False,
        "checks": [
            {"name": "a", "ok": True, "detail": "fine", "fix": None},
            {"name": "b", "ok": False, "detail": "broken", "fix": "mend it"},
        ],
    }
    assert Report((good("a", "fine"),)).ok


@pytest.mark.parametrize(
    "text",
    [
        "AccountName=films;AccountKey=c2VjcmV0c2VjcmV0;X=1",
        "https://films.blob.core.windows.net/media/a?sp=r&sig=c2VjcmV0c2VjcmV0&se=1",
        "the key sk-proj-c2VjcmV0c2VjcmV0 is wrong",
        "the key 0123456789abcdef0123456789abcdef is wrong",
    ],
)
def test_what_looks_like_a_secret_is_blotted_out(text: str) -> None:
    """Also one that nobody named as such."""
    assert "***" in blotted(text, ())
    assert "c2VjcmV0c2" not in blotted(text, ())
    assert "0123456789abcdef0123456789abcdef" not in blotted(text, ())


def test_request_ids_and_words_stay_readable() -> None:
    """What looks like a key only at first sight is needed to ask the provider about it."""
    for text in ("request id 52e3aed3-ee4a-4d0a-ba32-764c2b7eb33a", "req_0123456789abcdef0123456789abcdef", "python"):
        assert blotted(text, ("py",)) == text


def test_secrets_are_known_by_the_names_of_their_settings() -> None:
    """Keys, connection strings whole and in parts, and the keys that PROVIDERS names; addresses are none."""
    env = {
        "AZURE_API_KEY": "key-of-azure",
        "AzureWebJobsStorage": "AccountName=films;AccountKey=c2VjcmV0",
        "PROVIDERS": '[{"api_key_setting": "WAN"}]',
        "WAN": "key-of-wan",
        "AZURE_SORA_ENDPOINT": "https://films.openai.azure.com",
    }
    assert set(secrets_of(env)) == {"key-of-azure", env["AzureWebJobsStorage"], "key-of-wan", "c2VjcmV0"}
    assert secrets_of({"AzureWebJobsStorage": "UseDevelopmentStorage=true"}) == ()
    (check,) = discreet([bad("x", "key-of-wan", "key-of-azure")], secrets_of(env))
    assert (check.detail, check.fix) == ("***", "***")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(key=KEYS, place=st.sampled_from(["key", "echo", "endpoint", "model", "schedule", "entry", "storage"]))
def test_no_key_is_ever_shown(key: str, place: str, sora: dict[str, str], provider: Simulator, examine: Any) -> None:
    """Wherever it was pasted by mistake, and whatever the server says back."""
    env = sora | {"AZURE_API_KEY": key}
    if place == "echo":
        words = f"You sent {key} and Bearer {key}, model {key}"
        provider.fault("list", "http", status=403, body={"error": {"message": words}}, headers={"x-request-id": key})
    elif place == "endpoint":
        env["AZURE_SORA_ENDPOINT"] = f"{provider.url}/{key.replace('/', '')}?code={key}"
    elif place == "model":
        env["SORA_MODEL"] = key
    elif place == "schedule":
        env["SWEEP_SCHEDULE"] = key
    elif place == "entry":
        env["PROVIDERS"] = f'[{{"name": "{key}", "{key}": "{key}"}}]'
    elif place == "storage":
        env["AzureWebJobsStorage"] = key
    shown = " ".join(f"{check.name} {check.detail} {check.fix}" for check in examine(env).checks)
    provider.clear_faults()
    assert key not in shown


def test_everything_that_is_asked_is_bounded(sora: dict[str, str], provider: Simulator, examine: Any) -> None:
    """A server that takes the question and says nothing ends the diagnosis, not the other way round."""
    provider.fault("list", "delay", delay=60)
    began = time.monotonic()
    report = examine(sora, seconds=0.5)
    assert time.monotonic() - began < 15
    assert not report.ok
    assert [check.name for check in report.checks if not check.ok] == ["provider sora"]


def test_a_diagnosis_of_nothing_is_a_report(tmp_path: Any) -> None:
    """Without a single setting or file it says what is missing."""
    report = diagnose({}, tmp_path)
    assert {check.name for check in report.checks if not check.ok} == {"settings", "host.json", "providers"}
