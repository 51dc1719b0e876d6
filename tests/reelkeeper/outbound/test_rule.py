"""Where others may send us, providers and callers: the rule in its cases."""

from __future__ import annotations

import pytest
import requests
from addresses import PUBLIC, rule

from reelkeeper.outbound.rule import AddressRefused, Outbound, Public, is_of_machine, is_private, resolve


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
