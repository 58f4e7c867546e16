"""Folders are layers: import-linter's contracts hold, and what they cannot see is checked here."""

import ast
import itertools
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import pycron
from pycron.engine.states import TRANSITIONS

PACKAGE = Path(pycron.__file__).parent
ROOT = PACKAGE.parent
PURE = ("schedule", "model", "crontab", "engine", "analysis", "lint")
FOLDERS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))

# The runner forks for every command, and the price of a fork grows with the memory of the process.
LIGHT = {
    "collections", "contextlib", "errno", "fcntl", "functools", "gc", "itertools", "json", "mmap",
    "operator", "os", "re", "resource", "select", "signal", "socket", "stat", "struct", "sys",
    "time", "typing",
}  # fmt: skip
OF_THE_RUNNER = (
    "protocol/framing.py", "protocol/outbox.py", "protocol/runner_messages.py",
    "protocol/runner_checks.py", "protocol/session_messages.py", "system/unix_sockets.py",
    "system/cgroup.py", "system/lease_file.py", "system/marks.py", "system/mounts.py",
    "system/output_tail.py", "system/running_lines.py", "system/shells.py",
)  # fmt: skip


def imported(source: str) -> set[str]:
    """Every module that a source names in an import, deferred imports too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            found.add(node.module or "")
    return found


def test_the_contracts_hold() -> None:
    """The contracts are in pyproject.toml: layers, pure folders, the runner."""
    pytest.importorskip("importlinter")
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", PURE)
def test_a_pure_folder_opens_nothing(folder: str) -> None:
    for path in (PACKAGE / folder).glob("*.py"):
        tree = ast.parse(path.read_text())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not names & {"open", "input", "print", "__import__", "exec", "eval"}, path


def test_the_runner_stays_light() -> None:
    for path in [*(PACKAGE / "runner").glob("*.py"), *(PACKAGE / name for name in OF_THE_RUNNER)]:
        others = {name for name in imported(path.read_text()) if name.split(".")[0] != "pycron"}
        assert {name.split(".")[0] for name in others} <= LIGHT, path


@pytest.mark.parametrize("form", ["json", "journal", "console"])
def test_the_daemon_has_nothing_in_memory_that_few_ask_for(form: str) -> None:
    """asyncio and hashlib would bring OpenSSL, which the daemon never uses."""
    program = (
        "import sys; from pycron.daemon import daemon, log; from pycron.cli import pycrond;"
        f"log.configure({form!r}); print(*sys.modules)"
    )
    loaded = set(subprocess.check_output([sys.executable, "-c", program], text=True).split())
    assert "pycron.daemon.daemon" in loaded
    assert not {name for name in loaded if name.startswith("pycron.lint")}
    assert ("structlog" in loaded) == (form == "json")  # the others need no renderer
    assert not loaded & {
        "asyncio", "asyncio.events", "ssl", "_ssl", "hashlib", "_hashlib", "croniter", "dateutil",
        "psutil", "tempfile", "difflib", "tomllib", "base64", "uuid", "rich",
    }  # fmt: skip


def test_the_readme_has_the_docstrings_of_the_folders() -> None:
    """README's table of folders: the folder, its contents, and what it may import."""
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)/` \| (.+?) \| (.+?) \|$", readme, re.MULTILINE)
    said = {folder: (contents, imports) for folder, contents, imports in rows}
    assert said == {folder: _docstring(folder) for folder in FOLDERS}


def _docstring(folder: str) -> tuple[str, str]:
    """The contents of a folder, and what it may import, as its docstring says."""
    text = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text())) or ""
    contents, imports, *_ = (" ".join(part.split()) for part in text.split("\n\n"))
    return contents, imports.removeprefix("May import: ").removesuffix(".")


def test_the_architecture_page_has_the_table_of_states() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    _, _, rest = page.partition("<!-- states -->\n")
    shown, _, _ = rest.partition("<!-- end -->")
    assert shown == state_table()


def state_table() -> str:
    """TRANSITIONS as the page shows it: `python -m tests.unit.test_layers` prints it."""
    rows = ["| state | step | next state | meaning of the step |", "|---|---|---|---|"]
    meanings = _meanings(PACKAGE / "engine/states.py", "Step")
    for (state, step), following in TRANSITIONS.items():
        before = state.value if state else "(new)"
        after = following.value if following else "(over)"
        rows.append(f"| {before} | {step.value} | {after} | {meanings[step.name]} |")
    return "\n".join(rows) + "\n"


def _meanings(path: Path, enum: str) -> dict[str, str]:
    """The docstring below each member of an enum."""
    (body,) = (
        node.body
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == enum
    )
    return {
        member.targets[0].id: text.value.value
        for member, text in itertools.pairwise(body)
        if isinstance(member, ast.Assign)
        and isinstance(member.targets[0], ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def test_modules_and_functions_stay_small() -> None:
    """A module that one can hold in the head, a function that one reads at a glance."""
    lengths = []
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                lengths.append(node.end_lineno - node.lineno + 1)
                assert lengths[-1] <= 50, f"{path}: {node.name}"
    assert statistics.median(lengths) <= 8


if __name__ == "__main__":
    print(state_table(), end="")


def test_nobody_loads_the_libraries_of_a_cluster_before_they_are_used() -> None:
    """Neither daemon, runner and agent nor the command line, with all its verbs."""
    program = (
        "import sys, pycron.cli.pycrond, pycron.daemon.daemon, pycron.runner.runner,"
        " pycron.cluster.agent; from pycron.cli.verb import all_verbs; all_verbs();"
        " print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = set(subprocess.check_output([sys.executable, "-c", program], text=True).split())
    assert "pycron" in loaded
    assert not loaded & {"celery", "kombu", "amqp", "redis", "rq", "boto3", "pycurl", "psycopg"}
