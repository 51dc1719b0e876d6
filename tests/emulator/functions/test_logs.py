"""Log lines are readable, and host.json's log levels decide which are seen."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping

import pytest

from emulator.functions.logs import Invocation, configure_logging, running

Read = Callable[[], list[str]]
Configure = Callable[[Mapping[str, int]], Read]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Return `configure(levels)`: set logging up on a captured stderr and return a reader of its lines."""
    root, names = logging.getLogger(), ("emulator.functions", "reelkeeper.functions")
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in names}

    def start(chosen: Mapping[str, int]) -> Read:
        root.handlers[:] = []  # or the test runner's own would be closed
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        configure_logging({"default": logging.INFO, **chosen})
        return lambda: stream.getvalue().splitlines()

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in names:
        logging.getLogger(name).setLevel(levels[name])


@pytest.fixture
def in_render() -> Iterator[None]:
    """Work as a run of the function `render`."""
    token = running.set(Invocation("0123456789abcdef", "render"))
    yield
    running.reset(token)


def test_a_line_in_a_run(configure: Configure, in_render: None) -> None:
    """Time, level, function, the start of the invocation's id, message."""
    lines = configure({})
    logging.getLogger("anything").warning("job %s waits", 7)
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}Z WARNING render 01234567: job 7 waits", lines()[0])


def test_a_line_of_the_host(configure: Configure) -> None:
    """Outside a run the part of the host that speaks stands there instead."""
    lines = configure({})
    logging.getLogger("emulator.functions.host").info("serving")
    assert lines()[0].endswith("Z INFO    host: serving")


def test_an_exception_brings_its_traceback(configure: Configure, in_render: None) -> None:
    """The line is followed by where it happened."""
    lines = configure({})
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("anything").exception("it failed")
    assert lines()[0].endswith("it failed")
    assert lines()[-1] == "ValueError: boom"


@pytest.mark.parametrize(
    ("levels", "seen"),
    [
        ({}, ["user", "run", "host", "engine"]),
        ({"default": logging.ERROR}, []),
        ({"Function": logging.ERROR}, ["host", "engine"]),
        ({"Function.render.User": logging.ERROR}, ["run", "host", "engine"]),
        ({"Function": logging.ERROR, "Function.render": logging.INFO}, ["user", "run", "host", "engine"]),
        ({"Function.ren": logging.ERROR}, ["user", "run", "host", "engine"]),
        ({"Host.Triggers.DurableTask": logging.ERROR}, ["user", "run", "host"]),
        ({"Host": logging.ERROR, "default": logging.INFO}, ["user", "run"]),
    ],
)
def test_the_longest_category_decides(
    configure: Configure, in_render: None, levels: Mapping[str, int], seen: list[str]
) -> None:
    """Categories are the Functions host's: user code, runs, the host, the durable extension."""
    lines = configure(levels)
    logging.getLogger("users.own").info("user")
    logging.getLogger("emulator.functions.worker").info("run")
    token = running.set(None)
    logging.getLogger("emulator.functions.host").info("host")
    logging.getLogger("reelkeeper.functions.durable").info("engine")
    running.reset(token)
    assert [line.rpartition(": ")[2] for line in lines()] == seen


def test_debug_of_the_host_can_be_asked_for(configure: Configure, in_render: None) -> None:
    """A Debug level in host.json shows the host's debug lines; the user's need a setting of the worker besides."""
    lines = configure({"Function.render": logging.DEBUG})
    logging.getLogger("emulator.functions.worker").debug("of the host")
    logging.getLogger("users.own").debug("of the user")
    assert [line.rpartition(": ")[2] for line in lines()] == ["of the host"]


def test_debug_of_the_user_needs_the_workers_setting(
    configure: Configure, in_render: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYTHON_ENABLE_DEBUG_LOGGING opens the way for user debug lines."""
    monkeypatch.setenv("PYTHON_ENABLE_DEBUG_LOGGING", "1")
    lines = configure({"Function": logging.DEBUG})
    logging.getLogger("users.own").debug("of the user")
    assert len(lines()) == 1
