"""The body of a create request: strict types, limits, and what is passed on to the provider's own rules."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import World

from reelkeeper.errors import RequestRefused
from reelkeeper.model import JobRequest
from triggers.bodies import MAX_BODY_BYTES, MODELS, VideoBody, read_body, to_body, to_request

Result = TypeVar("Result")


def read(raw: bytes, content_type: str = "application/json") -> VideoBody:
    return read_body(content_type, raw, "videos")


def test_only_the_prompt_is_needed() -> None:
    """Everything else has the defaults of the jobs dialect."""
    assert read(b'{"prompt":"a"}').model_dump() == {
        "prompt": "a", "width": 1280, "height": 720, "n_seconds": 5, "n_variants": 1, "model": None,
        "provider": None, "metadata": {}, "user_id": None, "input_image": None,
    }  # fmt: skip


def test_null_stands_for_an_optional_text_that_is_not_given() -> None:
    """Serializers of many languages write null for it."""
    body = read(b'{"prompt":"a","model":null,"provider":null,"user_id":null}')
    assert (body.model, body.provider, body.user_id) == (None, None, None)


def test_the_longest_prompt_fits_however_it_is_written() -> None:
    """32,000 characters outside the basic plane, each as two escapes of six bytes."""
    assert len(read(json.dumps({"prompt": "\U0001f6a3" * 32_000}).encode()).prompt) == 32_000


def test_512_kib_are_the_limit() -> None:
    """To the byte."""
    rest = len(json.dumps({"prompt": ""}))
    assert len(read(json.dumps({"prompt": "x" * (MAX_BODY_BYTES - rest)}).encode()).prompt) == MAX_BODY_BYTES - rest
    with pytest.raises(RequestRefused) as caught:
        read(json.dumps({"prompt": "x" * (MAX_BODY_BYTES - rest + 1)}).encode())
    assert caught.value.status == 413


def test_a_twin_deep_inside_is_found_too() -> None:
    """Which of two values counts is a guess at any depth."""
    with pytest.raises(RequestRefused, match="'take' is given twice"):
        read(b'{"prompt":"a","metadata":{"take":"1","take":"2"}}')


def refusal_or(step: Callable[[], Result]) -> RequestRefused | Result:
    """What `step` returns, or its refusal, which names a field and a reason for every mistake."""
    try:
        return step()
    except RequestRefused as caught:
        refusal = caught
    assert refusal.status == 400
    assert refusal.errors
    assert all(error.field and error.message for error in refusal.errors)
    return refusal


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    """Whatever is sent, it is read or refused with a field to blame."""
    assert isinstance(refusal_or(lambda: read(raw)), VideoBody | RequestRefused)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from([*VideoBody.model_fields, "extra"])


@settings(deadline=None)
@given(st.dictionaries(FIELDS, VALUES, max_size=6), st.text(min_size=1))
def test_no_values_break_the_reader(fields: dict[str, Any], prompt: str) -> None:
    """Any JSON in any field becomes a request within the provider's limits, or a 400 that names fields."""
    provider = World().provider
    raw = json.dumps({"prompt": prompt} | fields).encode()
    request = refusal_or(lambda: to_request(read(raw), provider))
    if isinstance(request, JobRequest):
        assert provider.abilities.refusals(request) == ()
        assert 1 <= request.n_seconds <= 20
        assert 1 <= request.n_variants <= 4
        assert request.prompt.strip()


def test_the_limits_are_those_of_the_provider(world: World) -> None:
    """Another provider, other sizes and lengths: nothing is hard-wired at the door."""
    world.provider.abilities = replace(
        world.provider.abilities, sizes=((64, 64),), seconds=(3, 4), variants_by_pixels=((0, 7),), max_prompt=5
    )
    body = VideoBody(prompt="12345", width=64, height=64, n_seconds=4, n_variants=7)
    assert to_request(body, world.provider).n_variants == 7
    with pytest.raises(RequestRefused) as caught:
        to_request(body.model_copy(update={"prompt": "123456", "n_seconds": 5, "width": 480}), world.provider)
    assert {error.field: error.message for error in caught.value.errors} == {
        "prompt": "has 6 characters; at most 5 are allowed",
        "n_seconds": "must be a whole number from 3 to 4",
        "width": "480x64 is not offered; width x height must be one of 64x64",
    }


def test_the_provider_s_model_is_the_default(world: World) -> None:
    """The record holds which one made the video, also where the caller did not say."""
    assert to_request(VideoBody(prompt="a"), world.provider).model == "sora"
    assert to_request(VideoBody(prompt="a", model="sora"), world.provider).model == "sora"


ODD = [None, True, 7, 2.5, 1e999, 10**30, -1, 0, "", "x", "x" * 3000, "\ud800", [], ["a"], {}, {"a": 1}, {"": "a"},
       {"x" * 65: "a"}, {"a": "\ud800"}, {"\ud800": "a"}, {str(n): "x" for n in range(20)}, {"url": 1}, {"url": ""},
       {"fit": "q"}, {"base64": "!"}]  # fmt: skip


@pytest.mark.parametrize("kind", ["videos", "images"])
def test_every_refusal_is_in_our_words(kind: str) -> None:
    """The library that checks the types has words of its own, which speak to programmers in Python."""
    for field in (*MODELS[kind].model_fields, "extra", "\ud800"):
        for value in ODD:
            found = refusal_or(lambda: to_body({"prompt": "a"} | {field: value}, kind))  # noqa: B023
            if isinstance(found, RequestRefused):
                said = " ".join(error.message for error in found.errors)
                assert re.match(r"must|is |the name must|needs|goes|holds", said), (field, value, said)
                assert not re.search(r"[Ii]nput should|valid|dictionary|[Ss]tring|integer", said), (field, value, said)
