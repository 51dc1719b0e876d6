"""Time: a virtual clock that moves only when told to, and the machine's."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from emulator.functions.clock import Clock, VirtualClock
from emulator.functions.protocol import EventType
from emulator.functions.testing import PlainFunctions, running

Steps = Generator[Any, Any, Any]
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
START = datetime(2025, 1, 1, tzinfo=timezone.utc)


def sleeper(context: Any) -> Steps:
    """Sleep for the given seconds; return the time on waking."""
    yield context.create_timer(context.current_utc_datetime + timedelta(seconds=context.get_input()["seconds"]))
    return context.current_utc_datetime.isoformat()


SLEEPER = PlainFunctions({"sleeper": sleeper})


def test_a_timer_of_24_hours_passes_in_less_than_a_second() -> None:
    """Virtual time moves by exactly 24 hours, real time by less than one second."""
    clock = VirtualClock(START)
    with running(SLEEPER, clock=clock) as engine:
        begin = time.monotonic()
        engine.start_instance("sleeper", "i", '{"seconds": 86400}')
        engine.advance(DAY)
        assert engine.wait("i")["output"] == '"2025-01-02T00:00:00+00:00"'
        assert time.monotonic() - begin < 1.0
    assert clock.now() == START + DAY


def test_virtual_time_stands_still_by_itself() -> None:
    """Nothing fires a microsecond early, and an idle engine does not jump."""
    clock = VirtualClock(START)
    with running(SLEEPER, clock=clock) as engine:
        engine.start_instance("sleeper", "i", '{"seconds": 60}')
        engine.settle()
        assert engine.advance(timedelta(seconds=60) - timedelta(microseconds=1)) == clock.now()
        engine.settle()
        assert engine.get("i")["status"] == "Running"
        engine.advance(timedelta(microseconds=1))
        assert engine.wait("i")["status"] == "Completed"
        assert clock.now() == START + timedelta(seconds=60)


def test_advance_stops_at_every_due_moment_on_the_way() -> None:
    """A chain of timers that create one another sees each its own time, not the end of the jump."""

    def ticker(context: Any) -> Steps:
        seen = []
        for _ in range(24):
            yield context.create_timer(context.current_utc_datetime + HOUR)
            seen.append((context.current_utc_datetime - START) / HOUR)
        return seen == [float(n + 1) for n in range(24)]

    with running(PlainFunctions({"ticker": ticker}), clock=VirtualClock(START)) as engine:
        engine.start_instance("ticker", "i", None)
        engine.advance(3 * DAY)
        assert engine.wait("i")["output"] == "true"


def test_timer_of_30_days_is_made_of_pieces_of_3() -> None:
    """The SDK splits timers above 6 days; the instance wakes exactly at the end of the last piece."""
    with running(SLEEPER, clock=VirtualClock(START)) as engine:
        engine.start_instance("sleeper", "i", f'{{"seconds": {30 * 86400}}}')
        engine.advance(31 * DAY)
        assert engine.wait("i")["output"] == '"2025-01-31T00:00:00+00:00"'
        created = [one["FireAt"] for one in engine.history("i") if one["EventType"] == EventType.TIMER_CREATED]
        # 24 days in pieces of 3, then the last 6 in one
        assert [created[0][:10], created[-1][:10], len(created)] == ["2025-01-04", "2025-01-31", 9]


def test_timer_in_the_past_fires_at_once() -> None:
    """A due time before now needs no advance."""
    with running(SLEEPER, clock=VirtualClock(START)) as engine:
        engine.start_instance("sleeper", "i", '{"seconds": -5}')
        assert engine.wait("i")["output"] == '"2025-01-01T00:00:00+00:00"'


def test_advance_waits_for_activities_on_the_way() -> None:
    """An activity that a timer starts has ended before time goes on, and its result belongs to that moment."""
    times: list[datetime] = []
    clock = VirtualClock(START)

    def main(context: Any) -> Steps:
        for _ in range(3):
            yield context.create_timer(context.current_utc_datetime + HOUR)
            yield context.call_activity("look", None)

    def look(_: None) -> None:
        time.sleep(0.02)  # work that takes real time
        times.append(clock.now())

    with running(PlainFunctions({"main": main}, {"look": look}), clock=clock) as engine:
        engine.start_instance("main", "i", None)
        engine.advance(10 * HOUR)
    assert times == [START + n * HOUR for n in (1, 2, 3)]


def test_advance_gives_up_on_work_that_does_not_end() -> None:
    """An activity that hangs makes advance raise TimeoutError, which says what is under way."""
    hang = threading.Event()

    def main(context: Any) -> Steps:
        yield context.call_activity("hang", None)

    with running(PlainFunctions({"main": main}, {"hang": lambda _: hang.wait(10) and None})) as engine:
        engine.start_instance("main", "i", None)
        with pytest.raises(TimeoutError, match=r"Still busy after 0\.1 s: 1 activities"):
            engine.advance(HOUR, timeout=0.1)
        hang.set()
        engine.advance(HOUR)
        assert engine.wait("i")["status"] == "Completed"


def test_only_a_virtual_clock_moves_and_only_forwards() -> None:
    """advance refuses the machine's clock and negative steps."""
    with running(SLEEPER, clock=Clock()) as engine, pytest.raises(RuntimeError, match="Only a virtual clock"):
        engine.advance(HOUR)
    with running(SLEEPER) as engine, pytest.raises(ValueError, match="forwards only"):
        engine.advance(-HOUR)
    with pytest.raises(ValueError, match="time zone"):
        VirtualClock(datetime(2025, 1, 1))  # noqa: DTZ001 - that is what is refused
    clock = VirtualClock(START)
    clock.move_to(START - DAY)
    assert clock.now() == START


def test_timer_fires_by_the_machines_clock_and_never_early() -> None:
    """On real time a timer of 50 ms wakes its instance by itself, at or after its due time."""
    with running(SLEEPER, clock=Clock()) as engine:
        begin = datetime.now(timezone.utc)
        engine.start_instance("sleeper", "i", '{"seconds": 0.05}')
        woke = datetime.fromisoformat(str(engine.wait("i", 10)["output"]).strip('"'))
        assert woke - begin >= timedelta(seconds=0.05)


class Bell:
    """A time source that rings every hour and takes a moment of real time for it."""

    def __init__(self, start: datetime) -> None:
        """Ring first an hour after `start`."""
        self.rung: list[datetime] = []
        self.running = False
        self.wake: Any = None
        self._next = start + HOUR

    def next_due(self) -> datetime | None:
        """Return the next full hour."""
        return self._next

    def fire(self, now: datetime) -> None:
        """Ring on a thread of its own, as a timer trigger does."""
        self.running, self._next = True, self._next + HOUR
        threading.Thread(target=self._ring, args=(now,)).start()

    def _ring(self, now: datetime) -> None:
        time.sleep(0.01)
        self.rung.append(now)
        self.running = False
        self.wake()


def test_other_time_sources_ring_in_order_with_timers() -> None:
    """A source is fired at each of its due times, and advance waits until its work has ended."""
    with running(SLEEPER, clock=VirtualClock(START)) as engine:
        bell = Bell(START)
        bell.wake = engine.wake
        engine.extra_due.append(bell)
        engine.wake()
        engine.start_instance("sleeper", "i", '{"seconds": 9000}')
        engine.advance(5 * HOUR)
        assert bell.rung == [START + n * HOUR for n in range(1, 6)]
        assert engine.wait("i")["status"] == "Completed"


def test_time_source_that_fails_is_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    """A source whose fire raises is logged and dropped; the rest goes on."""

    class Broken(Bell):
        def fire(self, now: datetime) -> None:
            raise OSError("no bell")

    with running(SLEEPER, clock=VirtualClock(START)) as engine:
        engine.extra_due.append(Broken(START))
        engine.start_instance("sleeper", "i", '{"seconds": 9000}')
        engine.advance(5 * HOUR)
        assert engine.wait("i")["status"] == "Completed"
        assert engine.extra_due == []
    assert "switched off until the next start" in caplog.text


def test_idle_engine_does_not_turn() -> None:
    """With nothing to do but a far timer, the dispatcher sleeps instead of polling."""
    asked: list[str] = []

    class Counting(VirtualClock):
        def now(self) -> datetime:
            asked.append("now")
            return super().now()

    with running(SLEEPER, clock=Counting(START)) as engine:
        engine.start_instance("sleeper", "i", '{"seconds": 60}')
        engine.settle()
        before = len(asked)
        time.sleep(0.3)  # a stretch of idleness, in which nothing may happen
        assert len(asked) == before
