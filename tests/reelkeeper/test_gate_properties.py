"""The gate under any sequence of operations, and in simulated days: limits, fairness, nobody lost, nobody starved."""

from __future__ import annotations

import heapq
import itertools
import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reelkeeper.gate import FAR, KEEP, LEASE, Gate, Limits

START = datetime(2026, 11, 20, 9, 0, tzinfo=timezone.utc)
MINUTE = 60.0

limits = st.builds(
    Limits, st.one_of(st.none(), st.integers(1, 4)), st.one_of(st.none(), st.integers(1, 5))
).filter(bool)  # fmt: skip
owners = st.sampled_from(["ada", "bob", "cleo"])
weights = st.dictionaries(owners, st.integers(1, 4))


def positions(state: dict[str, Any], now: datetime, weights: dict[str, int]) -> dict[str, int]:
    """Where each job stands in line, while the only place is taken."""
    gate = Gate(Limits(1), now, state, weights)
    gate.stay("x", "running", 60)
    return {job_id: gate.ask(line[0], job_id)["position"] for line in state["lines"] for job_id in line[2]}


class AnySequence(RuleBasedStateMachine):
    """Jobs ask too early, too late, twice, or never again; leave or not; say that they run without having asked.

    The app is started again with other weights. Only a job that was admitted and did not say that it runs is waived.

    The model knows only what was said and answered: who lives (admitted, or said to run, and not silent beyond what was
    promised), who waits, and when each admission was.
    """

    @initialize(limits=limits, weights=weights)
    def begin(self, limits: Limits, weights: dict[str, int]) -> None:
        self.limits, self.weights, self.seconds, self.text = limits, weights, 0.0, "null"
        self.numbers = itertools.count()
        self.owner: dict[str, str] = {}
        self.alive_until: dict[str, float] = {}
        self.asked_at: dict[str, float] = {}
        self.told: dict[str, dict[str, Any]] = {}
        self.admissions: list[float] = []
        self.unused: dict[str, float] = {}

    def do(self, operation: str, job_id: str, *said: Any) -> Any:
        now = START + timedelta(seconds=self.seconds)
        gate = Gate(self.limits, now, json.loads(self.text), self.weights)
        answer = getattr(gate, operation)(self.owner[job_id], job_id, *said)
        self.text = json.dumps(gate.state())
        again = Gate(self.limits, now, json.loads(self.text), self.weights)
        assert json.dumps(again.state()) == self.text
        return answer

    @rule(weights=weights)
    def start_again(self, weights: dict[str, int]) -> None:
        self.weights = weights

    def living(self) -> list[str]:
        return [job_id for job_id, until in self.alive_until.items() if until >= self.seconds]

    def jobs(self) -> st.SearchStrategy[str]:
        return st.sampled_from(sorted(self.owner))

    @rule(owner=owners)
    def arrive(self, owner: str) -> None:
        job_id = f"{next(self.numbers):06}"
        self.owner[job_id] = owner
        self.ask(job_id)

    @precondition(lambda self: self.owner)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        self.ask(data.draw(self.jobs()))

    @precondition(lambda self: self.told)
    @rule()
    def ask_when_told(self) -> None:
        job_id = min(self.told, key=lambda job_id: self.asked_at[job_id] + self.told[job_id]["seconds"])
        self.seconds = max(self.seconds, self.asked_at[job_id] + self.told[job_id]["seconds"])
        self.ask(job_id)

    def ask(self, job_id: str) -> None:
        before, text = self.living(), self.text
        held = job_id in (json.loads(text) or {"leases": ()})["leases"]
        answer = self.do("ask", job_id)
        if job_id in before:
            assert answer == {"admitted": True}
        elif answer["admitted"] and held:
            pass  # silent for longer than promised, but so were all: it has its place still
        elif answer["admitted"]:
            assert self.limits.max_running is None or len(before) < self.limits.max_running
            self.admissions.append(self.seconds)
            self.unused[job_id] = self.seconds
            self.told.pop(job_id, None)
            assert self.do("ask", job_id) == answer
            self.check_that_waiving_makes_it_undone(text, job_id)
        else:
            assert 0.25 <= answer["seconds"] <= FAR / 1000
            assert answer["position"] >= 1
            assert answer["estimate"] >= 0
            self.asked_at[job_id], self.told[job_id] = self.seconds, answer
            assert self.do("ask", job_id) == answer
        if answer["admitted"]:
            self.alive_until[job_id] = max(self.alive_until.get(job_id, 0), self.seconds + LEASE / 1000)

    def check_that_waiving_makes_it_undone(self, before: str, job_id: str) -> None:
        """All is as if it had left before, the order too; only who is late may have been passed over by its owner."""
        now, owner = START + timedelta(seconds=self.seconds), self.owner[job_id]
        admitted = Gate(self.limits, now, json.loads(self.text), self.weights)
        waiting = Gate(self.limits, now, json.loads(before), self.weights)
        admitted.waive(owner, job_id)
        waiting.leave(owner, job_id)
        made, wanted = admitted.state(), waiting.state()
        assert sorted(line[0::2] for line in made["lines"]) == sorted(line[0::2] for line in wanted["lines"])
        turns = {"lines": 0, "weights": 0}
        assert made | turns == wanted | turns
        if all(due >= now.timestamp() * 1000 for line in made["lines"] for due in line[3]):
            assert positions(made, now, self.weights) == positions(wanted, now, self.weights)

    @precondition(lambda self: self.unused)
    @rule(data=st.data())
    def waive(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.unused)))
        ran = json.loads(self.text)["ran"]
        now = START + timedelta(seconds=self.seconds)
        held = job_id in Gate(self.limits, now, json.loads(self.text), self.weights).state()["leases"]
        self.do("waive", job_id)
        once = self.text
        self.do("waive", job_id)
        assert self.text == once
        assert json.loads(once)["ran"] == ran
        self.told.pop(job_id, None)
        self.alive_until.pop(job_id, None)
        if held:
            self.admissions.remove(self.unused[job_id])
        del self.unused[job_id]

    @precondition(lambda self: self.owner)
    @rule(data=st.data(), seconds=st.integers(1, 3600))
    def stay(self, data: st.DataObject, seconds: int) -> None:
        job_id = data.draw(self.jobs())
        self.do("stay", job_id, seconds)
        self.unused.pop(job_id, None)
        self.told.pop(job_id, None)
        until = self.seconds + seconds + LEASE / 1000
        self.alive_until[job_id] = max(self.alive_until.get(job_id, 0), until)

    @precondition(lambda self: self.owner)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        job_id = data.draw(self.jobs())
        self.do("leave", job_id)
        once = self.text
        self.do("leave", job_id)
        assert self.text == once
        self.unused.pop(job_id, None)
        self.told.pop(job_id, None)
        self.alive_until.pop(job_id, None)

    @precondition(lambda self: self.living())
    @rule(
        data=st.data(),
        code=st.sampled_from(["too_many_running", "rate_limited", "provider_error", ""]),
        seconds=st.integers(0, 90),
    )
    def back(self, data: st.DataObject, code: str, seconds: int) -> None:
        job_id = data.draw(st.sampled_from(self.living()))
        self.do("back", job_id, code, seconds)
        once = self.text
        self.do("back", job_id, code, seconds)
        assert self.text == once
        self.unused.pop(job_id, None)
        self.alive_until.pop(job_id)

    @rule(seconds=st.one_of(st.floats(0, 15), st.floats(0, 90), st.floats(90, 4000)))
    def let_time_pass(self, seconds: float) -> None:
        self.seconds = round(self.seconds + seconds, 3)

    @invariant()
    def never_more_creates_than_allowed_in_any_minute(self) -> None:
        most = self.limits.creates_per_minute
        if most is not None and len(self.admissions) > most:
            assert self.admissions[-1] - self.admissions[-1 - most] > MINUTE

    @invariant()
    def no_ticket_is_lost(self) -> None:
        state = json.loads(self.text)
        if not state:
            return
        waiting = [job_id for _, _, jobs, _ in state["lines"] for job_id in jobs]
        assert len(set(waiting) | set(state["leases"])) == len(waiting) + len(state["leases"])
        for _, _, jobs, due in state["lines"]:
            assert jobs
            assert jobs == sorted(jobs)
            assert len(jobs) == len(due)
        heard = (state["heard"] - START.timestamp() * 1000) / 1000
        for job_id, answer in self.told.items():
            if heard <= self.asked_at[job_id] + answer["seconds"] + KEEP / 1000:
                assert job_id in waiting
        assert all(job_id in state["leases"] for job_id, until in self.alive_until.items() if until >= heard)


AnySequence.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
test_any_sequence = pytest.mark.slow(AnySequence.TestCase)


@dataclass
class Visit:
    """One job in a simulation: when it comes, how long its task runs, and what became of it."""

    owner: str
    comes: float
    runs: float
    job_id: str = ""
    admitted: float = -1.0
    ends: float = -1.0
    older: int = 0
    refusals: int = 0


def simulate(
    limits: Limits, visits: list[Visit], refuses_above: int | None = None, weights: dict[str, int] | None = None
) -> list[Visit]:
    """Every job asks when it was told to, says that it runs, and leaves when it is done. In order of admission.

    A provider that runs `refuses_above` tasks refuses the next: that job comes back after 15 s.
    """
    text, order, running = "null", [], set()
    for number, visit in enumerate(sorted(visits, key=lambda visit: visit.comes)):
        visit.job_id = f"{number:06}"
    numbers = itertools.count()
    agenda = [(visit.comes, next(numbers), "ask", visit) for visit in visits]
    heapq.heapify(agenda)
    while agenda:
        at, _, operation, visit = heapq.heappop(agenda)
        assert at < 40 * 24 * 3600, "somebody starves"
        gate = Gate(limits, START + timedelta(seconds=at), json.loads(text), weights)
        if operation == "ask":
            if visit.job_id not in text:
                visit.older = sum(other.owner == visit.owner and other.job_id < visit.job_id
                                  for other in visits if other.comes <= at and other.admitted < 0)  # fmt: skip
            answer = gate.ask(visit.owner, visit.job_id)
            if not answer["admitted"]:
                heapq.heappush(agenda, (at + answer["seconds"], next(numbers), "ask", visit))
            elif refuses_above is not None and len(running) >= refuses_above:
                visit.refusals += 1
                gate.back(visit.owner, visit.job_id, "too_many_running", 15)
                heapq.heappush(agenda, (at + 15, next(numbers), "ask", visit))
            else:
                gate.stay(visit.owner, visit.job_id, visit.runs)
                running.add(visit.job_id)
                visit.admitted, visit.ends = at, at + visit.runs
                order.append(visit)
                heapq.heappush(agenda, (visit.ends, next(numbers), "leave", visit))
        else:
            gate.leave(visit.owner, visit.job_id)
            running.discard(visit.job_id)
        text = json.dumps(gate.state())
    assert [json.loads(text)[name] for name in ("lines", "leases")] == [[], {}]
    return order


def check_limits(limits: Limits, order: list[Visit]) -> None:
    if limits.max_running is not None:
        for visit in order:
            others = [one for one in order if one.admitted <= visit.admitted < one.ends]
            assert len(others) <= limits.max_running
    if limits.creates_per_minute is not None:
        for first, last in zip(order, order[limits.creates_per_minute :], strict=False):
            assert last.admitted - first.admitted > MINUTE


visits = st.lists(
    st.builds(Visit, owners, st.integers(0, 600).map(float), st.integers(1, 300).map(float)), min_size=1, max_size=40
)


@settings(max_examples=200)
@given(limits, visits, weights)
def test_everybody_is_served_within_the_limits_and_in_turn(
    limits: Limits, visits: list[Visit], weights: dict[str, int]
) -> None:
    """All are admitted, within the limits, and no owner has more turns than its weight says while another waits."""
    order = simulate(limits, visits, weights=weights)
    assert len(order) == len(visits)
    check_limits(limits, order)
    # while a job waits, another owner has its turns once for each turn that the older jobs of the first one take, once
    # more, and as often as it was decided when the job came: for the places that were being kept
    spare = max(limit for limit in (limits.max_running, limits.creates_per_minute) if limit)
    for visit in order:
        served = [one for one in order if visit.comes <= one.admitted < visit.admitted]
        own = weights.get(visit.owner, 1)
        for owner, times in Counter(one.owner for one in served if one.owner != visit.owner).items():
            assert times <= weights.get(owner, 1) * ((visit.older + own - 1) // own + 1) + spare


@settings(max_examples=60)
@given(limits, st.integers(1, 9), st.integers(1, 9), st.integers(0, 60).map(float))
def test_two_owners_that_always_wait_share_by_their_weights(limits: Limits, ada: int, bob: int, later: float) -> None:
    """However a span of admissions is cut out, neither has more than its turns of the rounds that the other is in."""
    weight = {"ada": ada, "bob": bob}
    order = simulate(
        limits, [Visit(one, at, 20.0) for one, at in (("ada", 0.0), ("bob", later)) for _ in range(24)], weights=weight
    )
    spare = max(limit for limit in (limits.max_running, limits.creates_per_minute) if limit)
    last = min(max(place for place, one in enumerate(order) if one.owner == owner) for owner in weight)
    names = [one.owner for one in order[:last] if one.admitted > later]
    for start in range(len(names)):
        times = dict.fromkeys(weight, 0)
        for owner in names[start:]:
            times[owner] += 1
            other = "bob" if owner == "ada" else "ada"
            assert times[owner] <= weight[owner] * (times[other] // weight[other] + 1) + spare


@settings(max_examples=100)
@given(st.lists(owners, min_size=1, max_size=20), st.integers(0, 12), weights, weights)
def test_positions_come_true(
    arrivals: list[str], served: int, weights: dict[str, int], later: dict[str, int]
) -> None:  # fmt: skip
    """From any point of any turn, also when the weights are others from there on, jobs come in as they were told."""
    owner_of = {f"{number:02}": owner for number, owner in enumerate(arrivals)}
    gate = Gate(Limits(1), START, None, weights)
    gate.ask("x", "running")
    for job_id, owner in owner_of.items():
        gate.ask(owner, job_id)
    state = gate.state()

    def next_in(weights: dict[str, int]) -> str:
        """Whom of all who ask the one place is given to, when it becomes free."""
        nonlocal state
        gate = Gate(Limits(1), START, {**state, "leases": {}}, weights)
        (admitted,) = [job_id for job_id in owner_of if gate.ask(owner_of[job_id], job_id)["admitted"]]
        state = gate.state()
        del owner_of[admitted]
        return admitted

    for _ in range(min(served, len(arrivals))):
        next_in(weights)
    told = positions(state, START, later)
    assert sorted(told.values()) == list(range(1, len(told) + 1))
    assert [next_in(later) for _ in told] == sorted(told, key=told.__getitem__)


@settings(max_examples=60)
@given(st.integers(1, 3), visits)
def test_a_provider_that_runs_fewer_than_configured_is_found_out(really: int, visits: list[Visit]) -> None:
    """With four configured and fewer in truth nobody starves, and nothing is held up for good."""
    order = simulate(Limits(max_running=4), visits, refuses_above=really)
    assert len(order) == len(visits)
    check_limits(Limits(max_running=really), order)


def test_who_was_late_does_not_catch_up() -> None:
    """An owner that was passed over for minutes has the turn it missed, and then one in each round like everybody."""
    waiting = {f"{owner}{number}": owner for owner in ("late", "ada", "bob") for number in range(9)}
    gate = Gate(Limits(1), START)
    gate.ask("x", "running")
    for job_id, owner in waiting.items():
        gate.ask(owner, job_id)
    state, order = gate.state(), []
    for step in range(14):
        now = START + timedelta(seconds=80 + 10 * step)
        asking = [job_id for job_id, owner in waiting.items() if owner != "late" or step >= 8]
        gate = Gate(Limits(1), now, state)
        for job_id in asking:  # while the place is taken
            gate.ask(waiting[job_id], job_id)
        gate = Gate(Limits(1), now, {**gate.state(), "leases": {}})
        (admitted,) = [job_id for job_id in asking if gate.ask(waiting[job_id], job_id)["admitted"]]
        order.append(waiting.pop(admitted))
        state = gate.state()
    assert order[:8] == ["ada", "bob"] * 4
    assert order[8] == "late"
    assert Counter(order[8:]).most_common(1)[0][1] <= 3


def test_many_waived_jobs_give_back_one_turn_at_most() -> None:
    """An owner that was alone, had twenty jobs let in and cancelled them all, is not twenty turns ahead of the next."""
    gate = Gate(Limits(20), START)
    for number in range(23):
        gate.ask("ada", f"ada{number:02}")
    for number in range(20):
        gate.waive("ada", f"ada{number:02}")
    gate = Gate(Limits(1), START, gate.state())
    gate.stay("x", "running", 60)
    assert gate.ask("bob", "bob")["position"] == 3


def test_refusals_stay_few() -> None:
    """Sixty jobs at a provider that runs two of the eight configured: a dozen refusals, and hardly any time lost."""
    order = simulate(Limits(max_running=8), [Visit("ada", 0.0, 120.0) for _ in range(60)], refuses_above=2)
    assert sum(visit.refusals for visit in order) <= 12
    assert max(visit.ends for visit in order) <= 1.1 * 30 * 120


def test_the_last_in_of_a_light_owner_starts_within_one_round() -> None:
    """Two hundred jobs of nine owners wait; one more of a tenth is served within the next ten admissions."""
    heavy = [Visit(f"owner {number % 9}", 0.0, 60.0) for number in range(200)]
    light = Visit("light", 30.0, 60.0)
    order = simulate(Limits(2, 10), [*heavy, light])
    assert sum(one.admitted > light.comes for one in order[: order.index(light)]) <= 9


@pytest.mark.parametrize(
    ("limits", "runs", "ideal"),
    [
        (Limits(max_running=2), 120.0, 120 * 100),
        (Limits(max_running=20), 120.0, 120 * 10),
        (Limits(max_running=10), 10.0, 10 * 20),
        (Limits(creates_per_minute=10), 30.0, 62 * 19 + 30),
        (Limits(2, 10), 60.0, 60 * 100),
    ],
)
def test_places_are_used(limits: Limits, runs: float, ideal: float) -> None:
    """Two hundred jobs take at most a quarter longer than if each knew at once that a place is free."""
    order = simulate(limits, [Visit(f"owner {number % 7}", 0.0, runs) for number in range(200)])
    check_limits(limits, order)
    assert max(visit.ends for visit in order) <= 1.25 * ideal
