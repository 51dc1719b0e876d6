"""Which providers the settings make, how each signs in, and how every mistake is told: by setting, index and field."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelkeeper.errors import SettingsError
from reelkeeper.model import JobRequest
from reelkeeper.providers.base import COGNITIVE_SERVICES, ProviderConfig, Terms
from reelkeeper.providers.openai_images import GPT_IMAGE_2
from reelkeeper.providers.openai_videos import OTHERS
from reelkeeper.providers.registry import read_providers

SECRET = "5eCre7-4pi-Key"
ENTRY = {
    "name": "wan",
    "kind": "videos",
    "dialect": "openai-videos",
    "base_url": "http://gpu:8000/v1",
    "model": "Wan2.2",
}
FULL = ENTRY | {
    "api_key_setting": "WAN_KEY",
    "sizes": ["832x480", "480x832"],
    "seconds": {"min": 2, "max": 5},
    "max_variants": 1,
    "max_prompt": 900,
    "max_running": 2,
    "creates_per_minute": 10,
    "retires_on": "2027-06-30",
    "prices": {"currency": "USD", "per_second": 0.1, "by_size": {"832x480": 0.05}},
}


def read(*entries: Any, **env: str) -> tuple[ProviderConfig, ...]:
    array = {"PROVIDERS": json.dumps(entries)} if entries else {}
    return read_providers({**array, **env}, create_seconds=7.0)


def refusal(*entries: Any, **env: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(*entries, **env)
    message = str(caught.value)
    assert SECRET not in message
    assert message.endswith(".")
    return message


# Shorthand


def test_nothing_set_makes_nothing() -> None:
    """Also where the settings are blank, or a key is there for other purposes."""
    assert read() == ()
    assert read(AZURE_SORA_ENDPOINT=" ", OPENAI_BASE_URL="", PROVIDERS="  ", OPENAI_API_KEY=SECRET) == ()


def test_a_base_url_makes_a_provider_of_the_videos_dialect() -> None:
    """The key goes out as a bearer token; the model is `sora-2` unless told; messages name these settings."""
    (one,) = read(OPENAI_BASE_URL="http://127.0.0.1:8000", OPENAI_API_KEY=SECRET)
    assert (one.name, one.kind, one.dialect, one.model) == ("openai", "videos", "openai-videos", "sora-2")
    assert (one.base_url, one.api_version, one.api_key, one.auth) == ("http://127.0.0.1:8000/v1", "", SECRET, "bearer")
    assert (one.endpoint_setting, one.key_setting, one.model_setting) == (
        "OPENAI_BASE_URL",
        "OPENAI_API_KEY",
        "OPENAI_VIDEO_MODEL",
    )
    assert (one.create_seconds, one.thumbnails) == (7.0, False)
    assert read(OPENAI_BASE_URL="http://h", OPENAI_VIDEO_MODEL="ltx-2")[0].model == "ltx-2"


def test_the_order_is_sora_openai_then_the_array() -> None:
    """The first of its kind is the default."""
    all_of_them = read(ENTRY, ENTRY | {"name": "two"}, OPENAI_BASE_URL="http://h", AZURE_SORA_ENDPOINT="https://s")
    assert [one.name for one in all_of_them] == ["sora", "openai", "wan", "two"]


@pytest.mark.parametrize(
    ("env", "auth", "key"),
    [
        ({"AZURE_SORA_ENDPOINT": "https://r.openai.azure.com", "AZURE_API_KEY": SECRET}, "api-key", SECRET),
        ({"AZURE_SORA_ENDPOINT": "http://127.0.0.1:7090", "AZURE_API_KEY": SECRET}, "api-key", SECRET),
        ({"AZURE_SORA_ENDPOINT": "http://127.0.0.1:7090"}, "api-key", ""),
        ({"AZURE_SORA_ENDPOINT": "https://r.openai.azure.com"}, "entra", ""),
        ({"OPENAI_BASE_URL": "https://r.openai.azure.com", "OPENAI_API_KEY": SECRET}, "api-key", SECRET),
        ({"OPENAI_BASE_URL": "https://r.services.ai.azure.com"}, "entra", ""),
        ({"OPENAI_BASE_URL": "https://api.openai.com", "OPENAI_API_KEY": SECRET}, "bearer", SECRET),
        ({"OPENAI_BASE_URL": "http://gpu:8000"}, "bearer", ""),
    ],
)
def test_who_signs_in_how(env: dict[str, str], auth: str, key: str) -> None:
    """Azure's header for Azure and the jobs dialect, a bearer token elsewhere; no key: an identity at Azure only."""
    (one,) = read(**env)
    assert (one.auth, one.api_key) == (auth, key)
    assert one.scope == COGNITIVE_SERVICES


def test_an_identity_s_settings_are_named() -> None:
    """Without a key the advice is about the identity; the scope can be the newer one."""
    (one,) = read(AZURE_SORA_ENDPOINT="https://r.openai.azure.com", AZURE_OPENAI_SCOPE="https://ai.azure.com/.default")
    assert one.scope == "https://ai.azure.com/.default"
    assert "AZURE_API_KEY" in one.key_setting
    assert "AZURE_OPENAI_SCOPE" in one.key_setting


@pytest.mark.parametrize("scope", ["ai.azure.com", "https://ai.azure.com", "http://ai.azure.com/.default", SECRET])
def test_a_scope_that_is_none_is_refused(scope: str) -> None:
    """A token for another audience would be refused at the first create only."""
    assert refusal(AZURE_OPENAI_SCOPE=scope).startswith("AZURE_OPENAI_SCOPE must be")


def test_no_identity_s_token_goes_out_in_the_clear() -> None:
    """Plain http to Azure without a key stops the start."""
    assert refusal(AZURE_SORA_ENDPOINT="http://r.openai.azure.com").startswith("AZURE_SORA_ENDPOINT must start with")


def test_thumbnails_are_expected_of_azure_and_openai_only() -> None:
    """Of the servers of the videos dialect only these are known to have some."""
    urls = ("https://r.openai.azure.com", "https://api.openai.com", "http://gpu:8000")
    assert [read(OPENAI_BASE_URL=url)[0].thumbnails for url in urls] == [True, True, False]


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"OPENAI_BASE_URL": "gpu:8000"}, "OPENAI_BASE_URL"),
        ({"OPENAI_BASE_URL": f"https://user:{SECRET}@h"}, "OPENAI_BASE_URL"),
        ({"OPENAI_BASE_URL": "http://h", "OPENAI_API_KEY": "two words"}, "OPENAI_API_KEY"),
        ({"OPENAI_BASE_URL": SECRET}, "OPENAI_BASE_URL"),
    ],
)
def test_a_mangled_shorthand_stops_the_start(env: dict[str, str], named: str) -> None:
    """By the setting to mend, and without its value."""
    assert refusal(**env).startswith(named)


# The array


def test_five_fields_are_enough() -> None:
    """All else is as documented for the dialect, or not said; without a key none is sent."""
    (one,) = read(ENTRY)
    assert (one.name, one.kind, one.dialect) == ("wan", "videos", "openai-videos")
    assert (one.base_url, one.model, one.api_key, one.auth) == ("http://gpu:8000/v1", "Wan2.2", "", "bearer")
    assert (one.sizes, one.seconds, one.max_variants, one.max_prompt) == (None, None, None, None)
    assert one.terms == Terms()
    assert (one.endpoint_setting, one.key_setting, one.model_setting) == (
        "PROVIDERS[0].base_url",
        "PROVIDERS[0].api_key_setting",
        "PROVIDERS[0].model",
    )
    nulls = dict.fromkeys(FULL.keys() - ENTRY.keys())
    assert read(ENTRY | nulls) == (one,)


def test_every_field_is_read() -> None:
    """Abilities replace the documented ones, limits and prices are carried as they are."""
    (one,) = read(FULL, WAN_KEY=SECRET)
    assert (one.sizes, one.seconds) == (((832, 480), (480, 832)), (2, 3, 4, 5))
    assert (one.max_variants, one.max_prompt) == (1, 900)
    assert (one.api_key, one.auth, one.key_setting) == (SECRET, "bearer", "WAN_KEY")
    assert one.terms == Terms(2, 10, date(2027, 6, 30), FULL["prices"])
    assert SECRET not in repr(one)


def test_lengths_may_be_a_list() -> None:
    """In any order; the shortest comes first."""
    assert read(ENTRY | {"seconds": [8, 4, 12]})[0].seconds == (4, 8, 12)


def test_a_gateway_before_azure_may_want_azures_header() -> None:
    """The host does not tell it, so it can be said."""
    (one,) = read(ENTRY | {"auth": "api-key", "api_key_setting": "K"}, K=SECRET)
    assert one.auth == "api-key"
    (jobs,) = read(ENTRY | {"dialect": "azure-jobs", "api_key_setting": "K", "base_url": "https://gw/v1"}, K=SECRET)
    assert (jobs.auth, jobs.base_url, jobs.api_version) == ("api-key", "https://gw/v1", "preview")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "", "1 to 40"),
        ("name", "Wan", "a-z"),
        ("name", "wan_2", "a-z"),
        ("name", "w" * 41, "1 to 40"),
        ("name", 7, "1 to 40"),
        ("kind", "audio", "videos"),
        ("kind", [], "videos"),
        ("dialect", "openai", "one of azure-jobs, openai-videos"),
        ("dialect", "openai-images", "azure-jobs or openai-videos for the kind videos"),
        ("input_image", "no", "true or false"),
        ("fallback", [], "names of other providers"),
        ("fallback", "first", "names of other providers"),
        ("fallback", ["first", "first"], "twice"),
        ("fallback", ["nobody"], "other configured providers of the kind videos"),
        ("fallback", ["wan"], "other configured providers of the kind videos"),
        ("dialect", SECRET, "one of azure-jobs, openai-videos"),
        ("base_url", "gpu:8000", "is no URL"),
        ("base_url", f"https://u:{SECRET}@h", "user name or password"),
        ("base_url", 7, "address"),
        ("model", "", "1 to 128"),
        ("model", "a\nb", "1 to 128"),
        ("model", ["m"], "1 to 128"),
        ("api_key_setting", "", "the name of the setting"),
        ("api_key_setting", SECRET, "the name of the setting"),
        ("api_key_setting", "NOT_SET", "not there"),
        ("auth", "basic", "one of api-key, bearer"),
        ("sizes", [], "1280x720"),
        ("sizes", "832x480", "1280x720"),
        ("sizes", ["832x480", "832x480"], "none twice"),
        ("sizes", ["832 x 480"], "1280x720"),
        ("sizes", ["832x480", 7], "1280x720"),
        ("sizes", ["8x8"], "16x16"),
        ("sizes", ["9999x9999"], "8192x8192"),
        ("seconds", [], "[4, 8, 12]"),
        ("seconds", [4, 4], "none twice"),
        ("seconds", ["4"], "[4, 8, 12]"),
        ("seconds", [4, True], "[4, 8, 12]"),
        ("seconds", [0], "from 1 to 3600"),
        ("seconds", {"min": 5, "max": 2}, '"min"'),
        ("seconds", {"min": 1}, '"min"'),
        ("seconds", {"min": 1, "max": 2, "step": 1}, '"min"'),
        ("seconds", {"min": 1, "max": 1e9}, '"min"'),
        ("seconds", 4, "[4, 8, 12]"),
        ("max_variants", 0, "from 1 to 10"),
        ("max_variants", "2", "from 1 to 10"),
        ("max_variants", 2, "one output"),
        ("max_prompt", 32001, "from 1 to 32000"),
        ("max_running", 0, "from 1 to"),
        ("max_running", 1.5, "from 1 to"),
        ("creates_per_minute", True, "from 1 to"),
        ("creates_per_minute", -1, "from 1 to"),
        ("retires_on", "30.06.2027", "2027-06-30"),
        ("retires_on", "2027-02-30", "2027-06-30"),
        ("retires_on", "2027-06-30T00:00:00Z", "2027-06-30"),
        ("retires_on", 20270630, "2027-06-30"),
        ("prices", 0.1, "per_second"),
        ("prices", {"per_second": -1}, "per_second"),
        ("prices", {"per_second": [1]}, "per_second"),
        ("prices", {"a": {"b": {"c": 1}}}, "per_second"),
        ("prices", {"note": "x" * 41}, "per_second"),
    ],
)
def test_a_wrong_field_is_told_by_its_index_and_name(field: str, value: Any, words: str) -> None:
    """With what it may be, and never with what it was."""
    message = refusal(ENTRY | {"name": "first"}, ENTRY | {field: value})
    assert message.startswith(f"PROVIDERS[1].{field} ")
    assert words in message


@pytest.mark.parametrize("field", list(ENTRY))
@pytest.mark.parametrize("gone", [{}, {"value": None}])
def test_a_missing_field_is_told(field: str, gone: dict[str, Any]) -> None:
    """Left out or null, with all that is required."""
    entry = {name: value for name, value in ENTRY.items() if name != field} | ({field: None} if gone else {})
    assert refusal(entry) == f"PROVIDERS[0].{field} is missing; required: {', '.join(ENTRY)}."


@pytest.mark.parametrize(
    ("field", "named"), [("api_key", ".api_key"), ("fall_back", ".fall_back"), (SECRET, ": one of its fields")]
)
def test_an_unknown_field_is_refused_with_those_that_are_known(field: str, named: str) -> None:
    """A misspelt limit must not be silently without effect; a name that looks like a key is not repeated."""
    message = refusal(ENTRY | {field: SECRET})
    assert message.startswith(f"PROVIDERS[0]{named} is not a known field; allowed: name, kind, dialect")
    assert ("api_key_setting." in message) is ("key" in field.lower())


@pytest.mark.parametrize(
    "text",
    [
        "wan",
        "[",
        '[{"name": "a", "name": "b"}]',
        "{}",
        "[]",
        "null",
        '"x"',
        "7",
        "[" * 100_000,
        f'[{{"name": {SECRET}}}]',
        '[{"max_running": ' + "9" * 5000 + "}]",
    ],
)
def test_what_is_no_array_of_providers_is_refused(text: str) -> None:
    """With the place of the mistake where JSON itself is broken, and never the text."""
    assert refusal(PROVIDERS=text).startswith("PROVIDERS ")


@pytest.mark.parametrize("item", [7, "wan", [], None])
def test_an_entry_that_is_no_object_is_told_by_its_index(item: Any) -> None:
    """And what one must hold."""
    assert refusal(ENTRY, item).startswith("PROVIDERS[1] must be an object with at least name, kind, dialect")


@pytest.mark.parametrize("name", ["wan", "sora", "openai"])
def test_names_are_unique(name: str) -> None:
    """Also against those that the shorthand settings make: a job is kept under its provider's name."""
    message = refusal(
        ENTRY, ENTRY | {"name": name}, AZURE_SORA_ENDPOINT="http://127.0.0.1", OPENAI_BASE_URL="http://127.0.0.1"
    )
    assert f"the name {name} is given twice" in message


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*FULL, "auth"]), json_values))
def test_any_entry_is_read_or_refused_by_name(changes: dict[str, Any]) -> None:
    """No JSON value in any field fails in another way."""
    text = json.dumps([ENTRY | changes])
    try:
        configs = read_providers({"PROVIDERS": text}, 7.0)
        words = "PROVIDERS[0] was read"
    except SettingsError as error:
        configs, words = (), str(error)
    assert words.startswith("PROVIDERS")
    for config in configs:
        can = config.abilities(OTHERS)
        width, height = can.usual_size((1280, 720))
        assert can.refusals(JobRequest("p", width, height, can.usual_seconds, 1, config.model)) == ()


IMAGES = {"name": "flux", "kind": "images", "dialect": "openai-images", "base_url": "https://gpu", "model": "flux-1"}


def test_an_image_provider_has_five_times_the_patience() -> None:
    """Its create is the whole generation."""
    (one,) = read(IMAGES)
    assert (one.kind, one.base_url, one.create_seconds, one.grace) == ("images", "https://gpu/v1", 35.0, one.grace)
    assert one.grace.total_seconds() == pytest.approx(35.0 / 0.6)


def test_the_image_settings_make_a_provider() -> None:
    """As the others do: endpoint in any form, key, model; a lost create is made again only by explicit setting."""
    settings = {"IMAGE_ENDPOINT": "https://r.openai.azure.com", "IMAGE_API_KEY": SECRET}
    (image,) = read_providers(settings, create_seconds=7.0)
    assert (image.name, image.kind, image.dialect, image.model) == ("image", "images", "openai-images", "gpt-image-2")
    assert (image.base_url, image.api_version, image.auth) == ("https://r.openai.azure.com/openai/v1", "", "api-key")
    assert image.resubmit_unknown is False
    (image,) = read_providers(settings | {"IMAGE_RESUBMIT_UNKNOWN": "TRUE", "IMAGE_MODEL": "x"}, create_seconds=7.0)
    assert (image.resubmit_unknown, image.model) == (True, "x")
    with pytest.raises(SettingsError, match="IMAGE_RESUBMIT_UNKNOWN must be true or false"):
        read_providers(settings | {"IMAGE_RESUBMIT_UNKNOWN": "yes"}, create_seconds=7.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dialect": "openai-videos"}, "dialect must be openai-images for the kind images"),
        ({"seconds": [4]}, "seconds must be left out"),
        ({"input_image": True}, "input_image must be left out"),
        ({"kind": "videos"}, "dialect must be azure-jobs or openai-videos for the kind videos"),
    ],
)
def test_what_does_not_go_together_is_told(changes: dict[str, Any], words: str) -> None:
    """Each field may be right by itself."""
    assert words in refusal(IMAGES | changes)


def test_fallbacks_are_of_the_same_kind() -> None:
    """In any order, and to any depth; an image provider cannot take a video over."""
    second = ENTRY | {"name": "second", "fallback": ["first"]}
    first, other = read(ENTRY | {"name": "first", "fallback": ["second"]}, second)
    assert (first.fallback, other.fallback) == (("second",), ("first",))
    assert "of the kind videos" in refusal(ENTRY | {"fallback": ["flux"]}, IMAGES)


def test_configured_sizes_are_all_there_are() -> None:
    """Where the operator lists them, the model's rule for other sizes does not count."""
    (one,) = read(IMAGES | {"model": "gpt-image-2", "sizes": ["1024x1024"]})
    can = one.abilities(GPT_IMAGE_2)
    assert (can.offers(1024, 1024), can.offers(1600, 912)) == (True, False)


def test_a_text_only_model_takes_no_picture() -> None:
    """The operator knows; the dialect would."""
    taking, refusing = read(ENTRY, ENTRY | {"name": "text", "input_image": False})
    can = replace(OTHERS, input_image=True)
    assert (taking.abilities(can).input_image, refusing.abilities(can).input_image) == (True, False)
