"""kill -9 of the whole app in the middle of its work."""

from __future__ import annotations

import time

import pytest


@pytest.mark.slow
def test_twenty_jobs_survive_kills_and_are_paid_once(start_service):
    """After three kill -9 at different moments and restarts on the same data all 20 complete, each created once."""
    service = start_service()
    service.control("limits", {"generation_seconds": 6})
    prompts = [f"boat number {number:02d}" for number in range(20)]
    jobs = [service.submit(prompt=prompt)["job_id"] for prompt in prompts]
    # the kills fall into watching, downloading and the beginning of a restart, not between a POST and its record
    service.until(lambda: [service.status(job_id)["task_id"] for job_id in jobs], all)
    for pause in (0.5, 4.0, 1.0):
        time.sleep(pause)
        service.kill()
        service.start()
    for job_id in jobs:
        service.wait_for(job_id, "completed", seconds=120)
    assert service.control("stats")["accepted_by_prompt"] == dict.fromkeys(prompts, 1)
    urls = [service.call("GET", f"/api/videos/{job_id}/content").headers["Location"] for job_id in jobs]
    assert len({service.call("GET", url).content for url in urls}) == 20
