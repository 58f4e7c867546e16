"""Mail about shared Runs whose host has died: by whom it is sent, and that there is one."""

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.cluster_hosts import Host, rows, wait_for_rows
from tests.support.fake_sendmail import FakeSendmail
from tests.support.postgres import is_here, running_postgres
from tests.support.running_daemon import run
from tests.support.waiting import until

pytest.importorskip("psycopg")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_here(), reason="needs PostgreSQL"),
    pytest.mark.xdist_group("shared_jobs"),
]

HANGS = 'echo "$CRON_JOB" >> $WITNESS; if [ $CRON_ATTEMPT = 1 ]; then sleep 600; fi; echo done'
RETRIED = "CRON_RETRIES=5 CRON_RETRY_DELAY=1s CRON_RETRY_JITTER=0 CRON_RETRY_UNTIL=never"


def table() -> list[str]:
    """Two Jobs whose next fire time is in the next minute but one at the latest, and once."""
    at = time.gmtime(time.time() + (60 if time.time() % 60 < 30 else 120))
    schedule = f"{at.tm_min} {at.tm_hour} * * *"
    settings = {"again": RETRIED, "once": "CRON_MAIL_ON=failure"}
    return [
        f"CRON_TZ=UTC CRON_NAME={name} CRON_ON=any {of_job} {schedule} {HANGS}"
        for name, of_job in settings.items()
    ]


def test_each_run_of_a_killed_host_is_mailed_once(tmp_path: Path) -> None:
    """By the host that has its last Attempt; for a lost one, when that host is back."""
    sendmail = FakeSendmail(tmp_path)
    options = ('lease = "15s"', *sendmail.config.splitlines())
    with running_postgres() as server:
        first, second = (
            Host(tmp_path / name, name, server.address(), *options) for name in ("host1", "host2")
        )
        assert run("pycron", "cluster", "init", "--config", first.config).returncode == 0
        lines = table()
        try:
            for host in (first, second):
                host.write(*lines)
            first.start()
            until(lambda: set(first.lines()) == {"again", "once"}, 150)
            first.kill()
            second.start()
            wait_for_rows(server, "state = 'ended'", 2, patience=150)
            assert rows(server, "name, outcome, attempt") == [
                ["again", "succeeded", "2"],
                ["once", "lost", "1"],
            ]
            until(sendmail.messages, 60)
            assert told(sendmail) == Counter(succeeded=1)
            first.start()
            until(lambda: all(reported_late(first, job) for job in ("again", "once")), 120)
            until(lambda: len(sendmail.messages()) == 2, 60)
            assert told(sendmail) == Counter(succeeded=1, lost=1)
        finally:
            first.stop()
            second.stop()


def told(sendmail: FakeSendmail) -> Counter[str]:
    """How many mails tell which outcome."""
    return Counter(str(mail["X-Cron-Outcome"]) for mail in sendmail.messages())


def reported_late(host: Host, job: str) -> bool:
    """Whether the database has heard of the end of the host's Attempt, and says something else."""
    done = run("pycron", "show", job, "--json", "--state-dir", host.state)
    return "reported too late" in done.stdout
