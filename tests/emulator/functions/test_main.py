"""The command line, as another program uses it: start, one ready line, stop, kill, and every start error."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import requests

REPOSITORY = Path(__file__).parents[3]
HOST_APPS = Path(__file__).parent / "hostapps"
posix = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")


class Running:
    """A host process that has said it is ready."""

    def __init__(self, process: subprocess.Popen[str], log: Path, ready: str) -> None:
        self.process, self.log, self.ready = process, log, ready
        self.url = ready.removeprefix("ready ")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def rest_of_output(self) -> str:
        """What came on stdout after the ready line; only once the process has ended."""
        return out(self.process).read()


def out(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "emulator.functions", "--port", "0", "--rpc-port", "0", *arguments]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Return `run(root, *arguments)`: start the command and wait for its ready line; what still runs is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(root: Path, *arguments: str, **options: Any) -> Running:
        log = tmp_path / f"stderr-{len(started)}.log"
        with log.open("w", encoding="utf-8") as errors:
            process = subprocess.Popen(
                command("--root", str(root), *arguments),
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                **options,
            )
        started.append(process)
        ready = out(process).readline().rstrip("\n")
        assert ready.startswith("ready "), log.read_text(encoding="utf-8")
        return Running(process, log, ready)

    yield start
    for process in started:
        process.kill()
        process.wait(10)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def failure(*arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a command that must not start; return its exit code and what it said on stderr."""
    ended = subprocess.run(
        command(*arguments),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert ended.stdout == ""
    return ended.returncode, ended.stderr


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_serves_and_stops(run: Callable[..., Running], make_app: Callable[..., Path], number: int) -> None:
    """One ready line on stdout and nothing else, whatever the app prints; a signal ends it with exit code 0."""
    source = "import azure.functions as func\nprint('chatter at import')\napp = func.FunctionApp()\n"
    source += "@app.route(route='hello')\ndef hello(req):\n    print('chatter in a run')\n    return 'hello'\n"
    host = run(make_app(source))
    assert re.fullmatch(r"ready http://127\.0\.0\.1:\d+", host.ready)
    assert requests.get(f"{host.url}/api/hello", timeout=10).text == "hello"
    assert host.stop(number) == 0
    assert host.rest_of_output() == ""
    assert "chatter in a run" in host.log.read_text(encoding="utf-8")


@posix
def test_a_stuck_function_does_not_keep_it_from_stopping(
    run: Callable[..., Running], make_app: Callable[..., Path]
) -> None:
    """A sync function that never ends is left behind."""
    source = "import threading\nimport azure.functions as func\napp = func.FunctionApp()\n"
    source += "@app.route(route='stuck')\ndef stuck(req):\n    threading.Event().wait()\n"
    host = run(make_app(source))
    with pytest.raises(requests.Timeout):
        requests.get(f"{host.url}/api/stuck", timeout=0.3)
    assert host.stop() == 0


@posix
def test_kill_and_restart(run: Callable[..., Running], tmp_path: Path) -> None:
    """After kill -9 the next start on the same folder goes on: the orchestration is there and takes its event."""
    root, data = HOST_APPS / "durable", ("--data", str(tmp_path / "data"))
    first = run(root, *data)
    links = requests.post(f"{first.url}/api/start/wait_for_go/w", timeout=10).json()
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    second = run(root, *data)
    moved = {name: link.replace(first.url, second.url) for name, link in links.items()}
    event = requests.post(moved["sendEventPostUri"].replace("{eventName}", "go"), json="done", timeout=10)
    assert event.status_code == 202
    deadline = time.monotonic() + 10
    while (status := requests.get(moved["statusQueryGetUri"], timeout=10)).status_code == 202:
        assert time.monotonic() < deadline
    assert status.json()["output"] == "done"


def test_it_stops_with_its_parent(run: Callable[..., Running]) -> None:
    """With --stop-with-parent the end of stdin, which is the end of the parent, stops it."""
    host = run(HOST_APPS / "durable", "--stop-with-parent")
    assert host.process.stdin is not None
    host.process.stdin.close()
    assert host.process.wait(20) in ((0,) if os.name == "posix" else (0, 1, 15))


def test_keys_and_clock_options(run: Callable[..., Running], tmp_path: Path) -> None:
    """--enforce-keys asks for the keys kept in the data folder; --virtual-clock stands at its time until moved."""
    arguments = ("--data", str(tmp_path), "--enforce-keys", "--virtual-clock", "2030-05-01T12:00:00Z")
    host = run(HOST_APPS / "durable", *arguments)
    clock = f"{host.url}/admin/emulator/clock"
    assert requests.get(clock, timeout=10).status_code == 401
    master = {"x-functions-key": json.loads((tmp_path / "keys.json").read_text(encoding="utf-8"))["master"]}
    assert requests.get(clock, headers=master, timeout=10).json()["now"] == "2030-05-01T12:00:00+00:00"
    moved = requests.post(f"{clock}/advance", json={"seconds": 60}, headers=master, timeout=10)
    assert moved.json() == {"now": "2030-05-01T12:01:00+00:00"}


def test_local_settings_and_logs(run: Callable[..., Running], make_app: Callable[..., Path]) -> None:
    """Values reach the app unless set outside; logs are one line with time, level, function and invocation."""
    source = """
import logging, os
import azure.functions as func
app = func.FunctionApp()
@app.route(route="settings", auth_level=func.AuthLevel.ANONYMOUS)
def settings(req: func.HttpRequest) -> str:
    logging.info("not so loud")
    logging.getLogger("mine").warning("careful with %s", "this")
    return os.environ["FROM_FILE"] + " " + os.environ["FROM_BOTH"]
"""
    levels = {"default": "Information", "Function.settings.User": "Warning"}
    root = make_app(source, {"logging": {"logLevel": levels}})
    values = {"FROM_FILE": "file", "FROM_BOTH": "file"}
    (root / "local.settings.json").write_text(json.dumps({"Values": values}), encoding="utf-8")
    host = run(root, env={**os.environ, "FROM_BOTH": "outside"})
    assert requests.get(f"{host.url}/api/settings", timeout=10).text == "file outside"
    log = host.log.read_text(encoding="utf-8")
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{3}Z WARNING settings [0-9a-f]{8}: careful with this$", log, re.MULTILINE)
    assert re.search(r"INFO    settings [0-9a-f]{8}: Executed 'Functions.settings' \(Succeeded, \d+ ms\)$", log, re.M)
    assert "not so loud" not in log


def test_a_taken_port_is_named() -> None:
    """Exit code 1 and one message with the port and the way out."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, message = failure("--root", str(HOST_APPS / "web"), "--port", port)
    assert code == 1
    assert message.rstrip().splitlines() == [
        f"Port {port} is in use by another program. Stop that program, or choose another with --port."
    ]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_module\n", ["ModuleNotFoundError", "no_such_module", 'function_app.py", line 1']),
        ("app = 1\n", ["no top-level FunctionApp"]),
    ],
)
def test_a_broken_app_is_one_message(make_app: Callable[..., Path], source: str, words: list[str]) -> None:
    """Exit code 1, the error and where in the app, no traceback of the host."""
    code, message = failure("--root", str(make_app(source)))
    assert code == 1
    assert [word for word in words if word not in message] == []
    assert "Traceback" not in message


def test_a_missing_setting_is_one_message() -> None:
    """Exit code 1, with the setting and the function, after at most what the SDK has to say itself."""
    code, message = failure("--root", str(HOST_APPS / "clockwork"))
    assert code == 1
    assert message.splitlines()[-1].startswith(
        "Function tick: the timerTrigger binding 'timer' needs the setting SCHEDULE"
    )
    assert "Traceback" not in message


def test_a_setting_that_the_app_refuses_is_one_message() -> None:
    """Exit code 1 and the app's own sentence, without where in its code it was said."""
    environment = {"MEDIA_CONTAINER": "X_", "AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    code, message = failure("--root", str(REPOSITORY), environment=environment)
    assert code == 1
    (line,) = message.splitlines()
    assert line.startswith("MEDIA_CONTAINER must be a container name")


def test_a_wrong_root_is_one_message(tmp_path: Path) -> None:
    """Exit code 1 when there is no app."""
    code, message = failure("--root", str(tmp_path))
    assert (code, "--root" in message) == (1, True)


@pytest.mark.parametrize(
    "wrong", [("--port", "70000"), ("--port", "x"), ("--virtual-clock", "noon"), ("--frobnicate",)]
)
def test_wrong_arguments_are_explained(wrong: tuple[str, ...]) -> None:
    """Exit code 2 and the usage, as command lines do."""
    code, message = failure(*wrong)
    assert code == 2
    assert wrong[0] in message


def test_help_names_every_option() -> None:
    """--help explains options, the ready line and where logs go."""
    shown = subprocess.run(
        command("--help"), cwd=REPOSITORY, capture_output=True, text=True, timeout=20, check=True
    ).stdout
    options = ["--root", "--port", "--rpc-port", "--data", "--enforce-keys", "--virtual-clock", "--stop-with-parent"]
    assert [word for word in [*options, "ready http://127.0.0.1:PORT", "stderr"] if word not in shown] == []
