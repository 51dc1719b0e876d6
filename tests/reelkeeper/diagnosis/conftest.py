"""A good configuration, made of a real Azurite and a simulator of all three dialects, for tests to break."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulator.azurite import Azurite
from emulator.sora.simulator import Simulator
from reelkeeper.diagnosis.diagnose import diagnose
from reelkeeper.diagnosis.report import Check, Report

ROOT = Path(__file__).parents[3]
KEY = "k-0d1f7a93c4-diagnosis"
BUNDLE = {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"}


@pytest.fixture(scope="session")
def running_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    data = tmp_path_factory.mktemp("sora")
    deployments = ("sora", "sora-2", "some-model", "gpt-image-1")
    options = {"generation_seconds": 0.2, "image_seconds": 0.1, "poll_after_ms": None}
    with Simulator(data, api_key=KEY, media="tiny", deployments=deployments, **options) as simulator:  # type: ignore[arg-type]
        yield simulator


@pytest.fixture
def provider(running_provider: Simulator) -> Iterator[Simulator]:
    """The simulator, without the faults of the test before."""
    yield running_provider
    running_provider.clear_faults()


@pytest.fixture
def sora(azurite: Azurite, provider: Simulator) -> dict[str, str]:
    """Settings of one provider of the jobs dialect; nothing is wrong with them."""
    return {
        "AzureWebJobsStorage": azurite.connection_string,
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "AZURE_SORA_ENDPOINT": provider.url,
        "AZURE_API_KEY": KEY,
    }


@pytest.fixture
def every(sora: dict[str, str], provider: Simulator) -> dict[str, str]:
    """Settings of a provider of each dialect."""
    return sora | {
        "OPENAI_BASE_URL": f"{provider.url}/v1",
        "OPENAI_API_KEY": KEY,
        "IMAGE_ENDPOINT": f"{provider.url}/v1",
        "IMAGE_API_KEY": KEY,
        "IMAGE_MODEL": "gpt-image-1",
    }


@pytest.fixture
def app(tmp_path: Path) -> Callable[..., Path]:
    """A folder with a host.json; `bundle` is its extension bundle, None for none."""

    def make(bundle: dict[str, str] | None = BUNDLE) -> Path:
        host = {"version": "2.0"} | ({"extensionBundle": bundle} if bundle is not None else {})
        (tmp_path / "host.json").write_text(json.dumps(host))
        return tmp_path

    return make


@pytest.fixture(scope="session")
def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def failed() -> Callable[[Report], dict[str, Check]]:
    """The failed checks of a report, by name."""
    return lambda report: {check.name: check for check in report.checks if not check.ok}


@pytest.fixture(scope="session")
def examine() -> Callable[..., Report]:
    """Diagnose the settings, beside the repository's own host.json unless told otherwise."""
    return lambda env, root=ROOT, **options: diagnose(env, root, **options)
