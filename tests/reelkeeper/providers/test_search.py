"""Looking for a task whose create was not answered: what a list must tell, and when there is none to rely on."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st

from reelkeeper.errors import ADVICE, ProviderError
from reelkeeper.model import JobRequest
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.base import Provider, ProviderConfig
from reelkeeper.providers.openai_videos import LIST_PAGE, MOST_PAGES, OpenAIVideos

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
SINCE = NOW - timedelta(minutes=3)
CREATED = int(NOW.timestamp())
REQUEST = JobRequest("a fox", width=1280, height=720, n_seconds=4, n_variants=1, model="m")
VIDEOS = OpenAIVideos(ProviderConfig("w", "videos", "openai-videos", "https://r.example/v1", "", "k", "m"), lambda: NOW)
JOBS = AzureJobs(ProviderConfig("s", "videos", "azure-jobs", "https://r.example/v1", "", "k", "m"), lambda: NOW)
LISTS = {"videos": "https://r.example/v1/videos", "jobs": "https://r.example/v1/video/generations/jobs"}
PROVIDERS: dict[str, Provider] = {"videos": VIDEOS, "jobs": JOBS}


def item(number: int, age: float = 0, **changes: Any) -> dict[str, Any]:
    """A listed task that the request can have made, `age` seconds old, in the fields of both dialects."""
    told = {"id": f"t{number}", "status": "queued", "created_at": CREATED - age, "prompt": "a fox", "model": "m"}
    sizes = {"size": "1280x720", "seconds": "4", "width": 1280, "height": 720, "n_seconds": 4, "n_variants": 1}
    return told | sizes | changes


def found(dialect: str, *pages: Any, **answer: Any) -> tuple[list[str], list[str]]:
    """The ids that a search finds in these pages, and the URLs that it asked for."""
    with responses.RequestsMock() as calls:
        for number, page in enumerate(pages):
            more = {"has_more": number + 1 < len(pages)} | answer
            calls.get(LISTS[dialect], json={"object": "list", "data": page} | more)
        tasks = PROVIDERS[dialect].find(REQUEST, SINCE)
        return [task.task_id for task in tasks], [call.request.url or "" for call in calls.calls]


def refusal(dialect: str, **answer: Any) -> ProviderError:
    with responses.RequestsMock() as calls:
        calls.get(LISTS[dialect], **answer)
        with pytest.raises(ProviderError) as caught:
            PROVIDERS[dialect].find(REQUEST, SINCE)
    return caught.value


both = pytest.mark.parametrize("dialect", ["videos", "jobs"])


@both
def test_the_oldest_comes_first(dialect: str) -> None:
    """Of twins with one prompt the earlier one belongs to the earlier create."""
    assert found(dialect, [item(1, 5), item(2, 90), item(3, 40)])[0] == ["t2", "t3", "t1"]
    assert found(dialect, [])[0] == []


@both
def test_all_pages_are_read(dialect: str) -> None:
    """The next page begins behind the last one's end."""
    ids, urls = found(dialect, [item(1, 5)], [item(2, 6)], [item(3, 7)])
    assert ids == ["t3", "t2", "t1"]
    assert [url.rpartition("after=")[2] for url in urls[1:]] == ["t1", "t2"]
    assert all(f"limit={LIST_PAGE}" in url for url in urls)


def test_newest_first_is_read_no_further_than_needed() -> None:
    """A page that ends before our time ends the search; the list of a busy server may be long."""
    ids, urls = found("videos", [item(1, 5), item(2, 400)], has_more=True)
    assert (ids, len(urls)) == (["t1"], 1)
    assert "order=desc" in urls[0]


def test_a_server_that_knows_no_order_is_read_to_the_end() -> None:
    """Old ones first say nothing about what follows."""
    assert found("videos", [item(1, 400), item(2, 300)], [item(3, 5)])[0] == ["t3"]
    assert found("videos", [item(1, 400)], [item(3, 5)])[0] == ["t3"]
    assert found("videos", [item(1, 400), item(2, 400)], [item(3, 5)])[0] == ["t3"]


@both
def test_a_list_without_cursors_ends_with_a_page_that_is_not_full(dialect: str) -> None:
    """SGLang tells no `has_more`."""
    full = [item(number, 5, prompt="another") for number in range(LIST_PAGE)]
    with responses.RequestsMock() as calls:
        calls.get(LISTS[dialect], json={"data": full})
        calls.get(LISTS[dialect], json={"data": [item(1)]})
        assert [task.task_id for task in PROVIDERS[dialect].find(REQUEST, SINCE)] == ["t1"]


@pytest.mark.parametrize("change", [{"width": 1280.0}, {"n_seconds": "4.0"}, {"height": "tall"}])
def test_another_way_to_write_a_figure_is_no_other_figure(change: dict[str, Any]) -> None:
    """Overlooking a task costs its price once more."""
    assert found("jobs", [item(1, **change)])[0] == ["t1"]


@both
@pytest.mark.parametrize(
    "change", [{"prompt": "a fox."}, {"created_at": CREATED - 181}, {"seconds": "8", "n_seconds": 8},
               {"size": "720x1280", "width": 720, "height": 1280}]
)  # fmt: skip
def test_what_the_request_cannot_have_made_is_not_found(dialect: str, change: dict[str, Any]) -> None:
    """Another prompt, size, length or time is another job's."""
    assert found(dialect, [item(1, **change), item(2)])[0] == ["t2"]


@both
def test_what_is_left_out_does_not_speak_against_a_task(dialect: str) -> None:
    """Servers leave out sizes and lengths; prompt and time are enough then."""
    bare = {"id": "t1", "created_at": CREATED, "prompt": "a fox"}
    assert found(dialect, [bare])[0] == ["t1"]


def test_the_model_is_not_compared_where_servers_rename_it() -> None:
    """Azure tells the model of a deployment, a gateway its upstream's name."""
    assert found("videos", [item(1, model="sora-2-2025-12-08")])[0] == ["t1"]
    assert found("jobs", [item(1, model="another")])[0] == ["t1"]


NO_LIST: list[Any] = [
    {"json": {"data": None}},
    {"json": {"data": {}}},
    {"json": {}},
    {"json": {"data": [7]}},
    {"json": {"data": [item(1, prompt=None)]}},
    {"json": {"data": [item(1, prompt=None, size="720x1280", width=720)]}},
    {"json": {"data": [item(1, created_at=None)]}},
    {"json": {"data": [item(1, created_at=f"{CREATED}")]}},
    {"json": {"data": [item(1, id=None)]}},
    {"status": 400, "json": {"error": {"message": "litellm.BadRequestError: LLM Provider NOT provided."}}},
    {"status": 404, "json": {"detail": "Not Found"}},
    {"status": 405, "json": {"detail": "Method Not Allowed"}},
    {"status": 501, "json": {}},
]


@both
@pytest.mark.parametrize("answer", NO_LIST)
def test_a_list_that_cannot_tell_is_no_list(dialect: str, answer: dict[str, Any]) -> None:
    """ "There is none" must be sure, or a job is paid twice: a task without a prompt may be anybody's, also ours."""
    assert refusal(dialect, **answer).fault.code in ("invalid_request", "endpoint_not_found")


def test_old_tasks_need_not_tell_their_prompt() -> None:
    """What was made before the create cannot be its task, whatever the server kept of it."""
    assert found("videos", [item(1), item(2, 400, prompt=None)])[0] == ["t1"]


@both
@pytest.mark.parametrize(
    ("status", "code"), [(500, "provider_error"), (429, "rate_limited"), (401, "invalid_credentials")]
)
def test_a_list_that_is_away_is_asked_again(dialect: str, status: int, code: str) -> None:
    """An outage or a refused key says nothing about the list."""
    assert refusal(dialect, status=status).fault.code == code


@both
def test_a_list_without_end_is_given_up(dialect: str) -> None:
    """A server that ignores `after` is not read for ever; it is asked again later."""
    page = [item(number, 5, prompt="another") for number in range(3)]
    with responses.RequestsMock() as calls:
        calls.get(LISTS[dialect], json={"data": page, "has_more": True})
        with pytest.raises(ProviderError) as caught:
            PROVIDERS[dialect].find(REQUEST, SINCE)
        assert len(calls.calls) == MOST_PAGES
    assert caught.value.fault.code == "provider_error"


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(item(1)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*item(1), "data"]), inner, max_size=5),
    max_leaves=6,
)


@given(st.sampled_from(["videos", "jobs"]), json_values)
def test_any_list_is_read_or_refused(dialect: str, data: Any) -> None:
    """No JSON makes a search fail in another way than by a code."""
    with responses.RequestsMock() as calls:
        calls.get(LISTS[dialect], body=json.dumps({"data": data}), content_type="application/json")
        code, ids = "", []
        try:
            ids = [task.task_id for task in PROVIDERS[dialect].find(REQUEST, SINCE)]
        except ProviderError as error:
            code = error.fault.code
    assert code in ("", *ADVICE)
    assert all(isinstance(task_id, str) for task_id in ids)
