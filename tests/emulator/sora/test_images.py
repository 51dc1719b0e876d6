"""The Images API: one call makes real pictures of the asked size, refuses as the servers do, and is accounted for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from reelkeeper.model import JobRequest, Output
from reelkeeper.providers.openai_images import OpenAIImages
from reelkeeper.providers.registry import read_providers
from reelkeeper.services import utc_now

GENERATIONS, EDITS = "/openai/v1/images/generations", "/openai/v1/images/edits"
OLD = "/openai/deployments/my-pictures/images/generations?api-version=2025-04-01-preview"
URL_START = "http://localhost:"


def gray(frame: Any) -> bytes:
    """Brightness of every pixel."""
    return bytes(frame.reformat(format="gray").planes[0])


@pytest.mark.parametrize("path", ["/v1/images/generations", GENERATIONS])
def test_image_is_a_png_that_shows_the_prompt(draw: Any, decode: Callable[..., Any], path: str, images: Any) -> None:
    """Real PNG of the asked size with white text; another prompt is another picture; tokens are counted."""
    answer = draw("A paper boat", path, size="1024x1536", quality="low")
    (boat,), (owl,) = images(answer), images(draw("An owl", path, size="1024x1536"))
    assert boat.startswith(b"\x89PNG\r\n\x1a\n")
    (frame,), (other,) = decode(boat), decode(owl)
    assert (frame.width, frame.height, frame.format.name) == (1024, 1536, "rgb24")
    assert sum(shade > 200 for shade in gray(frame)) > 5000
    assert sum(abs(a - b) > 60 for a, b in zip(gray(frame), gray(other), strict=True)) > 5000
    body = answer.json()
    assert body["created"] == 1772366400
    assert {name: body[name] for name in ("size", "quality", "output_format", "background")} == {
        "size": "1024x1536",
        "quality": "low",
        "output_format": "png",
        "background": "opaque",
    }
    usage = body["usage"]
    assert usage["output_tokens"] == 408
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_n_images_differ(draw: Any, decode: Callable[..., Any], images: Any) -> None:
    """Ten at most, each with colours of its own."""
    found = images(draw(n=10, output_format="jpeg"))
    assert len(set(found)) == 10
    assert all(decode(one)[0].width == 1024 for one in found)
    assert draw(n=11).status_code == 400


def test_jpeg_and_webp_are_what_they_say(draw: Any, decode: Callable[..., Any], images: Any) -> None:
    """output_format decides the bytes; OpenAI has webp, Azure refuses it."""
    for output_format, codec_start in (("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF"), ("png", b"\x89PNG")):
        (data,) = images(draw(profile="openai", output_format=output_format))
        assert data.startswith(codec_start)
        assert (decode(data)[0].width, decode(data)[0].height) == (1024, 1024)
    draw.provider.simulator.set_profile("azure")
    answer = draw(output_format="webp")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "output_format")


def test_transparent_background_is_transparent(draw: Any, decode: Callable[..., Any], images: Any) -> None:
    """The ground has alpha 0, the text is opaque; it needs png."""
    answer = draw(background="transparent")
    (frame,) = decode(images(answer)[0])
    assert (frame.format.name, answer.json()["background"]) == ("rgba", "transparent")
    alpha = bytes(frame.planes[0])[3::4]
    assert (sum(value == 0 for value in alpha) > len(alpha) // 2, sum(value == 255 for value in alpha) > 5000) == (
        True,
        True,
    )
    answer = draw(background="transparent", output_format="jpeg")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "background")


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": None}, "prompt", "missing_required_parameter"),
        ({"prompt": ["x"]}, "prompt", "invalid_type"),
        ({"prompt": "x" * 32001}, "prompt", "invalid_value"),
        ({"prompt": "x" * 4001, "model": "dall-e-3"}, "prompt", "invalid_value"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"n": 2, "model": "dall-e-3"}, "n", "invalid_value"),
        ({"size": "512x512"}, "size", "invalid_value"),
        ({"size": "1792x1024"}, "size", "invalid_value"),
        ({"size": "1536x1024", "model": "dall-e-3"}, "size", "invalid_value"),
        ({"size": "1000x1000", "model": "gpt-image-2"}, "size", "invalid_value"),
        ({"size": "3840x1024", "model": "gpt-image-2"}, "size", "invalid_value"),
        ({"size": "800x800", "model": "gpt-image-2"}, "size", "invalid_value"),
        ({"quality": "hd"}, "quality", "invalid_value"),
        ({"quality": "low", "model": "dall-e-3"}, "quality", "invalid_value"),
        ({"output_format": "gif"}, "output_format", "invalid_value"),
        ({"background": "blue"}, "background", "invalid_value"),
        ({"output_compression": 50}, "output_compression", "invalid_value"),
        ({"output_compression": 101, "output_format": "jpeg"}, "output_compression", "invalid_value"),
        ({"moderation": "none"}, "moderation", "invalid_value"),
        ({"response_format": "url"}, "response_format", "unknown_parameter"),
        ({"stream": True}, "stream", "invalid_value"),
        ({"seed": 1}, "seed", "unknown_parameter"),
    ],
)
def test_bad_requests_are_refused_by_field(draw: Any, fields: dict[str, Any], param: str, code: str) -> None:
    """Each rule of the model's family has a 400 that names the field, and nothing is paid."""
    answer = draw(**{"prompt": "x", **fields})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
    assert draw.provider.simulator.stats()["creates_accepted"] == 0


def test_newer_models_take_any_size_within_bounds(draw: Any, decode: Callable[..., Any], images: Any) -> None:
    """Multiples of 16, also odd ratios; auto is a square."""
    (data,) = images(draw(model="my-gpt-image-2-deployment", size="1600x640", output_format="jpeg", quality="max"))
    assert (decode(data)[0].width, decode(data)[0].height) == (1600, 640)
    assert draw(size="auto").json()["size"] == "1024x1024"


def test_dall_e_answers_urls_that_expire(draw: Any, decode: Callable[..., Any], images: Any) -> None:
    """A URL of the simulator that needs no key for an hour, a revised prompt, no usage; base64 on request."""
    body = draw(model="dall-e-3", size="1792x1024").json()
    (item,) = body["data"]
    assert item["url"].startswith(URL_START)
    assert item["revised_prompt"].startswith("a fox in the snow")
    assert "usage" not in body
    answer = requests.get(item["url"], timeout=5)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert (decode(answer.content)[0].width, decode(answer.content)[0].height) == (1792, 1024)
    draw.provider.clock.advance(3599)
    assert requests.get(item["url"], timeout=5).status_code == 200
    draw.provider.clock.advance(1)
    assert requests.get(item["url"], timeout=5).status_code == 404
    assert len(images(draw(model="dall-e-3", response_format="b64_json"))) == 1


@pytest.mark.parametrize(
    ("profile", "default", "allowed"),
    [("aquiles", "url", True), ("sglang", "b64_json", True), ("vllm-omni", "b64_json", False)],
)
def test_own_servers_have_urls_for_any_model(draw: Any, profile: str, default: str, allowed: bool) -> None:
    """response_format by profile, whatever the model; any size; unknown fields are ignored."""
    answer = draw(profile=profile, model="flux", size="320x200", seed=5)
    assert list(answer.json()["data"][0]) == [default]
    assert (draw(model="flux", size="320x200", response_format="url").status_code == 200) is allowed


def test_the_older_path_of_a_deployment_serves_the_app(serve: Callable[..., Any], decode: Callable[..., Any]) -> None:
    """As a portal shows it: the app's own adapter, configured with that address, gets its picture."""
    provider = serve(api_key="k-0d1f", deployments=["my-pictures"])
    settings = {"IMAGE_ENDPOINT": provider.simulator.url + OLD, "IMAGE_API_KEY": "k-0d1f", "IMAGE_MODEL": "my-pictures"}
    (config,) = read_providers(settings, 60.0)
    received: list[bytes | str] = []
    request = JobRequest("a fox in the snow", 1024, 1536, 0, 1, config.model)
    task = OpenAIImages(config, utc_now).submit(request, lambda _, what: received.append(what) or Output("0", 0, 0, 0))
    assert task.state == "succeeded"
    assert [(frame.width, frame.height) for what in received for frame in decode(what)] == [(1024, 1536)]
    (call,) = provider.simulator.requests("create")
    assert (call["path"], call["status"], provider.simulator.tasks()[0]["model"]) == (OLD, 200, "my-pictures")


def test_the_older_path_is_azure_s_alone_and_wants_a_date(draw: Any) -> None:
    """Without a version it is not there, v1's are not known; the deployment is the path's; others have no such path."""
    path = OLD.partition("?")[0]
    assert draw(path=OLD, model="something-else").status_code == 200
    assert draw.provider.simulator.tasks()[0]["model"] == "my-pictures"
    assert draw(path=path).status_code == 404
    assert (draw(path=f"{path}?api-version=preview").status_code, draw(path=OLD, prompt=None).status_code) == (400, 400)
    for profile in ("openai", "vllm-omni", "litellm"):
        draw.provider.simulator.set_profile(profile)
        assert draw(path=OLD).status_code == 404


@pytest.mark.parametrize("path", [GENERATIONS, OLD.replace("my-pictures", "not-there")])
def test_the_deployment_is_looked_up_first(draw: Any, serve: Callable[..., Any], path: str) -> None:
    """At Azure a create without a prompt tells whether it is there; elsewhere the prompt is missed first."""
    draw.provider = serve(deployments=["my-pictures"])
    answer = draw(path=path, model="not-there", prompt=None)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "DeploymentNotFound")
    draw.provider.simulator.set_profile("openai")
    assert draw(path="/v1/images/generations", model="not-there", prompt=None).status_code == 400


def test_azure_tells_filter_results(draw: Any) -> None:
    """content_filter_results and prompt_filter_results with each image on Azure, not elsewhere."""
    (item,) = draw().json()["data"]
    assert item["content_filter_results"]["violence"] == {"filtered": False, "severity": "safe"}
    assert item["prompt_filter_results"]["jailbreak"] == {"filtered": False, "detected": False}
    draw.provider.simulator.set_profile("openai")
    assert list(draw().json()["data"][0]) == ["b64_json"]


@pytest.mark.parametrize(
    ("profile", "model", "word", "code", "said"),
    [
        ("azure", "gpt-image-1", "moderated", "contentFilter", "Your task failed as a result of our safety system."),
        ("azure", "gpt-image-1", "output_moderation", "contentFilter", "Generated image was filtered as a result"),
        ("azure", "dall-e-3", "moderated", "content_policy_violation", "rejected as a result of our safety system"),
        ("openai", "gpt-image-1", "moderated", "moderation_blocked", "rejected by the safety system"),
        ("openai", "dall-e-3", "input_moderation", "content_policy_violation", "rejected as a result of our safety"),
        ("litellm", "gpt-image-1", "moderated", "400", "ContentPolicyViolationError"),
    ],
)
def test_moderation_has_many_shapes(draw: Any, profile: str, model: str, word: str, code: str, said: str) -> None:
    """A 400 whose code depends on server, model and stage; the older Azure shape has inner_error."""
    answer = draw(f"[{word}]", profile=profile, model=model)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], said in error["message"]) == (400, code, True)
    inner = error.get("inner_error", {})
    assert (inner.get("code") == "ResponsibleAIPolicyViolation") is (profile == "azure" and model == "dall-e-3")
    assert not inner or inner["content_filter_results"]["violence"]["filtered"]


def test_edit_takes_images_and_a_mask(
    draw: Any, picture: Callable[..., bytes], decode: Callable[..., Any], images: Any
) -> None:
    """A form with image[] and mask; the pictures count as input tokens."""
    assert images(draw())
    png = picture(64, 64)
    files = [("image[]", ("a.png", png, "image/png")), ("image[]", ("b.jpg", picture(64, 64, "mjpeg"), "image/jpeg"))]
    files.append(("mask", ("m.png", png, "image/png")))
    form = {"model": "gpt-image-1", "prompt": "add a hat", "n": "2", "size": "1024x1024"}
    answer = draw.provider.call("POST", EDITS, data=form, files=files)
    assert [decode(one)[0].width for one in images(answer)] == [1024, 1024]
    assert answer.json()["usage"]["input_tokens_details"]["image_tokens"] == 2 * 323
    assert draw.provider.simulator.stats()["accepted_by_prompt"]["add a hat"] == 1


@pytest.mark.parametrize(
    ("files", "param"),
    [
        ([("image", (None, "text"))], "image"),
        ([("mask", ("m.png", b"PNG", "image/png"))], "image"),
        ([("image[]", ("a.gif", b"GIF89a", "image/gif"))], "image"),
        ([("image[]", ("a.png", b"just text", "image/png"))], "image"),
    ],
)
def test_bad_edits_are_refused(serve: Callable[..., Any], files: Any, param: str) -> None:
    """No image, a string, another type, not a picture: 400 about the image; JSON is no edit."""
    provider = serve()
    form = [("model", (None, "gpt-image-1")), ("prompt", (None, "x"))]
    answer = provider.call("POST", EDITS, files=form + files)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert provider.call("POST", EDITS, json={"prompt": "x"}).status_code == 400


def test_answer_takes_its_time_by_the_clock(serve: Callable[..., Any], images: Any) -> None:
    """The call waits `image_seconds` of the simulator's clock; meanwhile it holds a place and others are served."""
    provider = serve(image_seconds=30, max_running=1)
    answers: list[requests.Response] = []
    body = {"model": "gpt-image-1", "prompt": "slow", "output_format": "jpeg"}
    url = provider.simulator.url + GENERATIONS
    thread = threading.Thread(target=lambda: answers.append(requests.post(url, json=body, timeout=10)))
    thread.start()
    deadline = time.monotonic() + 5
    while not provider.simulator.tasks():
        assert time.monotonic() < deadline, "the call never arrived"
    assert provider.simulator.stats()["by_dialect"] == {}  # the journal has finished calls only
    assert provider.simulator.stats()["running"] == 1
    assert provider.call("POST", GENERATIONS, json=body).status_code == 429
    provider.clock.advance(29)
    thread.join(0.2)
    assert thread.is_alive()
    provider.clock.advance(1)
    thread.join(5)
    assert [len(images(answer)) for answer in answers] == [1]


def test_call_that_is_never_answered_can_be_ended_by_force(serve: Callable[..., Any]) -> None:
    """[stuck] hangs until the client gives up, or until the task is brought to an end."""
    provider = serve()
    body = {"model": "gpt-image-1", "prompt": "[stuck]"}
    with pytest.raises(requests.ReadTimeout):
        provider.call("POST", GENERATIONS, json=body, timeout=0.2)
    answers: list[requests.Response] = []
    url = provider.simulator.url + GENERATIONS
    thread = threading.Thread(target=lambda: answers.append(requests.post(url, json=body, timeout=10)))
    thread.start()
    deadline = time.monotonic() + 5
    while len(provider.simulator.tasks()) < 2:
        assert time.monotonic() < deadline, "the call never arrived"
    provider.simulator.force(provider.simulator.tasks()[0]["id"], "failed", "input_moderation")
    thread.join(5)
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [(400, "contentFilter")]
