"""Every setting: what it takes, what it refuses by name, and that no secret leaves it."""

from __future__ import annotations

import json
import traceback
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emulator.functions.ncrontab import Schedule
from reelkeeper.diagnosis.environment import read_settings, settings_check
from reelkeeper.errors import SettingsError
from reelkeeper.settings import Settings

KEY = "bm90IGEga2V5IGJ1dCBiYXNlNjQ="
STORAGE = f"DefaultEndpointsProtocol=https;AccountName=reels;AccountKey={KEY};EndpointSuffix=core.windows.net"
API_KEY = "5eCre7-4pi-Key"
SORA = {"AZURE_SORA_ENDPOINT": "https://r.openai.azure.com", "AZURE_API_KEY": API_KEY}
FULL = {"AzureWebJobsStorage": STORAGE, **SORA}


def read(**env: str) -> Settings:
    return Settings.from_environment({"AzureWebJobsStorage": STORAGE, **env})


def refusal(env: dict[str, str]) -> str:
    """The message that stops the start."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(env)
    return str(caught.value)


def test_storage_alone_is_enough() -> None:
    """All else has a default, and no provider is one of them."""
    settings = read()
    assert (settings.container, settings.sweep_schedule) == ("media", "0 */5 * * * *")
    assert settings.deadline == timedelta(hours=24)
    assert settings.submit_grace == timedelta(seconds=60)
    assert settings.providers == ()
    assert settings.owner_weights == {}
    assert settings.storage.connection_string == STORAGE


def test_blank_settings_count_as_absent() -> None:
    """A portal and local.settings.json leave empty values behind; they mean the default."""
    names = ("MEDIA_STORAGE", "MEDIA_CONTAINER", "SWEEP_SCHEDULE", "JOB_DEADLINE_HOURS", "AUTH_MODE", "SORA_MODEL")
    blank = dict.fromkeys([*names, "SUBMIT_GRACE_SECONDS", "OWNER_WEIGHTS", *SORA], "  ")
    assert read(**blank) == read()


def test_private_addresses_are_closed_unless_they_are_opened() -> None:
    """Only the word `true` opens them."""
    assert [read(**env).allow_private for env in ({}, {"WEBHOOK_ALLOW_PRIVATE": " "})] == [False, False]
    assert [read(WEBHOOK_ALLOW_PRIVATE=word).allow_private for word in ("true", "TRUE", "false")] == [True, True, False]


def test_owners_may_have_several_turns_in_a_row() -> None:
    """Whole numbers by owner, for as many owners and as long names as there may be."""
    assert read(OWNER_WEIGHTS=' {"studio": 5, "Ada L\\u00f8v \\"x\\"": 1} ').owner_weights == {
        "studio": 5, 'Ada Løv "x"': 1,
    }  # fmt: skip
    many = {f"{number:0256}": 1 + number % 100 for number in range(1000)}
    assert read(OWNER_WEIGHTS=json.dumps(many)).owner_weights == many
    assert refusal({**FULL, "OWNER_WEIGHTS": json.dumps({**many, "one": 1})}).startswith("OWNER_WEIGHTS")


@pytest.mark.parametrize(
    "value",
    [
        f'{{"{API_KEY}": 0}}',
        f'{{"a": 1, "{API_KEY}": 2, "{API_KEY}": 2}}',
        f'{{"{API_KEY}\\u0007": 1}}',
        f'{{"a": "{API_KEY}"}}',
        f'{{"a": 1}} {API_KEY}',
    ],
)
def test_weights_are_refused_without_being_repeated(value: str) -> None:
    """Neither an owner nor a weight is told, only which of them it is; the diagnosis lays the setting aside."""
    message = refusal({**FULL, "OWNER_WEIGHTS": value})
    assert message.startswith("OWNER_WEIGHTS")
    assert API_KEY not in message
    reading = read_settings({**FULL, "OWNER_WEIGHTS": value})
    assert reading.settings == Settings.from_environment(FULL)
    check = settings_check(reading)
    assert (check.ok, check.detail) == (False, message)
    assert "Correct OWNER_WEIGHTS" in str(check.fix)


def test_two_settings_make_a_provider() -> None:
    """Endpoint and key are enough; the model is `sora` unless told."""
    (provider,) = read(**SORA).providers
    assert (provider.name, provider.kind, provider.dialect, provider.model) == ("sora", "videos", "azure-jobs", "sora")
    assert (provider.base_url, provider.api_version) == ("https://r.openai.azure.com/openai/v1", "preview")
    assert provider.api_key == API_KEY
    named = read(**SORA, SORA_MODEL=" my deployment ").providers[0]
    assert named.model == "my deployment"


@pytest.mark.parametrize("grace", [1, 7.5, 60, 600])
def test_a_create_is_over_well_before_the_grace_period(grace: float) -> None:
    """It may begin a quarter into the grace period and takes 0.6 of it: a sixth part is left for clocks and lists."""
    settings = read(**SORA, SUBMIT_GRACE_SECONDS=f" {grace} ")
    assert settings.submit_grace == timedelta(seconds=grace)
    assert settings.providers[0].create_seconds == pytest.approx(0.6 * grace)
    assert 0.25 * grace + settings.providers[0].create_seconds <= 0.851 * grace


def test_an_azure_endpoint_without_a_key_signs_in_by_identity() -> None:
    """A forgotten key is no mistake there: the app's identity may have the role."""
    (provider,) = read(AZURE_SORA_ENDPOINT=SORA["AZURE_SORA_ENDPOINT"]).providers
    assert (provider.auth, provider.api_key) == ("entra", "")


def test_providers_of_all_settings_stand_in_one_order() -> None:
    """The first of its kind is the default; a create of each must be over before it is reconciled."""
    entry = '[{"name": "wan", "kind": "videos", "dialect": "openai-videos", "base_url": "http://gpu", "model": "w"}]'
    settings = read(**SORA, OPENAI_BASE_URL="http://h", PROVIDERS=entry, SUBMIT_GRACE_SECONDS="100")
    assert [provider.name for provider in settings.providers] == ["sora", "openai", "wan"]
    assert {provider.create_seconds for provider in settings.providers} == {60.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH_MODE", "key"),
        ("MEDIA_CONTAINER", "abc"),
        ("MEDIA_CONTAINER", "a-b"),
        ("MEDIA_CONTAINER", "0-media-1"),
        ("MEDIA_CONTAINER", "a" * 63),
        ("JOB_DEADLINE_HOURS", "0.5"),
        ("JOB_DEADLINE_HOURS", "720"),
        ("JOB_DEADLINE_HOURS", "1e2"),
        ("SUBMIT_GRACE_SECONDS", "1"),
        ("SUBMIT_GRACE_SECONDS", "2.5"),
        ("SUBMIT_GRACE_SECONDS", "600"),
        ("SWEEP_SCHEDULE", "*/30 * * * * *"),
        ("SWEEP_SCHEDULE", "*/5 * * * *"),
        ("SWEEP_SCHEDULE", "0 0-10/2,30 9-17 1,15 jan-mar MON-fri"),
        ("SWEEP_SCHEDULE", "0 0 0 1 DECEMBER 0"),
        ("SWEEP_SCHEDULE", "00:05:00"),
        ("SWEEP_SCHEDULE", "1.00:00:00"),
        ("MEDIA_STORAGE", "UseDevelopmentStorage=true"),
        ("MEDIA_STORAGE", "UseDevelopmentStorage=true;"),
        ("MEDIA_STORAGE", f"accountname=reels;accountkey={KEY}"),
        ("WEBHOOK_ALLOW_PRIVATE", "true"),
        ("WEBHOOK_ALLOW_PRIVATE", "False"),
        ("OWNER_WEIGHTS", "{}"),
        ("OWNER_WEIGHTS", '{"ada": 1, "bob": 100}'),
    ],
)
def test_good_values_are_taken(name: str, value: str) -> None:
    """What Azure takes is taken."""
    assert isinstance(read(**{name: value}), Settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH_MODE", "Key"),
        ("AUTH_MODE", "easyauth"),
        ("AUTH_MODE", "none"),
        ("MEDIA_CONTAINER", "ab"),
        ("MEDIA_CONTAINER", "a" * 64),
        ("MEDIA_CONTAINER", "a-" * 35 + "a"),
        ("MEDIA_CONTAINER", "Media"),
        ("MEDIA_CONTAINER", "a--b"),
        ("MEDIA_CONTAINER", "-media"),
        ("MEDIA_CONTAINER", "media-"),
        ("MEDIA_CONTAINER", "my_media"),
        ("MEDIA_CONTAINER", "médias"),
        ("MEDIA_CONTAINER", "$root"),
        ("JOB_DEADLINE_HOURS", "0"),
        ("JOB_DEADLINE_HOURS", "-1"),
        ("JOB_DEADLINE_HOURS", "720.1"),
        ("JOB_DEADLINE_HOURS", "nan"),
        ("JOB_DEADLINE_HOURS", "inf"),
        ("JOB_DEADLINE_HOURS", "24h"),
        ("JOB_DEADLINE_HOURS", "1.00:00:00"),
        ("SUBMIT_GRACE_SECONDS", "0"),
        ("SUBMIT_GRACE_SECONDS", "0.9"),
        ("SUBMIT_GRACE_SECONDS", "-60"),
        ("SUBMIT_GRACE_SECONDS", "600.5"),
        ("SUBMIT_GRACE_SECONDS", "nan"),
        ("SUBMIT_GRACE_SECONDS", "inf"),
        ("SUBMIT_GRACE_SECONDS", "60s"),
        ("SUBMIT_GRACE_SECONDS", "00:01:00"),
        ("SWEEP_SCHEDULE", "every five minutes or so ok"),
        ("SWEEP_SCHEDULE", "5"),
        ("SWEEP_SCHEDULE", "0 */5 * * * * *"),
        ("SWEEP_SCHEDULE", "60 * * * * *"),
        ("SWEEP_SCHEDULE", "* * 24 * * *"),
        ("SWEEP_SCHEDULE", "* * * 0 * *"),
        ("SWEEP_SCHEDULE", "* * * * 13 *"),
        ("SWEEP_SCHEDULE", "* * * * * 7"),
        ("SWEEP_SCHEDULE", "0 */0 * * * *"),
        ("SWEEP_SCHEDULE", "0 */-5 * * * *"),
        ("SWEEP_SCHEDULE", "0 */5 * * * ?"),
        ("SWEEP_SCHEDULE", "0 */5 L * * *"),
        ("SWEEP_SCHEDULE", "0 1,,2 * * * *"),
        ("SWEEP_SCHEDULE", "0 jan * * * *"),
        ("SWEEP_SCHEDULE", "0 * * * january1 *"),
        ("SWEEP_SCHEDULE", "00:00:00"),
        ("SWEEP_SCHEDULE", "00:60:00"),
        ("SWEEP_SCHEDULE", "99:99"),
        ("MEDIA_STORAGE", "not a connection string"),
        ("MEDIA_STORAGE", "AccountName=reels;EndpointSuffix=core.windows.net"),
        ("MEDIA_STORAGE", f"AccountKey={KEY}"),
        ("MEDIA_STORAGE", f"AccountName=reels;AccountKey={KEY[:-3]}"),
        ("MEDIA_STORAGE", "BlobEndpoint=https://reels.blob.core.windows.net;SharedAccessSignature=sv=1&sig=abc"),
        ("MEDIA_STORAGE__accountName", "https://reels.blob.core.windows.net"),
        ("MEDIA_STORAGE__accountName", "my account"),
        ("MEDIA_STORAGE__blobServiceUri", "https://reels.blob.core.windows.net"),
        ("MEDIA_STORAGE__tableServiceUri", "https://reels.table.core.windows.net"),
        ("WEBHOOK_ALLOW_PRIVATE", "yes"),
        ("WEBHOOK_ALLOW_PRIVATE", "1"),
        ("OWNER_WEIGHTS", "studio=5"),
        ("OWNER_WEIGHTS", "5"),
        ("OWNER_WEIGHTS", "null"),
        ("OWNER_WEIGHTS", '["ada", 2]'),
        ("OWNER_WEIGHTS", '[["ada", 2]]'),
        ("OWNER_WEIGHTS", '{"ada": 0}'),
        ("OWNER_WEIGHTS", '{"ada": 101}'),
        ("OWNER_WEIGHTS", '{"ada": -1}'),
        ("OWNER_WEIGHTS", '{"ada": 1.5}'),
        ("OWNER_WEIGHTS", '{"ada": 2.0}'),
        ("OWNER_WEIGHTS", '{"ada": NaN}'),
        ("OWNER_WEIGHTS", '{"ada": true}'),
        ("OWNER_WEIGHTS", '{"ada": "2"}'),
        ("OWNER_WEIGHTS", '{"ada": null}'),
        ("OWNER_WEIGHTS", '{"ada": {"weight": 2}}'),
        ("OWNER_WEIGHTS", '{"ada": 1, "ada": 1}'),
        ("OWNER_WEIGHTS", '{"": 2}'),
        ("OWNER_WEIGHTS", '{" ": 2}'),
        ("OWNER_WEIGHTS", '{"\\ud800": 2}'),
        ("OWNER_WEIGHTS", '{"' + 257 * "a" + '": 2}'),
        ("OWNER_WEIGHTS", '{"ada": ' + 5000 * "9" + "}"),
        ("OWNER_WEIGHTS", 100_000 * "["),
    ],
)
def test_bad_values_stop_the_start_by_name(name: str, value: str) -> None:
    """The message begins with the setting, or the one it belongs to."""
    assert refusal({**FULL, name: value}).startswith(name.partition("__")[0])


@pytest.mark.parametrize(
    "name",
    [
        "MEDIA_CONTAINER",
        "SWEEP_SCHEDULE",
        "JOB_DEADLINE_HOURS",
        "SUBMIT_GRACE_SECONDS",
        "AUTH_MODE",
        "WEBHOOK_ALLOW_PRIVATE",
        "OWNER_WEIGHTS",
    ],
)
@pytest.mark.parametrize("secret", [STORAGE, API_KEY, f"https://h/?sig={KEY}"])
def test_a_secret_in_the_wrong_setting_is_not_repeated(name: str, secret: str) -> None:
    """Somebody who pastes a key one line too low must not find it in the log."""
    message = refusal({**FULL, name: secret})
    assert name in message
    assert not any(part in message for part in (KEY, API_KEY))


def test_no_storage_says_what_to_set() -> None:
    """The one setting that has no default is named, with the way to run without an account."""
    message = refusal({})
    assert "AzureWebJobsStorage" in message
    assert "UseDevelopmentStorage=true" in message


def test_media_storage_wins_over_the_hosts_own() -> None:
    """Clips and records may live in another account than the Functions host's."""
    media = STORAGE.replace("reels", "clips")
    assert read(MEDIA_STORAGE=media).storage.connection_string == media


@pytest.mark.parametrize("prefix", ["MEDIA_STORAGE", "AzureWebJobsStorage"])
def test_storage_can_be_reached_by_identity(prefix: str) -> None:
    """Service addresses, or the account's name alone; a user-assigned identity is passed on."""
    blob, table = "https://clips.blob.core.windows.net", "https://clips.table.core.windows.net"
    by_uri = {f"{prefix}__blobServiceUri": blob, f"{prefix}__tableServiceUri": table}
    by_name = {f"{prefix}__accountName": "clips", f"{prefix}__credential": "managedidentity"}
    for env in (by_uri, by_name):
        storage = Settings.from_environment(env).storage
        assert storage.identity_based
        assert (storage.blob_service_uri, storage.table_service_uri) == (blob, table)
        assert storage.client_id is None
    assigned = Settings.from_environment({**by_name, f"{prefix}__clientId": "0e7d"}).storage
    assert assigned.client_id == "0e7d"


def test_an_address_that_is_no_https_is_refused_by_name() -> None:
    """An identity's token is never sent in the clear."""
    env = {"MEDIA_STORAGE__blobServiceUri": "http://h", "MEDIA_STORAGE__tableServiceUri": "https://h"}
    assert refusal(env).startswith("MEDIA_STORAGE: ")


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"AZURE_API_KEY": "two words"}, "AZURE_API_KEY"),
        ({"AZURE_API_KEY": "line\nbreak"}, "AZURE_API_KEY"),
        ({"AZURE_API_KEY": "“quoted”"}, "AZURE_API_KEY"),
        ({"AZURE_API_KEY": "clé"}, "AZURE_API_KEY"),
        ({"AZURE_SORA_ENDPOINT": "r.openai.azure.com"}, "AZURE_SORA_ENDPOINT"),
        ({"AZURE_SORA_ENDPOINT": f"https://user:{API_KEY}@r.openai.azure.com"}, "AZURE_SORA_ENDPOINT"),
        ({"AZURE_SORA_ENDPOINT": f"https://[{API_KEY}"}, "AZURE_SORA_ENDPOINT"),
        ({"AZURE_SORA_ENDPOINT": f"https://user:{API_KEY}@\u2100.example"}, "AZURE_SORA_ENDPOINT"),
        ({"AZURE_SORA_ENDPOINT": API_KEY}, "AZURE_SORA_ENDPOINT"),
        ({"AZURE_SORA_ENDPOINT": "http://r.openai.azure.com", "AZURE_API_KEY": ""}, "AZURE_SORA_ENDPOINT"),
        ({"OPENAI_BASE_URL": API_KEY}, "OPENAI_BASE_URL"),
        ({"PROVIDERS": f"[{API_KEY}]"}, "PROVIDERS"),
        ({"AZURE_OPENAI_SCOPE": API_KEY}, "AZURE_OPENAI_SCOPE"),
    ],
)
def test_a_provider_that_cannot_work_stops_the_start(env: dict[str, str], named: str) -> None:
    """A half-made or mangled provider is told at once, by the setting to mend, and without its value."""
    message = refusal({**FULL, **env})
    assert message.startswith(named)
    assert API_KEY not in message
    assert not env[named] or env[named] not in message


def test_secrets_stay_out_of_every_text() -> None:
    """Neither repr nor str of the settings or a provider shows a key, nor does what a traceback prints."""
    settings = Settings.from_environment(FULL)
    provider = settings.providers[0]
    texts = [repr(settings), str(settings), f"{settings}", repr(provider), str([provider]), repr(settings.storage)]
    texts.append(repr(replace(provider, name="other")))
    try:
        Settings.from_environment({**FULL, "AzureWebJobsStorage": STORAGE.replace("AccountName", "Name")})
    except SettingsError as error:
        texts.append("".join(traceback.format_exception(error)))
    assert len(texts) == 8
    assert not [text for text in texts if KEY in text or API_KEY in text]


cron_parts = st.from_regex(r"(\*|[0-9]{1,2}|[a-z]{1,4})(-([0-9]{1,2}|[a-z]{1,4}))?(/[0-9]{1,2})?", fullmatch=True)
cron_fields = st.lists(cron_parts | st.sampled_from(["*", "0", "5", "1-3", "*/5", "jan", "sun", "7"]), max_size=2)
crons = st.lists(cron_fields.map(lambda parts: ",".join(parts) or "*"), min_size=4, max_size=7).map(" ".join)


@given(crons | st.from_regex(r"([0-9]\.)?[0-9]{1,2}(:[0-9]{2}){1,2}", fullmatch=True))
@example("0 */5 * * * *")
@example("0 0 0 31-1 dec-jan sat-sun")
def test_a_schedule_is_taken_here_when_the_host_takes_it(text: str) -> None:
    """What passes at start does not fail in the timer, and what the timer can read is not refused."""
    try:
        Schedule(text)
    except ValueError:
        assert refusal({**FULL, "SWEEP_SCHEDULE": text}).startswith("SWEEP_SCHEDULE")
    else:
        assert read(SWEEP_SCHEDULE=text).sweep_schedule == text


def test_a_create_ends_before_the_host_ends_the_function() -> None:
    """host.json: functionTimeout 10 minutes."""
    env = {"AzureWebJobsStorage": "UseDevelopmentStorage=true", "SUBMIT_GRACE_SECONDS": "600"}
    settings = Settings.from_environment({**env, "IMAGE_ENDPOINT": "https://r.example/v1", "IMAGE_API_KEY": "k"})
    assert all(config.create_seconds < 600 for config in settings.providers)
