"""`python -m emulator.sora`: serve the simulated provider until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from emulator.parent import stop_with_parent
from emulator.sora.control import HELP as control_help
from emulator.sora.faults import ANY_OP, KINDS, Kind, read_fault
from emulator.sora.profiles import PROFILES
from emulator.sora.simulator import Simulator
from emulator.sora.studio import PROMPT_TRIGGERS


def _at_least(least: int, sort: Callable[[str], float]) -> Callable[[str], float]:
    """Make an argument type for numbers from `least` on."""

    def number(text: str) -> float:
        value = sort(text)
        if not value >= least:
            raise ValueError
        return value

    number.__name__ = f"number from {least}"  # argparse names the type when it refuses
    return number


def _explain(name: str, kind: Kind) -> str:
    where = "any" if kind.ops == ANY_OP else ", ".join(kind.ops)
    args = "".join(f"\n{'':24}{arg} = {json.dumps(default)}" for arg, default in kind.args.items() if arg != "shape")
    return f"  {name:21} [{where}] {kind.does}{args}"


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    kinds = "\n".join(_explain(name, kind) for name, kind in KINDS.items())
    triggers = "\n".join(f"  {word:21} {does}" for word, does in PROMPT_TRIGGERS.items())
    profiles = "\n".join(
        f"  {name:21} " + f"\n{'':24}".join(profile.about.splitlines()) for name, profile in PROFILES.items()
    )
    faults = (
        "Fault kinds, with the operations they are for and the defaults of their arguments\n"
        f"(any: {', '.join(ANY_OP)};\nthumbnail is any picture of a video; "
        f"refusals also take shape: wrapped, flat, html or empty):\n{kinds}"
    )
    parser = argparse.ArgumentParser(
        prog="python -m emulator.sora",
        description="A provider of videos and images on this machine, with real MP4, PNG and JPEG files and faults on\n"
        "demand. At the printed address it speaks three dialects at once:\n\n"
        "  azure-jobs     /openai/v1/video/generations/jobs   Azure OpenAI's jobs API of Sora\n"
        "  openai-videos  /v1/videos, /openai/v1/videos       the Videos API\n"
        "  openai-images  .../images/generations and edits    the Images API\n\n"
        "The last two have the ways of the server that --profile names.",
        epilog=f"Profiles:\n{profiles}\n\n{control_help}\n{faults}\n\nPrompt words:\n{triggers}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, seconds = parser.add_argument, _at_least(0, float)
    add("--port", type=int, default=7090, help="port on 127.0.0.1; 0 takes a free one (default: %(default)s)")
    add(
        "--data", type=Path, default=Path(".dev/sora"), help="folder of tasks, journal and media (default: %(default)s)"
    )
    add("--api-key", help="refuse calls without this key in `api-key` or `Authorization: Bearer` (default: no check)")
    add("--generation-seconds", type=seconds, default=8.0, help="how long a task takes (default: %(default)s)")
    add(
        "--expiry-seconds",
        type=seconds,
        help="how long a finished task is kept (default: as the profile does, azure 86400)",
    )
    add(
        "--profile", choices=tuple(PROFILES), default="azure", help="whose ways the two OpenAI dialects have; see below"
    )
    add("--cloud", action="store_true", help="profile sglang: content is a 400 that names a URL")
    add("--forget-on-restart", action=argparse.BooleanOptionalAction,
        help="begin without the tasks of an earlier run (default: as the profile does)")  # fmt: skip
    add("--image-seconds", type=seconds, default=2.0, help="how long an image call takes (default: %(default)s)")
    add("--poll-after-ms", type=_at_least(0, int), default=1000, metavar="MS",
        help="header openai-poll-after-ms of profiles azure and openai (default: %(default)s)")  # fmt: skip
    add(
        "--max-running",
        type=_at_least(0, int),
        help="more unfinished tasks are refused with 429 'Too many running tasks'",
    )
    add(
        "--creates-per-minute",
        type=_at_least(0, int),
        help="more accepted creates in any 60 s are refused with 429 and Retry-After",
    )
    add("--deployments", type=lambda text: [name for name in text.split(",") if name], default=[], metavar="A,B",
        help="known deployment names; another `model` is refused with 404 (default: all are known)")  # fmt: skip
    add(
        "--error-shape",
        choices=("wrapped", "flat"),
        default="wrapped",
        help="form of error bodies (default: %(default)s)",
    )
    add("--media", choices=("full", "tiny"), default="full",
        help="full: the asked size at 24 frames/s; tiny: an eighth of it at 4 (default: %(default)s)")  # fmt: skip
    add("--media-bytes", type=_at_least(1, int), metavar="N", help="every video has exactly N bytes, made on the fly")
    add("--fault", action="append", default=[], metavar="JSON", help="a fault in force from the start; repeatable")
    add("--stop-with-parent", action="store_true", help="stop when the parent process ends (its pipe to stdin closes)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop; 0 after a clean stop, 1 when the start failed."""
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        faults = [read_fault(json.loads(text)) for text in args.fault]
    except ValueError as error:
        parser.error(f"--fault: {error}")
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if args.cloud and not PROFILES[args.profile].cloud:
        parser.error(f"--cloud: profile {args.profile} keeps no content in a cloud storage; sglang can")
    if args.stop_with_parent:
        stop_with_parent()
    simulator = Simulator(
        args.data,
        port=args.port,
        generation_seconds=args.generation_seconds,
        api_key=args.api_key,
        media=args.media,
        media_bytes=args.media_bytes,
        expiry_seconds=args.expiry_seconds,
        max_running=args.max_running,
        creates_per_minute=args.creates_per_minute,
        deployments=args.deployments,
        error_shape=args.error_shape,
        profile=args.profile,
        cloud=args.cloud,
        forget_on_restart=args.forget_on_restart,
        image_seconds=args.image_seconds,
        poll_after_ms=args.poll_after_ms,
    )
    try:
        args.data.mkdir(parents=True, exist_ok=True)
        simulator.start()
    except sqlite3.OperationalError as error:
        print(f"cannot use --data {args.data}: {error}; does another simulator use it?", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot serve on 127.0.0.1:{args.port} with --data {args.data}: {error.strerror}", file=sys.stderr)
        return 1
    for fault in faults:
        simulator.fault(fault.op, fault.kind, fault.times, fault.match, delay=fault.delay, **fault.args)
    print(f"ready {simulator.url}", flush=True)
    while not stopping.wait(0.5):  # a timed wait lets signals through on Windows too
        pass
    simulator.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
