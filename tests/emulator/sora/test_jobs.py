"""The jobs dialect as its users see it: create, poll, list, delete, expire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from av import VideoFrame
from av import open as open_media

START_SECONDS = 1772366400  # 2026-03-01T12:00Z, where the virtual clock starts
JOBS = "/openai/v1/video/generations/jobs"
JOB_FIELDS = {
    "object", "id", "status", "created_at", "finished_at", "expires_at", "generations", "prompt", "model", "n_variants",
    "n_seconds", "height", "width", "failure_reason",
}  # fmt: skip
NOT_FOUND = {"error": {"code": "404", "message": "Resource not found"}}


def test_create_answers_201_with_an_unfinished_job(provider: Any) -> None:
    """A new job is queued, echoes its request and promises nothing yet."""
    answer = provider.create("a boat", n_variants=2, width=854, height=480, n_seconds=None)
    job = answer.json()
    assert (answer.status_code, set(job)) == (201, JOB_FIELDS)
    assert job["id"].startswith("task_")
    assert (job["object"], job["status"], job["generations"]) == ("video.generation.job", "queued", [])
    assert (job["prompt"], job["model"], job["width"], job["height"]) == ("a boat", "sora", 854, 480)
    assert (job["n_variants"], job["n_seconds"], job["created_at"]) == (2, 5, START_SECONDS)
    assert (job["finished_at"], job["expires_at"], job["failure_reason"]) == (None, None, None)


def test_job_passes_through_every_status_in_order_as_time_goes(provider: Any) -> None:
    """Progress follows the injected clock alone: queued, preprocessing, running, processing, succeeded."""
    task_id = provider.create().json()["id"]
    seen = []
    for _ in range(21):
        job = provider.job(task_id)
        assert (job["generations"] == []) == (job["status"] != "succeeded")
        seen.append(job["status"])
        provider.clock.advance(5)
    assert list(dict.fromkeys(seen)) == ["queued", "preprocessing", "running", "processing", "succeeded"]
    assert seen.count("running") > 10


def test_finished_job_names_its_generations_and_its_expiry(provider: Any) -> None:
    """Success brings one generation per variant, without any URL, and an expiry a day after the end."""
    job = provider.finish("two boats", n_variants=2)
    assert (job["finished_at"], job["expires_at"]) == (START_SECONDS + 100, START_SECONDS + 100 + 86400)
    assert len({one["id"] for one in job["generations"]}) == 2
    for one in job["generations"]:
        fields = {"object": "video.generation", "job_id": job["id"], "created_at": START_SECONDS + 100}
        assert one == {**fields, "id": one["id"], "width": 480, "height": 480, "n_seconds": 1, "prompt": "two boats"}
        assert provider.call("GET", f"/openai/v1/video/generations/{one['id']}").json() == one


def test_generation_time_can_be_changed_for_new_jobs(provider: Any) -> None:
    """A new generation time counts for jobs created after it, not for those under way."""
    slow = provider.create().json()["id"]
    provider.simulator.set_generation_seconds(10)
    quick = provider.create().json()["id"]
    provider.clock.advance(10)
    assert [provider.job(one)["status"] for one in (slow, quick)] == ["preprocessing", "succeeded"]


def test_everything_is_gone_at_expiry(provider: Any) -> None:
    """At expires_at the job, its generations and its content are 404 and leave the list; not a second earlier."""
    job = provider.finish()
    generation = job["generations"][0]["id"]
    provider.clock.advance(86399)
    assert provider.get(job["id"]).status_code == 200
    assert provider.video(generation).status_code == 200
    provider.clock.advance(1)
    for answer in (provider.get(job["id"]), provider.video(generation), provider.video(generation, what="thumbnail")):
        assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
    assert provider.call("GET", JOBS).json()["data"] == []


def test_deleted_job_is_gone_at_once_even_while_it_runs(provider: Any) -> None:
    """DELETE answers 204 without a body; afterwards job and content are 404, and a second DELETE too."""
    finished, running = provider.finish(), provider.create().json()
    for job in (finished, running):
        answer = provider.call("DELETE", f"{JOBS}/{job['id']}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert provider.get(job["id"]).status_code == 404
        assert provider.call("DELETE", f"{JOBS}/{job['id']}").status_code == 404
    assert provider.video(finished["generations"][0]["id"]).status_code == 404


def test_list_pages_from_newest_to_oldest_and_back(provider: Any) -> None:
    """`after` goes on to older jobs, `before` back to newer ones, has_more tells whether there are any."""
    ids = [provider.create(f"job {number}").json()["id"] for number in range(7)][::-1]

    def page(query: str) -> tuple[list[str], bool]:
        body = provider.call("GET", f"{JOBS}?{query}").json()
        found = [job["id"] for job in body["data"]]
        assert body["object"] == "list"
        assert (body["first_id"], body["last_id"]) == ((found[0], found[-1]) if found else (None, None))
        return found, body["has_more"]

    assert page("limit=3") == (ids[:3], True)
    assert page(f"limit=3&after={ids[2]}") == (ids[3:6], True)
    assert page(f"limit=3&after={ids[5]}") == (ids[6:], False)
    assert page(f"limit=3&after={ids[6]}") == ([], False)
    assert page(f"limit=2&before={ids[4]}") == (ids[2:4], True)
    assert page(f"limit=2&before={ids[2]}") == (ids[:2], False)
    assert page("") == (ids, False)


def test_list_filters_by_comma_joined_statuses(provider: Any) -> None:
    """`statuses` takes words joined by commas or repeated, and refuses unknown ones."""
    done = provider.finish()["id"]
    new = provider.create().json()["id"]

    def found(query: str) -> list[str]:
        return [job["id"] for job in provider.call("GET", f"{JOBS}?{query}").json()["data"]]

    assert found("statuses=succeeded") == [done]
    assert found("statuses=queued,succeeded") == found("statuses=queued&statuses=succeeded") == [new, done]
    assert found("statuses=failed") == []
    for query in ("statuses=finished", "limit=0", "limit=ten", "after=task_nobody"):
        assert provider.call("GET", f"{JOBS}?{query}").status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "{generation}/content",
        "{job}/content/video",
        "{generation}/content/gif",
        "gen_unknown/content/video",
        "jobs/{generation}",
        "jobs/{job}/content",
        "jobs/",
    ],
)
def test_wrong_routes_and_ids_are_the_gateways_404(provider: Any, path: str) -> None:
    """The content path without /video, a job id where a generation id belongs, and the like: Resource not found."""
    job = provider.finish()
    route = path.format(job=job["id"], generation=job["generations"][0]["id"])
    answer = provider.call("GET", f"/openai/v1/video/generations/{route}")
    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


def test_older_deployment_path_and_wrong_methods_are_404(provider: Any) -> None:
    """The path of the dated preview and methods no operation has are routes that do not exist."""
    old = "/openai/deployments/sora/video/generations/jobs?api-version=2025-02-15-preview"
    for method, path in (("POST", old), ("PUT", JOBS), ("PATCH", f"{JOBS}/task_1"), ("GET", "/")):
        answer = provider.call(method, path)
        assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
    assert provider.simulator.stats()["wrong_routes"][old] == 1


def test_content_is_not_there_before_the_job_is_done(provider: Any) -> None:
    """A generation id leads nowhere until its job has succeeded."""
    job = provider.create().json()
    hidden = provider.simulator.tasks()[0]["outputs"][0]
    assert provider.video(hidden).status_code == 404
    provider.clock.advance(100)
    assert provider.job(job["id"])["generations"][0]["id"] == hidden
    assert provider.video(hidden).status_code == 200


@pytest.mark.parametrize(
    ("version", "status"), [(None, 200), ("preview", 200), ("v1", 200), ("2025-04-01-preview", 400)]
)
def test_api_version_is_checked(provider: Any, version: str | None, status: int) -> None:
    """No version, v1 and preview are served; a dated one is 'API version not supported', also on content."""
    generation = provider.generation()
    for answer in (
        provider.call("GET", JOBS, params={"api-version": version}),
        provider.video(generation, params={"api-version": version}),
    ):
        assert answer.status_code == status
        assert status == 200 or answer.json()["error"]["message"] == "API version not supported"


def test_key_is_wanted_in_either_header(serve: Callable[..., Any]) -> None:
    """With a key set, every operation without it is 401 in Azure's words and has no effect."""
    provider = serve(api_key="right")
    for headers in ({}, {"api-key": "wrong"}, {"Authorization": "Bearer wrong"}, {"Authorization": "right-ish"}):
        answer = provider.call("POST", JOBS, headers=headers, json={"model": "sora"})
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "401"
        assert "Access denied due to invalid subscription key" in answer.json()["error"]["message"]
    for headers in ({"api-key": "right"}, {"Authorization": "Bearer right"}):
        assert provider.call("GET", JOBS, headers=headers).json()["data"] == []


def test_every_answer_carries_a_request_id_of_its_own(provider: Any) -> None:
    """apim-request-id is on successes, refusals, content and unknown routes, and is the one in the journal."""
    generation = provider.generation()
    answers: list[requests.Response] = [
        provider.create(),
        provider.create(width=1),
        provider.call("GET", JOBS),
        provider.call("GET", "/nowhere"),
        provider.video(generation),
        provider.video(generation, headers={"Range": "bytes=1-2"}),
    ]
    ids = [answer.headers["apim-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert set(ids) <= {call["request_id"] for call in provider.simulator.requests()}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": "  "}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"model": None}, "model"),
        ({"width": None}, "width"),
        ({"width": 481}, "width"),
        ({"width": 1280, "height": 1280}, "width"),
        ({"height": "tall"}, "height"),
        ({"n_seconds": 0}, "n_seconds"),
        ({"n_seconds": 21}, "n_seconds"),
        ({"n_seconds": 1.5}, "n_seconds"),
        ({"n_seconds": True}, "n_seconds"),
        ({"n_variants": 0}, "n_variants"),
        ({"n_variants": 5}, "n_variants"),
        ({"n_variants": 3, "width": 1280, "height": 720}, "n_variants"),
        ({"n_variants": 2, "width": 1080, "height": 1920}, "n_variants"),
        ({"inpaint_items": [{"type": "image"}]}, "inpaint_items"),
    ],
)
def test_bad_requests_are_refused_by_field(provider: Any, fields: dict[str, Any], param: str) -> None:
    """Each rule of the create body has a 400 that names the field, and nothing is created."""
    answer = provider.create(**{"prompt": "x", **fields})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert answer.json()["error"]["type"] == "video_generation_user_error"
    assert provider.simulator.stats()["creates_accepted"] == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff"])
def test_unreadable_bodies_are_refused(provider: Any, body: bytes) -> None:
    """What is no JSON object is a 400, never a crash."""
    assert provider.call("POST", JOBS, data=body, headers={"Content-Type": "application/json"}).status_code == 400


def test_largest_requests_of_each_size_class_are_accepted(provider: Any) -> None:
    """Four variants below 720p, two at 720p, one at 1080p, up to 20 s; numbers may come as strings."""
    for width, height, variants in ((480, 854, 4), (720, 720, 2), (1920, 1080, 1)):
        answer = provider.create(width=str(width), height=height, n_variants=variants, n_seconds="20")
        assert (answer.status_code, answer.json()["width"], answer.json()["n_seconds"]) == (201, width, 20)


def test_errors_can_be_flat_as_in_the_specification(serve: Callable[..., Any]) -> None:
    """With error_shape flat the fields stand at the top of the body."""
    body = serve(error_shape="flat").create(n_seconds=99).json()
    assert (body["param"], body["code"]) == ("n_seconds", "invalid_value")
    assert "error" not in body


def test_unknown_deployment_is_its_own_404(serve: Callable[..., Any]) -> None:
    """With a list of deployments another model is refused in the service's words, before anything is created."""
    provider = serve(deployments=["sora", "sora-hd"])
    assert provider.create(model="sora-hd").status_code == 201
    answer = provider.create(model="sora-3")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].startswith("The API deployment 'sora-3' for this resource does not exist")
    assert answer.json()["error"]["code"] is None
    without = provider.create(prompt=None, model="sora-3")  # the deployment is looked up first
    assert (without.status_code, without.json()) == (404, answer.json())
    assert provider.create(prompt=None).status_code == 400


def _png() -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    with open_media(buffer, "w", format="image2pipe") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgb24"
        container.mux(stream.encode(VideoFrame(16, 16, "rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _multipart(provider: Any, items: str | None, files: list[tuple[str, bytes]]) -> requests.Response:
    form = {"model": "sora", "prompt": "go on from here", "width": "480", "height": "480", "n_seconds": "1"}
    if items is not None:
        form["inpaint_items"] = items
    parts = [("files", (name, data, "application/octet-stream")) for name, data in files]
    answer: requests.Response = provider.call("POST", JOBS, data=form, files=parts)
    return answer


def test_multipart_create_takes_reference_images_and_a_video(provider: Any) -> None:
    """Scalars as form strings, inpaint_items as one JSON string, files by name; the items come back with defaults."""
    answer = _multipart(
        provider,
        '[{"type": "image", "file_name": "a.png", "crop_bounds": {"left_fraction": 0.5}}]',
        [("a.png", _png())],
    )
    assert answer.status_code == 201, answer.text
    bounds = {"left_fraction": 0.5, "top_fraction": 0.0, "right_fraction": 1.0, "bottom_fraction": 1.0}
    expected = [{"frame_index": 0, "type": "image", "file_name": "a.png", "crop_bounds": bounds}]
    assert answer.json()["inpaint_items"] == provider.job(answer.json()["id"])["inpaint_items"] == expected
    video = provider.video(provider.generation()).content
    answer = _multipart(provider, '[{"type": "video", "file_name": "v.mp4", "frame_index": 3}]', [("v.mp4", video)])
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("items", "names", "param"),
    [
        ('[{"type": "image", "file_name": "a.png"}]', [], "files"),
        (None, ["a.png"], "inpaint_items"),
        ("[", ["a.png"], "inpaint_items"),
        ("[]", ["a.png"], "inpaint_items"),
        ('[{"type": "image", "file_name": "b.png"}]', ["a.png"], "inpaint_items"),
        ('[{"type": "audio", "file_name": "a.png"}]', ["a.png"], "inpaint_items"),
        ('[{"type": "video", "file_name": "a.png"}]', ["a.png"], "files"),
        ('[{"type": "image", "file_name": "text.png"}]', ["text.png"], "files"),
        ('[{"type": "image", "file_name": "a.png", "frame_index": -1}]', ["a.png"], "inpaint_items"),
        ('[{"type": "image", "file_name": "a.png", "crop_bounds": {"left_fraction": 2}}]', ["a.png"], "inpaint_items"),
        ('[{"type": "image", "file_name": "a.png", "crop_bounds": {"right_fraction": 0}}]', ["a.png"], "inpaint_items"),
        ("[" + ",".join(['{"type": "image", "file_name": "a.png"}'] * 3) + "]", ["a.png"], "inpaint_items"),
    ],
)
def test_bad_reference_media_are_refused(provider: Any, items: str | None, names: list[str], param: str) -> None:
    """Missing files, unreadable items, wrong kinds, too many images: 400 with the field."""
    files = [(name, b"just text" if name.startswith("text") else _png()) for name in names]
    if not files:
        answer = provider.call("POST", JOBS, files={"model": (None, "sora"), "inpaint_items": (None, items)})
    else:
        answer = _multipart(provider, items, files)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_reference_video_longer_than_five_seconds_is_refused(provider: Any) -> None:
    """One video of at most 5 s may be given."""
    video = provider.video(provider.generation(n_seconds=6)).content
    answer = _multipart(provider, '[{"type": "video", "file_name": "v.mp4"}]', [("v.mp4", video)])
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "files")
