"""The two things that keep stacks out of each other's way: free ports and folder locks."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from emulator import ports
from emulator.lock import FolderLock

CHILD = "import sys; sys.stdin.read()"


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_with_a_listener_is_not_free(address: str) -> None:
    """A listener on loopback, or on all addresses as Core Tools have it, takes the port; a closed one gives it back."""
    with socket.socket() as listener:
        listener.bind((address, 0))
        listener.listen()
        port = int(listener.getsockname()[1])
        assert not ports.is_free(port)
        assert ports.preferred(port) == 0
    assert ports.preferred(port) == port
    assert ports.is_free(ports.any_free())


def test_a_lock_has_one_holder_with_a_name(tmp_path: Path) -> None:
    """The second taker is refused and can read who has it; after a release it gets the lock, under its own name."""
    first, second = FolderLock(tmp_path / "lock"), FolderLock(tmp_path / "lock")
    assert first.acquire("a long name")
    assert not second.acquire("b")
    assert second.holder() == "a long name"
    first.release()
    assert second.acquire("b")
    assert first.holder() == "b"
    second.release()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no inherited locks")
def test_a_child_holds_the_lock_it_inherited(tmp_path: Path) -> None:
    """Released by the parent, the lock stays taken until the child that inherited it has ended."""
    ours, theirs = FolderLock(tmp_path / "lock"), FolderLock(tmp_path / "lock")
    assert ours.acquire()
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, pass_fds=ours.inheritable()) as child:
        ours.release()
        assert not theirs.acquire()
        assert child.stdin
        child.stdin.close()
    assert theirs.acquire()
    theirs.release()
