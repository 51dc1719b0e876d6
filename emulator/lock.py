"""A lock on a folder that the operating system takes back however its holder ends.

On POSIX a lock lives as long as any process has its file open, so a child that inherits ``fileno()`` keeps it past
its parent's death: that is how a new run knows that an old one's processes are still writing. Windows has no such
inheritance; there the lock covers dev.py itself only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_FAR = 1 << 30  # Windows locks byte ranges and blocks readers of them: lock one that nobody reads


class FolderLock:
    """An exclusive lock kept in the file ``path``, whose text names the holder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self, holder: str = "") -> bool:
        """Take the lock if it is free and write ``holder`` into it; False when another process has it."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if sys.platform == "win32":
                os.lseek(fd, _FAR, os.SEEK_SET)
                msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
                os.lseek(fd, 0, os.SEEK_SET)
            else:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.write(fd, holder.encode())
        self._fd = fd
        return True

    @property
    def held(self) -> bool:
        """Whether this object has the lock."""
        return self._fd is not None

    def holder(self) -> str:
        """Text of whoever took the lock last; empty when nobody did."""
        try:
            return self.path.read_text()
        except OSError:
            return ""

    def inheritable(self) -> tuple[int, ...]:
        """File descriptors to pass to a child that shall hold the lock as well (none on Windows)."""
        return () if self._fd is None or sys.platform == "win32" else (self._fd,)

    def release(self) -> None:
        """Let go; children that inherited the lock still hold it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
