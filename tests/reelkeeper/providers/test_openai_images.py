"""The images dialect, byte by byte: what is sent, what odd answers mean, and that nothing paid for is dropped."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests
import responses

from reelkeeper.errors import ProviderError
from reelkeeper.model import JobRequest, Output, Staged, Task
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.providers.http import HttpAnswer, ProviderHttp
from reelkeeper.providers.openai_images import OpenAIImages

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
KEY = "sEcReT/k3y+for=tests"
URL = "https://r.example/v1/images/generations"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
REQUEST = JobRequest("a fox", 1024, 1536, 0, 2, "gpt-image-2", {}, None, "jpeg", "low", "opaque")


def adapter(base_url: str = "https://r.example/v1", **changes: Any) -> OpenAIImages:
    config = ProviderConfig("image", "images", "openai-images", base_url, "", KEY, "gpt-image-2", auth="bearer")
    return OpenAIImages(replace(config, **changes), lambda: NOW)


class Desk:
    """`received`: (index, file or address) in order. Bytes that begin with ``no`` are refused."""

    def __init__(self) -> None:
        self.received: list[tuple[int, bytes | str]] = []

    def receive(self, index: int, what: bytes | str) -> Output:
        if what[:2] in (b"no", b""):
            raise ValueError("no picture")
        self.received.append((index, what))
        if isinstance(what, str):
            return Output(str(index), 0, 0, 0, address=what)
        return Output(str(index), 0, 0, 0, staged=Staged("run", 1, len(what), "image/png"))


def item(data: bytes) -> dict[str, str]:
    return {"b64_json": base64.b64encode(data).decode()}


def submit(answer: Any, desk: Desk | None = None, request: JobRequest = REQUEST, **reply: Any) -> Task:
    """Submit to a server that answers so: JSON, or bytes as they are."""
    with responses.RequestsMock() as calls:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        calls.post(URL, body=body, **{"content_type": "application/json"} | reply)
        return adapter().submit(request, (desk or Desk()).receive)


def failing(answer: Any, desk: Desk | None = None, **reply: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        submit(answer, desk, **reply)
    return caught.value


def sent(request: JobRequest, **changes: Any) -> tuple[str, dict[str, Any], Any]:
    """URL, body and headers of a create."""
    provider = adapter(**changes)
    with responses.RequestsMock() as calls:
        calls.post(
            url := f"{changes.get('base_url', 'https://r.example/v1')}/images/generations", json={"data": [item(PNG)]}
        )
        provider.submit(request, Desk().receive)
        call = calls.calls[0].request
        assert url
        return str(call.url), json.loads(call.body or ""), call.headers


def test_what_is_asked_for_is_sent_and_nothing_else() -> None:
    """The vendors refuse fields that a model does not know, so what nobody named stays out."""
    _, body, headers = sent(REQUEST)
    assert body == {
        "model": "gpt-image-2", "prompt": "a fox", "n": 2, "size": "1024x1536", "quality": "low",
        "output_format": "jpeg", "background": "opaque",
    }  # fmt: skip
    assert headers["Authorization"] == f"Bearer {KEY}"
    plain = JobRequest("a fox", 0, 0, 0, 1, "gpt-image-2")
    assert sent(plain)[1] == {"model": "gpt-image-2", "prompt": "a fox", "n": 1}


def test_the_older_model_is_asked_for_the_file_itself() -> None:
    """Left alone dall-e-3 answers an address; it knows neither format nor background."""
    request = replace(REQUEST, model="dall-e-3", n_variants=1, quality="hd")
    body = sent(request, model="dall-e-3")[1]
    assert body.pop("response_format") == "b64_json"
    assert set(body) == {"model", "prompt", "n", "size", "quality"}


def test_an_api_version_goes_along_where_one_is_configured() -> None:
    """The deployment paths answer nothing without it."""
    base = "https://r.openai.azure.com/openai/deployments/d"
    url, _, headers = sent(REQUEST, base_url=base, api_version="2025-04-01-preview", auth="api-key")
    assert url == f"{base}/images/generations?api-version=2025-04-01-preview"
    assert headers["api-key"] == KEY


def test_files_and_addresses_may_stand_side_by_side() -> None:
    """An address lives for an hour, and the job has to know."""
    desk = Desk()
    task = submit({"created": 1, "data": [item(PNG), {"url": "https://cdn.example/1.png?sig=s"}]}, desk)
    assert desk.received == [(0, PNG), (1, "https://cdn.example/1.png?sig=s")]
    assert (task.state, len(task.outputs), task.created_at) == ("succeeded", 2, NOW)
    assert task.expires_at == NOW + timedelta(minutes=60)
    assert submit({"data": [item(PNG)]}).expires_at is None


def test_an_address_never_shows_in_words() -> None:
    """Whoever knows it can fetch the picture."""
    task = submit({"data": [{"url": "https://cdn.example/1.png?sig=hidden"}]})
    assert "hidden" not in repr(task)


@pytest.mark.parametrize(
    "odd", [{}, {"b64_json": None}, {"b64_json": "@@@"}, {"b64_json": "bm8="}, "text", None, {"url": 7}]
)
def test_what_is_no_picture_is_passed_over(odd: Any) -> None:
    """The others are paid for, and keep their places."""
    desk = Desk()
    task = submit({"data": [odd, item(PNG)]}, desk)
    assert desk.received == [(1, PNG)]
    assert [output.output_id for output in task.outputs] == ["1"]


def test_a_data_address_is_a_file() -> None:
    """Some servers write the type before the Base64."""
    desk = Desk()
    text = base64.b64encode(PNG).decode()
    submit({"data": [{"b64_json": f"data:image/png;base64,{text}"}]}, desk)
    assert desk.received == [(0, PNG)]


@pytest.mark.parametrize("answer", [{"data": []}, {"created": 1}, {"data": [{}]}, [], {"error": {"message": "no"}}])
def test_an_answer_without_a_picture_ends_the_job(answer: Any) -> None:
    """It is whole and holds nothing: to ask again would be to pay again."""
    error = failing(answer)
    assert (error.fault.code, error.outcome_unknown) == ("content_invalid", False)
    assert "new job" in error.fault.message


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_an_answer_that_breaks_off_has_an_unknown_outcome(cut: int) -> None:
    """Whatever is missing was made and paid for."""
    whole = json.dumps({"data": [item(PNG), item(PNG)]}).encode()
    error = failing(whole[:cut])
    assert (error.fault.code, error.outcome_unknown) == ("provider_error", True)


def test_what_arrived_before_the_break_has_been_received() -> None:
    """One picture in storage is better than none."""
    desk, whole = Desk(), json.dumps({"data": [item(PNG), item(PNG)]}).encode()
    failing(whole[:-30], desk)
    assert desk.received == [(0, PNG)]


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"", b"OK"])
def test_a_page_in_place_of_the_answer_has_an_unknown_outcome(body: bytes) -> None:
    """Nobody can tell what stands behind it."""
    assert failing(body, content_type="text/html").outcome_unknown


@pytest.mark.parametrize(
    ("status", "body", "unknown"),
    [
        (500, {"error": {"message": "The server had an error."}}, False),
        (503, {"error": {"code": "overloaded", "message": "Try later."}}, False),
        (500, b"", True),
        (503, b"<html>", True),
        (502, {"error": {"message": "Bad gateway"}}, True),
        (504, {"error": {"message": "upstream timed out"}}, True),
        (408, {"error": {"message": "timed out"}}, True),
    ],
)
def test_a_failure_in_the_provider_s_own_words_is_no_lost_answer(status: int, body: Any, unknown: bool) -> None:
    """It says that it failed, and does not charge; a gateway that gave up says nothing of the kind."""
    error = failing(body, status=status)
    assert (error.fault.code, error.outcome_unknown) == ("provider_error", unknown)


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    """The create is over before anybody reconciles it, however slowly its answer comes."""
    http = ProviderHttp(
        ProviderConfig("image", "images", "openai-images", "https://r.example", "", KEY, "m"), lambda: NOW
    )
    with responses.RequestsMock() as calls:
        calls.get(URL, body=bytes(100))
        answer = HttpAnswer(http, requests.get(URL, stream=True, timeout=1), time.monotonic() - 1)
        with pytest.raises(ProviderError) as caught:
            list(answer.chunks())
    assert (caught.value.outcome_unknown, caught.value.fault.provider_message) == (True, "No answer in time.")


@pytest.mark.parametrize(
    ("model", "base_url", "check"),
    [
        ("gpt-image-1.5", "https://r.example/v1", {"formats": ("png", "jpeg", "webp"), "size_rule": None}),
        ("gpt-image-1.5", "https://r.openai.azure.com/openai/v1", {"formats": ("png", "jpeg")}),
        (
            "my-gpt-image-2-eu",
            "https://r.example/v1",
            {"auto_size": True, "qualities": ("auto", "low", "medium", "high")},
        ),
        (
            "gpt-image-2.5-flare",
            "https://r.example/v1",
            {"qualities": ("auto", "low", "medium", "high", "xhigh", "max")},
        ),
        ("dall-e-3", "https://r.example/v1", {"auto_size": False, "variants_by_pixels": ((0, 1),), "max_prompt": 4000}),
        ("flux-1", "https://r.example/v1", {"qualities": (), "max_prompt": 32000}),
        ("flux-1", "https://r.example/v1", {"seconds": (), "input_image": False}),
    ],
)
def test_a_model_s_name_tells_what_it_can(model: str, base_url: str, check: dict[str, Any]) -> None:
    """As the vendors document; of others nothing is known, and little is refused beforehand."""
    can = adapter(base_url, model=model).abilities
    assert {name: getattr(can, name) for name in check} == check


@pytest.mark.parametrize(
    ("model", "changes", "field"),
    [
        ("gpt-image-2", {"width": 1600, "height": 900}, "width"),
        ("gpt-image-2", {"width": 3840, "height": 1024}, "width"),
        ("gpt-image-2", {"n_variants": 11}, "n_variants"),
        ("gpt-image-1.5", {"width": 1024, "height": 1792}, "height"),
        ("gpt-image-1.5", {"quality": "hd"}, "quality"),
        ("gpt-image-1.5", {"output_format": "gif"}, "output_format"),
        ("gpt-image-1.5", {"background": "transparent", "output_format": "jpeg"}, "background"),
        ("dall-e-3", {"n_variants": 2}, "n_variants"),
        ("dall-e-3", {"width": 0, "height": 0}, "width"),
        ("flux-1", {"width": 5000, "height": 5000}, "width"),
    ],
)
def test_what_the_model_cannot_make_is_refused_with_what_it_can(
    model: str, changes: dict[str, Any], field: str
) -> None:
    """Before anything is paid for."""
    request = JobRequest("a fox", 1024, 1024, 0, 1, model)
    can = adapter(model=model).abilities
    assert can.refusals(request) == ()
    assert [error.field for error in can.refusals(replace(request, **changes))] == [field]


def test_a_size_of_one_s_own_is_made_where_the_model_can() -> None:
    """Any multiple of 16 within the bounds."""
    can = adapter(model="gpt-image-2").abilities
    assert [can.offers(*size) for size in ((1600, 912), (3840, 2160), (1008, 1008))] == [True, True, True]
    assert [can.offers(*size) for size in ((1601, 912), (3840, 2176), (640, 640), (16, 16))] == [False] * 4


ODD = PNG[:8] + bytes(range(255, 0, -1)) * 3 + b"xx"


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(ODD).decode().rstrip("="),
        base64.urlsafe_b64encode(ODD).decode(),
        base64.urlsafe_b64encode(ODD).decode().rstrip("="),
        base64.encodebytes(ODD).decode(),
    ],
)
def test_every_base64_is_read(text: str) -> None:
    """Without its padding it was passed over, in the other alphabet silently damaged: both are paid for."""
    desk = Desk()
    submit({"data": [{"b64_json": text}]}, desk)
    assert desk.received == [(0, ODD)]


def test_urlsafe_is_not_silently_damaged() -> None:
    """Where as many characters fall out as make whole groups, nothing else would tell."""
    desk, data = Desk(), PNG[:8] + b"\xff\xef\xbe" * 4 + bytes(4)  # four characters of 64 fall out: still whole groups
    submit({"data": [{"b64_json": base64.urlsafe_b64encode(data).decode()}]}, desk)
    assert desk.received == [(0, data)]


def test_a_byte_order_mark_is_no_reason_to_lose_pictures() -> None:
    """It stands before the JSON of some servers."""
    desk = Desk()
    submit(b'\xef\xbb\xbf{"data": [{"b64_json": "%s"}]}' % base64.b64encode(PNG), desk)
    assert desk.received == [(0, PNG)]


def test_odd_bytes_in_other_fields_are_no_reason_either() -> None:
    """A prompt that comes back in Latin-1."""
    desk = Desk()
    submit(b'{"data": [{"b64_json": "%s", "revised_prompt": "caf\xe9"}]}' % base64.b64encode(PNG), desk)
    assert desk.received == [(0, PNG)]


def test_no_more_pictures_than_were_asked_for_are_received() -> None:
    """A record has room for ten."""
    assert len(submit({"data": [item(PNG)] * 3000}).outputs) == 2


def test_a_relative_address_is_read_as_relative_to_the_request() -> None:
    """At the host's root, as a browser would take it."""
    with responses.RequestsMock() as calls:
        calls.get("https://r.example/files/a.png", body=b"x")
        calls.post(URL, json={"data": [{"url": "/files/a.png"}]})
        provider = adapter()
        (output,) = provider.submit(REQUEST, Desk().receive).outputs
        provider.open_output(output)


def test_what_breaks_off_behind_the_last_picture_has_lost_nothing() -> None:
    """All that was asked for is there."""
    whole = json.dumps({"data": [item(PNG), item(PNG)], "usage": {}}).encode()
    assert len(submit(whole[:-5]).outputs) == 2
