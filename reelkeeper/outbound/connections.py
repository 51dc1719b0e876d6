"""A transport that goes only where the rule allows, by the address that is really connected to."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from reelkeeper.outbound.rule import Outbound
from reelkeeper.outbound.session import POOL_SIZE


class CheckedAdapter(HTTPAdapter):
    """For `Session`. Raises AddressRefused where the rule does not let it connect."""

    def __init__(self, rule: Outbound) -> None:
        self._rule = rule
        super().__init__(pool_maxsize=POOL_SIZE)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._rule)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        parts = urlsplit(request.url or "")
        if select_proxy(request.url or "", proxies):
            for address in self._addresses(parts.hostname or ""):
                self._rule.check_address(parts.hostname or "", address, parts.scheme == "https")
        return super().send(request, stream, timeout, verify, cert, proxies)

    def _addresses(self, host: str) -> list[str]:
        try:
            return self._rule.resolve(host)
        except OSError:
            return []


def _pools(rule: Outbound) -> dict[str, type[HTTPConnectionPool]]:
    class Http(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connect(rule, self, super()._new_conn, tls=False)

    class Https(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connect(rule, self, super()._new_conn, tls=True)

    class HttpPool(HTTPConnectionPool):
        ConnectionCls = Http

    class HttpsPool(HTTPSConnectionPool):
        ConnectionCls = Https

    return {"http": HttpPool, "https": HttpsPool}


def _connect(
    rule: Outbound, connection: HTTPConnection, connect: Callable[[], socket.socket], *, tls: bool
) -> socket.socket:
    """Connect to an address that was checked, not to whatever the name resolves to a moment later."""
    name = connection._dns_host
    host = name.strip("[]")
    try:
        addresses = rule.resolve(host)
    except OSError as error:
        raise NameResolutionError(connection.host, connection, socket.gaierror(str(error))) from error
    for address in addresses:
        rule.check_address(host, address, tls)
    addresses = addresses[: rule.tries]
    try:
        while True:
            connection._dns_host = addresses.pop(0)
            try:
                line = connect()
            except (NewConnectionError, ConnectTimeoutError):
                if not addresses:
                    raise
                continue
            rule.connected(line)
            return line
    finally:
        connection._dns_host = name  # TLS and the Host header go by the name
