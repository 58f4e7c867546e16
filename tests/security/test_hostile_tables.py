"""A hostile table costs little time and memory (CVE-2019-9704, CVE-2019-9705)."""

import itertools
import string
import tracemalloc
from collections.abc import Iterator

import pytest

from pycron.crontab.changes import compare
from pycron.crontab.reader import LONGEST_LINE, ReaderContext, parse, parsing
from pycron.crontab.table import Table
from pycron.crontab.variables import LARGEST_ENVIRONMENT
from pycron.executor.environments import command_environment
from pycron.model.job import Source
from pycron.model.run import AttemptKey, RunKey
from pycron.system.accounts import own_account

MALLORY = Source("mallory", "mallory")
KIB = 1024


def names() -> Iterator[str]:
    first = string.ascii_letters + "_"
    for length in itertools.count(1):
        rest = [first + string.digits] * (length - 1)
        yield from map("".join, itertools.product(first, *rest))


def most_variables() -> list[str]:
    """As many variables as an environment can have, without a value."""
    found: list[str] = []
    size = 0
    for name in names():
        size += len(name)
        if size > LARGEST_ENVIRONMENT - 8:  # room for the values below
            return found
        found.append(f"{name}=")
    raise AssertionError


def read(lines: list[str]) -> Table:
    return parse("".join(f"{line}\n" for line in lines), MALLORY, ReaderContext())


def bound(lines: list[str]) -> int:
    """The memory that a table may take: 1 KB a line, three times the table, and 8 MB."""
    return len(lines) * KIB + 3 * sum(len(line) + 1 for line in lines) + 8 * KIB**2


def entries_below_many_variables(count: int) -> list[str]:
    variables = most_variables()
    changes = [[f"a={n}", f"@yearly :{n}"] for n in range(count)]
    return [*variables, *itertools.chain.from_iterable(changes)]


@pytest.mark.slow
def test_entries_share_the_variables_above_them() -> None:
    lines = entries_below_many_variables(1000)
    assert len(lines) > 22_000
    tracemalloc.start()
    try:
        table = read(lines)
        kept, peak = tracemalloc.get_traced_memory()
        jobs = [job for job in table.jobs if dict(job.environment)["a"]]
        assert tracemalloc.get_traced_memory()[0] < bound(lines)
        del table, jobs
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < bound(lines)
    assert after < kept / 4  # it is returned


def test_each_entry_has_the_variables_of_its_line() -> None:
    """Also where a copy of the environment begins."""
    lines = []
    for number in range(700):
        lines += [f"V{number % 9}={number}", f"W{number}=", f"@yearly {number}"]
    expected: dict[str, str] = {}
    for number, job in enumerate(read(lines).jobs):
        expected |= {f"V{number % 9}": str(number), f"W{number}": ""}
        assert tuple(job.environment) == tuple(expected.items())
        assert len(job.environment) == len(expected)


def test_equal_environments_are_equal_however_they_came_about() -> None:
    one = read(["A=1", "B=2", "@daily x"]).jobs[0].environment
    other = read(["A=0", "B=2", "A=1", "C=3", "@daily y", "B=2", "@daily x"]).jobs
    assert one != other[0].environment
    assert one == read(["A=0", "B=2", "A=1", "@daily x"]).jobs[0].environment
    assert one == (("A", "1"), ("B", "2"))


def test_the_variables_reach_the_command() -> None:
    *_, job = read(entries_below_many_variables(2)).jobs
    attempt = AttemptKey(RunKey(job.id, 0), 1)
    environment = command_environment(attempt, job, own_account(), {})
    assert environment["a"] == "1"
    assert len(environment) > 22_000


def test_to_compare_two_versions_reads_no_environment_twice() -> None:
    lines = entries_below_many_variables(300)
    before, after = read(lines), read([*lines[:-1], "@yearly other"])
    changes = compare(before.jobs, after.jobs)
    assert (changes.added, changes.changed, changes.removed) == (1, 0, 1)


# ---- the cost of a step


HOSTILE_LINES = {
    "blanks": " " * (LONGEST_LINE - 1) + "x",
    "options": "@daily " + "-n " * 40_000 + "x",
    "elements": f"0 0 */31 * {','.join(f'{d}#{n}' for d in range(7) for n in range(2, 6))} x",
    "picks": " ".join([",".join(["~/2"] * 128)] * 5) + " x",
    "a list": "CRON_NOTIFY=" + "a," * 60_000 + "a @daily x",
    "a duration": "CRON_TIMEOUT=" + "0s" * 60_000 + "1s @daily x",
    "conditions": "CRON_RETRY_ON=" + "1," * 60_000 + "1 @daily x",
    "an unknown name": "CRON_" + "A" * 130_000 + "=1",
    "backslashes": "@daily " + "\\a" * 65_000 + "%",
    "input": "@daily x%" + "a%" * 65_000,
    "addresses": "MAILTO=" + "a@," * 20_000,
}


@pytest.mark.parametrize("line", HOSTILE_LINES.values(), ids=HOSTILE_LINES)
def test_a_table_is_read_in_small_steps(line: str) -> None:
    """Between two steps the daemon does what is due."""
    text = f"{line}\n" * 8
    steps = sum(1 for _ in parsing(text, MALLORY, ReaderContext()))
    assert steps >= min(8, len(text) // 20_000)


@pytest.mark.slow
def test_a_table_that_is_replaced_again_and_again_takes_no_more_memory() -> None:
    lines = entries_below_many_variables(50)
    read(lines)
    tracemalloc.start()
    try:
        for number in range(5):
            read([*lines, f"@daily {number}"])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < KIB**2
