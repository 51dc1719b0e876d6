"""Timer triggers keep to the rules of the WebJobs timer listener, on a virtual clock."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests

from emulator.functions.clock import VirtualClock
from emulator.functions.host import Host
from emulator.functions.settings import StartError

HOURLY = "0 0 * * * *"
NEVER = "0001-01-01T00:00:00+00:00"
HOUR = timedelta(hours=1)


@pytest.fixture
def local_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that sets the process's time zone for one test."""

    def set_zone(zone: str) -> None:
        if not hasattr(time, "tzset"):
            pytest.skip("this system cannot change the time zone of a process")
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    if hasattr(time, "tzset"):
        time.tzset()


@pytest.fixture(autouse=True)
def hourly(monkeypatch: pytest.MonkeyPatch, local_time: Callable[[str], None]) -> None:
    """The app's timer runs every hour and local time is UTC, unless a test says otherwise."""
    monkeypatch.setenv("SCHEDULE", HOURLY)
    local_time("UTC")


def app() -> Any:
    """The module of the app served last."""
    return sys.modules["function_app"]


def at(hour: int, minute: int = 0, *, day: int = 1, month: int = 1) -> datetime:
    return datetime(2025, month, day, hour, minute, tzinfo=timezone.utc)


def text(*moments: datetime) -> list[str]:
    return [moment.isoformat() for moment in moments]


def served() -> list[str]:
    """The occurrences that the app's runs have served."""
    return [status["Next"] for _, status in app().runs]


def test_a_day_of_hours(serve: Callable[..., Host]) -> None:
    """24 virtual hours are 24 runs, each told the last run and the occurrence it serves, none past due."""
    clock = VirtualClock(at(0, 30))
    host = serve("clockwork", clock=clock)
    host.advance(timedelta(days=1))
    assert clock.now() == at(0, 30, day=2)
    assert served() == text(*(at(1) + n * HOUR for n in range(24)))
    assert [status["Last"] for _, status in app().runs] == [NEVER, *served()[:-1]]
    assert not any(past_due for past_due, _ in app().runs)


def test_a_frequent_timer_is_not_monitored(serve: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """Oftener than once a minute: no status, nothing kept, and never past due."""
    monkeypatch.setenv("SCHEDULE", "*/2 * * * * *")
    host = serve("clockwork", clock=VirtualClock(at(0)))
    host.advance(timedelta(minutes=1))
    assert app().runs == [(False, {})] * 30
    assert host.engine.recall("timer:tick") is None


@pytest.mark.parametrize(
    ("schedule", "monitored"),
    [
        ("0 * * * * *", True),
        ("* * * * *", True),
        ("0,30 0 12 * * *", True),
        ("0,30 * * * * *", False),
        ("00:01:00", True),
        ("00:00:59", False),
    ],
)
def test_which_schedules_are_monitored(
    serve: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, schedule: str, monitored: bool
) -> None:
    """Only a schedule that fires oftener than once a minute all the time is not."""
    monkeypatch.setenv("SCHEDULE", schedule)
    host = serve("clockwork", clock=VirtualClock(at(0, 5)))
    assert (host.engine.recall("timer:tick") is not None) == monitored


def test_missed_occurrences_are_served_once_and_past_due(serve: Callable[..., Host], tmp_path: Path) -> None:
    """After a pause over three occurrences one run is past due and serves the first of them; then all is as usual."""
    first = serve("clockwork", data=tmp_path, clock=VirtualClock(at(0, 30)))
    first.advance(HOUR)
    first.stop()
    second = serve("clockwork", data=tmp_path, clock=VirtualClock(at(4, 15)))
    second.engine.settle()
    status = {"Last": at(1).isoformat(), "Next": at(2).isoformat(), "LastUpdated": at(1).isoformat()}
    assert app().runs == [(True, status)]
    second.advance(HOUR)
    status = {"Last": at(4, 15).isoformat(), "Next": at(5).isoformat(), "LastUpdated": at(4, 15).isoformat()}
    assert app().runs[1:] == [(False, status)]


def test_the_very_first_occurrence_can_be_missed_too(serve: Callable[..., Host], tmp_path: Path) -> None:
    """A host that was stopped before its timer ever ran still serves the missed occurrence."""
    serve("clockwork", data=tmp_path, clock=VirtualClock(at(0, 30))).stop()
    host = serve("clockwork", data=tmp_path, clock=VirtualClock(at(1, 30)))
    host.engine.settle()
    assert [(past_due, status["Next"]) for past_due, status in app().runs] == [(True, at(1).isoformat())]


def test_nothing_missed_is_not_past_due(serve: Callable[..., Host], tmp_path: Path) -> None:
    """A restart between two occurrences runs nothing."""
    serve("clockwork", data=tmp_path, clock=VirtualClock(at(0, 30))).stop()
    host = serve("clockwork", data=tmp_path, clock=VirtualClock(at(0, 45)))
    host.engine.settle()
    assert app().runs == []
    host.advance(HOUR)
    assert served() == text(at(1))


def test_a_changed_schedule_starts_over(
    serve: Callable[..., Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a new schedule nothing is past due and there is no last run."""
    first = serve("clockwork", data=tmp_path, clock=VirtualClock(at(0, 30)))
    first.advance(HOUR)
    first.stop()
    monkeypatch.setenv("SCHEDULE", "0 10 * * * *")
    second = serve("clockwork", data=tmp_path, clock=VirtualClock(at(4, 15)))
    second.engine.settle()
    assert app().runs == []
    second.advance(HOUR)
    assert [(status["Last"], status["Next"]) for _, status in app().runs] == [(NEVER, at(5, 10).isoformat())]


def test_run_on_startup(make_app: Callable[..., Path], serve: Callable[..., Host]) -> None:
    """run_on_startup runs at once, not past due, and the schedule counts from then."""
    source = "import azure.functions as func\napp = func.FunctionApp()\nruns = []\n"
    source += '@app.timer_trigger(arg_name="t", schedule="00:10:00", run_on_startup=True, use_monitor=True)\n'
    source += "def tick(t: func.TimerRequest) -> None:\n    runs.append((t.past_due, t.schedule_status))\n"
    host = serve(make_app(source), clock=VirtualClock(at(0)))
    host.engine.settle()
    assert [past_due for past_due, _ in app().runs] == [False]
    host.advance(timedelta(minutes=10))
    assert served() == text(at(0, 10), at(0, 10))


def test_without_monitor_nothing_is_kept(
    make_app: Callable[..., Path], serve: Callable[..., Host], tmp_path: Path
) -> None:
    """use_monitor=False has no status and no memory of what was missed."""
    source = "import azure.functions as func\napp = func.FunctionApp()\nruns = []\n"
    source += '@app.timer_trigger(arg_name="t", schedule="0 0 * * * *", use_monitor=False)\n'
    source += "def tick(t: func.TimerRequest) -> None:\n    runs.append((t.past_due, t.schedule_status))\n"
    root = make_app(source)
    serve(root, data=tmp_path, clock=VirtualClock(at(0, 30))).stop()
    host = serve(root, data=tmp_path, clock=VirtualClock(at(4, 30)))
    host.advance(HOUR)
    assert app().runs == [(False, {})]


def test_a_failed_run_is_logged_and_the_schedule_goes_on(
    serve: Callable[..., Host], caplog: pytest.LogCaptureFixture
) -> None:
    """An exception ends one run, not the timer."""
    host = serve("clockwork", clock=VirtualClock(at(0, 30)))
    app().fails = True
    host.advance(2 * HOUR)
    assert served() == text(at(1), at(2))
    assert caplog.text.count("ValueError: a bad tick") == 2


def test_occurrences_during_a_long_run_are_one_run_right_after(serve: Callable[..., Host]) -> None:
    """Runs never overlap; what was missed meanwhile is served once, at once, and not past due."""
    clock = VirtualClock(at(0, 30))
    host = serve("clockwork", clock=clock)
    app().go_on.clear()
    clock.move_to(at(1))
    host.engine.wake()
    wait_until(lambda: len(app().runs) == 1)
    clock.move_to(at(3, 30))
    host.engine.wake()
    app().go_on.set()
    host.engine.settle()
    assert [(past_due, status["Next"]) for past_due, status in app().runs] == [
        (False, at(1).isoformat()),
        (False, at(2).isoformat()),
    ]
    host.advance(HOUR)
    assert served()[2:] == text(at(4))


def test_a_run_by_hand_leaves_the_schedule_alone(serve: Callable[..., Host]) -> None:
    """A run by hand has no schedule status, is not past due, and moves nothing."""
    host = serve("clockwork", clock=VirtualClock(at(0, 30)))
    response = requests.post(f"{host.url}/admin/functions/Tick", json={"input": ""}, timeout=10)
    assert response.status_code == 202
    wait_until(lambda: len(app().runs) == 1)
    assert app().runs == [(False, {})]
    host.advance(HOUR)
    assert [status["Next"] for _, status in app().runs[1:]] == text(at(1))


def test_schedules_are_in_local_time(
    serve: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, local_time: Callable[[str], None]
) -> None:
    """Nine o'clock is nine o'clock where the machine is, before and after the clocks change."""
    local_time("CET-1CEST,M3.5.0,M10.5.0/3")
    monkeypatch.setenv("SCHEDULE", "0 0 9 * * *")
    host = serve("clockwork", clock=VirtualClock(at(0, day=29, month=3)))
    host.advance(timedelta(days=2))
    assert served() == text(at(8, day=29, month=3), at(7, day=30, month=3))


def test_the_hour_that_comes_twice_does_not_run_wild(
    serve: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, local_time: Callable[[str], None]
) -> None:
    """Started in the repeated hour, a timer runs at its pace, neither stuck in the past nor over and over."""
    local_time("CET-1CEST,M3.5.0,M10.5.0/3")
    monkeypatch.setenv("SCHEDULE", "0 */15 * * * *")
    host = serve("clockwork", clock=VirtualClock(at(1, 5, day=26, month=10)))
    host.advance(HOUR)
    assert served() == text(*(at(1, day=26, month=10) + n * timedelta(minutes=15) for n in range(1, 5)))


def test_a_bad_schedule_stops_the_start(serve: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the function and the part that is wrong."""
    monkeypatch.setenv("SCHEDULE", "0 61 * * * *")
    with pytest.raises(StartError, match=r"Function tick: .*minute"):
        serve("clockwork")


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "this never became true"
        time.sleep(0.005)
