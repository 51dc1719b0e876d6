"""The submit ledger over every kind of provider: what a search must tell, and what `create` makes of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "fakes"))

from places import API_KEY, JobsPlace, MemoryPlace, Place, VideosPlace
from world import World

from emulator.sora.simulator import Simulator
from reelkeeper import model
from reelkeeper.model import Job
from reelkeeper.providers.azure_jobs import LIST_PAGE
from reelkeeper.providers.memory import refusal

LIST_FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "provider_error": ("server_error", {"status": 503}),
    "rate_limited": ("rate_limited", {}),
    "invalid_credentials": ("unauthorized", {}),
    "endpoint_not_found": ("wrong_route", {}),
    "invalid_request": ("invalid", {}),
}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    options: dict[str, Any] = {"generation_seconds": 3600, "api_key": API_KEY, "media": "tiny"}
    with Simulator(tmp_path_factory.mktemp("sora"), **options) as running:
        yield running


@pytest.fixture(params=["memory", "azure-jobs", "videos azure", "videos openai"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    name, *profile = request.param.split()
    if name == "memory":
        yield MemoryPlace()
        return
    simulator: Simulator = request.getfixturevalue("simulator")
    yield VideosPlace(simulator, *profile) if profile else JobsPlace(simulator)
    simulator.clear_faults()


@pytest.fixture
def world(place: Place) -> World:
    """The app with this provider, at the present time."""
    made = World()
    made.clock.moment = datetime.now(timezone.utc)
    made.services.providers["sora"] = place.provider
    return made


@pytest.fixture
def prompt(request: pytest.FixtureRequest) -> str:
    """A prompt that no other test uses."""
    return str(request.node.name)


def record(world: World, place: Place, prompt: str) -> Job:
    asked = replace(place.request, prompt=prompt)
    fields = ("width", "height", "n_seconds", "n_variants", "model")
    return world.record(prompt=prompt, **{name: getattr(asked, name) for name in fields})


def drop_create(place: Place) -> None:
    """Let the next create get lost on its way there."""
    if isinstance(place, JobsPlace):
        place.simulator.fault("create", "drop_before")
    else:
        place.provider.planned["submit"] = [refusal("provider_error", outcome_unknown=True)]  # type: ignore[attr-defined]


def refuse_list(place: Place, code: str) -> None:
    if isinstance(place, JobsPlace):
        kind, more = LIST_FAULTS[code]
        place.simulator.fault("list", kind, **more)
    else:
        place.provider.planned["find"] = [refusal(code)]  # type: ignore[attr-defined]


def create_lost(world: World, place: Place, prompt: str) -> Job:
    """A job whose task was made without an answer, when it is to be reconciled."""
    job = record(world, place, prompt)
    place.lose_answer()
    assert world.create(job) == {"next": "wait", "seconds": 60}
    world.clock.advance(seconds=60)
    return job


def test_a_search_reads_every_page(place: Place, prompt: str) -> None:
    """More tasks than a page holds, and each is found once, the oldest first."""
    wanted, since = replace(place.request, prompt=prompt), datetime.now(timezone.utc) - timedelta(minutes=2)
    made = [place.provider.submit(wanted).task_id for _ in range(LIST_PAGE + 5)]
    found = place.provider.find(wanted, since)
    assert sorted(task.task_id for task in found) == sorted(made)
    times = [task.created_at for task in found]
    assert times == sorted(times)


def test_a_forgotten_task_is_not_found(place: Place, prompt: str) -> None:
    """A search tells of what is there, not of what was."""
    wanted, since = replace(place.request, prompt=prompt), datetime.now(timezone.utc) - timedelta(minutes=2)
    gone, kept = place.provider.submit(wanted), place.provider.submit(wanted)
    place.forget(gone.task_id)
    assert [task.task_id for task in place.provider.find(wanted, since)] == [kept.task_id]


def test_a_found_task_is_the_one_that_a_look_sees(place: Place, prompt: str) -> None:
    """State, outputs and expiry are the same, whichever way it is met."""
    wanted, since = replace(place.request, prompt=prompt), datetime.now(timezone.utc) - timedelta(minutes=2)
    task = place.provider.submit(wanted)
    place.finish(task.task_id)
    (found,) = place.provider.find(wanted, since)
    seen = place.provider.look(found.task_id)
    assert (found.state, found.expires_at) == ("succeeded", seen.expires_at)
    assert [output.output_id for output in found.outputs] == [output.output_id for output in seen.outputs]


def test_a_lost_answer_pays_once(world: World, place: Place, prompt: str) -> None:
    """The task is found after the grace period and can be watched and finished like any other."""
    job = create_lost(world, place, prompt)
    assert world.create(job) == {"next": "watch"}
    task_id = str(world.now_as(job).task_id)
    place.finish(task_id)
    assert world.poll(job)["next"] == "keep"
    assert place.accepted() == 1


def test_a_create_that_got_lost_is_sent_again(world: World, place: Place, prompt: str) -> None:
    """There is no such task in the list, so nothing was paid for."""
    job = record(world, place, prompt)
    drop_create(place)
    assert world.create(job) == {"next": "wait", "seconds": 60}
    assert place.accepted() == 0
    world.clock.advance(seconds=60)
    assert [world.create(job)["next"] for _ in range(2)] == ["wait", "watch"]
    assert place.accepted() == 1


def test_twins_never_share_and_never_pay_twice(world: World, place: Place, prompt: str) -> None:
    """Four jobs with one prompt: answered, unanswered, lost on the way, unanswered again; four tasks in all."""
    jobs = [record(world, place, prompt) for _ in range(4)]
    for job, trouble in zip(
        jobs, (None, place.lose_answer, lambda: drop_create(place), place.lose_answer), strict=True
    ):
        if trouble:
            trouble()
        world.create(job)
    assert place.accepted() == 3
    for _ in range(4):
        world.clock.advance(seconds=60)
        answers = [world.create(job)["next"] for job in reversed(jobs)]
    assert answers == ["watch"] * 4
    assert len({world.now_as(job).task_id for job in jobs}) == place.accepted() == 4


@pytest.mark.parametrize("code", ["provider_error", "rate_limited", "invalid_credentials"])
def test_a_list_that_is_away_is_waited_for(world: World, place: Place, prompt: str, code: str) -> None:
    """Nothing is sent meanwhile, and the task is adopted when the list is back."""
    job = create_lost(world, place, prompt)
    refuse_list(place, code)
    assert world.create(job)["next"] == "wait"
    fault = world.now_as(job).fault
    assert fault is not None
    assert fault.code == code
    assert world.create(job) == {"next": "watch"}
    assert place.accepted() == 1


@pytest.mark.parametrize("code", ["endpoint_not_found", "invalid_request"])
def test_without_a_list_nothing_is_sent(world: World, place: Place, prompt: str, code: str) -> None:
    """The job is parked, and adopts its task should the list be there an hour later."""
    job = create_lost(world, place, prompt)
    refuse_list(place, code)
    assert world.create(job) == {"next": "stop"}
    assert world.now_as(job).status == model.SUBMIT_UNKNOWN
    world.clock.advance(hours=1)
    assert world.create(job) == {"next": "watch"}
    assert place.accepted() == 1
