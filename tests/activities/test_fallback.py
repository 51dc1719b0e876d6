"""fallback: a job of which nothing was submitted goes on to another provider; a submitted one never does."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from world import World

from activities.create import create_task
from reelkeeper import model
from reelkeeper.admission import only_admitted
from reelkeeper.fallback import adapted
from reelkeeper.gate import Gate, Limits
from reelkeeper.model import InputImage, Job
from reelkeeper.providers.abilities import Abilities
from reelkeeper.providers.base import Terms
from reelkeeper.providers.memory import MemoryProvider, refusal
from reelkeeper.providers.openai_images import DALL_E
from reelkeeper.providers.openai_videos import AZURE
from triggers.bodies import read_body, to_request


@pytest.fixture
def backup(world: World) -> MemoryProvider:
    """Named by the first provider for the case."""
    return add(world, "backup")


def add(world: World, name: str, after: MemoryProvider | None = None) -> MemoryProvider:
    provider = MemoryProvider(world.clock.now, name)
    provider.model, provider.grace = f"model of {name}", world.provider.grace
    world.services.providers[name] = provider
    first = after or world.provider
    first.fallback = (*first.fallback, name)
    return provider


def refuse(provider: MemoryProvider, code: str, times: int = 1) -> None:
    provider.planned["submit"] = [refusal(code) for _ in range(times)]


def create_until_settled(world: World, job: Job) -> dict[str, Any]:
    """Run create as `render` does: wait as long as it says, and come again."""
    for _ in range(40):
        answer = world.create(job)
        if answer["next"] != "wait":
            return answer
        world.clock.advance(seconds=answer["seconds"])
    raise AssertionError("it waits for ever")


@pytest.mark.parametrize("code", ["model_retired", "deployment_not_found", "endpoint_not_found", "invalid_credentials"])
def test_a_job_goes_on_where_its_provider_cannot_take_any(world: World, backup: MemoryProvider, code: str) -> None:
    """At once, under the other one's name and model; the record tells where it was refused."""
    refuse(world.provider, code)
    job = world.record()
    assert world.create(job) == {"next": "wait", "seconds": 0}
    moved = world.now_as(job)
    assert (moved.status, moved.provider, moved.moved_from, moved.attempts) == ("queued", "backup", ("sora",), 0)
    assert (moved.fault and moved.fault.code, moved.place, moved.submit_run) == (code, None, None)
    assert world.create(job) == {"next": "watch"}
    assert (len(world.provider.submitted), [one.model for one in backup.submitted]) == (0, ["model of backup"])
    assert (world.now_as(job).place, world.now_as(job).fault) == ("memory backup", None)


def test_a_provider_that_is_down_is_given_its_tries_first(world: World, backup: MemoryProvider) -> None:
    """Five, over more than a minute; then the job goes on."""
    refuse(world.provider, "provider_error", 5)
    job = world.record()
    before = world.clock.now()
    assert create_until_settled(world, job) == {"next": "watch"}
    assert (world.now_as(job).provider, world.provider.planned["submit"]) == ("backup", [])
    assert (world.clock.now() - before).total_seconds() == 75


def test_a_refusal_of_the_job_itself_is_no_reason_to_go_elsewhere(world: World, backup: MemoryProvider) -> None:
    """A prompt that is refused here must not be tried on the next one."""
    for code in ("moderation_input", "invalid_request"):
        refuse(world.provider, code)
        assert world.create(world.record())["fault"]["code"] == code
    assert backup.submitted == []


def test_a_busy_provider_is_waited_for(world: World, backup: MemoryProvider) -> None:
    """Limits are no failure, however often they are met."""
    refuse(world.provider, "too_many_running", 8)
    job = world.record()
    assert create_until_settled(world, job) == {"next": "watch"}
    assert (world.now_as(job).provider, backup.submitted) == ("sora", [])


def test_a_job_whose_answer_was_lost_stays_until_the_list_tells(world: World, backup: MemoryProvider) -> None:
    """It may be paid for: the list decides, and a task in it is watched where it is."""
    world.provider.lose_answer = True
    job = world.record()
    assert create_until_settled(world, job) == {"next": "watch"}
    assert (world.now_as(job).provider, len(world.provider.submitted), backup.submitted) == ("sora", 1, [])


def test_a_job_whose_place_cannot_be_asked_never_moves(world: World, backup: MemoryProvider) -> None:
    """The key stopped working between the POST and the question: it may be paid for, so nobody else gets it."""
    world.provider.lose_answer = True
    job = world.record()
    world.create(job)
    world.provider.planned["find"] = [refusal("invalid_credentials") for _ in range(30)]
    for _ in range(25):
        answer = world.create(job)
        assert answer["next"] == "wait"
        world.clock.advance(seconds=answer["seconds"])
    assert (world.now_as(job).status, world.now_as(job).provider) == (model.SUBMITTING, "sora")
    assert backup.submitted == []


def test_a_job_that_was_never_made_goes_on_after_its_tries(world: World, backup: MemoryProvider) -> None:
    """Every answer was lost and the list proves each time that nothing came of it: submitted nowhere, so free to go."""
    world.provider.planned["submit"] = [refusal("provider_error", outcome_unknown=True) for _ in range(5)]
    job = world.record()
    assert create_until_settled(world, job) == {"next": "watch"}
    assert (world.now_as(job).provider, world.provider.submitted) == ("backup", [])


def test_a_task_that_failed_is_not_moved(world: World, backup: MemoryProvider) -> None:
    """It was submitted, and what is made anew is made where it was."""
    job = world.generating()
    world.provider.fail(str(job.task_id), "provider_error")
    assert world.poll(job)["next"] == "wait"
    refuse(world.provider, "provider_error", 2)
    assert create_until_settled(world, job) == {"next": "watch"}
    assert (world.now_as(job).provider, backup.submitted) == ("sora", [])


def test_a_task_that_failed_at_a_provider_that_then_retires_ends_the_job(world: World, backup: MemoryProvider) -> None:
    """That the failed one was free is that provider's word alone; the job is not paid for a second time elsewhere."""
    job = world.generating()
    world.provider.fail(str(job.task_id), "provider_error")
    world.poll(job)
    refuse(world.provider, "model_retired")
    assert create_until_settled(world, job)["fault"]["code"] == "model_retired"
    assert backup.submitted == []


def test_who_retired_while_the_job_waited_is_not_asked(world: World, backup: MemoryProvider) -> None:
    """Its last day is over: the job goes on without a POST that could only fail."""
    world.provider.terms = Terms(retires_on=date(2026, 11, 19))
    job = world.record()
    assert create_until_settled(world, job) == {"next": "watch"}
    moved = world.now_as(job)
    assert (moved.provider, moved.moved_from, world.provider.submitted) == ("backup", ("sora",), [])


def test_a_fallback_that_cannot_make_it_is_passed_over(world: World, backup: MemoryProvider) -> None:
    """Retired, or without the size: the next one in the list gets it."""
    backup.terms = Terms(retires_on=date(2026, 11, 19))
    small = add(world, "small")
    small.abilities = type(small.abilities)(((64, 64),), small.abilities.seconds, ((0, 4),))
    third = add(world, "third")
    refuse(world.provider, "model_retired")
    job = world.record()
    assert create_until_settled(world, job) == {"next": "watch"}
    assert (world.now_as(job).provider, len(third.submitted)) == ("third", 1)


def test_two_that_name_each_other_do_not_play_ball(world: World, backup: MemoryProvider) -> None:
    """Each is tried once; then the last refusal is the answer."""
    backup.fallback = ("sora",)
    refuse(world.provider, "model_retired")
    refuse(backup, "invalid_credentials")
    job = world.record()
    answer = create_until_settled(world, job)
    assert (answer["next"], answer["fault"]["code"]) == ("settle", "invalid_credentials")
    assert world.now_as(job).moved_from == ("sora",)


def test_without_a_fallback_the_refusal_is_the_answer(world: World) -> None:
    """As ever."""
    refuse(world.provider, "model_retired")
    assert world.create(world.record())["fault"]["code"] == "model_retired"


def test_the_owner_learns_who_made_it(world: World, backup: MemoryProvider) -> None:
    """Another model may have another look: the finished job says so."""
    refuse(world.provider, "model_retired")
    job = world.record()
    create_until_settled(world, job)
    backup.finish(str(world.now_as(job).task_id))
    world.poll(job)
    world.settle(job, kept=[world.keep(job)])
    done = world.now_as(job)
    assert (done.status, done.warning) == ("completed", "Made by backup, because sora could not take the job.")


def test_a_run_that_lost_the_race_does_not_move_the_job(world: World, backup: MemoryProvider) -> None:
    """Another run has submitted it meanwhile: the task that exists is the one that counts."""
    job = world.record()
    submit = world.provider.submit

    def refused_while_another_submits(*given: Any) -> Any:
        current = world.now_as(job)
        world.force(job, status="queued", submit_run=None, attempts=0)
        world.provider.submit = submit  # type: ignore[method-assign]
        assert world.create(job) == {"next": "watch"}
        assert current.provider == "sora"
        raise refusal("model_retired")

    world.provider.submit = refused_while_another_submits  # type: ignore[method-assign]
    assert world.create(job) == {"next": "wait", "seconds": 0}
    assert world.create(job) == {"next": "watch"}
    assert (world.now_as(job).provider, len(world.provider.submitted), backup.submitted) == ("sora", 1, [])


def test_a_job_that_has_moved_stands_in_no_line_behind_itself(world: World) -> None:
    """Its place at the gate it left is free at once."""
    add(world, "backup")
    world.provider.terms = Terms(max_running=1)
    refuse(world.provider, "invalid_credentials")
    job, gate = world.record(), Gate(Limits(1), world.clock.now())
    assert gate.ask("ada", job.job_id)["admitted"]
    step = only_admitted(create_task)(world.services, {"owner": "ada", "job_id": job.job_id, "admitted": "sora"})
    if step.get("slot", "leave") == "leave":
        gate.leave("ada", job.job_id)
    else:
        gate.back("ada", job.job_id, step["code"], step["seconds"])
    assert not gate.state()["lines"]


def test_the_second_fallback_of_the_first_provider_is_tried(world: World) -> None:
    """The one that it moved to names none, and refuses as well."""
    second, third = add(world, "second"), add(world, "third")
    refuse(world.provider, "invalid_credentials")
    refuse(second, "invalid_credentials")
    assert create_until_settled(world, world.record()) == {"next": "watch"}
    assert (second.submitted, len(third.submitted)) == ([], 1)


def test_a_queue_that_never_moves_is_no_reason_to_go_elsewhere(world: World, backup: MemoryProvider) -> None:
    """Also not once the job's deadline is over: then the refusal is the answer."""
    job = world.record()
    world.clock.advance(hours=25)
    refuse(world.provider, "too_many_running")
    assert world.create(job)["fault"]["code"] == "too_many_running"
    assert backup.submitted == []


# What nobody chose


def judged(world: World, body: dict[str, Any], provider: Any = None, kind: str = "videos") -> Any:
    """The request as `generate` makes it of this body."""
    raw = json.dumps({"prompt": "a boat"} | body).encode()
    return to_request(read_body("application/json", raw, kind), provider or world.provider)


@pytest.mark.parametrize(
    ("body", "left_open"),
    [
        ({}, ("size", "n_seconds")),
        ({"n_seconds": 5}, ("size",)),
        ({"width": 1280, "height": 720}, ("n_seconds",)),
        ({"width": 1280, "height": 720, "n_seconds": 5}, ()),
        ({"input_image": {"url": "https://pictures.example/boat"}}, ("n_seconds",)),
    ],
)
def test_the_record_knows_what_nobody_chose(world: World, body: dict[str, Any], left_open: tuple[str, ...]) -> None:
    """Also when it says the usual value; never the size of a video that starts from a picture. Old records: nothing."""
    job = replace(world.record(), request=judged(world, body))
    wire = json.loads(json.dumps(job.to_dict()))
    assert Job.from_dict(wire).request.left_open == left_open
    del wire["request"]["left_open"]
    assert Job.from_dict(wire).request.left_open == ()


def test_what_nobody_chose_is_the_other_one_s_to_choose(world: World, backup: MemoryProvider) -> None:
    """Its usual size and length, in the record before the POST; what is asked is what is looked for."""
    backup.abilities = AZURE
    refuse(world.provider, "invalid_credentials")
    job = world.force(world.record(), request=judged(world, {}))
    assert (job.request.width, job.request.height, job.request.n_seconds) == (1280, 720, 5)
    assert world.create(job) == {"next": "wait", "seconds": 0}
    request = world.now_as(job).request
    assert (request.width, request.height, request.n_seconds, request.model) == (1280, 720, 4, "model of backup")
    backup.lose_answer = True
    assert create_until_settled(world, job) == {"next": "watch"}
    assert (backup.submitted, world.now_as(job).provider) == ([request], "backup")


def test_a_size_that_nobody_chose_changes_only_where_it_must(world: World, backup: MemoryProvider) -> None:
    """The first of the other one's sizes."""
    backup.abilities = Abilities(((640, 360), (360, 640)), (5,), ((0, 1),))
    refuse(world.provider, "invalid_credentials")
    job = world.force(world.record(), request=judged(world, {"n_seconds": 5}))
    assert create_until_settled(world, job) == {"next": "watch"}
    assert [(one.width, one.height) for one in backup.submitted] == [(640, 360)]


def test_auto_is_no_choice_of_a_size(world: World) -> None:
    """Left to a provider of images, it is the next one's to name."""
    images = world.with_images()
    request = judged(world, {"size": "auto"}, images, "images")
    assert (request.width, request.left_open) == (0, ("size",))
    other = world.with_images()
    other.abilities, other.model = DALL_E, "dall-e-3"
    asked = adapted(request, other)
    assert (asked.width, asked.height, asked.n_seconds, other.abilities.refusals(asked)) == (1024, 1024, 0, ())


@pytest.mark.parametrize("starts_from_a_picture", [False, True])
def test_what_was_chosen_stays(world: World, backup: MemoryProvider, starts_from_a_picture: bool) -> None:
    """A size or a length that the caller named, or that its picture has, is never another one's to change."""
    backup.abilities = replace(AZURE, sizes=((720, 1280),))
    refuse(world.provider, "invalid_credentials")
    request = judged(world, {"n_seconds": 4, "width": 1280, "height": 720})
    if starts_from_a_picture:
        picture = InputImage("user_ada/videos/x/input-0.png", "image/png", 1280, 720, "0")
        request = judged(world, {"n_seconds": 4, "input_image": {"url": "https://pictures.example/boat"}})
        request = replace(request, input_image=picture)
        world.clips.put(picture.path, b"picture", content_type="image/png")
    job = world.force(world.record(), request=request)
    answer = create_until_settled(world, job)
    assert answer["fault"]["code"] == "invalid_credentials"
    assert "backup cannot take it over: width 1280x720 is not offered" in answer["fault"]["message"]
    assert (world.now_as(job).provider, world.now_as(job).request, backup.submitted) == ("sora", request, [])


# Why nobody took it


def test_the_end_says_why_nobody_took_it_over(world: World, backup: MemoryProvider) -> None:
    """After the refusal's own words, one sentence for each that is named; the code is the refusal's."""
    backup.abilities, backup.fallback = AZURE, ("late",)
    late = add(world, "late")
    late.terms = Terms(retires_on=date(2026, 11, 19))
    refuse(world.provider, "invalid_credentials")
    job = world.record(width=1280, height=720)
    told = create_until_settled(world, job)["fault"]
    assert told["code"] == "invalid_credentials"
    own = refusal("invalid_credentials").fault
    because = "backup cannot take it over: n_seconds must be one of 4, 8, 12. late retired after 2026-11-19."
    assert (told["message"], told["provider_message"]) == (f"{own.message} {because}", own.provider_message)
    assert world.create(job)["fault"] == told
    assert (backup.submitted, late.submitted) == ([], [])


def test_the_end_of_all_tries_says_so_too(world: World, backup: MemoryProvider) -> None:
    """Also where every answer was lost, and the list proved each time that nothing was made."""
    backup.abilities = AZURE
    for lost in (False, True):
        world.provider.planned["submit"] = [refusal("provider_error", outcome_unknown=lost) for _ in range(5)]
        fault = create_until_settled(world, world.record(width=1280, height=720))["fault"]
        assert fault["code"] == "provider_error"
        assert fault["message"].count("backup cannot take it over: n_seconds must be one of 4, 8, 12.") == 1


def test_who_retired_and_has_no_taker_is_asked_all_the_same(world: World, backup: MemoryProvider) -> None:
    """As without a fallback: the provider's own answer decides."""
    world.provider.terms = Terms(retires_on=date(2026, 11, 19))
    backup.abilities = AZURE
    assert create_until_settled(world, world.record()) == {"next": "watch"}
    assert (len(world.provider.submitted), backup.submitted) == (1, [])


def test_a_job_cancelled_while_it_is_turned_away_is_not_refused(world: World, backup: MemoryProvider) -> None:
    """Nobody can take it, and nobody wants it any more: it stays cancelled, and nothing was made."""
    backup.abilities = AZURE
    job = world.record()

    def cancelled_meanwhile(*given: Any) -> Any:
        assert world.cancel(job.job_id).status in (200, 202)
        raise refusal("invalid_credentials")

    world.provider.submit = cancelled_meanwhile  # type: ignore[method-assign]
    create_until_settled(world, job)
    assert (world.now_as(job).status, world.now_as(job).stage, backup.submitted) == ("cancelled", "done", [])


def test_a_gate_is_left_with_the_end_that_says_why(world: World, backup: MemoryProvider) -> None:
    """The refusal is written down with the reason by one run and told by the next, which gives the place back."""
    backup.abilities = AZURE
    world.provider.terms = Terms(max_running=1)
    refuse(world.provider, "invalid_credentials")
    work = {"owner": "ada", "job_id": world.record(width=1280, height=720).job_id}
    create = only_admitted(create_task)
    step = create(world.services, {**work, "admitted": "sora"})
    assert step == {"next": "wait", "seconds": 0, "gate": "sora", "slot": "stay"}
    step = create(world.services, work)
    assert (step["next"], step["gate"], "slot" in step) == ("settle", "sora", False)
    assert "backup cannot take it over" in step["fault"]["message"]
