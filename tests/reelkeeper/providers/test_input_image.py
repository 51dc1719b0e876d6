"""A video that starts from a picture, as each dialect sends it, against the simulated servers that check it."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
import responses

sys.path.append(str(Path(__file__).parents[2] / "fakes"))

from drawn import drawn
from places import API_KEY, JobsPlace, Place, VideosPlace

from emulator.sora.simulator import Simulator
from reelkeeper.errors import ProviderError
from reelkeeper.model import InputImage, JobRequest
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.openai_videos import OpenAIVideos

Make = Callable[..., Any]
STRICT = ["azure", "openai", "litellm"]
ALL = [*STRICT, "vllm-omni", "sglang", "aquiles"]


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("sora"), generation_seconds=3600, api_key=API_KEY, media="tiny") as running:
        yield running


def with_picture(request: JobRequest, width: int, height: int, form: str = "PNG") -> tuple[JobRequest, bytes]:
    """The request with an input image of this size, and its bytes."""
    data = drawn(width, height, form)
    extension, media_type = {
        "PNG": ("png", "image/png"),
        "JPEG": ("jpg", "image/jpeg"),
        "WEBP": ("webp", "image/webp"),
    }[form]
    path = f"user_ada/videos/job/input.{extension}"
    image = InputImage(path, media_type, width, height, hashlib.sha256(data).hexdigest())
    return replace(request, input_image=image), data


def submit(place: Place, request: JobRequest, picture: bytes) -> Any:
    return place.provider.submit(request, lambda index, data: None, picture)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_the_jobs_dialect_sends_it_as_an_inpaint_item(simulator: Simulator, form: str) -> None:
    """One picture on frame 0, by the name under which its file came; the numbers arrive as numbers."""
    place = JobsPlace(simulator)
    request, picture = with_picture(replace(place.request, n_variants=2), 480, 480, form)
    assert place.provider.abilities.input_image
    submit(place, request, picture)
    made = simulator.tasks()[0]
    bounds = {"left_fraction": 0.0, "top_fraction": 0.0, "right_fraction": 1.0, "bottom_fraction": 1.0}
    assert request.input_image is not None
    assert made["extra"]["inpaint_items"] == [
        {"frame_index": 0, "type": "image", "file_name": request.input_image.file_name, "crop_bounds": bounds}
    ]
    assert (made["width"], made["height"], made["extra"]["asked"]) == (480, 480, 2)


@pytest.mark.parametrize("profile", ALL)
def test_every_server_of_the_videos_dialect_takes_it(simulator: Simulator, profile: str) -> None:
    """As a form with the file `input_reference`, the first time and the next."""
    place = VideosPlace(simulator, profile, False)
    request, picture = with_picture(place.request, place.request.width, place.request.height)
    assert place.provider.abilities.input_image
    before = place.accepted()
    tasks = [submit(place, request, picture) for _ in range(2)]
    assert len({task.task_id for task in tasks}) == 2
    assert place.accepted() - before == 2
    assert [task["extra"]["input_reference"] for task in simulator.tasks()[:2]] == ["input.png"] * 2


@pytest.mark.parametrize("profile", STRICT)
def test_what_the_server_says_of_the_picture_is_told(simulator: Simulator, profile: str) -> None:
    """One of another size gets this far only by a fault of ours; it is refused, unpaid, in the server's words."""
    place = VideosPlace(simulator, profile, False)
    request, picture = with_picture(place.request, 100, 100)
    with pytest.raises(ProviderError) as caught:
        submit(place, request, picture)
    assert (caught.value.fault.code, caught.value.outcome_unknown) == ("invalid_request", False)
    assert "must match the requested width and height" in str(caught.value.fault.provider_message)


def test_a_task_with_a_picture_is_found_in_the_list(simulator: Simulator) -> None:
    """Reconciling a lost answer goes by prompt, size and seconds, as without one."""
    for place in (JobsPlace(simulator), VideosPlace(simulator, "azure", False)):
        request, picture = with_picture(place.request, place.request.width, place.request.height)
        request = replace(request, prompt="from a picture")
        task = submit(place, request, picture)
        found = place.provider.find(request, task.created_at)
        assert [one.task_id for one in found] == [task.task_id]


# The form itself


def parts(call: Any) -> dict[str, Message]:
    """The parts of a sent form, by name."""
    head = f"Content-Type: {call.request.headers['Content-Type']}\r\n\r\n".encode()
    form = BytesParser().parsebytes(head + bytes(call.request.body))
    return {str(part.get_param("name", header="content-disposition")): part for part in form.get_payload()}  # type: ignore


def text_of(part: Message) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


def test_the_form_of_the_jobs_dialect(adapter: Make, request_: JobRequest) -> None:
    """Every scalar a string, the items one JSON string, the file under its own name with its type."""
    request, picture = with_picture(request_, 1280, 720, "JPEG")
    with responses.RequestsMock() as calls:
        calls.post(re.compile(".*/video/generations/jobs"), status=201, json={"id": "task_1", "status": "queued"})
        provider: AzureJobs = adapter()
        assert provider.submit(request, None, picture).task_id == "task_1"
        form = parts(calls.calls[0])
        assert calls.calls[0].request.headers["api-key"]
    scalars = {"model": "my-sora", "prompt": "a fox in the snow", "width": "1280", "height": "720"}
    scalars |= {"n_seconds": "5", "n_variants": "2"}
    assert {name: text_of(form[name]) for name in scalars} == scalars
    assert json.loads(text_of(form["inpaint_items"])) == [
        {"frame_index": 0, "type": "image", "file_name": "input.jpg"},
    ]
    assert form.keys() == {*scalars, "inpaint_items", "files"}
    assert all(form[name].get_filename() is None for name in (*scalars, "inpaint_items"))
    file = form["files"]
    assert (file.get_filename(), file.get_content_type(), file.get_payload(decode=True)) == (
        "input.jpg", "image/jpeg", picture,
    )  # fmt: skip


def test_the_form_of_the_videos_dialect(videos: Make, request_: JobRequest) -> None:
    """At once, not after JSON; and a job without a picture is sent as JSON afterwards."""
    request, picture = with_picture(request_, 1280, 720)
    with responses.RequestsMock() as calls:
        calls.post("https://r.example/v1/videos", json={"id": "video_1", "status": "queued"})
        provider: OpenAIVideos = videos()
        assert provider.submit(request, None, picture).task_id == "video_1"
        assert provider.submit(request_).task_id == "video_1"
        form = parts(calls.calls[0])
        assert calls.calls[1].request.headers["Content-Type"] == "application/json"
    assert {name: text_of(part) for name, part in form.items() if name != "input_reference"} == {
        "model": "my-sora", "prompt": "a fox in the snow", "seconds": "5", "size": "1280x720",
    }  # fmt: skip
    file = form["input_reference"]
    assert (file.get_filename(), file.get_content_type(), file.get_payload(decode=True)) == (
        "input.png", "image/png", picture,
    )  # fmt: skip


def test_a_refused_form_with_a_picture_is_not_sent_again(videos: Make, request_: JobRequest) -> None:
    """What helps a server that reads no JSON is no help here."""
    request, picture = with_picture(request_, 1280, 720)
    with responses.RequestsMock() as calls:
        calls.post("https://r.example/v1/videos", status=400, json={"error": {"message": "prompt is required"}})
        with pytest.raises(ProviderError) as caught:
            videos().submit(request, None, picture)
        assert len(calls.calls) == 1
    assert caught.value.fault.code == "invalid_request"


@pytest.mark.parametrize("reads", [False, True], ids=["takes nothing in", "does not answer"])
def test_an_upload_is_over_before_anybody_reconciles(request_: JobRequest, adapter: Make, reads: bool) -> None:
    """A server that stands still costs no more than the create's time, and the outcome is unknown."""
    server = socket.create_server(("127.0.0.1", 0))
    request, _ = with_picture(request_, 1280, 720)
    picture = bytes(20 * 1024 * 1024) if not reads else bytes(10)
    provider: AzureJobs = adapter(f"http://127.0.0.1:{server.getsockname()[1]}", create_seconds=2.0)
    began = time.monotonic()
    with server, pytest.raises(ProviderError) as caught:
        provider.submit(request, None, picture)
    assert (caught.value.fault.code, caught.value.outcome_unknown) == ("provider_error", True)
    assert time.monotonic() - began < 2.0
