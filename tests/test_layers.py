"""Each module imports only from those before it; the pure ones touch no clock, file or process."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import pycron

PACKAGE = Path(pycron.__file__).parent

PURE = (
    "settings", "fields", "schedule", "zone", "firetime", "model", "entries", "policy", "crontab",
    "admission", "timetable", "events", "actions", "reports", "pauses", "lifecycle", "runs",
    "engine", "explain", "why",
)  # fmt: skip
EDGES = (
    "on_demand", "wire", "sockets", "host", "places", "accounts", "zonedata", "config", "notify",
    "recording", "output", "watch", "spool", "schema", "retention", "history", "repair", "backlog",
    "leftovers", "cursor_file", "writer", "store", "recorder", "cgroup", "runner_log", "loop",
    "tree", "spawn", "orders", "attempt", "daemon_link", "pump", "trees", "failures", "attempts",
    "launcher", "starters", "runner", "runner_client", "runner_link", "forgetting", "control",
    "checking", "logs", "tables", "commands",
)  # fmt: skip
DAEMON = (
    "rights", "requests", "rows", "desk", "operations", "inquiry", "service", "takeover", "daemon",
)  # fmt: skip
PROGRAMS = (
    "programs", "programs.choose", "programs.instants", "programs.printing", "programs.verbs",
    "programs.operating", "programs.why_verb", "programs.pycron", "programs.pycrond",
    "programs.pycrontab",
)  # fmt: skip
ORDER = ("pycron", *(f"pycron.{name}" for name in (*PURE, *EDGES, *DAEMON, *PROGRAMS)))

# What would let a decision depend on anything but its arguments.
IMPURE = {
    "os", "time", "subprocess", "socket", "signal", "logging", "pathlib", "sqlite3", "random",
    "selectors", "tempfile", "threading", "zoneinfo", "asyncio", "io", "shutil", "secrets",
}  # fmt: skip

# The runner forks for every command, and a fork costs what the process weighs.
RUNNER = (
    "wire", "sockets", "recording", "cgroup", "runner_log", "loop", "tree", "spawn", "orders",
    "attempt", "daemon_link", "pump", "trees", "failures", "attempts", "launcher", "starters",
    "runner",
)  # fmt: skip
LIGHT = {
    "collections", "contextlib", "functools", "gc", "itertools", "json", "mmap",
    "operator", "os", "resource", "select", "signal", "socket", "struct", "sys", "time", "typing",
}  # fmt: skip


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(source: str, modules: set[str]) -> set[str]:
    """Every module that a source names in an import, deferred ones too.

    `from pycron import host` is an import of pycron.host.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            base = node.module or ""
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else base for name in names}
    return found


IMPORTS = {name: imported(path.read_text(), set(MODULES)) for name, path in MODULES.items()}


def test_every_module_has_its_place() -> None:
    assert sorted(MODULES) == sorted(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_module_imports_only_from_those_before_it(name: str) -> None:
    ours = {module for module in IMPORTS[name] if module.split(".")[0] == "pycron"}
    assert ours <= set(ORDER[: ORDER.index(name)])


def test_no_import_cycle() -> None:
    graph = {name: found & set(MODULES) for name, found in IMPORTS.items()}
    assert list(TopologicalSorter(graph).static_order())  # CycleError names the circle


@pytest.mark.parametrize("name", PURE)
def test_the_pure_layer_reads_and_starts_nothing(name: str) -> None:
    assert not {module.split(".")[0] for module in IMPORTS[f"pycron.{name}"]} & IMPURE


@pytest.mark.parametrize("name", PURE)
def test_the_pure_layer_opens_nothing(name: str) -> None:
    tree = ast.parse(MODULES[f"pycron.{name}"].read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"open", "input", "print", "__import__", "exec", "eval"}


@pytest.mark.parametrize("name", RUNNER)
def test_the_runner_stays_light(name: str) -> None:
    found = IMPORTS[f"pycron.{name}"]
    ours = {module for module in found if module.split(".")[0] == "pycron"}
    assert ours <= {f"pycron.{module}" for module in RUNNER}
    assert {module.split(".")[0] for module in found - ours} <= LIGHT


def test_the_daemon_has_nothing_in_memory_that_few_ask_for() -> None:
    """asyncio and hashlib would bring OpenSSL, which nobody asks for."""
    program = (
        "import sys; from pycron import daemon, logs; from pycron.programs import pycrond;"
        "logs.configure('json'); print(*sys.modules)"
    )
    loaded = set(subprocess.check_output([sys.executable, "-c", program], text=True).split())
    assert "pycron.daemon" in loaded
    assert not loaded & {
        "asyncio", "asyncio.events", "ssl", "_ssl", "hashlib", "_hashlib", "croniter", "dateutil",
        "psutil", "tempfile", "difflib", "tomllib", "base64", "uuid",
    }  # fmt: skip


def test_the_reader_of_imports_sees_every_kind() -> None:
    source = "import os.path\nfrom a import b, c\ndef f():\n    from pycron import host\n"
    assert imported(source, {"pycron.host", "a.b"}) == {"os.path", "a.b", "a", "pycron.host"}
