"""anacrontab(5) as entries of a system table."""

from datetime import date

import pytest

from pycron.crontab.anacrontab import Surroundings, convert, directories_run, starts_anacron
from pycron.crontab.other_cron import CRONIE, DEBIAN
from pycron.crontab.reader import ReaderContext, parse
from pycron.model.job import Source
from pycron.model.settings import CatchUp

SUNDAY = date(2026, 11, 29)
DEBIAN_12 = Surroundings(DEBIAN, SUNDAY)


def entries(text: str, surroundings: Surroundings = DEBIAN_12) -> list[tuple[str, str]]:
    """The schedule and the command of each entry that a text becomes."""
    table = parse(convert(text, surroundings).text, Source("t", None), ReaderContext())
    assert not table.errors
    for job in table.jobs:
        assert (job.user, job.settings.catch_up, job.settings.cwd) == ("root", CatchUp.LATEST, "/")
    return [(job.schedule.text, job.command) for job in table.jobs]


@pytest.mark.parametrize(
    ("line", "schedule"),
    [
        ("1 5 a x", "35 7 * * *"), ("@daily 0 a x", "30 7 * * *"), ("1 45 a x", "15 8 * * *"),
        ("7\t10\ta\tx", "40 7 * * 7"), ("@weekly 10 a x", "40 7 * * 7"),
        ("@monthly 15 a x", "45 7 1 * *"), ("30 15 a x", "45 7 1 * *"),
        ("@yearly 0 a x", "30 7 1 1 *"), ("3 0 a x", "30 7 */3 * *"),
        ("1 9999 a x", "59 23 * * *"), ("1 \\\n 5 a x", "35 7 * * *"),
    ],
)  # fmt: skip
def test_a_period(line: str, schedule: str) -> None:
    assert entries(f"{line}\n") == [(schedule, "x")]


@pytest.mark.parametrize("line", ["45 5 a x", "@sometimes 5 a x", "0 5 a x", "1 5 a", "nonsense"])
def test_what_five_fields_cannot_say_is_refused(line: str) -> None:
    converted = convert(f"# x\n{line}\n", DEBIAN_12)
    [finding] = converted.findings
    assert (finding.line, finding.verdict) == (2, "refused")
    assert entries(f"{line}\n") == []


def test_the_weekday_is_that_of_the_stamp() -> None:
    surroundings = Surroundings(DEBIAN, SUNDAY, {"cron.weekly": date(2026, 11, 25)})
    assert entries("7 10 cron.weekly x\n", surroundings) == [("40 7 * * 3", "x")]


@pytest.mark.parametrize(
    ("last", "is_overdue"), [(date(2026, 11, 22), False), (date(2026, 11, 21), True)]
)
def test_an_overdue_job_is_named(last: date, is_overdue: bool) -> None:
    [finding] = convert("7 1 a x\n", Surroundings(DEBIAN, SUNDAY, {"a": last})).findings
    assert ("overdue" in finding.message) is is_overdue


def test_hours_and_delay_of_cronie() -> None:
    text = "RANDOM_DELAY=45\nSTART_HOURS_RANGE=3-22\n1 5 a x\n"
    converted = convert(text, Surroundings(CRONIE, SUNDAY))
    [job] = parse(converted.text, Source("t", None), ReaderContext()).jobs
    assert job.settings.jitter == 45 * 60
    assert entries(text, Surroundings(CRONIE, SUNDAY)) == [("6 3 * * *", "x")]
    assert "RANDOM_DELAY" not in convert(text, DEBIAN_12).text  # Debian's anacron has none


def test_variables_and_names_are_kept() -> None:
    text = "SHELL=/bin/bash\nHOME = /root\n1 5 cron.daily date +%F\n"
    [job] = parse(convert(text, DEBIAN_12).text, Source("t", None), ReaderContext()).jobs
    assert (job.name, job.command, job.stdin) == ("cron.daily", "date +%F", None)
    assert dict(job.environment) == {"SHELL": "/bin/bash", "HOME": "/root"}


def test_a_directory_is_run_by_one_table() -> None:
    """/etc/crontab runs it if anacron is not installed; so this entry only if it is."""
    guarded = Surroundings(DEBIAN, SUNDAY, guarded={"/etc/cron.daily"})
    assert entries("1 5 a run-parts /etc/cron.daily\n1 5 b x\n", guarded) == [
        ("35 7 * * *", "test ! -x /usr/sbin/anacron || { run-parts /etc/cron.daily; }"),
        ("35 7 * * *", "x"),
    ]


def test_a_directory_that_ran_twice_is_named() -> None:
    twice = Surroundings(DEBIAN, SUNDAY, unguarded={"/etc/cron.daily"})
    [finding] = convert("1 5 a run-parts /etc/cron.daily\n", twice).findings
    assert finding.code == "runs-twice"


@pytest.mark.parametrize(
    ("command", "directories", "is_guarded"),
    [
        ("test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }",
         {"/etc/cron.daily"}, True),
        ("test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.weekly )",
         {"/etc/cron.weekly"}, True),
        ("[ -x /usr/sbin/anacron ] || run-parts /etc/cron.daily", {"/etc/cron.daily"}, True),
        ("cd / && run-parts --report /etc/cron.hourly", {"/etc/cron.hourly"}, False),
        ("ls /etc/cron.daily", set(), False),
    ],
)  # fmt: skip
def test_the_condition_of_debian(command: str, directories: set[str], is_guarded: bool) -> None:
    assert directories_run(command) == (directories, is_guarded)


@pytest.mark.parametrize(
    ("command", "starts"),
    [
        ("[ -x /etc/init.d/anacron ] && if [ ! -d /run/systemd/system ]; then "
         "/usr/sbin/invoke-rc.d anacron start >/dev/null; fi", True),
        ("/usr/sbin/anacron -s", True), ("anacron", True), ("cd / && anacron -n", True),
        ("test -x /usr/sbin/anacron || run-parts /etc/cron.daily", False),
        ("backup --tag anacron", False),
    ],
)  # fmt: skip
def test_what_starts_anacron(command: str, starts: bool) -> None:
    assert starts_anacron(command) is starts
