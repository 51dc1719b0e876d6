"""Functions run where and how the Functions worker runs them."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.functions import meta

from emulator.functions.indexer import AppFunction, load_functions
from emulator.functions.logs import running
from emulator.functions.settings import StartError
from emulator.functions.worker import FunctionCancelledError, FunctionExitError, FunctionTimeoutError, Worker

pytestmark = pytest.mark.filterwarnings("ignore:azure.functions:DeprecationWarning")

SOURCE = """
import asyncio, threading, time
import azure.durable_functions as df
import azure.functions as func
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
ended = []
class Point:
    def __init__(self, x): self.x = x
    def to_json(self): return {"x": self.x}
    @staticmethod
    def from_json(data): return Point(data["x"])
@app.activity_trigger(input_name="x")
def double(x): return x * 2
@app.activity_trigger(input_name="p", activity="Move")
def move(p: Point) -> Point: return Point(p.x + 1)
@app.activity_trigger(input_name="x")
def opaque(x): return object()
@app.activity_trigger(input_name="x")
def times_out_itself(x): raise TimeoutError("the service did not answer")
@app.activity_trigger(input_name="x")
def exits(x): raise SystemExit(3)
@app.activity_trigger(input_name="x")
async def exits_async(x): raise KeyboardInterrupt
@app.activity_trigger(input_name="x")
async def cancels_itself(x): raise asyncio.CancelledError
@app.orchestration_trigger(context_name="context")
def exits_too(context): raise SystemExit(4)
@app.activity_trigger(input_name="x")
def where(x): return threading.current_thread().name
@app.activity_trigger(input_name="x")
async def where_async(x): return threading.current_thread().name
@app.activity_trigger(input_name="x")
def sleep(x): time.sleep(x); ended.append("sync")
@app.activity_trigger(input_name="x")
async def sleep_async(x):
    try: await asyncio.sleep(x)
    finally: ended.append("async")
@app.activity_trigger(input_name="x")
@app.durable_client_input(client_name="client")
async def with_client(x, client, context):
    hub = client._orchestration_bindings.task_hub_name
    return [hub, client._function_invocation_id == context.invocation_id]
@app.orchestration_trigger(context_name="context")
def orchestrate(context): return "done"
@app.entity_trigger(context_name="context")
def counter(context): context.set_state(1)
@app.timer_trigger(arg_name="t", schedule="0 * * * * *")
def chatty(t: func.TimerRequest): return "nobody listens"
"""


class App:
    """A worker on the app above, and its functions by name."""

    def __init__(self, root: Path, limit: timedelta | None = None) -> None:
        self.functions = {one.name: one for one in load_functions(root)}
        self.module = sys.modules["function_app"]
        self.worker = Worker(list(self.functions.values()), self.client_binding, limit)

    def client_binding(self, binding: Mapping[str, Any]) -> str:
        return json.dumps({"taskHubName": "Hub", "creationUrls": {}, "managementUrls": {}, "rpcBaseUrl": "http://x/"})


@pytest.fixture
def app(make_app: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """The app, with no time limit."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    served = App(make_app(SOURCE))
    yield served
    served.worker.close()


def test_names_are_found_in_any_case(app: App) -> None:
    """`has` knows durable names by trigger, whatever their case."""
    has = app.worker.has
    assert [has("activityTrigger", "MOVE"), has("activityTrigger", "double"), has("entityTrigger", "Counter")] == [
        True
    ] * 3
    assert [has("activityTrigger", "orchestrate"), has("orchestrationTrigger", "nobody")] == [False] * 2


def test_activities_speak_json(app: App) -> None:
    """Input and result are JSON text; no input is null; custom classes travel by to_json and from_json."""
    assert app.worker.activity("double", "[1]", "i") == "[1, 1]"
    assert app.worker.activity("where_async", None, "i") == '"async-functions"'
    moved = app.worker.activity("Move", json.dumps(envelope(1)), "i")
    assert json.loads(str(moved)) == envelope(2)


def envelope(x: int) -> dict[str, Any]:
    return {"__class__": "Point", "__module__": "function_app", "__data__": {"x": x}}


def test_an_activity_that_returns_no_json_fails(app: App) -> None:
    """The converter's error is the activity's failure."""
    with pytest.raises(ValueError, match="json serializable"):
        app.worker.activity("opaque", "1", "i")


def test_orchestrators_and_entities_run_on_the_callers_thread(app: App) -> None:
    """The SDK's answer comes back as it is."""
    assert json.loads(app.worker.orchestrator("Orchestrate", orchestrator_context("orchestrate")))["output"] == "done"
    with pytest.raises(FunctionExitError, match="SystemExit: 4"):
        app.worker.orchestrator("exits_too", orchestrator_context("exits_too"))
    batch = [{"name": "set", "input": None, "isSignal": True}]
    entity = {"self": {"name": "counter", "key": "k"}, "exists": False, "state": None, "batch": batch}
    assert json.loads(app.worker.entity("counter", json.dumps(entity)))["entityState"] == "1"


def orchestrator_context(name: str) -> str:
    """The first episode of an orchestrator without input."""
    context = {
        "history": [
            {"EventType": 12, "EventId": -1, "IsPlayed": False, "Timestamp": "2025-01-01T00:00:00.000000Z"},
            {
                "EventType": 0,
                "EventId": -1,
                "IsPlayed": False,
                "Timestamp": "2025-01-01T00:00:00.000000Z",
                "Name": name,
                "Version": "",
                "Input": None,
            },
        ],
        "input": None,
        "instanceId": "i",
        "isReplaying": False,
        "parentInstanceId": None,
        "upperSchemaVersion": 1,
        "upperSchemaVersionNew": 2,
    }
    return json.dumps(context)


def test_sync_functions_use_a_pool_and_async_ones_a_loop(app: App) -> None:
    """Neither runs on the thread that asks."""
    assert str(app.worker.activity("where", "0", "i")).startswith('"function_')
    assert app.worker.activity("where_async", "0", "i") == '"async-functions"'


def test_the_pool_has_the_size_of_the_setting(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTHON_THREADPOOL_THREAD_COUNT limits how many sync functions run at once; nonsense stops the start."""
    monkeypatch.setenv("PYTHON_THREADPOOL_THREAD_COUNT", "1")
    alone = Worker(list(app.functions.values()), app.client_binding, None)
    names: list[str | None] = []
    callers = [threading.Thread(target=lambda: names.append(alone.activity("where", "0", "i"))) for _ in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    alone.close()
    assert names == ['"function_0"'] * 5
    monkeypatch.setenv("PYTHON_THREADPOOL_THREAD_COUNT", "many")
    with pytest.raises(StartError, match="PYTHON_THREADPOOL_THREAD_COUNT"):
        Worker([], app.client_binding, None)


def test_the_durable_client_and_the_context_are_bound(app: App) -> None:
    """The client is made from the binding's JSON and knows the invocation."""
    assert app.worker.activity("with_client", "0", "i") == '["Hub", true]'


def test_a_value_nobody_takes_is_an_error(app: App) -> None:
    """A function without a result that returns something fails, as in the worker."""
    with pytest.raises(RuntimeError, match="without a \\$return binding"):
        app.worker.run(app.functions["chatty"], meta.Datum("{}", "json"))


@pytest.fixture
def hurried(make_app: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """The app, with a limit of 50 ms for each run."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    served = App(make_app(SOURCE), timedelta(milliseconds=50))
    yield served
    served.worker.close()


@pytest.mark.parametrize(("name", "kind"), [("sleep", "sync"), ("sleep_async", "async")])
def test_a_run_over_the_limit_fails(hurried: App, name: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets a timeout; the log says that a sync function runs on; an async one is cancelled."""
    with pytest.raises(FunctionTimeoutError, match=f"exceeded by function: Functions.{name}"):
        hurried.worker.activity(name, "0.3", "i")
    assert ("cannot be stopped" in caplog.text) == (kind == "sync")
    deadline = time.monotonic() + 10
    while hurried.module.ended != [kind]:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_timeout_of_the_functions_own_is_its_failure(hurried: App) -> None:
    """A TimeoutError that the function raises is passed on as it is."""
    with pytest.raises(TimeoutError, match="the service did not answer"):
        hurried.worker.activity("times_out_itself", "0", "i")


@pytest.mark.parametrize(
    ("name", "error"),
    [("exits", FunctionExitError), ("exits_async", FunctionExitError), ("cancels_itself", FunctionCancelledError)],
)
def test_a_function_cannot_end_the_host(app: App, name: str, error: type[Exception]) -> None:
    """sys.exit, a keyboard interrupt or a cancellation inside a function ends that run alone."""
    with pytest.raises(error):
        app.worker.activity(name, "0", "i")
    assert app.worker.activity("where_async", "0", "i") == '"async-functions"'


def test_a_run_can_be_awaited(app: App) -> None:
    """`run_async` serves a coroutine of another loop."""
    run = app.worker.run_async(app.functions["double"], meta.Datum("4", "json"))
    assert asyncio.run(asyncio.wait_for(run, 10)) == 8


def test_logs_know_their_invocation(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """Success and failure are logged with the function's name, and code in a run finds its invocation."""
    seen = []

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((running.get(), record.levelname))

    handler = Watch()
    logging.getLogger("emulator.functions.worker").addHandler(handler)
    with caplog.at_level(logging.INFO):
        app.worker.activity("double", "1", "i")
        with pytest.raises(ValueError, match="json"):
            app.worker.activity("double", '{"__class__": 1, "__module__": "no", "__data__": 1}', "i")
    logging.getLogger("emulator.functions.worker").removeHandler(handler)
    assert [(invocation and invocation.function, level) for invocation, level in seen] == [
        ("double", "INFO"),
        ("double", "ERROR"),
    ]
    assert running.get() is None


def test_closing_cancels_what_runs(app: App) -> None:
    """Async runs are cancelled at close, so that a stopping host does not wait for them."""
    ended: list[str] = []
    caller = threading.Thread(target=lambda: ended.append(ending(app, app.functions["sleep_async"])))
    caller.start()
    deadline = time.monotonic() + 10
    while not asyncio.all_tasks(app.worker._loop):
        assert time.monotonic() < deadline
    app.worker.close()
    caller.join(10)
    assert app.module.ended == ["async"]
    assert ended == ["FunctionCancelledError"]
    assert ending(app, app.functions["sleep_async"]) == "FunctionCancelledError"  # nothing runs after it either


def ending(app: App, function: AppFunction) -> str:
    """Run an activity for a minute and return the name of what ended it."""
    try:
        app.worker.run(function, meta.Datum("60", "json"))
    except BaseException as problem:
        return type(problem).__name__
    return "nothing"
