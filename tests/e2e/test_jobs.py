"""Jobs over HTTP, from the prompt to the file, against real Azurite and the simulator."""

from __future__ import annotations

import base64
import io
import json

import av
import pytest
import requests
from PIL import Image


def test_a_prompt_becomes_a_playable_video(service):
    """The signed URL of a completed job gives an MP4 of the asked size and length, with the promised headers."""
    made = service.submit(prompt="A heron on one leg", width=854, height=480, n_seconds=2, user_id="ada")
    headers = {"X-User-Id": "ada"}
    job_id = made["job_id"]
    early = service.call("GET", f"/api/videos/{job_id}/content", headers=headers)
    assert (early.status_code, early.headers["X-Job-Status"] != "completed") == (302, True)
    assert requests.get(early.headers["Location"], timeout=10).headers["Content-Type"] == "video/mp4"

    def result():
        return service.call("GET", f"/api/videos/{job_id}/result", headers=headers)

    answer = service.until(result, lambda answer: answer.status_code == 200).json()
    (video,) = answer["videos"]
    assert video["file_path"] == f"user_ada/videos/{job_id}/0.mp4"
    file = requests.get(video["file_url"], timeout=10)
    assert file.headers["Content-Type"] == "video/mp4"
    assert file.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert f"video_{job_id}_0.mp4" in file.headers["Content-Disposition"]
    assert len(file.content) == video["file_size"]
    with av.open(io.BytesIO(file.content)) as container:
        frames = list(container.decode(video=0))
        assert (frames[0].width, frames[0].height) == (854, 480)
        assert container.duration == pytest.approx(2_000_000, rel=0.1)
        assert len(frames) > 10
    assert requests.get(video["thumbnail_url"], timeout=10).content.startswith(b"\xff\xd8\xff")
    assert (
        requests.put(video["file_url"], data=b"x", headers={"x-ms-blob-type": "BlockBlob"}, timeout=10).status_code
        == 403
    )


def test_the_gallery_shows_only_its_owner(service):
    """Each owner sees the own jobs, newest first; another owner's job is a 404."""
    jobs = [service.submit(prompt=f"boat {number}", user_id="grace")["job_id"] for number in range(3)]
    page = service.call("GET", "/api/videos/user?limit=2", headers={"X-User-Id": "grace"}).json()
    assert [item["job_id"] for item in page["items"]] == jobs[:0:-1]
    rest = service.call("GET", f"/api/videos/user?cursor={page['next_cursor']}", headers={"X-User-Id": "grace"}).json()
    assert [item["job_id"] for item in rest["items"]] == jobs[:1]
    for owner in ({}, {"X-User-Id": "eve"}):
        for route in ("status", "result", "content"):
            answer = service.call("GET", f"/api/videos/{jobs[0]}/{route}", headers=owner)
            assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


def test_an_idempotency_key_makes_a_post_repeatable(service):
    """The same key and body give the same job and one paid task; another body is refused."""
    key = {"Idempotency-Key": "order-1"}
    body = {"prompt": "only once", "width": 480, "height": 480, "n_seconds": 1}
    first = service.call("POST", "/api/videos/generate", json=body, headers=key)
    again = service.call("POST", "/api/videos/generate", json=body, headers=key)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.json()["job_id"] == again.json()["job_id"]
    other = service.call("POST", "/api/videos/generate", json=body | {"prompt": "twice"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    service.wait_for(first.json()["job_id"], "completed")
    assert service.control("stats")["accepted_by_prompt"]["only once"] == 1


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("[moderated] one", "moderation_input"),
        ("[input_moderation] two", "moderation_input"),
        ("[output_moderation] three", "moderation_output"),
    ],
)
def test_a_failure_tells_its_cause(service, prompt, code):
    """status and result of a refused prompt name the code, what to do, and the provider's own words."""
    job_id = service.submit(prompt=prompt)["job_id"]
    body = service.wait_for(job_id, "failed")
    assert body["error"]["code"] == code
    assert "prompt" in body["error"]["message"]
    assert body["error"]["provider_message"]
    result = service.call("GET", f"/api/videos/{job_id}/result")
    assert (result.status_code, result.json()["code"]) == (409, code)
    assert result.headers["Content-Type"].startswith("application/problem+json")


BAD_BODIES = {
    "not json": b"{",
    "empty": b"",
    "an array": b"[]",
    "a string": b'"boat"',
    "not a number": b'{"prompt": "x", "n_seconds": NaN}',
    "twice the same field": b'{"prompt": "x", "prompt": "y"}',
    "no prompt": {},
    "prompt null": {"prompt": None},
    "prompt empty": {"prompt": ""},
    "prompt blank": {"prompt": "  "},
    "prompt a number": {"prompt": 7},
    "prompt too long": {"prompt": "x" * 4001},
    "prompt with NUL": {"prompt": "a\x00b"},
    "prompt half a surrogate": b'{"prompt": "\\ud800"}',
    "width a string": {"prompt": "x", "width": "480", "height": 480},
    "width only": {"prompt": "x", "width": 480},
    "size not offered": {"prompt": "x", "width": 640, "height": 480},
    "size negative": {"prompt": "x", "width": -1, "height": 480},
    "seconds zero": {"prompt": "x", "n_seconds": 0},
    "seconds too many": {"prompt": "x", "n_seconds": 21},
    "seconds a float": {"prompt": "x", "n_seconds": 5.5},
    "seconds a bool": {"prompt": "x", "n_seconds": True},
    "variants zero": {"prompt": "x", "n_variants": 0},
    "variants too many at 1080p": {"prompt": "x", "width": 1920, "height": 1080, "n_variants": 2},
    "unknown field": {"prompt": "x", "quality": "hd"},
    "unknown model": {"prompt": "x", "model": "dall-e-3"},
    "unknown provider": {"prompt": "x", "provider": "acme"},
    "metadata not strings": {"prompt": "x", "metadata": {"a": 1}},
    "metadata too many": {"prompt": "x", "metadata": {str(number): "v" for number in range(17)}},
    "metadata a list": {"prompt": "x", "metadata": ["a"]},
    "user_id empty": {"prompt": "x", "user_id": ""},
    "user_id too long": {"prompt": "x", "user_id": "u" * 257},
    "body too large": {"prompt": "x" * 70_000},
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_malformed_request_is_refused_and_creates_nothing(service, name):
    """4xx with code and field, nothing in the gallery and nothing at the provider."""
    body = BAD_BODIES[name]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    owner = {"X-User-Id": f"nobody-{list(BAD_BODIES).index(name)}"} if "user_id" not in name else {}
    before = service.control("stats")["creates"]
    answer = service.call(
        "POST", "/api/videos/generate", data=raw, headers={"Content-Type": "application/json", **owner}
    )
    assert 400 <= answer.status_code < 500, answer.text
    problem = answer.json()
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert problem["code"]
    assert all({"field", "message"} == set(error) for error in problem["errors"])
    assert problem["errors"]
    assert service.call("GET", "/api/videos/user", headers=owner).json()["items"] == [] or not owner
    assert service.control("stats")["creates"] == before


def test_status_answers_304_while_nothing_changed(service):
    """A finished job's status is not sent twice to somebody who has it."""
    job_id = service.submit()["job_id"]
    service.wait_for(job_id, "completed")
    first = service.call("GET", f"/api/videos/{job_id}/status")
    again = service.call("GET", f"/api/videos/{job_id}/status", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert "Retry-After" not in first.headers


def test_health_tells_that_all_is_well(service):
    """Anonymous, 200, three checks, no names or secrets."""
    answer = service.call("GET", "/api/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert {check["name"] for check in answer.json()["checks"]} == {"records", "clips", "provider"}
    assert "devstoreaccount1" not in answer.text


def test_a_video_begins_with_a_picture_of_20_mib(service):
    """From the body through host, storage and provider; what the job keeps of it is below its own prefix."""
    with io.BytesIO() as file:
        Image.new("RGB", (854, 480), (200, 30, 30)).save(file, "PNG")
        picture = file.getvalue().ljust(20 * 1024 * 1024, b"\0")
    text = base64.b64encode(picture).decode()
    made = service.submit(width=854, height=480, input_image={"base64": text, "media_type": "image/png"})
    assert service.wait_for(made["job_id"], "completed", "failed")["status"] == "completed"
    (task,) = [task for task in service.control("tasks")["tasks"] if task["extra"].get("inpaint_items")]
    assert (task["width"], task["extra"]["inpaint_items"][0]["file_name"]) == (854, "input.png")


def test_a_wrong_picture_is_refused_with_what_helps(service):
    """Size and address, as a stranger sees it; plain http and private addresses are for development only."""
    with io.BytesIO() as file:
        Image.new("RGB", (64, 64)).save(file, "PNG")
        text = base64.b64encode(file.getvalue()).decode()
    small = {"prompt": "a boat", "width": 480, "height": 480, "n_seconds": 1}
    for image, words in (
        ({"base64": text, "media_type": "image/png"}, "is 64x64; this request needs 480x480"),
        ({"url": "https://127.0.0.1/a.png"}, "private address"),
    ):
        answer = service.call("POST", "/api/videos/generate", json=small | {"input_image": image})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
        assert words in answer.json()["detail"]
