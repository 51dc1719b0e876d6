"""The list of the jobs dialect, in every form in which it may come: no paid task of ours is ever overlooked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import responses
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelkeeper.errors import ProviderError
from reelkeeper.model import JobRequest, Output, Task
from reelkeeper.providers.azure_jobs import LIST_PAGE, AzureJobs
from reelkeeper.providers.base import ProviderConfig

Make = Callable[..., AzureJobs]
JOBS = "https://r.example/openai/v1/video/generations/jobs"
NOW = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
SINCE = NOW - timedelta(minutes=2)
CREATED = int(NOW.timestamp())


def listed(task_id: str, **changes: Any) -> dict[str, Any]:
    """A task of `request_` as the service lists it."""
    told: dict[str, Any] = {
        "object": "video.generation.job", "id": task_id, "status": "running", "created_at": CREATED,
        "finished_at": None, "expires_at": None, "generations": [], "prompt": "a fox in the snow", "model": "my-sora",
        "n_variants": 2, "n_seconds": 5, "height": 720, "width": 1280, "failure_reason": None,
    }  # fmt: skip
    return told | changes


@pytest.fixture
def calls() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def search(
    calls: responses.RequestsMock, provider: AzureJobs, request: JobRequest, *items: dict[str, Any]
) -> list[str]:
    """The ids that are found in a list of one page."""
    calls.get(JOBS, json={"object": "list", "data": list(items), "has_more": False})
    return [task.task_id for task in provider.find(request, SINCE)]


class Listing:
    """A service with a list in some order, that pages as it is asked to, but never more than `most` at a time."""

    def __init__(self, items: list[dict[str, Any]], most: int = LIST_PAGE) -> None:
        self.items, self.most = items, most
        self.asked: list[dict[str, list[str]]] = []

    def __call__(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        query = parse_qs(urlsplit(request.url or "").query)
        self.asked.append(query)
        ids = [item["id"] for item in self.items]
        start = ids.index(query["after"][0]) + 1 if "after" in query else 0
        page = self.items[start : start + min(int(query["limit"][0]), self.most)]
        more = start + len(page) < len(self.items)
        return 200, {}, json.dumps({"object": "list", "data": page, "has_more": more})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(-300, 300), st.booleans()), max_size=30),
    st.integers(2, 40),
    st.sampled_from(["newest", "oldest", "as it comes"]),
)
def test_whatever_the_order_and_the_pages_all_of_ours_are_found(
    tasks: list[tuple[int, bool]], most: int, order: str
) -> None:
    """Newest or oldest first or in no order, in pages of any size: ours since then, each once, the oldest first."""
    items = [
        listed(f"task {number}/?&", created_at=CREATED + age, prompt="a fox in the snow" if ours else "another")
        for number, (age, ours) in enumerate(tasks)
    ]
    if order != "as it comes":
        items.sort(key=lambda item: item["created_at"], reverse=order == "newest")
    service = Listing(items, most)
    provider = AzureJobs(
        ProviderConfig("s", "videos", "azure-jobs", JOBS.partition("/video")[0], "preview", "k", "m"), lambda: NOW
    )
    request = JobRequest("a fox in the snow", width=1280, height=720, n_seconds=5, n_variants=2, model="my-sora")
    with responses.RequestsMock() as calls:
        calls.add_callback("GET", JOBS, service)
        found = provider.find(request, SINCE)
    wanted = [item for item in items if item["created_at"] >= CREATED - 120 and item["prompt"] != "another"]
    assert sorted(task.task_id for task in found) == sorted(item["id"] for item in wanted)
    assert [task.created_at for task in found] == sorted(task.created_at for task in found)
    assert len(service.asked) == max(-(-len(items) // min(most, LIST_PAGE)), 1)
    assert all(query["api-version"] == ["preview"] for query in service.asked)


def test_a_page_may_be_empty_whatever_it_says_of_more(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest
) -> None:
    """Without a task there is no cursor to go on from."""
    calls.get(JOBS, json={"data": [], "has_more": True})
    assert adapter().find(request_, SINCE) == []


@pytest.mark.parametrize(("age", "there"), [(-121, False), (-120, True), (-119.5, True), (0, True), (86_400, True)])
def test_the_window_has_a_beginning_and_no_end(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest, age: float, there: bool
) -> None:
    """A provider whose clock is ahead of ours lists tasks of the future: they are ours all the same."""
    assert search(calls, adapter(), request_, listed("t", created_at=CREATED + age)) == ["t"] * there


@pytest.mark.parametrize(
    "change",
    [{"prompt": "a fox"}, {"prompt": "A fox in the snow"}, {"prompt": ""}, {"width": 720}, {"height": 1280},
     {"n_seconds": 6}, {"n_variants": 1}, {"width": "1281"}, {"n_seconds": "6"}],
)  # fmt: skip
def test_what_the_request_did_not_ask_for_is_another_s(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest, change: dict[str, Any]
) -> None:
    """Every figure counts, and the prompt to the letter."""
    assert search(calls, adapter(), request_, listed("other", **change), listed("ours")) == ["ours"]


@pytest.mark.parametrize(
    "change",
    [{"width": "1280", "height": "720", "n_seconds": "5", "n_variants": "2"}, {"width": None, "height": None},
     {"n_seconds": 0, "n_variants": None}, {"model": None}, {"metadata": {"a": "b"}}, {"status": "rehearsing"},
     {"generations": None}, {"created_at": CREATED + 0.25}],
)  # fmt: skip
def test_another_way_to_write_it_is_no_other_task(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest, change: dict[str, Any]
) -> None:
    """Figures as text, figures that are not told, fields that nobody knows: ours is found."""
    assert search(calls, adapter(), request_, listed("ours", **change)) == ["ours"]


@pytest.mark.parametrize("prompt", ["Ein Fuchs, 狐, 🦊\u200d❄️", 'quotes " and \\ and\nlines', "  spaces  ", "x" * 4000])
def test_any_prompt_is_recognised(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest, prompt: str
) -> None:
    """What went out as JSON comes back as JSON."""
    request = replace(request_, prompt=prompt)
    assert search(calls, adapter(), request, listed("ours", prompt=prompt)) == ["ours"]


def test_our_own_metadata_is_not_looked_for(calls: responses.RequestsMock, adapter: Make, request_: JobRequest) -> None:
    """It was never sent."""
    assert search(calls, adapter(), replace(request_, metadata={"shelf": "7"}), listed("ours")) == ["ours"]


@pytest.mark.parametrize("missing", ["id", "prompt", "created_at"])
@pytest.mark.parametrize("value", ["absent", None, 7, [], {}, True])
def test_one_task_that_does_not_tell_what_it_is_makes_the_list_unusable(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest, missing: str, value: Any
) -> None:
    """It might be ours. The refusal is none that time heals, so that the job is parked and not asked about for ever."""
    odd = listed("odd", **{missing: value})
    if value == "absent":
        del odd[missing]
    calls.get(JOBS, json={"data": [listed("ours"), odd], "has_more": False})
    with pytest.raises(ProviderError) as caught:
        adapter().find(request_, SINCE)
    assert (caught.value.fault.code, caught.value.outcome_unknown) == ("invalid_request", False)


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "endpoint_not_found"), (410, "endpoint_not_found"), (501, "endpoint_not_found"),
     (405, "endpoint_not_found"), (302, "endpoint_not_found"), (400, "invalid_request"), (422, "invalid_request"),
     (401, "invalid_credentials"), (403, "invalid_credentials"), (429, "rate_limited"), (408, "provider_error"),
     (500, "provider_error"), (502, "provider_error"), (503, "provider_error"), (504, "provider_error")],
)  # fmt: skip
def test_a_refused_list_tells_whether_asking_again_helps(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest, status: int, code: str
) -> None:
    """No route is no list; an outage, a limit and a key are matters of time. A search itself never costs anything."""
    calls.get(JOBS, status=status, json={"error": {"message": "no"}}, headers={"Location": "/elsewhere"})
    with pytest.raises(ProviderError) as caught:
        adapter().find(request_, SINCE)
    assert (caught.value.fault.code, caught.value.outcome_unknown) == (code, False)


@pytest.mark.parametrize("body", ["<html>sign in</html>", "", "[]", '{"data": [', requests.ConnectionError("reset")])
def test_an_answer_that_is_no_list_is_an_outage(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest, body: Any
) -> None:
    """A proxy's page, half an answer, none at all: ask again."""
    calls.get(JOBS, body=body)
    with pytest.raises(ProviderError) as caught:
        adapter().find(request_, SINCE)
    assert caught.value.fault.code == "provider_error"


def test_a_second_page_that_fails_fails_the_search(
    calls: responses.RequestsMock, adapter: Make, request_: JobRequest
) -> None:
    """Half a list proves nothing."""
    calls.get(JOBS, json={"data": [listed("a")], "has_more": True})
    calls.get(JOBS, status=503)
    with pytest.raises(ProviderError):
        adapter().find(request_, SINCE)


def test_a_found_task_is_told_in_full(calls: responses.RequestsMock, adapter: Make, request_: JobRequest) -> None:
    """It may have ended long ago: state, outputs, expiry and reason are as a look would tell them."""
    generation = {"id": "gen_1", "width": 1280, "height": 720, "n_seconds": 5}
    calls.get(
        JOBS,
        json={
            "data": [
                listed("done", status="succeeded", generations=[generation], expires_at=CREATED + 86_400),
                listed("broken", status="failed", failure_reason="input_moderation", created_at=CREATED + 1),
            ],
            "has_more": False,
        },
    )
    done, broken = adapter().find(request_, SINCE)
    assert done == Task(
        "done", "succeeded", "succeeded", NOW, NOW + timedelta(hours=24), (Output("gen_1", 1280, 720, 5),)
    )
    assert (broken.state, broken.fault and broken.fault.code) == ("failed", "moderation_input")
