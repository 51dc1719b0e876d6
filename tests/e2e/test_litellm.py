"""The real LiteLLM proxy between the app and the provider: what a gateway does to ids, lists and lost answers."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
import requests

sys.path.append(str(Path(__file__).parent))

from litellm_proxy import KEY, MODELS, NotInstallable, installed, proxy

from emulator.sora.simulator import Simulator

UPSTREAM_KEY = "key-of-the-upstream"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulator, str]]:
    """The simulator, and the base URL of a LiteLLM proxy in front of it."""
    folder = tmp_path_factory.mktemp("litellm")
    ways: dict[str, Any] = {"profile": "openai", "media": "tiny", "generation_seconds": 2, "image_seconds": 1}
    with Simulator(folder / "sora", api_key=UPSTREAM_KEY, **ways) as simulator:
        try:
            with proxy(folder, f"{simulator.url}/v1", UPSTREAM_KEY) as url:
                yield simulator, url
        except NotInstallable as reason:
            pytest.skip(str(reason))


@pytest.fixture
def start_behind(gateway: tuple[Simulator, str], start_service: Callable[..., Any]) -> Callable[..., Any]:
    """Start the service with the proxy for both kinds, and nothing else; settings by keyword."""

    def start(**settings: str) -> Any:
        place = {"base_url": gateway[1], "api_key_setting": "GATEWAY_KEY"}
        entries = [
            {"name": f"litellm-{kind}", "kind": kind, "dialect": f"openai-{kind}", "model": model, **place}
            for kind, model in MODELS.items()
        ]
        return start_service(PROVIDERS=json.dumps(entries), GATEWAY_KEY=KEY, **settings)

    return start


def submit(service: Any, prompt: str, kind: str = "videos") -> str:
    made = service.call("POST", f"/api/{kind}/generate", json={"prompt": prompt})
    assert made.status_code == 202, made.text
    return str(made.json()["job_id"])


def creates(simulator: Simulator, prompt: str) -> list[dict[str, Any]]:
    """The create calls of one job at the upstream."""
    return [call for call in simulator.requests("create") if call["prompt"] == prompt]


def test_a_video_is_made_through_the_proxy(gateway, start_behind):
    """Paid for once, the upstream's own file, and the record keeps the id of the create though looks tell another."""
    simulator, url = gateway
    service = start_behind()
    assert service.up["simulator"] is None
    job_id = submit(service, "a ferry")
    task_id = service.wait_for(job_id, "completed")["task_id"]
    (create,) = creates(simulator, "a ferry")
    assert (create["status"], create["dialect"]) == (200, "openai-videos")
    assert base64.b64decode(task_id.removeprefix("video_")).decode().split(";")[1:] == [
        f"model_id:{MODELS['videos']}",
        f"video_id:{create['task_id']}",
    ]
    looked = requests.get(f"{url}/videos/{task_id}", headers={"Authorization": f"Bearer {KEY}"}, timeout=30).json()
    assert looked["id"] != task_id
    (video,) = service.call("GET", f"/api/videos/{job_id}/result").json()["videos"]
    source = f"{simulator.url}/v1/videos/{create['task_id']}/content"
    made = requests.get(source, headers={"Authorization": f"Bearer {UPSTREAM_KEY}"}, timeout=30).content
    assert made[4:8] == b"ftyp"
    assert service.call("GET", video["file_url"]).content == made
    assert service.status(job_id)["task_id"] == task_id


def test_an_image_is_made_through_the_proxy(gateway, start_behind):
    """The proxy hands the upstream's Base64 on, and the stored file is the picture, paid for once."""
    simulator, _ = gateway
    service = start_behind()
    job_id = submit(service, "a pier", "images")
    look = f"/api/images/{job_id}/status"
    service.until(lambda: service.call("GET", look).json(), lambda body: body["status"] == "completed")
    (create,) = creates(simulator, "a pier")
    assert (create["status"], create["dialect"]) == (200, "openai-images")
    (image,) = service.call("GET", f"/api/images/{job_id}/result").json()["images"]
    file = service.call("GET", image["file_url"])
    assert (file.headers["Content-Type"], file.content[:4]) == ("image/png", b"\x89PNG")
    with av.open(io.BytesIO(file.content)) as picture:
        frame = next(picture.decode(video=0))
    assert (frame.width, frame.height) == (image["width"], image["height"]) == (1024, 1024)


def test_a_lost_answer_behind_the_proxy_is_left_to_a_person(gateway, start_behind):
    """The proxy refuses to list tasks, so nobody can tell whether it was paid for: parked, and never sent again."""
    simulator, _ = gateway
    service = start_behind(SUBMIT_GRACE_SECONDS="5")
    simulator.fault("create", "drop_answer", match={"prompt": "a lighthouse"})
    job_id = submit(service, "a lighthouse")
    status = service.wait_for(job_id, "submit_unknown")
    assert status["task_id"] is None
    assert len(creates(simulator, "a lighthouse")) == 1
    assert simulator.stats()["accepted_by_prompt"]["a lighthouse"] == 1


def test_where_it_cannot_be_installed_the_reason_is_told(tmp_path, monkeypatch):
    """pip's own words make the reason of the skip, and what is left of the environment does not count as one."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(NotInstallable, match=r"cannot be installed: .*No matching distribution found for litellm"):
        installed(tmp_path)
    assert list(tmp_path.glob(".dev/*/complete")) == []
