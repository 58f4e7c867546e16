"""Queue Jobs with real daemons, runners, agents and PostgreSQL; the test plays the broker."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pycron.system.accounts import own_account
from tests.support.cluster_hosts import Host, hosts, rows, wait_for_rows
from tests.support.postgres import Postgres, is_here, running_postgres
from tests.support.running_daemon import run
from tests.support.waiting import until
from tests.support.worker_requests import Conversation, serve, work

pytest.importorskip("psycopg")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_here(), reason="needs PostgreSQL"),
    pytest.mark.xdist_group("shared_jobs"),
]

WORKER = f'[worker]\nqueues = ["default"]\nusers = ["{own_account().name}"]'
IDLE = "@daily true"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def server(postgres: Postgres) -> Iterator[Postgres]:
    yield postgres
    postgres.empty()


def queued(command: str, *settings: str, queue: str = "default") -> str:
    return f"CRON_NAME=x CRON_ON=queue:{queue} {' '.join(settings)} @every 2s {command}"


def message_of(server: Postgres, **change: Any) -> dict[str, Any]:
    """What the broker would say of the Run."""
    wait_for_rows(server, "state = 'waiting'")
    columns = "owner, name, extract(epoch FROM fire_time)::bigint, attempt, queue"
    owner, name, fire, attempt, queue = rows(server, columns, "state = 'waiting'")[0]
    numbers = {"fire_time": int(fire), "attempt": int(attempt)}
    return {"owner": owner, "name": name, "queue": queue, **numbers, **change}


def test_a_worker_of_a_host_without_the_entry_runs_it(tmp_path: Path, server: Postgres) -> None:
    """With its variables, input and settings, and once, however many messages there are."""
    command = 'sh -c "cat; echo $GREETING $CRON_ATTEMPT" >> $WITNESS%from stdin'
    with hosts(tmp_path, server, 2, IDLE, options=(WORKER,)) as (first, second):
        first.write("GREETING=hello", queued(command))
        message = message_of(server)
        first.write()
        answers = work(second.state, message)
        taken = answers.next()
        assert (taken["type"], taken["attempt"]) == ("taken", 1)
        assert work(second.state, message).next()["type"] == "refused"
        assert answers.next() == {"ok": True, "type": "done", "outcome": "succeeded",
                                  "reason": None}  # fmt: skip
        # `$WITNESS` is a variable of the table, so the command wrote to the claimant's file.
        assert first.lines() == ["from stdin", "hello 1"]
        assert work(first.state, message).next()["again"] is False
        shown = run("pycron", "show", taken["run_id"], "--state-dir", second.state)
        assert "queue:default" in shown.stdout
        (row,) = rows(server, "state, outcome, host, attempt", "outcome = 'succeeded'")
        assert row == ["ended", "succeeded", second.name, "1"]


def test_a_retry_waits_in_the_queue_again(tmp_path: Path, server: Postgres) -> None:
    retries = ("CRON_RETRIES=1", "CRON_RETRY_DELAY=1s", "CRON_RETRY_JITTER=0",
               "CRON_RETRY_UNTIL=never")  # fmt: skip
    with hosts(tmp_path, server, 1, IDLE, options=(WORKER,)) as (host,):
        host.write(queued("exit $((2 - CRON_ATTEMPT))", *retries))
        message = message_of(server)
        host.write()
        answers = work(host.state, message)
        assert answers.next()["type"] == "taken"
        assert answers.next()["outcome"] == "failed"
        wait_for_rows(server, "state = 'waiting' AND attempt = 1")
        again = message_of(server)
        until(lambda: work(host.state, again).next()["type"] == "taken", 20)
        wait_for_rows(server, "outcome = 'succeeded' AND attempt = 2")


def test_what_the_configuration_does_not_allow(tmp_path: Path, server: Postgres) -> None:
    """A hostile message is refused, and nothing of it reaches a row of another Run."""
    with hosts(tmp_path, server, 1, IDLE, options=(WORKER,)) as (host,):
        host.write(queued("true", queue="other"))
        message = message_of(server)
        host.write()
        cases: list[tuple[dict[str, Any], str]] = [
            ({}, "the queue other is not in worker.queues"),
            ({"queue": "default"}, "it is not in this queue"),
            ({"queue": "default", "owner": "nobody"}, "the user nobody is not in worker.users"),
            ({"queue": "default", "name": "y"}, "there is no such run"),
        ]
        for change, reason in cases:
            answer = work(host.state, message, **change).next()
            assert (answer["type"], answer["reason"]) == ("refused", reason)
            assert answer["again"] is False
        for bad in ({"cluster": "prod"}, {"name": "a b"}, {"fire_time": 2**40}, {"owner": ""}):
            assert work(host.state, message, **bad).next()["ok"] is False
        assert host.running.log("work_refused")[0]["reason"] == cases[0][1]
        wait_for_rows(server, "refusal LIKE '%worker.queues%'")
        assert rows(server, "state, attempt", "name = 'x'")[0] == ["waiting", "0"]


def test_a_row_that_describes_no_job(tmp_path: Path, server: Postgres) -> None:
    with hosts(tmp_path, server, 1, IDLE, options=(WORKER,)) as (host,):
        host.write(queued("true"))
        message = message_of(server)
        host.write()
        change = "jsonb_build_object('job', '{\"command\": 1}')"
        server.psql(f"UPDATE pycron.runs SET spec = spec || {change} WHERE state = 'waiting'")
        answer = work(host.state, message).next()
        assert (answer["type"], answer["outcome"]) == ("done", "failed")
        assert "cannot be run here: bad" in answer["reason"]
        wait_for_rows(server, "outcome = 'failed' AND reason LIKE '%bad%'")


def test_a_worker_of_an_older_version(tmp_path: Path, server: Postgres) -> None:
    with hosts(tmp_path, server, 1, IDLE, options=(WORKER,)) as (host,):
        host.write(queued("true"))
        message = message_of(server)
        host.write()
        newer = """'{"version": 99, "pycron": "9.9"}'::jsonb"""
        server.psql(f"UPDATE pycron.runs SET spec = spec || {newer} WHERE state = 'waiting'")
        answer = work(host.state, message).next()
        assert (answer["type"], answer["reason"]) == ("refused", "it needs pycron 9.9")
        wait_for_rows(server, "refusal = 'host1: it needs pycron 9.9'")


def resumed(host: Host, message: dict[str, Any]) -> Conversation | None:
    """What a worker hears that asks again; None if the daemon does not listen yet."""
    try:
        answers = work(host.state, message, resume=True)
        return answers if answers.next()["type"] == "taken" else None
    except OSError:
        return None


def test_a_killed_daemon_goes_on_with_its_work(tmp_path: Path, server: Postgres) -> None:
    """The Attempt goes on; the worker asks again, and hears how it ended; the retry is due."""
    retries = ("CRON_RETRIES=1", "CRON_RETRY_DELAY=1s", "CRON_RETRY_UNTIL=never")
    command = (
        "echo $CRON_ATTEMPT >> $WITNESS; while test ! -e $WITNESS.go; do sleep 0.1; done; exit 1"
    )
    with hosts(tmp_path, server, 1, IDLE, options=(WORKER,)) as (host,):
        host.write(queued(command, *retries))
        message = message_of(server)
        host.write()
        first = work(host.state, message)
        assert first.next()["type"] == "taken"
        until(host.lines)
        host.running.kill()
        host.start()
        until(lambda: any(line["pid"] == host.running.process.pid
                          for line in host.running.log("daemon_started")))  # fmt: skip
        answers = until(lambda: resumed(host, message))
        host.witness.with_name("witness.go").touch()
        assert answers.next()["outcome"] == "failed"
        wait_for_rows(server, "state = 'waiting' AND attempt = 1")
        assert host.lines() == ["1"]


def test_kill_ends_it_wherever_it_is(tmp_path: Path, server: Postgres) -> None:
    with hosts(tmp_path, server, 2, IDLE, options=(WORKER,)) as (first, second):
        line = queued("sleep 600")
        first.write(line)
        message = message_of(server)
        answers = work(second.state, message)
        taken = answers.next()
        done = run("pycron", "kill", taken["run_id"], "--state-dir", first.state)
        assert done.returncode == 0, done.stderr
        assert answers.next()["outcome"] == "cancelled"
        wait_for_rows(server, "outcome = 'cancelled' AND attempt = 1")
        waiting = message_of(server)
        assert waiting["fire_time"] > message["fire_time"]
        fire = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(waiting["fire_time"]))
        run_id = f"{taken['run_id'].split('-')[0]}-{fire}"
        assert run("pycron", "kill", run_id, "--state-dir", first.state).returncode == 0
        wait_for_rows(server, "outcome = 'cancelled' AND attempt = 0")
        done = run("pycron", "kill", run_id, "--state-dir", first.state)
        assert done.returncode == 1
        assert "no such run that has not ended" in done.stderr


def test_what_workers_serve(tmp_path: Path, server: Postgres) -> None:
    with hosts(tmp_path, server, 1, IDLE, options=(WORKER,)) as (host,):
        answers = serve(host.state, "default,gpu")
        said = answers.next()
        while said["reason"]:
            said = answers.next()
        assert (said["queues"], said["refused"]) == (["default"], ["gpu"])
        workers = "jsonb_array_length(info->'workers')"
        until(lambda: server.psql(f"SELECT {workers} FROM pycron.hosts") == "1", 30)
        host.config.write_text(host.config.read_text().replace('"default"', '"gpu"'))
        host.running.signal(signal.SIGHUP)
        said = answers.next()
        assert (said["queues"], said["refused"]) == (["gpu"], ["default"])
        server.psql("UPDATE pycron.hosts SET drained = true")
        said = answers.next()
        assert (said["queues"], said["reason"]) == ([], "this host is drained")
        answers.close()
        host.running.wait_for("worker_left")
        until(lambda: server.psql(f"SELECT {workers} FROM pycron.hosts") == "0", 30)


def test_without_a_worker_it_is_missed(tmp_path: Path, server: Postgres) -> None:
    with hosts(tmp_path, server, 1, IDLE, options=(WORKER,)) as (host,):
        host.write(queued("true"))
        message_of(server)
        host.write()
        server.psql("UPDATE pycron.runs SET expires = clock_timestamp() WHERE state = 'waiting'")
        wait_for_rows(server, "outcome = 'missed'")
        (reason,) = rows(server, "reason", "outcome = 'missed'")[0]
        assert reason.startswith("no worker of the queue default took it in time; no host has")


def test_the_result_is_in_the_row(tmp_path: Path, server: Postgres) -> None:
    with hosts(tmp_path, server, 1, IDLE, options=(WORKER,)) as (host,):
        host.write(queued("echo printed; exit 3"))
        answers = work(host.state, message_of(server))
        host.write()
        assert answers.next()["type"] == "taken"
        assert answers.next()["outcome"] == "failed"
        wait_for_rows(server, "outcome = 'failed'")
        text = "convert_from(decode(output, 'base64'), 'UTF8')"
        columns = f"trim(E'\\n' FROM {text}), result::text"
        output, result = rows(server, columns, "outcome = 'failed'")[0]
        assert output == "printed"
        found = json.loads(result)
        assert (found["exit_status"], found["output_bytes"]) == (3, 8)


def test_what_became_of_it_can_be_seen_on_any_host(tmp_path: Path, server: Postgres) -> None:
    with hosts(tmp_path, server, 2, IDLE, options=(WORKER,)) as (first, second):
        first.write(queued("echo printed; exit 3"))
        message = message_of(server)
        answers = work(second.state, message)
        first.write(IDLE)
        run_id = answers.next()["run_id"]
        assert answers.next()["outcome"] == "failed"
        wait_for_rows(server, "outcome = 'failed'")
        ask = ("--cluster", "--config", first.config)
        assert run("pycron", "log", run_id, *ask).stdout == "printed\n"
        shown = json.loads(run("pycron", "show", run_id, "--json", *ask).stdout)
        local = json.loads(run("pycron", "runs", "--json", "--state-dir", second.state).stdout)
        assert local.keys() - {"dead", "delivery", "about", "zone"} <= shown.keys()
        same = ("run_id", "job", "user", "fire_time", "started", "ended", "attempts", "outcome",
                "exit_status", "signal", "lateness_ms", "cpu_seconds", "memory_peak_bytes",
                "reason")  # fmt: skip
        assert {key: shown[key] for key in same} == {key: local[key] for key in same}
        assert (shown["host"], shown["queue"]) == (second.name, "default")
        page = run("pycron", "show", "x", *ask).stdout
        assert "printed" in page
        when = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(message["fire_time"]))
        assert second.name in run("pycron", "why", "x", when, *ask).stdout
        done = run("pycron", "cluster", "queues", "--json", "--config", first.config)
        assert done.returncode == 0, done.stderr
