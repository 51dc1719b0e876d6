"""The demonstration: one prompt becomes an MP4, and an image if wanted, in ``out/``, by public HTTP routes alone.

Plan: 1. the stack, on free ports and a data folder of its own; 2. who makes what is asked for, before anything is paid;
then for the video and for the image: 3. POST the prompt; 4. draw the status route as a progress bar until the job has
ended; 5. follow each content URL and save the file, print the URLs. At the end, stop.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from emulator.stack import Options, Stack, stop_on_signals
from emulator.toolchain import Tools
from emulator.trouble import Stopped, Trouble

DEFAULT_PROMPT = "A paper boat with a tiny lantern drifts down a rain-lit street at night, cinematic, slow dolly shot"
UNSUCCESSFUL = frozenset({"failed", "cancelled", "expired", "submit_unknown"})
POLL_SECONDS = 0.5
GIVE_UP_SECONDS = 3600.0
BAR_WIDTH = 28
INTERRUPTED = 130  # what shells report for Ctrl-C


SIGNATURES = {"MP4": (4, b"ftyp"), "PNG": (0, b"\x89PNG"), "JPEG": (0, b"\xff\xd8\xff"), "WebP": (8, b"WEBP")}
FORMATS = {"videos": ("MP4",), "images": ("PNG", "JPEG", "WebP")}


@dataclass(frozen=True)
class Wish:
    """What to ask for, and the folder to save it in. None: what the service takes when it is not told.

    ``provider``: name or dialect of the one that makes the video; ``image``: make an image of the prompt as well.
    """

    out: Path
    prompt: str = DEFAULT_PROMPT
    width: int | None = None
    height: int | None = None
    n_seconds: int | None = None
    n_variants: int | None = None
    provider: str | None = None
    image: bool = False

    def body(self) -> dict[str, object]:
        """The body of the video's create."""
        names = ("prompt", "width", "height", "n_seconds", "n_variants", "provider")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def run_demo(tools: Tools, options: Options | None, wish: Wish) -> int:
    """Run the demonstration; 0 when the files are saved, 1 when the job failed, 130 after Ctrl-C.

    Without ``options`` the data folder is a temporary one under .dev, removed after a success and kept after a failure.
    """
    (tools.root / ".dev").mkdir(exist_ok=True)
    data = options.data if options else Path(tempfile.mkdtemp(prefix="demo-", dir=tools.root / ".dev"))
    stack = Stack(tools, replace(options or Options(data), port=0), stop_on_signals())
    done = False
    try:
        print("Starting storage, provider and app ...", file=sys.stderr)
        with stack:
            if stack.provider:
                print(f"Using the provider set by {stack.provider}: this generation may cost money.", file=sys.stderr)
            _make(stack, wish)
        done = True
    except Stopped:
        print("\nStopped.", file=sys.stderr)
        return INTERRUPTED
    except Trouble as trouble:
        raise Trouble(f"{trouble}\nThe logs are in {stack.data / 'logs'}.") from None
    finally:
        if done and not options:
            shutil.rmtree(data, ignore_errors=True)
    return 0


def _make(stack: Stack, wish: Wish) -> None:
    status, answer = _call(f"{stack.app}/api/providers")
    if status != 200:
        raise Trouble(f"The service does not tell its providers ({status}): {_problem(answer)}")
    offered = {one["name"]: one for one in answer["providers"]}
    video = chosen([one for one in offered.values() if one["kind"] == "videos"], wish.provider)
    if wish.image and not any(one["kind"] == "images" for one in offered.values()):
        raise Trouble("No provider makes images. Set IMAGE_ENDPOINT and IMAGE_API_KEY, or leave --image out.")
    print(f'Prompt: "{wish.prompt}"', file=sys.stderr)
    _make_one(stack, "videos", replace(wish, provider=video).body(), wish.out, offered)
    if wish.image:
        print("And an image of it.", file=sys.stderr)
        _make_one(stack, "images", {"prompt": wish.prompt}, wish.out, offered)
    print("The service is stopped now. Keep one running with: python3 dev.py up", file=sys.stderr)


def chosen(offered: list[dict[str, Any]], wanted: str | None) -> str | None:
    """Name of the provider that has the ``wanted`` name, else dialect; None leaves it to the service."""
    if wanted is None:
        return None
    for field in ("name", "dialect"):
        for one in offered:
            if one[field] == wanted:
                return str(one["name"])
    known = ", ".join(f"{one['name']} ({one['dialect']})" for one in offered)
    raise Trouble(f"--provider {wanted}: nothing that makes videos has this name or dialect; there is {known}.")


def _make_one(stack: Stack, kind: str, body: dict[str, object], out: Path, offered: dict[str, Any]) -> None:
    began = time.monotonic()
    status, job = _call(f"{stack.app}/api/{kind}/generate", body)
    if status not in (200, 202):
        raise Trouble(f"The service refused the request ({status}): {_problem(job)}")
    urls = {name: urljoin(stack.app, str(job[f"{name}_url"])) for name in ("status", "result", "content")}
    maker = offered[_watch(stack, urls["status"])]
    _, result = _call(urls["result"])
    if result.get("status") != "completed":
        raise Trouble(f"The job has no result: {_problem(result)}")
    print(f"provider {maker['name']} ({maker['dialect']}: {maker['model']} at {maker['host']})")
    for name, url in urls.items():
        print(f"{name:<8} {url}")
    for index, clip in enumerate(result[kind]):
        path = _save(f"{urls['content']}?index={index}", out / Path(clip["filename"]).name, FORMATS[kind])
        length = f", {clip['n_seconds']} s" if clip.get("n_seconds") else ""
        size = f"{clip['width']}x{clip['height']}{length}, {path.stat().st_size / 1000:,.0f} kB"
        print(f"signed   {clip['file_url']} (expires in 1 h)")
        print(f"saved    {path} ({size})")
    if result.get("warning"):
        print(f"warning  {result['warning']}")
    print(f"took     {time.monotonic() - began:.1f} s from the request to the file", flush=True)


def _watch(stack: Stack, status_url: str) -> str:
    """Poll until the job is completed; returns who made it. Raises Trouble with the job's error when it is not."""
    began, bar = time.monotonic(), _Bar()
    while True:
        _, status = _call(status_url)
        name = str(status.get("status"))
        elapsed = time.monotonic() - began
        bar.show(name, str(status.get("stage") or name), int(status.get("progress") or 0), elapsed)
        if name == "completed":
            bar.finish()
            return str(status.get("provider"))
        if name in UNSUCCESSFUL:
            bar.finish()
            raise Trouble(f"The job ended as {name}: {_problem(status.get('error') or status)}")
        if elapsed > GIVE_UP_SECONDS:
            bar.finish()
            raise Trouble(f"The job is still {name} after {GIVE_UP_SECONDS / 60:.0f} minutes.")
        stack.stop_asked.wait(POLL_SECONDS)
        stack.check()


class _Bar:
    """A progress bar on stderr: redrawn in place on a terminal, otherwise one line whenever something changed."""

    def __init__(self) -> None:
        self._terminal, self._last = sys.stderr.isatty(), ""

    def show(self, status: str, stage: str, percent: int, seconds: float) -> None:
        words = status if stage == status else f"{status}: {stage}"
        if self._terminal:
            full = BAR_WIDTH * percent // 100
            bar = f"[{'#' * full}{'.' * (BAR_WIDTH - full)}] {percent:3d} %  {seconds:4.0f} s  {words}"
            print(f"\r{bar:<78}", end="", file=sys.stderr, flush=True)
        elif (line := f"{percent - percent % 10:3d} %  {words}") != self._last:
            self._last = line
            print(f"{seconds:5.1f} s  {percent:3d} %  {words}", file=sys.stderr, flush=True)

    def finish(self) -> None:
        if self._terminal:
            print(file=sys.stderr)


def _call(url: str, body: dict[str, object] | None = None) -> tuple[int, dict[str, Any]]:
    """GET, or POST ``body``; return the status and the JSON object of the answer, whatever the status."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(_http(url), data, {"Content-Type": "application/json"})  # noqa: S310 (checked)
    try:
        with _OPENER.open(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            text = error.read().decode("utf-8", "replace")
        try:
            return error.code, json.loads(text)
        except ValueError:
            return error.code, {"detail": text[:500]}
    except OSError as error:
        raise Trouble(f"The app did not answer: {error}") from None


def _save(url: str, path: Path, formats: tuple[str, ...]) -> Path:
    """Download ``url``, following redirects, to ``path``; raises Trouble when it is in none of the ``formats``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    try:
        with _OPENER.open(_http(url), timeout=60) as answer, partial.open("wb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)
    except OSError as error:
        raise Trouble(f"The content URL gave no file: {error}") from None
    with partial.open("rb") as file:
        begin = file.read(16)
    if not any(begin.startswith(mark, at) for at, mark in (SIGNATURES[name] for name in formats)):
        raise Trouble(f"What the content URL gave is not {' or '.join(formats)}; look at {partial}.")
    partial.replace(path)
    return path


def _http(url: str) -> str:
    if urlsplit(url).scheme not in ("http", "https"):
        raise Trouble(f"The service gave an address that is not http: {url}")
    return url


def _problem(answer: dict[str, Any]) -> str:
    """Return an error answer in words: its code, its sentence, the fields it complains about, the provider's words."""
    code = answer.get("code") or answer.get("status") or "unknown"
    detail = answer.get("detail") or answer.get("message") or answer.get("title") or ""
    fields = "".join(f"\n  {each.get('field')}: {each.get('message')}" for each in answer.get("errors") or [])
    words = f"\n  The provider says: {answer['provider_message']}" if answer.get("provider_message") else ""
    return f"{code}: {detail}{fields}{words}"


_OPENER = urllib.request.build_opener()
