"""One host as a whole: start and stop, two in one process, a durable job end to end, the admin endpoints."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests

from emulator.functions.clock import VirtualClock
from emulator.functions.host import Host
from emulator.functions.settings import StartError

pytestmark = pytest.mark.filterwarnings("ignore:azure.functions:DeprecationWarning")

Serve = Callable[..., Host]


def test_a_durable_job_end_to_end(serve: Serve) -> None:
    """Start over HTTP, follow the status link until it is no longer 202, read the output, all in real time."""
    host = serve("durable")
    started = requests.post(f"{host.url}/api/start/chain", json={"from": 10}, timeout=10)
    assert started.status_code == 202
    assert started.headers["Location"].startswith(host.url)
    deadline = time.monotonic() + 10
    while (status := requests.get(started.headers["Location"], timeout=10)).status_code == 202:
        assert time.monotonic() < deadline
    assert (status.status_code, status.json()["output"]) == (200, {"total": 13})


def test_a_day_passes_in_no_time(serve: Serve) -> None:
    """A 24-hour durable timer fires when the virtual clock has moved by 24 hours, not a second earlier."""
    clock = VirtualClock()
    host = serve("durable", clock=clock)
    requests.post(f"{host.url}/api/start/sleep_a_day/s", timeout=10)
    host.engine.settle()
    host.advance(timedelta(hours=24) - timedelta(seconds=1))
    assert status_of(host, "s") == "Running"
    host.advance(timedelta(seconds=1))
    assert status_of(host, "s") == "Completed"
    assert clock.now() == datetime(2025, 1, 2, tzinfo=timezone.utc)


def status_of(host: Host, instance_id: str) -> str:
    instance = host.engine.get(instance_id)
    assert instance is not None
    return instance["status"]


def test_an_async_function_may_block_on_the_host_itself(serve: Serve) -> None:
    """A blocking call to this host inside an async function or activity gets its answer: HTTP has its own loop."""
    host = serve("durable")
    nested = requests.get(f"{host.url}/api/nested", params={"url": f"{host.url}/api/plain"}, timeout=10)
    assert (nested.status_code, nested.text) == (200, "plain")
    requests.post(f"{host.url}/api/start/self_service/i", json=f"{host.url}/api/plain", timeout=10)
    assert host.engine.wait("i", 10)["output"] == '"plain"'


def test_many_callers_at_once(serve: Serve) -> None:
    """Forty starters at the same time all start, through one client session."""
    host = serve("durable")
    statuses: list[int] = []

    def start() -> None:
        statuses.append(requests.post(f"{host.url}/api/start/chain", json={"from": 0}, timeout=20).status_code)

    callers = [threading.Thread(target=start) for _ in range(40)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert statuses == [202] * 40
    host.engine.settle()
    assert len(host.engine.query(statuses=["Completed"])) == 40


def test_state_survives_a_restart(serve: Serve, tmp_path: Path) -> None:
    """A second host on the same folder goes on where the first one stopped, with the same keys."""
    first = serve("durable", data=tmp_path / "data", clock=VirtualClock())
    requests.post(f"{first.url}/api/start/sleep_a_day/s", timeout=10)
    first.engine.settle()
    first.stop()
    later = VirtualClock(datetime(2025, 1, 3, tzinfo=timezone.utc))
    second = serve("durable", data=tmp_path / "data", clock=later)
    assert second.engine.wait("s", 10)["output"] == '"rested"'
    assert second.keys == first.keys


def test_one_host_after_another_serves_its_own_app(serve: Serve) -> None:
    """The durable client works in every host of a process, and each host has its own functions."""
    for _ in range(3):
        host = serve("durable")
        assert requests.post(f"{host.url}/api/start/chain/c", json={"from": 0}, timeout=10).status_code == 202
        assert host.engine.wait("c", 10)["status"] == "Completed"
        host.stop()
    other = serve("web")
    assert requests.get(f"{other.url}/api/context", timeout=10).status_code == 200
    assert requests.get(f"{other.url}/api/plain", timeout=10).status_code == 404


def test_two_hosts_side_by_side(serve: Serve) -> None:
    """Two hosts serve two apps at the same time."""
    durable, web = serve("durable"), serve("web")
    assert requests.get(f"{durable.url}/api/plain", timeout=10).text == "plain"
    assert requests.get(f"{web.url}/api/number/1", timeout=10).text == "number 1"


def test_stop_leaves_nothing_behind(serve: Serve) -> None:
    """After stop the port is closed, the host's threads have ended and the app's folder is off the path."""
    before = set(threading.enumerate())
    host = serve("durable")
    port = int(host.url.rpartition(":")[2])
    assert requests.post(f"{host.url}/api/start/chain/c", json={"from": 0}, timeout=10).status_code == 202
    host.stop()
    host.stop()
    with socket.socket() as connection:
        assert connection.connect_ex(("127.0.0.1", port)) != 0
    assert str(host.root) not in sys.path
    deadline = time.monotonic() + 10
    while left := [thread for thread in set(threading.enumerate()) - before if "watchdog" not in thread.name]:
        assert time.monotonic() < deadline, left
        time.sleep(0.005)


def test_a_taken_port_is_a_start_error_and_leaves_nothing_behind(serve: Serve) -> None:
    """The message names the port and the way out; what had begun is undone."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"Port {port} is in use by another program.*--port"):
            serve("durable", port=port)
    assert not [path for path in sys.path if path.endswith("durable")]
    assert not [thread for thread in threading.enumerate() if thread.name in ("host-http", "async-functions")]


def test_a_taken_rpc_port_is_replaced(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """The durable client is told another port, as by the real extension, and a warning says so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        host = serve("durable", rpc_port=taken.getsockname()[1])
        assert requests.post(f"{host.url}/api/start/chain/c", json={"from": 0}, timeout=10).status_code == 202
    assert "private endpoint" in caplog.text


def test_a_folder_in_use_is_a_start_error(serve: Serve, tmp_path: Path) -> None:
    """Two hosts never share a history."""
    serve("durable", data=tmp_path)
    with pytest.raises(StartError, match="in use by another host"):
        serve("web", data=tmp_path)


def test_host_json_is_honoured(make_app: Callable[..., Path], serve: Serve) -> None:
    """Route prefix and activity concurrency come from host.json."""
    source = """
import threading
import azure.durable_functions as df
import azure.functions as func
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
lock, now, most = threading.Lock(), 0, 0
both = threading.Barrier(2, timeout=10)
@app.route(route="hello")
def hello(req: func.HttpRequest): return "hello"
@app.orchestration_trigger(context_name="context")
def fan(context): yield context.task_all([context.call_activity("work", None) for _ in range(6)])
@app.activity_trigger(input_name="x")
def work(x):
    global now, most
    with lock:
        now += 1
        most = max(most, now)
    both.wait()
    with lock: now -= 1
"""
    config = {"http": {"routePrefix": ""}, "durableTask": {"maxConcurrentActivityFunctions": 2}}
    host = serve(make_app(source, {"extensions": config}))
    assert requests.get(f"{host.url}/hello", timeout=10).text == "hello"
    host.engine.start_instance("fan", "f", None)
    assert host.engine.wait("f", 20)["status"] == "Completed"
    assert sys.modules["function_app"].most == 2


def test_an_activity_over_its_time_fails(make_app: Callable[..., Path], serve: Serve) -> None:
    """functionTimeout fails the activity, and the orchestration sees why."""
    source = """
import asyncio
import azure.durable_functions as df
app = df.DFApp()
@app.orchestration_trigger(context_name="context")
def run(context): yield context.call_activity("sleep", None)
@app.activity_trigger(input_name="x")
async def sleep(x): await asyncio.sleep(60)
"""
    host = serve(make_app(source, {"functionTimeout": "00:00:01"}))
    host.engine.start_instance("run", "r", None)
    ended = host.engine.wait("r", 20)
    assert ended["status"] == "Failed"
    assert "Timeout value of 1 s was exceeded" in str(ended["output"])


def test_an_asgi_app_is_served(make_app: Callable[..., Path], serve: Serve) -> None:
    """An AsgiFunctionApp takes over every route below the prefix."""
    source = """
import azure.functions as func
async def site(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown": return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": scope["path"].encode()})
app = func.AsgiFunctionApp(site, http_auth_level=func.AuthLevel.ANONYMOUS)
"""
    host = serve(make_app(source, {"extensions": {"http": {"routePrefix": ""}}}))
    assert requests.get(f"{host.url}/some/where", timeout=10).text == "/some/where"
    # or its finalizer starts an event loop on whichever thread the garbage collector runs
    sys.modules["function_app"].app.startup_task_done = False


# admin endpoints


def admin(host: Host, method: str, path: str, **options: Any) -> requests.Response:
    return requests.request(method, f"{host.url}/admin/{path}", timeout=10, **options)


def test_host_status_and_functions(serve: Serve) -> None:
    """The admin endpoints tell that the host runs and what it serves."""
    host = serve("durable")
    assert admin(host, "GET", "host/status").json()["state"] == "Running"
    listed = {entry["name"]: entry["config"]["bindings"] for entry in admin(host, "GET", "functions").json()}
    assert listed["chain"][0]["type"] == "orchestrationTrigger"
    assert admin(host, "GET", "functions/CHAIN").json()["name"] == "chain"
    assert admin(host, "GET", "functions/nobody").status_code == 404
    assert admin(host, "POST", "functions/nobody").status_code == 404
    by_hand = admin(host, "POST", "functions/chain", json={"input": ""})
    assert (by_hand.status_code, "timer" in by_hand.json()["Message"]) == (400, True)


def test_the_clock_can_be_moved_over_http(serve: Serve) -> None:
    """A virtual clock is read and moved; everything due on the way has happened when the answer comes."""
    host = serve("durable", clock=VirtualClock())
    requests.post(f"{host.url}/api/start/sleep_a_day/s", timeout=10)
    start = "2025-01-01T00:00:00+00:00"
    assert admin(host, "GET", "emulator/clock").json() == {"now": start, "virtual": True}
    moved = admin(host, "POST", "emulator/clock/advance", json={"seconds": 86400.5})
    assert moved.json() == {"now": "2025-01-02T00:00:00.500000+00:00"}
    assert status_of(host, "s") == "Completed"


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"seconds": -1}', '{"seconds": "9"}', '{"seconds": true}'])
def test_a_wrong_advance_is_400(serve: Serve, body: str) -> None:
    """Anything but a number of seconds is refused."""
    host = serve("durable", clock=VirtualClock())
    assert admin(host, "POST", "emulator/clock/advance", data=body).status_code == 400


def test_the_machines_clock_cannot_be_moved(serve: Serve) -> None:
    """Without a virtual clock an advance is 409, and the clock says what it is."""
    host = serve("durable")
    assert admin(host, "GET", "emulator/clock").json()["virtual"] is False
    refused = admin(host, "POST", "emulator/clock/advance", json={"seconds": 1})
    assert (refused.status_code, "--virtual-clock" in refused.json()["Message"]) == (409, True)


def test_admin_wants_the_master_key_when_keys_are_enforced(serve: Serve) -> None:
    """No other key opens an admin endpoint."""
    host = serve("durable", enforce_keys=True, clock=VirtualClock())
    calls = [("GET", "host/status"), ("GET", "functions"), ("GET", "emulator/clock"), ("GET", "no-such-path")]
    others = ["", host.keys.default, host.keys.system["durabletask_extension"]]
    closed = [admin(host, *call, headers={"x-functions-key": key}).status_code for call in calls for key in others]
    assert closed == [401] * 12
    opened = [admin(host, *call, headers={"x-functions-key": host.keys.master}).status_code for call in calls]
    assert opened == [200, 200, 200, 404]


def test_routes_are_logged_at_start(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """A person sees at start which URL reaches which function."""
    with caplog.at_level(logging.INFO):
        host = serve("web")
    assert f"only_post: [POST] {host.url}/api/only-post" in caplog.text
