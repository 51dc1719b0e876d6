"""The wire: what is sent along, what a broken connection means for a create, and what is never told."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import responses
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import MaxRetryError, NameResolutionError

from reelkeeper.errors import ProviderError
from reelkeeper.model import JobRequest
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.base import ProviderConfig

Make = Callable[..., AzureJobs]
Start = Callable[..., Any]
NOW = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
KEY = "sEcReT/k3y+for=tests"
JOBS = "https://r.example/openai/v1/video/generations/jobs"
JOB = b'{"id": "task_1", "status": "queued", "created_at": 1795166000}'


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole HTTP answer; header names with underscores for hyphens. Content-Length is right unless given."""
    fields = {"Content-Length": str(len(body)), **{name.replace("_", "-"): text for name, text in headers.items()}}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {text}" for name, text in fields.items() if text)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def in_chunks(status: int, *pieces: bytes, end: bytes = b"0\r\n\r\n", **headers: str) -> bytes:
    """An answer in chunked transfer, each piece a chunk of its own."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + end
    return answer(status, body, Content_Length="", Transfer_Encoding="chunked", **headers)


def refusal(call: Callable[..., Any], *args: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        call(*args)
    return caught.value


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def unknown_certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The server side of a certificate that nobody has signed."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    path: Path = tmp_path_factory.mktemp("tls") / "server.pem"
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


# Was it sent? What a create means that brought no answer


def test_a_refused_connection_made_nothing(adapter: Make, request_: JobRequest, closed_port: int) -> None:
    """Nobody listened, so no task was paid: the create may simply be repeated."""
    error = refusal(adapter(f"http://127.0.0.1:{closed_port}").submit, request_)
    assert (error.fault.code, error.outcome_unknown) == ("provider_error", False)
    assert error.fault.provider_message == "The connection was refused."


def test_a_dropped_answer_may_have_made_a_task(wire: Start, adapter: Make, request_: JobRequest) -> None:
    """The request went out and the connection ended: nobody knows."""
    error = refusal(adapter(wire(None).url).submit, request_)
    assert (error.fault.code, error.outcome_unknown) == ("provider_error", True)
    assert error.fault.provider_message == "The connection broke."


@pytest.mark.parametrize(
    "cut",
    [
        answer(201, JOB[:20], Content_Length=str(len(JOB))),
        in_chunks(201, JOB[:20], end=b""),
        in_chunks(201, JOB, end=b"zz\r\n"),
        b"HTTP/1.1 201 Created\r\nContent-Le",
        b"not http at all\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_off_may_have_made_a_task(
    wire: Start, adapter: Make, request_: JobRequest, cut: bytes
) -> None:
    """A success whose body never arrives whole has lost the task's id, not the task."""
    assert refusal(adapter(wire(cut).url).submit, request_).outcome_unknown


def test_a_create_answered_in_chunks_is_read_whole(wire: Start, adapter: Make, request_: JobRequest) -> None:
    """Servers that stream their JSON are understood."""
    task = adapter(wire(in_chunks(201, JOB[:7], JOB[7:30], JOB[30:])).url).submit(request_)
    assert task.task_id == "task_1"


def test_an_unknown_certificate_made_nothing(
    wire: Start, adapter: Make, request_: JobRequest, unknown_certificate: ssl.SSLContext
) -> None:
    """The handshake failed before the request: nothing was sent, neither a prompt nor a key."""
    server = wire(answer(201, JOB), tls=unknown_certificate)
    error = refusal(adapter(server.url).submit, request_)
    assert (error.fault.provider_message, error.outcome_unknown) == ("The TLS connection failed.", False)
    assert server.heads == []


def test_a_proxy_that_is_not_there_made_nothing(
    adapter: Make, request_: JobRequest, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A create that did not get through the proxy was not carried out."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port}")
    error = refusal(adapter("http://127.0.0.1:9").submit, request_)
    assert (error.fault.provider_message, error.outcome_unknown) == ("The proxy could not be reached.", False)


def retried(reason: Exception) -> MaxRetryError:
    """How urllib3 wraps what went wrong."""
    with HTTPConnectionPool("nowhere.invalid") as pool:
        return MaxRetryError(pool, "/jobs", reason)


UNRESOLVED = NameResolutionError("nowhere.invalid", HTTPConnection("nowhere.invalid"), socket.gaierror(-2, "no"))
BAD_RECORD = urllib3.exceptions.SSLError(ssl.SSLError(1, "bad record mac"))


@pytest.mark.parametrize(
    ("failure", "words", "unknown"),
    [
        (requests.ConnectionError(retried(UNRESOLVED)), "The host name does not resolve.", False),
        (requests.ConnectTimeout(), "No answer in time.", False),
        (requests.ReadTimeout(), "No answer in time.", True),
        (requests.exceptions.SSLError(), "The TLS connection failed.", True),
        (requests.exceptions.SSLError(retried(BAD_RECORD)), "The TLS connection failed.", True),
        (requests.exceptions.ChunkedEncodingError(), "The connection broke.", True),
        (requests.exceptions.InvalidURL(), "The address or the key cannot be used.", False),
        (UnicodeEncodeError("latin-1", "key", 0, 1, "no"), "The address or the key cannot be used.", False),
    ],
)
def test_each_failure_of_the_network_is_told_apart(
    adapter: Make, request_: JobRequest, failure: Exception, words: str, unknown: bool
) -> None:
    """Only what can have reached the provider leaves the outcome unknown; a look never does."""
    with responses.RequestsMock() as calls:
        calls.post(JOBS, body=failure)
        calls.get(f"{JOBS}/task_1", body=failure)
        create, look = refusal(adapter().submit, request_), refusal(adapter().look, "task_1")
    assert (create.fault.provider_message, create.outcome_unknown) == (words, unknown)
    assert (look.fault.provider_message, look.outcome_unknown) == (words, False)
    assert create.fault.code == look.fault.code == "provider_error"


def test_a_create_never_uses_an_old_connection(wire: Start, adapter: Make, request_: JobRequest) -> None:
    """A server that hangs up on a kept-alive connection would leave a create in doubt, so it gets a new one."""
    used: list[str] = []

    def script(head: str) -> bytes | None:
        used.append(head)
        return answer(200, JOB) if head.startswith("GET") else answer(201, JOB)

    server = wire(script, keep_alive=True)
    provider = adapter(server.url)
    provider.look("task_1")
    provider.look("task_1")
    provider.submit(request_)
    provider.submit(request_)
    provider.look("task_1")
    assert [number for number, _ in server.heads] == [1, 1, 2, 3, 1]


# Credentials


def test_the_key_is_the_only_thing_sent_along(
    wire: Start, adapter: Make, request_: JobRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No cookie comes back to the server that set it, and no password out of a .netrc is added."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password of-another-thing\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server = wire(lambda head: answer(200, JOB, Set_Cookie="session=abc; Path=/"))
    provider = adapter(server.url)
    for _ in range(2):
        provider.submit(request_)
        provider.look("task_1")
    assert len(server.heads) == 4
    for head in server.requests:
        assert f"api-key: {KEY}" in head
        assert "cookie" not in head.lower()
        assert "authorization" not in head.lower()


# Words


def test_an_error_body_in_pieces_is_read_whole(wire: Start, adapter: Make, request_: JobRequest) -> None:
    """The kind of a refusal stands in its message, which may come in several chunks."""
    body = b'{"error": {"message": "Too many running tasks", "code": null}}'
    server = wire(in_chunks(429, body[:11], body[11:30], body[30:], Retry_After="7"))
    error = refusal(adapter(server.url).submit, request_)
    assert (error.fault.code, error.retry_after) == ("too_many_running", 7.0)
    assert error.fault.provider_message == "Too many running tasks"


@pytest.mark.parametrize("body", [in_chunks(400, b'{"error"', end=b""), answer(400, b"{", Content_Length="900")])
def test_an_error_body_that_breaks_off_is_still_a_refusal(
    wire: Start, adapter: Make, request_: JobRequest, body: bytes
) -> None:
    """The status line said no: nothing was made, whatever became of the words."""
    error = refusal(adapter(wire(body).url).submit, request_)
    assert (error.fault.code, error.outcome_unknown) == ("invalid_request", False)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("12", 12.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        (format_datetime(NOW + timedelta(minutes=2), usegmt=True), 120.0),
        (format_datetime(NOW - timedelta(minutes=2), usegmt=True), 0.0),
        ("Fri, 20 Nov 2026 10:31:00 +0100", 60.0),
        ("Friday, 20-Nov-26 09:31:00 GMT", 60.0),
        ("Fri, 20 Nov 2026 09:31:00 -0000", None),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("12 seconds", None),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_forms(adapter: Make, header: str | None, seconds: float | None) -> None:
    """Seconds or an HTTP date; what is neither is as if nothing had been said."""
    with responses.RequestsMock() as calls:
        calls.get(f"{JOBS}/task_1", status=429, headers={} if header is None else {"Retry-After": header})
        assert refusal(adapter().look, "task_1").retry_after == seconds


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40))
def test_no_retry_after_breaks_the_error(header: str) -> None:
    """Whatever stands in the header, there is one error, with a pause or without."""
    provider = AzureJobs(ProviderConfig("s", "videos", "azure-jobs", "https://r.example", "", "k", "m"), lambda: NOW)
    with responses.RequestsMock() as calls:
        calls.get("https://r.example/video/generations/jobs/t", status=503, headers={"Retry-After": header})
        error = refusal(provider.look, "t")
    assert error.retry_after is None or error.retry_after >= 0


@pytest.mark.parametrize("header", ["apim-request-id", "x-ms-request-id", "x-request-id", "APIM-Request-Id"])
def test_the_request_id_is_found_under_every_name(adapter: Make, header: str) -> None:
    """Whichever gateway stands in front, support can be told which request it was; a monster is cut."""
    with responses.RequestsMock() as calls:
        calls.get(f"{JOBS}/task_1", status=500, headers={header: "req-" + "7" * 5000})
        assert refusal(adapter().look, "task_1").fault.request_id == "req-" + "7" * 196


def test_the_azure_gateways_id_goes_before_others(adapter: Make) -> None:
    """Of several ids the one that Azure's support asks for is told."""
    with responses.RequestsMock() as calls:
        calls.get(f"{JOBS}/task_1", status=500, headers={"x-request-id": "b", "apim-request-id": "a"})
        assert refusal(adapter().look, "task_1").fault.request_id == "a"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"Key {KEY} is wrong; {KEY}!", "Key *** is wrong; ***!"),
        ("see https://h/v.mp4?sv=1&sig=AbC%2F123&se=2", "see https://h/v.mp4?sv=1&sig=***&se=2"),
        ("see https://h/v?X-Amz-Signature=ab12&x=1", "see https://h/v?X-Amz-Signature=***&x=1"),
        ("api_key=abc api-key=abc subscription-key=abc", "api_key=*** api-key=*** subscription-key=***"),
        ("access_token=abc&client_secret=d 'password=e'", "access_token=***&client_secret=*** 'password=***'"),
        ("AccountKey=abc==;Endpoint", "AccountKey=***"),
        ("sent Authorization: Bearer eyJ0.eXAi.x-_y, refused", "sent Authorization: Bearer ***, refused"),
        ("n_seconds=5 is too long, monkeys are fine", "n_seconds=5 is too long, monkeys are fine"),
    ],
)
def test_the_providers_words_come_without_secrets(adapter: Make, said: str, told: str) -> None:
    """A provider that repeats a key or a signed URL does not make us repeat it: not in the fault, not in the text."""
    with responses.RequestsMock() as calls:
        calls.get(f"{JOBS}/task_1", status=500, json={"message": said})
        error = refusal(adapter().look, "task_1")
    assert error.fault.provider_message == told
    assert str(error) == f"provider_error: {told}"
    assert error.__cause__ is None


def test_no_failure_of_the_network_shows_the_key_or_the_address(
    adapter: Make, request_: JobRequest, closed_port: int
) -> None:
    """What is raised can be logged and stored as it is."""
    error = refusal(adapter(f"http://127.0.0.1:{closed_port}/secret-path").submit, request_)
    text = f"{error!r} {error} {error.fault} {error.__cause__}"
    assert KEY not in text
    assert "secret-path" not in text
