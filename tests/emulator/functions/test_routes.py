"""Route templates match as ASP.NET's do, in the order of function names."""

from __future__ import annotations

import logging

import pytest

from emulator.functions.routes import Route, check_routes, compile_route
from emulator.functions.settings import StartError


def route(template: str, *methods: str, function: str = "f", prefix: str = "api") -> Route:
    return compile_route(function, template, methods, prefix)


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("hello", "/api/hello", {}),
        ("hello", "/API/Hello/", {}),
        ("hello", "/api/hello/there", None),
        ("/hello/", "/api/hello", {}),
        ("a.b", "/api/axb", None),
        ("videos/{job_id}/status", "/api/videos/J-1/status", {"job_id": "J-1"}),
        ("videos/{job_id}/status", "/api/videos//status", None),
        ("echo/{word?}", "/api/echo", {}),
        ("echo/{word?}", "/api/echo/Hi", {"word": "Hi"}),
        ("echo/{a?}/{b?}", "/api/echo/1", {"a": "1"}),
        ("page/{n=1}", "/api/page", {"n": "1"}),
        ("page/{n=1}", "/api/page/2", {"n": "2"}),
        ("files/{*path}", "/api/files/a/b.txt", {"path": "a/b.txt"}),
        ("files/{**path}", "/api/files", {}),
        ("{name}.{extension}", "/api/clip.mp4", {"name": "clip", "extension": "mp4"}),
        ("v{major}-{minor}", "/api/v1-2", {"major": "1", "minor": "2"}),
    ],
)
def test_templates(template: str, path: str, expected: dict[str, str] | None) -> None:
    """A template matches whole paths, whatever their case, and returns its parameters."""
    assert route(template).match("GET", path) == expected


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        ("int", ["0", "-7", "2147483647"], ["x", "1.5", "2147483648"]),
        ("long", ["2147483648"], ["9223372036854775808"]),
        ("bool", ["true", "FALSE"], ["1"]),
        ("alpha", ["abcXYZ"], ["abc1"]),
        ("guid", ["7b1c6f0e-5a4e-4d0e-9a53-0f8f5a0d3c11", "{7b1c6f0e5a4e4d0e9a530f8f5a0d3c11}"], ["7b1c"]),
        ("double", ["1.5", "-2e3"], ["one"]),
        ("float", ["1.5"], ["one"]),
        ("decimal", ["10"], ["ten"]),
        ("datetime", ["2025-01-31", "2025-01-31T12:00:00Z"], ["31.1."]),
        ("required", ["x"], [" "]),
        ("minlength(2)", ["ab"], ["a"]),
        ("maxlength(2)", ["ab"], ["abc"]),
        ("length(3)", ["abc"], ["ab", "abcd"]),
        ("length(2,3)", ["ab", "abc"], ["a", "abcd"]),
        ("min(5)", ["5", "600"], ["4", "x"]),
        ("max(5)", ["5", "-1"], ["6", "x"]),
        ("range(1, 10)", ["1", "10"], ["0", "11"]),
        ("int:min(1)", ["1"], ["0", "x"]),
        (r"regex(^\d{{3}}-[a:b]$)", ["123-a", "123-:"], ["12-a", "123-c"]),
        (r"regex(^(red|GREEN)$):minlength(4)", ["green"], ["red", "blue!"]),
    ],
)
def test_constraints(constraint: str, good: list[str], bad: list[str]) -> None:
    """Each ASP.NET constraint lets its values through, alone and combined, and no others."""
    compiled = route(f"x/{{v:{constraint}}}")
    assert {value: compiled.match("GET", f"/api/x/{value}") is not None for value in good + bad} == {
        **dict.fromkeys(good, True),
        **dict.fromkeys(bad, False),
    }


def test_an_optional_constrained_parameter_may_be_absent() -> None:
    """A constraint applies only to a value that is there."""
    compiled = route("x/{n:int?}")
    assert [compiled.match("GET", path) for path in ("/api/x", "/api/x/3", "/api/x/y")] == [{}, {"n": "3"}, None]


def test_a_wrong_method_is_a_route_that_does_not_match() -> None:
    """Methods are compared as given; none listed means all."""
    assert route("x", "GET", "POST").match("DELETE", "/api/x") is None
    assert route("x", "get").match("GET", "/api/x") == {}
    assert route("x").match("DELETE", "/api/x") == {}


def test_an_empty_prefix_puts_routes_at_the_root() -> None:
    """`routePrefix: ""` is honoured, also by a catch-all of everything."""
    assert route("app", prefix="").match("GET", "/app") == {}
    assert route("{*rest}", prefix="").match("GET", "/") == {}


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("admin/tools", "reserved"),
        ("Runtime", "reserved"),
        ("x/{n", "{n"),
        ("x/{}", "{}"),
        ("x/{n:integer}", "integer"),
        ("x/{n:min}", "min"),
        ("x/{n:range(1)}", "range(1)"),
        ("x/{n:regex([)}", "regex([)"),
        ("x/{a}/{a}", "a"),
        ("x/{a}.{b?}", "{b?}"),
    ],
)
def test_wrong_templates_are_refused(template: str, named: str) -> None:
    """A template the host would refuse stops the start and names the function and the place."""
    with pytest.raises(StartError) as refused:
        route(template, function="broken")
    assert "broken" in str(refused.value)
    assert named in str(refused.value)


def test_the_same_route_twice_is_refused() -> None:
    """Two functions may share a route only with different methods."""
    check_routes([route("x", "GET", function="a"), route("X", "POST", function="b")])
    with pytest.raises(StartError, match="a and b have the same route"):
        check_routes([route("x", "GET", "POST", function="a"), route("X/", "POST", function="b")])
    with pytest.raises(StartError, match="a and b have the same route"):
        check_routes([route("x", function="a"), route("x", "GET", function="b")])


def test_a_route_hidden_by_an_earlier_function_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Azure tries routes by function name: a general route of an earlier name makes a special one unreachable."""
    with caplog.at_level(logging.WARNING):
        check_routes([route("items/{id}", "GET", function="details"), route("items/list", "GET", function="list")])
    assert "Function list is never reached" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        check_routes(
            [
                route("items/list", "GET", function="a"),
                route("items/{id:int}", "GET", function="b"),
                route("items/{id}", "GET", function="c"),
                route("items/all", "POST", function="d"),
                route("{kind}/all", function="e"),
            ]
        )
    assert caplog.text == ""
