"""POST generate, refused: every mistake is named, all at once, and nothing at all is left behind."""

from __future__ import annotations

from typing import Any

import pytest
from world import Answer, World

from reelkeeper.records.base import IdempotencyClaim
from reelkeeper.records.memory import MemoryIdempotencyKeys

BODY = {"prompt": "a lighthouse", "width": 1280, "height": 720, "n_seconds": 5}
SIZES = "480x480, 480x854, 720x720, 720x1280, 854x480, 1080x1080, 1080x1920, 1280x720, 1920x1080"


class Counted(MemoryIdempotencyKeys):
    """Counts the claims."""

    claims = 0

    def claim(self, owner: str, key: str, claim: IdempotencyClaim) -> IdempotencyClaim:
        self.claims += 1
        return super().claim(owner, key, claim)


def with_(**changes: Any) -> dict[str, Any]:
    return BODY | changes


def without(*fields: str) -> dict[str, Any]:
    return {name: value for name, value in BODY.items() if name not in fields}


MALFORMED: dict[str, tuple[Any, dict[str, str], int, str, str]] = {
    # name: (body, headers, status, field, words of the message)
    "empty body": (b"", {}, 400, "body", "is empty"),
    "blank body": (b" \n ", {}, 400, "body", "is empty"),
    "not JSON": (b"prompt=x", {}, 400, "body", "no valid JSON"),
    "JSON and more": (b'{"prompt":"a"} {}', {}, 400, "body", "no valid JSON"),
    "array": ([BODY], {}, 400, "body", "must be a JSON object"),
    "string": ("prompt", {}, 400, "body", "must be a JSON object"),
    "null": (None, {}, 400, "body", "must be a JSON object"),
    "NaN": (b'{"prompt":"a","n_seconds":NaN}', {}, 400, "body", "NaN is not JSON"),
    "infinity": (b'{"prompt":"a","n_seconds":-Infinity}', {}, 400, "body", "-Infinity is not JSON"),
    "overflowing float": (b'{"prompt":"a","n_seconds":1e999}', {}, 400, "n_seconds", "must be a whole number"),
    "number of 5,000 digits": (b'{"prompt":"a","n_seconds":' + b"9" * 5000 + b"}", {}, 400, "body", "no valid JSON"),
    "field given twice": (b'{"prompt":"a","prompt":"b"}', {}, 400, "body", "'prompt' is given twice"),
    "UTF-16 with its BOM": ('{"prompt":"a"}'.encode("utf-16"), {}, 400, "body", "no valid JSON"),
    "Latin-1": ('{"prompt":"ü"}'.encode("latin-1"), {}, 400, "body", "no valid JSON"),
    "deep array": (b"[" * 60_000, {}, 400, "body", "no valid JSON"),
    "deep object": (b'{"a":' * 9_000, {}, 400, "body", "no valid JSON"),
    "over 512 KiB": (with_(prompt="x" * 524_288), {}, 413, "body", "524288 are allowed"),
    "form": (b"prompt=a", {"content_type": "application/x-www-form-urlencoded"}, 415, "Content-Type", "is 'appl"),
    "text": (BODY, {"content_type": "text/plain; charset=utf-8"}, 415, "Content-Type", "send application/json"),
    "multipart": (BODY, {"content_type": "multipart/form-data; boundary=x"}, 415, "Content-Type", "is 'multipart"),
    "no prompt": (without("prompt"), {}, 400, "prompt", "is required"),
    "empty prompt": (with_(prompt=""), {}, 400, "prompt", "must not be empty"),
    "blank prompt": (with_(prompt=" \t\n\u3000"), {}, 400, "prompt", "more than blanks"),
    "null prompt": (with_(prompt=None), {}, 400, "prompt", "must be a text"),
    "number as prompt": (with_(prompt=7), {}, 400, "prompt", "must be a text"),
    "list as prompt": (with_(prompt=["a"]), {}, 400, "prompt", "must be a text"),
    "prompt too long": (with_(prompt="x" * 4001), {}, 400, "prompt", "at most 4000"),
    "NUL in the prompt": (with_(prompt="a\0b"), {}, 400, "prompt", "NUL"),
    "half a surrogate pair": (b'{"prompt":"a\\ud83d"}', {}, 400, "prompt", "nicode"),
    "width as text": (with_(width="1280"), {}, 400, "width", "must be a whole number"),
    "width as float": (with_(width=1280.0), {}, 400, "width", "must be a whole number"),
    "height null": (with_(height=None), {}, 400, "height", "must be a whole number"),
    "seconds as bool": (with_(n_seconds=True), {}, 400, "n_seconds", "must be a whole number"),
    "seconds as text": (with_(n_seconds="5"), {}, 400, "n_seconds", "must be a whole number"),
    "half a second": (with_(n_seconds=2.5), {}, 400, "n_seconds", "must be a whole number"),
    "unknown size": (with_(width=640, height=480), {}, 400, "width", SIZES),
    "unknown height": (with_(width=1280, height=721), {}, 400, "height", SIZES),
    "negative size": (with_(width=-1280, height=-720), {}, 400, "width", SIZES),
    "huge size": (with_(width=10**30, height=10**30), {}, 400, "width", SIZES),
    "only width": (without("height"), {}, 400, "height", "together with width"),
    "only height": (without("width"), {}, 400, "width", "together with height"),
    "no second": (with_(n_seconds=0), {}, 400, "n_seconds", "from 1 to 20"),
    "negative seconds": (with_(n_seconds=-5), {}, 400, "n_seconds", "from 1 to 20"),
    "21 seconds": (with_(n_seconds=21), {}, 400, "n_seconds", "from 1 to 20"),
    "no variant": (with_(n_variants=0), {}, 400, "n_variants", "from 1 to 2 at 1280x720"),
    "variants as text": (with_(n_variants="2"), {}, 400, "n_variants", "must be a whole number"),
    "3 variants of 720p": (with_(n_variants=3), {}, 400, "n_variants", "from 1 to 2 at 1280x720"),
    "2 variants of 1080p": (with_(width=1920, height=1080, n_variants=2), {}, 400, "n_variants", "1 at 1920x1080"),
    "5 variants of 480p": (with_(width=480, height=480, n_variants=5), {}, 400, "n_variants", "from 1 to 4 at 480x480"),
    "unknown field": (with_(promt="a"), {}, 400, "promt", "allowed: prompt, width, height, n_variants"),
    "unknown field that is no text": (b'{"prompt":"a","\\ud800":1}', {}, 400, "body", "nicode"),
    "field of another kind": (with_(quality="high"), {}, 400, "quality", "allowed: prompt"),
    "unknown model": (with_(model="sora-9"), {}, 400, "model", "allowed: sora"),
    "empty model": (with_(model=""), {}, 400, "model", "must not be empty"),
    "unknown provider": (with_(provider="nobody"), {}, 400, "provider", "allowed: sora"),
    "provider as number": (with_(provider=1), {}, 400, "provider", "must be a text"),
    "17 pairs of metadata": (with_(metadata={str(n): "x" for n in range(17)}), {}, 400, "metadata", "at most 16"),
    "metadata as list": (with_(metadata=["a"]), {}, 400, "metadata", "must be an object"),
    "metadata null": (with_(metadata=None), {}, 400, "metadata", "must be an object"),
    "number in the metadata": (with_(metadata={"take": 3}), {}, 400, "metadata.take", "must be a text"),
    "object in the metadata": (with_(metadata={"take": {"a": "b"}}), {}, 400, "metadata.take", "must be a text"),
    "long metadata": (with_(metadata={"take": "x" * 513}), {}, 400, "metadata.take", "at most 512"),
    "long metadata name": (with_(metadata={"x" * 65: "a"}), {}, 400, f"metadata.{'x' * 65}", "at most 64"),
    "nameless metadata": (with_(metadata={"": "a"}), {}, 400, "metadata.", "the name must not be empty"),
    "metadata that is no text": (b'{"prompt":"a","metadata":{"a":"\\udc00"}}', {}, 400, "metadata.a", "nicode"),
    "empty owner": (with_(user_id=""), {}, 400, "user_id", "must not be empty"),
    "owner as number": (with_(user_id=12), {}, 400, "user_id", "must be a text"),
    "blank owner": (with_(user_id="  "), {}, 400, "user_id", "printable"),
    "owner too long": (with_(user_id="x" * 257), {}, 400, "user_id", "256"),
    "line break in the owner": (with_(user_id="ada\nbob"), {}, 400, "user_id", "printable"),
    "owner that is no text": (b'{"prompt":"a","user_id":"\\ud800"}', {}, 400, "user_id", "nicode"),
    "two owners": (with_(user_id="ada"), {"x_user_id": "bob"}, 400, "user_id", "differs"),
    "empty owner in the header": (BODY, {"x_user_id": ""}, 400, "user_id", "1 to 256"),
    "header owner too long": (BODY, {"x_user_id": "x" * 257}, 400, "user_id", "1 to 256"),
    "empty idempotency key": (BODY, {"idempotency_key": ""}, 400, "Idempotency-Key", "1 to 255"),
    "long idempotency key": (BODY, {"idempotency_key": "k" * 256}, 400, "Idempotency-Key", "1 to 255"),
    "blank in the idempotency key": (BODY, {"idempotency_key": "a b"}, 400, "Idempotency-Key", "visible ASCII"),
    "idempotency key beyond ASCII": (BODY, {"idempotency_key": "schlüssel"}, 400, "Idempotency-Key", "visible ASCII"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_refused_and_leaves_nothing(world: World, name: str) -> None:
    """4xx with code and the field to blame; no record, no watchdog row, no idempotency row, no start."""
    body, headers, status, field, words = MALFORMED[name]
    world.use(idempotency=(keys := Counted()))
    answer = world.post(body, **{"idempotency_key": "k1"} | headers)
    check_problem(answer, status, field, words)
    assert keys.claims == 0
    assert world.watched() == {}
    assert world.client.started == []
    assert [world.jobs.page(owner, "videos", limit=1)[0] for owner in ("default", "ada", "bob")] == [[], [], []]


def check_problem(answer: Answer, status: int, field: str, words: str) -> None:
    codes = {413: "body_too_large", 415: "unsupported_media_type"}
    problem = answer.json
    assert (answer.status, answer.media_type) == (status, "application/problem+json")
    assert (problem["status"], problem["code"]) == (status, codes.get(status, "invalid_request"))
    assert {"type", "title", "status", "detail", "code", "errors"} == problem.keys()
    found = [error for error in problem["errors"] if error["field"] == field]
    assert len(found) == 1
    assert words in found[0]["message"]


def test_all_mistakes_are_told_at_once(world: World) -> None:
    """A caller mends a request once, not once per field."""
    answer = world.post({"prompt": " ", "width": 1, "height": 1, "n_seconds": 99, "model": "x"})
    assert {error["field"] for error in answer.json["errors"]} == {"prompt", "width", "n_seconds", "model"}
    answer = world.post({"n_seconds": "x", "width": "y", "height": [], "colour": 1})
    assert {error["field"] for error in answer.json["errors"]} == {"prompt", "n_seconds", "width", "height", "colour"}


def test_a_body_full_of_mistakes_gets_a_short_answer(world: World) -> None:
    """Thousands of unknown fields are not answered with megabytes."""
    answer = world.post({str(number): 1 for number in range(5000)})
    assert answer.status == 400
    assert len(answer.json["errors"]) == 20
    assert len(answer.raw) < 20_000
