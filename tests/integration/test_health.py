"""pycron status --health: one line, and 0 or 1, for the health check of a container."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pycron.config import Config
from pycron.control.access import Access
from pycron.control.context import Context
from pycron.control.health import health
from pycron.control.server import Peer
from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.cursor import Cursor
from pycron.engine.engine import Engine
from pycron.engine.events import (
    Now,
    PauseBegan,
    RunOnce,
    Started,
    StartedByHand,
    StopStarting,
    TableLoaded,
    Tick,
)
from pycron.engine.limits import Limits
from pycron.model.job import Source
from pycron.model.pause import ALL, Pause
from pycron.model.problem import Problem
from pycron.model.run import RunKey
from pycron.protocol.control_messages import HealthRequest
from pycron.schedule.zone import UTC
from tests.support.operated_daemon import OWN_NAME, OperatedDaemon, operated_daemon
from tests.support.running_daemon import PYTHON, run
from tests.support.waiting import until

TICK = "CRON_NAME=tick @every 1s true\n"


def said(operated: OperatedDaemon) -> tuple[int, str]:
    """The exit status and the line."""
    done = operated.run("status", "--health")
    assert (done.stderr, done.stdout.count("\n")) == ("", 1)
    return done.returncode, done.stdout.strip()


def test_healthy(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, TICK + "CRON_NAME=long @reboot sleep 1000\n") as operated:
        operated.daemon.wait_for("attempt_started", job="long")
        until(lambda: said(operated) == (0, "healthy: tables 1, Jobs 2, running 1"))
        assert operated.row("status", "--health") == {"healthy": True, "reasons": []}
        operated.run("kill", "long")


def test_no_daemon(tmp_path: Path) -> None:
    done = run("pycron", "--state-dir", tmp_path, "status", "--health")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("unhealthy: no pycron daemon answers at ")
    assert done.stdout.count("\n") == 1


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_daemon_that_hangs(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, TICK) as operated:
        with stopped(operated.daemon.process.pid):
            status, line = said(operated)
        assert (status, line.startswith("unhealthy: no answer from the pycron daemon")) == (1, True)


def test_a_runner_that_hangs(tmp_path: Path) -> None:
    """Also if nothing is due: it is sent something to read."""
    with operated_daemon(tmp_path, "0 0 1 1 * true\n") as operated:
        runner = operated.daemon.wait_for("runner_started")["pid"]
        with stopped(runner):
            assert said(operated) == (1, "unhealthy: the runner has not answered in 5 s")
        assert said(operated)[0] == 0


def test_a_bad_table_and_a_store_that_cannot_be_written_to(tmp_path: Path) -> None:
    database = tmp_path / "state" / "pycron.db"
    database.mkdir(parents=True)
    with operated_daemon(tmp_path, TICK) as operated:
        reason = operated.daemon.wait_for("store_failed")["reason"]
        operated.daemon.wait_for("attempt_started", job="tick")
        (tmp_path / "table").write_text("61 * * * * true\n")
        operated.daemon.wait_for("table_bad")
        bad = f"bad tables: {tmp_path}/table (pycron check)"
        assert said(operated) == (1, f"unhealthy: the database: {reason}; {bad}")
        answer = json.loads(operated.run("status", "--health", "--json").stdout)
        assert answer == {"healthy": False, "reasons": [f"the database: {reason}", bad]}


def test_commands_find_their_daemon(tmp_path: Path) -> None:
    """PYCRON_STATE_DIR says where it is, also in a container that has no other place."""
    root = Path(__file__).parents[2]
    table = (
        f"PYTHONPATH={root}\nCRON_NAME=ask @reboot {PYTHON} -m pycron.cli.pycron status --health\n"
    )
    with operated_daemon(tmp_path, table) as operated:
        operated.daemon.wait_for("attempt_ended", job="ask", outcome="succeeded")
        (line,) = [each["line"] for each in operated.daemon.log("output")]
    assert line == "healthy: tables 1, Jobs 1, running 1"


# ---- what is late


class Late:
    """An engine on which at most one command runs, and whose clock is set by the test."""

    def __init__(self) -> None:
        self.now = time.time() - 100
        begin = int(self.now)
        self.engine = Engine(lambda _: UTC, Cursor(begin, begin), limits=Limits(running=1))
        text = "CRON_NAME=first 0 0 29 2 * x\nCRON_NAME=second 0 0 29 2 * y\n"
        table = parse(text, Source(OWN_NAME, OWN_NAME), ReaderContext())
        self.first, self.second = table.jobs
        self.engine.handle(TableLoaded(table), Now(self.now, 0))

    def reasons(self) -> list[str]:
        unused: Any = None
        nothing_wrong: Any = Quiet()
        context = Context(
            engine=self.engine, history=unused, recorder=nothing_wrong, tables=nothing_wrong,
            user_tables=None,
            config=Config, output=Path(), access=Access(Config, print), feed=unused, log=print,
            info=unused, reload=unused, runner_reads=lambda ask: True,
        )  # fmt: skip
        answer = health(context, Peer(os.getpid(), os.geteuid(), os.getegid()), HealthRequest())
        return answer["reasons"]


class Quiet:
    """A store and tables without anything wrong."""

    failure = None

    def problems(self) -> list[Problem]:
        return []

    def count(self, user: str | None) -> int:
        return 1


def test_a_run_that_waits_for_more_than_a_minute_is_late() -> None:
    late = Late()
    for number, job in enumerate((late.first, late.second)):
        late.engine.handle(StartedByHand(job, "joe", 1000 + number), Now(late.now, 0))
    (reason,) = late.reasons()
    assert reason.startswith(f"late Runs: 2, first first of {OWN_NAME}, planned for ")


def test_what_waits_for_a_pause_or_is_young_is_not_late() -> None:
    late = Late()
    late.engine.handle(StartedByHand(late.first, "joe", 1000), Now(time.time() - 30, 0))
    late.engine.handle(StartedByHand(late.second, "joe", 1001), Now(late.now, 0))
    late.engine.handle(PauseBegan(Pause(ALL, 0, None, "root", None)), Now(late.now, 0))
    assert late.reasons() == []


def test_what_waits_for_another_job_is_not_late() -> None:
    """The command of the first Job runs for more than a minute."""
    late = Late()
    text = "CRON_NAME=leads 0 0 29 2 * x\nCRON_NAME=follows @after leads y\n"
    table = parse(text, Source("a", OWN_NAME), ReaderContext())
    now = Now(late.now, 0)
    late.engine.handle(TableLoaded(table), now)
    for job in table.jobs:
        late.engine.handle(RunOnce(RunKey(job.id, int(late.now)), job), now)
    (attempt,) = (run.attempt for run in late.engine.attempts)
    late.engine.handle(Started(attempt, 1, late.now), now)
    assert [run.job.name for run in late.engine.waiting] == ["follows"]
    assert late.reasons() == []


def test_fire_times_that_nobody_takes_up_are_late() -> None:
    late = Late()
    late.engine.handle(Tick(), Now(late.now, 0))
    assert late.reasons() == []
    late.engine.handle(TableLoaded(parse("@every 10s x\n", Source("a", OWN_NAME),
                                         ReaderContext())), Now(late.now, 0))  # fmt: skip
    (reason,) = late.reasons()
    assert reason.startswith("fire times since ")


def test_a_daemon_that_ends_is_not_late() -> None:
    late = Late()
    late.engine.handle(StartedByHand(late.first, "joe", 1000), Now(late.now, 0))
    late.engine.handle(StopStarting(), Now(late.now, 0))
    assert late.reasons() == []
