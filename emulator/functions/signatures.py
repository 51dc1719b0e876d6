"""What the Functions worker demands of a function's signature, checked before the function is accepted.

The rules are those of `azure_functions_worker/functions.py`: parameters and bindings are the same names, a lone
`context` is the invocation context, annotations are classes (or `typing` aliases) that the binding can convert. One
rule is stricter than Python 3.10 needs: `list[str]` and its like are refused there too, because Azure's Python 3.11
refuses them.
"""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Union

import azure.functions as func

from .settings import StartError

REGISTRY: Any = func.get_binding_registry()  # type: ignore[no-untyped-call]
_NOT_TYPES = (Union, types.UnionType, tuple, ClassVar, collections.abc.Callable)


def check_signature(name: str, call: Callable[..., Any], bindings: Sequence[Mapping[str, Any]]) -> bool:
    """Check a function against its bindings and tell whether it takes the invocation context.

    Raises StartError naming the function, the parameter and the remedy.
    """
    parameters = set(inspect.signature(call).parameters)
    try:
        annotations = typing.get_type_hints(call)
    except Exception as problem:  # an annotation may run any code
        raise StartError(f"Function {name}: an annotation cannot be evaluated: {problem}") from problem
    bound = {binding["name"]: binding for binding in bindings if binding["name"] != "$return"}
    wants_context = "context" in parameters and "context" not in bound
    _check_names(name, parameters - ({"context"} if wants_context else set()), bound)
    if wants_context and getattr(annotations.get("context", func.Context), "__name__", None) != "Context":
        raise StartError(f"Function {name}: the parameter 'context' must be annotated azure.functions.Context.")
    for parameter, binding in bound.items():
        if parameter in annotations:
            _check_annotation(name, parameter, annotations[parameter], str(binding["type"]))
    returned = next((str(binding["type"]) for binding in bindings if binding["name"] == "$return"), None)
    if returned is not None and "return" in annotations:
        _check_return(name, annotations["return"], returned)
    return wants_context


def _check_names(name: str, declared: set[str], bound: Mapping[str, Mapping[str, Any]]) -> None:
    for parameter in sorted(declared - set(bound)):
        raise StartError(f"Function {name}: the parameter {parameter!r} has no binding: add one or remove it.")
    for parameter in sorted(set(bound) - declared):
        kind = str(bound[parameter]["type"])
        if kind in ("orchestrationTrigger", "entityTrigger"):
            raise StartError(f'Function {name}: context_name must be "context", not {parameter!r}.')
        raise StartError(f"Function {name}: the {kind} binding {parameter!r} has no parameter of that name.")


def _check_annotation(name: str, parameter: str, annotation: Any, kind: str) -> None:
    if not _is_usable(annotation):
        raise StartError(
            f"Function {name}: the parameter {parameter!r} is annotated {_shown(annotation)}, which the Functions "
            "worker refuses: use a plain class such as dict, an alias such as typing.Dict[str, Any], or no annotation."
        )
    if kind == "durableClient" and annotation in (str, bytes):
        return
    converter = REGISTRY.get(kind)
    try:
        fits = converter.check_input_type_annotation(annotation)
    except TypeError:  # issubclass() with an alias
        fits = False
    if not fits:
        raise StartError(
            f"Function {name}: the parameter {parameter!r} of binding {kind} cannot be {_shown(annotation)}."
        )


def _check_return(name: str, annotation: Any, kind: str) -> None:
    fits = isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias)
    if not fits or not REGISTRY.get(kind).check_output_type_annotation(annotation):
        raise StartError(
            f"Function {name}: the return annotation {_shown(annotation)} does not fit the {kind} output: "
            "use azure.functions.HttpResponse or str, or no annotation."
        )


def _is_usable(annotation: Any) -> bool:
    if isinstance(annotation, types.GenericAlias):
        return False
    origin = typing.get_origin(annotation)
    return isinstance(annotation, type) if origin is None else origin not in _NOT_TYPES


def _shown(annotation: Any) -> str:
    return annotation.__name__ if type(annotation) is type else str(annotation)
