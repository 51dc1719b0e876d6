"""POST batches with pictures to begin with: fetched a few at a time, judged before anything is recorded, and taken back
when the batch is refused."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError
from drawn import drawn
from world import Answer, World

from reelkeeper import names
from reelkeeper.clips.memory import MemoryClips
from reelkeeper.model import Job
from reelkeeper.outbound.base import FetcherBusy
from reelkeeper.outbound.memory import MemoryFetcher
from reelkeeper.pictures import MAX_PICTURE_BYTES
from reelkeeper.records.base import IdempotencyClaim
from reelkeeper.records.memory import MemoryIdempotencyKeys, MemoryJobs

SMALL = {"prompt": "the boat sets sail", "width": 480, "height": 480, "n_seconds": 1}
GOOD = drawn(480, 480)
BOAT = "https://pictures.example/boat"


def text(data: bytes = GOOD) -> dict[str, Any]:
    return {"base64": base64.b64encode(data).decode(), "media_type": "image/png"}


def wishes(*images: Any) -> list[dict[str, Any]]:
    """One request for each; None: without a picture."""
    return [SMALL | ({"input_image": image} if image else {}) for image in images]


@pytest.fixture
def fetcher(world: World) -> MemoryFetcher:
    """The pictures at addresses; BOAT is there."""
    fetcher = MemoryFetcher()
    fetcher.files[BOAT] = GOOD
    world.use(fetcher=fetcher)
    return fetcher


def steered(world: World, step: Callable[[str], None]) -> None:
    """Let every fetch of a good picture do `step` first."""

    class Steered(MemoryFetcher):
        def fetch(self, url: str, most: int) -> bytes:
            step(url)
            return GOOD

    world.use(fetcher=Steered())


def recorded(world: World, answer: Answer) -> list[Job]:
    """The jobs, in the order of the requests."""
    assert answer.status == 202, answer.json
    jobs = [world.services.jobs.get("default", item["job_id"]) for item in answer.json["jobs"]]
    return [job for job in jobs if job is not None]


def refusal(world: World, answer: Answer) -> dict[str, str]:
    """The fields to blame, with the words; nothing may be left behind."""
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert (world.jobs._rows, world.watched(), world.client.started, world.clips._blobs) == ({}, {}, [], {})
    assert world.idempotency.get("default", "k1") is None
    return {error["field"]: error["message"] for error in answer.json["errors"]}


def test_each_picture_is_kept_beside_its_own_job(world: World, fetcher: MemoryFetcher) -> None:
    """From the body or an address; a job without one has none; all are there before the records."""
    there: list[set[str]] = []

    class Jobs(MemoryJobs):
        def insert_all(self, jobs: Any) -> list[Job]:
            there.append(set(world.clips._blobs))
            return super().insert_all(jobs)

    world.use(jobs=Jobs())
    jobs = recorded(world, world.post_batch(wishes(text(), None, {"url": BOAT}), idempotency_key="k1"))
    paths = [job.request.input_image.path if job.request.input_image else None for job in jobs]
    assert paths[1] is None
    assert [path and path.rpartition("/")[0] for path in paths] == [
        f"user_default/videos/{jobs[0].job_id}", None, f"user_default/videos/{jobs[2].job_id}",
    ]  # fmt: skip
    assert there == [{paths[0], paths[2]}]
    assert all(world.clips.read(path) == GOOD for path in paths if path)


def test_three_are_fetched_at_once(world: World) -> None:
    """No more, whatever their number, which leaves a place for single jobs, and no fewer."""
    three, now, most = threading.Barrier(3, timeout=10), [0], [0]
    lock = threading.Lock()

    def meet(url: str) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        three.wait()
        with lock:
            now[0] -= 1

    steered(world, meet)
    assert len(recorded(world, world.post_batch(wishes(*[{"url": BOAT}] * 12)))) == 12
    assert most == [3]


def test_nothing_is_fetched_for_a_batch_that_is_wrong_anyway(world: World, fetcher: MemoryFetcher) -> None:
    """The cheap checks of all requests come first."""
    found = refusal(world, world.post_batch([*wishes({"url": BOAT}), {}], idempotency_key="k1"))
    assert (found, fetcher.asked) == ({"requests[1].prompt": "is required"}, [])


def test_a_picture_that_is_refused_takes_the_others_back(world: World, fetcher: MemoryFetcher) -> None:
    """All mistakes are told at their index; what was put before is deleted, with its watchdog row."""
    put: list[str] = []

    class Clips(MemoryClips):
        def put(self, path: str, data: bytes, *, content_type: str) -> None:
            put.append(path)
            super().put(path, data, content_type=content_type)

    world.use(clips=Clips())
    world.clips = world.services.clips  # type: ignore[assignment]
    late = threading.Event()

    class Slow(MemoryFetcher):
        def fetch(self, url: str, most: int) -> bytes:
            if url.endswith("none"):
                assert late.wait(10)
            data = super().fetch(url, most)
            if len(put) >= 2:
                late.set()
            return data

    slow = Slow()
    slow.files = fetcher.files
    world.use(fetcher=slow)
    images = [text(), text(), {"url": "https://pictures.example/none"}, *[{"url": BOAT}] * 8, text(drawn(640, 480))]
    found = refusal(world, world.post_batch(wishes(*images), idempotency_key="k1"))
    assert found.keys() == {"requests[2].input_image.url", "requests[11].input_image"}
    assert found["requests[2].input_image.url"] == "answers HTTP 404"
    assert "is 640x480; this request needs 480x480" in found["requests[11].input_image"]
    assert len(put) >= 2


def test_mistakes_are_told_in_the_order_of_the_requests(world: World) -> None:
    """Whichever fetch ends first."""
    overtaken = threading.Event()

    class Slow(MemoryFetcher):
        def fetch(self, url: str, most: int) -> bytes:
            if url.endswith("/3"):  # it has the place of one before it, whose mistake is noted by now
                overtaken.set()
            assert not url.endswith("/0") or overtaken.wait(10)
            return b"no picture"

    world.use(fetcher=Slow())
    images = [{"url": f"https://pictures.example/{number}"} for number in range(5)]
    answer = world.post_batch(wishes(*images), idempotency_key="k1")
    fields = [f"requests[{number}].input_image" for number in range(5)]
    assert list(refusal(world, answer)) == fields
    assert [answer.json["detail"].index(field) for field in fields] == sorted(map(answer.json["detail"].index, fields))


def test_pictures_that_take_too_long_together_are_named(world: World) -> None:
    """After a minute the batch is refused, and what was put is deleted."""
    steered(world, lambda _: world.clock.advance(seconds=61))
    found = refusal(world, world.post_batch(wishes(*[{"url": BOAT}] * 10), idempotency_key="k1"))
    assert found.keys() >= {f"requests[{index}].input_image" for index in range(4, 10)}
    assert all("within the 60 s for all pictures of a batch" in words for words in found.values())


def test_a_fetcher_that_is_busy_is_asked_again(world: World, fetcher: MemoryFetcher) -> None:
    """Another POST holds the places: the batch waits for its turn."""
    fetcher.planned = [FetcherBusy() for _ in range(5)]
    assert len(recorded(world, world.post_batch(wishes(*[{"url": BOAT}] * 3)))) == 3
    assert len(fetcher.asked) == 8


def test_without_storage_for_a_picture_no_batch_is_accepted(world: World, fetcher: MemoryFetcher) -> None:
    """503, nothing recorded; what was put before is deleted, or swept away where even that fails."""

    class Away(MemoryClips):
        def put(self, path: str, data: bytes, *, content_type: str) -> None:
            if len(self._blobs) == 2:
                raise ServiceRequestError("no connection")
            super().put(path, data, content_type=content_type)

        def delete_all(self, prefix: str) -> None:
            if not self._blobs.keys() <= kept:
                kept.update(self._blobs)
                raise ServiceRequestError("no connection")
            super().delete_all(prefix)

    kept: set[str] = set()
    world.use(clips=(clips := Away()))
    answer = world.post_batch(wishes(*[{"url": BOAT}] * 4), idempotency_key="k1")
    assert (answer.status, answer.json["code"]) == (503, "storage_unavailable")
    assert (world.jobs._rows, world.client.started, len(clips._blobs)) == ({}, [], 1)
    world.clock.advance(minutes=30)
    world.sweep()
    assert (clips._blobs, world.watched()) == ({}, {})


def test_a_repeated_batch_fetches_nothing_again(world: World, fetcher: MemoryFetcher) -> None:
    """The same jobs, also when the pictures are gone by now."""
    first = world.post_batch(wishes({"url": BOAT}, None), idempotency_key="k1")
    fetcher.files.clear()
    again = world.post_batch(wishes({"url": BOAT}, None), idempotency_key="k1")
    assert (again.status, again.json, len(fetcher.asked)) == (200, first.json, 1)


def test_a_twin_that_was_faster_keeps_its_pictures(world: World, fetcher: MemoryFetcher) -> None:
    """The slower of two POSTs with one key takes back what it put below an id of its own."""

    class Late(MemoryIdempotencyKeys):
        def get(self, owner: str, key: str) -> IdempotencyClaim | None:
            return None

    world.use(idempotency=Late())
    first = world.post_batch(wishes({"url": BOAT}, text()), idempotency_key="k1")
    again = world.post_batch(wishes({"url": BOAT}, text()), idempotency_key="k1")
    assert (again.status, again.json) == (200, first.json)
    assert set(world.clips._blobs) == {
        job.request.input_image.path for job in recorded(world, first) if job.request.input_image
    }
    assert world.watched().keys() == {job["job_id"] for job in first.json["jobs"]}


def test_a_claimed_batch_is_finished_with_its_pictures(world: World, fetcher: MemoryFetcher) -> None:
    """The twin died after its claim: the jobs are made under its ids, and the pictures lie there."""
    whole = world.services.jobs

    class Dying(MemoryJobs):
        def insert_all(self, jobs: Any) -> list[Job]:
            raise SystemError("the worker dies here")

    world.use(jobs=Dying())
    assert world.post_batch(wishes({"url": BOAT}, text()), idempotency_key="k1").status == 500
    claimed = world.watched().keys()
    world.use(jobs=whole)
    jobs = recorded(world, world.post_batch(wishes({"url": BOAT}, text()), idempotency_key="k1"))
    assert {job.job_id for job in jobs} == claimed
    assert len(world.clips._blobs) == 2


def test_a_refused_repetition_leaves_the_other_s_pictures_alone(world: World, fetcher: MemoryFetcher) -> None:
    """Under a claimed id somebody else may be making the same jobs: what is really left over the sweep deletes."""
    world.use(jobs=(jobs := MemoryJobs()))
    jobs.insert_all = _die  # type: ignore[method-assign]
    world.post_batch(wishes({"url": BOAT}, text()), idempotency_key="k1")
    fetcher.files.clear()
    answer = world.post_batch(wishes({"url": BOAT}, text()), idempotency_key="k1")
    assert (answer.status, len(world.clips._blobs)) == (400, 2)
    world.clock.advance(minutes=30)
    world.sweep()
    assert (world.clips._blobs, world.watched()) == ({}, {})


def _die(jobs: Any) -> list[Job]:
    raise SystemError("the worker dies here")


def test_every_picture_of_a_batch_may_be_long(world: World) -> None:
    """Each as for a single job, besides a mebibyte for all the rest; images have none."""
    padded = GOOD + bytes(MAX_PICTURE_BYTES // 8)
    assert len(recorded(world, world.post_batch(wishes(text(padded), text(padded), text())))) == 3
    large = world.post_batch(wishes(text(), text(bytes(MAX_PICTURE_BYTES + 4096))))
    assert (large.status, "20 MiB decoded" in large.json["detail"]) == (413, True)
    rest = world.post_batch([*wishes(text(padded)), SMALL | {"prompt": "x" * 1024 * 1024}])
    assert (rest.status, "besides its pictures; at most 1048576" in rest.json["detail"]) == (413, True)
    assert world.post_batch(wishes(text(padded)), "images").status == 413


def test_what_is_kept_of_a_batch_names_no_address(world: World, fetcher: MemoryFetcher) -> None:
    """It may be signed."""
    fetcher.files[f"{BOAT}?sig=SECRET"] = GOOD
    jobs = recorded(world, world.post_batch(wishes({"url": f"{BOAT}?sig=SECRET"})))
    assert names.is_job_id(jobs[0].job_id)
    assert "SECRET" not in json.dumps(jobs[0].to_dict())
