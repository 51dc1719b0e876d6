"""`python -m emulator.functions`: serve a function app on this machine, see --help."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from emulator.parent import stop_with_parent

from .clock import Clock, VirtualClock
from .host import Host
from .logs import configure_logging
from .settings import StartError, load_local_settings, read_host_json

_STOP_SECONDS = 15.0
_EPILOG = """
Prints one line, "ready http://127.0.0.1:PORT", on stdout once it serves; logs go to stderr, filtered by
logging.logLevel of host.json. Values of local.settings.json are put into the environment, where what is set already
wins. Ctrl-C or SIGTERM stops it; orchestrations go on at the next start with the same --data.
Azure Functions Core Tools (func start) serve the same app at the same URLs.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; return the exit code."""
    options = _read(arguments)
    ready, sys.stdout = sys.stdout, sys.stderr  # whatever the app prints must not look like the ready line
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if options.stop_with_parent:
        stop_with_parent()
    try:
        root = Path(options.root).resolve()
        data = options.data and Path(options.data).resolve()
        load_local_settings(root)
        os.environ.setdefault("AZURE_FUNCTIONS_ENVIRONMENT", "Development")  # as func start does
        configure_logging(read_host_json(root).log_levels)
        os.chdir(root)  # the worker runs there
        host = Host(
            root,
            data=data,
            clock=Clock() if options.virtual_clock is None else VirtualClock(options.virtual_clock),
            port=options.port,
            rpc_port=options.rpc_port,
            enforce_keys=options.enforce_keys,
        ).start()
    except StartError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"ready {host.url}", file=ready, flush=True)
    while not stop.wait(None if os.name == "posix" else 0.5):  # elsewhere an endless wait swallows Ctrl-C
        pass
    _stop(host)
    return 0


def _stop(host: Host) -> None:
    """Stop in an orderly way, or give up waiting: a sync function cannot be stopped, only left behind."""
    stopping = threading.Thread(target=host.stop, daemon=True)
    stopping.start()
    stopping.join(_STOP_SECONDS)


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m emulator.functions",
        description="Serve an Azure Functions app (Python, model v2, with Durable Functions) on this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", default=".", help="folder of function_app.py and host.json (default: here)")
    parser.add_argument("--port", type=_port, default=7071, help="public port, 0 for any free one (default: 7071)")
    parser.add_argument(
        "--rpc-port", type=_port, default=17071, help="port of the durable client's private endpoint (default: 17071)"
    )
    parser.add_argument("--data", help="folder for durable.sqlite and keys.json (default: nothing is kept)")
    parser.add_argument("--enforce-keys", action="store_true", help="ask for function keys, as Azure does")
    parser.add_argument(
        "--virtual-clock",
        type=_moment,
        metavar="TIME",
        help="start a clock at this ISO 8601 time that moves only by POST /admin/emulator/clock/advance",
    )
    parser.add_argument("--stop-with-parent", action="store_true", help="stop when stdin closes")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 0 to 65535")
    return int(text)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write it as 2025-01-31T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # an ordinary exit would wait for functions that still run
