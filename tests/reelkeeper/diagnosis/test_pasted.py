"""What people paste by mistake, and what is said of it without repeating it."""

from __future__ import annotations

import pytest

from reelkeeper.diagnosis import pasted
from reelkeeper.diagnosis.diagnose import pasted_endpoint
from reelkeeper.errors import SettingsError
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.settings import Settings

STORAGE = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
AZURE = "https://films.openai.azure.com"


def configured(endpoint: str, setting: str = "AZURE_SORA_ENDPOINT", **more: str) -> ProviderConfig:
    (config,) = Settings.from_environment({**STORAGE, setting: endpoint, **more}).providers
    return config


@pytest.mark.parametrize(
    ("setting", "text", "detail", "fix"),
    [
        ("AZURE_SORA_ENDPOINT", "https://your-resource.openai.azure.com", "placeholder", "your own resource"),
        ("AZURE_SORA_ENDPOINT", "https://YOUR_RESOURCE_NAME.openai.azure.com", "placeholder", "your own resource"),
        ("OPENAI_BASE_URL", "https://example.com/v1", "placeholder", "your own resource"),
        ("AZURE_SORA_ENDPOINT", "https://api.openai.com/v1", "dialect openai-videos", "OPENAI_BASE_URL"),
        ("AZURE_SORA_ENDPOINT", f"{AZURE}/openai/v1/videos", "dialect openai-videos", "OPENAI_BASE_URL"),
        ("AZURE_SORA_ENDPOINT", f"{AZURE}/openai/v1/images/generations", "dialect openai-images", "IMAGE_ENDPOINT"),
        ("OPENAI_BASE_URL", f"{AZURE}/openai/v1/video/generations/jobs", "dialect azure-jobs", "AZURE_SORA_ENDPOINT"),
        ("AZURE_SORA_ENDPOINT", f"{AZURE}?api-version=2025-02-15-preview", "2025-02-15-preview", "api-version=preview"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_by_its_form(setting: str, text: str, detail: str, fix: str) -> None:
    """No request is needed to see it."""
    found = pasted.endpoint(text, configured(text, setting, AZURE_API_KEY="k", OPENAI_API_KEY="k"))
    assert found is not None
    assert detail in found[0]
    assert fix in found[1]


@pytest.mark.parametrize(
    ("setting", "text", "words"),
    [
        ("AZURE_SORA_ENDPOINT", "https://ai.azure.com/resource/overview?wsid=1", "is a portal's web page"),
        ("AZURE_SORA_ENDPOINT", "https://portal.azure.com", "is a portal's web page"),
        ("OPENAI_BASE_URL", "https://platform.openai.com/v1", "is a portal's web page"),
        ("AZURE_SORA_ENDPOINT", "http://films.openai.azure.com", "must start with https://"),
        ("OPENAI_BASE_URL", "http://api.openai.com/v1", "must start with https://"),
    ],
)
def test_a_page_or_an_open_line_stops_the_start(setting: str, text: str, words: str) -> None:
    """Nothing can come of the one, and over the other the key would travel readable for everybody."""
    with pytest.raises(SettingsError, match=f"{setting} {words}"):
        configured(text, setting, AZURE_API_KEY="k", OPENAI_API_KEY="k")
    assert pasted.refused_endpoint("https://portal.azure.com/#home") == pasted.COPY


@pytest.mark.parametrize(
    ("setting", "text", "reading"),
    [
        ("AZURE_SORA_ENDPOINT", AZURE, f"{AZURE}/openai/v1 (azure-jobs)"),
        (
            "AZURE_SORA_ENDPOINT",
            "https://films.services.ai.azure.com/api/projects/p",
            "https://films.services.ai.azure.com/openai/v1 (azure-jobs; given as a project's address)",
        ),
        (
            "AZURE_SORA_ENDPOINT",
            f"{AZURE}/openai/v1/chat/completions",
            f"{AZURE}/openai/v1 (azure-jobs; given as an address of chat completions)",
        ),
        (
            "OPENAI_BASE_URL",
            "http://gpu:8000/v1/videos/video_1/content",
            "http://gpu:8000/v1 (openai-videos; given as the address of a file)",
        ),
        (
            "AZURE_SORA_ENDPOINT",
            f"{AZURE}/openai/v1/video/generations/jobs?api-version=preview",
            f"{AZURE}/openai/v1 (azure-jobs; given as an address of one operation)",
        ),
        ("AZURE_SORA_ENDPOINT", "https://gateway.corp/videos/azure", "https://gateway.corp/videos/azure (azure-jobs)"),
    ],
)
def test_an_address_that_is_understood_is_shown_as_it_was_read(setting: str, text: str, reading: str) -> None:
    """Odd, but accepted: no fault, and the reader sees what was made of it."""
    config = configured(text, setting, AZURE_API_KEY="k", OPENAI_API_KEY="k")
    assert pasted.endpoint(text, config) is None
    assert pasted.reading_of(text, config) == reading


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("https://<your-resource>.openai.azure.com", "Replace the placeholder"),
        ('"https://films.openai.azure.com"', "Remove the quotes"),
        ("0123456789abcdef0123456789abcdef", "looks like a key"),
        ("sk-proj-0123456789abcdefghij", "looks like a key"),
        ("films.openai.azure.com", "Begin it with https://"),
        ("films", "copy the endpoint"),
    ],
)
def test_what_is_no_address_gets_the_fix_that_fits(text: str, fix: str) -> None:
    """By what it is instead."""
    assert fix in pasted.refused_endpoint(text)


@pytest.mark.parametrize(
    ("key", "detail"),
    [
        ("'abcdef0123'", "quotes"),
        ("https://films.openai.azure.com", "an address"),
        ("AccountName=a;AccountKey=YWJj", "connection string"),
        ("<your-key>", "placeholder"),
        ("xxxxxxxx", "placeholder"),
    ],
)
def test_a_key_that_is_none_is_not_sent(key: str, detail: str) -> None:
    """It is told by its form, with the setting's name and without the text."""
    found = pasted.key(configured(AZURE, AZURE_API_KEY=key))
    assert found is not None
    assert detail in found[0]
    assert "AZURE_API_KEY" in found[1]
    assert key not in " ".join(found)


def test_keys_of_the_other_house_are_recognised_once_refused() -> None:
    """A hint for the fix, not a verdict: there are gateways of every kind."""
    openai = configured(
        "https://api.openai.com/v1", "OPENAI_BASE_URL", OPENAI_API_KEY="0123456789abcdef0123456789abcdef"
    )
    assert "Azure resource" in pasted.refused_key(openai)
    assert "OpenAI" in pasted.refused_key(configured(AZURE, AZURE_API_KEY="sk-0123456789abcdef"))
    assert pasted.refused_key(configured(AZURE, AZURE_API_KEY="0123456789abcdef0123456789abcdef")) == ""
    assert "None is set" in pasted.refused_key(configured("http://gpu:8000", "OPENAI_BASE_URL"))
    assert pasted.refused_key(configured(AZURE)) == ""


def test_openai_wants_a_key() -> None:
    """Without one nothing has to be asked; other servers may want none."""
    assert pasted.key(configured("https://api.openai.com/v1", "OPENAI_BASE_URL")) is not None
    assert pasted.key(configured("http://gpu:8000", "OPENAI_BASE_URL")) is None


@pytest.mark.parametrize("model", ["my sora", "https://x/y", "0123456789abcdef0123456789abcdef", "<deployment>", "a/b"])
def test_a_deployment_s_name_that_cannot_be_one(model: str) -> None:
    """At Azure; elsewhere models are called anything."""
    assert pasted.model(configured(AZURE, AZURE_API_KEY="k", SORA_MODEL=model)) is not None


def test_other_servers_name_models_as_they_like() -> None:
    """Repository names and blanks are fine."""
    for model in ("Wan-AI/Wan2.2-T2V-A14B", "wan 2.2"):
        assert pasted.model(configured("http://gpu:8000", "OPENAI_BASE_URL", OPENAI_VIDEO_MODEL=model)) is None


def test_the_pasted_text_of_an_entry_is_found() -> None:
    """By its index in PROVIDERS; whatever is odd there falls back to the base URL."""
    text = '[{"name": "a", "kind": "videos", "dialect": "openai-videos", "model": "m", "base_url": "http://gpu/v1/videos"}]'
    (config,) = Settings.from_environment({**STORAGE, "PROVIDERS": text}).providers
    assert pasted_endpoint(config, {"PROVIDERS": text}) == "http://gpu/v1/videos"
    assert pasted_endpoint(config, {"PROVIDERS": "[]"}) == pasted_endpoint(config, {}) == "http://gpu/v1"
