"""The gate by example: turns, waits, leases, and what it learns."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from reelkeeper import names
from reelkeeper.gate import Gate, Limits

START = datetime(2026, 11, 20, 9, 0, tzinfo=timezone.utc)


class Door:
    """A gate with its state kept as JSON between operations, as an entity keeps it, and a clock to move."""

    def __init__(self, max_running: int | None = None, per_minute: int | None = None, **weights: int) -> None:
        self.limits, self.weights, self.now, self.text = Limits(max_running, per_minute), weights, START, "null"

    def ask(self, owner: str, job_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._do("ask", owner, job_id)
        return answer

    def stay(self, owner: str, job_id: str, seconds: float = 600) -> None:
        self._do("stay", owner, job_id, seconds)

    def leave(self, owner: str, job_id: str) -> None:
        self._do("leave", owner, job_id)

    def back(self, owner: str, job_id: str, code: str = "too_many_running", seconds: float = 15) -> None:
        self._do("back", owner, job_id, code, seconds)

    def waive(self, owner: str, job_id: str) -> None:
        self._do("waive", owner, job_id)

    def run(self, owner: str, job_id: str) -> None:
        """Admitted, with a task."""
        assert self.ask(owner, job_id) == {"admitted": True}
        self.stay(owner, job_id)

    def wait(self, **by: float) -> None:
        self.now += timedelta(**by)

    def one_after_another(self, running: tuple[str, str], *following: tuple[str, str]) -> tuple[str, str]:
        """Each is admitted once the one before has left; the last one, which runs."""
        for job in following:
            self.leave(*running)
            assert self.ask(*job)["admitted"]
            running = job
        return running

    def admitted(self, *jobs: tuple[str, str]) -> list[str]:
        """Which of these jobs, asking in this order, are let in."""
        return [job_id for owner, job_id in jobs if self.ask(owner, job_id)["admitted"]]

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found

    def _do(self, operation: str, *said: Any) -> Any:
        gate = Gate(self.limits, self.now, json.loads(self.text), self.weights)
        answer = getattr(gate, operation)(*said)
        self.text = json.dumps(gate.state())
        return answer


def jobs(owner: str, count: int) -> list[tuple[str, str]]:
    """`count` jobs of an owner, oldest first."""
    return [(owner, f"{owner}-{number:04}") for number in range(count)]


def test_places_are_given_until_there_are_none() -> None:
    """As many as may run are admitted at once; the next is told its position and when to ask again."""
    door = Door(max_running=2)
    assert door.admitted(*jobs("ada", 5)) == ["ada-0000", "ada-0001"]
    assert door.ask("ada", "ada-0004") == {"admitted": False, "seconds": 6.0, "position": 3, "estimate": 240}
    door.leave("ada", "ada-0000")
    assert door.admitted(*reversed(jobs("ada", 5)[2:])) == ["ada-0002"]


def test_a_single_job_behind_five_hundred_waits_one_turn() -> None:
    """However many jobs another owner has in line, the first of a new owner is the second next."""
    door = Door(max_running=1)
    door.run("heavy", "heavy-running")
    for owner, job_id in jobs("heavy", 500):
        door.ask(owner, job_id)
    assert door.ask("light", "one")["position"] == 2
    door.leave("heavy", "heavy-running")
    assert door.admitted(("light", "one"), ("heavy", "heavy-0001"), ("heavy", "heavy-0000")) == ["heavy-0000"]
    door.leave("heavy", "heavy-0000")
    assert door.admitted(("heavy", "heavy-0001"), ("light", "one")) == ["one"]


def test_a_turn_that_was_begun_counts() -> None:
    """An owner with weight 3 that had one of its three turns has two more before the next owner."""
    door = Door(max_running=2, a=3)
    door.run("x", "first")
    door.run("x", "second")
    for job in (*jobs("a", 4), *jobs("b", 1)):
        door.ask(*job)
    door.leave("x", "first")
    assert door.admitted(*jobs("a", 4)) == ["a-0000"]
    assert [door.ask(*job)["position"] for job in (*jobs("a", 4)[1:], *jobs("b", 1))] == [1, 2, 4, 3]


def test_turns_go_round_and_the_older_job_is_first() -> None:
    """Three owners with lines of different length are served in turn, each line oldest first, whoever asks first."""
    door = Door(max_running=1)
    door.run("x", "first")
    waiting = [*jobs("a", 3), *jobs("b", 1), *jobs("c", 2)]
    for owner, job_id in reversed(waiting):
        door.ask(owner, job_id)
    order, before = [], ("x", "first")
    while waiting:
        door.leave(*before)
        (admitted,) = door.admitted(*waiting)
        before = next(job for job in waiting if job[1] == admitted)
        waiting.remove(before)
        order.append(admitted)
    assert order == ["c-0000", "b-0000", "a-0000", "c-0001", "a-0001", "a-0002"]


def test_a_weight_is_so_many_turns_in_a_row() -> None:
    """With weight 2 an owner has two of three turns, and positions say so."""
    door = Door(max_running=1, a=2)
    door.run("x", "first")
    waiting = [*jobs("a", 5), *jobs("b", 3)]
    for job in waiting:
        door.ask(*job)
    ranks = {job: door.ask(*job)["position"] for job in waiting}
    expected = ["a-0000", "a-0001", "b-0000", "a-0002", "a-0003", "b-0001", "a-0004", "b-0002"]
    assert [job_id for _, job_id in sorted(ranks, key=ranks.__getitem__)] == expected
    door.leave("x", "first")
    for job_id in expected:
        (admitted,) = door.admitted(*[job for job in waiting if job[1] >= job_id[:1]])
        assert admitted == job_id
        door.leave(job_id[0], job_id)
        waiting.remove((job_id[0], job_id))


def test_the_rate_is_kept_and_the_wait_is_exact() -> None:
    """Three a minute: the fourth is told the very moment at which the first falls out of the window."""
    door = Door(per_minute=3)
    for number in range(3):
        assert door.ask("ada", f"{number}")["admitted"]
        door.wait(seconds=5)
    assert door.ask("ada", "3") == {"admitted": False, "seconds": 47.0, "position": 1, "estimate": 47}
    assert door.ask("ada", "4")["seconds"] == 52.0
    assert door.ask("ada", "6")["position"] == 3
    door.wait(seconds=46.9)
    assert door.ask("ada", "3")["admitted"] is False
    door.wait(seconds=0.1)
    assert door.admitted(("ada", "4"), ("ada", "3")) == ["3"]


@pytest.mark.parametrize(("position", "seconds"), [(1, 2), (2, 4), (10, 20), (30, 60), (31, 60), (500, 60)])
def test_who_is_far_behind_asks_seldom(position: int, seconds: float) -> None:
    """Two seconds for each position, never more than a minute: five hundred waiting jobs are nine asks a second."""
    door = Door(max_running=1)
    door.run("x", "first")
    answers = [door.ask(*job) for job in jobs("ada", position)]
    assert (answers[-1]["position"], answers[-1]["seconds"]) == (position, seconds)


def test_short_leases_shorten_the_waits() -> None:
    """Where a turn takes ten seconds, who is thirtieth of a gate with ten places asks well before its turn may come."""
    door = Door(max_running=10)
    for job in jobs("ada", 10):
        door.run(*job)
    door.wait(seconds=10)
    for job in jobs("ada", 10):
        door.leave(*job)
    for job in jobs("bob", 10):
        door.run(*job)
    answers = [door.ask(*job) for job in jobs("cleo", 30)]
    assert [answers[place - 1]["estimate"] for place in (1, 10, 11, 30)] == [10, 10, 20, 30]
    assert [answers[place - 1]["seconds"] for place in (1, 2, 10, 11, 30)] == [2, 4, 5, 10, 15]


def test_until_a_task_has_ended_its_length_is_guessed() -> None:
    """Two minutes, or what the oldest lease has lasted by now. The waits know better than to trust that."""
    door = Door(max_running=1)
    door.run("x", "first")
    known = []
    for seconds in (0, 50, 70, 180):
        door.wait(seconds=seconds)
        answers = [door.ask(*job) for job in jobs("ada", 30)]
        known.append([answers[0]["estimate"], answers[1]["estimate"], answers[29]["seconds"]])
    assert known == [[120, 240, 60], [70, 190, 60], [0, 120, 60], [0, 300, 60]]
    door.leave("x", "first")
    door.run("ada", "ada-0000")
    door.wait(seconds=100)
    assert [door.ask(*job)["estimate"] for job in jobs("ada", 3)[1:]] == [200, 500]
    door = Door(max_running=10)
    door.admitted(*jobs("x", 10))
    door.wait(seconds=110)
    assert [door.ask(*job)["seconds"] for job in jobs("ada", 9)][-1] == 18


def test_long_leases_lengthen_the_waits() -> None:
    """While all places are taken nobody asks sooner than after a twentieth of the time that the youngest lease has."""
    door = Door(max_running=2)
    door.run("x", "old")
    door.wait(seconds=600)
    door.limits = Limits(1)
    assert door.ask("ada", "a")["seconds"] == 30
    door.limits = Limits(2)
    door.stay("x", "young")
    door.wait(seconds=80)
    assert door.ask("ada", "a")["seconds"] == 4
    door.leave("x", "young")
    assert door.ask("bob", "b")["seconds"] == 2  # there is a free place, though not for bob


def test_a_free_place_is_kept_for_the_next_in_turn() -> None:
    """Whoever asks before it is its turn is not let in, as long as the one before it is on time."""
    door = Door(max_running=1)
    door.run("x", "first")
    assert door.ask("ada", "a")["seconds"] == 2
    door.ask("bob", "b")
    door.leave("x", "first")
    door.wait(seconds=11.9)
    assert not door.ask("bob", "b")["admitted"]
    assert door.ask("ada", "a")["admitted"]


def test_a_late_job_is_passed_over_but_keeps_its_turn() -> None:
    """The place goes to the next; when the late one asks at last it is the first in line."""
    door = Door(max_running=1)
    door.run("x", "first")
    for job in (("ada", "a"), ("bob", "b"), ("cleo", "c")):
        door.ask(*job)
    door.leave("x", "first")
    door.wait(seconds=13)
    assert door.admitted(("bob", "b")) == ["b"]
    assert door.ask("ada", "a")["position"] == 1
    assert door.ask("cleo", "c")["position"] == 2


def test_a_job_that_stopped_asking_is_dropped() -> None:
    """Five minutes after it was due it is counted no longer; should it ask after all, it is in line again."""
    door = Door(max_running=1)
    door.run("x", "first")
    door.ask("ada", "a")
    for _ in range(6):
        door.wait(seconds=60)
        door.ask("bob", "b")
    assert door.ask("bob", "b")["position"] == 1
    assert door.ask("ada", "a")["position"] == 2


def test_a_lost_job_frees_its_place() -> None:
    """A lease ends a quarter of an hour after the promised sign of life, while others wait for it."""
    door = Door(max_running=1)
    door.run("ada", "lost")
    answers = []
    for _ in range(27):
        answers.append(door.ask("bob", "b")["admitted"])
        door.wait(seconds=60)
    assert answers == [False] * 26 + [True]


def test_a_sign_of_life_keeps_the_place() -> None:
    """However long a generation takes, a job that says so in time is never taken for lost."""
    door = Door(max_running=1)
    door.run("ada", "long")
    for minute in range(240):
        if minute % 10 == 0:
            door.stay("ada", "long", 600)
        assert not door.ask("bob", "b")["admitted"]
        door.wait(seconds=60)


def test_asking_is_a_sign_of_life_too() -> None:
    """A job that was admitted and is started again before its create has its whole lease before it."""
    door = Door(max_running=1)
    assert door.ask("ada", "a")["admitted"]
    for _ in range(14):
        door.wait(seconds=60)
        door.ask("bob", "b")
    assert door.ask("ada", "a")["admitted"]
    for _ in range(15):
        assert not door.ask("bob", "b")["admitted"]
        door.wait(seconds=60)
    assert not door.ask("bob", "b")["admitted"]
    door.wait(seconds=1)
    assert door.ask("bob", "b")["admitted"]


@pytest.mark.parametrize("hours", [0.1, 1, 100])
def test_an_outage_of_ours_costs_no_job_its_place(hours: float) -> None:
    """When everybody was silent, nobody is lost: leases and turns are as they were."""
    door = Door(max_running=1)
    door.run("ada", "running")
    for job in jobs("bob", 3):
        door.ask(*job)
    door.wait(hours=hours)
    assert [door.ask(*job)["position"] for job in reversed(jobs("bob", 3))] == [3, 2, 1]
    for _ in range(30):  # from here on time counts again: a job that does not come back is lost
        door.wait(seconds=60)
        door.ask(*jobs("bob", 1)[0])
    assert list(door.state["leases"]) == ["bob-0000"]


def test_asking_twice_leaving_twice_and_leaving_unheard_of_change_nothing() -> None:
    """Every operation may come again, and for jobs that the gate does not know."""
    door = Door(max_running=1, per_minute=2)
    assert door.admitted(("ada", "a"), ("ada", "a"), ("ada", "b"), ("ada", "b")) == ["a", "a"]
    once = door.state
    door.leave("bob", "never seen")
    door.back("bob", "never seen")
    door.back("ada", "b")
    assert door.ask("ada", "b")["position"] == 1
    assert door.state == once
    for _ in range(2):
        door.leave("ada", "a")
        assert not door.state["leases"]
    assert door.admitted(("ada", "b"), ("ada", "c")) == ["b"]


def test_a_waiting_job_may_leave() -> None:
    """A cancelled job makes room for those behind it at once."""
    door = Door(max_running=1)
    door.run("x", "first")
    door.ask("ada", "a")
    door.ask("bob", "b")
    door.leave("ada", "a")
    assert door.ask("bob", "b")["position"] == 1


@pytest.mark.parametrize("weight", [1, 2, 3])
def test_a_waived_job_never_was_admitted(weight: int) -> None:
    """Neither the rate nor the turns nor what is known of tasks shows that it was; the next ones come up at once."""
    door, other = Door(max_running=1, per_minute=2, a=weight), Door(max_running=1, per_minute=2, a=weight)
    turn = jobs("b", 1)[0] if weight == 1 else jobs("a", 2)[1]
    for each in (door, other):
        each.run("x", "first")
        for job in (*jobs("a", 4), *jobs("b", 2)):
            each.ask(*job)
        each.wait(seconds=30)
        each.leave("x", "first")
        assert each.admitted(*jobs("a", 1)) == ["a-0000"]
        each.leave(*jobs("a", 1)[0])
        each.wait(seconds=32)
    assert door.admitted(turn) == [turn[1]]
    for _ in range(2):
        door.waive(*turn)
    other.leave(*turn)  # cancelled before it was admitted
    told = []
    for each in (door, other):
        each.stay("x", "next")
        waiting = [job for job in (*jobs("a", 4)[1:], *jobs("b", 2)) if job != turn]
        told.append([each.ask(*job) for job in waiting])
    assert told[0] == told[1]
    assert [{**door.state, "lines": 0, "weights": 0}] == [{**other.state, "lines": 0, "weights": 0}]


def test_five_hundred_cancelled_jobs_use_up_nothing() -> None:
    """Each is let in, turns out to need no create, and the ten of this minute are still there for others."""
    door = Door(max_running=1, per_minute=10)
    for job in jobs("ada", 500):
        assert door.ask(*job) == {"admitted": True}
        door.waive(*job)
    assert (door.state["admitted"], door.state["leases"], door.state["ran"]) == ([], {}, [])
    for job in jobs("bob", 10):
        door.run(*job)
        door.leave(*job)
    assert not door.ask("bob", "eleventh")["admitted"]


def test_waiving_takes_back_only_the_job_s_own_admission() -> None:
    """One that was refused and stands in line again had a create before; one that only waits gives up its ticket."""
    door = Door(per_minute=2)
    door.ask("ada", "a")
    door.back("ada", "a", "provider_error", 5)
    door.wait(seconds=5)
    assert door.ask("ada", "a")["admitted"]
    assert not door.ask("bob", "b")["admitted"]
    door.waive("ada", "a")
    assert door.ask("bob", "b")["admitted"]
    assert not door.ask("cleo", "c")["admitted"]
    for job in (("cleo", "c"), ("dan", "never seen"), ("ada", "a")):
        door.waive(*job)
    assert (door.state["lines"], len(door.state["admitted"])) == ([], 2)


def test_jobs_that_run_already_come_back_as_running() -> None:
    """An entity that was lost is told by the running jobs that they run, and admits only what is left."""
    door = Door(max_running=3)
    door.stay("ada", "a")
    door.stay("bob", "b")
    assert door.admitted(*jobs("cleo", 3)) == ["cleo-0000"]
    door.stay("cleo", "cleo-0001")  # whose ticket is torn up: it runs, whoever let it in
    assert door.ask("cleo", "cleo-0002")["position"] == 1
    assert len(door.state["leases"]) == 4


def test_too_many_running_lowers_the_limit_to_what_runs() -> None:
    """Five are admitted, two run, three are refused: it is two from now on, and the refused are the next ones."""
    door = Door(max_running=5)
    everybody = jobs("ada", 5)
    assert len(door.admitted(*everybody)) == 5
    for job in everybody[:2]:
        door.stay(*job)
    for job in everybody[2:]:
        door.back(*job)
    door.wait(seconds=15)
    answers = [door.ask(*job) for job in [*everybody[2:], *jobs("bob", 1)]]
    assert [answer.get("position") for answer in answers] == [1, 2, 3, 2]
    door.leave(*everybody[0])
    assert door.admitted(*jobs("bob", 1), *everybody[2:]) == ["ada-0002"]


def test_the_limit_recovers_step_by_step() -> None:
    """One more is tried after a minute; after two, four... if that is refused; and so on up to the configured limit."""
    door = Door(max_running=4)
    everybody = jobs("ada", 9)
    door.admitted(*everybody[:2])
    door.stay(*everybody[0])
    door.back(*everybody[1])
    tried = []
    for second in range(0, 1000, 5):
        door.wait(seconds=5)
        if second % 300 == 0:
            door.stay(*everybody[0])
        if door.ask(*everybody[1])["admitted"]:
            tried.append(second + 5)
            door.back(*everybody[1])
    assert tried == [60, 180, 420, 900]
    for seconds, more in ((860, 2), (960, 3), (960, 4)):
        door.wait(seconds=seconds - 1)
        assert len(door.admitted(*everybody)) == more - 1
        door.wait(seconds=1)
        assert len(door.admitted(*everybody)) == more
    assert door.state["learned"] is None


def test_refusals_of_one_burst_count_once() -> None:
    """Eight jobs refused for the same reason do not slow the recovery down eight times."""
    door = Door(max_running=10)
    everybody = jobs("ada", 10)
    door.admitted(*everybody)
    for job in everybody[:2]:
        door.stay(*job)
    for job in everybody[2:]:
        door.back(*job)
        door.wait(seconds=1)
    assert door.state["learned"][2] == 60_000


def test_when_nothing_of_ours_runs_a_refusal_stops_everybody_for_a_while() -> None:
    """Somebody else fills the provider: one try each time the wait is over, not one for each waiting job."""
    door = Door(max_running=3)
    assert door.admitted(*jobs("ada", 1)) == ["ada-0000"]
    door.back("ada", "ada-0000", seconds=15)
    assert door.admitted(*jobs("bob", 5)) == []
    door.wait(seconds=15)
    assert door.admitted(*jobs("ada", 1), *jobs("bob", 5)) == ["ada-0000"]


def test_a_limit_that_nobody_configured_is_learned_and_forgotten() -> None:
    """Without max_running a refusal still slows the gate, until as many run as want to."""
    door = Door(per_minute=50)
    everybody = jobs("ada", 4)
    door.admitted(*everybody)
    door.stay(*everybody[0])
    for job in everybody[1:]:
        door.back(*job)
    assert door.admitted(*everybody) == ["ada-0000"]
    for running in (2, 3, 4):
        assert door.state["learned"]
        door.wait(seconds=60)
        assert len(door.admitted(*everybody)) == running
    assert door.state["learned"] is None


def test_rate_limited_stops_everybody_as_long_as_the_provider_said() -> None:
    """Nobody else runs into the same refusal; the job that did is first again, and the pause is in its wait."""
    door = Door(max_running=3)
    door.admitted(*jobs("ada", 1))
    door.back("ada", "ada-0000", "rate_limited", 90)
    door.wait(seconds=40)
    assert door.ask("bob", "b")["seconds"] == 50
    door.wait(seconds=50)
    assert door.admitted(("ada", "ada-0000"), ("bob", "b")) == ["ada-0000", "b"]


def test_who_comes_back_is_next() -> None:
    """Its turn had come and was of no use: it does not stand behind the owners that waited all along."""
    door = Door(max_running=2)
    door.run("x", "first")
    assert door.ask("ada", "a")["admitted"]
    for owner in ("bob", "cleo"):
        door.ask(owner, owner)
    door.back("ada", "a", "provider_error", 5)
    assert door.ask("bob", "bob")["admitted"]  # no place is kept for it while it cannot ask
    door.wait(seconds=5)
    assert door.ask("ada", "a")["position"] == 1
    assert door.ask("cleo", "cleo")["position"] == 2


def test_of_several_turns_only_the_refused_one_is_taken_again() -> None:
    """The last of three turns in a row comes to nothing: one more, not three more, before the next owner."""
    door = Door(max_running=1, a=3)
    door.run("x", "first")
    for job in (*jobs("a", 8), *jobs("b", 1)):
        door.ask(*job)
    before = door.one_after_another(("x", "first"), *jobs("a", 3))
    door.back(*before, "provider_error", 0)
    assert door.admitted(*reversed(jobs("a", 8)), *jobs("b", 1)) == ["a-0002"]
    door.leave(*before)
    assert door.admitted(*jobs("a", 8), *jobs("b", 1)) == ["b-0000"]


def test_a_weight_that_was_lowered_in_the_middle_of_a_turn_holds_at_once() -> None:
    """The owner has had more than its turn by the new weight: one more, and then the others, but never none at all."""
    door = Door(max_running=1, a=5)
    door.run("x", "first")
    for job in (*jobs("a", 9), *jobs("b", 9)):
        door.ask(*job)
    before = door.one_after_another(("x", "first"), *jobs("a", 4))
    door.weights = {}
    waiting, order = [*jobs("a", 9)[4:], *jobs("b", 9)], []
    for _ in range(4):
        door.leave(*before)
        (admitted,) = door.admitted(*waiting)
        before = next(job for job in waiting if job[1] == admitted)
        waiting.remove(before)
        order.append(before[0])
    assert order == ["a", "b", "a", "b"]


def test_another_refusal_only_frees_the_place() -> None:
    """A provider error says nothing about limits: the job comes back, others go on."""
    door = Door(max_running=1)
    door.run("ada", "a")
    door.ask("bob", "b")
    door.back("ada", "a", "provider_error", 5)
    assert door.admitted(("bob", "b")) == ["b"]
    assert (door.state["learned"], door.state["paused"]) == (None, 0)
    assert door.ask("ada", "a")["position"] == 1


def test_without_limits_everybody_passes() -> None:
    """Also those who were waiting when the limits were taken out of the settings."""
    door = Door(max_running=1)
    door.run("x", "first")
    for job in jobs("ada", 20):
        door.ask(*job)
    door.limits = Limits()
    assert not door.limits
    assert len(door.admitted(*reversed(jobs("ada", 20)))) == 20
    assert door.state["lines"] == []


def test_a_limit_that_was_lowered_admits_nobody_until_enough_have_left() -> None:
    """Settings may change while jobs run."""
    door = Door(max_running=3)
    for job in jobs("ada", 3):
        door.run(*job)
    door.limits = Limits(1)
    door.leave("ada", "ada-0000")
    door.leave("ada", "ada-0001")
    assert door.admitted(("bob", "b")) == []
    door.leave("ada", "ada-0002")
    assert door.admitted(("bob", "b")) == ["b"]


def test_a_clock_that_runs_backwards_is_not_believed() -> None:
    """Another machine may be a little behind: what was admitted stays in the window."""
    door = Door(per_minute=1)
    assert door.ask("ada", "a")["admitted"]
    door.wait(seconds=-30)
    assert door.ask("ada", "b")["seconds"] == 60
    door.wait(seconds=91.9)
    assert not door.ask("ada", "b")["admitted"]
    door.wait(seconds=0.1)
    assert door.ask("ada", "b")["admitted"]


def test_a_thousand_tickets_fit_into_sixty_kilobytes() -> None:
    """Below what Azure Storage keeps in one message, with real job ids and long owners."""
    door = Door(max_running=20, per_minute=60)
    gate = Gate(door.limits, START)
    for number in range(1020):
        gate.ask(f"user_2a{number % 40:022}@tenant.example", names.new_job_id(START))
    assert len(gate.state()["leases"]) == 20
    assert len(json.dumps(gate.state())) < 62_000
