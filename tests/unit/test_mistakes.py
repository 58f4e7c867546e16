"""Lines that cannot be read: the message names what the author did, and what to write."""

import pytest

from pycron.crontab.reader import ReaderContext, parse
from pycron.model.job import Source
from pycron.model.problem import Problem, Severity


def problem_of(text: str, owner: str | None = "alice") -> Problem:
    """The only error of a table; a good entry keeps it from being no table at all."""
    table = parse(f"@daily root good\n{text}\n", Source("t", owner), ReaderContext())
    [error] = [problem for problem in table.problems if problem.severity is Severity.ERROR]
    return error


@pytest.mark.parametrize(
    ("line", "code", "column", "words"),
    [
        ("CRON_TIMEOUT=1 hour", "bad-setting", 14, '"1 hour" (write 1h)'),
        ("CRON_TIMEOUT=5 minutes 5 4 * * * x", "bad-setting", 14, '"5 minutes" (write 5m)'),
        ("CRON_TZ=Europe / Berlin", "bad-setting", 9, '"Europe / Berlin" (a time zone'),
        ("CRON_PING_URL=https://s/1 x y", "bad-setting", 15, "bad CRON_PING_URL: not shown"),
        ("export FOO=bar", "export", 1, "write FOO=bar"),
        ("  set FOO = bar", "export", 3, "write FOO=bar"),
        ("setenv FOO bar", "export", 1, "write FOO=bar"),
        ('FOO="bar" # why', "bad-quotes", 5, "nothing may follow the closing quote"),
        ("FOO='bar", "bad-quotes", 5, "a quote needs a partner"),
        ("This table does backups", "prose", 1, "no entry"),
        ("Please add these lines to your crontab:", "prose", 1, 'bad minute: "Please"'),
        ("// nightly", "prose", 1, "a comment with #"),
        (" * Example entries of the vendor", "prose", 2, "a comment with #"),
        (" */", "prose", 2, "no entry"),
        ("Daily /bin/x", "prose", 1, "did you mean @daily?"),
        ("{{ minute }} 5 * * * x", "placeholder", 1, "nobody has filled in"),
        ("__SCHEDULE__ x", "placeholder", 1, "nobody has filled in"),
        ("<code>5 4 * * * x", "placeholder", 1, "HTML"),
        ("0 30 2 * * * x", "seconds-field", 3, "write 30 2 * * *"),
        ("0 0/15 8-18 ? * MON-FRI x", "seconds-field", 3, "write */15 8-18 * * MON-FRI"),
        ("*/10 * * * * * x", "seconds-field", 14, "no field for seconds"),
        ("0 15 10 * * * x", "seconds-field", 13, "write 15 10 * * *"),
        ("0 5 * * 1\u20135 x", "odd-character", 10, "a dash, U+2013: write -"),
        ("0 5 * * \u201c1\u201d x", "odd-character", 9, "a typographic quote"),
        ("0\u00a05 * * * x", "odd-character", 2, "U+00A0: write a blank"),
        ("\u200b0 5 * * * x", "odd-character", 1, "an invisible character, U+200B: delete it"),
    ],
)
def test_the_real_mistake_is_named(line: str, code: str, column: int, words: str) -> None:
    problem = problem_of(line)
    assert (problem.code, problem.column) == (code, column)
    assert words in problem.message


def test_a_line_that_goes_on_after_a_backslash() -> None:
    problem = problem_of("0 5 * * * rsync -a \\\n    --delete /a /b")
    assert (problem.code, problem.line) == ("continuation", 3)
    assert "cron joins no lines" in problem.message


def test_a_bad_entry_below_a_backslash_is_a_bad_entry() -> None:
    assert problem_of("0 5 * * * rsync -a \\\n0 99 * * * x").code == "bad-hour"


@pytest.mark.parametrize(
    "line",
    ["60 4 * * * x", "0 5 * * mon-fri-sun x", "CRON_NICE=1  0 99 * * * x", "5 4 * * *root x"],
)
def test_an_ordinary_mistake_keeps_its_message(line: str) -> None:
    assert problem_of(line).code.startswith("bad-")


@pytest.mark.parametrize(
    ("line", "zones"), [("CRON_TZ=Asia/Tokyo\n", ["Asia/Tokyo"]), ("0 5 * * * x\n", [None, None])]
)
def test_a_byte_order_mark_is_a_warning_and_no_text(line: str, zones: list[str | None]) -> None:
    table = parse(f"\ufeff{line}@daily y\n", Source("t", "alice"), ReaderContext())
    [warning] = table.problems
    assert (warning.code, warning.severity) == ("byte-order-mark", Severity.WARNING)
    assert [job.zone for job in table.jobs] == zones
    assert table.jobs[-1].command == "y"
