"""Broken configurations, against a real Azurite and a real simulator: each is found, alone, and its fix is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient

from emulator.azurite import Azurite
from emulator.sora.profiles import PROFILES
from emulator.sora.simulator import Simulator
from reelkeeper.diagnosis.report import Check, Report

Examine = Callable[..., Report]
Failed = Callable[[Report], dict[str, Check]]


@dataclass(frozen=True)
class Broken:
    """Settings that differ from the good ones (None: not set), the failed checks, and words of detail and fix.

    `fault`: what the provider answers to the list (or to `op`) instead.
    """

    story: str
    changes: dict[str, str | None]
    check: str
    detail: str
    fix: str
    fault: dict[str, Any] = field(default_factory=dict)


WAN = {"name": "wan", "kind": "videos", "dialect": "openai-videos", "base_url": "{url}/v1", "model": "sora-2"} | {
    "api_key_setting": "AZURE_API_KEY"
}
HTML = {"kind": "wrong_body", "body": "html"}
FIREWALL = {"error": {"code": "AccessDenied", "message": "Access denied due to Virtual Network/Firewall rules."}}

BROKEN = (
    Broken("no storage", {"AzureWebJobsStorage": None}, "settings", "AzureWebJobsStorage is not set", "Access keys"),
    Broken(
        "a connection string that was cut",
        {"AzureWebJobsStorage": "DefaultEndpointsProtocol=https;AccountName=films;AccountKey=abc"},
        "settings",
        "not valid Base64",
        "Set AzureWebJobsStorage",
    ),
    Broken(
        "the host without storage of its own",
        {"AzureWebJobsStorage": None, "MEDIA_STORAGE": "{storage}"},
        "host storage",
        "does not start",
        "Set AzureWebJobsStorage",
    ),
    Broken("a schedule that is none", {"SWEEP_SCHEDULE": "every 5 minutes"}, "settings", "NCRONTAB", "SWEEP_SCHEDULE"),
    Broken("a schedule as a time span", {"SWEEP_SCHEDULE": "00:05:00"}, "schedule", "time span", "seconds first"),
    Broken("another worker", {"FUNCTIONS_WORKER_RUNTIME": "node"}, "worker", "another language", "to python"),
    Broken("no provider", {"AZURE_SORA_ENDPOINT": None}, "providers", "none is configured", "dev.py up"),
    Broken(
        "the placeholder of an example",
        {"AZURE_SORA_ENDPOINT": "https://<your-resource>.openai.azure.com"},
        "settings",
        "placeholder in brackets",
        "Replace the placeholder",
    ),
    Broken(
        "the key in place of the endpoint",
        {"AZURE_SORA_ENDPOINT": "0123456789abcdef0123456789abcdef"},
        "settings",
        "is no URL",
        "looks like a key",
    ),
    Broken(
        "an api-version of the older paths",
        {"AZURE_SORA_ENDPOINT": "{url}/openai/v1/video/generations/jobs?api-version=2025-04-01-preview"},
        "provider sora: endpoint",
        "no dated api-version",
        "api-version=preview",
    ),
    Broken(
        "the endpoint of another dialect",
        {"AZURE_SORA_ENDPOINT": "{url}/v1/videos"},
        "provider sora: endpoint",
        "dialect openai-videos",
        "Put it into OPENAI_BASE_URL",
    ),
    Broken(
        "a name that does not resolve",
        {"AZURE_SORA_ENDPOINT": "https://no-such-name.invalid"},
        "provider sora: dns",
        "does not resolve",
        "typing error in AZURE_SORA_ENDPOINT",
    ),
    Broken(
        "a server that is not running",
        {"AZURE_SORA_ENDPOINT": "http://127.0.0.1:{closed}"},
        "provider sora: connection",
        "nothing listens",
        "Start the server",
    ),
    Broken(
        "https to a server without TLS",
        {"AZURE_SORA_ENDPOINT": "https://127.0.0.1:{port}"},
        "provider sora: tls",
        "no TLS",
        "http://",
    ),
    Broken(
        "another resource's key",
        {"AZURE_API_KEY": "k-of-another-resource"},
        "provider sora: credentials",
        "HTTP 401",
        "Check AZURE_API_KEY",
    ),
    Broken(
        "a key in quotes",
        {"AZURE_API_KEY": '"k-0d1f7a93c4"'},
        "provider sora: credentials",
        "quotes",
        "Remove the quotes",
    ),
    Broken(
        "no key",
        {"AZURE_API_KEY": None},
        "provider sora: credentials",
        "HTTP 401",
        "None is set, and this server wants one",
    ),
    Broken(
        "a firewall at the resource",
        {},
        "provider sora: credentials",
        "HTTP 403",
        "Networking",
        {"kind": "http", "status": 403, "body": FIREWALL},
    ),
    Broken(
        "a path that is no API",
        {"AZURE_SORA_ENDPOINT": "{url}/films"},
        "provider sora: route",
        "HTTP 404",
        "AZURE_SORA_ENDPOINT must be the resource's base URL",
    ),
    Broken("a page in place of an API", {}, "provider sora: route", "not JSON", "AZURE_SORA_ENDPOINT", HTML),
    Broken(
        "another API", {}, "provider sora: route", "no list of tasks", "AZURE_SORA_ENDPOINT", {"kind": "wrong_body"}
    ),
    Broken(
        "a server in trouble",
        {},
        "provider sora: route",
        "HTTP 503",
        "try again later",
        {"kind": "server_error", "status": 503},
    ),
    Broken(
        "a server that hangs up",
        {},
        "provider sora: route",
        "The connection broke",
        "AZURE_SORA_ENDPOINT",
        {"kind": "drop_before", "times": None},
    ),
    Broken(
        "a deployment that does not exist",
        {},
        "provider sora: deployment",
        "HTTP 404",
        "Check SORA_MODEL",
        {"kind": "deployment_not_found"},
    ),
    Broken(
        "a placeholder as deployment",
        {"SORA_MODEL": "<your-deployment>"},
        "provider sora: deployment",
        "placeholder",
        "Put the name of your deployment into SORA_MODEL",
    ),
    Broken(
        "a quota that is used up",
        {},
        "provider sora: quota",
        "HTTP 429",
        "12 s",
        {"kind": "rate_limited", "retry_after": 12},
    ),
    Broken(
        "a provider past its day",
        {"AZURE_SORA_ENDPOINT": None, "PROVIDERS": json.dumps([WAN | {"retires_on": "2026-01-31"}])},
        "provider wan: retirement",
        "retired after 2026-01-31",
        "Choose another model (PROVIDERS[0].model)",
    ),
    Broken(
        "an image model that does not exist",
        {
            "AZURE_SORA_ENDPOINT": None,
            "IMAGE_ENDPOINT": "{url}/v1",
            "IMAGE_API_KEY": "{key}",
            "IMAGE_MODEL": "gpt-image-1",
        },
        "provider image: deployment",
        "HTTP 404",
        "Check IMAGE_MODEL",
        {"op": "create", "kind": "deployment_not_found"},
    ),
)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.story)
def test_each_is_found_with_its_fix(
    broken: Broken, sora: dict[str, str], provider: Simulator, closed_port: int, examine: Examine, failed: Failed
) -> None:
    """One failed check says what is wrong and what to do; whatever else can be checked is checked, and is well."""
    port = provider.url.rpartition(":")[2]
    known = {"url": provider.url, "port": port, "closed": str(closed_port), "storage": sora["AzureWebJobsStorage"]}
    known["key"] = sora["AZURE_API_KEY"]
    env = dict(sora)
    for name, value in broken.changes.items():
        if value is None:
            del env[name]
            continue
        for word, meaning in known.items():
            value = value.replace(f"{{{word}}}", meaning)
        env[name] = value
    if broken.fault:
        rule = {"op": "list", "times": 1, **broken.fault}
        provider.fault(rule.pop("op"), rule.pop("kind"), rule.pop("times"), **rule)
    wrong = failed(report := examine(env))
    assert list(wrong) == [broken.check]
    assert broken.detail in wrong[broken.check].detail
    assert broken.fix in str(wrong[broken.check].fix)
    assert not report.ok
    assert {"worker", "host.json"} <= {check.name for check in report.checks}


def test_nothing_is_wrong_with_a_good_one(every: dict[str, str], provider: Simulator, examine: Examine) -> None:
    """All three dialects and the storage: every check is ok, none has a fix, and nothing was paid for."""
    before = provider.stats()["creates_accepted"]
    report = examine(every)
    assert [check for check in report.checks if not check.ok or check.fix is not None] == []
    names = {check.name for check in report.checks}
    for dialect in ("sora", "openai", "image"):
        told = ("endpoint", "retirement", "dns", "connection", "credentials", "route", "deployment", "clock")
        assert {f"provider {dialect}: {what}" for what in told} <= names
    assert {"storage: blobs", "storage: tables", "storage: signed url", "storage: clock"} <= names
    assert provider.stats()["creates_accepted"] == before


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_every_server_s_ways_are_well(
    profile: str, every: dict[str, str], provider: Simulator, examine: Examine, failed: Failed
) -> None:
    """However it words its refusals: a right key is right, a wrong one is told, and nothing is made."""
    before = provider.stats()["creates_accepted"]
    provider.set_profile(profile)
    try:
        report = examine(every)
        wrong = failed(examine(every | {"OPENAI_API_KEY": "k-of-another", "IMAGE_API_KEY": "k-of-another"}))
    finally:
        provider.set_profile("azure")
    assert failed(report) == {}
    assert list(wrong) == ["provider openai: credentials", "provider image: credentials"]
    assert provider.stats()["creates_accepted"] == before


def test_a_list_that_is_refused_proves_nothing_and_breaks_nothing(
    every: dict[str, str], provider: Simulator, examine: Examine
) -> None:
    """A gateway without a usable list is no fault; the detail says what would prove it."""
    provider.set_profile("litellm")
    try:
        report = examine({name: value for name, value in every.items() if not name.startswith(("AZURE", "IMAGE"))})
    finally:
        provider.set_profile("azure")
    assert report.ok
    (deployment,) = [check for check in report.checks if check.name == "provider openai: deployment"]
    assert "doctor --create" in deployment.detail


def test_the_quota_is_shown_as_the_server_tells_it(sora: dict[str, str], provider: Simulator, examine: Examine) -> None:
    """Rate limit headers, in words."""
    headers = {"x-ratelimit-remaining-requests": "57", "x-ratelimit-limit-requests": "60"}
    provider.fault("list", "http", status=200, body={"data": [{"model": "sora"}]}, headers=headers)
    told = {check.name: check.detail for check in examine(sora).checks}
    assert told["provider sora: quota"] == "57 of 60 requests left"
    assert told["provider sora: deployment"] == "a task of sora is in the list"


def test_a_storage_emulator_that_is_not_running(
    sora: dict[str, str], closed_port: int, examine: Examine, failed: Failed
) -> None:
    """Blobs and tables both say how to start it."""
    address = f"http://127.0.0.1:{closed_port}/devstoreaccount1"
    away = f"AccountName=devstoreaccount1;AccountKey=bm90IGEga2V5;BlobEndpoint={address};TableEndpoint={address}"
    wrong = failed(examine(sora | {"AzureWebJobsStorage": away}))
    assert list(wrong) == ["storage: blobs", "storage: tables"]
    for check in wrong.values():
        assert "python3 dev.py up" in str(check.fix)
        assert "npx azurite" in str(check.fix)


def test_another_account_s_key(sora: dict[str, str], examine: Examine, failed: Failed) -> None:
    """The storage refuses it, and the fix is to copy the connection string again."""
    wrong = failed(examine(sora | {"AzureWebJobsStorage": sora["AzureWebJobsStorage"].replace("Eby8vd", "Eby9vd")}))
    assert list(wrong) == ["storage: blobs", "storage: tables"]
    for check in wrong.values():
        assert "HTTP 403" in check.detail
        assert "Copy the connection string again" in str(check.fix)


def test_a_public_container(sora: dict[str, str], azurite: Azurite, examine: Examine, failed: Failed) -> None:
    """Clips that everybody can read are a fault, though everything works."""
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        service.create_container("doctor-public", public_access="blob")
    wrong = failed(examine(sora | {"MEDIA_CONTAINER": "doctor-public"}))
    assert list(wrong) == ["storage: signed url"]
    assert "Private" in str(wrong["storage: signed url"].fix)


def test_a_clock_that_is_wrong(sora: dict[str, str], examine: Examine, failed: Failed) -> None:
    """Twenty minutes ahead: both servers tell it, and a signed URL does not count yet."""
    wrong = failed(examine(sora, now=lambda: datetime.now(timezone.utc) + timedelta(minutes=20)))
    assert list(wrong) == ["storage: clock", "storage: signed url", "provider sora: clock"]
    for check in wrong.values():
        assert "clock" in str(check.fix)
    assert "120" in wrong["storage: clock"].detail


def test_nothing_is_left_in_the_storage(sora: dict[str, str], azurite: Azurite, examine: Examine) -> None:
    """The scratch blob is gone; the container stays, as the app needs it anyway."""
    assert examine(sora | {"MEDIA_CONTAINER": "doctor-scratch"}).ok
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        assert list(service.get_container_client("doctor-scratch").list_blobs()) == []


@pytest.mark.parametrize(
    ("bundle", "detail"),
    [
        (None, "no extensionBundle"),
        ({"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[3.*, 4.0.0)"}, "out of support"),
        ({"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[2.*, 5.0.0)"}, "out of support"),
        ({"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[5.*, 6.0.0)"}, "beyond bundle 4"),
        ({"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "4"}, "no range"),
        ({"id": "Microsoft.Azure.Functions.ExtensionBundle.Preview", "version": "[4.*, 5.0.0)"}, "another one"),
    ],
)
def test_an_extension_bundle_that_does_not_fit(
    bundle: dict[str, str] | None,
    detail: str,
    sora: dict[str, str],
    app: Callable[..., Path],
    examine: Examine,
    failed: Failed,
) -> None:
    """The fix is the entry to write."""
    wrong = failed(examine(sora, app(bundle)))
    assert list(wrong) == ["host.json"]
    assert detail in wrong["host.json"].detail
    assert '"version": "[4.*, 5.0.0)"' in str(wrong["host.json"].fix)


def test_a_host_json_that_is_none(sora: dict[str, str], tmp_path: Path, examine: Examine, failed: Failed) -> None:
    """Missing or unreadable: told, and everything else is checked."""
    for content in (None, "{", "[]"):
        if content is not None:
            (tmp_path / "host.json").write_text(content)
        assert list(failed(examine(sora, tmp_path))) == ["host.json"]
