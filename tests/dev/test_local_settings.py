"""Which settings reach the app: environment over local.settings.json over the emulators' own."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.local_settings import app_settings, provider_setting, read_settings, spare_loopback
from emulator.trouble import Trouble

AZURITE = "AccountName=devstoreaccount1;BlobEndpoint=http://127.0.0.1:1/devstoreaccount1;"


@pytest.mark.parametrize(
    "given", [{}, {"AzureWebJobsStorage": ""}, {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}]
)
def test_storage_is_azurite_unless_a_person_chose_another(given: dict[str, str]) -> None:
    """Without storage, or with the words for the development storage, the app gets this Azurite."""
    assert app_settings(given, AZURITE, None)["AzureWebJobsStorage"] == AZURITE


def test_chosen_storage_is_kept() -> None:
    """A connection string or an identity-based connection of a person's own is not replaced."""
    own = "AccountName=mine;AccountKey=x"
    assert app_settings({"AzureWebJobsStorage": own}, AZURITE, None)["AzureWebJobsStorage"] == own
    identity = {"AzureWebJobsStorage__accountName": "mine"}
    assert "AzureWebJobsStorage" not in app_settings(identity, AZURITE, None)
    assert app_settings({"MEDIA_STORAGE": "UseDevelopmentStorage=true"}, AZURITE, None)["MEDIA_STORAGE"] == AZURITE


@pytest.mark.parametrize(
    ("endpoint", "key"),
    [
        ("AZURE_SORA_ENDPOINT", "AZURE_API_KEY"),
        ("OPENAI_BASE_URL", "OPENAI_API_KEY"),
        ("IMAGE_ENDPOINT", "IMAGE_API_KEY"),
    ],
)
def test_the_simulators_key_replaces_a_left_over_one(endpoint: str, key: str) -> None:
    """With the simulator running the app talks to it in every dialect, with its key whatever the settings held."""
    app = app_settings({key: "real"}, AZURITE, "http://127.0.0.1:2")
    assert app[endpoint] == "http://127.0.0.1:2"
    assert app[key] != "real"


@pytest.mark.parametrize("name", ["AZURE_SORA_ENDPOINT", "PROVIDERS", "OPENAI_BASE_URL", "IMAGE_ENDPOINT"])
def test_any_providers_setting_counts_as_a_choice(name: str) -> None:
    """Each of the four ways to configure a provider is recognised; an empty value is none."""
    assert provider_setting({name: "x"}) == name
    assert provider_setting({name: " "}) is None


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """A local.settings.json that is not JSON, or not an object with Values, is told with its path."""
    path = tmp_path / "local.settings.json"
    for text in ("{", "[]", '{"Values": []}'):
        path.write_text(text)
        with pytest.raises(Trouble, match=r"local\.settings\.json"):
            read_settings(tmp_path, {})


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    """Windows editors write one; the settings are read all the same, and the environment wins."""
    (tmp_path / "local.settings.json").write_text('{"Values": {"A": "file", "B": "file", "C": null}}', "utf-8-sig")
    assert read_settings(tmp_path, {"B": "environment"}) == {"A": "file", "B": "environment"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "corp"}, "corp,127.0.0.1,localhost"),
        ({"no_proxy": "127.0.0.1"}, "127.0.0.1"),
    ],
)
def test_a_company_proxy_never_sees_loopback(before: dict[str, str], after: str) -> None:
    """127.0.0.1 is exempt in both spellings, and exemptions that were there stay."""
    spare_loopback(before)
    assert before == {"no_proxy": after, "NO_PROXY": after}
