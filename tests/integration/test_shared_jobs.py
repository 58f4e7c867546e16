"""Shared Jobs with real daemons, runners, agents and a real PostgreSQL."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.system import lease_file
from tests.support.cluster_hosts import Host, hosts, rows, wait_for_rows, witnessed
from tests.support.postgres import Postgres, is_here, running_postgres
from tests.support.running_daemon import run
from tests.support.thoroughness import number_of
from tests.support.waiting import until

pytest.importorskip("psycopg")
pytestmark = [
    pytest.mark.skipif(not is_here(), reason="needs PostgreSQL"),
    pytest.mark.xdist_group("shared_jobs"),
]

WRITE = 'echo "$CRON_JOB $CRON_FIRE_TIME $CRON_ATTEMPT" >> $WITNESS'
SHORT = ('lease = "15s"',)
FENCED = 15 + 30  # seconds after which others take over: the lease and half a minute more


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def server(postgres: Postgres) -> Iterator[Postgres]:
    yield postgres
    postgres.empty()


def shared(name: str, schedule: str, command: str, *settings: str) -> str:
    return f"CRON_NAME={name} CRON_ON=any {' '.join(settings)} {schedule} {command}"


RETRIED = ("CRON_RETRIES=5", "CRON_RETRY_DELAY=1s", "CRON_RETRY_JITTER=0", "CRON_RETRY_UNTIL=never")


def test_each_fire_time_runs_once_among_three_hosts(tmp_path: Path, server: Postgres) -> None:
    lines = [shared(f"j{n}", "@every 2s", WRITE) for n in range(10)]
    with hosts(tmp_path, server, 3, *lines) as all_hosts:
        wait_for_rows(server, "outcome = 'succeeded'", number_of(quick=30, thorough=80))
        until(lambda: sum(bool(host.lines()) for host in all_hosts) > 1, patience=120)
        for host in all_hosts:
            host.write()  # nothing more becomes due
        wait_for_rows(server, "state = 'held'", 0)
        until(lambda: not int(server.psql("SELECT count(*) FROM pycron.runs WHERE state='held'")))
        seen = witnessed(all_hosts)
        assert set(seen.values()) == {1}
        assert len(seen) == int(server.psql("SELECT count(*) FROM pycron.runs"))
        first = rows(server, "name, extract(epoch FROM fire_time)::int")
        fires = sorted({int(fire) for _, fire in first})
        assert fires == list(range(fires[0], fires[-1] + 1, 2))


@pytest.mark.slow
def test_the_run_id_is_the_same_for_all_attempts_on_all_hosts(
    tmp_path: Path, server: Postgres
) -> None:
    command = 'echo "$CRON_RUN_ID $CRON_ATTEMPT" >> $WITNESS; exit 1'
    line = shared("x", "@every 4s", command, *RETRIED[1:], "CRON_RETRIES=2")
    with hosts(tmp_path, server, 2, line) as all_hosts:
        wait_for_rows(server, "state = 'ended' AND attempt = 3", 2)
        ended = [line.split() for line in witnessed(all_hosts)]
        (name, attempts), *_ = (
            (run_id, {number for each, number in ended if each == run_id})
            for run_id, number in ended
            if number == "3"
        )
        assert attempts == {"1", "2", "3"}
        assert len(name.split("-")) == 2


@pytest.mark.slow
def test_the_runs_of_a_killed_host_are_taken_over(tmp_path: Path, server: Postgres) -> None:
    """Its commands go on for a while, but no other Attempt begins before they must have ended."""
    command = (
        'echo "start $CRON_ATTEMPT" >> $WITNESS;'
        " if [ $CRON_ATTEMPT = 1 ]; then sleep 600; fi; echo end >> $WITNESS"
    )
    line = shared("long", "@every 10m", command, *RETRIED)
    with hosts(tmp_path, server, 3, shared("tick", "@every 5s", WRITE), options=SHORT) as all_hosts:
        begin = int(time.time()) // 60 * 60
        schedule = f"{(begin // 60 + 1) % 60} * * * *"
        for host in all_hosts:
            host.write(shared("tick", "@every 5s", WRITE), line.replace("@every 10m", schedule))
        wait_for_rows(server, "name = 'long' AND state = 'held'", patience=90)
        (first,) = until(lambda: [host for host in all_hosts if "start 1" in host.lines()])
        others = [host for host in all_hosts if host is not first]
        first.kill()
        killed = time.monotonic()
        wait_for_rows(server, "name = 'long' AND outcome = 'succeeded'", patience=120)
        assert time.monotonic() - killed >= FENCED
        (second,) = [host for host in others if "start 2" in host.lines()]
        assert "end" in second.lines()
        log = json.loads(rows(server, "log", "name = 'long'")[0][0])
        assert log
        ticks = [line for host in all_hosts for line in host.lines() if line.startswith("tick")]
        assert len(ticks) == len(set(ticks))


def test_a_killed_daemon_goes_on_where_it_was(tmp_path: Path, server: Postgres) -> None:
    """Kill the daemon alone, many times, at any moment: every fire time still runs once."""
    lines = [shared(f"j{n}", "@every 1s", WRITE) for n in range(5)]
    with hosts(tmp_path, server, 1, *lines) as (host,):
        begin = int(time.time())
        for turn in range(number_of(quick=4, thorough=12)):
            wait_for_rows(server, "true", 5 * (turn + 1))
            time.sleep(0.05 * (turn % 5))
            host.running.kill()
            host.start()
            host.joined()
        last = int(time.time())
        wait_for_rows(server, f"fire_time >= to_timestamp({last}) AND state = 'ended'", 5)
        host.write("@daily true")
        until(lambda: not int(server.psql("SELECT count(*) FROM pycron.runs WHERE state='held'")))
        seen = witnessed([host])
        assert {line: count for line, count in seen.items() if count > 1} == {}
        by_outcome = rows(server, "outcome, count(*)", "true GROUP BY outcome, fire_time, name")
        assert {outcome for outcome, _ in by_outcome} == {"succeeded"}
        fires = {int(fire) for (fire,) in rows(server, "extract(epoch FROM fire_time)::int")}
        assert set(range(min(fires), last)) <= fires
        assert min(fires) <= begin + 3


@pytest.mark.slow
def test_a_database_outage_kills_no_command_and_delays_no_local_job(
    tmp_path: Path, server: Postgres
) -> None:
    command = f"{WRITE}; sleep 20; echo done >> $WITNESS"
    lines = (shared("long", "@every 30s", command), "@every 1s echo local >> $WITNESS")
    with hosts(tmp_path, server, 1, *lines) as (host,):
        until(lambda: any("long" in line for line in host.lines()), 60)
        server.stop()
        begin = host.lines().count("local")
        until(lambda: host.lines().count("local") >= begin + 10, 30)
        server.start()
        until(lambda: "done" in host.lines(), 60)
        wait_for_rows(server, "name = 'long' AND outcome = 'succeeded'")
        assert host.running.log("cluster_problem")
        lateness = [
            line["lateness_ms"]
            for line in host.running.log("attempt_started")
            if line["job"] != "long"
        ]
        assert max(lateness) < 1000


@pytest.mark.slow
def test_commands_end_when_the_lease_is_over(tmp_path: Path, server: Postgres) -> None:
    command = 'echo "start $CRON_ATTEMPT" >> $WITNESS; sleep 600'
    line = shared("long", "@every 10s", command, "CRON_CONCURRENCY=forbid")
    with hosts(tmp_path, server, 1, line, options=SHORT) as (host,):
        until(host.lines, 60)
        server.stop()
        until(lambda: host.running.log("attempt_lost"), 60)
        assert "lease" in host.running.log("attempt_lost")[0]["reason"]


@pytest.mark.slow
def test_a_runner_that_is_stopped_does_not_keep_a_command_beyond_the_lease(
    tmp_path: Path, server: Postgres
) -> None:
    """The daemon is the second watcher."""
    line = shared("long", "@every 10s", "echo $$ >> $WITNESS; sleep 600", "CRON_CONCURRENCY=forbid")
    with hosts(tmp_path, server, 1, line, options=SHORT) as (host,):
        until(host.lines, 60)
        command = int(host.lines()[0])
        os.kill(host.runner, signal.SIGSTOP)
        try:
            server.stop()
            until(lambda: _has_ended(command), 60)
            lease = lease_file.read(str(host.state / "cluster" / "lease"))
            assert lease is None or lease.deadline < lease_file.now()
        finally:
            os.kill(host.runner, signal.SIGCONT)


@pytest.mark.slow
def test_a_group_a_host_and_a_kill(tmp_path: Path, server: Postgres) -> None:
    long = 'echo "long $CRON_ATTEMPT" >> $WITNESS; sleep 600'
    lines = (
        shared("x", "@every 2s", WRITE).replace("=any ", "=any@web "),
        'CRON_NAME=y CRON_ON=host3 @every 2s echo "y" >> $WITNESS',
        shared("long", "@every 5s", long, *RETRIED, "CRON_CONCURRENCY=forbid"),
    )
    options = ('groups = { web = ["host1", "host2"] }',)
    with hosts(tmp_path, server, 3, *lines, options=options) as all_hosts:
        wait_for_rows(server, "name = 'x' AND outcome = 'succeeded'", 8)
        first, second, third = all_hosts
        until(lambda: "y" in third.lines(), 30)
        assert not [line for line in third.lines() if line.startswith("x ")]
        assert "y" not in [*first.lines(), *second.lines()]
        (holder,) = until(lambda: [host for host in all_hosts if "long 1" in host.lines()], 30)
        done = run("pycron", "kill", "long", "--state-dir", holder.state)
        assert done.returncode == 0, done.stderr
        wait_for_rows(server, "name = 'long' AND outcome = 'cancelled' AND attempt = 1")
        other = next(host for host in all_hosts if host is not holder)
        form = 'YYYY-MM-DD"T"HH24:MI:SS"Z"'
        when = f"to_char(fire_time AT TIME ZONE 'UTC', '{form}')"
        ((fire,), *_) = rows(server, when, "name = 'long' AND outcome = 'cancelled'")
        done = run("pycron", "why", "long", fire, "--json", "--state-dir", other.state)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["verdict"] == "elsewhere"
        assert holder.name in answer["reason"]


@pytest.mark.slow
def test_an_agent_that_hangs_is_replaced(tmp_path: Path, server: Postgres) -> None:
    """Its lease is continued if it has not expired meanwhile; no fire time is lost or doubled."""
    with hosts(tmp_path, server, 1, shared("x", "@every 2s", WRITE)) as (host,):
        wait_for_rows(server, "state = 'ended'", 1)
        os.kill(host.agent, signal.SIGSTOP)
        until(lambda: host.running.log("agent_lost"), 90)
        until(lambda: len(host.running.log("agent_started")) == 2, 30)
        stopped = len(host.lines())
        until(lambda: len(host.lines()) >= stopped + 5, 90)
        assert set(witnessed([host]).values()) == {1}


@pytest.mark.slow
def test_a_second_host_with_the_same_name_is_refused(tmp_path: Path, server: Postgres) -> None:
    line = shared("x", "@every 2s", WRITE)
    with hosts(tmp_path, server, 1, line) as (host,):
        other = Host(tmp_path / "other", host.name, server.address())
        other.write(line)
        other.start()
        try:
            other.running.wait_for("cluster_problem")
            wait_for_rows(server, "state = 'ended'", 3)
            assert not other.lines()
        finally:
            other.stop()


def test_a_foreground_daemon_gives_its_name_back(tmp_path: Path, server: Postgres) -> None:
    with hosts(tmp_path, server, 1, shared("x", "@every 2s", WRITE)) as (host,):
        wait_for_rows(server, "state = 'ended'", 1)
        host.running.stop()
        free = "SELECT count(*) FROM pycron.hosts WHERE incarnation IS NULL"
        until(lambda: server.psql(free) == "1", 30)


@pytest.mark.slow
def test_status_says_how_the_cluster_is(tmp_path: Path, server: Postgres) -> None:
    with hosts(tmp_path, server, 1, shared("x", "@every 2s", WRITE)) as (host,):
        done = run("pycron", "status", "--json", "--state-dir", host.state)
        assert done.returncode == 0, done.stderr
        status = json.loads(done.stdout)["cluster"]
        assert (status["name"], status["host"], status["problem"]) == ("test", host.name, None)
        server.stop()
        until(lambda: host.running.log("cluster_problem"), 60)
        done = run("pycron", "status", "--state-dir", host.state)
        assert "cluster" in done.stdout


def _has_ended(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
