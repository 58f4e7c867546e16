"""The text of a table becomes Jobs and problems: one line for each rule of crontab(5)."""

import datetime
import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.crontab.problem_list import MOST_PROBLEMS
from pycron.crontab.reader import LONGEST_LINE, ReaderContext, parse
from pycron.crontab.table import Table
from pycron.model.hosts import RunsOn
from pycron.model.job import Job, Source
from pycron.model.problem import Problem, Severity
from pycron.model.settings import SETTINGS, CatchUp, Concurrency, MailOn, Setting, job_limit
from pycron.model.text import printable
from pycron.schedule.day_rules import Calendar, Every, Unit
from pycron.schedule.expressions import CronSchedule, Interval, Reboot, resolved_text

ALICE = Source("alice", "alice")
ROOT = Source("root", "root")
SYSTEM = Source("/etc/pycron.d/backup", None)
USERS = {"root", "alice", "www-data", "bob"}
ZONES = {"Europe/Berlin", "UTC", "America/New_York"}
CALENDARS = {name: Calendar(name, "", lambda _: ()) for name in ("inventory", "bavaria", "company")}
CONTEXT = ReaderContext(
    host="mill",
    zone_exists=ZONES.__contains__,
    user_exists=USERS.__contains__,
    calendars=CALENDARS,
)


def read(*lines: str, source: Source = ALICE, context: ReaderContext = CONTEXT) -> Table:
    return parse("".join(f"{line}\n" for line in lines), source, context)


def job_of(*lines: str, source: Source = ALICE, context: ReaderContext = CONTEXT) -> Job:
    """The only Job of a table without errors."""
    table = read(*lines, source=source, context=context)
    assert not table.errors
    (job,) = table.jobs
    return job


def problem_of(*lines: str, source: Source = ALICE, context: ReaderContext = CONTEXT) -> Problem:
    (problem,) = read(*lines, source=source, context=context).problems
    return problem


# ---- lines


@pytest.mark.parametrize("line", ["", " ", "\t \t", "#", "# 61 * * * * x", "  # x", "#!/bin/sh"])
def test_blank_lines_and_comments_have_no_effect(line: str) -> None:
    assert read(line) == Table(ALICE)


@pytest.mark.parametrize(
    ("line", "fields", "command"),
    [
        # Blanks and tabs, any number of them, also before the first field
        ("1 2 3 4 5 true", "1 2 3 4 5", "true"),
        ("  1\t2  3 \t 4 5\t\ttrue", "1 2 3 4 5", "true"),
        # A comment only begins a line
        ("1 2 3 4 5 true # not a comment", "1 2 3 4 5", "true # not a comment"),
        # Blanks within and after the command belong to the command
        ("1 2 3 4 5 echo  'a  b'  ", "1 2 3 4 5", "echo  'a  b'  "),
        # A command may look like a variable
        ("* * * * * X=y cmd", "* * * * *", "X=y cmd"),
        ("1 2 3 4 5 6 true", "1 2 3 4 5", "6 true"),
        # Names stay as they were written
        ("0 0 * JAN mon true", "0 0 * JAN mon", "true"),
    ],
)
def test_an_entry(line: str, fields: str, command: str) -> None:
    job = job_of(line)
    assert isinstance(job.schedule, CronSchedule)
    assert (job.schedule.text, job.command) == (fields, command)


@pytest.mark.parametrize(
    ("nickname", "fields"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ],
)
def test_a_nickname_stands_for_five_fields(nickname: str, fields: str) -> None:
    schedule = job_of(f"{nickname} true").schedule
    assert isinstance(schedule, CronSchedule)
    assert (schedule.text, " ".join(schedule.fields)) == (nickname, fields)


def test_reboot_and_every() -> None:
    assert job_of("@reboot true").schedule == Reboot()
    assert job_of("@every 90s true").schedule == Interval("@every 90s", 90)
    assert job_of("@every 1h30m true").command == "true"


def test_a_user_table_has_no_user_column() -> None:
    job = job_of("* * * * * root true")
    assert (job.user, job.command) == ("alice", "root true")


def test_the_line_of_a_job() -> None:
    table = read("# first", "* * * * * one", "", "A=b", "* * * * * two")
    assert [job.line for job in table.jobs] == [2, 5]


# ---- the command and its standard input


@pytest.mark.parametrize(
    ("text", "command", "stdin"),
    [
        ("cat", "cat", None),
        ("cat%", "cat", None),  # nothing after it: an empty input, without a newline
        ("cat%one", "cat", "one\n"),
        ("cat%one%two", "cat", "one\ntwo\n"),
        ("cat%one%", "cat", "one\n"),
        ("cat%%", "cat", "\n"),
        ("date +\\%d", "date +%d", None),
        ("date +\\%d\\%m%in", "date +%d%m", "in\n"),
        ("cat%50\\%%rest", "cat", "50%\nrest\n"),
        # Other backslashes stay
        ("a\\b\\\\c", "a\\b\\\\c", None),
        ("cat%a\\b", "cat", "a\\b\n"),
        # A backslash that is itself escaped escapes nothing: cron's do_command.c reads in pairs
        ("echo a\\\\%in", "echo a\\\\", "in\n"),
    ],
)
def test_percent_signs(text: str, command: str, stdin: str | None) -> None:
    job = job_of(f"* * * * * {text}")
    assert (job.command, job.stdin) == (command, stdin)


# ---- variables


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("A=b", "A", "b"),
        ("A = b", "A", "b"),
        ("  A\t=\tb", "A", "b"),
        ("A=b c", "A", "b c"),
        ("A=b   ", "A", "b"),
        # Nothing is expanded, nothing is a comment
        ("A=$HOME/bin", "A", "$HOME/bin"),
        ("A=b # c", "A", "b # c"),
        ("A=b=c", "A", "b=c"),
        ("A=50%", "A", "50%"),
        ("A=a\\tb", "A", "a\\tb"),
        # Quotes around the whole value keep its blanks; others are letters
        ('A="b c"', "A", "b c"),
        ("A=' b '", "A", " b "),
        ('A=" b "  ', "A", " b "),
        ('A=b"c"', "A", 'b"c"'),
        ('A="it\'s"', "A", "it's"),
        ("A='say \"x\"'", "A", 'say "x"'),
        # The empty value, with quotes and (as in cronie) without
        ("MAILTO=", "MAILTO", ""),
        ("MAILTO =  ", "MAILTO", ""),
        ('MAILTO=""', "MAILTO", ""),
        ("MAILTO=''", "MAILTO", ""),
        # Names: anything without blanks, or quoted
        ("1A=b", "1A", "b"),
        ("A-B=c", "A-B", "c"),
        ("*=x", "*", "x"),
        ("@daily=foo", "@daily", "foo"),
        ('"A B"=c', "A B", "c"),
        ("'A B' = c", "A B", "c"),
        ("FOO=bar echo hi", "FOO", "bar echo hi"),
    ],
)
def test_a_variable(line: str, name: str, value: str) -> None:
    assert job_of(line, "@daily true").environment == ((name, value),)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('A="b" c', "bad variable"),
        ('A="b" 2 3 4 5 c', "bad variable"),
        ("A='b", "bad variable"),
        ('A="b', "bad variable"),
        ('A="b"c"', "bad variable"),
        ("A b=c", "bad minute"),
        ("A", "bad minute"),
        ("5 5 5 5 5=x", "bad day-of-week"),
    ],
)
def test_a_line_that_is_neither_a_variable_nor_an_entry(line: str, message: str) -> None:
    assert message in problem_of(line).message


def test_a_variable_holds_for_the_entries_below_it() -> None:
    table = read("@daily a", "X=1", "@daily b", "Y=2", "X=3", "@daily c")
    assert [job.environment for job in table.jobs] == [
        (),
        (("X", "1"),),
        (("X", "3"), ("Y", "2")),
    ]


# ---- settings


def test_a_setting_alone_holds_for_the_entries_below_it() -> None:
    table = read("@daily a", "CRON_NICE=5", "@daily b", "CRON_NICE=", "@daily c")
    assert [job.settings.nice for job in table.jobs] == [None, 5, None]


def test_a_setting_in_front_of_an_entry_holds_for_it_alone() -> None:
    table = read("CRON_NICE=5", "CRON_NICE=9 @daily a", "@daily b")
    assert [job.settings.nice for job in table.jobs] == [9, 5]


def test_an_empty_value_in_front_of_an_entry_is_the_default() -> None:
    assert job_of("CRON_NICE=5", 'CRON_NICE="" @daily a').settings.nice is None


def test_several_settings_on_a_line() -> None:
    job = job_of("CRON_NICE=5 CRON_UMASK=027 CRON_NAME=sync */5 * * * * /bin/sync")
    assert (job.settings.nice, job.settings.umask, job.name) == (5, 0o27, "sync")
    assert job.command == "/bin/sync"
    assert job_of("CRON_NICE=5 CRON_UMASK=027", "@daily a").settings.umask == 0o27


@pytest.mark.parametrize(
    "line",
    [
        'CRON_CWD="/a b" @daily x',
        "CRON_CWD='/a b' @daily x",
        "\tCRON_CWD = '/a b'\t@daily x",
    ],
)
def test_a_quoted_value_may_hold_blanks(line: str) -> None:
    assert job_of(line).settings.cwd == "/a b"


def test_of_the_settings_only_the_zone_is_in_the_environment() -> None:
    """cronie leaves CRON_TZ in the environment, where commands read it."""
    job = job_of("CRON_TZ=Europe/Berlin", "CRON_NICE=5", "@daily x")
    assert job.environment == (("CRON_TZ", "Europe/Berlin"),)
    assert job.zone == "Europe/Berlin"


def test_the_zone_of_one_entry() -> None:
    table = read("CRON_TZ=America/New_York 0 9 * * 1-5 x", "0 9 * * 1-5 x")
    assert [job.zone for job in table.jobs] == ["America/New_York", None]


def test_a_niceness_below_0_is_for_root() -> None:
    assert job_of("CRON_NICE=-5", "@daily x", source=ROOT).settings.nice == -5
    assert job_of("CRON_NICE=-5 @daily root x", source=SYSTEM).settings.nice == -5
    for problem in (problem_of("CRON_NICE=-5 @daily x"), problem_of("CRON_NICE=-1", "@daily x")):
        assert problem.code == "bad-setting"
        assert problem.message.endswith("(below 0 is for root)")


def test_random_delay_is_a_jitter_in_minutes() -> None:
    job = job_of("RANDOM_DELAY=45", "@daily x")
    assert job.settings.jitter == 45 * 60
    assert job.environment == (("RANDOM_DELAY", "45"),)


@pytest.mark.parametrize("value", ["-1", "1441", "x", "1h", "", "\u0663"])
def test_a_bad_random_delay(value: str) -> None:
    problem = problem_of(f"RANDOM_DELAY={value}")
    assert (problem.code, problem.column) == ("bad-setting", 14)
    assert problem.message == f'bad RANDOM_DELAY: "{value}" (minutes, 0-1440)'


# ---- settings in the configuration


def test_a_default_of_the_configuration_holds_unless_the_table_sets_it() -> None:
    context = replace(CONTEXT, defaults={"retries": 2, "timeout": 3600})
    for source, entry in ((ALICE, "@daily x"), (SYSTEM, "@daily root x")):
        job = job_of(entry, source=source, context=context)
        assert (job.settings.retries, job.settings.timeout) == (2, 3600)
    assert job_of("CRON_RETRIES=5 @daily x", context=context).settings.retries == 5
    assert job_of("CRON_RETRIES='' @daily x", context=context).settings.retries == 0


CEILINGS = {"retries": 3, "max_running": 5, "priority": 10}


def test_a_value_above_the_ceiling_becomes_the_ceiling() -> None:
    context = replace(CONTEXT, ceilings=CEILINGS)
    table = read("CRON_RETRIES=50 @daily x", "CRON_RETRIES=3 @hourly x", context=context)
    assert [job.settings.retries for job in table.jobs] == [3, 3]
    (problem,) = table.problems
    assert (problem.severity, problem.code, problem.line) == (Severity.WARNING, "above-ceiling", 1)
    assert problem.message == 'CRON_RETRIES: "50" is above the ceiling of this system, 3'
    for source in (ALICE, ROOT):
        alone = read("CRON_PRIORITY=900", "@daily x", source=source, context=context)
        assert [job.settings.priority for job in alone.jobs] == [10]


def test_a_ceiling_also_limits_a_default() -> None:
    context = replace(CONTEXT, defaults={"retries": 9}, ceilings=CEILINGS)
    assert job_of("@daily x", context=context).settings.retries == 3


def test_a_limit_that_is_not_set_becomes_the_ceiling() -> None:
    context = replace(CONTEXT, ceilings={"max_running": 5, "memory_max": 2**30, "timeout": 60})
    settings = job_of("@daily x", context=context).settings
    assert (settings.max_running, settings.memory_max, settings.timeout) == (5, 2**30, 60)


@pytest.mark.parametrize(
    ("entry", "most"),
    [
        ("CRON_CONCURRENCY=forbid @daily x", 1),
        ("CRON_CONCURRENCY=queue @daily x", 1),
        ("CRON_CONCURRENCY=replace @daily x", 1),
        ("CRON_RETRIES=1 @daily x", 1),
        ("@daily -s x", 1),
        ("CRON_CONCURRENCY=forbid CRON_MAX_RUNNING=2 @daily x", 2),
        ("CRON_CONCURRENCY=allow @daily x", 5),
    ],
)
def test_a_ceiling_allows_no_more_attempts_than_the_policy(entry: str, most: int) -> None:
    job = job_of(entry, context=replace(CONTEXT, ceilings=CEILINGS))
    assert job_limit(job.settings) == most


def test_a_system_table_has_no_ceiling() -> None:
    context = replace(CONTEXT, ceilings=CEILINGS)
    job = job_of("CRON_RETRIES=50 @daily root x", source=SYSTEM, context=context)
    assert (job.settings.retries, job.settings.max_running) == (50, None)


@pytest.mark.parametrize("pools", [{"web": None}, {}])
def test_a_pool_that_the_configuration_does_not_name(pools: dict[str, None]) -> None:
    table = read("CRON_POOL=db @daily x", context=replace(CONTEXT, pools=pools))
    (problem,) = table.problems
    assert (problem.severity, problem.code, problem.column) == (
        Severity.WARNING,
        "unknown-pool",
        11,
    )
    assert problem.message == 'CRON_POOL: "db" is not in the configuration, and has no limit'
    assert table.jobs[0].settings.pool == "db"


def test_a_pool_that_is_known_or_cannot_be_checked() -> None:
    for pools in ({"db": None}, {"db": {"alice"}}, None):
        context = replace(CONTEXT, pools=pools)
        assert not read("CRON_POOL=db @daily x", context=context).problems


def test_a_pool_that_is_for_other_users() -> None:
    """The table cannot take places of the pool; root's tables always can."""
    context = replace(CONTEXT, pools={"db": {"deploy"}})
    table = read("CRON_POOL=db @daily x", context=context)
    (problem,) = table.problems
    assert (problem.severity, problem.code) == (Severity.WARNING, "pool-denied")
    assert problem.message == 'CRON_POOL: "db" is not for alice, whose jobs count against no pool'
    assert table.jobs[0].settings.pool is None
    job = job_of("CRON_POOL=db @daily root x", source=SYSTEM, context=context)
    assert job.settings.pool == "db"


def test_one_at_a_time_as_openbsd_writes_it() -> None:
    assert job_of("@daily -s x").settings.concurrency is Concurrency.FORBID
    assert job_of("@daily -q x").settings.concurrency is None
    other = job_of("CRON_CONCURRENCY=queue @daily -s x")
    assert other.settings.concurrency is Concurrency.QUEUE


GOOD_VALUES = {
    "CRON_NAME": ("db.backup_2+x-1", "db.backup_2+x-1"),
    "CRON_TZ": ("Europe/Berlin", "Europe/Berlin"),
    "CRON_RETRIES": ("3", 3),
    "CRON_RETRY_DELAY": ("1m30s", 90),
    "CRON_RETRY_BACKOFF": ("1.5", 1.5),
    "CRON_RETRY_DELAY_MAX": ("1h", 3600),
    "CRON_RETRY_JITTER": ("0.25", 0.25),
    "CRON_RETRY_ON": ("1,10-19,signal", ("1", "10-19", "signal")),
    "CRON_NO_RETRY_ON": ("any", ("any",)),
    "CRON_RETRY_UNTIL": ("2h", 7200),
    "CRON_CONCURRENCY": ("forbid", Concurrency.FORBID),
    "CRON_MAX_RUNNING": ("2", 2),
    "CRON_POOL": ("database", "database"),
    "CRON_PRIORITY": ("-5", -5),
    "CRON_TIMEOUT": ("90", 90),
    "CRON_KILL_AFTER": ("0", 0),
    "CRON_MEMORY_MAX": ("512M", 512 * 2**20),
    "CRON_NICE": ("19", 19),
    "CRON_UMASK": ("0027", 0o27),
    "CRON_CWD": ("/srv", "/srv"),
    "CRON_EVERY": ("2w@2026-01-05", Every(2, Unit.WEEK, datetime.date(2026, 1, 5))),
    "CRON_ONLY": ("inventory", ("inventory",)),
    "CRON_EXCEPT": ("bavaria,company", ("bavaria", "company")),
    "CRON_CATCHUP": ("latest", CatchUp.LATEST),
    "CRON_START_DEADLINE": ("1w2d", 9 * 86400),
    "CRON_JITTER": ("5m", 300),
    "CRON_MAIL_ON": ("change", MailOn.CHANGE),
    "CRON_ON_FAILURE": ('"logger failed"', "logger failed"),
    "CRON_NOTIFY": ("ops,phone", ("ops", "phone")),
    "CRON_PING_URL": ("https://hc-ping.com/x?a=%20", "https://hc-ping.com/x?a=%20"),
    "CRON_PING_OUTPUT": ("no", False),
    "CRON_EXPECT_WITHIN": ("90m", 5400),
    "CRON_ON": ("@web", RunsOn(group="web")),
    "CRON_SEND": ("shop", "shop"),
}

BAD_VALUES = {
    "CRON_NAME": ["-x", "a/b", "x" * 65, "ä"],
    "CRON_TZ": ["Europe/Berlín", "../etc/passwd;", "x" * 65],
    "CRON_RETRIES": ["-1", "1001", "x", "1.5", "\u0663"],
    "CRON_RETRY_DELAY": ["0", "1x", "-5s", "1h 30m", "11y"],
    "CRON_RETRY_BACKOFF": ["0.5", "101", "nan", "inf", "1e1"],
    "CRON_RETRY_DELAY_MAX": ["0s", "s"],
    "CRON_RETRY_JITTER": ["1.1", "-0.1", ".5"],
    "CRON_RETRY_ON": ["256", "9-1", "1,,2", "sometimes", "1-2-3"],
    "CRON_NO_RETRY_ON": ["1-", "\u0663"],
    "CRON_RETRY_UNTIL": ["tomorrow", "never-ever"],
    "CRON_CONCURRENCY": ["Allow", "deny"],
    "CRON_MAX_RUNNING": ["0", "many"],
    "CRON_POOL": ["a b", "_x"],
    "CRON_PRIORITY": ["1001", "high"],
    "CRON_TIMEOUT": ["0", "99999999d", "1h30"],
    "CRON_KILL_AFTER": ["-1", "soon"],
    "CRON_MEMORY_MAX": ["512X", "-1", "1.5G", "0x10", "0", "1048577T", "999999999999T"],
    "CRON_NICE": ["20", "-21", "+-1"],
    "CRON_UMASK": ["8", "07777", "u=rwx", "-1"],
    "CRON_CWD": ["srv", "~", "/" + "x" * 1024],
    "CRON_EVERY": ["2w", "2w@2026-02-30", "0d@2026-01-05", "2m@2026-01-05"],
    "CRON_ONLY": ["a,,b", "-x"],
    "CRON_EXCEPT": ["a b", "ä"],
    "CRON_CATCHUP": ["some", "ALL"],
    "CRON_START_DEADLINE": ["0", "later"],
    "CRON_JITTER": ["-5", "1 m"],
    "CRON_MAIL_ON": ["errors", "Never"],
    "CRON_ON_FAILURE": ["a\x07b", "x" * 4097],
    "CRON_NOTIFY": ["a,,b", "-x", "a b"],
    "CRON_PING_URL": ["file:///etc/passwd", "ftp://x", "https://", "https://ä", "HTTP://x"],
    "CRON_PING_OUTPUT": ["true", "1", "No"],
    "CRON_EXPECT_WITHIN": ["0", "soon"],
    "CRON_ON": ["@", "any@", "web@x", "-x", "x-", "queue:", "queue:a b", "queue:-x", "any@a/b"],
    "CRON_SEND": ["a b", "-x", "a,b"],
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_every_setting_takes_its_values(setting: Setting) -> None:
    text, value = GOOD_VALUES[setting.name]
    job = job_of(f"{setting.name}={text} @daily x")
    found = job.name if setting.attribute == "name" else getattr(job.settings, setting.attribute)
    assert found == value
    assert getattr(job_of("@daily x").settings, setting.attribute) == setting.default


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_every_setting_refuses_other_values(setting: Setting) -> None:
    for value in BAD_VALUES[setting.name]:
        (problem,) = read(f"{setting.name}='{value}' @daily x").errors
        assert problem.code == "bad-setting"
        shown = "not shown" if setting.secret else f'"{printable(value)[:100]}'
        assert problem.message.startswith(f"bad {setting.name}: {shown}")
        assert problem.message.endswith(f" ({setting.form})")
        assert problem.column == len(setting.name) + 2


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_a_setting_with_a_good_value_is_no_problem(setting: Setting) -> None:
    assert read(f"{setting.name}={GOOD_VALUES[setting.name][0]} @daily x").problems == ()


@pytest.mark.parametrize(
    ("line", "code", "column", "message"),
    [
        (
            "CRON_RETRYS=3",
            "unknown-setting",
            1,
            'unknown setting: "CRON_RETRYS" (did you mean CRON_RETRIES?)',
        ),
        (
            "CRON_NICE=1 CRON_QQQQQQQQQQ=3 @daily x",
            "unknown-setting",
            13,
            'unknown setting: "CRON_QQQQQQQQQQ" (see pycrontab(5))',
        ),
        ("CRON_tz=UTC", "unknown-setting", 1, "did you mean CRON_TZ?"),
        ("  CRON_=1", "unknown-setting", 3, 'unknown setting: "CRON_"'),
        (
            "CRON_TZ=Mars/Base 0 9 * * * x",
            "unknown-zone",
            9,
            'bad CRON_TZ: "Mars/Base" (no such time zone; a time zone such as Europe/Berlin)',
        ),
        ("CRON_CWD='/a b @daily x", "bad-setting", 10, "bad value: a quote has no partner"),
        ("CRON_NAME=x", "bad-setting", 1, "CRON_NAME belongs in front of its entry"),
        ("CRON_NICE=1 CRON_NAME=x", "bad-setting", 13, "CRON_NAME belongs in front of its entry"),
        ("CRON_NICE=1 5 x", "bad-day-of-month", 16, "bad day-of-month"),
    ],
)
def test_a_bad_line_of_settings(line: str, code: str, column: int, message: str) -> None:
    problem = problem_of(line)
    assert (problem.code, problem.column) == (code, column)
    assert message in problem.message


def test_a_bad_line_of_settings_sets_nothing() -> None:
    table = read("CRON_NICE=5 CRON_UMASK=999", "@daily x")
    assert table.jobs[0].settings.nice is None


# ---- errors of an entry


@pytest.mark.parametrize(
    ("line", "code", "column", "message"),
    [
        # Each field: the column is that of the bad element
        ("61 * * * * x", "bad-minute", 1, 'bad minute: "61" (0-59)'),
        ("* 24 * * * x", "bad-hour", 3, 'bad hour: "24" (0-23)'),
        ("* * 0 * * x", "bad-day-of-month", 5, 'bad day-of-month: "0" (1-31)'),
        ("* * * 13 * x", "bad-month", 7, 'bad month: "13" (1-12)'),
        ("* * * * 8 x", "bad-day-of-week", 9, 'bad day-of-week: "8" (0-7)'),
        ("  1,2,61 * * * * x", "bad-minute", 7, 'bad minute: "61" (0-59)'),
        ("0\t 0   1-5,9-6 * * x", "bad-day-of-month", 12, 'bad day-of-month: "9-6"'),
        ("CRON_NICE=1  0 99 * * * x", "bad-hour", 16, 'bad hour: "99" (0-23)'),
        ("0 0 L,32 * * x", "bad-day-of-month", 7, 'bad day-of-month: "32" (1-31)'),
        ("1,2,0~60 * * * * x", "bad-minute", 5, 'bad minute: "0~60" (0-59)'),
        ("~/2,61 * * * * x", "bad-minute", 5, 'bad minute: "61" (0-59)'),
        (f"0 {'1,' * 256}1 * * * x", "bad-hour", 3, "(longer than 512 characters)"),
        # Too few words
        ("5", "bad-hour", 2, 'bad hour: "" (an entry has five fields and a command)'),
        ("5 4 3", "bad-month", 6, 'bad month: ""'),
        ("1 2 3 4 5", "bad-command", 10, 'bad command: "" (no command)'),
        ("1 2 3 4 5  ", "bad-command", 12, 'bad command: "" (no command)'),
        ("1 2 3 4 5 %input", "bad-command", 17, 'bad command: "" (no command)'),
        ("@daily", "bad-command", 7, 'bad command: "" (no command)'),
        # One field too many
        ("* * * * * * x", "seconds-field", 11, 'bad command: "*" (six fields, but cron has'),
        ("* * * * *    */5 x", "seconds-field", 14, 'bad command: "*" (six fields, but'),
        # Nicknames
        ("@fortnightly x", "bad-time-specifier", 1, 'bad time specifier: "@fortnightly" (@yearly'),
        ("@DAILY x", "bad-time-specifier", 1, "; nicknames are lower-case)"),
        (" @every x", "bad-time-specifier", 2, 'bad time specifier: "@every x" (a duration'),
        ("@every 0s x", "bad-time-specifier", 1, 'bad time specifier: "@every 0s"'),
        ("@every 10 minutes x", "every-unit", 1, '"@every 10 minutes" (write @every 10m)'),
        ("@every 1 hour x", "every-unit", 1, '"@every 1 hour" (write @every 1h)'),
        ("@every 2 weeks x", "every-unit", 1, '"@every 2 weeks" (write @every 2w)'),
        ("@every 90 x", "every-unit", 1, '"@every 90" (a unit is missing: 90s, 10m, 1h, 2d)'),
        ("@every 1d at 3 x", "every-unit", 1, '"@every 1d at 3" (@every counts from 1970;'),
        ("@every", "bad-time-specifier", 1, 'bad time specifier: "@every "'),
        ("@never x", "bad-time-specifier", 1, 'bad time specifier: "@never"'),
        # Dates that do not exist
        (
            "0 0 30 2 * x",
            "never-fires",
            5,
            'bad day-of-month: "30" (it would never run: there is no day 30 in month 2)',
        ),
        ("0 0  31 4,6,sep,11 * x", "never-fires", 6, "there is no day 31 in month 4,6,sep,11"),
        ("0 0 30W feb * x", "never-fires", 5, "there is no day 30 in month feb"),
    ],
)
def test_a_bad_entry(line: str, code: str, column: int, message: str) -> None:
    table = read(line)
    (problem,) = table.errors
    assert (problem.code, problem.line, problem.column) == (code, 1, column)
    assert message in problem.message
    assert not table.jobs


@pytest.mark.parametrize(
    "line",
    [
        # With OR, the weekday is enough
        "0 0 30 2 1 x",
        "0 0 29 2 * x",
        "0 0 31 2,3 * x",
        "0 0 31 */2 mon x",
        "0 0 L 2 * x",
        "0 0 1,31 2 * x",
    ],
)
def test_a_rare_date_is_accepted(line: str) -> None:
    assert not read(line).problems


def test_a_message_begins_with_file_and_line() -> None:
    problem = problem_of("", "61 * * * * root x", source=SYSTEM)
    assert str(problem) == '/etc/pycron.d/backup:2: bad minute: "61" (0-59)'


def test_a_table_with_an_error_yields_the_jobs_of_its_good_lines() -> None:
    table = read("@daily a", "61 * * * * b", "X=1", "@daily c", "bad")
    assert [job.command for job in table.jobs] == ["a", "c"]
    assert [problem.line for problem in table.errors] == [2, 5]


# ---- flags


@pytest.mark.parametrize(
    ("line", "flags", "command"),
    [
        ("@daily -n x", "n", "x"),
        ("@daily -q x", "q", "x"),
        ("@daily -s x", "s", "x"),
        ("@daily -n -q -s x", "nqs", "x"),
        ("* * * * * -nsq x -v", "nsq", "x -v"),
        ("@daily x -n", "", "x -n"),
        ("@daily ./-n", "", "./-n"),
        ("@daily -n5 x", "", "-n5 x"),
    ],
)
def test_flags_stand_before_the_command(line: str, flags: str, command: str) -> None:
    job = job_of(line)
    assert (job.flags, job.command) == (flags, command)


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("@daily -x cmd", 8, 'bad option: "-x" (-n, -q, -s)'),
        ("@daily -q  -Q cmd", 12, 'bad option: "-Q"'),
        ("@daily - cmd", 8, 'bad option: "-"'),
    ],
)
def test_a_bad_flag(line: str, column: int, message: str) -> None:
    problem = problem_of(line)
    assert (problem.code, problem.column) == ("bad-option", column)
    assert message in problem.message


def test_a_flag_is_no_command() -> None:
    assert problem_of("@daily -q").code == "bad-command"


def test_a_leading_dash_means_no_log_in_tables_of_root() -> None:
    """As in cronie: `-5 * * * *` is minute 5 and not logged; in other tables, a bad minute."""
    for source, user in [(ROOT, ""), (SYSTEM, "root ")]:
        job = job_of(f"-5 * * * * {user}x", source=source)
        assert isinstance(job.schedule, CronSchedule)
        assert (job.schedule.text, job.flags) == ("5 * * * *", "q")
    assert job_of("-@daily x", source=ROOT).flags == "q"
    assert problem_of("-5 * * * * x").message == 'bad minute: "-5" (0-59)'


# ---- system tables


@pytest.mark.parametrize(
    ("line", "user", "command"),
    [
        ("1 2 3 4 5 root x y", "root", "x y"),
        ("@daily\twww-data\t/usr/bin/x", "www-data", "/usr/bin/x"),
        ("@every 5m bob x", "bob", "x"),
        ("@reboot bob -q x", "bob", "x"),
        ("@reboot -q bob x", "bob", "x"),
    ],
)
def test_a_system_table_has_a_user_column(line: str, user: str, command: str) -> None:
    job = job_of(line, source=SYSTEM)
    assert (job.user, job.command) == (user, command)


@pytest.mark.parametrize(
    ("line", "code", "column", "message"),
    [
        (
            "* * * * * /bin/x y",
            "bad-username",
            11,
            'bad username: "/bin/x" (a system table has a user before the command)',
        ),
        ("@daily ro;ot x", "bad-username", 8, 'bad username: "ro;ot"'),
        ("@daily", "bad-username", 7, 'bad username: ""'),
        ("@daily root", "bad-command", 12, 'bad command: "" (no command)'),
        ("@daily * * * * root x", "bad-command", 8, 'bad command: "*"'),
    ],
)
def test_a_bad_user(line: str, code: str, column: int, message: str) -> None:
    problem = problem_of(line, source=SYSTEM)
    assert (problem.code, problem.column) == (code, column)
    assert message in problem.message


def test_an_unknown_user_is_a_warning() -> None:
    """A directory service may know the user later."""
    [warning] = read("@daily carol x", "@hourly carol y", source=SYSTEM).problems
    assert (warning.severity, warning.code, warning.line) == (Severity.WARNING, "unknown-user", 1)
    assert "until there is one" in warning.message


@pytest.mark.parametrize("command", ["cd /srv && make", "php /srv/cron.php", "test -x /bin/x"])
def test_a_command_where_the_user_should_be(command: str) -> None:
    [problem] = read(f"@daily {command}", source=SYSTEM).problems
    assert "is the user column missing?" in problem.message


def test_without_a_user_check_every_name_is_accepted() -> None:
    context = replace(CONTEXT, user_exists=None)
    for name in ["carol", "_tuptime", "CORP\\carol", "carol@corp.example", "7up", "host$"]:
        assert job_of(f"@daily {name} x", source=SYSTEM, context=context).user == name


# ---- bytes and line ends


def test_a_carriage_return_is_a_warning() -> None:
    (problem,) = read("@daily x\r").problems
    assert (problem.severity, problem.code) == (Severity.WARNING, "carriage-return")
    assert read("@daily x\r").jobs[0].command == "x\r"  # as cron has it


def test_a_nul_is_an_error() -> None:
    problem = problem_of("@daily x\0y")
    assert (problem.code, problem.column) == ("binary", 9)


@pytest.mark.parametrize("text", ["@daily x\x01\x7f\x1b[2J", "# gr\udcfc\udcdfe", "@daily \udcff"])
def test_any_other_byte_may_be_in_a_table(text: str) -> None:
    """Cron takes them: tables in Latin-1, and commands with control characters."""
    assert read(text).problems == ()


@pytest.mark.parametrize(
    ("lines", "jobs"),
    [
        (["@daily good", "bad"], ["good"]),
        (["@daily good", "bad", "worse"], []),
        (["@daily good", "CRON_XY=1", "CRON_TIMEOUT=x", "=1", "bad"], ["good"]),
        (["@daily good", "@daily fine", "bad", "CRON_XY=1", "61 * * * * x"], ["good", "fine"]),
    ],
)
def test_a_table_with_more_bad_entries_than_good_ones_is_none(
    lines: list[str], jobs: list[str]
) -> None:
    table = read(*lines)
    assert [job.command for job in table.jobs] == jobs
    assert table.is_junk == (not jobs)
    assert ("not-a-table" in {problem.code for problem in table.errors}) == table.is_junk


def test_the_last_line_may_lack_its_newline() -> None:
    table = parse("A=1\n@daily x", ALICE, CONTEXT)
    assert [job.command for job in table.jobs] == ["x"]
    (problem,) = table.problems
    assert (problem.severity, problem.code, problem.line) == (Severity.WARNING, "unterminated", 2)


def test_an_empty_text_is_an_empty_table() -> None:
    assert parse("", ALICE, CONTEXT) == Table(ALICE)


def test_a_message_has_no_control_characters() -> None:
    assert problem_of("\x1b[2J * * * * x").message.startswith('bad minute: "\\x1b[2J"')
    assert problem_of("\udcff * * * * x").message.startswith('bad minute: "\\xff"')
    assert problem_of("\u202e6 * * * * x").message.startswith('bad minute: "\\u202e6"')


# ---- limits


def test_the_number_of_entries_is_limited() -> None:
    table = read("@daily a", "@daily b", "@daily c", context=replace(CONTEXT, most_entries=2))
    assert [job.command for job in table.jobs] == ["a", "b"]
    (problem,) = table.errors
    assert (problem.line, problem.code) == (3, "too-many-entries")


def test_the_number_of_problems_is_limited() -> None:
    table = read(*["bad"] * 1000, "@daily x")
    assert MOST_PROBLEMS <= len(table.problems) <= MOST_PROBLEMS + 2
    assert table.problems[-1].code == "too-many-problems"


def test_the_number_of_problems_of_one_line_is_limited() -> None:
    table = read("CRON_RETRIES=1 " * 8000 + "@daily x")
    assert len(table.problems) <= MOST_PROBLEMS + 3


def test_the_length_of_a_line_is_limited() -> None:
    longest = "@daily " + "x" * (LONGEST_LINE - 7)
    assert not read(longest).problems
    assert problem_of(longest + "x").code == "long-line"
    assert not read("#" + longest).problems


@pytest.mark.parametrize(
    "line",
    [
        "9" * 100_000 + " * * * * x",
        "@" + "x" * 100_000,
        "CRON_" + "A" * 100_000 + "=1",
        "CRON_NAME=" + "a" * 100_000 + " @daily x",
        "RANDOM_DELAY=" + "1" * 100_000,
        "@daily -" + "x" * 100_000 + " x",
    ],
    ids=lambda line: line[:12],
)
def test_a_message_is_short_even_for_a_long_line(line: str) -> None:
    assert len(problem_of(line).message) < 1000


@pytest.mark.parametrize(
    "field",
    [
        "1," * 60_000 + "1",
        "*," * 60_000 + "*",
        "~/2," * 30_000 + "1",
        "H/2," * 30_000 + "1",
        "L," * 60_000 + "L",
    ],
    ids=lambda field: field[:4],
)
def test_the_length_of_a_field_is_limited(field: str) -> None:
    """A longer text costs time and memory at each reading and in each cache."""
    problem = problem_of(f"0 0 {field} * * x" if "L" in field else f"{field} * * * * x")
    assert problem.code in ("bad-minute", "bad-day-of-month")


@pytest.mark.parametrize(
    "text",
    [
        "," * 1_000_000,
        "\n" * 1_000_000,
        "=" * 1_000_000,
        '"' * 1_000_000,
        "CRON_X=" * 100_000,
        "\\%" * 500_000,
        "* " * 500_000,
        ("*" * 1000 + "\n") * 1000,
        ("CRON_NAME=x @daily y\n") * 50_000,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_a_hostile_table_is_read_and_its_problems_are_reported(text: str) -> None:
    table = parse(text, ALICE, CONTEXT)
    assert len(table.problems) <= MOST_PROBLEMS + 3
    assert len(table.jobs) <= 1


# ---- the identity of a Job


def ids(*lines: str, source: Source = ALICE, context: ReaderContext = CONTEXT) -> dict[str, str]:
    return {job.command: job.id for job in read(*lines, source=source, context=context).jobs}


TABLE = ("X=1", "@daily a", "5 * * * * b", "CRON_NAME=c @daily c")


@pytest.mark.parametrize(
    "changed",
    [
        # Other lines come, go and move
        ("@daily a", "5 * * * * b", "CRON_NAME=c @daily c"),
        ("# new", "X=2", "@hourly new", "@daily a", "5 * * * * b", "CRON_NAME=c @daily c"),
        ("CRON_NAME=c @daily c", "5 * * * * b", "@daily a"),
        # Its settings, flags and blanks
        ("CRON_NICE=5", "@daily a", "CRON_TZ=UTC 5 * * * * b", "CRON_NAME=c @daily c"),
        ("@daily -n a", "5  *\t* * *   b", "CRON_NAME=c CRON_UMASK=077 @daily c"),
        # A named Job keeps its id when everything else changes
        ("@daily a", "5 * * * * b", "CRON_NAME=c @hourly c"),
    ],
)
def test_these_changes_keep_the_id_of_a_job(changed: tuple[str, ...]) -> None:
    before, after = ids(*TABLE), ids(*changed)
    assert before == {command: after[command] for command in before}


@pytest.mark.parametrize("name", sorted(SETTINGS.keys() - {"CRON_NAME"}))
def test_a_new_setting_keeps_the_id_of_a_job(name: str) -> None:
    setting = f"{name}={GOOD_VALUES[name][0]}"
    for line in ("@daily a", "CRON_NAME=n @daily a", "H ~ * * * a"):
        known = job_of(line)
        for changed in (job_of(f"{setting} {line}"), job_of(setting, line)):
            fields = resolved_text(changed.schedule), resolved_text(known.schedule)
            assert (changed.id, changed.name, fields[0]) == (known.id, known.name, fields[1])


def test_a_name_keeps_the_id_when_the_command_changes() -> None:
    assert job_of("CRON_NAME=n @daily a").id == job_of("CRON_NAME=n 5 5 * * * b").id


@pytest.mark.parametrize(
    "other", ["@daily b", "@hourly a", "@daily a%input", "CRON_NAME=a @daily a", "0 0 * * * a"]
)
def test_another_schedule_command_or_name_is_another_job(other: str) -> None:
    assert job_of(other).id != job_of("@daily a").id


def test_another_table_or_user_is_another_job() -> None:
    bob = Source("bob", "bob")
    assert job_of("@daily a").id != job_of("@daily a", source=bob).id
    users = read("@daily root x", "@daily bob x", source=SYSTEM).jobs
    assert users[0].id != users[1].id


def test_a_name_under_another_user_is_another_job() -> None:
    """The new user must not see the Runs that ran as root."""
    before, after = (job_of(f"CRON_NAME=n @daily {user} x", source=SYSTEM)
                     for user in ("root", "bob"))  # fmt: skip
    assert (before.name, after.name) == ("n", "n")
    assert before.id != after.id
    assert job_of("CRON_NAME=n @hourly bob y", source=SYSTEM).id == after.id


def test_two_equal_lines_are_two_jobs() -> None:
    once, twice = read("@daily a").jobs, read("@daily a", "# between", "@daily a").jobs
    assert len({job.id for job in twice}) == 2
    assert twice[0].id == once[0].id
    apart = read("@daily a", "CRON_NICE=5", "@daily a").jobs
    assert [job.id for job in apart] == [job.id for job in twice]


def test_every_job_has_an_id_and_a_name_of_its_own() -> None:
    jobs = read(*["@daily /usr/bin/backup -a"] * 50, *["@hourly backup"] * 50).jobs
    assert len({job.id for job in jobs}) == len({job.name for job in jobs}) == 100
    assert all(job.name.startswith("backup-") for job in jobs)


def test_a_name_is_unique_in_a_table() -> None:
    table = read("CRON_NAME=x @daily a", "CRON_NICE=1 CRON_NAME=x @daily b")
    (problem,) = table.errors
    assert (problem.line, problem.code) == (2, "bad-setting")
    assert problem.message == 'bad CRON_NAME: "x" (line 1 has it, too)'
    assert [job.command for job in table.jobs] == ["a"]


def test_no_name_gives_the_id_of_another_entry() -> None:
    """An id is a digest of a name or of an entry. A user could choose a name that looks like the
    digest of an entry.
    """
    entry = hashlib.blake2b(b"alice\0@daily\0a\0", digest_size=8).hexdigest()
    table = read("@daily a", f"CRON_NAME={entry}.0 @daily b")
    assert len({job.id for job in table.jobs}) == len(table.jobs) == 2


@pytest.mark.parametrize(
    "line", ["0~59 * * * * x", "H * * * * x", "~ ~ * * * x", "H/20 H 1~28 * * x"]
)
def test_a_random_time_is_always_the_same_on_one_host(line: str) -> None:
    assert job_of(line).schedule == job_of("# moved", "CRON_NICE=1", line).schedule


def test_a_random_time_differs_between_hosts_entries_and_fields() -> None:
    def resolved(line: str, host: str = "mill") -> str:
        schedule = job_of(line, context=replace(CONTEXT, host=host)).schedule
        assert isinstance(schedule, CronSchedule)
        return " ".join(schedule.fields)

    hosts = {resolved("H H * * * x", f"host{number}") for number in range(50)}
    commands = {resolved(f"H H * * * x{number}") for number in range(50)}
    assert len(hosts) > 45
    assert len(commands) > 45
    minutes_and_hours = [resolved(f"0~23 0~23 * * * x{n}").split()[:2] for n in range(50)]
    assert sum(minute == hour for minute, hour in minutes_and_hours) < 10


# ---- any text

WORDS = st.sampled_from(
    ["*", "*/5", "5", "61", "@daily", "@every", "@reboot", "90s", "mon", "~", "H/7", "5#2", "LW",
     "CRON_TZ=UTC", "CRON_NAME=x", "CRON_NICE=", "CRON_", "MAILTO=", "=", "A = b", '"', "'", "%",
     "\\", "#", "-", "-q", "root", "x", "\t", "\r", "\0", "\x1b", "\udcff", "\n", "\n", "\n"]
)  # fmt: skip


@given(
    st.one_of(
        st.text(max_size=200),
        st.text(st.characters(categories=["Cs", "Cc", "Zs", "Nd"]), max_size=50),
        st.lists(WORDS, max_size=40).map(" ".join),
        st.lists(WORDS, max_size=40).map("".join),
    ),
    st.sampled_from([ALICE, ROOT, SYSTEM]),
)
def test_any_text_is_read(text: str, source: Source) -> None:
    table = parse(text, source, CONTEXT)
    lines = text.split("\n")
    for problem in table.problems:
        whole_file = problem.code == "not-a-table"
        assert (0 if whole_file else 1) <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
        assert problem.message.isprintable()
    for job in table.jobs:
        assert job.command
        assert not set("\0\n") & set(job.command)
    assert len({job.id for job in table.jobs}) == len(table.jobs)
