"""Send media as a careful file server would - HEAD, Range, If-Range, ETag - or as badly as a fault asks for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from aiohttp import web

from emulator.sora.journal import Call
from emulator.sora.media import Source

REQUEST_ID = "apim-request-id"
_CHUNK = 262144
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def asked_range(value: str | None, size: int) -> tuple[int, int] | None:
    """Read a Range header into (start, end) with end excluded.

    None when the whole is to be sent (no header, another unit, several ranges, nonsense: RFC 9110 14.2);
    ValueError when it cannot be satisfied.
    """
    found = _RANGE.fullmatch((value or "").strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        if int(last) == 0 or size == 0:
            raise ValueError("empty suffix")
        return max(0, size - int(last)), size
    start, end = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    if start >= size:
        raise ValueError("begins behind the end")
    return start, end


def _still_same(condition: str | None, tag: str, modified: datetime) -> bool:
    """Judge If-Range: a strong ETag or a date must match exactly."""
    if condition is None or condition == tag:
        return True
    try:
        return parsedate_to_datetime(condition) == modified
    except ValueError:
        return False


async def deliver(
    request: web.Request,
    call: Call,
    source: Source,
    media_type: str,
    modified: datetime,
    more: Mapping[str, str] | None = None,
    plain: bool = False,
) -> web.StreamResponse:
    """Answer a GET or HEAD with the source's bytes; counts what was written into `call.bytes`.

    `more`: further headers. `plain`: as a server that knows nothing of ranges and validators.
    """
    fault = call.fault
    kind, args = (fault.kind, fault.args) if fault else ("", {})
    tag, modified = f'"{source.tag}"', modified.replace(microsecond=0)
    headers = {**(more or {}), REQUEST_ID: call.request_id}
    if not plain:
        dated = {"Last-Modified": format_datetime(modified, usegmt=True), "Accept-Ranges": "bytes"}
        headers |= {"ETag": tag, **dated}
    headers["Content-Type"] = str(args["content_type"]) if kind == "wrong_type" else media_type
    if not plain and tag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    status, start, end = 200, 0, source.size
    ranged = request.method == "GET" and kind != "range_ignored" and not plain
    if ranged and _still_same(request.headers.get("If-Range"), tag, modified):
        try:
            asked = asked_range(request.headers.get("Range"), source.size)
        except ValueError:
            return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{source.size}"})
        if asked is not None:
            status, (start, end) = 206, asked
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{source.size}"
    response = web.StreamResponse(status=status, headers=headers)
    if kind == "no_length":
        response.enable_chunked_encoding()
    else:
        response.content_length = end - start
    await response.prepare(request)
    call.status = status
    if request.method == "GET":
        with suppress(ConnectionError):  # the client has left
            await _send(request, response, call, source, start, end, kind, args)
    return response


async def _send(
    request: web.Request,
    response: web.StreamResponse,
    call: Call,
    source: Source,
    start: int,
    end: int,
    kind: str,
    args: dict[str, Any],
) -> None:
    chunk, pause, stall_at, cut_at = _CHUNK, 0.0, -1, -1
    if kind == "slow":
        chunk, pause = max(1, int(args["bytes_per_second"]) // 10), 0.1
    elif kind == "truncate":
        cut_at = min(start + (int(args["after"]) if args["after"] is not None else (end - start) // 2), end)
    elif kind == "stall":
        stall_at = start + int(args["after"])
    at = start
    while at < end and at != cut_at:
        stops = [stop for stop in (cut_at, stall_at) if stop > at]
        data = source.read(at, min([at + chunk, end, *stops]) - at)
        await response.write(data)
        call.bytes += len(data)
        at += len(data)
        if at == stall_at:
            await asyncio.sleep(float(args["seconds"]))
        elif pause:
            await asyncio.sleep(pause)
    if cut_at >= 0:
        cut(request)


def cut(request: web.Request) -> None:
    """Close the connection; what was written before still goes out."""
    if request.transport is not None:
        request.transport.close()
