"""Settings that are wrong, several at once: all are found, and what does not depend on them is kept."""

from __future__ import annotations

import json

from reelkeeper.diagnosis.environment import host_storage_check, read_settings, schedule_check, settings_check

STORAGE = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
SORA = {"AZURE_SORA_ENDPOINT": "https://films.openai.azure.com", "AZURE_API_KEY": "k-1"}
OPENAI = {"OPENAI_BASE_URL": "http://gpu:8000/v1"}
WAN = {"name": "wan", "kind": "videos", "dialect": "openai-videos", "base_url": "http://gpu/v1", "model": "m"}


def test_all_wrong_settings_are_found_at_once() -> None:
    """Not one per attempt: each message stands in the detail, each fix in the fix."""
    env = {
        "AzureWebJobsStorage": "nonsense",
        "AUTH_MODE": "none",
        "MEDIA_CONTAINER": "No Container",
        "SWEEP_SCHEDULE": "soon",
        "JOB_DEADLINE_HOURS": "late",
        "AZURE_SORA_ENDPOINT": "films",
        "AZURE_API_KEY": "two words",
        "PROVIDERS": "[",
    }
    reading = read_settings(env)
    assert reading.laid_aside == env.keys()
    check = settings_check(reading)
    assert not check.ok
    for name in env:
        assert name in check.detail
        assert f"Correct {name}" in str(check.fix) or f"Set {name}" in str(check.fix)


def test_a_wrong_setting_takes_only_what_needs_it_along() -> None:
    """The provider whose key is wrong is not asked with another; its neighbour and the storage are."""
    reading = read_settings(STORAGE | SORA | OPENAI | {"AZURE_API_KEY": "two words"})
    assert [config.name for config in reading.providers] == ["openai"]
    assert reading.storage_known
    reading = read_settings(SORA | {"AzureWebJobsStorage": "nonsense"})
    assert [config.name for config in reading.providers] == ["sora"]
    assert not reading.storage_known


def test_the_key_of_an_entry_takes_the_entry_along() -> None:
    """And no other one."""
    entries = [WAN | {"api_key_setting": "WAN_KEY"}, WAN | {"name": "other"}]
    reading = read_settings(STORAGE | {"PROVIDERS": json.dumps(entries), "WAN_KEY": "two words"})
    ((message, _),) = reading.wrong
    assert message.startswith("WAN_KEY")
    assert [config.name for config in reading.providers] == ["other"]
    missing = read_settings(STORAGE | SORA | {"PROVIDERS": json.dumps(entries)})
    assert [config.name for config in missing.providers] == ["sora"]
    assert "PROVIDERS[0].api_key_setting" in missing.wrong[0][0]


def test_a_media_storage_that_is_wrong_leaves_the_host_its_own() -> None:
    """The two are told apart by name."""
    reading = read_settings(STORAGE | {"MEDIA_STORAGE": "nonsense"})
    assert reading.wrong[0][0].startswith("MEDIA_STORAGE")
    assert not reading.storage_known
    assert [check.ok for check in host_storage_check(reading, STORAGE)] == [True]


def test_the_host_s_storage_may_be_an_identity_s() -> None:
    """Then it is a family of settings."""
    identity = {"AzureWebJobsStorage__accountName": "films"}
    assert [check.ok for check in host_storage_check(read_settings(identity), identity)] == [True]


def test_half_of_an_identity_s_storage_is_told() -> None:
    """With the name that is missing."""
    reading = read_settings({"AzureWebJobsStorage__blobServiceUri": "https://films.blob.core.windows.net"})
    assert "AzureWebJobsStorage__tableServiceUri is missing" in reading.wrong[0][0]
    assert not reading.storage_known


def test_a_schedule_of_five_fields_is_fine_and_said_to_be() -> None:
    """The host takes minutes first then, which surprises those who meant seconds."""
    (check,) = schedule_check(read_settings(STORAGE | {"SWEEP_SCHEDULE": "*/5 * * * *"}))
    assert check.ok
    assert "minutes first" in check.detail
