"""Tables and pages: on a terminal nothing is wider than it is, in a pipe everything is whole."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pycron.cli.table_layout import GAP, Column, fit
from tests.support.pseudo_terminal import Shown, show

HOSTILE = "\x1b]0;owned\x07[bold red]name[/] \u202e漢字漢字"
PROGRAM = """
from pycron.cli.printing import Cell, Column, Tone, print_page, print_table, print_text
from pycron.cli.terminal import guard_terminal
guard_terminal()
columns = [Column("job", least=8), Column("n", right=True), Column("rest", least=10, rank=1)]
rows = [[{name!r}, str(number), Cell("some words " * 9, Tone.BAD)] for number in (1, 22)]
print_table(columns, rows, "nothing", "a title")
print_page([("job", {name!r}), ("empty", None), ("several", ["a " * 60, "b" * 200])])
print_text("{name} " * 30)
"""


def program(name: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM.replace("{name!r}", repr(name))]


def on_a_terminal(name: str, columns: int, **environment: str) -> Shown:
    shown = show(program(name), columns, environment=environment)
    assert shown.status == 0, shown.text
    return shown


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Column], list[int], int]:
    columns = draw(st.lists(st.builds(
        Column, st.just("title"), st.booleans(), st.none() | st.integers(1, 12), st.integers(0, 2),
    ), min_size=1, max_size=8))  # fmt: skip
    widths = draw(st.lists(st.integers(1, 300), min_size=len(columns), max_size=len(columns)))
    return columns, widths, draw(st.integers(20, 200))


@given(tables())
def test_a_table_is_never_wider_than_its_room(table: tuple[list[Column], list[int], int]) -> None:
    columns, widths, room = table
    shown = fit(columns, widths, room)
    needed = sum(shown.values()) + GAP * (len(shown) - 1)
    assert shown
    assert needed <= room or set(shown.values()) == {1}
    assert all(1 <= width <= widths[i] for i, width in shown.items())
    assert {i for i, column in enumerate(columns) if column.rank == 0} <= set(shown)
    if sum(widths) + GAP * (len(widths) - 1) <= room:
        assert list(shown.values()) == widths
    assert not any(columns[i].rank for i in shown) or all(
        shown[i] >= min(widths[i], 24) for i in shown if not columns[i].rank
    )


def test_a_column_goes_before_the_important_ones_are_cut() -> None:
    columns = [Column("a"), Column("b", least=5), Column("c", least=4, rank=1), Column("d", rank=2)]
    assert fit(columns, [10, 30, 10, 10], 66) == {0: 10, 1: 30, 2: 10, 3: 10}
    assert fit(columns, [10, 30, 10, 10], 60) == {0: 10, 1: 24, 2: 10, 3: 10}
    assert fit(columns, [10, 30, 10, 10], 56) == {0: 10, 1: 24, 2: 6, 3: 10}
    assert fit(columns, [10, 30, 10, 10], 50) == {0: 10, 1: 26, 2: 10}
    assert fit(columns, [10, 30, 10, 10], 36) == {0: 10, 1: 24}
    assert fit(columns, [10, 30, 10, 10], 20) == {0: 10, 1: 8}
    assert fit(columns, [10, 30, 10, 10], 12) == {0: 5, 1: 5}
    assert fit(columns, [10, 30, 0, 10], None) == {0: 10, 1: 30, 3: 10}


@pytest.mark.parametrize("columns", [20, 37, 80, 160])
@pytest.mark.parametrize("name", ["short", "x" * 300, HOSTILE], ids=["short", "long", "hostile"])
def test_nothing_is_wider_than_the_terminal(name: str, columns: int) -> None:
    shown = on_a_terminal(name, columns)
    assert max(map(cell_len, shown.lines)) <= columns
    assert "\x1b]" not in shown.raw
    assert "\u202e" not in shown.raw


def test_markup_and_control_characters_are_shown() -> None:
    shown = on_a_terminal(HOSTILE, 160)
    assert "\\x1b]0;owned\\x07[bold red]name[/] \\u202e漢字漢字" in shown.text


def test_colours_are_for_terminals_whose_user_wants_them() -> None:
    assert "\x1b[1;31msome words" in on_a_terminal("x", 80).raw
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in on_a_terminal("x", 80, **environment).raw
    assert "\x1b" in on_a_terminal("x", 80, NO_COLOR="").raw


def test_without_unicode_a_cut_is_marked_all_the_same() -> None:
    shown = on_a_terminal("x" * 99, 40, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert "~" in shown.text
    assert "…" not in shown.text


def test_a_pipe_gets_everything_without_rich() -> None:
    script = program("x" * 300)[2] + "\nimport sys; print('rich' in sys.modules)"
    lines = subprocess.check_output([sys.executable, "-c", script], text=True).splitlines()
    assert lines[0].split() == ["JOB", "N", "REST"]  # the title is for people
    assert lines[1].startswith("x" * 300 + "   1  some words some words")
    assert lines[-1] == "False"
    assert "\x1b" not in "".join(lines)


def test_a_table_without_end_is_printed_as_it_comes() -> None:
    script = """
from itertools import count
from pycron.cli.printing import Column, print_table
print_table([Column("a"), Column("b")], ([str(10 ** (n // 999)), "x"] for n in count()), "")
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [next(process.stdout) for _ in range(1500)]
    process.kill()
    process.communicate()
    assert lines[:2] == ["A   B\n", "1   x\n"]
    assert lines[1000] == "10  x\n"


def test_only_the_views_know_rich() -> None:
    """What runs without a terminal has no use for it, and 50 ms are much for a small program."""
    root = Path(__file__).parents[2] / "pycron"
    users = {path.name for path in root.rglob("*.py") if "rich" in _imports(path.read_text())}
    assert users == {"printing.py", "progress.py"}


def _imports(source: str) -> set[str]:
    words = [line.split() for line in source.splitlines()]
    return {w[1].split(".")[0] for w in words if len(w) > 1 and w[0] in ("import", "from")}
