"""The way to a provider: names, ports, certificates, and a proxy behind which none of it can be seen."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reelkeeper.diagnosis.network import way_checks

NOW = datetime.now(timezone.utc)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A TLS server on 127.0.0.1: its port, and the certificate that vouches for it for ten more days."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=10))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    plain = serialization.NoEncryption()
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "public.pem").write_bytes(pem)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "server.pem").write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(1)  # until the client has seen what it wanted

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1], folder / "public.pem"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(10)


def way(url: str) -> list[tuple[str, bool, str]]:
    return [(check.name, check.ok, f"{check.detail} {check.fix}") for check in way_checks("p", url, "URL_SETTING", NOW)]


def test_a_certificate_that_nobody_vouches_for(tls: tuple[int, Path]) -> None:
    """The reason stands in the detail, the way to trust it in the fix."""
    (_, dns, _), (name, ok, words) = way(f"https://127.0.0.1:{tls[0]}/v1")
    assert (dns, name, ok) == (True, "p: tls", False)
    assert "self-signed" in words
    assert "REQUESTS_CA_BUNDLE" in words


def test_a_certificate_that_is_trusted_is_shown_with_its_end(
    tls: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the bundle that the app's own requests use; an end within two weeks is said to be soon."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls[1]))
    name, ok, words = way(f"https://127.0.0.1:{tls[0]}/v1")[-1]
    assert (name, ok) == ("p: tls", True)
    assert "TLSv1.3" in words
    assert "which is soon" in words


def test_a_certificate_for_another_name(tls: tuple[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is trusted, but not for this host."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls[1]))
    name, ok, words = way(f"https://localhost:{tls[0]}/v1")[-1]
    assert (name, ok) == ("p: tls", False)
    assert "certificate is not valid for 'localhost'" in words


def test_plain_http_to_the_internet_is_refused_before_anything_is_sent() -> None:
    """A public address, and no connection to it."""
    name, ok, words = way("http://8.8.8.8/v1")[-1]
    assert (name, ok) == ("p: connection", False)
    assert "Begin URL_SETTING with https://" in words


def test_behind_a_proxy_the_proxy_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, without the password in its address, and nothing else is looked at."""
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:secret@proxy.corp:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    ((name, ok, words),) = way("https://films.openai.azure.com/openai/v1")
    assert (name, ok) == ("p: dns", True)
    assert "proxy.corp:3128" in words
    assert "secret" not in words


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("127.0.0.1", "127.0.0.1 is an address itself, on this machine"),
        ("10.0.0.1", "10.0.0.1 is an address itself, in a private network"),
        ("8.8.8.8", "8.8.8.8 is an address itself"),
    ],
)
def test_it_is_told_where_the_addresses_are(host: str, words: str) -> None:
    """An address needs no look-up, and this machine is told from a private network."""
    assert next(way_checks("p", f"https://{host}/v1", "URL_SETTING", NOW)).detail == words
