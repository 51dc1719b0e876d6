"""One child process of the stack: its log, when it is ready, how it ends.

Everything a child prints goes to its log file; readiness is a line in that file, so no pipe has to be drained.
Its stdin is a pipe that only we hold: when we die, however we die, the child sees end of file and stops itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event

from emulator.trouble import Stopped, Trouble

TAIL_LINES = 20
_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CONNECTION|STORAGE", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"(AccountKey=|SharedAccessSignature=|[?&](?:sig|code)=|Bearer )[^\s;&\"']+", re.IGNORECASE)


class ChildDied(Trouble):
    """A child ended by itself; the message holds its name, exit code and the tail of its log."""


class Child:
    """A running process named ``name`` that writes to ``log``.

    ``own_session`` keeps it out of the terminal's process group, so that Ctrl-C or a kill of the group does not
    reach it directly. ``keep`` are file descriptors (locks) that it shall hold as long as it lives.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
        own_session: bool = False,
        keep: tuple[int, ...] = (),
    ) -> None:
        self.name, self.log, self._env = name, log, dict(env)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".previous.log"))
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=own_session,
                creationflags=flags,
                pass_fds=keep,
            )

    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, line: str, seconds: float, stop: Event) -> re.Match[str]:
        """Wait until the regular expression ``line`` matches a whole line of the log.

        Raises ChildDied, Trouble after ``seconds``, or Stopped when ``stop`` is set meanwhile.
        """
        pattern = re.compile(rf"^{line}\r?\n", re.MULTILINE)
        deadline = time.monotonic() + seconds
        while True:
            alive = self.alive()  # before reading: the last lines of a dying child count
            if found := pattern.search(self.read()):
                return found
            self.check(alive=alive)
            if time.monotonic() > deadline:
                raise Trouble(f"{self.name} did not get ready within {seconds:.0f} s.\n{self.tail()}")
            if stop.wait(0.02):
                raise Stopped

    def check(self, *, alive: bool | None = None) -> None:
        """Raise ChildDied when the process has ended."""
        if not (self.alive() if alive is None else alive):
            raise ChildDied(f"{self.name} ended with exit code {self.process.returncode}.\n{self.tail()}")

    def read(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def tail(self) -> str:
        """Return the last lines of the log, indented, with secrets of the child's environment blacked out."""
        lines = redact(self.read(), self._env).splitlines()[-TAIL_LINES:]
        return f"The end of {self.log}:\n" + "\n".join(f"  | {line}" for line in lines or ["(empty)"])

    def stop(self, seconds: float) -> bool:
        """Ask the process to end, insist after ``seconds``; True when it went by itself."""
        if sys.platform != "win32":  # terminate() would be a kill there
            self.process.terminate()
        if self.process.stdin:
            self.process.stdin.close()  # not later: a Python that reads stdin cannot end before
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False
        return True


def redact(text: str, env: Mapping[str, str]) -> str:
    """Replace values of secret-looking settings, keys and signatures in ``text`` by ``***``."""
    for name, value in env.items():
        if len(value) >= 6 and _SECRET_NAME.search(name):
            text = text.replace(value, "***")
    return _SECRET_TEXT.sub(r"\1***", text)


def inherited(**changes: str) -> dict[str, str]:
    """Return this process's environment with ``changes``."""
    return {**os.environ, **changes}
