"""HTTP functions over real HTTP: what they see, what the caller gets, and who may call."""

from __future__ import annotations

import http.client
import json
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from emulator.functions.host import Host
from emulator.functions.keys import DURABLE

Serve = Callable[..., Host]


@pytest.fixture
def web(serve: Serve) -> Host:
    """The app of HTTP functions, keys not enforced."""
    return serve("web")


def get(host: Host, path: str, **options: Any) -> requests.Response:
    return requests.get(f"{host.url}/api/{path}", timeout=10, **options)


def status_line(host: Host, request: bytes) -> bytes:
    """Send bytes over a socket and return the first line that comes back."""
    address = ("127.0.0.1", int(host.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=10) as connection, connection.makefile("rb") as received:
        connection.sendall(request)
        return received.readline()


def test_a_function_sees_the_request(web: Host) -> None:
    """Method, URL, headers in lower case, joined query and header values, route parameters and body arrive."""
    connection = http.client.HTTPConnection(web.url.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/API/Echo/caf%C3%A9?a=1&a=2&empty=&b=x%20y")
    connection.putheader("X-Many", "one")
    connection.putheader("X-Many", "two")
    connection.putheader("Content-Length", "4")
    connection.endheaders(b"\x00\xffhi")
    response = connection.getresponse()
    seen = json.loads(response.read())
    connection.close()
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    assert seen["method"] == "POST"
    assert seen["url"] == f"{web.url}/API/Echo/caf%C3%A9?a=1&a=2&empty=&b=x%20y"
    assert seen["headers"]["x-many"] == "one,two"
    assert seen["params"] == {"a": "1,2", "b": "x y"}
    assert seen["route_params"] == {"word": "café"}
    assert seen["body"] == "\x00\xffhi"
    assert seen["thread"].startswith("function_")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_no_methods_listed_means_all(web: Host, method: str) -> None:
    """A route without methods answers every method."""
    response = requests.request(method, f"{web.url}/api/echo", timeout=10)
    assert (response.status_code, response.json()["method"]) == (200, method)


def test_head_has_headers_and_no_body(web: Host) -> None:
    """HEAD runs the function and sends its headers alone."""
    response = requests.head(f"{web.url}/api/echo", timeout=10)
    assert response.status_code == 200
    assert int(response.headers["Content-Length"]) > 0
    assert response.content == b""


def test_a_chunked_body_arrives_empty(web: Host) -> None:
    """As on Azure, a body without Content-Length never reaches the function."""
    response = requests.post(f"{web.url}/api/echo", data=iter([b"lost", b"bytes"]), timeout=10)
    assert response.json()["body"] == ""


def test_a_body_over_100_mb_is_413(web: Host) -> None:
    """The limit is checked by Content-Length before anything is read."""
    head = f"POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: {100 * 2**20 + 1}\r\n\r\n"
    assert status_line(web, head.encode()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("number/7", 200, "number 7"),
        ("number/0", 404, ""),
        ("number/x", 404, ""),
        ("files/a/b.txt", 200, "a/b.txt"),
        ("files", 200, "nothing"),
        ("files/a%2Fb/c", 200, "a%2Fb/c"),
        ("only-post", 404, ""),
        ("no-such-route", 404, ""),
        ("from-blueprint", 200, "blueprint"),
        ("context", 200, "context_of True 36"),
        ("waits", 200, "async-functions"),
    ],
)
def test_routing(web: Host, path: str, status: int, text: str) -> None:
    """A route that does not fit, by constraint or by method, is an empty 404."""
    response = get(web, path)
    assert (response.status_code, response.text) == (status, text)


def test_a_bare_string_is_plain_text(web: Host) -> None:
    """A str becomes text/plain in UTF-8."""
    assert get(web, "number/7").headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [("empty", 204, b""), ("teapot", 418, b"short and stout"), ("bytes", 200, b"\x00\xff")],
)
def test_responses_are_sent_as_returned(web: Host, kind: str, status: int, body: bytes) -> None:
    """Status, headers and body are the function's."""
    response = get(web, f"result/{kind}")
    assert (response.status_code, response.content) == (status, body)
    assert response.headers.get("X-Shape") == ("round" if kind == "teapot" else None)


@pytest.mark.parametrize("kind", ["raise", "none", "dict", "status"])
def test_failures_are_an_empty_500_and_a_log(web: Host, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A function that raises, or returns what is no response, tells the caller nothing and the log everything."""
    response = get(web, f"result/{kind}")
    assert (response.status_code, response.content) == (500, b"")
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failures) == 1
    assert "result" in failures[0].getMessage()
    assert ("a secret detail" in caplog.text) == (kind == "raise")


def test_every_cookie_is_set(web: Host) -> None:
    """Several Set-Cookie headers stay several."""
    response = get(web, "cookies")
    assert response.raw.headers.getlist("Set-Cookie") == ["a=1; Path=/", "b=2; HttpOnly"]


def test_a_function_over_its_time_is_500(web: Host, caplog: pytest.LogCaptureFixture) -> None:
    """functionTimeout fails the call with an empty 500; the log says that the thread runs on."""
    response = get(web, "slow")
    assert (response.status_code, response.content) == (500, b"")
    assert "Timeout value of 1 s was exceeded by function: Functions.slow." in caplog.text
    assert "cannot be stopped" in caplog.text


def test_without_enforcement_no_key_is_asked_for(web: Host) -> None:
    """As `func start`, the host lets everyone in by default."""
    assert [get(web, path).status_code for path in ("guarded", "innermost")] == [200, 200]


@pytest.fixture
def locked(serve: Serve, tmp_path: Path) -> Host:
    """The same app with keys enforced and one key of its own for `guarded`."""
    (tmp_path / "keys.json").write_text('{"functionKeys": {"guarded": {"ci": "its-own"}}}', encoding="utf-8")
    return serve("web", data=tmp_path, enforce_keys=True)


@pytest.mark.parametrize(
    ("key", "opens"),
    [
        ("", ["context"]),
        ("wrong", ["context"]),
        ("its-own", ["context", "guarded"]),
        ("default", ["context", "guarded"]),
        ("system", ["context"]),
        ("master", ["context", "guarded", "innermost"]),
    ],
)
def test_each_level_wants_its_key(locked: Host, key: str, opens: list[str]) -> None:
    """Anonymous, function and admin level open to the right keys, by header or by query, else an empty 401."""
    known = {"default": locked.keys.default, "master": locked.keys.master, "system": locked.keys.system[DURABLE]}
    secret = known.get(key, key)
    for path in ("context", "guarded", "innermost"):
        by_header, by_query = (
            get(locked, path, headers={"x-functions-key": secret}),
            get(locked, f"{path}?code={secret}"),
        )
        expected = 200 if path in opens else 401
        assert (path, by_header.status_code, by_query.status_code) == (path, expected, expected)
        assert expected == 200 or by_header.content == b""


def test_the_header_wins_over_the_query(locked: Host) -> None:
    """With both given, only the header's key counts."""
    wrong_header = {"x-functions-key": "wrong"}
    assert get(locked, f"guarded?code={locked.keys.default}", headers=wrong_header).status_code == 401


def test_a_wrong_path_is_404_whatever_the_key(locked: Host) -> None:
    """Keys are asked for only where there is a function."""
    assert get(locked, "no-such-route").status_code == 404


def test_only_loopback_is_served(web: Host) -> None:
    """The host binds 127.0.0.1 and nothing else."""
    assert web.url.startswith("http://127.0.0.1:")
    port = int(web.url.rpartition(":")[2])
    with socket.socket() as other:
        other.settimeout(2)
        assert other.connect_ex(("127.0.0.2", port)) != 0
