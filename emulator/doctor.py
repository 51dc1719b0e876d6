"""`python3 dev.py doctor`, run by it inside .venv: the app's own diagnosis with the settings of this machine.

One line per check, the fix below what failed; exit 1 when something is wrong. The story of a generation (--create)
goes to stderr, so that --json has stdout to itself.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

from emulator.local_settings import FILE, read_settings, spare_loopback
from emulator.trouble import Trouble
from reelkeeper.diagnosis.diagnose import diagnose, generations, provider_names
from reelkeeper.diagnosis.report import Check, Report, bad

ROOT = Path.cwd()
"""dev.py starts us in the repository, where host.json and local.settings.json are."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dev.py doctor")
    parser.add_argument("--create", action="store_true")
    parser.add_argument("--provider", metavar="NAME")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.CRITICAL)  # the report says it all, and in better words
    spare_loopback(os.environ)
    try:
        settings = read_settings(ROOT, os.environ)
        names = provider_names(settings)
        if options.provider and names is not None and options.provider not in names:
            there = ", ".join(names) or "none"
            parser.error(f"--provider: no provider {options.provider} is configured; there are: {there}")
        if options.provider and not options.create:
            parser.error("--provider says where to --create; every provider is checked anyway")
        report = diagnose(settings, ROOT)
    except Trouble as trouble:
        fix = f"Correct {FILE}; {FILE}.example shows its form."
        settings, report = {}, Report((bad("settings", str(trouble), fix),))
    shown = report.checks
    if not options.json:
        show(shown)
    if options.create:
        made = generations(settings, report, lambda line: print(line, file=sys.stderr, flush=True), options.provider)
        report = Report((*shown, *made))
        if not options.json:
            show(made)
    print(json.dumps(report.to_dict(), indent=2) if options.json else summary(report), flush=True)
    if not report.ok and (service := running_service()):
        said = f"`dev.py up` serves at {service} with settings of its own; {service}/api/diagnostics checks those."
        print(said, file=sys.stderr)
    return 0 if report.ok else 1


def running_service() -> str | None:
    """The address of a `dev.py up` on the usual data, None when there is none: its settings are not ours."""
    with suppress(OSError, ValueError, KeyError):
        return str(json.loads((ROOT / ".dev" / "data" / "up.json").read_text())["app"])
    return None


def show(checks: tuple[Check, ...]) -> None:
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:{width}}  {check.detail}")
        if check.fix:
            print(f"{'':6}fix: {check.fix}")


def summary(report: Report) -> str:
    failed = [check.name for check in report.checks if not check.ok]
    if not failed:
        unproven = [check.name for check in report.checks if "not proven" in check.detail]
        rest = f", but not proven: {', '.join(unproven)} (--create proves it)" if unproven else ""
        return f"\n{len(report.checks)} checks, all ok{rest}"
    return f"\n{len(failed)} of {len(report.checks)} checks failed: {', '.join(failed)}"


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        print("\nInterrupted. A generation that was begun goes on at the provider.", file=sys.stderr)
        code = 130
    sys.exit(code)
