"""host.json and local.settings.json: what is honoured, and that every mistake is named."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from emulator.functions.settings import HostSettings, StartError, load_local_settings, read_host_json, resolve


def write(root: Path, name: str, content: object) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (root / name).write_text(text, encoding="utf-8")
    return root


def test_defaults_are_those_of_the_functions_host(tmp_path: Path) -> None:
    """A host.json with only its version gives the defaults."""
    found = read_host_json(write(tmp_path, "host.json", {"version": "2.0"}))
    assert found == HostSettings("api", "TestHubName", "", 10, timedelta(minutes=30), {"default": logging.INFO})


def test_every_honoured_property_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Route prefix, hub, version, concurrency, timeout and log levels come from host.json, comments and BOM allowed."""
    monkeypatch.setenv("HUB", "SomeHub")
    text = """\ufeff{
      "version": "2.0", // the only one
      /* "functionTimeout": "nonsense", */
      "functionTimeout": "1.00:05:00",
      "extensions": {
        "http": {"routePrefix": "/v1/"},
        "durableTask": {"hubName": "%HUB%", "defaultVersion": "7", "maxConcurrentActivityFunctions": 3}
      },
      "logging": {"logLevel": {"default": "Warning", "Function.render": "Trace", "Host": "None"}}
    }"""
    levels = {"default": logging.WARNING, "Function.render": logging.DEBUG, "Host": logging.CRITICAL + 10}
    found = read_host_json(write(tmp_path, "host.json", text))
    assert found == HostSettings("v1", "SomeHub", "7", 3, timedelta(days=1, minutes=5), levels)


def test_minus_one_is_no_timeout(tmp_path: Path) -> None:
    """functionTimeout -1 switches the limit off."""
    found = read_host_json(write(tmp_path, "host.json", {"version": "2.0", "functionTimeout": "-1"}))
    assert found.function_timeout is None


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "host.json cannot be read"),
        ("[]", "JSON object"),
        ({}, '"version": "2.0"'),
        ({"version": "3.0"}, '"version": "2.0"'),
        ({"version": "2.0", "functionTimeout": "10 minutes"}, "functionTimeout"),
        ({"version": "2.0", "functionTimeout": "00:00:00"}, "functionTimeout"),
        ({"version": "2.0", "extensions": "none"}, "'extensions'"),
        ({"version": "2.0", "extensions": {"durableTask": {"hubName": "my-hub"}}}, "'my-hub'"),
        ({"version": "2.0", "extensions": {"durableTask": {"hubName": "%NO_SUCH_HUB%"}}}, "NO_SUCH_HUB"),
        ({"version": "2.0", "extensions": {"durableTask": {"maxConcurrentActivityFunctions": 0}}}, "maxConcurrent"),
        ({"version": "2.0", "logging": {"logLevel": {"default": "Loud"}}}, "'Loud'"),
    ],
)
def test_a_wrong_host_json_is_named(tmp_path: Path, content: object, named: str) -> None:
    """A wrong value stops the start with its property in the message."""
    with pytest.raises(StartError) as refused:
        read_host_json(write(tmp_path, "host.json", content))
    assert named in str(refused.value)


def test_a_missing_host_json_says_where_it_was_looked_for(tmp_path: Path) -> None:
    """The wrong --root is the usual cause, so the message speaks of it."""
    with pytest.raises(StartError, match="--root"):
        read_host_json(tmp_path)


def test_local_settings_fill_the_environment_but_never_overwrite_it(tmp_path: Path) -> None:
    """Values go into the environment; what is set there wins; other types become text; null is skipped."""
    values: dict[str, Any] = {"A": "file", "B": "file", "N": 3, "T": True, "NULL": None}
    environment = {"B": "environment"}
    load_local_settings(write(tmp_path, "local.settings.json", {"IsEncrypted": False, "Values": values}), environment)
    assert environment == {"A": "file", "B": "environment", "N": "3", "T": "true"}


def test_no_local_settings_is_no_error(tmp_path: Path) -> None:
    """The file is optional."""
    environment: dict[str, str] = {}
    load_local_settings(tmp_path, environment)
    assert environment == {}


def test_encrypted_local_settings_are_refused(tmp_path: Path) -> None:
    """Only Core Tools can decrypt them, and the message says so."""
    write(tmp_path, "local.settings.json", {"IsEncrypted": True, "Values": {"A": "cipher"}})
    with pytest.raises(StartError, match="func settings decrypt"):
        load_local_settings(tmp_path, {})


def test_a_missing_setting_is_named_with_its_place() -> None:
    """`%Setting%` is replaced wherever it stands; a missing one names itself and who needs it."""
    assert resolve("0 */%M% * * * *", "here", {"M": "5"}) == "0 */5 * * * *"
    with pytest.raises(StartError, match="Function sweep needs the setting SWEEP_SCHEDULE"):
        resolve("%SWEEP_SCHEDULE%", "Function sweep", {})
