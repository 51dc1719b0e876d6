"""Batches on the real app, host, storage and providers, with minutes passing in seconds."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests

from emulator.functions.clock import VirtualClock
from emulator.functions.host import Host
from emulator.sora.simulator import Simulator
from triggers.accepting import STARTS_AT_ONCE

sys.path.append(str(Path(__file__).parents[1] / "fakes"))

from drawn import drawn

SMALL = {"width": 480, "height": 480, "n_seconds": 1}


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, connection_string: str, start_app: Any
) -> Iterator[tuple[Host, Simulator]]:
    """Host, simulator and app on one virtual clock. Images are made at once: nothing else moves during their create."""
    folder = tmp_path_factory.mktemp("batches")
    clock = VirtualClock(datetime.now(timezone.utc) - timedelta(hours=1))
    ways: dict[str, Any] = {"media": "tiny", "api_key": "k", "generation_seconds": 60, "image_seconds": 0}
    with Simulator(folder / "sora", clock=clock.now, **ways) as simulator:
        settings = {
            "AzureWebJobsStorage": connection_string,
            "MEDIA_CONTAINER": f"batches-{os.getpid()}",
            "AZURE_SORA_ENDPOINT": simulator.url,
            "AZURE_API_KEY": "k",
            "IMAGE_ENDPOINT": simulator.url,
            "IMAGE_API_KEY": "k",
            "IMAGE_MODEL": "gpt-image-1.5",
            "SWEEP_SCHEDULE": "0 0 0 1 1 *",  # the storage is shared: a sweep would find other tests' jobs
        }
        with start_app(folder / "host", clock, **settings) as host:
            yield host, simulator


def post(host: Host, kind: str, asked: list[dict[str, Any]], **headers: str) -> requests.Response:
    return requests.post(f"{host.url}/api/{kind}/batches", json={"requests": asked}, headers=headers, timeout=30)


def test_a_batch_of_videos_is_completed(world):
    """One of them from a picture; the batch tells it at every stage, and again for the same key."""
    host, simulator = world
    picture = {"base64": base64.b64encode(drawn(480, 480)).decode(), "media_type": "image/png"}
    asked = [SMALL | {"prompt": f"boat {number}"} for number in range(3)]
    asked[1]["input_image"] = picture
    made = post(host, "videos", asked, **{"Idempotency-Key": "three"})
    assert made.status_code == 202, made.text
    url = made.json()["status_url"]
    assert made.headers["Location"] == url
    before = requests.get(url, timeout=10).json()
    assert (before["total"], before["finished"], "completed" in before["counts"]) == (3, False, False)
    host.advance(timedelta(minutes=3))
    answer = requests.get(url, timeout=10)
    body = answer.json()
    assert (body["counts"], body["finished"], "Retry-After" in answer.headers) == ({"completed": 3}, True, False)
    assert [job["prompt"] for job in body["jobs"]] == ["boat 0", "boat 1", "boat 2"]
    assert [job["job_id"] for job in body["jobs"]] == [job["job_id"] for job in made.json()["jobs"]]
    for job in body["jobs"]:
        (video,) = requests.get(job["result_url"], timeout=10).json()["videos"]
        assert len(requests.get(video["file_url"], timeout=10).content) == video["file_size"]
    again = post(host, "videos", asked, **{"Idempotency-Key": "three"})
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert [job["status"] for job in again.json()["jobs"]] == ["completed"] * 3
    assert simulator.stats()["creates"] == 3
    assert requests.get(url, headers={"If-None-Match": answer.headers["ETag"]}, timeout=10).status_code == 304
    assert requests.get(url, headers={"X-User-Id": "eve"}, timeout=10).json()["code"] == "batch_not_found"


def test_a_batch_of_images_is_completed(world):
    """Each with all that was asked for."""
    host, _ = world
    made = post(host, "images", [{"prompt": "a boat", "n": 2}, {"prompt": "an oar"}])
    assert made.status_code == 202, made.text
    host.advance(timedelta(minutes=3))
    body = requests.get(made.json()["status_url"], timeout=10).json()
    assert (body["counts"], body["finished"]) == ({"completed": 2}, True)
    numbers = [requests.get(job["result_url"], timeout=10).json()["num_images"] for job in body["jobs"]]
    assert numbers == [2, 1]


def test_a_refused_batch_names_every_mistake(world):
    """As the worker and the host pass it on."""
    host, _ = world
    answer = post(host, "videos", [SMALL | {"prompt": "a boat"}, SMALL, SMALL | {"prompt": "x", "n_seconds": 99}])
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    fields = [error["field"] for error in answer.json()["errors"]]
    assert fields == ["requests[1].prompt", "requests[2].n_seconds"]


@pytest.mark.slow
def test_more_jobs_than_are_started_at_once_are_all_made(world):
    """With one request; all of them end up at the provider, once."""
    host, simulator = world
    before = simulator.stats()["creates"]
    made = post(host, "videos", [SMALL | {"prompt": f"boat {number}"} for number in range(2 * STARTS_AT_ONCE)])
    assert made.status_code == 202, made.text
    host.advance(timedelta(minutes=6))
    body = requests.get(made.json()["status_url"], timeout=30).json()
    assert body["counts"] == {"completed": 2 * STARTS_AT_ONCE}
    assert simulator.stats()["creates"] == before + 2 * STARTS_AT_ONCE
