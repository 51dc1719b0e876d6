"""Downloads: where the bytes come from, who gets the key on the way, where they start, and what a cut means."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest

from reelkeeper.errors import ProviderError
from reelkeeper.model import Output
from reelkeeper.providers.azure_jobs import AzureJobs
from reelkeeper.providers.base import Content
from reelkeeper.providers.http import MAX_REDIRECTS

Make = Callable[..., AzureJobs]
Start = Callable[..., Any]
KEY = "sEcReT/k3y+for=tests"
JOB = b'{"id": "task_1", "status": "queued"}'
FILE = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 40


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole HTTP answer; header names with underscores for hyphens. Content-Length is right unless given."""
    fields = {"Content-Length": str(len(body)), **{name.replace("_", "-"): text for name, text in headers.items()}}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {text}" for name, text in fields.items() if text)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def in_chunks(status: int, *pieces: bytes, end: bytes = b"0\r\n\r\n", **headers: str) -> bytes:
    """An answer in chunked transfer, each piece a chunk of its own."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + end
    return answer(status, body, Content_Length="", Transfer_Encoding="chunked", **headers)


def read(content: Content) -> bytes:
    with content:
        return b"".join(content.chunks())


def refusal(call: Callable[..., Any], *args: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        call(*args)
    return caught.value


# Redirects


def test_a_redirect_to_another_origin_gets_no_credentials(wire: Start, adapter: Make, output: Output) -> None:
    """Another port is another origin: neither the key nor a cookie goes there; the file does come from there."""
    away = wire(lambda head: answer(200, FILE, Content_Type="video/mp4"))
    location = f"{away.url}/signed/0.mp4?sig=abc"
    home = wire(lambda head: answer(302, b"moved", Location=location, Set_Cookie="session=abc; Path=/"))
    provider = adapter(home.url)
    for _ in range(2):
        assert read(provider.open_output(output)) == FILE
    assert [head.split()[1] for head in away.requests] == ["/signed/0.mp4?sig=abc"] * 2
    assert all(f"api-key: {KEY}" in head for head in home.requests)
    assert not [head for head in away.requests if "api-key" in head.lower() or "cookie" in head.lower()]
    assert not [head for head in home.requests if "cookie" in head.lower()]


def test_a_redirect_to_another_host_name_of_the_same_server_gets_no_credentials(
    wire: Start, adapter: Make, output: Output
) -> None:
    """An origin is a name, not an address: localhost is not 127.0.0.1."""

    def script(head: str) -> bytes:
        if "Host: 127" in head:
            return answer(307, Location=f"http://localhost:{server.port}/there")
        return answer(200, FILE)

    server = wire(script)
    assert read(adapter(server.url).open_output(output)) == FILE
    assert ["api-key" in head for head in server.requests] == [True, False]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_origin_keeps_key_and_range(
    wire: Start, adapter: Make, output: Output, status: int
) -> None:
    """A relative or an absolute address on the same origin is still the provider."""

    def script(head: str) -> bytes:
        path = head.split()[1]
        if path.startswith("/moved"):
            return answer(206, FILE[100:], Content_Range=f"bytes 100-{len(FILE) - 1}/{len(FILE)}")
        return answer(status, Location="/moved/once" if "twice" in path else f"{server.url}/twice")

    server = wire(script)
    with adapter(server.url).open_output(output, 100) as content:
        assert content.offset == 100
        assert b"".join(content.chunks()) == FILE[100:]
    assert len(server.heads) == 3
    assert all(f"api-key: {KEY}" in head and "Range: bytes=100-" in head for head in server.requests)


@pytest.mark.parametrize(
    "location", ["http://[::1", "http://127.0.0.1:port/", "file:///etc/passwd", "ftp://127.0.0.1/"]
)
def test_a_redirect_to_no_usable_address_is_a_failure_of_the_provider(
    wire: Start, adapter: Make, output: Output, location: str
) -> None:
    """Nothing but http is followed, and a mangled address is an error like any other."""
    error = refusal(adapter(wire(answer(302, Location=location)).url).open_output, output)
    assert error.fault.code == "provider_error"


def test_redirects_without_end_are_given_up(wire: Start, adapter: Make, output: Output) -> None:
    """A circle is left after a few rounds."""
    server = wire(answer(302, Location="/again"))
    error = refusal(adapter(server.url).open_output, output)
    assert (error.fault.code, error.fault.provider_status) == ("provider_error", 302)
    assert len(server.heads) == MAX_REDIRECTS + 1


def test_a_redirect_without_an_address_is_no_file(wire: Start, adapter: Make, output: Output) -> None:
    """300 and 304 are no content either."""
    for status in (300, 302, 304):
        assert refusal(adapter(wire(answer(status)).url).open_output, output).fault.code == "content_invalid"


# Bytes


def test_a_download_tells_its_length_type_and_validator(wire: Start, adapter: Make, output: Output) -> None:
    """What a resumed download needs to know is there before the first byte is read."""
    modified = "Fri, 20 Nov 2026 09:00:00 GMT"
    server = wire(answer(200, FILE, Content_Type="video/mp4", ETag='"abc"', Last_Modified=modified))
    with adapter(server.url).open_output(output) as content:
        assert (content.offset, content.total, content.media_type) == (0, len(FILE), "video/mp4")
        assert content.validator == f'"abc"|{modified}|{len(FILE)}'
        assert b"".join(content.chunks()) == FILE
    assert "Range" not in server.requests[0]
    assert "Accept-Encoding: identity" in server.requests[0]


def test_the_validator_is_the_same_from_any_byte_and_changes_with_the_file(
    wire: Start, adapter: Make, output: Output
) -> None:
    """A part and the whole of one file identify themselves alike; another ETag or length does not."""
    answers = [
        answer(200, FILE, ETag='"a"'),
        answer(206, FILE[5:], ETag='"a"', Content_Range=f"bytes 5-{len(FILE) - 1}/{len(FILE)}"),
        answer(200, FILE, ETag='"b"'),
        answer(200, FILE[1:], ETag='"a"'),
        in_chunks(200, FILE),
    ]
    provider = adapter(wire(lambda head: answers.pop(0)).url)
    marks = []
    for offset in (0, 5, 0, 0, 0):
        with provider.open_output(output, offset) as content:
            marks.append(content.validator)
    assert marks[0] == marks[1]
    assert len({*marks[1:4]}) == 3
    assert marks[4] == ""


@pytest.mark.parametrize(
    "cut",
    [
        answer(200, FILE[:9000], Content_Length=str(len(FILE))),
        answer(206, FILE[:9000], Content_Length=str(len(FILE)), Content_Range=f"bytes 0-{len(FILE) - 1}/{len(FILE)}"),
        in_chunks(200, FILE[:9000], end=b""),
        in_chunks(200, FILE[:9000], end=b"zz\r\n"),
        in_chunks(200, FILE[:8000], FILE[8000:9000], end=b"ff\r\nshort"),
    ],
)
def test_a_transfer_that_breaks_off_is_an_error_after_what_arrived(
    wire: Start, adapter: Make, output: Output, cut: bytes
) -> None:
    """A truncated file is never taken for a whole one, and what came before the cut was handed out."""
    got: list[bytes] = []
    with adapter(wire(cut).url).open_output(output) as content:
        error = refusal(lambda: got.extend(content.chunks()))
    assert error.fault.code == "provider_error"
    assert FILE.startswith(b"".join(got))


def test_a_chunked_download_is_whole_without_a_length(wire: Start, adapter: Make, output: Output) -> None:
    """No Content-Length is no error when the transfer itself says where it ends."""
    with adapter(wire(in_chunks(200, FILE[:10], FILE[10:5000], FILE[5000:])).url).open_output(output) as content:
        assert content.total is None
        assert b"".join(content.chunks()) == FILE


def test_a_compressed_transfer_is_measured_as_a_file(wire: Start, adapter: Make, output: Output) -> None:
    """A proxy that compresses against our wish sends the length of what it sends, not of the file."""
    packed = gzip.compress(FILE)
    with adapter(wire(answer(200, packed, Content_Encoding="gzip")).url).open_output(output) as content:
        assert content.total is None
        assert b"".join(content.chunks()) == FILE


def test_a_range_is_asked_for_and_told(wire: Start, adapter: Make, output: Output) -> None:
    """206 begins where it says it does; the rest of the file follows."""
    size = len(FILE)
    server = wire(answer(206, FILE[4096:], Content_Range=f"bytes 4096-{size - 1}/{size}"))
    with adapter(server.url).open_output(output, 4096) as content:
        assert (content.offset, content.total) == (4096, size)
        assert b"".join(content.chunks()) == FILE[4096:]
    assert "Range: bytes=4096-" in server.requests[0]


def test_a_server_that_ignores_ranges_is_read_from_the_start(wire: Start, adapter: Make, output: Output) -> None:
    """200 to a Range is the whole file, and says so."""
    with adapter(wire(answer(200, FILE)).url).open_output(output, 4096) as content:
        assert (content.offset, content.total) == (0, len(FILE))
        assert b"".join(content.chunks()) == FILE


def test_a_range_behind_the_end_is_refused_with_its_status(wire: Start, adapter: Make, output: Output) -> None:
    """416 tells the caller to step back; nothing else says so."""
    server = wire(answer(416, Content_Range=f"bytes */{len(FILE)}"))
    error = refusal(adapter(server.url).open_output, output, len(FILE))
    assert (error.fault.code, error.fault.provider_status) == ("content_invalid", 416)


@pytest.mark.parametrize("total", [str(len(FILE)), "*"])
def test_a_part_that_begins_elsewhere_says_where(wire: Start, adapter: Make, output: Output, total: str) -> None:
    """Nobody glues bytes together on the word of the request: the answer's own start counts."""
    server = wire(answer(206, FILE[4000:], Content_Range=f"Bytes 4000-{len(FILE) - 1}/{total}"))
    with adapter(server.url).open_output(output, 4096) as content:
        assert (content.offset, content.total) == (4000, None if total == "*" else len(FILE))
        assert b"".join(content.chunks()) == FILE[4000:]


def test_less_than_the_rest_is_an_error_behind_what_came(wire: Start, adapter: Make, output: Output) -> None:
    """A server may send a smaller part than asked for; the file is not complete then."""
    server = wire(answer(206, FILE[100:200], Content_Range=f"bytes 100-199/{len(FILE)}"))
    error = refusal(read, adapter(server.url).open_output(output, 100))
    assert error.fault.code == "content_invalid"
    assert error.fault.provider_message == f"The download ended at byte 200 of {len(FILE)}."


@pytest.mark.parametrize(
    "content_range", ["", "bytes", "bytes 5-/10", "bytes 9-5/10", "bytes 5-10/10", "items 1-2/3", "bytes ²-9/10"]
)
def test_a_part_without_a_usable_range_is_fetched_whole(
    wire: Start, adapter: Make, output: Output, content_range: str
) -> None:
    """A server that cannot do ranges right would stop every resumed download for ever; without one it works."""

    def script(head: str) -> bytes:
        if "Range:" in head:
            return answer(206, FILE[5:], Content_Range=content_range)
        return answer(200, FILE)

    with adapter(wire(script).url).open_output(output, 5) as content:
        assert (content.offset, content.total) == (0, len(FILE))
        assert b"".join(content.chunks()) == FILE


def test_a_part_that_nobody_asked_for_needs_a_usable_range(wire: Start, adapter: Make, output: Output) -> None:
    """206 to a plain GET is taken at its word, and refused when it has none."""
    part = answer(206, FILE, Content_Range=f"bytes 0-{len(FILE) - 1}/{len(FILE)}")
    assert read(adapter(wire(part).url).open_output(output)) == FILE
    error = refusal(adapter(wire(answer(206, FILE)).url).open_output, output)
    assert (error.fault.code, error.fault.provider_status) == ("provider_error", 206)


def test_leaving_early_closes_the_connection(wire: Start, adapter: Make, output: Output) -> None:
    """A download that is not wanted any more is not read to its end in the background."""
    large = FILE * 400
    server = wire(lambda head: answer(200, large) if "content" in head else answer(200, JOB), keep_alive=True)
    provider = adapter(server.url)
    with provider.open_output(output) as content:
        next(content.chunks())
    assert server.hung_up(1)
    provider.look("task_1")
    assert [number for number, _ in server.heads] == [1, 2]
