"""A call that holds up the dispatcher is noticed while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from emulator.functions.watchdog import Watchdog


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    """A watchdog that complains after 40 ms."""
    watchdog = Watchdog(0.04)
    yield watchdog
    watchdog.close()


def test_slow_call_is_warned_about_once_while_it_runs(watchdog: Watchdog, caplog: pytest.LogCaptureFixture) -> None:
    """The warning names the function, comes before the call ends, and is not repeated."""
    with watchdog.watch("render"):
        deadline = time.monotonic() + 10
        while "Function 'render' has been running for over 0.04 s" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        threading.Event().wait(0.1)  # long enough for another warning
    assert caplog.text.count("has been running") == 1


def test_quick_calls_are_not_warned_about(watchdog: Watchdog, caplog: pytest.LogCaptureFixture) -> None:
    """Many short calls in a row do not add up to a long one."""
    end = time.monotonic() + 0.12
    while time.monotonic() < end:
        with watchdog.watch("render"):
            time.sleep(0.001)
    assert caplog.text == ""
