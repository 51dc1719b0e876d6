"""Every server that the simulator can be: a video and an image completed by the real app, host and storage."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests

from emulator.functions.clock import VirtualClock
from emulator.functions.host import Host
from emulator.sora.profiles import PROFILES
from emulator.sora.simulator import Simulator

ROOT = Path(__file__).parents[2]
KEY = "a-key-of-theirs"
SERVERS = [(name, False) for name in PROFILES] + [("sglang", True)]
SMALL = {"sizes": ["1280x720"], "seconds": [4, 8]}


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, connection_string: str, start_app: Any
) -> Iterator[tuple[Host, dict[str, Any]]]:
    """One app with a video and an image provider for each server, all on one virtual clock."""
    clock = VirtualClock(datetime.now(timezone.utc) - timedelta(hours=1))
    folder = tmp_path_factory.mktemp("profiles")
    with ExitStack() as stack:
        simulators, entries = {}, []
        for profile, cloud in SERVERS:
            name = f"{profile}-cloud" if cloud else profile
            ways: dict[str, Any] = {"profile": profile, "cloud": cloud, "media": "tiny", "generation_seconds": 40}
            simulator = Simulator(folder / name, clock=clock.now, api_key=KEY, image_seconds=0.0, **ways)
            simulators[name] = stack.enter_context(simulator)
            place = {"base_url": f"{simulator.url}/v1", "api_key_setting": "THEIR_KEY", "auth": "bearer"}
            videos = {"kind": "videos", "dialect": "openai-videos", "model": "sora-2", **SMALL}
            images = {"kind": "images", "dialect": "openai-images", "model": "gpt-image-1.5"}
            entries += [{"name": f"{name}-videos", **videos, **place}, {"name": f"{name}-images", **images, **place}]
        settings = {
            "AzureWebJobsStorage": connection_string,
            "MEDIA_CONTAINER": f"profiles-{os.getpid()}",
            "PROVIDERS": json.dumps(entries),
            "THEIR_KEY": KEY,
            "SWEEP_SCHEDULE": "0 0 0 1 1 *",  # the storage is shared: a sweep would find other tests' jobs
        }
        host = stack.enter_context(start_app(folder / "host", clock, **settings))
        yield host, simulators


@pytest.fixture(scope="module")
def completed(world: tuple[Host, dict[str, Any]]) -> Callable[[str, str], dict[str, Any]]:
    """The result of the job that was made of this kind at this server; all were made at once."""
    host, simulators = world
    jobs = {}
    for name in simulators:
        for kind in ("videos", "images"):
            body = {"prompt": f"a boat for {name}", "provider": f"{name}-{kind}"}
            answer = requests.post(f"{host.url}/api/{kind}/generate", json=body, timeout=30)
            assert answer.status_code == 202, answer.text
            jobs[name, kind] = answer.json()["result_url"]
    host.advance(timedelta(minutes=10))
    return lambda name, kind: dict(requests.get(jobs[name, kind], timeout=30).json())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["videos", "images"])
@pytest.mark.parametrize("name", [f"{name}-cloud" if cloud else name for name, cloud in SERVERS])
def test_every_server_completes_a_job(world, completed, name: str, kind: str) -> None:
    """Whatever it does its own way: one create, and the file is in storage."""
    result, (_, simulators) = completed(name, kind), world
    assert (result["status"], result.get(f"num_{kind}")) == ("completed", 1), result
    (item,) = result[kind]
    file = requests.get(item["file_url"], timeout=30)
    assert file.headers["Content-Type"] == item["content_type"]
    assert len(file.content) == item["file_size"] > 1000
    made = [call for call in simulators[name].requests("create") if call["dialect"] == f"openai-{kind}"]
    assert sum(call["status"] in (200, 201) for call in made) == 1
