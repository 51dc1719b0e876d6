"""Apps are indexed as the Functions worker indexes them, and refused where worker or host would refuse."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from emulator.functions.indexer import AppFunction, load_functions
from emulator.functions.settings import StartError

HEAD = """
import typing
from typing import Any, Dict, List, Optional
import azure.functions as func
import azure.durable_functions as df
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
"""
HTTP = """
@app.route(route="hello", methods=["GET"])
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")
"""

MakeApp = Callable[..., Path]


@pytest.fixture(autouse=True)
def clean_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put `sys.path` back after each test: indexing puts the app's folder first."""
    monkeypatch.setattr(sys, "path", list(sys.path))


def refusal(root: Path) -> str:
    with pytest.raises(StartError) as refused:
        load_functions(root)
    return str(refused.value)


def test_every_supported_kind_is_indexed(make_app: MakeApp) -> None:
    """HTTP, timer, orchestrator, activity and entity functions are found, in the order of their names."""
    source = """
@app.function_name("ZuluHttp")
@app.route(route="z/{id}", methods=["GET", "post"], auth_level=func.AuthLevel.ADMIN)
@app.durable_client_input(client_name="client")
async def web(req: func.HttpRequest, client, context: func.Context) -> func.HttpResponse: ...
@app.timer_trigger(arg_name="t", schedule="0 * * * * *", run_on_startup=True, use_monitor=False)
def tick(t: func.TimerRequest) -> None: ...
@app.orchestration_trigger(context_name="context", orchestration="Render")
def render(context): yield
@app.activity_trigger(input_name="payload")
def store(payload: Dict[str, Any]) -> List[str]: ...
@app.entity_trigger(context_name="context", entity_name="Gate")
def gate(context): ...
"""
    found = {one.name: one for one in load_functions(make_app(HEAD + source))}
    assert [(one.name, one.kind, one.durable_name, one.returns, one.is_async) for one in found.values()] == [
        ("gate", "entityTrigger", "Gate", "entityTrigger", False),
        ("render", "orchestrationTrigger", "Render", "orchestrationTrigger", False),
        ("store", "activityTrigger", "store", "activityTrigger", False),
        ("tick", "timerTrigger", "tick", None, False),
        ("ZuluHttp", "httpTrigger", "ZuluHttp", "http", True),
    ]
    assert [one.name for one in found.values() if one.wants_context] == ["ZuluHttp"]
    assert found["ZuluHttp"].trigger["authLevel"] == "ADMIN"


def test_blueprints_are_part_of_the_app(make_app: MakeApp) -> None:
    """Functions of a registered blueprint in a module of its own are found."""
    root = make_app(HEAD + "from parts import blueprint\napp.register_functions(blueprint)\n")
    blueprint = "import azure.durable_functions as df\nblueprint = df.Blueprint()\n"
    blueprint += '@blueprint.activity_trigger(input_name="x")\ndef work(x): ...\n'
    (root / "parts.py").write_text(blueprint, encoding="utf-8")
    assert [one.name for one in load_functions(root)] == ["work"]


def test_an_app_is_imported_afresh_every_time(make_app: MakeApp) -> None:
    """A second load in one process sees changed code, in function_app.py and in the modules it imports."""

    def load(word: str) -> tuple[AppFunction, ...]:
        root = make_app(HEAD + f"import words\n@app.route(route=words.WORD)\ndef {word}(req): ...\n")
        (root / "words.py").write_text(f"WORD = {word!r}\n", encoding="utf-8")
        sys.dont_write_bytecode = True  # two versions within one second would share a .pyc
        try:
            return tuple(load_functions(root))
        finally:
            sys.dont_write_bytecode = False

    assert [(one.name, one.trigger["route"]) for one in load("first")] == [("first", "first")]
    assert [(one.name, one.trigger["route"]) for one in load("second")] == [("second", "second")]


def test_the_host_survives_an_app_folder_that_contains_it(make_app: MakeApp) -> None:
    """The repository's root holds the app and this host alike: loading the app leaves the host's modules alone."""
    root = make_app(HEAD + HTTP)
    (root / "emulator").mkdir()
    (root / "emulator" / "__init__.py").touch()
    before = sys.modules["emulator.functions.indexer"]
    load_functions(root)
    assert sys.modules["emulator.functions.indexer"] is before


def test_a_disabled_function_is_left_out(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """AzureWebJobs.<name>.Disabled switches a function off, as on Azure."""
    monkeypatch.setenv("AzureWebJobs.hello.Disabled", "true")
    assert load_functions(make_app(HEAD + HTTP)) == []


def test_settings_in_bindings_are_replaced(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """%Setting% works in schedules and routes."""
    monkeypatch.setenv("TICKS", "0 0 * * * *")
    monkeypatch.setenv("WHERE", "there")
    source = """
@app.timer_trigger(arg_name="t", schedule="%TICKS%")
def tick(t: func.TimerRequest) -> None: ...
@app.route(route="%WHERE%/{id}")
def web(req: func.HttpRequest): ...
"""
    tick, web = load_functions(make_app(HEAD + source))
    assert (tick.trigger["schedule"], web.trigger["route"]) == ("0 0 * * * *", "there/{id}")


def test_a_missing_setting_names_setting_function_and_binding(make_app: MakeApp) -> None:
    """The message holds everything needed to mend it."""
    source = '@app.timer_trigger(arg_name="t", schedule="%NO_SUCH_SETTING%")\ndef tick(t): ...\n'
    message = refusal(make_app(HEAD + source))
    assert all(word in message for word in ("NO_SUCH_SETTING", "tick", "timerTrigger", "'t'", "local.settings.json"))


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("", ["no top-level"]),
        (HEAD + "other = func.FunctionApp()", ["more than one", "app, other"]),
        (HEAD + "again = app", ["more than one", "app, again"]),
        (HEAD + HTTP + HTTP.replace('"hello"', '"b"'), ["hello", "unique"]),
        (HEAD + HTTP + HTTP.replace("hello", "Hello"), ["'Hello'", "used twice", "hello"]),
        (
            HEAD
            + '@app.activity_trigger(input_name="x", activity="A")\ndef one(x): ...\n'
            + '@app.activity_trigger(input_name="x", activity="a")\ndef two(x): ...\n',
            ["activityTrigger name", "one", "two"],
        ),
        (HEAD + HTTP.replace("def hello", "def host"), ["'host'"]),
        (HEAD + HTTP.replace("def hello", "def _hello"), ["'_hello'"]),
        (HEAD + "def plain(): ...\napp.function_name('x')(plain)", ["x", "trigger"]),
    ],
)
def test_wrong_apps_are_refused(make_app: MakeApp, source: str, named: list[str]) -> None:
    """One app, unique names, legal names, a trigger for each function."""
    message = refusal(make_app(source))
    assert [word for word in named if word not in message] == []


@pytest.mark.parametrize(
    ("function", "named"),
    [
        ('@app.route(route="x")\ndef f(req, extra): ...', ["f", "'extra'", "no binding"]),
        ('@app.route(route="x")\ndef f(): ...', ["httpTrigger", "'req'"]),
        ('@app.route(route="x")\ndef f(req: str): ...', ["'req'", "httpTrigger", "str"]),
        ('@app.route(route="x")\ndef f(req: List[int]): ...', ["'req'", "httpTrigger", "List[int]"]),
        ('@app.route(route="x")\ndef f(req) -> dict: ...', ["return annotation dict", "HttpResponse"]),
        ('@app.route(route="x")\ndef f(req) -> Optional[str]: ...', ["return annotation", "Optional[str]"]),
        ('@app.route(route="x")\ndef f(req, context: int): ...', ["'context'", "azure.functions.Context"]),
        ('@app.route(route="x")\ndef f(req: "Missing"): ...', ["cannot be evaluated", "Missing"]),
        ('@app.orchestration_trigger(context_name="ctx")\ndef f(ctx): yield', ["context_name", "'ctx'"]),
        ('@app.entity_trigger(context_name="ctx")\ndef f(ctx): ...', ["context_name", "'ctx'"]),
        ('@app.activity_trigger(input_name="x")\ndef f(x: dict[str, Any]): ...', ["'x'", "dict[str, ", "plain class"]),
        ('@app.activity_trigger(input_name="x")\ndef f(x: Optional[str]): ...', ["'x'", "Optional[str]"]),
        ('@app.activity_trigger(input_name="x")\ndef f(x: "str | None"): ...', ["'x'", "str | None"]),
        ('@app.timer_trigger(arg_name="t", schedule="* * * * *")\ndef f(t: int): ...', ["'t'", "timerTrigger", "int"]),
    ],
)
def test_signatures_the_worker_refuses_are_refused(make_app: MakeApp, function: str, named: list[str]) -> None:
    """Parameters equal bindings, and annotations are what the worker accepts on every Python that Azure runs."""
    message = refusal(make_app(HEAD + function))
    assert [word for word in named if word not in message] == []


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (
            '@app.blob_trigger(arg_name="b", path="c/{n}", connection="S")\ndef f(b: func.InputStream): ...',
            ["trigger blobTrigger", "'b'", "func start"],
        ),
        (
            '@app.queue_trigger(arg_name="m", queue_name="q", connection="S")\ndef f(m: func.QueueMessage): ...',
            ["trigger queueTrigger", "'m'", "func start"],
        ),
        (
            '@app.route(route="x")\n@app.queue_output(arg_name="out", queue_name="q", connection="S")\n'
            "def f(req, out: func.Out[str]): ...",
            ["does not deliver", "queue output binding 'out'", "SDK"],
        ),
        (
            '@app.route(route="x")\n@app.blob_input(arg_name="b", path="c/x", connection="S")\ndef f(req, b): ...',
            ["input binding blob", "'b'"],
        ),
        (
            '@app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:01")\n'
            '@app.timer_trigger(arg_name="t", schedule="* * * * *")\ndef f(t): ...',
            ["retry policies"],
        ),
    ],
)
def test_what_this_host_cannot_do_is_refused_not_dropped(make_app: MakeApp, function: str, named: list[str]) -> None:
    """Other triggers, bindings and retry policies stop the start, and the message says where they do run."""
    message = refusal(make_app(HEAD + function))
    assert [word for word in ["f", *named] if word not in message] == []


def test_an_import_error_shows_its_message_and_the_apps_own_lines(make_app: MakeApp) -> None:
    """What went wrong comes first, then where in the app."""
    root = make_app("import broken\n")
    (root / "broken.py").write_text("value = 1\nimport no_such_package\n", encoding="utf-8")
    message = refusal(root)
    first = message.splitlines()[0]
    assert first == "function_app.py cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"
    assert 'broken.py", line 2' in message
    assert "importlib" not in message


def test_an_app_that_exits_on_import_is_a_start_error(make_app: MakeApp) -> None:
    """SystemExit at import, a usual way to refuse wrong settings, is reported as any other error."""
    assert "SystemExit: set FOO first" in refusal(make_app("raise SystemExit('set FOO first')\n"))


def test_a_settings_error_of_the_app_s_own_is_its_message_alone(make_app: MakeApp) -> None:
    """Also of a derived kind; another error, a silent one and a library's are shown with the app's lines."""
    own = "class SettingsError(Exception): ...\nclass Wrong(SettingsError): ...\n"
    root = make_app(f"{own}raise Wrong('FOO must be a number.')\n")
    assert refusal(root) == "FOO must be a number."
    library = root / "site-packages" / "library_of_settings.py"
    library.parent.mkdir()
    library.write_text(f"{own}def read(): raise Wrong('FOO must be a number.')\n", encoding="utf-8")
    for source in (
        f"{own}raise SettingsError\n",
        f"{own}raise ValueError('FOO must be a number.')\n",
        f"import sys\nsys.path.append({str(library.parent)!r})\nfrom library_of_settings import read\nread()\n",
    ):
        message = refusal(make_app(source))
        assert message.startswith("function_app.py cannot be imported: ")
        assert 'function_app.py", line' in message


def test_a_folder_without_an_app_is_named(tmp_path: Path) -> None:
    """The message names the folder that was searched."""
    assert str(tmp_path) in refusal(tmp_path)
