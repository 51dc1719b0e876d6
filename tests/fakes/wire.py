"""A server's wire, byte by byte: `Wire` answers what a script says, so that every way to break off can be played."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

Answer = bytes | None
"""What goes out before the connection is closed; None closes it without a word."""


class Wire:
    """An HTTP/1.1 server on 127.0.0.1. `heads`: the request heads so far, each with the number of its connection.

    The script gets the head of each request; with `keep_alive` a connection stays open after an answer.
    """

    def __init__(self, script: Callable[[str], Answer], keep_alive: bool = False, tls: ssl.SSLContext | None = None):
        self._script, self._keep_alive, self._tls = script, keep_alive, tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.heads: list[tuple[int, str]] = []
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def requests(self) -> list[str]:
        return [head for _, head in self.heads]

    def hung_up(self, number: int) -> bool:
        """Whether the client closes connection `number` within 10 s."""
        self._threads[number].join(timeout=10)
        return not self._threads[number].is_alive()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            with suppress(OSError):  # closed or taken over by TLS already
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def _accept(self) -> None:
        for number in range(1, 1000):
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, number), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                while head := _read_request(connection):
                    self.heads.append((number, head))
                    answer = self._script(head)
                    if answer is None:
                        return
                    if self._keep_alive:
                        connection.sendall(answer)
                        continue
                    # said beforehand: a client that learns it from the closed socket may be half into its next request
                    connection.sendall(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                    return
        except OSError:
            return  # the client went away, or refused our certificate


def _read_request(connection: socket.socket) -> str:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return ""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            while len(body) < int(value):
                body += connection.recv(65536)
    return text


@pytest.fixture
def wire() -> Iterator[Callable[..., Wire]]:
    """Start a `Wire` with a script, or with one fixed answer."""
    running: list[Wire] = []

    def start(script: Callable[[str], Answer] | Answer, **options: object) -> Wire:
        running.append(Wire(script if callable(script) else lambda head: script, **options))  # type: ignore[arg-type]
        return running[-1]

    yield start
    for one in running:
        one.close()
