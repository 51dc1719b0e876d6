"""The whole service on one machine: Azurite, the provider simulator and the app, started together, ended together.

Plan of ``Stack.start``: 1. lock the data folder, wait for an earlier run's processes to finish writing; 2. Azurite and
the simulator, side by side; 3. the app, with their addresses in its environment; 4. up.json. Ending goes the other
way round. A kill -9 of this process ends the children too: each watches its stdin. The Python children share our
process group, so killing the group kills the app hard; Azurite never is (it would lose acknowledged writes).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import FrameType, TracebackType

from emulator import ports
from emulator.azurite import Azurite
from emulator.children import Child
from emulator.local_settings import SIMULATOR_KEY, app_settings, provider_setting, read_settings
from emulator.lock import FolderLock
from emulator.toolchain import Tools
from emulator.trouble import Stopped, Trouble

READY = r"ready (http://\S+)"
START_SECONDS = 60.0
FUNC_START_SECONDS = 300.0  # Core Tools download the extension bundle the first time
STOP_SECONDS = 15.0
PREVIOUS_RUN_SECONDS = 30.0
AZURITE_PORTS = (10000, 10001, 10002)
SIMULATOR_PORT = 7090
RPC_PORT = 17071


@dataclass(frozen=True)
class Options:
    """What ``dev.py up`` was asked for. ``port`` 0 means any free one; ``host`` None means func when it is there."""

    data: Path
    port: int = 7071
    host: str | None = None
    simulator: bool = True
    enforce_keys: bool = False


class Stack:
    """The running processes; use as a context manager. Setting ``stop_asked`` (a signal) ends start() and check()."""

    def __init__(self, tools: Tools, options: Options, stop_asked: Event | None = None) -> None:
        self._tools, self._options, self.stop_asked = tools, options, stop_asked or Event()
        self.data = options.data.resolve()
        self.host = _choose_host(options)
        self.settings = read_settings(tools.root, os.environ)
        self.provider = provider_setting(self.settings)
        self.app = ""
        self.simulator: str | None = None
        self.azurite: Azurite | None = None
        self._children: list[Child] = []  # in the order of starting
        self._lock = FolderLock(self.data / "up.lock")
        self._writers = FolderLock(self.data / "children.lock")
        self._well_known_ports = FolderLock(_well_known_ports_lock())

    def start(self) -> None:
        """Start everything and write up.json; raises Trouble or Stopped, with nothing left running."""
        try:
            self._lock_data()
            self._check_port()
            self._start_emulators()
            self._start_app()
            self._publish()
        except BaseException:
            self.stop()
            raise

    def check(self) -> None:
        """Raise ChildDied when a process ended by itself, Stopped when we were asked to end."""
        for child in self._children:
            # A Ctrl-C may have reached the child before us: give our own signal a moment to arrive.
            if not child.alive() and not self.stop_asked.wait(0.5):
                child.check()
        if self.stop_asked.is_set():
            raise Stopped

    def stop(self) -> None:
        """End the app, then the simulator, then Azurite; each has a deadline. Safe to call twice."""
        while self._children:
            child = self._children.pop()
            if not child.stop(STOP_SECONDS):
                print(f"{child.name} did not stop within {STOP_SECONDS:.0f} s and was killed.", file=sys.stderr)
        if self._lock.held:
            self._up_json.unlink(missing_ok=True)
        for lock in (self._well_known_ports, self._writers, self._lock):
            lock.release()

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    # 1. The data folder

    @property
    def _up_json(self) -> Path:
        return self.data / "up.json"

    def _lock_data(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        if not self._lock.acquire(str(os.getpid())):
            raise Trouble(
                f"{self.data} is in use by another dev.py (process {self._lock.holder()}). "
                "Stop that one, or choose another folder with --data."
            )
        self._up_json.unlink(missing_ok=True)
        deadline = time.monotonic() + PREVIOUS_RUN_SECONDS
        while not self._writers.acquire():
            if time.monotonic() > deadline:
                raise Trouble(f"Processes of an earlier run still use {self.data}. End them, then start again.")
            if self.stop_asked.wait(0.1):
                raise Stopped

    def _check_port(self) -> None:
        if self._options.port and not ports.is_free(self._options.port):
            raise Trouble(
                f"Port {self._options.port} of 127.0.0.1 is taken by another program. "
                "Stop that program, or choose another port with --port (0: any free one)."
            )

    def _prefer(self, port: int) -> int:
        """Return ``port`` for the one stack of this person that has the well-known ports, 0 for any further one."""
        return ports.preferred(port) if self._well_known_ports.held else 0

    # 2. Azurite and the simulator

    def _start_emulators(self) -> None:
        self._well_known_ports.acquire()
        blob, queue, table = (self._prefer(port) for port in AZURITE_PORTS)
        keep, log = self._writers.inheritable(), self._log("azurite")
        self.azurite = Azurite(self.data / "azurite", blob, queue, table, node=self._tools.node, log=log, keep=keep)
        self._children.append(self.azurite.launch())
        simulator = None
        if self._options.simulator and not self.provider:
            command = ["--port", str(self._simulator_port()), "--data", str(self.data / "sora")]
            simulator = self._python_child("simulator", "emulator.sora", [*command, "--api-key", SIMULATOR_KEY])
        self.azurite.await_ready(self.stop_asked)
        if simulator:
            self.simulator = simulator.wait_for(READY, START_SECONDS, self.stop_asked)[1]

    def _simulator_port(self) -> int:
        """Return the port of the last run on this data, by which unfinished jobs know where their tasks are."""
        memory = self.data / "simulator-port"
        with suppress(OSError, ValueError):
            port = int(memory.read_text())
            if ports.is_free(port):
                return port
            print(
                f"The simulator's port {port} of the last run is taken, so it gets another one. Jobs that were "
                f"unfinished then go on when it is started on {port} again.",
                file=sys.stderr,
            )
            return ports.any_free()
        port = self._prefer(SIMULATOR_PORT) or ports.any_free()
        memory.write_text(str(port))
        return port

    def _python_child(self, name: str, module: str, arguments: list[str], env: Mapping[str, str] = os.environ) -> Child:
        child = Child(
            name,
            [self._tools.python, "-m", module, *arguments, "--stop-with-parent"],
            cwd=self._tools.root,
            env={**env, "PYTHONUNBUFFERED": "1"},
            log=self._log(name),
            keep=self._writers.inheritable(),
        )
        self._children.append(child)
        return child

    def _log(self, name: str) -> Path:
        return self.data / "logs" / f"{name}.log"

    # 3. The app

    def _start_app(self) -> None:
        assert self.azurite is not None
        env = app_settings(self.settings, self.azurite.connection_string, self.simulator)
        if self.host == "func":
            self._start_core_tools(env)
            return
        arguments = ["--root", str(self._tools.root), "--data", str(self._host_data)]
        arguments += ["--port", str(self._options.port), "--rpc-port", str(self._prefer(RPC_PORT))]
        arguments += ["--enforce-keys"] if self._options.enforce_keys else []
        app = self._python_child("app", "emulator.functions", arguments, env)
        self.app = app.wait_for(READY, START_SECONDS, self.stop_asked)[1]

    @property
    def _host_data(self) -> Path:
        return self.data / "functions"

    def _start_core_tools(self, env: Mapping[str, str]) -> None:
        """Start ``func`` as its documentation asks: in the app's folder, with the virtual environment active."""
        port = self._options.port or ports.any_free()
        bin_folder = self._tools.python.parent
        app = Child(
            "app",
            [sys.executable, "-m", "emulator.guard", str(shutil.which("func")), "start", "--port", str(port)],
            cwd=self._tools.root,
            env={
                **env,
                "VIRTUAL_ENV": str(bin_folder.parent),
                "PATH": f"{bin_folder}{os.pathsep}{env.get('PATH', '')}",
            },
            log=self._log("app"),
            keep=self._writers.inheritable(),
        )
        self._children.append(app)
        self.app = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + FUNC_START_SECONDS
        while not _core_tools_running(self.app):
            self.check()
            if time.monotonic() > deadline:
                raise Trouble(f"func did not start the app within {FUNC_START_SECONDS:.0f} s.\n{app.tail()}")
            self.stop_asked.wait(0.2)

    # 4. up.json

    def _publish(self) -> None:
        assert self.azurite is not None
        up: dict[str, object] = {
            "host": self.host,
            "app": self.app,
            "simulator": self.simulator,
            "azurite": {
                "connection_string": self.azurite.connection_string,
                "blob": self.azurite.blob,
                "queue": self.azurite.queue,
                "table": self.azurite.table,
            },
            "pid": os.getpid(),
        }
        if self._options.enforce_keys:
            keys = json.loads((self._host_data / "keys.json").read_text())
            up["keys"] = {name: keys[name] for name in ("default", "master")}
        aside = self.data / "up.json.new"
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # it holds keys
            json.dump(up, file, indent=2)
        aside.replace(self._up_json)


def run_up(tools: Tools, options: Options) -> int:
    """Bring the stack up, print the ready line on stdout, and serve until SIGTERM or Ctrl-C; returns 0."""
    stack = Stack(tools, options, stop_on_signals())
    try:
        with stack:
            _tell(stack)
            with suppress(OSError):  # a reader that has gone away is no reason to stop serving
                print(f"ready {stack.app}", flush=True)
            while True:
                stack.stop_asked.wait(0.25)
                stack.check()
    except Stopped:
        print("Stopped; the data is kept.", file=sys.stderr)
        return 0


def stop_on_signals() -> Event:
    """Return an event that is set by Ctrl-C, SIGTERM, or the terminal's closing."""
    asked = Event()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):  # the last two exist on one platform each
        number = getattr(signal, name, None)
        if number is not None and not (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):  # nohup
            signal.signal(number, ask)
    return asked


def _tell(stack: Stack) -> None:
    assert stack.azurite is not None
    provider = "none: generate answers 503 until AZURE_SORA_ENDPOINT and AZURE_API_KEY are set"
    if stack.simulator:
        provider = f"{stack.simulator} (simulator: providers sora, openai and image)"
    elif stack.provider:
        provider = f"set by {stack.provider}"
    rows = {
        "app": f"{stack.app} ({stack.host} host)",
        "provider": provider,
        "storage": stack.azurite.blob,
        "data, logs": str(stack.data),
    }
    for name, value in rows.items():
        print(f"{name:<11} {value}", file=sys.stderr)
    print("Ctrl-C stops everything; the data stays.", file=sys.stderr)


def _choose_host(options: Options) -> str:
    func = shutil.which("func")
    if options.host == "func" and not func:
        raise Trouble(
            "--host func needs Azure Functions Core Tools 4 on PATH (npm install -g azure-functions-core-tools@4). "
            "Without them use --host embedded."
        )
    if options.host == "func" and options.enforce_keys:
        raise Trouble("--enforce-keys works with the embedded host only: Core Tools keep their keys to themselves.")
    return options.host or ("func" if func and not options.enforce_keys else "embedded")


def _core_tools_running(app: str) -> bool:
    try:
        with urllib.request.build_opener().open(f"{app}/admin/host/status", timeout=5) as answer:
            return bool(json.load(answer).get("state") == "Running")
    except (OSError, ValueError):
        return False


def _well_known_ports_lock() -> Path:
    """Two stacks of one person started in the same moment must not both find the well-known ports free."""
    user = os.getuid() if sys.platform != "win32" else 0  # on Windows the folder is the user's own
    return Path(tempfile.gettempdir()) / f"reelkeeper-ports-{user}.lock"
