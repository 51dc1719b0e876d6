"""Azurite, the storage emulator, as a child process: start it on a folder, get a connection string, stop it.

Azurite acknowledges writes up to 5 s before they are on disk. So it runs in a session of its own, out of reach of a
Ctrl-C or a kill of our process group, and a preload ends it gracefully when our end of its stdin closes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from threading import Event
from types import TracebackType

from emulator.children import Child
from emulator.toolchain import azurite_script, find_node
from emulator.trouble import Trouble

ACCOUNT = "devstoreaccount1"
# The key every Azurite has, published in its documentation: not a secret.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
START_SECONDS = 60.0
STOP_SECONDS = 20.0

_HERE = Path(__file__).resolve().parent
_SERVICES = ("Blob", "Queue", "Table")
_LISTENING = r"Azurite Table service is successfully listening at .*"


class Azurite:
    """One Azurite on the folder ``location``; port 0 means any free one.

    ``keep`` are file descriptors of locks that Azurite shall hold until it has flushed.
    """

    def __init__(
        self,
        location: Path,
        blob_port: int = 0,
        queue_port: int = 0,
        table_port: int = 0,
        *,
        node: Path | None = None,
        log: Path | None = None,
        keep: tuple[int, ...] = (),
    ) -> None:
        self.location = location.resolve()
        self._ports = (blob_port, queue_port, table_port)
        self._node, self._log, self._keep = node, log or self.location.with_name("azurite.log"), keep
        self.child: Child | None = None
        self.blob = self.queue = self.table = ""

    def start(self, stop: Event | None = None) -> Azurite:
        """Start the process and wait until all three services listen; raises Trouble, or Stopped by ``stop``."""
        self.launch()
        self.await_ready(stop)
        return self

    def launch(self) -> Child:
        """Start the process without waiting and return it."""
        root = _HERE.parent.parent
        node, script = self._node or find_node(root), azurite_script(root)
        if node is None or not script.exists():
            raise Trouble("Azurite or Node is not installed yet. Run: python3 dev.py test")
        self.location.mkdir(parents=True, exist_ok=True)
        command: list[str | Path] = [node, "--require", _HERE / "stop_with_parent.js", script]
        for service, port in zip(_SERVICES, self._ports, strict=True):
            name = service.lower()
            command += [f"--{name}Host", "127.0.0.1", f"--{name}Port", str(port)]
        command += ["--location", self.location, "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("AZURITE_")}
        self.child = Child(
            "Azurite", command, cwd=self.location, env=env, log=self._log, own_session=True, keep=self._keep
        )
        return self.child

    def await_ready(self, stop: Event | None = None) -> None:
        """Wait until all three services listen."""
        if self.child is None:
            raise RuntimeError("launch() first")
        try:
            self.child.wait_for(_LISTENING, START_SECONDS, stop or Event())
        except BaseException:
            self.stop()
            raise
        text = self.child.read()
        ports = [re.search(rf"Azurite {name} service is successfully .*:(\d+)", text) for name in _SERVICES]
        self.blob, self.queue, self.table = (f"http://127.0.0.1:{port[1]}/{ACCOUNT}" for port in ports if port)

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"BlobEndpoint={self.blob};QueueEndpoint={self.queue};TableEndpoint={self.table};"
        )

    def stop(self) -> None:
        """End the process; everything it acknowledged is on disk afterwards."""
        if self.child is not None:
            self.child.stop(STOP_SECONDS)

    def __enter__(self) -> Azurite:
        return self if self.child else self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
