"""The rule holds for the address that is really connected to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from addresses import PUBLIC, rule

from reelkeeper.outbound.connections import CheckedAdapter
from reelkeeper.outbound.rule import AddressRefused, Outbound, Public
from reelkeeper.outbound.session import Session

Start = Callable[..., Any]
FILE = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 4


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    fields = {"Content-Length": str(len(body)), "Content-Type": "video/mp4", **headers}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {text}" for name, text in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def session(outbound: Outbound) -> Session:
    return Session(CheckedAdapter(outbound))


def test_the_connection_goes_to_the_address_that_was_checked(wire: Start) -> None:
    """A name that answers differently every time is looked up once, and the Host header still names it."""
    server = wire(answer(200, FILE))
    lookups: list[str] = []

    def look_up(host: str) -> list[str]:
        lookups.append(host)
        return ["127.0.0.1"] if lookups.count(host) == 1 else ["203.0.113.7"]

    with session(Outbound(f"http://rebind.example:{server.port}/v1", look_up)) as sending:
        got = sending.get(f"http://rebind.example:{server.port}/v.mp4", timeout=5)
    assert got.content == FILE
    assert lookups == ["rebind.example"]
    assert f"Host: rebind.example:{server.port}" in server.requests[0]


def test_every_address_of_a_name_is_tried(wire: Start) -> None:
    """localhost is ::1 as well, where nobody may listen."""
    server = wire(answer(200, FILE))
    outbound = Outbound(f"http://two.example:{server.port}", lambda host: ["::1", "127.0.0.1"])
    with session(outbound) as sending:
        assert sending.get(f"http://two.example:{server.port}/v.mp4", timeout=5).content == FILE


def test_a_refused_address_is_never_connected_to(wire: Start) -> None:
    """One private address among the name's is enough, and nothing was sent there."""
    server = wire(answer(200, FILE))
    outbound = rule("https://cloud.example", cloud_example=PUBLIC, trick_example=f"127.0.0.1 {PUBLIC}")
    with session(outbound) as sending, pytest.raises(AddressRefused):
        sending.get(f"https://trick.example:{server.port}/v.mp4", timeout=5)
    assert server.heads == []


def test_a_name_that_does_not_resolve_is_told_as_such() -> None:
    """As for any other connection."""
    with session(rule("https://cloud.example")) as sending, pytest.raises(requests.ConnectionError, match="resolve"):
        sending.get("https://gone.example/v.mp4", timeout=5)


def test_through_a_proxy_the_names_addresses_are_looked_at_first(wire: Start) -> None:
    """The proxy connects, so what is known here is checked here, and what is not is left to it."""
    proxy = wire(lambda head: answer(200, FILE))
    proxies = {"http": proxy.url, "https": proxy.url}
    outbound = rule("http://gpu.example", gpu_example="10.0.0.5", bad_example="169.254.169.254", ok_example="10.0.0.6")
    with session(outbound) as sending:
        with pytest.raises(AddressRefused):
            sending.get("http://bad.example/v.mp4", timeout=5, proxies=proxies)
        assert proxy.heads == []
        for host in ("ok.example", "elsewhere.example"):
            assert sending.get(f"http://{host}/v.mp4", timeout=5, proxies=proxies).content == FILE


def test_a_name_with_many_dead_addresses_does_not_take_for_ever(wire: Start) -> None:
    """Three are tried; the one that would answer comes too late."""
    server = wire(answer(200, FILE))

    def dead(before: int) -> Public:
        return Public(True, lambda line: None, lambda host: [*["::1"] * before, "127.0.0.1"])

    with session(dead(2)) as sending:
        assert sending.get(f"http://many.example:{server.port}/", timeout=5).content == FILE
    with session(dead(3)) as sending, pytest.raises(requests.ConnectionError):
        sending.get(f"http://many.example:{server.port}/", timeout=5)
