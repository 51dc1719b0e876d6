"""Where a provider may send us: the rule in its cases, and that it holds for the address really connected to."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
import requests
import responses

from reelkeeper.errors import ProviderError
from reelkeeper.model import Output
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.openai_videos import OpenAIVideos
from reelkeeper.providers.outbound import AddressRefused, Outbound, Public, is_of_machine, is_private, resolve
from reelkeeper.providers.session import Session

Start = Callable[..., Any]
FILE = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 4
PUBLIC = "20.50.2.1"
OUTPUT = Output("gen_1", 1280, 720, 5)


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    fields = {"Content-Length": str(len(body)), "Content-Type": "video/mp4", **headers}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {text}" for name, text in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def rule(base_url: str, **hosts: str) -> Outbound:
    """The rule of a provider; `hosts` are the addresses of names, dots written as underscores."""
    known = {name.replace("_", "."): addresses.split() for name, addresses in hosts.items()}

    def look_up(host: str) -> list[str]:
        if host.rstrip(".") in known:
            return list(known[host.rstrip(".")])
        if host.replace(".", "").isdecimal() or ":" in host:
            return [host]
        raise OSError("no such name")

    return Outbound(base_url, look_up)


def allowed(outbound: Outbound, url: str) -> bool:
    """What the rule says of an address as a whole: its form, and each address of its host."""
    host = requests.utils.urlparse(url).hostname or ""
    try:
        outbound.check_form(url)
        for address in outbound.resolve(host):
            outbound.check_address(host, address, url.startswith("https"))
    except AddressRefused:
        return False
    return True


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("20.50.2.1", False),
        ("2a01:111:f100::1", False),
        ("10.1.2.3", True),
        ("172.16.0.1", True),
        ("192.168.0.1", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("0.0.0.0", True),
        ("169.254.169.254", True),
        ("100.64.0.1", True),
        ("198.18.0.1", True),
        ("224.0.0.1", True),
        ("240.0.0.1", True),
        ("255.255.255.255", True),
        ("168.63.129.16", True),
        ("::1", True),
        ("::", True),
        ("fe80::1%eth0", True),
        ("fc00::1", True),
        ("fec0::1", True),
        ("ff02::1", True),
        ("::ffff:10.0.0.1", True),
        ("::ffff:20.50.2.1", False),
        ("64:ff9b::a00:1", True),
        ("64:ff9b::1432:201", False),
        ("2002:7f00:1::", True),
        ("2001:db8::1", True),
    ],
)
def test_private_is_everything_but_the_public_internet(address: str, private: bool) -> None:
    """Also where an IPv4 address hides in an IPv6 one, and Azure's own endpoint with its public number."""
    assert is_private(address) is private


def test_metadata_services_belong_to_the_machine() -> None:
    """No file of a provider's is there, so even one in our own network may not send us there."""
    assert all(is_of_machine(one) for one in ("169.254.169.254", "168.63.129.16", "0.0.0.0", "::ffff:169.254.169.254"))
    assert not any(is_of_machine(one) for one in ("10.0.0.1", "127.0.0.1", PUBLIC))


CLOUD = rule("https://cloud.example/v1", cloud_example=PUBLIC, cdn_example=f"{PUBLIC} 2a01:111:f100::1",
             inner_example="10.0.0.9", mixed_example=f"{PUBLIC} 10.0.0.9")  # fmt: skip
INSIDE = rule("http://gpu.example:8000/v1", gpu_example="10.0.0.5", minio_example="10.0.0.6", cdn_example=PUBLIC)
TLS_INSIDE = rule("https://gpu.example/v1", gpu_example="10.0.0.5", minio_example="10.0.0.6", cdn_example=PUBLIC)
PLAIN = rule("http://plain.example/v1", plain_example=PUBLIC, cdn_example=PUBLIC, inner_example="10.0.0.9")


@pytest.mark.parametrize(
    ("outbound", "url", "good"),
    [
        # a provider on the internet: https to public addresses
        (CLOUD, "https://cdn.example/v.mp4", True),
        (CLOUD, "https://cloud.example:8443/v.mp4", True),
        (CLOUD, "http://cdn.example/v.mp4", False),
        (CLOUD, "http://cloud.example/v.mp4", False),
        (CLOUD, "https://inner.example/v.mp4", False),
        (CLOUD, "https://mixed.example/v.mp4", False),
        (CLOUD, "https://127.0.0.1/v.mp4", False),
        (CLOUD, "https://[::1]/v.mp4", False),
        (CLOUD, "https://169.254.169.254/metadata", False),
        # one that is itself inside, over plain http: the same host, and other places inside
        (INSIDE, "http://gpu.example:9000/v.mp4", True),
        (INSIDE, "http://GPU.example./v.mp4", True),
        (INSIDE, "http://minio.example/v.mp4", True),
        (INSIDE, "https://minio.example/v.mp4", True),
        (INSIDE, "https://cdn.example/v.mp4", True),
        (INSIDE, "http://cdn.example/v.mp4", False),
        (INSIDE, "http://169.254.169.254/metadata", False),
        (INSIDE, "http://168.63.129.16/", False),
        # inside, but over https: no step back to plain http
        (TLS_INSIDE, "https://minio.example/v.mp4", True),
        (TLS_INSIDE, "http://minio.example/v.mp4", False),
        (TLS_INSIDE, "http://gpu.example/v.mp4", False),
        # plain http on the internet: its own host only
        (PLAIN, "http://plain.example/v.mp4", True),
        (PLAIN, "http://cdn.example/v.mp4", False),
        (PLAIN, "https://cdn.example/v.mp4", True),
        (PLAIN, "https://inner.example/v.mp4", False),
        (PLAIN, "http://inner.example/v.mp4", False),
    ],
)
def test_the_rule_for_every_kind_of_provider(outbound: Outbound, url: str, good: bool) -> None:
    """A provider opens no door that it does not stand behind itself."""
    assert allowed(outbound, url) is good


def test_a_provider_that_does_not_resolve_is_not_inside() -> None:
    """In doubt the stricter rule holds."""
    assert not allowed(rule("https://gone.example"), "https://10.0.0.6/v.mp4")


@pytest.mark.parametrize(
    "url", ["", "v.mp4", "ftp://cdn.example/v", "file:///etc/passwd", "https:///v", "https://[::1"]
)
def test_what_is_no_web_address_is_no_address(url: str) -> None:
    """Nothing but http and https is spoken."""
    with pytest.raises(ValueError, match=r"."):
        CLOUD.check_form(url)


# The connection itself


def session(outbound: Outbound) -> Session:
    return Session(outbound.adapter())


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
    with session(CLOUD) as sending, pytest.raises(requests.ConnectionError, match="resolve"):
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


def test_the_real_resolver_knows_literals_and_names() -> None:
    """Each address once; a name that is none is an OSError."""
    assert resolve("127.0.0.1") == ["127.0.0.1"]
    assert "127.0.0.1" in resolve("localhost")
    with pytest.raises(OSError, match=r"."):
        resolve("no.such.name.invalid")


# Addresses of callers


def public(allow_private: bool, *addresses: str) -> Public:
    """The rule where every name has these addresses."""
    return Public(allow_private, lambda line: None, lambda host: list(addresses))


@pytest.mark.parametrize(
    ("url", "addresses", "closed", "opened"),
    [
        ("https://a.example/", [PUBLIC], True, True),
        ("https://a.example:8443/", [PUBLIC], True, True),
        ("http://a.example/", [PUBLIC], False, True),
        ("https://a.example/", ["10.0.0.9"], False, True),
        ("https://a.example/", [PUBLIC, "10.0.0.9"], False, True),
        ("https://a.example/", [PUBLIC, PUBLIC, PUBLIC, "127.0.0.1"], False, True),
        ("https://a.example/", ["::ffff:10.0.0.9"], False, True),
        ("http://a.example/", ["127.0.0.1"], False, True),
        ("https://a.example/", ["169.254.169.254"], False, False),
        ("https://a.example/", ["168.63.129.16"], False, False),
    ],
)
def test_callers_addresses_are_public_and_https(url: str, addresses: list[str], closed: bool, opened: bool) -> None:
    """In development anything but the machine's own services, wherever the name's other addresses are."""
    assert allowed(public(False, *addresses), url) is closed
    assert allowed(public(True, *addresses), url) is opened


def test_a_name_with_many_dead_addresses_does_not_take_for_ever(wire: Start) -> None:
    """Three are tried; the one that would answer comes too late."""
    server = wire(answer(200, FILE))
    for before, good in ((2, True), (3, False)):
        outbound = public(True, *["::1"] * before, "127.0.0.1")
        with session(outbound) as sending:
            if good:
                assert sending.get(f"http://many.example:{server.port}/", timeout=5).content == FILE
            else:
                with pytest.raises(requests.ConnectionError):
                    sending.get(f"http://many.example:{server.port}/", timeout=5)


# Downloads


def refusal(provider: AzureJobs | OpenAIVideos) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        provider.open_output(OUTPUT)
    return caught.value


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/metadata/instance?sig=abc", "http://[::ffff:169.254.169.254]/", "http://0.0.0.0:9/"],
)
def test_a_redirect_against_the_rule_is_a_failure_without_the_address(
    wire: Start, adapter: Callable[..., AzureJobs], location: str
) -> None:
    """It is told that the download was not followed and why, not where it led."""
    server = wire(answer(302, Location=location))
    fault = refusal(adapter(server.url)).fault
    assert (fault.code, fault.provider_status) == ("provider_error", 302)
    assert fault.provider_message == "The download is not followed. It leads to a private address."


def test_a_redirect_to_plain_http_is_not_followed(adapter: Callable[..., AzureJobs]) -> None:
    """What began with TLS does not go on without."""
    with responses.RequestsMock() as calls:
        url = "https://r.example/openai/v1/video/generations/gen_1/content/video"
        calls.get(url, status=302, headers={"Location": "http://r.example/v.mp4"})
        fault = refusal(adapter()).fault
    assert fault.provider_message == "The download is not followed. It leads to an address without https."


def test_who_left_the_origin_does_not_get_the_key_on_the_way_back(
    wire: Start, adapter: Callable[..., AzureJobs]
) -> None:
    """Another host must not be able to choose what is asked of the provider in our name."""

    def home(head: str) -> bytes:
        return answer(200, FILE) if "/back" in head else answer(302, Location=away.url)

    home_server = wire(home)
    away = wire(lambda head: answer(302, Location=f"{home_server.url}/back"))
    with adapter(home_server.url).open_output(OUTPUT) as content:
        assert b"".join(content.chunks()) == FILE
    assert ["api-key" in head for head in home_server.requests] == [True, False]


def test_a_given_address_on_the_providers_own_host_is_followed(
    wire: Start, videos: Callable[..., OpenAIVideos]
) -> None:
    """A self-hosted server with its own storage, over plain http, and without the key."""

    def script(head: str) -> bytes:
        if "/content" in head:
            words = f'{{"detail": "Please use the cloud URL: {server.url}/files/0.mp4"}}'
            return answer(400, words.encode())
        return answer(200, FILE)

    server = wire(script)
    with videos(f"{server.url}/v1").open_output(Output("video_1", 1, 1, 1)) as content:
        assert b"".join(content.chunks()) == FILE
    assert ["Authorization" in head for head in server.requests] == [True, False]


def test_a_port_that_nobody_serves_is_told_as_refused(wire: Start, adapter: Callable[..., AzureJobs]) -> None:
    """Failures of the connection keep their words behind the check."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    server = wire(answer(302, Location=f"http://127.0.0.1:{port}/v.mp4"))
    assert refusal(adapter(server.url)).fault.provider_message == "The connection was refused."
