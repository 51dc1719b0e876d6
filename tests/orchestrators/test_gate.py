"""Jobs at a provider with limits, told in virtual time: who waits, who is next, and what refusals and losses change."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from reelkeeper import model
from reelkeeper.model import JobRequest, Task
from reelkeeper.providers.base import Terms
from reelkeeper.providers.memory import MemoryProvider, refusal

ENDS = (model.COMPLETED, model.FAILED, model.CANCELLED)


class CountingProvider(MemoryProvider):
    """Counts what the gate is there for; runs `really` tasks at once and refuses the next. `prompts`: as they came."""

    def __init__(
        self, now: Callable[[], datetime], seconds: float, really: int | None = None, name: str = "sora"
    ) -> None:
        super().__init__(now, name)
        self.seconds, self.really = seconds, really
        self.most_running = self.refused = 0
        self.created: list[datetime] = []
        self.prompts: list[str] = []

    def submit(self, request: JobRequest, *more: Any) -> Task:
        running = sum(self._now() - task.created_at < timedelta(seconds=self.seconds) for task in self._tasks.values())
        if self.really is not None and running >= self.really:
            self.refused += 1
            raise refusal("too_many_running")
        before = len(self.submitted)
        try:
            return super().submit(request)
        finally:  # a task whose answer is lost runs all the same
            if len(self.submitted) > before:
                self.most_running = max(self.most_running, running + 1)
                self.created.append(self._now())
                self.prompts.append(request.prompt)

    @property
    def most_in_a_minute(self) -> int:
        minute = timedelta(seconds=60)
        return max(sum(first <= one <= first + minute for one in self.created) for first in self.created)


def limited(stage: Any, really: int | None = None, seconds: float = 20, **terms: int) -> CountingProvider:
    """Give the stage a provider with these limits, whose tasks take so long."""
    stage.generation_seconds = seconds
    stage.provider = CountingProvider(stage.clock.now, seconds, really)
    stage.provider.terms = Terms(**terms)
    stage.services = replace(stage.services, providers={"sora": stage.provider})
    return stage.provider


def submit(stage: Any, count: int) -> list[str]:
    """So many jobs, one after the other."""
    jobs = []
    for _ in range(count):
        jobs.append(stage.submit())
        stage.advance(seconds=0.01)
    return jobs


def gate_state(stage: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stage.engine.entity_state("@gate@sora"))
    return found


def statuses(stage: Any, jobs: list[str]) -> list[str]:
    return [stage.job(job_id).status for job_id in jobs]


def test_without_limits_there_is_no_gate(stage):
    """No entity is asked and no step is added: the calls of a job are what they always were."""
    stage.submit()
    stage.advance(minutes=1)
    assert stage.said == []
    assert [name for _, name, _ in stage.calls if name not in ("poll", "download", "store")] == ["create", "settle"]


def test_a_job_at_a_free_gate_starts_at_once(stage):
    """It asks, runs, says that it does, and leaves; nothing of it stays behind."""
    limited(stage, max_running=2, creates_per_minute=10)
    job_id = stage.submit()
    stage.advance(minutes=1)
    assert stage.job(job_id).status == model.COMPLETED
    assert stage.job(job_id).created_at == stage.job(job_id).submitting_since
    assert stage.said == ["ask", "stay", "leave"]
    assert (gate_state(stage)["lines"], gate_state(stage)["leases"]) == ([], {})


def test_the_limits_hold_and_owners_take_turns(stage):
    """Thirty jobs of three owners, then one of a fourth: never more than allowed, and the last in is soon served."""
    provider = limited(stage, max_running=2, creates_per_minute=5)
    jobs = [(owner, stage.submit(owner, prompt=owner)) for owner in ("ada", "bob", "cleo") for _ in range(10)]
    stage.advance(seconds=30)
    before = len(provider.prompts)
    jobs.append(("dan", stage.submit("dan", prompt="dan")))
    stage.advance(minutes=10)
    assert {stage.job(job_id, owner).status for owner, job_id in jobs} == {model.COMPLETED}
    assert (provider.most_running, provider.most_in_a_minute) == (2, 5)
    assert provider.prompts[before:].index("dan") <= 3
    assert len(provider.created) == 31


@pytest.mark.slow
def test_two_hundred_jobs_of_ten_owners(stage):
    """Two at once and ten a minute, counted at the provider; a light owner's last job starts within one round."""
    provider = limited(stage, seconds=8, max_running=2, creates_per_minute=10)
    jobs = [(f"owner {n % 9}", stage.submit(f"owner {n % 9}", prompt=f"owner {n % 9}")) for n in range(199)]
    stage.advance(seconds=60)
    before = len(provider.prompts)
    jobs.append(("light", stage.submit("light", prompt="light")))
    while not all(stage.job(job_id, owner).finished for owner, job_id in jobs):
        stage.advance(minutes=10)
        assert stage.seconds < 2 * 3600
    assert {stage.job(job_id, owner).status for owner, job_id in jobs} == {model.COMPLETED}
    assert (provider.most_running, len(provider.created)) == (2, 200)
    assert provider.most_in_a_minute <= 10
    assert provider.prompts[before:].index("light") <= 9


def test_a_waiting_job_shows_its_position(stage):
    """The record says queued, where in line and when it asks again; once admitted there is no position any more."""
    limited(stage, seconds=60, max_running=1)
    jobs = submit(stage, 4)
    stage.advance(seconds=30)
    found = [stage.job(job_id) for job_id in jobs]
    assert [job.status for job in found] == [model.GENERATING] + [model.QUEUED] * 3
    assert [job.queue_position for job in found] == [None, 1, 2, 3]
    assert {job.stage for job in found[1:]} == {model.IN_LINE}
    for place, job in enumerate(found[1:], 1):
        assert 0 < (job.next_attempt_at - stage.clock.now()).total_seconds() <= 2 * place
        assert job.attempts == 0
    stage.advance(minutes=1)
    assert (stage.job(jobs[1]).stage, stage.job(jobs[1]).next_attempt_at) == ("queued", None)


def test_the_place_is_free_as_soon_as_the_task_has_ended(stage):
    """The next job is created while the files of the one before are still being waited for."""
    provider = limited(stage, max_running=1)
    provider.planned["open_output"] = [refusal("content_not_ready") for _ in range(5)]
    first, second = submit(stage, 2)
    stage.advance(seconds=30)
    assert statuses(stage, [first, second]) == [model.DOWNLOADING, model.GENERATING]


@pytest.mark.parametrize("code", ["moderation_input", "invalid_credentials"])
def test_a_final_refusal_frees_the_place(stage, code):
    """A job that is refused for good leaves the gate; the next one has its turn within seconds."""
    provider = limited(stage, max_running=1)
    provider.planned["submit"] = [refusal(code)]
    first, second = submit(stage, 2)
    stage.advance(seconds=5)
    assert statuses(stage, [first, second]) == [model.FAILED, model.GENERATING]


def test_a_job_that_is_stopped_leaves_the_line(stage):
    """Cancelled while it waits or while it runs: those behind it move up."""
    provider = limited(stage, seconds=600, max_running=1)
    running, waiting, last = submit(stage, 3)
    stage.advance(seconds=10)

    def cancel(job_id: str) -> None:
        job = stage.job(job_id)
        stage.services.jobs.save(job.to(model.CANCELLED, stage.clock.now(), finished_at=stage.clock.now()))

    cancel(waiting)
    stage.advance(seconds=5)
    assert stage.job(last).queue_position == 1
    assert stage.engine.get(waiting)["output"] == '"stopped"'
    cancel(running)
    stage.advance(seconds=30)
    assert stage.job(last).status == model.GENERATING
    assert len(provider.created) == 2


def test_too_many_running_sends_the_job_back_and_slows_the_gate(stage):
    """Six configured, two in truth: the refused wait without losing an attempt, and refusals stay few."""
    provider = limited(stage, really=2, max_running=6)
    jobs = [stage.submit() for _ in range(12)]
    stage.advance(seconds=5)
    assert provider.refused == 4
    assert gate_state(stage)["learned"][0] == 2
    assert {stage.job(job_id).attempts for job_id in jobs} == {0}
    stage.advance(minutes=6)
    assert statuses(stage, jobs) == [model.COMPLETED] * 12
    assert provider.most_running == 2
    assert provider.refused <= 9


def test_a_gate_that_was_wrong_for_hours_costs_no_history(stage):
    """Whatever the provider refuses and however long jobs wait or run, no instance grows beyond 200 events."""
    provider = limited(stage, seconds=5400, max_running=1)
    provider.planned["submit"] = [refusal("too_many_running") for _ in range(40)]
    jobs = submit(stage, 2)
    longest = 0
    for _ in range(36):
        stage.advance(minutes=5)
        instances = stage.engine.query()
        longest = max([longest, *(len(stage.engine.history(one["instance_id"])) for one in instances)])
    assert statuses(stage, jobs) == [model.COMPLETED, model.GENERATING]
    assert longest <= 200


def test_rate_limited_holds_everybody_back(stage):
    """One refusal with Retry-After, and nobody else runs into it."""
    provider = limited(stage, max_running=5)
    provider.planned["submit"] = [refusal("rate_limited", retry_after=90)]
    first = stage.submit()
    stage.advance(seconds=1)
    jobs = [stage.submit() for _ in range(3)]
    stage.advance(seconds=85)
    assert provider.created == []
    assert stage.job(first).fault.code == "rate_limited"
    stage.advance(seconds=10)
    assert statuses(stage, [first, *jobs]) == [model.GENERATING] * 4


def test_a_lost_answer_keeps_its_place(stage):
    """Nobody else is admitted while the POST may have made a task; once found, it runs in that place."""
    provider = limited(stage, seconds=600, max_running=1)
    provider.lose_answer = True
    first, second = submit(stage, 2)
    stage.advance(seconds=50)
    assert (stage.job(first).stage, stage.job(second).queue_position) == ("reconciling", 1)
    stage.advance(minutes=5)
    assert statuses(stage, [first, second]) == [model.GENERATING, model.QUEUED]
    stage.advance(minutes=20)
    assert statuses(stage, [first, second]) == [model.COMPLETED] * 2
    assert (provider.most_running, len(provider.created)) == (1, 2)


def test_a_create_that_had_no_effect_stands_in_line_again(stage):
    """The provider's list shows no task after the grace period: the job is the next one, and pays once."""
    provider = limited(stage, max_running=1)
    provider.planned["submit"] = [refusal("provider_error", outcome_unknown=True)]
    first, second = submit(stage, 2)
    stage.advance(minutes=3)
    assert statuses(stage, [first, second]) == [model.COMPLETED] * 2
    assert stage.job(first).submitting_since < stage.job(second).submitting_since
    assert (provider.most_running, len(provider.created)) == (1, 2)


def test_a_failed_task_is_created_anew_through_the_gate(stage):
    """The place of a task that the provider failed goes to the next; the job comes in again in its turn."""
    provider = limited(stage, seconds=100, max_running=1)
    first = stage.submit(prompt="first")
    stage.advance(seconds=1)
    stage.submit(prompt="second")
    stage.advance(seconds=1)
    provider.fail("task_1", "provider_error")
    provider._tasks["task_1"] = replace(provider._tasks["task_1"], created_at=stage.clock.now() - timedelta(hours=1))
    stage.advance(minutes=10)
    assert provider.prompts == ["first", "second", "first"]
    assert stage.job(first).status == model.COMPLETED
    assert provider.most_running == 1


def test_a_generation_of_hours_keeps_its_place(stage):
    """Its watch says often enough that it is still there, also when the provider asks for an hour of silence."""
    provider = limited(stage, seconds=5400, max_running=1)
    first, second = submit(stage, 2)
    stage.advance(minutes=10)
    provider.planned["look"] = [refusal("rate_limited", retry_after=3600)]
    stage.run_for(hours=1.3)
    assert statuses(stage, [first, second]) == [model.GENERATING, model.QUEUED]
    stage.run_for(hours=2)
    assert statuses(stage, [first, second]) == [model.COMPLETED] * 2
    assert (provider.most_running, len(provider.created)) == (1, 2)


def test_a_lost_job_frees_its_place(stage):
    """Its orchestration and its record are gone, and nobody ever says that it left: the lease runs out."""
    limited(stage, seconds=600, max_running=1)
    lost, waiting = submit(stage, 2)
    stage.advance(seconds=5)
    for instance in stage.engine.query():
        if instance["instance_id"] != waiting:
            stage.engine.terminate(instance["instance_id"], "lost")
    job = stage.job(lost)
    stage.services.jobs.save(job.to(model.CANCELLED, stage.clock.now(), finished_at=stage.clock.now()))
    stage.run_for(minutes=20)
    assert stage.job(waiting).status == model.QUEUED
    stage.run_for(minutes=10)
    assert stage.job(waiting).status == model.GENERATING


def test_a_job_that_broke_off_takes_its_place_again(stage):
    """Our storage failed four times in a row after the admission: the sweep restarts the job in time for its lease."""
    provider = limited(stage, seconds=60, max_running=1)
    stage.failing["poll"] = [RuntimeError("storage is down") for _ in range(4)]
    first, second = submit(stage, 2)
    stage.advance(minutes=4)
    assert stage.engine.get(first)["status"] == "Failed"
    assert stage.job(second).status == model.QUEUED
    stage.run_for(minutes=15)
    assert statuses(stage, [first, second]) == [model.COMPLETED] * 2
    assert provider.most_running == 1


def test_a_job_in_line_that_is_restarted_keeps_its_turn(stage):
    """It is looked up by age, not by when it asked."""
    limited(stage, seconds=60, max_running=1)
    jobs = submit(stage, 3)
    stage.advance(seconds=10)
    stage.engine.terminate(jobs[1], "by hand")
    stage.advance(seconds=1)
    stage.start(jobs[1])
    stage.advance(seconds=3)
    assert [stage.job(job_id).queue_position for job_id in jobs] == [None, 1, 2]
    stage.advance(minutes=5)
    assert statuses(stage, jobs) == [model.COMPLETED] * 3


@pytest.mark.parametrize("really", [None, 2])
def test_a_lost_task_hub_is_survived_by_the_gate_too(stage, really):
    """Running jobs come back as running, the others into the line; what is admitted meanwhile the provider bounds."""
    provider = limited(stage, really=really, seconds=900, max_running=2)
    jobs = submit(stage, 4)
    stage.advance(seconds=30)
    stage.lose_the_task_hub()
    assert stage.engine.entity_state("@gate@sora") is None
    stage.run_for(minutes=15)
    assert set(gate_state(stage)["leases"]) >= {job_id for job_id in jobs[:2] if not stage.job(job_id).finished}
    stage.run_for(hours=1)
    assert statuses(stage, jobs) == [model.COMPLETED] * 4
    assert len(provider.created) == 4
    assert provider.most_running <= (really or 4)


def test_limits_that_are_taken_away_let_everybody_in(stage):
    """The settings count as they are, also for those who wait already."""
    provider = limited(stage, seconds=600, max_running=1)
    jobs = [stage.submit() for _ in range(5)]
    stage.advance(seconds=5)
    provider.terms = Terms()
    stage.advance(seconds=15)
    assert statuses(stage, jobs) == [model.GENERATING] * 5


def test_limits_that_are_new_count_the_jobs_that_run(stage):
    """A job started before there was a gate says that it runs once its watch is looked at anew."""
    stage.generation_seconds = 3600
    running = stage.submit()
    stage.advance(seconds=10)
    stage.provider.terms = Terms(max_running=1)
    stage.engine.terminate(running, "deployed anew")
    stage.advance(seconds=1)
    stage.start(running)
    stage.advance(seconds=10)
    waiting = stage.submit()
    stage.advance(minutes=30)
    assert statuses(stage, [running, waiting]) == [model.GENERATING, model.QUEUED]


def test_a_hiccup_of_our_storage_while_waiting_costs_nothing(stage):
    """admit is tried again like every other step."""
    limited(stage, max_running=1)
    stage.failing["admit"] = [RuntimeError("storage is busy") for _ in range(2)]
    jobs = [stage.submit() for _ in range(2)]
    stage.advance(minutes=2)
    assert statuses(stage, jobs) == [model.COMPLETED] * 2


def test_each_provider_has_its_own_gate(stage):
    """A full provider holds nobody up at another one."""
    full = limited(stage, seconds=600, max_running=1)
    free = CountingProvider(stage.clock.now, 600, name="veo")
    free.terms = Terms(max_running=1)
    stage.services = replace(stage.services, providers={"sora": full, "veo": free})
    jobs = submit(stage, 2)
    other = stage.job(stage.submit())
    stage.services.jobs.save(replace(other, provider="veo"))
    stage.advance(seconds=5)
    assert statuses(stage, [*jobs, other.job_id]) == [model.GENERATING, model.QUEUED, model.GENERATING]
    assert stage.engine.entity_state("@gate@veo") is not None


@pytest.mark.parametrize("terms", [Terms(), Terms(max_running=1)])
def test_a_job_that_goes_to_another_provider_changes_the_line(stage, terms):
    """While it waits: it leaves the gate it stood at, and passes the other provider's, if that has one."""
    full = limited(stage, seconds=600, max_running=1)
    other = CountingProvider(stage.clock.now, 600, name="veo")
    other.terms = terms
    stage.services = replace(stage.services, providers={"sora": full, "veo": other})
    running, moving = submit(stage, 2)
    stage.advance(seconds=5)
    stage.services.jobs.save(replace(stage.job(moving), provider="veo"))
    stage.advance(seconds=10)
    assert statuses(stage, [running, moving]) == [model.GENERATING] * 2
    assert (len(full.created), len(other.created)) == (1, 1)
    assert gate_state(stage)["lines"] == []
    assert (stage.engine.entity_state("@gate@veo") is None) == (terms == Terms())


def test_a_job_that_moves_in_the_moment_of_its_admission_is_not_let_in_elsewhere(stage):
    """It was admitted by one gate and belongs to another provider by then: that one's gate is asked as well."""
    limited(stage, seconds=600, max_running=1)
    other = CountingProvider(stage.clock.now, 600, name="veo")
    other.terms = Terms(max_running=1)
    stage.services = replace(stage.services, providers={**stage.services.providers, "veo": other})
    running, moving = submit(stage, 2)
    stage.advance(seconds=1)
    stage.services.jobs.save(replace(stage.job(moving), provider="veo"))
    stage.engine.signal_entity(
        "@gate@sora", "stay", json.dumps(json.dumps({"owner": "ada", "job_id": moving, "seconds": 0}))
    )
    stage.advance(seconds=10)
    assert stage.job(moving).status == model.GENERATING
    assert (list(gate_state(stage)["leases"]), len(other.created)) == ([running], 1)
