"""POST generate with a picture to begin with: what becomes of it on the way into the record, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError
from drawn import drawn, opened
from world import Answer, World

from emulator.sora.simulator import Simulator
from reelkeeper.clips.memory import MemoryClips
from reelkeeper.model import InputImage, Job
from reelkeeper.outbound.base import FetcherBusy
from reelkeeper.outbound.memory import MemoryFetcher
from reelkeeper.pictures import MAX_PICTURE_BYTES
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.base import ProviderConfig
from reelkeeper.providers.memory import MemoryProvider
from reelkeeper.providers.openai_videos import OpenAIVideos
from reelkeeper.records.base import IdempotencyClaim
from reelkeeper.records.memory import MemoryIdempotencyKeys, MemoryJobs

BODY = {"prompt": "the boat sets sail", "width": 480, "height": 480, "n_seconds": 1}
SIZED_BY_PICTURE = {"prompt": "the boat sets sail"}


def text(data: bytes, media_type: str = "image/png", **more: Any) -> dict[str, Any]:
    return {"base64": base64.b64encode(data).decode(), "media_type": media_type, **more}


def post(world: World, image: Any, body: dict[str, Any] = BODY, **headers: str) -> Answer:
    return world.post(body | {"input_image": image}, **headers)


def jobs_of(world: World) -> list[Job]:
    return world.services.jobs.page("default", "videos", limit=100)[0]


def recorded(world: World, answer: Answer) -> tuple[Job, InputImage]:
    assert answer.status == 202, answer.json
    job = world.services.jobs.get("default", answer.json["job_id"])
    assert job is not None
    assert job.request.input_image is not None
    return job, job.request.input_image


def refusal(world: World, answer: Answer) -> dict[str, str]:
    """The fields to blame, with the words; nothing may be left behind."""
    assert (answer.status, answer.media_type) == (400, "application/problem+json")
    assert answer.json["code"] == "invalid_request"
    assert (jobs_of(world), world.watched(), world.client.started) == ([], {}, [])
    assert world.clips._blobs == {}
    assert world.idempotency.get("default", "k1") is None
    return {error["field"]: error["message"] for error in answer.json["errors"]}


# Pictures in the body


@pytest.mark.parametrize(("form", "extension"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")])
def test_a_picture_is_kept_beside_the_job_s_clips(world: World, form: str, extension: str) -> None:
    """As it is, in the owner's storage, before the record that names it."""
    data, media_type = drawn(480, 480, form), f"image/{form.lower()}"
    job, image = recorded(world, post(world, text(data, media_type)))
    digest = hashlib.sha256(data).hexdigest()
    path = f"user_default/videos/{job.job_id}/input-{digest[:8]}.{extension}"
    assert image == InputImage(path, media_type, 480, 480, digest)
    assert image.file_name == f"input.{extension}"
    stored = world.clips.find(path)
    assert stored is not None
    assert (stored.content_type, world.clips.read(path)) == (media_type, data)
    assert Job.from_dict(job.to_dict()).request == job.request


def test_the_picture_is_there_before_the_record(world: World) -> None:
    """A record without its picture could not be submitted."""
    seen: list[bytes] = []

    class Jobs(MemoryJobs):
        def insert(self, job: Job) -> Job:
            assert job.request.input_image is not None
            seen.append(world.clips.read(job.request.input_image.path))
            return super().insert(job)

    world.use(jobs=Jobs())
    data = drawn(480, 480)
    assert post(world, text(data)).status == 202
    assert seen == [data]


def test_a_wrong_size_is_refused_with_the_needed_one(world: World) -> None:
    """Named, or the provider's usual one where the picture's own is not offered."""
    words = "send that size, or set input_image.fit to cover or contain"
    named = post(world, text(drawn(800, 600)), idempotency_key="k1")
    assert refusal(world, named) == {"input_image": f"is 800x600; this request needs 480x480: {words}"}
    usual = post(world, text(drawn(800, 600)), SIZED_BY_PICTURE, idempotency_key="k1")
    assert refusal(world, usual) == {"input_image": f"is 800x600; this request needs 1280x720: {words}"}


@pytest.mark.parametrize("fit", ["cover", "contain"])
def test_a_wrong_size_is_made_right_where_that_is_wanted(world: World, fit: str) -> None:
    """The record and the blob have the size of the video."""
    job, image = recorded(world, post(world, text(drawn(800, 600, "JPEG"), "image/jpeg", fit=fit)))
    picture = opened(world.clips.read(image.path))
    assert (picture.size, image.width, image.height, image.media_type) == ((480, 480), 480, 480, "image/jpeg")
    assert image.digest == hashlib.sha256(world.clips.read(image.path)).hexdigest()
    assert (job.request.width, job.request.height) == (480, 480)


def test_a_body_without_a_size_takes_the_picture_s_own(world: World) -> None:
    """Where the provider offers it; as it is seen, when the camera was turned."""
    job, _ = recorded(world, post(world, text(drawn(720, 1280)), SIZED_BY_PICTURE))
    assert (job.request.width, job.request.height) == (720, 1280)
    job, image = recorded(world, post(world, text(drawn(480, 854, turn=6)), SIZED_BY_PICTURE))
    assert (job.request.width, job.request.height, image.width, image.height) == (854, 480, 854, 480)
    job, _ = recorded(world, post(world, text(drawn(800, 600), fit="contain"), SIZED_BY_PICTURE))
    assert (job.request.width, job.request.height) == (1280, 720)


def test_the_picture_s_size_decides_how_many_variants_there_may_be(world: World) -> None:
    """Four of a small one, though the usual size allows two; one of a large one."""
    assert post(world, text(drawn(480, 480)), SIZED_BY_PICTURE | {"n_variants": 4}).status == 202
    other = World()
    large = post(other, text(drawn(1920, 1080)), SIZED_BY_PICTURE | {"n_variants": 2}, idempotency_key="k1")
    assert refusal(other, large) == {"n_variants": "must be from 1 to 1 at 1920x1080"}
    never = post(other, text(drawn(480, 480)), SIZED_BY_PICTURE | {"n_variants": 5}, idempotency_key="k1")
    assert refusal(other, never) == {"n_variants": "must be from 1 to 2 at 1280x720"}


GOOD = text(drawn(480, 480))
WRONG: dict[str, tuple[Any, str, str]] = {
    # name: (input_image, field, words)
    "text": ("https://a/b.png", "input_image", "must be an object"),
    "nothing": ({}, "input_image", "either url, or base64 and media_type"),
    "only fit": ({"fit": "cover"}, "input_image", "either url, or base64"),
    "both": (GOOD | {"url": "https://a/b.png"}, "input_image", "either url, or base64"),
    "nulls": ({"url": None, "base64": None}, "input_image", "either url, or base64"),
    "unknown field": (GOOD | {"file_id": "f"}, "input_image.file_id", "allowed: url, base64, media_type, fit"),
    "unknown fit": (GOOD | {"fit": "stretch"}, "input_image.fit", "'cover' or 'contain'"),
    "no type": ({"base64": GOOD["base64"]}, "input_image.media_type", "one of image/png, image/jpeg, image/webp"),
    "gif": (GOOD | {"media_type": "image/gif"}, "input_image.media_type", "one of image/png, image/jpeg, image/webp"),
    "type of a url": ({"url": "https://a/b", "media_type": "image/png"}, "input_image.media_type", "with base64 only"),
    "no base64": (GOOD | {"base64": "!!"}, "input_image.base64", "is not base64"),
    "short base64": (GOOD | {"base64": "abc"}, "input_image.base64", "is not base64"),
    "wrapped base64": (GOOD | {"base64": "aGVs\nbG8="}, "input_image.base64", "without line breaks"),
    "not ASCII": (GOOD | {"base64": "aGVsbG8é"}, "input_image.base64", "is not base64"),
    "number": (GOOD | {"base64": 7}, "input_image.base64", "must be a text"),
    "empty base64": (GOOD | {"base64": ""}, "input_image.base64", "holds 0 bytes; 1 to 20971520"),
    "data URL": (GOOD | {"base64": "data:image/png;base64,aGVs"}, "input_image.base64", "base64 text alone"),
    "other type": (GOOD | {"media_type": "image/jpeg"}, "input_image", "declared as image/jpeg, but its bytes are ima"),
    "no picture": (text(b"hello, world"), "input_image", "is no PNG, JPEG or WebP picture"),
    "damaged": (text(drawn(480, 480)[:700]), "input_image", "is a damaged PNG file"),
    "empty url": ({"url": ""}, "input_image.url", "must not be empty"),
    "long url": ({"url": "https://a/" + "b" * 2048}, "input_image.url", "at most 2048 characters"),
    "plain http": ({"url": "http://pictures.example/a.png"}, "input_image.url", "an address without https"),
    "loopback": ({"url": "https://127.0.0.1/a.png"}, "input_image.url", "a private address"),
    "file": ({"url": "file:///etc/passwd"}, "input_image.url", "no usable address"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_picture_that_cannot_be_used_is_refused_and_leaves_nothing(world: World, name: str) -> None:
    """400 with the field to blame and what helps; no blob, no record, no idempotency row."""
    image, field, words = WRONG[name]
    found = refusal(world, post(world, image, idempotency_key="k1"))
    assert words in found[field]
    assert len(found) == 1


def test_pictures_are_for_providers_that_begin_with_one(world: World) -> None:
    """The words name those that do."""
    poor = MemoryProvider(world.clock.now, "poor")
    poor.abilities = replace(poor.abilities, input_image=False)
    world.services.providers["poor"] = poor
    words = refusal(world, post(world, GOOD, BODY | {"provider": "poor"}, idempotency_key="k1"))
    assert words == {"input_image": "'poor' makes no video from a picture; name one that does in provider: sora"}
    del world.services.providers["sora"]
    words = refusal(world, post(world, GOOD, idempotency_key="k1"))
    assert words == {"input_image": "'poor' makes no video from a picture; no configured provider does"}


# Length


def padded(size: int) -> bytes:
    """A PNG of this many bytes: what follows its end is not looked at."""
    data = drawn(480, 480)
    return data + bytes(size - len(data))


def test_a_picture_of_20_mib_fits(world: World) -> None:
    """To the byte, also where the slashes of its text are escaped; one more is refused."""
    body = json.dumps(BODY | {"input_image": text(padded(MAX_PICTURE_BYTES))})
    assert world.post(body.encode()).status == 202
    slashes = bytes([255]) * (MAX_PICTURE_BYTES - len(drawn(480, 480)))
    escaped = json.dumps(BODY | {"input_image": text(drawn(480, 480) + slashes)}).replace("/", "\\/")
    assert world.post(escaped.encode()).status == 202
    other = World()
    one_more = post(other, text(padded(MAX_PICTURE_BYTES + 1)), idempotency_key="k1")
    assert "holds 20971521 bytes" in refusal(other, one_more)["input_image.base64"]


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (BODY | {"input_image": text(bytes(MAX_PICTURE_BYTES + 4096))}, "videos", "20 MiB decoded"),
        (BODY | {"input_image": GOOD, "prompt": "x" * 524_288}, "videos", "at most 524288"),
        (BODY | {"input_image": GOOD, "other": "x" * 524_288}, "videos", "at most 524288"),
        (BODY | {"input_image": GOOD | {"fit": "x" * 524_288}}, "videos", "at most 524288"),
        (BODY | {"input_image": text(bytes(524_288))}, "images", "at most 524288"),
        (b'{"base64": "' + b"A" * 524_288, "images", "at most 524288"),
        (b'{"base64": ["' + b"A" * 524_288, "videos", "at most 524288"),
        (b"[" * 600_000, "videos", "at most 524288"),
    ],
)  # fmt: skip
def test_only_the_text_of_a_picture_may_be_long(world: World, body: Any, kind: str, words: str) -> None:
    """413 before anything is parsed."""
    answer = world.post(body, kind)
    assert (answer.status, answer.json["code"]) == (413, "body_too_large")
    assert words in answer.json["detail"]


@pytest.mark.parametrize(
    "raw", [b'{"base64": "' + b"A" * 70_000 + b'"', b'{"metadata": {"base64": "' + b"A" * 70_000 + b'"}}']
)
def test_a_long_text_elsewhere_is_refused_for_what_it_is(world: World, raw: bytes) -> None:
    """It passes as a picture's by its name only."""
    assert world.post(raw).status == 400


# Pictures at an address


class Gallery(ThreadingHTTPServer):
    """Pictures by path, on 127.0.0.1; `asked`: every path in order."""

    def __init__(self) -> None:
        gallery = self
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gallery.asked.append(self.path)
                data = gallery.files.get(self.path.partition("?")[0])
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, *_: Any) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def gallery() -> Iterator[Gallery]:
    server = Gallery()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def open_world() -> World:
    """An app in development, which fetches from private addresses too."""
    return World(WEBHOOK_ALLOW_PRIVATE="true")


def test_a_picture_is_fetched_from_its_address(open_world: World, gallery: Gallery) -> None:
    """Its type is told by its bytes; its address is not kept: it may be signed, and its file may change."""
    data = drawn(480, 480, "WEBP")
    gallery.files["/boat"] = data
    job, image = recorded(open_world, post(open_world, {"url": f"{gallery.url}/boat?sig=SECRET"}))
    assert gallery.asked == ["/boat?sig=SECRET"]
    assert (image.media_type, open_world.clips.read(image.path)) == ("image/webp", data)
    assert "SECRET" not in json.dumps(job.to_dict())


def test_an_address_without_a_picture_is_refused(open_world: World, gallery: Gallery) -> None:
    """With what the server said, and without the address."""
    gallery.files["/page"] = b"<html>SECRET"
    missing = post(open_world, {"url": f"{gallery.url}/none?sig=SECRET"}, idempotency_key="k1")
    assert refusal(open_world, missing) == {"input_image.url": "answers HTTP 404"}
    page = post(open_world, {"url": f"{gallery.url}/page?sig=SECRET"}, idempotency_key="k1")
    assert refusal(open_world, page) == {"input_image": "is no PNG, JPEG or WebP picture"}
    assert b"SECRET" not in missing.raw + page.raw


def test_private_addresses_are_for_development(world: World, gallery: Gallery) -> None:
    """Without the switch nothing is asked there."""
    assert "without https" in refusal(world, post(world, {"url": f"{gallery.url}/boat"}))["input_image.url"]
    assert gallery.asked == []


def test_a_post_that_comes_while_many_pictures_are_fetched_is_to_come_again(world: World) -> None:
    """503, nothing is left behind; the same key and body make the job later."""
    url, fetcher = "https://pictures.example/boat", MemoryFetcher()
    fetcher.files[url], fetcher.planned = drawn(480, 480), [FetcherBusy()]
    world.use(fetcher=fetcher)
    answer = post(world, {"url": url}, idempotency_key="k1")
    assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "busy", "5")
    assert (jobs_of(world), world.watched(), world.idempotency.get("default", "k1")) == ([], {}, None)
    recorded(world, post(world, {"url": url}, idempotency_key="k1"))


def test_nothing_is_fetched_for_a_request_that_is_wrong_anyway(open_world: World, gallery: Gallery) -> None:
    """The cheap checks come first."""
    image = {"url": f"{gallery.url}/boat"}
    wrong = post(open_world, image, BODY | {"n_seconds": 99, "n_variants": 9}, idempotency_key="k1")
    assert refusal(open_world, wrong).keys() == {"n_seconds", "n_variants"}
    assert post(open_world, image, idempotency_key="two words").status == 400
    assert gallery.asked == []


# Idempotency


def test_a_repeated_post_fetches_nothing_again(open_world: World, gallery: Gallery) -> None:
    """The same job, also when the picture is gone or has changed by now."""
    gallery.files["/boat"] = drawn(480, 480)
    image = {"url": f"{gallery.url}/boat"}
    first = post(open_world, image, idempotency_key="k1")
    gallery.files.clear()
    again = post(open_world, image, idempotency_key="k1")
    assert (first.status, again.status, again.headers["Idempotent-Replayed"]) == (202, 200, "true")
    assert again.json == first.json
    assert (len(gallery.asked), len(jobs_of(open_world)), len(open_world.client.started)) == (1, 1, 1)


@pytest.mark.parametrize("change", [{"fit": "cover"}, text(drawn(480, 480, "JPEG"), "image/jpeg"), None])
def test_another_picture_is_another_body(world: World, change: Any) -> None:
    """422 before the picture is looked at; nor is no picture the same as one."""
    assert post(world, GOOD, idempotency_key="k1").status == 202
    image = None if change is None else GOOD | change
    answer = post(world, image, idempotency_key="k1")
    assert (answer.status, answer.json["code"]) == (422, "idempotency_mismatch")


def test_another_address_is_another_body(open_world: World, gallery: Gallery) -> None:
    """It is compared as text: nobody looks behind it."""
    gallery.files["/boat"] = gallery.files["/ship"] = drawn(480, 480)
    assert post(open_world, {"url": f"{gallery.url}/boat"}, idempotency_key="k1").status == 202
    assert post(open_world, {"url": f"{gallery.url}/ship"}, idempotency_key="k1").status == 422
    assert gallery.asked == ["/boat"]


def test_no_picture_written_out_is_the_same_as_none(world: World) -> None:
    """As for every optional field."""
    first = world.post(BODY, idempotency_key="k1")
    assert post(world, None, idempotency_key="k1").json == first.json


def test_a_key_bound_before_there_were_pictures_still_holds(world: World) -> None:
    """A body without one has the digest that it always had."""
    old = {"metadata": {}, "model": None, "n_variants": 1, "provider": None} | BODY
    digest = hashlib.sha256(json.dumps(old, sort_keys=True).encode()).hexdigest()
    job = world.record("default")
    world.idempotency.claim("default", "k1", IdempotencyClaim(job.job_id, digest))
    answer = world.post(BODY, idempotency_key="k1")
    assert (answer.status, answer.json["job_id"]) == (200, job.job_id)


def test_a_crash_before_the_record_is_finished_by_the_next_post(world: World) -> None:
    """Under the claimed id; the picture that is left over is replaced."""
    whole = world.services.jobs

    class Dying(MemoryJobs):
        def insert(self, job: Job) -> Job:
            raise SystemError("the worker dies here")

    world.use(jobs=Dying())
    assert post(world, GOOD, idempotency_key="k1").status == 500
    world.use(jobs=whole)
    (claimed,) = world.watched()
    job, image = recorded(world, post(world, GOOD, idempotency_key="k1"))
    assert job.job_id == claimed
    assert list(world.clips._blobs) == [image.path]


def test_the_blob_goes_below_the_claimed_id_when_a_twin_was_faster(world: World) -> None:
    """Two POSTs at once with one key: the slower one finds the claim only after it looked at its picture."""

    class Late(MemoryIdempotencyKeys):
        def get(self, owner: str, key: str) -> IdempotencyClaim | None:
            return None

    world.use(idempotency=Late())
    first = post(world, GOOD, idempotency_key="k1")
    again = post(world, GOOD, idempotency_key="k1")
    assert (first.status, again.status, again.json) == (202, 200, first.json)
    assert len(world.clips._blobs) == 1


def test_without_storage_for_the_picture_nothing_is_accepted(world: World) -> None:
    """503, no record; a row by which the rest is swept away; the same key and body make the job later."""

    class Away(MemoryClips):
        def put(self, path: str, data: bytes, *, content_type: str) -> None:
            raise ServiceRequestError("no connection")

    world.use(clips=Away())
    answer = post(world, GOOD, idempotency_key="k1")
    assert (answer.status, answer.json["code"]) == (503, "storage_unavailable")
    assert (jobs_of(world), len(world.watched())) == ([], 1)
    world.use(clips=world.clips)
    recorded(world, post(world, GOOD, idempotency_key="k1"))


# From the POST to the provider


@contextmanager
def served(tmp_path: Path, dialect: str) -> Iterator[tuple[World, Simulator]]:
    """An app whose provider is a simulated server."""
    world = World(WEBHOOK_ALLOW_PRIVATE="true")
    dialects: dict[str, Any] = {"azure-jobs": (AzureJobs, "/openai/v1"), "openai-videos": (OpenAIVideos, "/v1")}
    adapter, base = dialects[dialect]
    options: dict[str, Any] = {"generation_seconds": 3600, "api_key": "key", "media": "tiny"}
    with Simulator(tmp_path / "sora", clock=world.clock.now, **options) as simulator:
        config = ProviderConfig("sora", "videos", dialect, f"{simulator.url}{base}", "", "key", "sora")
        sizes = None if dialect == "azure-jobs" else ((720, 1280), (1280, 720))
        world.services.providers["sora"] = adapter(replace(config, sizes=sizes), world.clock.now)
        yield world, simulator


@pytest.mark.parametrize("dialect", ["azure-jobs", "openai-videos"])
@pytest.mark.parametrize("fit", [None, "cover", "contain"])
def test_a_picture_reaches_the_provider(tmp_path: Path, gallery: Gallery, dialect: str, fit: str | None) -> None:
    """From an address or resized, the real server that checks it accepts the task."""
    gallery.files["/boat"] = drawn(1280, 720) if fit is None else drawn(900, 900, "JPEG")
    with served(tmp_path, dialect) as (world, simulator):
        body = {"prompt": "the boat sets sail", "width": 1280, "height": 720, "n_seconds": 4}
        answer = post(world, {"url": f"{gallery.url}/boat", "fit": fit}, body)
        job, image = recorded(world, answer)
        assert world.create(job) == {"next": "watch"}
        (task,) = simulator.tasks()
        seen = (
            task["extra"]["inpaint_items"][0]["file_name"]
            if dialect == "azure-jobs"
            else task["extra"]["input_reference"]
        )
        assert (task["width"], task["height"], seen) == (1280, 720, image.file_name)


@pytest.mark.parametrize("dialect", ["azure-jobs", "openai-videos"])
def test_a_wrong_size_never_reaches_the_provider(tmp_path: Path, dialect: str) -> None:
    """It is told before anything is recorded, with the size that is needed."""
    with served(tmp_path, dialect) as (world, simulator):
        answer = post(world, text(drawn(640, 480)), {"prompt": "x", "width": 720, "height": 1280, "n_seconds": 4})
        assert "is 640x480; this request needs 720x1280" in refusal(world, answer)["input_image"]
        assert simulator.tasks() == []


def test_a_lost_answer_is_found_again_by_its_task(tmp_path: Path) -> None:
    """With a picture as without: the task is adopted, not paid for twice."""
    with served(tmp_path, "azure-jobs") as (world, simulator):
        job, _ = recorded(world, post(world, GOOD))
        simulator.fault("create", "drop_answer")
        assert world.create(job)["next"] == "wait"
        world.clock.advance(minutes=3)
        assert world.create(job) == {"next": "watch"}
        assert len(simulator.tasks()) == 1
