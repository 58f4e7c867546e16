"""What people type by mistake, on the command line, in a table and in pycron.toml: what each says.

Each message names what is wrong, and most say what to write.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.cli import pycron as program
from pycron.cli import pycrond
from pycron.config import ConfigError, read_config
from pycron.crontab.reader import ReaderContext, parse
from pycron.lint.check import problems_of
from pycron.lint.found import CheckContext
from pycron.model.job import Source
from pycron.schedule.zone import UTC
from pycron.system.files import TRUSTED
from pycron.system.zone_data import ZoneData
from tests.support.operated_daemon import OperatedDaemon, operated_daemon

# ---- the command line, without a daemon

WITHOUT_DAEMON = [
    ("logs backup", 'no verb "logs" (did you mean: pycron log?)'),
    ("run backup", "pycron start JOB (now), pycron test JOB (try it), pycron runs (what ran)?"),
    ("stop backup", "pycron kill (end a Run), pycron pause (start nothing)?"),
    ("redrive x", 'no verb "redrive" (did you mean: pycron dead redrive?)'),
    ("edit", "pycrontab -e edits a table, pycrontab -l prints it"),
    ("help runs", 'no verb "help" (did you mean: pycron --help?)'),
    ("rnus", "did you mean: pycron runs?"),
    ("frobnicate", "pycron --help lists them"),
    ("--system list --user", "--system, --user or --state-dir: one of them"),
    ("runs backup", "did you mean: pycron runs --job backup?"),
    ("start --forec backup", "did you mean --force?"),
    ("why backup yesterday 02:30", "pycron why JOB 'yesterday 02:30', with quotes?"),
    ("runs --since 5", '"5" (a number needs a unit: 5m for minutes, 5h for hours, 05:00'),
    ("runs --since monday", '"monday" (say the whole date'),
    ("pause backup --for 10", 'bad duration: "10" (a number needs a unit: 10s, 10m)'),
    ("kill", "name one Run or one Job, or give --all"),
    ("resume", "resume: what? (a job, --owner, --pool or --all)"),
    ("dead redrive", "dead redrive: which run?"),
    ("check nofile", "nofile: no such file"),
    ("next table", "table is a file: name it with --table, or with --system-table"),
    ("explain 0 9 a b a b 1-5", "in place of *: write the schedule in quotes, as '0 9 * * 1-5'"),
    ("explain 0 0 9 * * 1-5", '"1-5" stands behind the schedule (five fields: minute, hour'),
    ("explain 0 9 * *", 'expression: bad day-of-week: "" (five fields: minute, hour'),
    ("explain 61 9 * * *", 'bad minute: "61" (0-59)'),
    ("next backup", '"backup" is no schedule (of a Job: pycron next --job backup)'),
    ("list backup", "did you mean: pycron list --match backup, pycron show backup?"),
    ("explain daily", 'bad minute: "daily" (did you mean @daily?)'),
    ("explain @dayly", 'bad time specifier: "@dayly" (did you mean @daily?)'),
    ("explain @every 5", '"@every 5" (a unit is missing: 90s, 10m, 1h, 2d)'),
    (
        "next @daily --tz Berlin",
        'bad --tz: "Berlin" (no such time zone; a name such as Europe/Berl',
    ),
    ("status --state-dir /none", "/none/pycron.sock: No such file or directory; start it: pycrond"),
]


@pytest.mark.parametrize(("words", "says"), WITHOUT_DAEMON, ids=[row[0] for row in WITHOUT_DAEMON])
def test_on_the_command_line(
    words: str,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYCRON_STATE_DIR", str(tmp_path))
    if "a b" in words:
        for name in "ab":
            Path(name).touch()
    if words == "next table":
        Path("table").write_text("@daily x\n")
    status, text = _said(capsys, words.split())
    assert status in (1, 2)
    assert says in text


def _said(capsys: pytest.CaptureFixture[str], words: list[str]) -> tuple[object, str]:
    """The exit status, and what was written."""
    try:
        status: object = program.main(words)
    except SystemExit as error:
        status = error.code
    out, err = capsys.readouterr()
    return status, out + err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "table",
            "unrecognized arguments: table (a table: --table table, or --system-table table)",
        ),
        ("--foreground", "--foreground needs --table or --system-table"),
        ("--foreground --table table --once 10m", 'bad time: "10m" ("10m ago" or "in 10m")'),
    ],
)
def test_of_the_daemon(
    words: str,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("table").write_text("@daily x\n")
    with pytest.raises(SystemExit) as ended:
        pycrond.main(words.split())
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


# ---- the command line, with a daemon

WITH_DAEMON = [
    ("start bakcup", 'no such job: "bakcup" (did you mean backup?)'),
    ("test Backup", 'no such job: "Backup" (did you mean backup?)'),
    ("runs --job bakcup", 'no such job: "bakcup" (did you mean backup?)'),
    ("pause xyz", 'no such job: "xyz" (pycron list)'),
    ("start cron.daily", 'several jobs are called "cron.daily": '),
    ("runs --outcome timeout", 'unknown outcome: "timeout" (succeeded, failed, timed_out,'),
    ("log backup", "backup: it has not run yet"),
    ("kill backup", 'nothing runs or waits that is called "backup"'),
    ("resume backup", "job backup is not paused"),
    ("pause --owner nobody9", 'no such user: "nobody9"'),
    ("pause --pool db", 'no such pool: "db" (the configuration names them)'),
    ("dead drop x", 'no such job: "x" (pycron list)'),
    ("why backup 25:00", 'bad time: "25:00" (a time such as'),
]


@pytest.fixture(scope="module")
def op(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedDaemon]:
    parts = "cd / && run-parts /etc/cron.daily"
    table = f"CRON_NAME=backup @yearly true\n0 5 1 1 * {parts}\n0 6 1 1 * {parts}\n"
    with operated_daemon(tmp_path_factory.mktemp("mistakes"), table) as op:
        yield op


@pytest.mark.parametrize(("words", "says"), WITH_DAEMON, ids=[row[0] for row in WITH_DAEMON])
def test_on_the_command_line_with_a_daemon(op: OperatedDaemon, words: str, says: str) -> None:
    done = op.run(*words.split())
    assert done.returncode in (1, 2)
    assert says in done.stderr


# ---- a table

IN_A_TABLE = [
    ("0 0 2 * * * backup", "six fields, but cron has no field for seconds: write 0 2 * * *"),
    ("0 2 * * backup", 'bad day-of-week: "backup" (a field is missing: five, then the command'),
    ("0 14:30 * * * x", 'bad hour: "14:30" (0-23)'),
    ("0 2 31 2 * x", "it would never run: there is no day 31 in month 2"),
    ("*/90 * * * * x", '"*/90" chooses minute 0 only'),
    ("@dayly x", 'bad time specifier: "@dayly" (did you mean @daily?)'),
    ("@every 10 minutes x", "write @every 10m"),
    ("0 2 * * * root /usr/bin/x", "a user's own table has no user column"),
    ("CRON_TZ=Berlin 0 2 * * * x", 'bad CRON_TZ: "Berlin" (no such time zone'),
    ("CRON_TIMEZONE=Europe/Berlin 0 2 * * * x", "did you mean CRON_TZ?"),
    ("CRON_TIMEOUT=10 min 0 2 * * * x", 'bad CRON_TIMEOUT: "10 min" (write 10m)'),
    ("CRON_NAME=my backup 0 2 * * * x", 'bad CRON_NAME: "my backup"'),
    ("CRON_CONCURRENCY=skip 0 2 * * * x", '"skip" (allow, forbid, replace or queue)'),
    ("CRON_ON_FAILURE=mail root 0 2 * * * x", "(a command; quotes around blanks)"),
    ("0 2 * * * date +%F > /tmp/x", "write \\% for a percent sign"),
    ("export PATH=/x", "a table is no shell script: write PATH=/x"),
    ("PATH=$PATH:/opt/bin", '"$PATH" is not expanded'),
]


@pytest.mark.parametrize(("line", "says"), IN_A_TABLE, ids=[row[0] for row in IN_A_TABLE])
def test_in_a_table(line: str, says: str) -> None:
    text = "".join(f"@daily good {number}\n" for number in range(3)) + f"{line}\n@hourly good\n"
    context = ReaderContext(zone_exists=ZoneData().exists)
    table = parse(text, Source("t", "joe"), context)
    found = problems_of(table, text, CheckContext(lambda _: UTC, 0))
    assert any(says in str(problem) for problem in found if problem.line == 4), list(
        map(str, found)
    )


# ---- pycron.toml

IN_THE_CONFIGURATION = [
    ("[limit]\nrunning = 3", 'unknown section: "[limit]" (did you mean limits?)'),
    ("[limits]\nruning = 3", 'unknown option: "limits.runing" (did you mean limits.running?)'),
    ("[limits]\nuser-running = 3", "(did you mean limits.user_running?)"),
    ('[limits]\nrunning = "ten"', "bad limits.running: 'ten' (a whole number above 0)"),
    ("running = 3", '"running" stands outside of a [section]'),
    ("[limits]\nrunning: 3", "Expected '=' after a key in a key/value pair (at line 2, column 8)"),
    ('[limits]\noutput_bytes = "1Mb"', "(a number of bytes, or a size such as 512M or 2G)"),
    ('[retention]\ndays = "90 days"', "(a number of days, or whole days such as 90d or 12w)"),
    ('[mail]\ntransport = "sendmial"', "(sendmail, smtp or none)"),
    ("[defaults]\nCRON_RETRY = 3", "(did you mean CRON_RETRIES?)"),
    ('[notify.ops]\nurl = "x"\non = ["fail"]', "(a list of failure, recovery, late)"),
    ('[tables]\nlayout = "ubuntu"', "(pycron, debian or cronie)"),
]


@pytest.mark.parametrize(("text", "says"), IN_THE_CONFIGURATION, ids=lambda text: text[:40])
def test_in_the_configuration(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "pycron.toml"
    path.write_text(f"{text}\n")
    with pytest.raises(ConfigError) as error:
        read_config(path, required=True, rules=TRUSTED)
    assert says in str(error.value)
