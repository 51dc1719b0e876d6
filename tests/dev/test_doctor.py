"""`dev.py doctor` as a person runs it: readable lines, the right exit code, settings from where they belong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.azurite import Azurite
from emulator.sora.simulator import Simulator

ROOT = Path(__file__).resolve().parents[2]
KEY = "k-0d1f7a93c4-doctor"
PERSONAL = ("AZURE_", "SORA_", "MEDIA_", "AzureWebJobs", "PROVIDERS", "OPENAI_", "IMAGE_", "SWEEP_", "AUTH_")
Doctor = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    data = tmp_path_factory.mktemp("sora")
    with Simulator(data, api_key=KEY, media="tiny", generation_seconds=0.1, deployments=["sora"]) as simulator:
        yield simulator


@pytest.fixture
def good(azurite: Azurite, provider: Simulator) -> dict[str, str]:
    return {
        "AzureWebJobsStorage": azurite.connection_string,
        "AZURE_SORA_ENDPOINT": provider.url,
        "AZURE_API_KEY": KEY,
    }


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    """Run what dev.py runs, in a folder of its own, with nothing set but what is given."""
    shutil.copy(ROOT / "host.json", tmp_path)

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PERSONAL)}
        return subprocess.run(
            [sys.executable, "-m", "emulator.doctor", *arguments],
            cwd=tmp_path,
            env={**inherited, "PYTHONPATH": str(ROOT), **env},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_all_is_well(doctor: Doctor, good: dict[str, str]) -> None:
    """One line per check, a sum, and exit 0."""
    done = doctor(**good)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].endswith("checks, all ok, but not proven: provider sora: deployment (--create proves it)")
    assert all(line.startswith("ok  ") for line in lines[:-2])
    assert done.stderr == ""


def test_a_newcomer_is_told_what_to_do(doctor: Doctor) -> None:
    """In a fresh clone nothing is set: what to set, and that everything also runs without."""
    done = doctor()
    assert done.returncode == 1
    assert "FAIL  settings" in done.stdout
    assert "FAIL  providers" in done.stdout
    assert "Set AZURE_SORA_ENDPOINT and AZURE_API_KEY" in done.stdout
    assert "python3 dev.py up" in done.stdout
    assert "2 of 5 checks failed: settings, providers" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_running_service_is_pointed_at(doctor: Doctor, tmp_path: Path) -> None:
    """Who has started `dev.py up` in another window and set nothing else is told where that one is checked."""
    (tmp_path / ".dev" / "data").mkdir(parents=True)
    (tmp_path / ".dev" / "data" / "up.json").write_text('{"app": "http://127.0.0.1:7071"}')
    done = doctor("--json")
    assert done.returncode == 1
    assert "http://127.0.0.1:7071/api/diagnostics" in done.stderr
    assert json.loads(done.stdout)["ok"] is False


def test_each_fault_is_followed_by_its_fix(doctor: Doctor, good: dict[str, str]) -> None:
    """In the line below it; neither the wrong key nor the right one is shown."""
    done = doctor(**good | {"AZURE_API_KEY": "k-of-another-resource"})
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("FAIL  provider sora: credentials"))
    assert lines[at + 1].strip().startswith("fix: ")
    assert "AZURE_API_KEY" in lines[at + 1]
    assert "k-of-another-resource" not in done.stdout + done.stderr


def test_settings_come_from_the_file_and_the_environment_wins(
    doctor: Doctor, good: dict[str, str], tmp_path: Path
) -> None:
    """As for `dev.py up`."""
    (tmp_path / "local.settings.json").write_text(json.dumps({"Values": {**good, "AZURE_API_KEY": "k-wrong-in-file"}}))
    assert doctor().returncode == 1
    assert doctor(AZURE_API_KEY=KEY).returncode == 0


def test_a_settings_file_that_cannot_be_read_is_a_failed_check(doctor: Doctor, tmp_path: Path) -> None:
    """It is named, with its fix."""
    (tmp_path / "local.settings.json").write_text("{")
    done = doctor("--json")
    assert done.returncode == 1
    (check,) = json.loads(done.stdout)["checks"]
    assert "local.settings.json" in check["detail"]
    assert "local.settings.json.example" in check["fix"]


def test_create_makes_one_and_tells_its_story(doctor: Doctor, good: dict[str, str], provider: Simulator) -> None:
    """Each exchange is a line on stderr; the JSON has stdout to itself; without --create nothing is made."""
    before = provider.stats()["creates_accepted"]
    assert doctor("--json", **good).returncode == 0
    assert provider.stats()["creates_accepted"] == before
    done = doctor("--create", "--json", **good)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["ok"]
    assert report["checks"][-1]["name"] == "provider sora: generation"
    assert "POST /openai/v1/video/generations/jobs -> 201 in " in done.stderr
    assert "/content/video -> 200 in " in done.stderr
    assert KEY not in done.stdout + done.stderr
    assert provider.stats()["creates_accepted"] == before + 1


def test_a_deployment_that_is_not_there_is_found_without_paying(
    doctor: Doctor, good: dict[str, str], provider: Simulator
) -> None:
    """With the setting's name; --create is not even tried then."""
    before = provider.stats()["creates_accepted"]
    done = doctor("--create", "--provider", "sora", **good, SORA_MODEL="not-there")
    assert done.returncode == 1
    assert "FAIL  provider sora: deployment" in done.stdout
    assert "Check SORA_MODEL" in done.stdout
    assert "FAIL  provider sora: generation" in done.stdout
    assert provider.stats()["creates_accepted"] == before


@pytest.mark.parametrize("create", [[], ["--create"]], ids=["alone", "with --create"])
def test_a_provider_that_is_not_configured_is_a_wrong_argument(
    create: list[str], doctor: Doctor, good: dict[str, str]
) -> None:
    """Exit 2 before anything is checked or paid for, with the names that there are."""
    images = {"IMAGE_ENDPOINT": good["AZURE_SORA_ENDPOINT"], "OPENAI_BASE_URL": "nonsense"}
    done = doctor(*create, "--provider", "zz", **good, **images)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("no provider zz is configured; there are: sora, openai, image\n")


def test_names_that_cannot_be_read_are_no_wrong_argument(doctor: Doctor, good: dict[str, str]) -> None:
    """What is wrong is PROVIDERS, and that is what is said; nothing is paid for."""
    done = doctor("--create", "--provider", "wan", PROVIDERS="[{", **good)
    assert done.returncode == 1
    assert "FAIL  settings" in done.stdout
    assert "wan is none of the providers whose settings are right (sora)" in done.stdout


def test_dev_py_offers_it() -> None:
    """With a help that says what is charged and what is not."""
    command = [sys.executable, "dev.py", "doctor", "--help"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
    for words in ("--create", "--provider", "--json", "charged", "Exit 1"):
        assert words in told
