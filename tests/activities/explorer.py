"""Plays runs of `create` against each other, call by call: who goes next, what breaks and when time passes is chosen.

1. A `Run` is one call of the activity, on a thread of its own, that stops at each of its doors: jobs, claims, provider.
2. `Explorer.moves` are all things that may happen next; a chooser picks one, again and again, until it has enough.
3. `Explorer.recover` lets every run end, then starts new ones as sweep and orchestrator would, until all is decided.
4. `Explorer.verdict` tells what is wrong then: the promise is one task for each job, and none paid for beside.

What is assumed is what a deployment must give: a POST has its effect within 0.6 of the grace period of its start; the
clocks of two workers, and the time a task needs to appear in the list, differ by less than 0.15 of it together.
"""

from __future__ import annotations

import json
import queue
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from world import World

from activities.create import create_task
from activities.poll import poll_task
from reelkeeper import ledger, model
from reelkeeper.errors import RecordConflict
from reelkeeper.model import Job, JobRequest, Task
from reelkeeper.providers.memory import MemoryProvider, refusal
from reelkeeper.records.base import Jobs, TaskClaims
from reelkeeper.steps import changed
from reelkeeper.withdrawal import withdraw

T = TypeVar("T")
Activity = Callable[[Any, dict[str, Any]], dict[str, Any]]
Chooser = Callable[[int], int]

THREADS = ThreadPoolExecutor(64, "run")
"""More than there are ever runs at once: each waits on its thread until it is let go."""

GO, DIE, CONFLICT, DROP, LOSE, BUSY, BREAK, AWAY = "go", "die", "conflict", "drop", "lose", "busy", "break", "away"
REFUSED = {BUSY: "too_many_running", BREAK: "provider_error", AWAY: "model_retired"}
TROUBLE = {
    "jobs.get": (DIE,),
    "jobs.save": (DIE, CONFLICT),
    "claims.claim": (DIE,),
    "provider.submit": (DIE, DROP, BUSY, BREAK),
    "provider.answer": (DIE, LOSE),
    "provider.find": (DIE, BREAK),
    "provider.cancel": (DIE, BREAK),
}
"""What can happen at a door. CONFLICT: saved, but the client's retry meets its own write. BREAK: a known failure.
AWAY: refused for good by a provider that has a fallback."""


class Died(BaseException):
    """The process is gone: nothing of the run is executed any more."""


@dataclass(frozen=True)
class Scene:
    """What is played: at most how much of everything, and how far the assumptions are stretched (in grace periods).

    `switches`: how often a run is left that could go on; `lengths`: of the pauses; `failures`: uncharged ones.
    `fallback`: the provider may turn jobs away for good, and another one takes them over. `cancels`: by the owner.
    """

    jobs: int = 2
    prompts: int = 1
    runs: int = 5
    switches: int = 5
    troubles: int = 2
    pauses: int = 3
    lengths: tuple[float, ...] = (1.01, 0.3)
    failures: int = 0
    skew: float = 0.0
    lag: float = 0.0
    provider_skew: timedelta = timedelta(0)
    lists: bool = True
    fallback: bool = False
    cancels: int = 0


def cancel(services: Any, work: dict[str, Any]) -> dict[str, Any]:
    """What the owner's cancel does, as far as it concerns the task."""
    found = services.jobs.get(work["owner"], work["job_id"])
    job = changed(services, found, lambda job: ledger.cancelled(job, services.now()))
    return {"seconds": withdraw(services, job)} if job else {}


class Provider(MemoryProvider):
    """Lists a task only after a while, or has no list at all; its clock may be wrong."""

    def __init__(self, world: World, scene: Scene, name: str = "sora") -> None:
        super().__init__(lambda: world.clock.now() + scene.provider_skew, name)
        self._scene, self._lag = scene, world.services.settings.submit_grace * scene.lag

    def find(self, request: JobRequest, since: datetime) -> list[Task]:
        if not self._scene.lists:
            raise refusal("endpoint_not_found")
        return [task for task in super().find(request, since) if task.created_at + self._lag <= self._now()]

    def running(self) -> set[tuple[str, str]]:
        """Place and id of the tasks that were made and neither failed nor were deleted."""
        return {(self.place, task.task_id) for task in self._tasks.values() if task.state != "failed"}


class Run:
    """One run of an activity for one job. `at`: the door it stands at, None at its end; `answer`: its result."""

    def __init__(self, explorer: Explorer, job: Job, skew: timedelta, activity: Activity) -> None:
        self.job, self.answer = job, dict[str, Any]()
        self.posting_until: datetime | None = None
        self._explorer = explorer
        self._verdicts: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._doors: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        world = explorer.world
        doors: dict[str, Any] = {
            "jobs": _Jobs(world.jobs, self),
            "claims": _Claims(world.services.claims, self),
            "providers": {name: _Post(provider, self) for name, provider in explorer.providers.items()},
        }
        services = replace(world.services, now=lambda: world.clock.now() + skew, **doors)
        THREADS.submit(self._play, activity, services)
        self.at: str | None = self._doors.get()

    def step(self, verdict: str = GO) -> None:
        """Let what stands at the door happen, and come to the next one."""
        self._explorer.told.append(f"{self.job.job_id[-4:]} {self.at}: {verdict}")
        self._verdicts.put(verdict)
        self.at = self._doors.get()

    def until(self, door: str) -> Run:
        """Go on to the next such door."""
        while self.at != door:
            assert self.at is not None, f"it ended with {self.answer} before {door}"
            self.step()
        return self

    def finish(self) -> dict[str, Any]:
        """Go on to the end."""
        while self.at is not None:
            self.step()
        return self.answer

    def door(self, name: str, call: Callable[[], T]) -> T:
        verdict = self.stop_at(name)
        result = call()
        if verdict == CONFLICT:
            raise RecordConflict("the answer was lost, and the client's retry met its own write")
        return result

    def stop_at(self, name: str) -> str:
        self._doors.put(name)
        verdict = self._verdicts.get()
        if verdict == DIE:
            raise Died
        return verdict

    def post(self, request: JobRequest, provider: Provider) -> Task:
        explorer = self._explorer
        self.posting_until = explorer.world.clock.now() + explorer.grace * 0.6
        try:
            verdict = self.stop_at("provider.submit")
        finally:
            self.posting_until = None
        if verdict == DROP:
            raise refusal("provider_error", outcome_unknown=True)
        if verdict in REFUSED:
            raise refusal(REFUSED[verdict])
        task = provider.submit(request)
        explorer.told.append(f"{task.task_id} made for {self.job.job_id[-4:]}")
        explorer.made[self.job.job_id] += 1
        if self.stop_at("provider.answer") == LOSE:
            raise refusal("provider_error", outcome_unknown=True)
        return task

    def find(self, request: JobRequest, since: datetime, provider: Provider) -> list[Task]:
        if self.stop_at("provider.find") == BREAK:
            raise refusal("provider_error")
        return provider.find(request, since)

    def cancel(self, task_id: str, provider: Provider) -> None:
        if self.stop_at("provider.cancel") == BREAK:
            raise refusal("provider_error")
        self._explorer.told.append(f"{task_id} deleted for {self.job.job_id[-4:]}")
        provider.cancel(task_id)

    def _play(self, activity: Activity, services: Any) -> None:
        try:
            self.answer = activity(services, {"owner": self.job.owner, "job_id": self.job.job_id})
        except Died:
            self.answer = {}
        except BaseException as error:
            self._explorer.wrong.append(f"a run raised {error!r}")
        finally:
            self._doors.put(None)


class _Jobs:
    def __init__(self, jobs: Jobs, run: Run) -> None:
        self._jobs, self._run = jobs, run

    def get(self, owner: str, job_id: str) -> Job | None:
        return self._run.door("jobs.get", lambda: self._jobs.get(owner, job_id))

    def save(self, job: Job) -> Job:
        return self._run.door("jobs.save", lambda: self._jobs.save(job))


class _Claims:
    def __init__(self, claims: TaskClaims, run: Run) -> None:
        self._claims, self._run = claims, run

    def claim(self, place: str, task_id: str, job_id: str) -> str:
        return self._run.door("claims.claim", lambda: self._claims.claim(place, task_id, job_id))


class _Post:
    def __init__(self, provider: Provider, run: Run) -> None:
        self.name, self.model, self.abilities = provider.name, provider.model, provider.abilities
        self.place, self.grace, self.lists = provider.place, provider.grace, provider.lists
        self.terms, self.fallback = provider.terms, provider.fallback
        self._provider, self._run = provider, run

    def submit(self, request: JobRequest, *more: Any) -> Task:
        return self._run.post(request, self._provider)

    def find(self, request: JobRequest, since: datetime) -> list[Task]:
        return self._run.find(request, since, self._provider)

    def cancel(self, task_id: str) -> None:
        self._run.cancel(task_id, self._provider)

    def look(self, task_id: str) -> Task:
        return self._provider.look(task_id)


class Explorer:
    """`made`: tasks paid for, by the job whose run made them; `told`: everything that happened, in order."""

    def __init__(self, scene: Scene, activity: Activity = create_task, claims: Any = None) -> None:
        self.scene, self.activity, self.world = scene, activity, World()
        if claims is not None:
            self.world.use(claims=claims)
        self.grace = self.world.services.settings.submit_grace
        self.provider = Provider(self.world, scene)
        self.providers = self.world.services.providers
        self.providers["sora"] = self.provider
        if scene.fallback:
            self.provider.fallback = ("backup",)
            self.providers["backup"] = Provider(self.world, scene, "backup")
        self.jobs = [self.world.record(prompt=f"boat {number % scene.prompts}") for number in range(scene.jobs)]
        self.runs: list[Run] = []
        self.made: Counter[str] = Counter()
        self.told: list[str] = []
        self.wrong: list[str] = []
        self._current: Run | None = None
        self._started = self._switches = self._troubles = self._pauses = self._failures = 0
        self._cancels = 0

    @property
    def live(self) -> list[Run]:
        return [run for run in self.runs if run.at is not None]

    # What may happen

    def moves(self) -> list[Callable[[], None]]:
        """Everything that may happen next, the plain things first. To leave a run that could go on is a switch."""
        scene, current = self.scene, next((run for run in self.live if run is self._current), None)
        runs = [current] if current else list(self.live)
        moves = [self._going(run, GO) for run in runs]
        if current is None or self._switches < scene.switches:
            moves += [self._going(run, GO) for run in self.live if run not in runs]
            moves += [self._starting(job) for job in self.jobs if self._started < scene.runs]
            if self._cancels < scene.cancels:
                moves += [self.cancelling(job) for job in self.jobs if not self.world.now_as(job).finished]
        if self._pauses < scene.pauses:
            moves += [pause for pause in map(self._pausing, scene.lengths) if pause]
        if self._troubles < scene.troubles:
            moves += [self._going(run, what) for run in runs for what in TROUBLE[run.at or ""]]
            if scene.fallback:
                moves += [self._going(run, AWAY) for run in runs if self._at_first(run)]
        if self._failures < scene.failures:
            jobs = [self.world.now_as(job) for job in self.jobs]
            moves += [self.failing(job) for job in jobs if job.status == model.GENERATING]
        return moves

    def _at_first(self, run: Run) -> bool:
        """Whether it is about to POST to the provider that has a fallback."""
        return run.at == "provider.submit" and self.world.now_as(run.job).provider == "sora"

    def play(self, choose: Chooser) -> None:
        """Let the chooser pick from the moves until it picks none (-1) or none are left."""
        while moves := self.moves():
            chosen = choose(len(moves))
            if chosen < 0:
                return
            moves[chosen]()

    def _going(self, run: Run, verdict: str) -> Callable[[], None]:
        def go() -> None:
            self._troubles += verdict != GO
            self._turn_to(run)
            run.step(verdict)

        return go

    def start(self, job: Job) -> Run:
        """A new run of a job, at its first door."""
        self._starting(job)()
        return self.runs[-1]

    def cancelling(self, job: Job) -> Callable[[], None]:
        """Its owner cancels it."""

        def go() -> None:
            self._cancels += 1
            self._starting(job, cancel)()

        return go

    def _starting(self, job: Job, activity: Activity | None = None) -> Callable[[], None]:
        def start() -> None:
            # every second worker's clock is ahead, the others' are behind
            skew = self.grace * self.scene.skew * (1 if self._started % 2 else -1)
            self._started += 1
            self.told.append(f"{job.job_id[-4:]} {'is cancelled' if activity else 'starts'}")
            run = Run(self, job, skew, activity or self.activity)
            self._turn_to(run)
            self.runs.append(run)

        return start

    def _turn_to(self, run: Run) -> None:
        self._switches += self._current in self.live and run is not self._current
        self._current = run

    def _pausing(self, part: float) -> Callable[[], None] | None:
        """Time passes while every run stands where it is; a POST has its effect before its time is up."""
        later = self.world.clock.now() + self.grace * part
        if any(run.posting_until and run.posting_until < later for run in self.live):
            return None

        def pause() -> None:
            self._pauses += 1
            self.told.append(f"{part} grace periods pass")
            self.world.clock.moment = later

        return pause

    def failing(self, job: Job) -> Callable[[], None]:
        """The provider fails the job's task and does not charge it; the watch notices."""

        def fail() -> None:
            self._failures += 1
            self.told.append(f"{job.job_id[-4:]} {job.task_id} fails uncharged")
            made_by = self.providers[job.provider]
            assert isinstance(made_by, Provider)
            made_by.fail(str(job.task_id), "provider_error")
            self.made[job.job_id] -= 1
            poll_task(self.world.services, {"owner": job.owner, "job_id": job.job_id})

        return fail

    # The end

    def recover(self) -> None:
        """Let every run end, then look after the jobs until each has its task or is parked."""
        self.told.append("recovery")
        self.finish()
        for _ in range(12):  # more than enough: what is not decided by then never will be
            undecided = [job for job in self.jobs if not self._decided(self.world.now_as(job))]
            if not undecided:
                return
            self.world.clock.moment += self.grace * 1.01 + timedelta(seconds=30)
            for job in undecided:
                self.start(job).finish()

    def finish(self, verdict: str = GO) -> None:
        """Let every run come to its end, one after the other."""
        for run in self.live:
            while run.at is not None:
                run.step(verdict)

    def _decided(self, job: Job) -> bool:
        return job.status in (model.GENERATING, model.SUBMIT_UNKNOWN) or (job.finished and not job.withdrawing)

    def verdict(self) -> list[str]:
        """What is wrong with the outcome; [] when nothing is."""
        wrong, jobs = list(self.wrong), [self.world.now_as(job) for job in self.jobs]
        held = [job for job in jobs if job.status == model.GENERATING]
        parked = [job for job in jobs if job.status == model.SUBMIT_UNKNOWN]
        for job in jobs:
            if not self._decided(job) or (parked and self.scene.lists):
                wrong.append(f"{job.job_id[-4:]} is {job.status}, {job.stage}")
        if len({(job.place, job.task_id) for job in held}) != len(held):
            wrong.append(f"a task has two jobs: {[job.task_id for job in held]}")
        for job in held:
            holder = self.world.services.claims.claim(str(job.place), str(job.task_id), "nobody")
            if not holder.startswith(job.job_id):
                wrong.append(f"{job.job_id[-4:]} has {job.task_id}, which is claimed by {holder}")
        if not self.scene.lists:
            wrong += [f"{made} tasks were made for {job[-4:]}" for job, made in self.made.items() if made > 1]
        elif not len(held) <= (paid := sum(self.made.values())) <= len(jobs):
            wrong.append(f"{paid} tasks were paid for {len(jobs)} jobs, of which {len(held)} hold one")
        if self.scene.lists and self.scene.cancels:
            made = [one.running() for one in self.providers.values() if isinstance(one, Provider)]
            if left := set().union(*made) - {(job.place, job.task_id) for job in held}:
                wrong.append(f"{sorted(left)} run on for nobody")
        return wrong


def play(scene: Scene, choose: Chooser, **parts: Any) -> Explorer:
    """One whole play: moves as chosen, recovery; the explorer tells the rest."""
    explorer = Explorer(scene, **parts)
    try:
        explorer.play(choose)
        explorer.recover()
    finally:
        explorer.finish(DIE)
    return explorer


def by_tape(tape: Sequence[int]) -> Chooser:
    """Choose by the numbers of a tape, and stop at its end."""
    numbers: Iterator[int] = iter(tape)
    return lambda count: next((number % count for number in numbers), -1)


def every_play(scene: Scene, **parts: Any) -> Iterator[Explorer]:
    """All plays of a scene, by going back to the last choice that has an alternative, again and again."""
    path: list[tuple[int, int]] = []
    while True:
        depth = 0

        def choose(count: int) -> int:
            nonlocal depth
            if depth == len(path):
                path.append((0, count))
            chosen, among = path[depth]
            assert among == count, "the play is not repeatable"
            depth += 1
            return chosen

        yield play(scene, choose, **parts)
        while path and path[-1][0] + 1 == path[-1][1]:
            path.pop()
        if not path:
            return
        path[-1] = (path[-1][0] + 1, path[-1][1])


def story(explorer: Explorer) -> str:
    """What happened, for a person."""
    return json.dumps([*explorer.verdict(), *explorer.told], indent=1)
