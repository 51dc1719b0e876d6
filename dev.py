#!/usr/bin/env python3
"""Reelkeeper's developer entry point: sets up what it needs the first time, then runs, tests and checks the project.

Needs Python 3.10 to 3.12 and nothing else. `python3 dev.py --help` lists the commands.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent

MOST_WORKERS = 4
"""Processes that share the whole test suite, file by file. Each has storage and services of its own."""

EXAMPLES = """\
examples:
  python3 dev.py demo                          a prompt becomes a video in out/, with everything emulated
  python3 dev.py demo --prompt "A red kite" --n-seconds 8
  python3 dev.py demo --provider openai-videos --image
  python3 dev.py up                            the service on http://127.0.0.1:7071 until Ctrl-C
  python3 dev.py up --port 0 --data /tmp/a     a second one, on any free port, with its own data
  python3 dev.py doctor                        is everything set up right? each fault with its cause and fix
  python3 dev.py doctor --create               the same, and one real generation, which your provider charges
  python3 dev.py test -k sweep -x              tests; everything after "test" goes to pytest
  python3 dev.py check --fix                   format, then lint, types and layout

Settings come from the environment, then from local.settings.json. With AZURE_SORA_ENDPOINT and AZURE_API_KEY set,
your own provider is used instead of the simulator. The first run downloads from PyPI and npm (about a minute).
"""


def main(arguments: list[str]) -> int:
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        print(_wrong_python(), file=sys.stderr)
        return 1
    from emulator.local_settings import spare_loopback
    from emulator.trouble import Trouble

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # while setting up: end pip and npm with us
    spare_loopback(os.environ)
    try:
        if arguments[:1] == ["test"] and arguments[1:] not in (["-h"], ["--help"]):
            return run_tests(arguments[1:])  # not by argparse, which would take pytest's options for its own
        options = parse(arguments)
        return int(COMMANDS[options.command](options))
    except Trouble as trouble:
        print(f"dev.py: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


def parse(arguments: list[str]) -> argparse.Namespace:
    from emulator.demo import Wish

    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="dev.py", description="Run, test and check Reelkeeper.", epilog=EXAMPLES, formatter_class=plain
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="one prompt to one video file, start to end, then stop",
        description="Start everything, make one video (and an image) of a prompt, save the files, stop. Sizes and "
        "lengths that are not given are the provider's usual ones: 1280x720, and 5 s or, in the dialect "
        "openai-videos, 4 s; the image is 1024x1024.",
    )
    demo.add_argument("--prompt", default=Wish.prompt, help="what the video, and the image, shows")
    demo.add_argument(
        "--provider",
        metavar="NAME",
        help="who makes the video: azure-jobs (the default) or openai-videos, the simulator's dialects; or the name of "
        "a provider of yours",
    )
    demo.add_argument("--image", action="store_true", help="make an image of the prompt as well")
    demo.add_argument("--width", type=int, help="of the video in pixels; goes with --height")
    demo.add_argument("--height", type=int, help="of the video in pixels; goes with --width")
    demo.add_argument("--n-seconds", type=int, help="length of the video")
    demo.add_argument("--n-variants", type=int, help="how many videos (default 1)")
    demo.add_argument("--out", type=Path, default=ROOT / "out", metavar="DIR", help="where to save (default out/)")
    demo.add_argument(
        "--data", type=Path, metavar="DIR", help="keep the service's data here (default: a temporary one)"
    )

    up = commands.add_parser("up", help="start storage, simulator and app; serve until Ctrl-C")
    up.add_argument("--port", type=_port, default=7071, help="of the app; 0 for any free one (default %(default)s)")
    up.add_argument(
        "--data", type=Path, default=ROOT / ".dev" / "data", metavar="DIR", help="all state (default .dev/data)"
    )
    up.add_argument("--no-simulator", action="store_true", help="do not start the provider simulator")
    up.add_argument("--host", choices=("func", "embedded"), help="default: func (Core Tools) when it is on PATH")
    up.add_argument(
        "--enforce-keys", action="store_true", help="ask for function keys as Azure does; embedded host only"
    )

    doctor = commands.add_parser(
        "doctor",
        help="check settings, storage and providers; each fault with its cause and fix",
        description="Check the settings of the environment and local.settings.json, and what they lead to: storage "
        "(write, read, delete, signed URL, clock) and every provider (endpoint, DNS, TLS, credentials, route, "
        "deployment, retirement, quota). Nothing is charged unless you say --create: a provider is asked for its list "
        "of tasks, and for a create without a prompt, which it must refuse. Exit 1 when something is wrong.",
    )
    doctor.add_argument(
        "--create",
        action="store_true",
        help="also make one real generation per provider, the shortest and smallest, and follow it to its file: it is "
        "charged; every exchange is printed, without secrets",
    )
    doctor.add_argument("--provider", metavar="NAME", help="with --create: only at this provider (sora, openai, ...)")
    doctor.add_argument(
        "--json", action="store_true", help="the report as JSON: {ok, checks: [{name, ok, detail, fix}]}"
    )

    commands.add_parser(
        "test", help="every test, on all cores; arguments go to pytest", usage="dev.py test [pytest arguments]"
    )

    check = commands.add_parser("check", help="format, lint, types, layout")
    check.add_argument("--fix", action="store_true", help="format and repair what can be repaired first")
    return parser.parse_args(arguments)


def run_demo(options: argparse.Namespace) -> int:
    from emulator import demo, stack, toolchain

    names = ("prompt", "width", "height", "n_seconds", "n_variants", "out", "provider", "image")
    wish = demo.Wish(**{name: getattr(options, name) for name in names})
    tools = toolchain.prepare(ROOT)
    return demo.run_demo(tools, stack.Options(options.data) if options.data else None, wish)


def run_up(options: argparse.Namespace) -> int:
    from emulator import stack, toolchain

    wanted = stack.Options(
        options.data, options.port, options.host, not options.no_simulator, enforce_keys=options.enforce_keys
    )
    return stack.run_up(toolchain.prepare(ROOT), wanted)


def run_doctor(options: argparse.Namespace) -> int:
    from emulator import toolchain

    asked = ["--create"] * options.create + ["--json"] * options.json
    asked += ["--provider", options.provider] if options.provider else []
    python = str(toolchain.prepare(ROOT).python)
    return subprocess.run([python, "-m", "emulator.doctor", *asked], cwd=ROOT, check=False).returncode


def run_tests(arguments: list[str]) -> int:
    from emulator import toolchain

    python = toolchain.prepare(ROOT).python
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches pytest itself, which ends its fixtures in order
    arguments = arguments or ["-n", str(min(os.cpu_count() or 1, MOST_WORKERS)), "--dist", "loadfile"]
    return subprocess.run([str(python), "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode


def run_checks(options: argparse.Namespace) -> int:
    from emulator import toolchain

    python = str(toolchain.prepare(ROOT).python)
    if options.fix:
        for repair in (["ruff", "check", "--fix-only", "--quiet", "."], ["ruff", "format", "--quiet", "."]):
            subprocess.run([python, "-m", *repair], cwd=ROOT, check=False)
    checks = {
        "format": ["ruff", "format", "--check", "."],
        "lint": ["ruff", "check", "."],
        "types": ["mypy"],
        "layout": ["pytest", "-q", "tests/test_layout.py"],
    }
    failed = [
        name
        for name, command in checks.items()
        if subprocess.run([python, "-m", *command], cwd=ROOT, check=False).returncode
    ]
    print("check: " + ", ".join(f"{name} {'FAILED' if name in failed else 'ok'}" for name in checks))
    return 1 if failed else 0


COMMANDS = {"demo": run_demo, "up": run_up, "doctor": run_doctor, "check": run_checks}


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _wrong_python() -> str:
    # Here and above nothing newer than Python 3.7: an old one shall read this far.
    here = f"This is Python {sys.version_info[0]}.{sys.version_info[1]} ({sys.executable})."
    found = filter(None, (shutil.which(f"python3.{minor}") for minor in (12, 11, 10)))
    others = [
        path
        for path in found
        if subprocess.run([path, "-c", ""], stderr=subprocess.DEVNULL, check=False).returncode == 0
    ]
    advice = f"Run: {others[0]} dev.py ..." if others else "Install one, for example from https://www.python.org."
    return f"dev.py: Azure Functions' Python packages need Python 3.10, 3.11 or 3.12. {here} {advice}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
