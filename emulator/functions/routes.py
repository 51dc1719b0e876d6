"""Route templates of HTTP triggers, matched as the Functions host matches them.

A segment is a literal, `{name}`, `{name?}`, `{name=default}`, `{name:constraint:constraint}`, `{*rest}`, or a mix such
as `{name}.{extension}`; case does not matter. Routes are tried in the order of their FUNCTION NAMES, not by how
specific they are, and a method that does not fit is a route that does not fit. `check_routes` refuses what the host
refuses, and warns of a route that an earlier one hides.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .constraints import Check, read_constraints
from .settings import StartError

log = logging.getLogger(__name__)

_PARAMETER = re.compile(r"(\*{0,2})([\w-]+)((?::\w+(?:\(.*\))?)*)(?:=(.*?))?(\?)?", re.DOTALL)
_RESERVED = ("admin", "runtime")
_ANY = "\x00"  # stands for a parameter's value when two templates are compared


@dataclass(frozen=True)
class Route:
    """The compiled template of one HTTP trigger."""

    function: str
    template: str
    methods: frozenset[str]  # upper case; empty means all
    pattern: re.Pattern[str]
    names: tuple[str, ...]
    checks: Mapping[str, tuple[Check, ...]]
    defaults: Mapping[str, str]
    samples: tuple[str, ...]  # paths it matches, any value standing for the parameters

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Return the route parameters if `method` and `path` (decoded, leading slash) fit, else None."""
        found = self.pattern.fullmatch(path)
        if not found or (self.methods and method not in self.methods):
            return None
        given = {name: value for name, value in zip(self.names, found.groups(), strict=True) if value}
        if not all(check(value) for name, value in given.items() for check in self.checks[name]):
            return None
        return {**self.defaults, **given}

    def shares_method(self, other: Route) -> bool:
        """Tell whether some method fits both."""
        return not self.methods or not other.methods or bool(self.methods & other.methods)

    def hides(self, other: Route) -> bool:
        """Tell whether no request reaches `other` when this route is tried first."""
        if self.methods and not (other.methods and other.methods <= self.methods):
            return False
        method = next(iter(self.methods), "GET")
        return all(self.match(method, sample) is not None for sample in other.samples)


def compile_route(function: str, template: str, methods: Sequence[str], prefix: str) -> Route:
    """Compile the template of `function` below the route `prefix`. Raises StartError naming the function."""
    own = template.strip("/")
    if own.lower().startswith(_RESERVED):
        raise StartError(
            f"Function {function}: the route {template!r} is reserved: it may not start with admin or runtime."
        )
    whole = "/".join(part for part in (prefix, own) if part)
    try:
        segments = [_read_segment(pieces) for pieces in _split(whole)]
        parameters = [parameter for segment in segments for parameter in segment.parameters]
        names = tuple(parameter.name for parameter in parameters)
        for name in names:
            if names.count(name) > 1:
                raise ValueError(name)
    except ValueError as problem:
        raise StartError(f"Function {function}: the route {template!r} is not understood at {problem}.") from problem
    pattern = "".join(f"(?:/{one.pattern})?" if one.optional else f"/{one.pattern}" for one in segments)
    longest = "".join(f"/{one.sample}" for one in segments)
    shortest = "".join(f"/{one.sample}" for one in segments if not one.optional)
    return Route(
        function=function,
        template=whole,
        methods=frozenset(method.upper() for method in methods),
        pattern=re.compile(f"{pattern}/?", re.IGNORECASE | re.DOTALL),
        names=names,
        checks={one.name: one.checks for one in parameters},
        defaults={one.name: one.default for one in parameters if one.default is not None},
        samples=(longest or "/", shortest or "/"),
    )


def check_routes(routes: Sequence[Route]) -> None:
    """Refuse two functions with one route and a method in common; warn of a route that is never reached.

    `routes` are in the order in which they are tried.
    """
    for at, route in enumerate(routes):
        for earlier in routes[:at]:
            if route.shares_method(earlier) and route.template.lower() == earlier.template.lower():
                raise StartError(
                    f"The functions {earlier.function} and {route.function} have the same route {route.template!r}."
                )
            if earlier.hides(route):
                log.warning(
                    "Function %s is never reached: routes are tried in the order of function names, and %r of %s "
                    "matches whatever %r does. Rename a function or add a constraint.",
                    route.function,
                    earlier.template,
                    earlier.function,
                    route.template,
                )


@dataclass(frozen=True)
class _Parameter:
    name: str
    checks: tuple[Check, ...]
    default: str | None
    optional: bool
    catch_all: bool


@dataclass(frozen=True)
class _Segment:
    pattern: str
    sample: str
    optional: bool
    parameters: tuple[_Parameter, ...]


def _split(template: str) -> list[list[str]]:
    """Split a template at slashes outside braces, each segment into literals and `{parameters}`.

    Raises ValueError holding the brace that is not closed.
    """
    segments: list[list[str]] = [[]]
    rest = template
    while rest:
        if rest.startswith("/"):
            segments.append([])
            rest = rest[1:]
            continue
        end = _closing(rest) if rest.startswith("{") else len(re.split(r"[{/]", rest, maxsplit=1)[0])
        segments[-1].append(rest[:end])
        rest = rest[end:]
    return [segment for segment in segments if segment]


def _closing(text: str) -> int:
    """Return the end of the parameter that `text` starts with; a doubled brace inside stands for itself."""
    inner = text[1:].replace("{{", _ANY * 2).replace("}}", _ANY * 2)
    end = inner.find("}")
    if end < 0:
        raise ValueError(text)
    return end + 2


def _read_segment(pieces: Sequence[str]) -> _Segment:
    """Compile one segment. Raises ValueError holding the piece that is wrong."""
    pattern = sample = ""
    parameters = []
    for piece in pieces:
        if not piece.startswith("{"):
            pattern += re.escape(piece)
            sample += piece
            continue
        parameter = _read_parameter(piece)
        if parameter.optional and len(pieces) > 1:
            raise ValueError(piece)
        parameters.append(parameter)
        pattern += "(.*)" if parameter.catch_all else "([^/]+?)"
        sample += _ANY
    return _Segment(pattern, sample, any(one.optional for one in parameters), tuple(parameters))


def _read_parameter(piece: str) -> _Parameter:
    found = _PARAMETER.fullmatch(piece[1:-1].replace("{{", "{").replace("}}", "}"))
    if not found:
        raise ValueError(piece)
    star, name, constraints, default, question = found.groups()
    optional = bool(star or question or default is not None)
    return _Parameter(name, read_constraints(constraints), default, optional, bool(star))
