"""The layout's rules, read from the source with `ast`: who may import whom, where no clock may be read, how large a
file may grow, and what a test looks like.

A rule is a list of module prefixes; `datetime.timedelta` allows that one name, `reelkeeper.clips` the whole package.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCTION = ("activities", "entities", "orchestrators", "reelkeeper", "triggers")
MAX_FILE_BYTES = 24 * 1024

GOING_OUT = [f"reelkeeper.outbound.{name}" for name in ("rule", "connections", "deadline", "session")]
"""How adapters reach what others' addresses lead to. Whoever only wants a file asks `Services.fetcher`."""

PURE = [
    "reelkeeper/clips/blocks.py",
    "reelkeeper/errors.py",
    "reelkeeper/gate.py",
    "reelkeeper/media.py",
    "reelkeeper/model.py",
    "reelkeeper/names.py",
    "reelkeeper/parts.py",
    "reelkeeper/ledger.py",
    "reelkeeper/policy.py",
    "reelkeeper/providers/abilities.py",
    "reelkeeper/providers/endpoints.py",
    "reelkeeper/providers/failures.py",
    "reelkeeper/providers/reading.py",
]
PURE_MODULES = tuple(path.removesuffix(".py").replace("/", ".") for path in PURE)
IMPURE_STDLIB = ("time", "random", "secrets", "socket", "subprocess", "threading", "asyncio", "http", "urllib.request")

READING_THE_CLOCK = {"now", "utcnow", "today", "time", "monotonic", "perf_counter", "sleep", "uuid1", "uuid4"}


def python_files(*folders: str) -> list[str]:
    """Paths below the root, sorted, of all Python files in the folders (or the root's own with none)."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")] if folders else ROOT.glob("*.py")
    return sorted(
        path.relative_to(ROOT).as_posix() for path in found if not {"node_modules", ".venv"} & set(path.parts)
    )


def parse(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), path)


def imports(tree: ast.AST) -> Iterator[str]:
    """Every imported name in full: ``from a import b`` is ``a.b``, wherever in the file it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from (f"{start}.{alias.name}" for alias in node.names)


def below(name: str, prefixes: tuple[str, ...] | list[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def stdlib(name: str) -> bool:
    return name.split(".")[0] in sys.stdlib_module_names


def clock_reads(tree: ast.AST) -> list[str]:
    """Calls such as ``datetime.now()``, ``time.time()``, ``random.random()``, by their source text."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        ast.unparse(call)
        for call in calls
        if (isinstance(call, ast.Attribute) and (call.attr in READING_THE_CLOCK or _owner(call) == "random"))
        or (isinstance(call, ast.Name) and call.id in READING_THE_CLOCK)
    ]


def _owner(call: ast.Attribute) -> str:
    return call.value.id if isinstance(call.value, ast.Name) else ""


@pytest.mark.parametrize("path", python_files("orchestrators"))
def test_orchestrators_import_only_what_is_deterministic(path: str) -> None:
    """The model, the policy, the durable library, and the few names of the standard library that read nothing."""
    allowed = (
        "__future__.annotations", "collections.abc", "datetime.timedelta", "typing", "azure.durable_functions",
        "reelkeeper.model", "reelkeeper.parts", "reelkeeper.policy", "orchestrators.retry",
    )  # fmt: skip
    assert [name for name in imports(parse(path)) if not below(name, allowed)] == []


@pytest.mark.parametrize("path", [*python_files("orchestrators"), *PURE])
def test_no_clock_and_no_chance_where_replay_or_purity_counts(path: str) -> None:
    """`now` is a parameter there. Ids and run marks may draw from os.urandom, in names.py and blocks.py only."""
    tree = parse(path)
    assert clock_reads(tree) == []
    assert [name for name in imports(tree) if below(name, IMPURE_STDLIB)] == []
    draws = [name for name in ("os.urandom", "uuid") if name in ast.unparse(tree)]
    assert not draws or path in ("reelkeeper/names.py", "reelkeeper/clips/blocks.py")


@pytest.mark.parametrize("path", python_files("activities"))
def test_activities_speak_only_to_the_domain(path: str) -> None:
    """No vendor library, no other activity, no orchestrator or trigger."""
    allowed = [name for name in imports(parse(path)) if below(name, ["reelkeeper"]) or stdlib(name)]
    assert [name for name in imports(parse(path)) if name not in allowed] == []


@pytest.mark.parametrize("path", python_files("entities"))
def test_entities_speak_only_to_the_domain(path: str) -> None:
    """As activities do, and to the durable library, for the type of their context."""
    allowed = ["reelkeeper", "azure.durable_functions"]
    assert [name for name in imports(parse(path)) if not (below(name, allowed) or stdlib(name))] == []


@pytest.mark.parametrize("path", python_files("activities", "entities", "triggers"))
def test_activities_and_triggers_know_no_adapter(path: str) -> None:
    """They get the adapters from `Services`, so that a test hands in fakes."""
    adapters = [
        "reelkeeper.records.tables", "reelkeeper.records.memory", "reelkeeper.records.rows", "reelkeeper.clips.blobs",
        "reelkeeper.clips.memory", "reelkeeper.clips.signing", "reelkeeper.providers.http",
        "reelkeeper.providers.azure_jobs", "reelkeeper.providers.openai_videos", "reelkeeper.providers.openai_images",
        "reelkeeper.providers.memory",
        "reelkeeper.providers.auth", "reelkeeper.outbound.web", "reelkeeper.outbound.memory", *GOING_OUT,
    ]  # fmt: skip
    assert [name for name in imports(parse(path)) if below(name, adapters)] == []


@pytest.mark.parametrize("path", python_files("triggers"))
def test_triggers_start_things_and_do_not_do_them(path: str) -> None:
    """No activity, no orchestrator, no vendor library but the Functions' own and the errors that mean "storage"."""
    allowed = [
        "reelkeeper",
        "triggers",
        "azure.functions",
        "azure.durable_functions",
        "azure.core.exceptions",
        "pydantic",
    ]
    assert [name for name in imports(parse(path)) if not (below(name, allowed) or stdlib(name))] == []


@pytest.mark.parametrize("path", PURE)
def test_pure_files_import_no_adapter(path: str) -> None:
    """Only each other, the Protocols' plain data, and the standard library."""
    allowed = [*PURE_MODULES, "reelkeeper.clips.base"]
    assert [name for name in imports(parse(path)) if not (below(name, allowed) or stdlib(name))] == []


DOORS = python_files("reelkeeper/clips", "reelkeeper/outbound", "reelkeeper/providers", "reelkeeper/records")


@pytest.mark.parametrize("path", DOORS)
def test_doors_do_not_lead_into_each_other(path: str) -> None:
    """An adapter knows its own package, the pure files, how to reach the storage, how to go out, and its library."""
    package = ".".join(path.split("/")[:2])
    allowed = [package, "reelkeeper.storage", *GOING_OUT, *PURE_MODULES]
    ours = [name for name in imports(parse(path)) if below(name, ["reelkeeper"])]
    assert [name for name in ours if not below(name, allowed)] == []


@pytest.mark.parametrize("path", python_files(*PRODUCTION))
def test_the_diagnosis_is_nobody_s_tool(path: str) -> None:
    """It looks at everything; only its own trigger looks at it, and only when it is asked."""
    if path.startswith("reelkeeper/diagnosis/"):
        return
    at_start = [name for node in parse(path).body for name in imports(node) if not isinstance(node, ast.FunctionDef)]
    known = at_start if path == "triggers/diagnostics.py" else list(imports(parse(path)))
    assert [name for name in known if below(name, ["reelkeeper.diagnosis"])] == []


@pytest.mark.parametrize("path", ["function_app.py", *python_files(*PRODUCTION)])
def test_production_never_imports_tools(path: str) -> None:
    """What is not deployed cannot be needed, and nothing depends on the layers above it."""
    forbidden = ["emulator", "tests", "bench", "dev", "pytest", "world"]
    if path.startswith("reelkeeper/"):
        forbidden += ["activities", "entities", "orchestrators", "triggers", "function_app", "azure.functions"]
    names = list(imports(parse(path)))
    assert [name for name in names if below(name, forbidden) or name.startswith(".")] == []


def test_the_composition_root_is_read_by_the_worker() -> None:
    """Postponed annotations would hide the types from it; everywhere else they are the rule."""
    assert "__future__.annotations" not in imports(parse("function_app.py"))
    without = [
        path
        for path in python_files(*PRODUCTION)
        if parse(path).body and "__future__.annotations" not in imports(parse(path))
    ]
    assert without == []


ALL = [*python_files(), *python_files(*PRODUCTION, "emulator", "tests", "bench")]


@pytest.mark.parametrize("path", ALL)
def test_no_file_outgrows_its_reader(path: str) -> None:
    """Below 24 KB; a file that outgrows this wants splitting by idea."""
    assert (ROOT / path).stat().st_size < MAX_FILE_BYTES


@pytest.mark.parametrize("path", [path for path in ALL if not path.startswith("tests/")])
def test_every_module_says_what_it_is_for(path: str) -> None:
    """A module docstring of at most twelve lines; empty package files need none."""
    tree = parse(path)
    if tree.body:
        docstring = ast.get_docstring(tree)
        assert docstring
        assert len(docstring.splitlines()) <= 12


@pytest.mark.parametrize("path", [path for path in python_files("tests") if Path(path).name.startswith("test_")])
def test_every_test_states_its_promise(path: str) -> None:
    """In a docstring of one line; and fakes do the work of mocks."""
    tree = parse(path)
    tests = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert tests
    wrong = [test.name for test in tests if len((ast.get_docstring(test) or "").splitlines()) != 1]
    assert wrong == []
    assert [name for name in imports(tree) if below(name, ["unittest.mock", "unittest", "mock"])] == []


def test_the_rules_can_fail() -> None:
    """The readers above find what they look for, in every form in which it can be written."""
    tree = ast.parse(
        "import a.b\nfrom c import d, e\nfrom . import f\nfrom .g import h\ndef x():\n    from i import j\n"
        "datetime.now(z)\ntime.time()\nrandom.choice(x)\nmonotonic()\nmodule.datetime.utcnow()\n"
    )
    assert set(imports(tree)) == {"a.b", "c.d", "c.e", "..f", ".g.h", "i.j"}
    assert len(clock_reads(tree)) == 5
    assert below("datetime.timedelta", ["datetime.timedelta"])
    assert not below("datetime.datetime", ["datetime.timedelta"])
    assert not below("reelkeeperish", ["reelkeeper"])
    assert stdlib("collections.abc")
    assert not stdlib("azure.core")
