"""create, when the provider cannot be asked what became of a POST: ask on, or park the job for a person."""

from __future__ import annotations

from datetime import timedelta

import pytest
from losing import Searches, dropped_post, during, lost_answer
from world import START, World

from reelkeeper import ledger, model, policy
from reelkeeper.providers.memory import refusal

NO_LIST = ["endpoint_not_found", "invalid_request", "deployment_not_found", "model_retired"]
NOT_NOW = ["provider_error", "rate_limited", "too_many_running", "invalid_credentials"]


@pytest.mark.parametrize("code", NOT_NOW)
def test_a_provider_that_cannot_be_asked_now_is_asked_on(world: World, code: str) -> None:
    """The status tells why, written once; nothing is sent; as soon as the list is there the task is adopted."""
    job, versions = lost_answer(world), set()
    for _ in range(5):
        world.provider.planned["find"] = [refusal(code)]
        answer = world.create(job)
        assert answer["next"] == "wait"
        assert 5 <= answer["seconds"] <= 30
        assert (
            world.watched()[job.job_id].due
            == world.clock.now() + timedelta(seconds=answer["seconds"]) + policy.STEP_GRACE
        )
        versions.add(world.now_as(job).etag)
        world.clock.advance(seconds=answer["seconds"])
    now = world.now_as(job)
    assert (now.status, now.stage, now.fault) == ("submitting", "reconciling", refusal(code).fault)
    assert len(versions) == 1
    assert world.create(job) == {"next": "watch"}
    assert len(world.provider.submitted) == 1


def test_a_list_that_asks_for_silence_gets_it(world: World) -> None:
    """Retry-After of the list is obeyed."""
    job = lost_answer(world)
    world.provider.planned["find"] = [refusal("rate_limited", retry_after=240)]
    assert world.create(job) == {"next": "wait", "seconds": 240}


def test_an_outage_of_a_day_ends_in_the_hands_of_a_person(world: World) -> None:
    """When the provider may have forgotten its tasks there is no point in asking every half minute any more."""
    job = lost_answer(world)
    world.clock.moment = START + ledger.LIST_PROVES
    world.provider.planned["find"] = [refusal("provider_error")] * 2
    assert world.create(job)["next"] == "wait"
    world.clock.advance(seconds=1)
    assert world.create(job) == {"next": "stop"}
    assert world.now_as(job).status == model.SUBMIT_UNKNOWN


def test_an_empty_list_after_a_day_proves_nothing(world: World) -> None:
    """The task may have been made, paid for and forgotten: no second POST."""
    job = lost_answer(world)
    world.provider.forget("task_1")
    world.clock.moment = START + ledger.LIST_PROVES + timedelta(seconds=1)
    assert world.create(job) == {"next": "stop"}
    assert world.now_as(job).status == model.SUBMIT_UNKNOWN
    assert len(world.provider.submitted) == 1


def test_a_task_that_is_still_there_after_a_day_is_adopted(world: World) -> None:
    """What is found is found, however late."""
    job = lost_answer(world)
    world.clock.advance(hours=40)
    assert world.create(job) == {"next": "watch"}


def test_a_task_is_never_looked_for_at_another_place(world: World) -> None:
    """The setting names another resource since the POST: its empty list says nothing about this job."""
    job, searches = lost_answer(world), Searches(world)
    world.provider.place = "memory elsewhere"
    for _ in range(3):
        answer = world.create(job)
        assert answer["next"] == "wait"
        world.clock.advance(seconds=answer["seconds"])
    assert (searches.since, len(world.provider.submitted)) == ([], 1)
    fault = world.now_as(job).fault
    assert fault is not None
    assert "'memory sora'" in fault.message
    assert "Configure it again" in fault.message
    world.provider.place = "memory sora"
    assert world.create(job) == {"next": "watch"}


def test_a_provider_taken_out_of_the_settings_is_waited_for(world: World) -> None:
    """A POST may have been paid for there: that is no failure of the job."""
    job = lost_answer(world)
    provider = world.services.providers.pop("sora")
    assert world.create(job)["next"] == "wait"
    assert world.now_as(job).status == model.SUBMITTING
    world.services.providers["sora"] = provider
    assert world.create(job) == {"next": "watch"}
    assert len(world.provider.submitted) == 1


def test_a_new_submission_goes_where_the_settings_point_now(world: World) -> None:
    """After a POST without effect nothing ties the job to the old place."""
    job = dropped_post(world)
    world.create(job)
    world.provider.place = "memory elsewhere"
    assert world.create(job) == {"next": "watch"}
    assert world.now_as(job).place == "memory elsewhere"


def test_a_submission_of_an_older_version_is_looked_for_where_the_settings_point(world: World) -> None:
    """Its record does not name the place."""
    job = lost_answer(world)
    world.force(job, place=None)
    assert world.create(job) == {"next": "watch"}
    assert world.now_as(job).place == "memory sora"


@pytest.mark.parametrize("code", NO_LIST)
def test_without_a_list_the_job_is_parked(world: World, code: str) -> None:
    """Never a blind POST: it is held, says so, and is looked into every hour."""
    job = lost_answer(world)
    world.provider.planned["find"] = [refusal(code)] * 3
    for _ in range(3):
        now = world.clock.now()
        assert world.create(job) == {"next": "stop"}
        parked = world.now_as(job)
        assert (parked.status, parked.stage) == ("submit_unknown", "parked")
        assert parked.fault is not None
        assert parked.fault.code == "submit_unknown"
        assert parked.next_attempt_at == world.watched()[job.job_id].due == now + policy.PARKED_LOOK
        world.clock.advance(hours=1)
    assert world.create(job) == {"next": "watch"}
    assert world.now_as(job).fault is None
    assert len(world.provider.submitted) == 1


@pytest.mark.parametrize("code", NOT_NOW)
def test_a_parked_job_is_asked_after_every_hour_also_in_an_outage(world: World, code: str) -> None:
    """An outage is no reason to ask for it more often, nor to hide what it waits for."""
    job = lost_answer(world)
    world.provider.planned["find"] = [refusal("endpoint_not_found"), refusal(code)]
    for _ in range(2):
        assert world.create(job) == {"next": "stop"}
        assert world.watched()[job.job_id].due == world.clock.now() + policy.PARKED_LOOK
        world.clock.advance(hours=1)
    now = world.now_as(job)
    assert (now.status, now.fault and now.fault.code) == ("submit_unknown", "submit_unknown")


def test_a_parked_job_is_sent_again_once_the_list_proves_that_nothing_was_made(world: World) -> None:
    """It waits like any other then, and no longer shows that it is parked."""
    job = dropped_post(world)
    world.provider.planned["find"] = [refusal("endpoint_not_found")]
    world.create(job)
    world.clock.advance(hours=1)
    assert world.create(job) == {"next": "wait", "seconds": 0}
    assert (world.now_as(job).status, world.now_as(job).fault) == ("queued", None)
    assert world.create(job) == {"next": "watch"}


def test_a_parked_job_is_started_again_by_the_sweep(world: World) -> None:
    """Not before the hour is over, and then without a person."""
    job = lost_answer(world)
    world.provider.planned["find"] = [refusal("endpoint_not_found")]
    world.create(job)
    world.clock.advance(minutes=59)
    world.sweep()
    assert world.client.started == []
    world.clock.advance(minutes=1)
    world.sweep()
    assert [started[1] for started in world.client.started] == [job.job_id]


def test_a_job_that_got_its_task_meanwhile_is_not_parked(world: World) -> None:
    """Another run found the task while this one was refused the list: nobody stops the watch, nor delays the sweep."""
    job = lost_answer(world)
    during(world, "find", lambda: world.create(job), error=refusal("endpoint_not_found"))
    assert world.create(job) == {"next": "wait", "seconds": 0}
    assert world.now_as(job).status == model.GENERATING
    assert world.watched()[job.job_id].due == world.clock.now() + policy.STEP_GRACE
    assert world.create(job) == {"next": "watch"}
