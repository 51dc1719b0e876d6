"""GET diagnostics: always an answer, never a secret. What is checked is tested with the diagnosis itself."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from world import Answer

from triggers.answers import answering
from triggers.diagnostics import get_diagnostics

ROOT = Path(__file__).parents[2]
SECRET = "c2VjcmV0LWtleS1vZi10aGUtYWNjb3VudA=="


def diagnosed(**env: str) -> Answer:
    return Answer(answering(get_diagnostics)(env, ROOT))


def test_whatever_is_wrong_the_answer_is_200() -> None:
    """With `ok` false and the checks, each with its fix; not to be cached."""
    answer = diagnosed()
    assert (answer.status, answer.json["ok"]) == (200, False)
    assert answer.headers["Cache-Control"] == "no-store"
    checks = {check["name"]: check for check in answer.json["checks"]}
    assert {tuple(check) for check in answer.json["checks"]} == {("name", "ok", "detail", "fix")}
    assert checks["host.json"] == {
        "name": "host.json",
        "ok": True,
        "detail": "extension bundle [4.*, 5.0.0)",
        "fix": None,
    }
    assert "AzureWebJobsStorage" in checks["settings"]["fix"]


def test_an_unreachable_storage_and_provider_are_told_without_their_secrets() -> None:
    """The storage's key and the provider's stay here."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = f"http://127.0.0.1:{port}/films"
    answer = diagnosed(
        AzureWebJobsStorage=f"AccountName=films;AccountKey={SECRET};BlobEndpoint={address};TableEndpoint={address}",
        AZURE_SORA_ENDPOINT=f"http://127.0.0.1:{port}",
        AZURE_API_KEY=SECRET,
    )
    failed = [check["name"] for check in answer.json["checks"] if not check["ok"]]
    assert failed == ["storage: blobs", "storage: tables", "provider sora: connection"]
    assert SECRET not in answer.raw.decode()


def test_it_costs_nothing_until_it_is_asked_for() -> None:
    """The trigger's module alone loads no part of the diagnosis."""
    source = (ROOT / "triggers" / "diagnostics.py").read_text()
    before_the_function = source.partition("def ")[0]
    assert "reelkeeper" not in before_the_function
    assert "triggers.diagnostics" in sys.modules
