"""The demonstration: one prompt becomes an MP4 in ``out/``, by the service's public HTTP routes alone.

Plan: 1. the stack, on free ports and a data folder of its own; 2. POST the prompt; 3. draw the status route as a
progress bar until the job has ended; 4. follow each content URL and save the file; 5. print the URLs, stop.
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


@dataclass(frozen=True)
class Wish:
    """The video to ask for, and the folder to save it in."""

    out: Path
    prompt: str = DEFAULT_PROMPT
    width: int = 1280
    height: int = 720
    n_seconds: int = 5
    n_variants: int = 1

    def body(self) -> dict[str, object]:
        names = ("prompt", "width", "height", "n_seconds", "n_variants")
        return {name: getattr(self, name) for name in names}


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
    began = time.monotonic()
    print(f'Prompt: "{wish.prompt}"', file=sys.stderr)
    status, job = _call(f"{stack.app}/api/videos/generate", wish.body())
    if status not in (200, 202):
        raise Trouble(f"The service refused the request ({status}): {_problem(job)}")
    urls = {name: urljoin(stack.app, str(job[f"{name}_url"])) for name in ("status", "result", "content")}
    _watch(stack, urls["status"])
    _, result = _call(urls["result"])
    if result.get("status") != "completed":
        raise Trouble(f"The job has no result: {_problem(result)}")
    for name, url in urls.items():
        print(f"{name:<8} {url}")
    for index, clip in enumerate(result["videos"]):
        path = _save(f"{urls['content']}?index={index}", wish.out / Path(clip["filename"]).name)
        size = f"{clip['width']}x{clip['height']}, {clip['n_seconds']} s, {path.stat().st_size / 1000:,.0f} kB"
        print(f"signed   {clip['file_url']} (expires in 1 h)")
        print(f"saved    {path} ({size})")
    if result.get("warning"):
        print(f"warning  {result['warning']}")
    print(f"took     {time.monotonic() - began:.1f} s from the request to the file")
    print("The service is stopped now. Keep one running with: python3 dev.py up", file=sys.stderr)


def _watch(stack: Stack, status_url: str) -> None:
    """Poll the status route until the job is completed; raises Trouble with the job's error when it is not."""
    began, bar = time.monotonic(), _Bar()
    while True:
        _, status = _call(status_url)
        name = str(status.get("status"))
        elapsed = time.monotonic() - began
        bar.show(name, str(status.get("stage") or name), int(status.get("progress") or 0), elapsed)
        if name == "completed":
            bar.finish()
            return
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


def _save(url: str, path: Path) -> Path:
    """Download ``url``, following redirects, to ``path``; raises Trouble when it is not an MP4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    try:
        with _OPENER.open(_http(url), timeout=60) as answer, partial.open("wb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)
    except OSError as error:
        raise Trouble(f"The content URL gave no file: {error}") from None
    with partial.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            raise Trouble(f"What the content URL gave is not an MP4; look at {partial}.")
    partial.replace(path)
    return path


def _http(url: str) -> str:
    if urlsplit(url).scheme not in ("http", "https"):
        raise Trouble(f"The service gave an address that is not http: {url}")
    return url


def _problem(answer: dict[str, Any]) -> str:
    """Return an error answer in words: its code, its sentence, and the fields it complains about."""
    code = answer.get("code") or answer.get("status") or "unknown"
    detail = answer.get("detail") or answer.get("message") or answer.get("title") or ""
    fields = "".join(f"\n  {each.get('field')}: {each.get('message')}" for each in answer.get("errors") or [])
    return f"{code}: {detail}{fields}"


_OPENER = urllib.request.build_opener()
