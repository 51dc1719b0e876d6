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
            f"Function {function}: the route {template!r} is reserved; it may not start with admin or runtime."
        )
    whole = "/".join(part for part in (prefix, own) if part)
    names: list[str] = []
    checks: dict[str, tuple[Check, ...]] = {}
    defaults: dict[str, str] = {}
    pattern = longest = shortest = ""
    try:
        for segment in _segments(whole):
            text = sample = ""
            optional = False
            for piece in segment:
                if not piece.startswith("{"):
                    text += re.escape(piece)
                    sample += piece
                    continue
                star, name, constraints, default, question = _read_parameter(piece)
                if name in names:
                    raise ValueError(name)
                names.append(name)
                checks[name] = read_constraints(constraints)
                if default is not None:
                    defaults[name] = default
                optional = bool(star or question or default is not None)
                if optional and len(segment) > 1:
                    raise ValueError(piece)
                text += "(.*)" if star else "([^/]+?)"
                sample += _ANY
            pattern += f"(?:/{text})?" if optional else f"/{text}"
            longest += f"/{sample}"
            shortest += "" if optional else f"/{sample}"
    except ValueError as problem:
        raise StartError(f"Function {function}: the route {template!r} is not understood at {problem}.") from problem
    return Route(
        function=function,
        template=whole,
        methods=frozenset(method.upper() for method in methods),
        pattern=re.compile(f"{pattern}/?", re.IGNORECASE | re.DOTALL),
        names=tuple(names),
        checks=checks,
        defaults=defaults,
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


def _segments(template: str) -> list[list[str]]:
    """Split a template at slashes outside braces, each segment into literals and `{parameters}`.

    Raises ValueError holding the brace that is not closed.
    """
    segments: list[list[str]] = [[]]
    rest = template
    while rest:
        if rest.startswith("{"):
            end = _closing(rest)
            segments[-1].append(rest[:end])
            rest = rest[end:]
        elif rest.startswith("/"):
            segments.append([])
            rest = rest[1:]
        else:
            literal = re.split(r"[{/]", rest, maxsplit=1)[0]
            segments[-1].append(literal)
            rest = rest[len(literal) :]
    return [segment for segment in segments if segment]


def _closing(text: str) -> int:
    """Return the end of the parameter that `text` starts with; a doubled brace inside stands for itself."""
    inner = text[1:].replace("{{", _ANY * 2).replace("}}", _ANY * 2)
    end = inner.find("}")
    if end < 0:
        raise ValueError(text)
    return end + 2


def _read_parameter(piece: str) -> tuple[str, str, str, str | None, str | None]:
    """Return star, name, constraints, default and question mark of `{...}`."""
    found = _PARAMETER.fullmatch(piece[1:-1].replace("{{", "{").replace("}}", "}"))
    if not found:
        raise ValueError(piece)
    star, name, constraints, default, question = found.groups()
    return star, name, constraints, default, question
