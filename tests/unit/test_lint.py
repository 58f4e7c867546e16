"""The linter: each code with its own example, and what it must not say."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.crontab.reader import ReaderContext
from pycron.lint.check import check
from pycron.lint.code import Code
from pycron.lint.codes import CODES
from pycron.lint.found import CheckContext
from pycron.lint.history import overlap
from pycron.model.job import Source
from pycron.model.problem import Problem, Severity
from pycron.system.zone_data import ZoneData

ZONES = ZoneData("Europe/Berlin")
NOW = int(datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC).timestamp())
USERS = {"root", "www-data", "alice"}
CONTEXT = ReaderContext(zone_exists=ZONES.exists, user_exists=USERS.__contains__)
PROGRAMS = {"/bin/sh", "/bin/bash", "/usr/bin/tar", "/opt/bin/pull"}
ELSEWHERE = CheckContext(ZONES.zone, NOW)
HERE = CheckContext(ZONES.zone, NOW, PROGRAMS.__contains__)


def problems(
    text: str, owner: str | None = "alice", facts: CheckContext = ELSEWHERE
) -> list[Problem]:
    return check(text if text.endswith("\n") else f"{text}\n", Source("t", owner), CONTEXT, facts)


def codes(text: str, owner: str | None = "alice", facts: CheckContext = ELSEWHERE) -> list[str]:
    return [problem.code for problem in problems(text, owner, facts)]


# ---- each code has an example, which --explain and docs/check.md show

WITH_EXAMPLE = [code for code in CODES.values() if code.bad]


@pytest.mark.parametrize("code", WITH_EXAMPLE, ids=lambda code: code.name)
def test_the_bad_example_has_the_problem_and_the_good_one_none(code: Code) -> None:
    owner = None if code.system else "alice"
    found = {problem.code: problem.severity for problem in problems(code.bad, owner)}
    assert found[code.name] is code.severity
    assert codes(code.good, owner) == []


@pytest.mark.parametrize("code", WITH_EXAMPLE, ids=lambda code: code.name)
def test_a_fix_solves_the_problem(code: Code) -> None:
    owner = None if code.system else "alice"
    for problem in problems(code.bad, owner):
        if problem.fix is not None:
            lines = code.bad.split("\n")
            lines[problem.line - 1] = problem.fix
            assert problem.code not in codes("\n".join(lines), owner)


# ---- what is found, and what is not

FOUND = [
    # Schedules
    ("0 4 1,15 * mon x", "day-or", (5, 15), ""),
    ("0 4 1-31 * mon x", "day-or", (5, 15), "due every day"),
    ("0 4 15 * 0-7 x", "day-or", (5, 13), "due every day"),
    ("* */4 * * * x", "minute-star", (1, 2), 'each hour of "*/4"'),
    ("* * 1 * * x", "minute-star", (1, 2), "1440 times"),
    ("*/45 * * * * x", "uneven-step", (1, 5), "the last distance is 15"),
    ("0 0 */2 * * x", "uneven-step", (5, 8), "on the first of each month"),
    ("0 */25 * * * x", "large-step", (3, 7), "chooses hour 0 only"),
    ("0 0 1 1-3/4 * x", "large-step", (7, 12), "chooses month 1 only"),
    ("*/60 * * * * x", "large-step", (1, 5), "write 0"),
    ("0 0 12 * * ? x", "seconds-field", (1, 13), "write 0 12 * * *"),
    ("0 0 29 feb * x", "rarely", (5, 13), "4 years between"),
    # Commands
    ('0 5 * * * x "$(date +%F)"', "percent", (22, 23), r"write \%"),
    ("0 5 * * * date +%F >f", "percent", (17, 18), 'its input is "F >f"'),
    ("0 5 * * * x `date +%F`", "percent", (20, 21), ""),
    ("0 5 * * * sleep $((RANDOM % 60))", "percent", (27, 28), ""),
    ("0 5 * * * printf '%s' a", "percent", (19, 20), ""),
    ("0 5 * * * (x) 2>&1 >> f && y", "redirect-order", (15, 24), "write >> f 2>&1"),
    ("0 5 * * * backup/run.sh --all", "relative-command", (11, 24), "home directory"),
    ("0 5 * * * ../x", "relative-command", (11, 15), ""),
    ("0 5 * * * x \u201ca b\u201d", "odd-character", (13, 14), "U+201C"),
    ("0 5 * * * x a\u200bb", "odd-character", (14, 15), "invisible"),
    ("0 5 * * * [[ -e /x ]] && y", "bashism", (11, 13), ""),
    ("0 5 * * * cd /x; source env", "bashism", (16, 24), '"source"'),
    ("0 5 * * * diff <(a) b", "bashism", (16, 18), ""),
    ("0 5 * * * mv f{1..3} d", "bashism", (15, 21), ""),
    ("0 5 * * * x <your name>", "placeholder", (13, 24), ""),
    ("0 5 * * * curl https://x/?k={{ key }}", "placeholder", (29, 38), ""),
    ("0 5 * * * curl -u joe:geheim https://x/", "secret", (11, 29), "each user"),
    ("0 5 * * * x --password=geheim", "secret", (13, 30), ""),
    ("0 5 * * * PGPASSWORD=geheim pg_dump x", "secret", (11, 28), ""),
    ("0 5 * * * wget ftp://joe:geheim@x/f", "secret", (16, 33), ""),
    ("0 5 * * * x \\", "continuation", (13, 14), "cron joins no lines"),
    # Variables
    ("PATH=~/bin:/bin\n0 5 * * * x", "not-expanded", (1, 16), "not expanded"),
    ("LOG=$HOME/log\n0 5 * * * x", "not-expanded", (1, 14), '"$HOME"'),
    ("OnCalendar=daily\n0 5 * * * x", "suspicious-variable", (1, 17), "systemd"),
    (";DIR=/x\n0 5 * * * x", "suspicious-variable", (1, 8), "no name"),
    ("HELL=/bin/sh\n0 5 * * * x", "suspicious-variable", (1, 13), "did you mean SHELL?"),
    ("mailto=joe\n0 5 * * * x", "suspicious-variable", (1, 11), "did you mean MAILTO?"),
    ("MAILTO=joe 0 5 * * * x", "variable-swallows-entry", (1, 23), "a line of its own"),
    ("LANG=C @daily x", "variable-swallows-entry", (1, 16), ""),
    ("LOGNAME=joe\n0 5 * * * x", "fixed-variable", (1, 12), "no effect"),
    ("SHELL=zsh\n0 5 * * * x", "shell-not-path", (1, 10), "no whole path"),
]


@pytest.mark.parametrize(("text", "code", "place", "words"), FOUND, ids=[row[0] for row in FOUND])
def test_what_is_found(text: str, code: str, place: tuple[int, int], words: str) -> None:
    [problem] = [each for each in problems(text) if each.code == code]
    assert (problem.column, problem.end_column) == place
    assert words in str(problem)


@pytest.mark.parametrize(
    "text",
    [
        # Schedules
        "0 4 * * mon x",
        "0 4 * * sun#1 x",
        "* 8-18 * * 1-5 x",
        "*/15 */6 * * * x",
        "10-50/20 5 * * * x",
        "0 0 1 1 * x",
        # Commands
        r"0 5 * * * tar cf $(date +\%F).tar /x",
        "0 5 * * * mail -s report joe%Dear Joe,%all is well.",
        "0 5 * * * mail -s 'it works' joe%Hello",
        "0 5 * * * x $(y) `z` 'a' \"$(b 'c')\"%input",
        "0 5 * * * x 2>&1 >/dev/null | mail joe",
        "0 5 * * * x >f 2>&1",
        "0 5 * * * cd /x && ./y",
        "CRON_CWD=/srv 0 5 * * * ./y",
        "HOME=/srv\n0 5 * * * bin/y",
        "SHELL=/bin/bash\n0 5 * * * x &>f && [[ -e f ]] && source y",
        "0 5 * * * bash -c 'x &> f; source y; echo {1..3}'",
        "0 5 * * * echo \"a &> b [[ c\" 'd |& e'",
        "0 5 * * * x --password-file=/etc/x --password=$PASSWORD",
        "0 5 * * * mysqldump -p shop; mysql -P 3306 -p$PW",
        "0 5 * * * sort <in>out",
        "0 5 * * * '/opt/my program/run' --all",
        "0 5 * * * echo \"caf\u00e9 \u2013 d\u00e9j\u00e0 vu\"",
        "0 5 * * * root",
        # Variables
        "CRON_TZ=Asia/Tokyo\nTZ=Asia/Tokyo\n30 4 * * * x",
        "MAILTO=$USER\n0 5 * * * x",
        'NICE="nice -n 19"\nRUN="$NICE x --all"\n0 5 * * * sh -c "$RUN"',
        "PATH2=/x\nMAIL=joe\n0 5 * * * x",
        "COLOR=#fff\n0 5 * * * x",
        "SHE=1\nLEVELS=1 2 3\n0 5 * * * x",
        # Tables
        "0 5 * * * x\n0 6 * * * x\n0 5 * * * y",
    ],
)  # fmt: skip
def test_what_is_not_found(text: str) -> None:
    assert codes(text) == []


def test_a_user_in_a_system_table_is_no_program() -> None:
    assert codes("0 5 * * * root /bin/x", owner=None) == []


def test_columns_behind_settings_and_bytes_of_several_characters() -> None:
    [problem] = problems("CRON_NAME=x 0 5 * * * echo \u00e9\u00e9; date +%F")
    assert (problem.code, problem.column) == ("percent", 38)
    assert problem.fix == "CRON_NAME=x 0 5 * * * echo \u00e9\u00e9; date +\\%F"


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("0 5 * * 1\u20135 echo '\u2013'", "0 5 * * 1-5 echo '\u2013'"),
        ("0\u00a05 * * * x", "0 5 * * * x"),
        ("0 5 * * * x \u201ca b\u201d 'c\u2019s'", "0 5 * * * x \"a b\" 'c\u2019s'"),
        ("0 5 * * * x \u2014keep 7", None),  # -keep or --keep?
        ("export A=b", "A=b"),
        ("@daily x\r", "@daily x"),
        ("SHELL=bash", "SHELL=/bin/bash"),
        ("SHELL=zsh", None),
    ],
)
def test_a_fix_is_given_where_one_text_is_safe(line: str, fix: str | None) -> None:
    [found] = problems(f"{line}\n@daily good")
    assert found.fix == fix


# ---- the machine


def test_a_program_is_looked_for_in_the_path_of_the_job() -> None:
    text = "0 5 * * * pull\nPATH=/opt/bin\n1 5 * * * pull\n2 5 * * * tar x\n"
    found = [(each.line, each.code) for each in problems(text, facts=HERE)]
    assert found == [(1, "command-not-found"), (4, "command-not-found")]


@pytest.mark.parametrize(
    "command",
    ["tar x", "/usr/bin/tar x", "A=1 B=2 tar x", "if true; then x; fi", "$X y", "cd /x && y",
     "[ -x /y ] && /y", "~/bin/x", '"$HOME/x"', "(x; y)", "test -e /y"],
)  # fmt: skip
def test_no_program_is_missing(command: str) -> None:
    assert codes(f"0 5 * * * {command}", facts=HERE) == []


def test_a_missing_program_is_named_for_tables_of_this_machine_only() -> None:
    assert codes("0 5 * * * /opt/bin/push", facts=HERE) == ["command-not-found"]
    assert codes("0 5 * * * /opt/bin/push") == []


def test_a_shell_that_is_missing() -> None:
    assert codes("SHELL=/bin/fish\n0 5 * * * tar x", facts=HERE) == ["shell-missing"]


@pytest.mark.parametrize(
    ("sh", "severity"), [(None, Severity.NOTE), ("dash", Severity.WARNING), ("bash", None)]
)
def test_a_word_of_bash_depends_on_the_shell_of_the_machine(
    sh: str | None, severity: Severity | None
) -> None:
    found = problems("0 5 * * * x &> f", facts=CheckContext(ZONES.zone, NOW, sh=sh))
    assert [problem.severity for problem in found] == ([severity] if severity else [])


# ---- the clock


def test_hours_that_are_skipped_or_come_twice() -> None:
    found = problems("30 2 * * * x\n*/20 2 * * * y\n30 4 * * * z")
    assert [(each.line, each.code, each.message) for each in found] == [
        (1, "dst-gap", "02:30 does not exist on 2027-03-28 in Europe/Berlin: it runs at 03:00"),
        (1, "dst-fold", "02:30 comes twice on 2027-10-31 in Europe/Berlin: it runs the first time"
                        " only"),
        (2, "dst-gap", "02:00 does not exist on 2027-03-28 in Europe/Berlin: it does not run then"),
        (2, "dst-fold", "02:00 comes twice on 2027-10-31 in Europe/Berlin: it runs both times"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "entry", ["CRON_TZ=UTC 30 2 * * * x", "30 * * * * x", "30 2 * 6 * x", "@every 1h x"]
)
def test_entries_that_no_shift_of_the_clock_concerns(entry: str) -> None:
    assert codes(entry) == []


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("CRON_NAME=a CRON_ON=any 30 5 * * * x", ["shared-zone"]),
        ("CRON_ON=any\nCRON_NAME=a 30 5 * * * x", ["shared-zone"]),
        ("CRON_TZ=Asia/Tokyo CRON_NAME=a CRON_ON=any 30 5 * * * x", []),
        ("CRON_NAME=a CRON_ON=any CRON_TZ=Asia/Tokyo 30 5 * * * x", []),
        ("CRON_TZ=UTC\nCRON_NAME=a CRON_ON=any 30 5 * * * x", []),
        ("CRON_NAME=a CRON_ON=any @every 1h x", []),
        ("CRON_NAME=a 30 5 * * * x", []),
    ],
)
def test_a_shared_job_whose_zone_is_not_named(table: str, found: list[str]) -> None:
    assert codes(table) == found


# ---- the whole table


def test_a_stampede_names_the_minute() -> None:
    entries = "".join(f"0 {hour} * * * x{hour}\n" for hour in range(4, 13))
    text = f"{entries}*/30 * * * * y\n" + "".join(f"30 6 * * * z{i}\n" for i in range(9))
    [problem] = [each for each in problems(text) if each.code == "stampede"]
    assert (problem.line, problem.message) == (10, "10 entries are due at 06:30 each day")


def test_entries_of_different_days_are_no_stampede() -> None:
    assert codes("".join(f"0 4 {day} * * x{day}\n" for day in range(1, 20))) == []


def test_a_table_of_thousands_of_findings_shows_a_hundred() -> None:
    found = problems("".join(f"0 5 * * * x{i} 2>&1 >f\n" for i in range(300)))
    assert len([each for each in found if each.code == "redirect-order"]) == 100
    assert "no more" in [each for each in found if each.code == "redirect-order"][-1].message


def test_nothing_is_said_about_the_lines_of_a_file_that_is_no_table() -> None:
    assert codes("99 4 * * * x\n98 4 * * * x\n* 4 * * * x") == [
        "not-a-table", "bad-minute", "bad-minute",
    ]  # fmt: skip


# ---- comments that hide a finding

TWO = "* 4 * * * x 2>&1 >f"


@pytest.mark.parametrize(
    ("above", "shown"),
    [
        ("# pycron: ignore=minute-star", ["redirect-order"]),
        ("#pycron:ignore=minute-star,redirect-order", []),
        ("# pycron: ignore=minute-star\n# as the vendor says\n# pycron: ignore=redirect-order", []),
        ("# pycron: ignore=minute-star\n", ["minute-star", "redirect-order"]),
        ("# ignore=minute-star", ["minute-star", "redirect-order"]),
        ("# pycron: ignore=percent", ["minute-star", "redirect-order"]),
    ],
)
def test_a_comment_directly_above_a_line_hides_a_finding(above: str, shown: list[str]) -> None:
    assert codes(f"{above}\n{TWO}") == shown


def test_a_comment_holds_for_one_line() -> None:
    text = f"# pycron: ignore=minute-star,redirect-order\n{TWO}\n{TWO}y"
    assert codes(text) == ["minute-star", "redirect-order"]


def test_an_error_cannot_be_hidden() -> None:
    assert codes("# pycron: ignore=bad-minute\n61 4 * * * x\n0 4 * * * y") == ["bad-minute"]


def test_a_warning_of_the_reader_can_be_hidden() -> None:
    assert codes("# pycron: ignore=mail-unsafe\nMAILTO=<x>\n0 4 * * * y") == []


# ---- the history


@pytest.mark.parametrize(
    ("durations", "message"),
    [
        ([700, 650, 10], "a Run usually takes 650 s, and the next one is due after 600 s"),
        ([700, 10, 10], None),
        ([700, 700], None),  # too few
    ],
)
def test_runs_that_take_longer_than_the_period(durations: list[float], message: str | None) -> None:
    assert overlap(durations, [0, 600, 1800]) == message


# ---- any text

_WORDS = st.sampled_from([
    "0", "*", "*/7", "*/90", "1-7", "sun", "5", "@daily", "@every", "10m", "root", "CRON_TZ=UTC",
    "A=b", "PATH=$PATH:~", "TZ=Asia/Tokyo", "SHELL=bash", "x", "./x", "date", "+%F", "%", "\\%",
    "\\", "'", '"', "`", "$(", ")", "2>&1", ">f", "&>", "[[", "{{", "<x>", "-p", "mysql", "://",
    "#", "# pycron: ignore=percent", "=", "\u2013a", "\u201c", "\u00a0", "\u200b", "\ufeff", "\r",
    "\udcff", "\x1b", "\t", "\n", "\0",
])  # fmt: skip


@given(st.lists(_WORDS, max_size=40), st.sampled_from([" ", ""]), st.sampled_from(["alice", None]))
def test_any_text_can_be_checked(words: list[str], between: str, owner: str | None) -> None:
    text = "0 5 * * * root a\n" + between.join(words)
    lines = text.split("\n")
    for problem in problems(text, owner, HERE):
        assert problem.line <= len(lines)
        line = lines[problem.line - 1] if problem.line else ""
        if problem.end_column is not None:
            assert 1 <= problem.column < problem.end_column <= len(line) + 1
        assert problem.fix is None or "\n" not in problem.fix
        assert str(problem).isprintable()
