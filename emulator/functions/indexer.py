"""Finds the functions of an app as the Functions worker does, and refuses what the worker or the host would refuse.

`load_functions` imports `function_app` of a root folder afresh (modules that an earlier load brought in are dropped,
so that a second host in one process sees its own app), takes the one top-level FunctionApp, resolves `%Setting%`,
and checks names, bindings and signatures. Routes are checked in `routes.py`, schedules in `timers.py`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import azure.functions as func

from .settings import StartError, resolve
from .signatures import REGISTRY, check_signature

TRIGGERS = ("httpTrigger", "timerTrigger", "orchestrationTrigger", "activityTrigger", "entityTrigger")
_INPUTS = (*TRIGGERS, "durableClient")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,127}", re.IGNORECASE)
_UNRESOLVED = ("name", "type", "direction")
_TRACEBACK_LINES = 8
_HOST = __name__.partition(".")[0]  # this host's own package may lie in the root too

_loaded: set[str] = set()  # modules that an app of this process brought in


@dataclass(frozen=True)
class AppFunction:
    """One function of the app: how it is called, and what calls it."""

    name: str
    call: Callable[..., Any]
    trigger: Mapping[str, Any]
    bindings: tuple[Mapping[str, Any], ...]
    is_async: bool
    wants_context: bool
    returns: str | None  # binding type of the return value
    directory: str

    @property
    def kind(self) -> str:
        """The trigger's type, such as "httpTrigger"."""
        return str(self.trigger["type"])

    @property
    def durable_name(self) -> str:
        """The name an orchestrator, an activity or an entity is called by."""
        given = self.trigger.get("orchestration") or self.trigger.get("activity") or self.trigger.get("entityName")
        return str(given or self.name)


def load_functions(root: Path) -> list[AppFunction]:
    """Import the app in `root` and return its functions in the host's order, which is by name.

    Raises StartError with one message when anything about the app is wrong.
    """
    module = _import_app(root)
    names = [name for name, value in vars(module).items() if isinstance(value, func.FunctionRegister)]
    if not names:
        raise StartError("function_app.py has no top-level FunctionApp or DFApp.")
    if len(names) > 1:
        raise StartError(f"function_app.py has more than one top-level app: {', '.join(names)}. Keep exactly one.")
    try:
        indexed = getattr(module, names[0]).get_functions()  # works once for each app object
    except ValueError as problem:
        raise StartError(str(problem)) from problem
    functions = [_read_function(entry) for entry in indexed]
    _refuse_duplicates(functions)
    functions.sort(key=lambda function: function.name.lower())
    return [function for function in functions if not _is_disabled(function.name)]


def _import_app(root: Path) -> ModuleType:
    if not (root / "function_app.py").is_file():
        raise StartError(f"There is no function_app.py in {root}.")
    folder = str(root)
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    _drop_modules(root)
    importlib.invalidate_caches()
    before = set(sys.modules)
    try:
        return importlib.import_module("function_app")
    except BaseException as problem:  # SystemExit at import is as fatal as an ImportError
        if isinstance(problem, KeyboardInterrupt):
            raise
        own_words = str(problem) if _refuses_settings(root, problem) else ""
        raise StartError(own_words or _import_message(root, problem)) from problem
    finally:
        _loaded.update(name for name in set(sys.modules) - before if _is_below(sys.modules[name], root))


def _drop_modules(root: Path) -> None:
    """Forget modules of an earlier load, and strangers that carry the name of one of `root`'s own modules."""
    own = {path.stem for path in root.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()} - {_HOST}
    for name, module in list(sys.modules.items()):
        stranger = name.partition(".")[0] in own and not _is_below(module, root)
        if name in _loaded or name == "function_app" or stranger:
            del sys.modules[name]
    _loaded.clear()


def _is_below(module: ModuleType | None, root: Path) -> bool:
    """Tell whether a module is the app's own code: below the root, but neither this host nor an installed package."""
    file = getattr(module, "__file__", None)
    if not file or module is None or module.__name__.partition(".")[0] == _HOST:
        return False
    return _is_own(Path(file), root)


def _is_own(path: Path, root: Path) -> bool:
    return path.is_relative_to(root) and not {"site-packages", "dist-packages"} & set(path.parts)


def _refuses_settings(root: Path, problem: BaseException) -> bool:
    """Tell whether the app itself stops its start because of a setting: by an error of its own, called SettingsError.

    Its message is for the person; where in the app it was raised is not.
    """
    raised_in = traceback.extract_tb(problem.__traceback__)[-1].filename
    named = any(kind.__name__ == "SettingsError" for kind in type(problem).__mro__)
    return named and _is_own(Path(raised_in), root)


def _import_message(root: Path, problem: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if "importlib" not in frame.filename]
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(root)] or frames
    lines = "".join(traceback.format_list(own)).rstrip().splitlines()[-_TRACEBACK_LINES:]
    error = "".join(traceback.format_exception_only(type(problem), problem)).strip()
    return "\n".join([f"function_app.py cannot be imported: {error}", *lines])


def _read_function(entry: Any) -> AppFunction:
    name = str(entry.get_function_name())
    if not _NAME.fullmatch(name) or name.lower() == "host":
        raise StartError(f"{name!r} is no function name: a letter first, then letters, digits, _ and -, at most 128.")
    raw = json.loads(entry.get_function_json())["bindings"]
    bindings = tuple(_resolved(name, binding) for binding in raw)
    for binding in bindings:
        _check_binding(name, binding)
    if entry.get_settings_dict("retry_policy"):
        raise StartError(
            f"Function {name}: retry policies are not run by this host; remove @app.retry or use func start."
        )
    trigger = next(binding for binding in bindings if binding["type"] in TRIGGERS)
    call = entry.get_user_function()
    wants_context = check_signature(name, call, bindings)
    returns = next((str(binding["type"]) for binding in bindings if binding["name"] == "$return"), None)
    if returns is None and REGISTRY.get(trigger["type"]).has_implicit_output():
        returns = str(trigger["type"])
    return AppFunction(
        name=name,
        call=call,
        trigger=trigger,
        bindings=bindings,
        is_async=inspect.iscoroutinefunction(call),
        wants_context=wants_context,
        returns=returns,
        directory=str(Path(inspect.getfile(call)).parent),
    )


def _resolved(function: str, binding: Mapping[str, Any]) -> dict[str, Any]:
    where = f"Function {function}: the {binding['type']} binding {binding['name']!r}"
    return {
        key: resolve(value, where) if isinstance(value, str) and key not in _UNRESOLVED else value
        for key, value in binding.items()
    }


def _check_binding(function: str, binding: Mapping[str, Any]) -> None:
    kind, name = str(binding["type"]), str(binding["name"])
    outward = str(binding.get("direction")).upper() == "OUT"
    if outward and not (kind == "http" and name == "$return"):
        raise StartError(
            f"Function {function}: this host does not deliver the {kind} output binding {name!r}; "
            "write with the service's own SDK inside the function, or use func start."
        )
    if not outward and kind not in _INPUTS:
        what = "trigger" if kind.lower().endswith("trigger") else "input binding"
        raise StartError(
            f"Function {function}: this host does not serve the {what} {kind} ({name!r}), only {', '.join(_INPUTS)}; "
            "use func start for it."
        )


def _refuse_duplicates(functions: list[AppFunction]) -> None:
    seen: dict[tuple[str, str], AppFunction] = {}
    for function in functions:
        named = [("function name", function.name)]
        if function.kind not in ("httpTrigger", "timerTrigger"):
            named.append((f"{function.kind} name", function.durable_name))
        for what, name in named:
            other = seen.setdefault((what, name.lower()), function)
            if other is not function:
                raise StartError(f"The {what} {name!r} is used twice, by {other.name} and {function.name}.")


def _is_disabled(name: str) -> bool:
    value = os.environ.get(f"AzureWebJobs.{name}.Disabled") or os.environ.get(f"AzureWebJobs__{name}__Disabled")
    return str(value).lower() in ("true", "1")
