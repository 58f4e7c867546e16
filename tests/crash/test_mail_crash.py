"""One mail per Run: daemons and runners are killed at random moments while mails are sent.

A fake sendmail program writes each mail that it accepts into a file. If the runner is killed while
a mail is sent, the program that sends it goes on, and leaves a receipt for the next Attempt.
"""

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from pycron.model.run import RunKey
from tests.support.operated_daemon import OperatedDaemon, Row, operated_daemon
from tests.support.thoroughness import number_of, slow_after
from tests.support.waiting import until

KILLS = number_of(quick=4, thorough=200)  # of each of the three victims

pytestmark = pytest.mark.xdist_group("machine")

# Accepts a mail by one line in the file of all mails: whose Run it is about, and the occasion. It
# refuses the first try of every third Run, by its fire time. All files are in its own directory.
SENDMAIL = """\
#!/bin/sh
here=${0%/*}
while IFS= read -r line && [ "$line" ]; do
    header="$header$line "
done
run=${header#*X-Cron-Run: }
run=${run%% *}
occasion=${header#*<"$run."}
occasion=${occasion%%@*}
case $run in
    *[0369]Z) mkdir "$here/refused/$run" 2>/dev/null && exit 75 ;;
esac
echo "$run $occasion" >>"$here/mails"
"""
CONFIG = """\
[mail]
sendmail = "{sendmail}"
job_hour = 1000000
per_minute = 60000
[limits]
waiting = 1000000
"""
PRINT = "echo $CRON_RUN_ID"
# By Job: its entry, and the occasion of the mail by the outcome of the Run.
JOBS: dict[str, tuple[str, dict[str, str]]] = {
    "prints": (f"@every 2s {PRINT}", {"succeeded": "output"}),
    "slow": (f"@every 3s {PRINT}; sleep 0.7; {PRINT}", {"succeeded": "output"}),
    "fails": (f"@every 3s {PRINT}; exit 3", {"failed": "failed"}),
    "retries": (
        f"CRON_RETRIES=1 CRON_RETRY_DELAY=1s @every 4s {PRINT}; exit 3", {"failed": "failed"},
    ),
    "always": (
        "CRON_MAIL_ON=always @every 3s true", {"succeeded": "output", "lost": "failed"},
    ),
    "failure": (
        "CRON_MAIL_ON=failure @every 4s exit 4", {"failed": "failed", "lost": "failed"},
    ),
    "silent": ("@every 3s true", {}),
    "never": (f"CRON_MAIL_ON=never @every 3s {PRINT}", {}),
}  # fmt: skip
# The first retry of a mail comes after a minute, and a test cannot wait for the sixth one.
SOON = """\
import sys
if "pycron.cli.pycrond" in sys.orig_argv:
    from pycron.engine import delivery_jobs
    delivery_jobs._SIX_TRIES.update(retries=60, retry_delay=1, retry_backoff=1.0)
"""


class Machine:
    """A daemon, its runner, and the mails that have arrived."""

    def __init__(self, operated: OperatedDaemon, victim: str) -> None:
        self.operated = operated
        self._directory = operated.directory
        self._chance = random.Random(victim)
        self._kill: Callable[[], None] = {
            "daemon": operated.kill_daemon,
            "runner": self.kill_runner,
            "both": self._kill_both,
        }[victim]

    def run_with_kills(self) -> None:
        """Kill the victim at random moments, then let all mails arrive and start no more Runs."""
        for _ in range(KILLS):
            time.sleep(self._chance.uniform(0.02, 1.2))  # a random moment is the point
            self._kill()
        self.operated.rows("pause", "--all")
        until(lambda: not self.unfinished(), patience=120)

    def kill_runner(self) -> None:
        """Kill the runner; the daemon starts another one."""
        old = self._runner()
        _kill_runner(old)
        until(lambda: self._runner() != old, patience=30)

    def _kill_both(self) -> None:
        """Kill the runner just before or just after the daemon."""
        old, first = self._runner(), self._chance.random() < 0.5
        if first:
            _kill_runner(old)
        self.operated.daemon.signal(signal.SIGKILL)
        if not first:
            _kill_runner(old)
        self.operated.kill_daemon()

    def _runner(self) -> int:
        """The pid of the runner that the daemon has met last."""
        return until(lambda: int(self._one("SELECT value FROM meta WHERE key = 'runner'")), 30)

    def unfinished(self) -> int:
        return int(self._one("SELECT count(*) AS value FROM runs WHERE outcome IS NULL"))

    def _one(self, query: str) -> str:
        """The first part of the only value; 0 if there is none."""
        rows = self.query(query)
        return str(rows[0]["value"]).partition("-")[0] if rows else "0"

    # ---- the evidence

    def query(self, query: str) -> list[Row]:
        with closing(sqlite3.connect(self.operated.state / "pycron.db", timeout=30)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(query)]

    def runs(self, *options: str) -> list[Row]:
        return self.operated.rows("runs", "--limit", "1000000", *options)

    def arrived(self) -> Counter[tuple[str, str]]:
        """How often the mail about each Run arrived, by run_id and occasion."""
        lines = (self._directory / "mails").read_text().splitlines()
        return Counter((run, occasion) for run, occasion in map(str.split, lines))

    def lost_attempts(self) -> Counter[str]:
        """How many Attempts of each delivery were lost, by the run_id of the delivery."""
        rows = self.query(
            "SELECT jobs.id, fire_time, pass, count(*) AS lost FROM attempts"
            " JOIN runs ON runs.number = run JOIN jobs ON jobs.number = job"
            " WHERE runs.delivery AND attempts.outcome = 'lost' GROUP BY run"
        )
        return Counter(
            {str(RunKey(row["id"], row["fire_time"], row["pass"])): row["lost"] for row in rows}
        )


def _kill_runner(pid: int) -> None:
    with suppress(OSError):  # it has ended
        handle = os.pidfd_open(pid)
        try:
            if b"pycron.runner" in Path(f"/proc/{pid}/cmdline").read_bytes():
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


@contextmanager
def machine(directory: Path, victim: str) -> Iterator[Machine]:
    """A machine on which the victim will be killed."""
    (directory / "refused").mkdir()
    (directory / "mails").touch()
    sendmail = directory / "sendmail"
    sendmail.write_text(SENDMAIL)
    sendmail.chmod(0o755)
    table = "MAILTO=postmaster\n" + "".join(
        f"CRON_NAME={name} {entry}\n" for name, (entry, _) in JOBS.items()
    )
    with operated_daemon(directory, table, CONFIG.format(sendmail=sendmail)) as operated:
        yield Machine(operated, victim)


@pytest.fixture(autouse=True)
def soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemons of this test retry mails after a second."""
    custom = tmp_path / "custom"
    custom.mkdir()
    (custom / "sitecustomize.py").write_text(SOON)
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{custom}{os.pathsep}{root}")


@pytest.mark.parametrize("victim", slow_after(1, ["daemon", "runner", "both"]))
def test_each_run_is_mailed_once(tmp_path: Path, victim: str) -> None:
    with machine(tmp_path, victim) as found:
        found.run_with_kills()
        runs, mails = found.runs(), found.runs("--deliveries")
        lost = found.lost_attempts()
        assert not found.operated.daemon.log("store_failed")

    expected = Counter(
        (run["run_id"], occasion)
        for run in runs
        if (occasion := JOBS[run["job"]][1].get(run["outcome"]))
    )
    recorded = Counter((mail["about"], mail["delivery"].removeprefix("mail ")) for mail in mails)
    assert recorded - expected == Counter()
    assert expected - recorded == Counter()

    assert {mail["outcome"] for mail in mails} == {"succeeded"}
    assert found.arrived() == expected
    if victim == "daemon":  # the runner has lived and knows how each mail ended
        assert not lost
    print(
        "runs", len(runs), "lost", sum(run["outcome"] == "lost" for run in runs),
        "mails", len(mails), "with lost attempts", len(lost),
    )  # fmt: skip


def test_a_mail_whose_program_outlives_the_runner_is_sent_once(tmp_path: Path) -> None:
    """The next Attempt waits for the program that goes on, and reads its receipt."""
    gate, mails, sendmail = tmp_path / "gate", tmp_path / "mails", tmp_path / "sendmail"
    begun = tmp_path / "begun"
    sendmail.write_text(
        f"#!/bin/sh\necho >>{begun}\nwhile [ ! -e {gate} ]; do sleep 0.05; done\n"
        f"grep ^Message-ID: >>{mails}\n"
    )
    sendmail.chmod(0o755)
    table = f"MAILTO=postmaster\nCRON_NAME=prints @yearly {PRINT}\n"
    with operated_daemon(tmp_path, table, f'[mail]\nsendmail = "{sendmail}"\n') as operated:
        run_id = operated.start("prints")
        until(begun.exists, patience=30)
        killed = Machine(operated, "runner")
        killed.kill_runner()
        operated.daemon.wait_for("attempt_lost", job="prints:mail", attempt=1)
        operated.open_gate()
        until(lambda: not killed.unfinished(), patience=30)
        (mail,) = killed.runs("--deliveries")
        assert (mail["about"], mail["outcome"], mail["attempts"]) == (run_id, "succeeded", 2)
        assert "an earlier attempt has sent it" in operated.run("log", mail["run_id"]).stdout
    (sent,) = mails.read_text().splitlines()
    assert run_id in sent
