"""What the Videos API refuses in a create, and in which words; and the image to begin with."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def videos(speak: Callable[..., Any]) -> Any:
    """Azure's Videos API."""
    return speak()


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": None}, "prompt", "missing_required_parameter"),
        ({"prompt": 7}, "prompt", "invalid_type"),
        ({"prompt": "x" * 32001}, "prompt", "invalid_value"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 2}, "model", "invalid_type"),
        ({"seconds": 4}, "seconds", "invalid_type"),
        ({"seconds": "5"}, "seconds", "invalid_value"),
        ({"size": "480x480"}, "size", "invalid_value"),
        ({"size": "1024x1792"}, "size", "invalid_value"),
        ({"size": 720}, "size", "invalid_type"),
        ({"n_seconds": 4}, "n_seconds", "unknown_parameter"),
        ({"n": 1}, "n", "unknown_parameter"),
    ],
)
def test_bad_requests_are_refused_by_field(videos: Any, fields: dict[str, Any], param: str, code: str) -> None:
    """Each rule of the create body has a 400 with param and code, and nothing is created."""
    answer = videos.create(**{"prompt": "x", **fields})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
    assert error["type"] == "invalid_request_error"
    assert videos.ids() == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff"])
@pytest.mark.parametrize("media_type", ["application/json", "multipart/form-data", "multipart/form-data; boundary=x"])
def test_unreadable_bodies_are_refused(videos: Any, body: bytes, media_type: str) -> None:
    """What is no JSON object and no form is a 400, never a crash."""
    answer = videos.provider.call("POST", videos.base, data=body, headers={"Content-Type": media_type})
    assert (answer.status_code, "error" in answer.json()) == (400, True)


def test_openai_takes_more_sizes_and_lengths(speak: Callable[..., Any]) -> None:
    """The permissive list; the model may be left out."""
    videos = speak("openai")
    for size, seconds in (("1024x1792", "16"), ("1920x1080", "20"), ("1280x720", "12")):
        assert videos.create(size=size, seconds=seconds, model=None).json()["seconds"] == seconds
    assert videos.create(seconds="24").status_code == 400


REFERENCE_STRING = {
    "error": {
        "message": "Invalid type for 'input_reference': expected a file, but got a string instead.",
        "type": "invalid_request_error",
        "param": "input_reference",
        "code": "invalid_type",
    }
}


@pytest.mark.parametrize(
    ("codec", "media_type"), [("png", "image/png"), ("mjpeg", "image/jpeg"), ("libwebp", "image/webp")]
)
def test_reference_image_of_the_right_size_is_accepted(
    videos: Any, picture: Callable[..., bytes], codec: str, media_type: str
) -> None:
    """A file with name, type and the pixels of `size`; it is remembered with the task."""
    answer = videos.create(input_reference=("start.img", picture(720, 1280, codec), media_type))
    assert answer.status_code == 200, answer.text
    assert videos.provider.simulator.tasks()[0]["extra"]["input_reference"] == "start.img"


def test_reference_of_another_size_is_refused_in_the_live_words(videos: Any, picture: Callable[..., bytes]) -> None:
    """The message users meet most."""
    answer = videos.create(input_reference=("a.png", picture(1280, 720), "image/png"))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "Inpaint image must match the requested width and height"


def test_reference_as_a_string_is_the_recorded_400(videos: Any) -> None:
    """In JSON, and as a form field without a filename."""
    answers = [videos.create(input_reference="https://example.com/a.png")]
    videos.form = True
    answers.append(videos.create(input_reference="data:image/png;base64,AAAA"))
    assert [(answer.status_code, answer.json()) for answer in answers] == [(400, REFERENCE_STRING)] * 2


@pytest.mark.parametrize(
    ("media_type", "code"),
    [
        (None, "unsupported_file_mimetype"),
        ("application/octet-stream", "unsupported_file_mimetype"),
        ("image/gif", "unsupported_file_mimetype"),
        ("image/jpeg", "invalid_image_file"),
    ],
)
def test_reference_needs_the_right_type(
    videos: Any, picture: Callable[..., bytes], media_type: str | None, code: str
) -> None:
    """A missing, foreign or untrue content type is a 400."""
    part: tuple[Any, ...] = ("a", picture(720, 1280), media_type) if media_type else ("a", picture(720, 1280))
    error = videos.create(input_reference=part).json()["error"]
    assert (error["param"], error["code"]) == ("input_reference", code)


def test_reference_as_an_object_works_at_openai_only(speak: Callable[..., Any], picture: Callable[..., bytes]) -> None:
    """{"image_url": data URL} in JSON; not at Azure; a URL to fetch, a file_id and both at once are refused."""
    data_url = "data:image/png;base64," + base64.b64encode(picture(720, 1280)).decode()
    videos = speak("openai")
    assert videos.create(input_reference={"image_url": data_url}).status_code == 200
    wrong: list[dict[str, str]] = [
        {"image_url": "https://example.com/a.png"},
        {"image_url": "data:image/png;base64,***"},
        {"file_id": "file_1"},
        {"image_url": data_url, "file_id": "file_1"},
    ]
    assert [videos.create(input_reference=one).status_code for one in wrong] == [400] * 4
    videos.provider.simulator.set_profile("azure")
    answer = videos.create(input_reference={"image_url": data_url})
    assert "expected a file, but got an object" in answer.json()["error"]["message"]
