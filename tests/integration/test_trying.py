"""`test`, `start --wait`, `log -f` of all Runs and `log --search`: what one tries and sees."""

import csv
import io
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from pycron.cli.csv_rows import print_csv
from pycron.control.client import ControlClient
from tests.support.operated_daemon import OperatedDaemon, operated_daemon, waiting_for_gate
from tests.support.pseudo_terminal import show
from tests.support.running_daemon import command_path, program, run
from tests.support.waiting import until

NICENESS = os.nice(0) + 5  # not below that of the tests: only root may lower it
TABLE = """\
PATH=/usr/bin:/bin:/opt/own
WHO=the table
CRON_NAME=three CRON_NICE={niceness} CRON_UMASK=077 CRON_CWD=/usr @yearly echo "$WHO"; nice; umask; pwd; exit 3
CRON_NAME=fine CRON_TIMEOUT=1s @yearly cat%one%two
CRON_NAME=slow CRON_TIMEOUT=1s CRON_KILL_AFTER=1s @yearly echo begun; sleep 60
CRON_NAME=flaky CRON_RETRIES=1 CRON_RETRY_DELAY=1s CRON_RETRY_JITTER=0 CRON_RETRY_UNTIL=never @yearly echo try $CRON_ATTEMPT; [ $CRON_ATTEMPT = 2 ]
CRON_NAME=gated @yearly echo first; {gate}; echo last; kill -9 $$
CRON_NAME=loud @yearly seq 1 3000
CRON_NAME=hooked CRON_RETRIES=3 CRON_ON_FAILURE='touch {directory}/hooked' CRON_CONCURRENCY=forbid @yearly exit 5
"""  # noqa: E501


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedDaemon]:
    directory = tmp_path_factory.mktemp("trying")
    gate = waiting_for_gate(directory)
    table = TABLE.format(gate=gate, directory=directory, niceness=NICENESS)
    with operated_daemon(directory, table) as operated:
        yield operated


def result(done: CompletedProcess[str]) -> tuple[int, str, str]:
    """The status, the output, and the message at the end without its duration."""
    last = done.stderr.splitlines()[-1:] or [""]
    return done.returncode, done.stdout, re.sub(r"[\d.]+ m?s\b", "N s", last[0])


# ---- test


def test_a_job_is_tested_as_the_daemon_runs_it(operator: OperatedDaemon) -> None:
    done = operator.run("test", "three")
    assert result(done) == (
        3, f"the table\n{NICENESS}\n0077\n/usr\n",
        "pycron: three: failed, exit status 3, after N s",
    )  # fmt: skip
    assert operator.run("test", "fine").stdout == "one\ntwo\n"
    status, out, said = result(operator.run("test", "slow"))
    assert (status, out) == (124, "begun\n")
    assert said.startswith("pycron: slow: timed out")


def test_a_test_tells_nobody_and_is_no_run_of_the_job(operator: OperatedDaemon) -> None:
    """Neither retries nor the failure hook, and the Job's own history stays as it is."""
    assert operator.run("test", "hooked").returncode == 5
    assert operator.runs("hooked") == []
    (tested,) = operator.runs("hooked:test")
    assert (tested["attempts"], tested["outcome"]) == (1, "failed")
    assert not operator.rows("dead", "list")
    assert operator.rows("runs", "--deliveries") == []
    assert not (operator.directory / "hooked").exists()


def test_a_test_that_fails_is_nothing_wrong(tmp_path: Path) -> None:
    """Neither the metrics nor the overview of `pycron` have it."""
    pytest.importorskip("prometheus_client")
    with operated_daemon(tmp_path, "CRON_NAME=fails @yearly exit 3\n") as op:
        assert op.run("test", "fails").returncode == 3
        counted = re.findall(r"^pycron_runs_total.* (\S+)$", op.run("metrics").stdout, re.MULTILINE)
        assert counted
        assert set(counted) == {"0.0"}
        environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
        overview = show(program("pycron", "--state-dir", op.state), environment=environment)
        assert re.search(r"wrong now +nothing", overview.text), overview.text
        op.run("start", "--wait", "fails")
        overview = show(program("pycron", "--state-dir", op.state), environment=environment)
        assert re.search(r"wrong now +fails: failed", overview.text), overview.text


def test_the_environment_is_that_of_the_command(operator: OperatedDaemon) -> None:
    done = operator.run("test", "three", "--env")
    assert (done.returncode, done.stderr) == (0, "")
    shown = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert shown["PATH"] == command_path("/usr/bin:/bin:/opt/own")
    assert shown["WHO"] == "the table"
    assert (shown["CRON_JOB"], shown["PWD"], shown["CRON_ATTEMPT"]) == ("three", "/usr", "1")


LINES = {
    "* * * * * echo of $CRON_JOB; exit 7": (
        7, r"of \S+\n", r"pycron: \S+: failed, exit status 7, after .*"
    ),
    "CRON_NAME=x @daily kill -9 $$": (137, "", r"pycron: x: killed, SIGKILL, after .*"),
    "CRON_CWD=/no/where CRON_NAME=y @daily pwd": (
        126, "", r"pycron: y: failed, exit status 126, .*/no/where.*"
    ),
    "61 * * * * echo": (1, "", 'pycron: bad minute: "61" .*'),
    "PATH=/bin": (1, "", "pycron: there is no entry"),
    "backup --all now": (
        1, "", r"pycron: bad .*\(an entry: .* such as \"\* \* \* \* \* backup --all now\"\)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_tested_without_a_table(operator: OperatedDaemon, line: str) -> None:
    done = operator.run("test", "--line", line)
    status, out, said = LINES[line]
    assert done.returncode == status
    assert re.fullmatch(out, done.stdout)
    assert re.fullmatch(said, done.stderr.splitlines()[-1])
    assert len(operator.rows("list")) == TABLE.count("CRON_NAME")


def test_a_table_is_tested_without_being_installed(
    operator: OperatedDaemon, tmp_path: Path
) -> None:
    table = tmp_path / "new"
    table.write_text("A=1\nCRON_NAME=new @daily echo $A\nA=2\nCRON_NAME=bad 61 * * * * x\n")
    done = operator.run("test", "--table", str(table), "new")
    assert (done.returncode, done.stdout) == (0, "1\n")  # the error is in another entry
    refused = operator.run("test", "--table", str(table), "bad")
    assert refused.returncode == 1
    assert f'{table}:4: bad minute: "61" (0-59)' in refused.stderr
    table.write_text("@daily echo a\n@daily echo b\n")
    assert "several entries" in operator.refusal("test", "--table", str(table))
    table.write_text("@daily echo only\n")
    assert operator.run("test", "--table", str(table)).stdout == "only\n"


def test_json_has_the_run_and_its_output(operator: OperatedDaemon) -> None:
    done = operator.run("test", "--json", "--line", "CRON_NAME=j @daily echo out; exit 2")
    assert (done.returncode, done.stderr) == (2, "")
    assert '"output": "out\\n"' in done.stdout
    assert '"exit_status": 2' in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_that_is_tested(
    operator: OperatedDaemon, tmp_path: Path, number: signal.Signals
) -> None:
    line = f"CRON_NAME=long @daily echo $$ > {tmp_path}/pid; exec sleep 60"
    trying = operator.begin("test", "--line", line)
    until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    trying.send_signal(number)
    _, err = trying.communicate(timeout=30)
    assert trying.returncode == 130
    assert "long: cancelled, SIGTERM" in err
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_without_a_daemon_a_text_is_tested_by_one_of_our_own(tmp_path: Path) -> None:
    """In the environment of cron, not in that of the person who asks; nothing is left behind."""
    state = tmp_path / "no-daemon"
    before = set(Path("/dev/shm").glob("pycron-*"))
    environment = os.environ | {"SECRET": "x", "PYTHONPATH": str(Path(__file__).parents[2])}
    line = "@daily echo ${SECRET-clean}; pwd; exit 9"
    words = ("test", "--line", line)
    done = run("pycron", "--state-dir", state, *words, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout) == (9, f"clean\n{Path.home()}\n"), done.stderr
    assert set(Path("/dev/shm").glob("pycron-*")) <= before
    missing = run("pycron", "--state-dir", state, "test", "job")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "no pycron daemon answers" in missing.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["test"], ["test", "job", "--line", "@daily x"], ["test", "job", "--owner", "root"],
        ["test", "--line", "@daily x", "--table", "t"], ["log"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_use(words: list[str]) -> None:
    done = run("pycron", *words)
    assert (done.returncode, done.stdout) == (2, "")


# ---- start --wait


def test_start_waits_for_the_last_attempt(operator: OperatedDaemon) -> None:
    done = operator.run("start", "--wait", "flaky")
    assert (done.returncode, done.stdout) == (0, "try 1\ntry 2\n")
    assert "pycron: attempt 1: failed" in done.stderr
    assert result(operator.run("start", "--wait", "three"))[0] == 3
    assert operator.run("start", "--wait", "slow").returncode == 124


@pytest.mark.slow
def test_who_stops_waiting_does_not_end_the_run(operator: OperatedDaemon) -> None:
    operator.gate.unlink(missing_ok=True)
    waiting = operator.begin("start", "--wait", "gated")
    assert waiting.stdout
    assert waiting.stdout.readline() == "first\n"
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert "the Run goes on" in err
    again = operator.begin("log", "-f", "gated")
    operator.open_gate()
    out, _ = again.communicate(timeout=30)
    assert out == "first\nlast\n"
    until(lambda: operator.runs("gated")[-1]["outcome"] == "killed")


@pytest.mark.slow
def test_start_waits_across_a_restart_of_the_daemon(operator: OperatedDaemon) -> None:
    operator.gate.unlink(missing_ok=True)
    waiting = operator.begin("start", "--wait", "gated")
    assert waiting.stdout
    assert waiting.stdout.readline() == "first\n"
    operator.kill_daemon()
    operator.open_gate()
    out, err = waiting.communicate(timeout=30)
    assert (waiting.returncode, out) == (137, "last\n"), err


# ---- log -f without a Run


def test_the_output_of_all_runs_is_followed(operator: OperatedDaemon) -> None:
    """That of a Run that goes on, of short ones, and of a long one; each whole, in its order."""
    operator.gate.unlink(missing_ok=True)
    before = operator.start("gated")
    until(lambda: operator.run("log", before).stdout == "first\n")
    following = operator.begin("log", "-f")
    assert following.stdout
    assert following.stderr
    while not operator.daemon.log("output", line="heard"):  # the first look has been
        operator.run("test", "--line", "CRON_NAME=probe @daily echo heard")
    for job in ("loud", "three", "flaky"):
        operator.run("start", "--wait", job)
    operator.open_gate()
    lines: list[str] = []
    while "gated | last" not in lines:
        lines.append(following.stdout.readline().rstrip("\n"))
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=30)
    assert "gated | first" not in lines
    loud = [line for line in lines if line.startswith("loud | ")]
    assert loud == [f"loud | {number}" for number in range(1, 3001)]
    assert [line for line in lines if "flaky" in line] == ["flaky | try 1", "flaky | try 2"]
    assert "three | /usr" in lines
    assert "pycron: three failed" in err


# ---- log --search


def test_lines_are_found_in_all_outputs(operator: OperatedDaemon) -> None:
    first, second = (operator.start("loud") for _ in range(2))
    for run_id in (first, second):
        operator.daemon.wait_for("attempt_ended", run_id=run_id)
    rows = operator.rows("log", "--search", "299", "loud")
    assert [row["line"] for row in rows if row["run_id"] == second] == [
        "299", "1299", "2299", *(str(number) for number in range(2990, 3000)),
    ]  # fmt: skip
    newest = [row["run_id"] for row in rows]
    assert newest.index(second) < newest.index(first)
    assert operator.rows("log", "--search", "2998", second)[0]["job"] == "loud"
    done = operator.run("log", "--search", "29", "--limit", "5", second)
    assert len(done.stdout.splitlines()) == 1 + 5
    assert "there may be more: --limit 10" in done.stderr
    assert operator.rows("log", "--search", "no such text anywhere") == []
    assert "a text in one line" in operator.refusal("log", "--search", "a\nb")
    assert "no such job" in operator.refusal("log", "--search", "a", "nobody")


def test_a_search_goes_through_many_runs(operator: OperatedDaemon) -> None:
    """More than the daemon searches for one answer."""
    with closing(ControlClient(operator.state / "pycron.sock")) as client:
        runs = [str(client.ask("start", job="three")["run_id"]) for _ in range(60)]
    for run_id in runs:
        operator.daemon.wait_for("attempt_ended", run_id=run_id)
    found = {row["run_id"] for row in operator.rows("log", "--search", "the table", "three")}
    assert set(runs) <= found


def test_a_closed_pipe_ends_the_command(operator: OperatedDaemon, tmp_path: Path) -> None:
    line = f"CRON_NAME=chatty @daily echo $$ > {tmp_path}/pid; while echo y; do sleep 0.05; done"
    words = program("pycron", "--state-dir", operator.state, "test", "--line", line)
    trying = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert trying.stdout
    assert trying.stderr
    assert trying.stdout.readline() == b"y\n"
    trying.stdout.close()
    trying.wait(30)
    trying.stderr.close()
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


# ---- runs --csv


def test_runs_as_csv(operator: OperatedDaemon) -> None:
    """The same values as in JSON, but no formula of a spreadsheet."""
    # A table of root may begin so, but no name begins like a formula.
    line = f"{'' if os.geteuid() else '-'}*/5 * * * * exit 3"
    assert operator.run("test", "--line", line).returncode == 3
    rows = operator.rows("runs")
    done = operator.run("runs", "--csv")
    assert (done.returncode, done.stderr) == (0, "")
    read = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(read[0]) == list(rows[0])
    for row, cells in zip(rows, read, strict=True):
        assert cells == {key: "" if value is None else str(value) for key, value in row.items()}
    both = operator.run("runs", "--csv", "--json")
    assert (both.returncode, both.stdout) == (2, "")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("-x", "'-x"), ("+x", "'+x"),
        ("a,b", '"a,b"'), ('a"b', '"a""b"'), ("a\nb", "a\\nb"), ("\x1b[2J", "\\x1b[2J"),
    ],
)  # fmt: skip
def test_a_cell_is_no_formula_and_one_line(
    text: str, cell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_csv(["a", "b"], [{"a": text, "b": -5}])
    assert capsys.readouterr().out == f"a,b\n{cell},-5\n"
