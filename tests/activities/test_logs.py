"""What the log tells of a job's whole life through the real adapter: the job, and never a secret."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import responses
from world import World

from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.memory import PICTURE, VIDEO

KEY = "k-51d0e7f3a4-secret"
BASE = "https://films.openai.azure.com/openai/v1/video/generations"
SIGNED = "https://cdn.example/file.mp4?sv=2026&sig=c2lnbmVk"


@pytest.fixture
def world() -> World:
    """The app with the jobs dialect on a wire that `responses` answers."""
    made = World(AZURE_SORA_ENDPOINT="https://films.openai.azure.com", AZURE_API_KEY=KEY)
    (config,) = made.services.settings.providers
    made.use(providers={"sora": AzureJobs(config, made.clock.now)})
    return made


def task(status: str, generations: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"id": "task_9", "status": status, "generations": generations or [], "width": 480, "height": 480}


@responses.activate
def test_every_line_names_the_job_and_none_a_secret(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Refusals that quote the key, redirects to signed URLs, a cut download: all of it at the most talkative level."""
    caplog.set_level(logging.DEBUG)
    quoting = {"error": {"code": "x", "message": f"Bad key {KEY}, see {SIGNED}"}}
    responses.post(f"{BASE}/jobs", json=quoting, status=503)
    responses.get(f"{BASE}/jobs", json=quoting, status=503)
    responses.get(f"{BASE}/jobs", json={"data": [], "has_more": False})
    responses.post(f"{BASE}/jobs", json=task("queued"), status=201)
    responses.get(f"{BASE}/jobs/task_9", json=quoting, status=401)
    responses.get(f"{BASE}/jobs/task_9", json=task("succeeded", [{"id": "gen_1"}]))
    responses.get(f"{BASE}/gen_1/content/video", status=302, headers={"Location": SIGNED})
    responses.get("https://cdn.example/file.mp4", json=quoting, status=500)
    responses.get("https://cdn.example/file.mp4", body=VIDEO, content_type="video/mp4")
    responses.get(f"{BASE}/gen_1/content/thumbnail", body=PICTURE, content_type="image/jpeg")

    job, answers = world.record(), []
    for step in (world.create, world.create, world.create, world.create, world.poll, world.poll):
        answers.append(step(job))
        world.clock.advance(seconds=answers[-1].get("seconds", 0))
    assert [answer["next"] for answer in answers] == ["wait", "wait", "wait", "watch", "poll", "keep"]
    failed = world.download(job)
    assert failed["fault"]["code"] == "provider_error"
    assert world.settle(job, kept=[{"index": 0, "fault": failed["fault"]}]) == {"status": "download_failed"}
    world.clock.advance(minutes=5)
    assert world.sweep()["started"] == 1
    assert world.create(job)["next"] == "keep"
    assert world.settle(job, kept=[world.keep(job)]) == {"status": "completed"}
    world.clock.advance(minutes=10)
    assert world.get("content", job.job_id).status == 302
    assert world.get("result", job.job_id).status == 200

    lines = [record for record in caplog.records if record.name.split(".")[0] in ("activities", "triggers")]
    assert len(lines) > 6
    summary = [line.getMessage() for line in lines if line.getMessage().startswith("sweep: ")]
    assert summary == ["sweep: 1 started"]
    assert all(job.job_id in line.getMessage() for line in lines if not line.getMessage().startswith("sweep: "))
    written = "\n".join(f"{record.getMessage()} {record.exc_info}" for record in caplog.records)
    assert KEY not in written
    assert "sig=" not in written.replace("sig=***", "")
    recorded = str(world.now_as(job).to_dict())
    assert KEY not in recorded
    assert "c2lnbmVk" not in recorded


@responses.activate
def test_the_record_of_a_failed_job_holds_no_secret(world: World) -> None:
    """What the provider says is kept for the caller, without the key and the signature in it."""
    message = f"Bad key {KEY}, see {SIGNED}"
    responses.post(f"{BASE}/jobs", json={"error": {"message": message}}, status=401)
    job = world.record()
    outcome = world.create(job)
    world.settle(job, status=outcome["status"], fault=outcome["fault"])
    error = world.get("status", job.job_id).json["error"]
    assert error["code"] == "invalid_credentials"
    assert error["provider_message"] == "Bad key ***, see https://cdn.example/file.mp4?sv=2026&sig=***"
    assert "AZURE_API_KEY" in error["message"]
