"""Where others may send us: the rule for redirects, for addresses in a provider's answers, and for callers' addresses.

1. By its form: https, or plain http where the provider itself is reached by plain http.
2. By the address that is really connected to, so that a name which resolves differently the next time helps nobody:
   public ones, and private ones only for a provider that is itself at a private address.
The provider's own host is always allowed: whoever configured it vouches for it. Through a proxy it is the proxy that
connects; then the name's addresses are looked at beforehand, as far as they resolve here. `Public` is for callers.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Resolve = Callable[[str], list[str]]

PLATFORM = ip_address("168.63.129.16")
"""Azure's own agent endpoint: a public number that reaches into the machine's host."""

NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(Exception):
    """The rule does not allow to connect there. The message is for the person, without the address."""


def resolve(host: str) -> list[str]:
    """Every address of a host name or literal. Raises OSError when there is none."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)))


def is_private(address: str) -> bool:
    """Whether the address is none of the public internet: private, loopback, shared, reserved..."""
    ip = _plain(address)
    odd = ip == PLATFORM or ip.is_multicast or ip.is_reserved
    return odd or not ip.is_global or (isinstance(ip, IPv6Address) and ip.is_site_local)


def is_of_machine(address: str) -> bool:
    """Whether no file of anybody can be there: metadata services, "this host", groups."""
    ip = _plain(address)
    return ip == PLATFORM or ip.is_link_local or ip.is_unspecified or ip.is_multicast


class Outbound:
    """The rule for one provider. `resolve` is handed in by tests."""

    tries: int | None = None
    """How many addresses of a name are tried, each for as long as a connection may take; None: all of them."""

    def __init__(self, base_url: str, resolve: Resolve = resolve) -> None:
        parts = urlsplit(base_url)
        self._plain_http, self._host, self.resolve = parts.scheme == "http", parts.hostname or "", resolve

    def check_form(self, url: str) -> None:
        """Raises AddressRefused, or ValueError for what is no address at all."""
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError("no http address")
        if parts.scheme == "http" and not (self._plain_http and (self._is_own(parts.hostname) or self._is_inside())):
            raise AddressRefused("It leads to an address without https.")

    def check_address(self, host: str, address: str, tls: bool) -> None:
        """Raises AddressRefused when `host` is at an `address` that this provider has no business with."""
        if self._is_own(host):
            return
        if not is_private(address):
            if not tls:  # plain http was let pass for the sake of the private network only
                raise AddressRefused("It leads to an address without https.")
        elif is_of_machine(address) or not self._is_inside():
            raise AddressRefused("It leads to a private address.")

    def connected(self, line: socket.socket) -> None:
        """Told of every new connection."""

    def _is_own(self, host: str) -> bool:
        return host.rstrip(".").lower() == self._host.rstrip(".")

    def _is_inside(self) -> bool:
        """Whether the provider itself is at a private address."""
        try:
            return all(is_private(address) for address in self.resolve(self._host))
        except OSError:
            return False


class Public(Outbound):
    """The rule for an address that a caller gives: https to the public internet.

    `allow_private` (development) permits plain http, and private addresses but those of the machine itself. `watch` is
    told of every connection.
    """

    tries = 3

    def __init__(self, allow_private: bool, watch: Callable[[socket.socket], None], resolve: Resolve = resolve) -> None:
        super().__init__("https://", resolve)
        self._allow_private, self._watch = allow_private, watch

    def check_form(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError("no http address")
        if parts.scheme == "http" and not self._allow_private:
            raise AddressRefused("It leads to an address without https.")

    def check_address(self, host: str, address: str, tls: bool) -> None:
        if is_private(address) and (is_of_machine(address) or not self._allow_private):
            raise AddressRefused("It leads to a private address.")

    def connected(self, line: socket.socket) -> None:
        self._watch(line)


def _plain(address: str) -> Address:
    """The address without its zone; of one that carries an IPv4 address inside, that one."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inside = ip.ipv4_mapped or ip.sixtofour or (IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else None)
        return inside or ip
    return ip
