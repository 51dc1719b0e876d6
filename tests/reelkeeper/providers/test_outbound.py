"""Where a provider may send a download: the outbound rule in the adapters' words, and without our credentials."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
import responses

from reelkeeper.errors import ProviderError
from reelkeeper.model import Output
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.openai_videos import OpenAIVideos

Start = Callable[..., Any]
FILE = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 4
OUTPUT = Output("gen_1", 1280, 720, 5)


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    fields = {"Content-Length": str(len(body)), "Content-Type": "video/mp4", **headers}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {text}" for name, text in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


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
