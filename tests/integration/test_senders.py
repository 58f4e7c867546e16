"""CRON_SEND with real brokers, real workers of Celery and RQ, and a real daemon."""

import base64
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pycron
from tests.support.brokers import (
    PASSWORD,
    QUOTED,
    RedisServer,
    free_port,
    needs_redis,
    redis_server,
)
from tests.support.queue_brokers import is_here, running_broker
from tests.support.running_daemon import RunningDaemon, foreground, run
from tests.support.thoroughness import slow_after
from tests.support.waiting import until

ROOT = Path(pycron.__file__).resolve().parents[1]
ID = "0123abcd-0123-8123-a123-0123456789ab"
HEADERS = {"cron_job": "s", "cron_run_id": "0123-x", "cron_fire_time": "2026-03-08T07:00:00Z"}
TASKS = """\
import json, os
from celery import Celery
app = Celery(broker=os.environ["BROKER"], set_as_current=False)
app.conf.update(accept_content=["json"], task_ignore_result=True)
@app.task(bind=True, name="shop.tasks.refresh")
def refresh(self, *args, **kwargs):
    headers = {name: self.request.get(name) for name in ("cron_run_id", "cron_fire_time")}
    row = {"id": self.request.id, "args": args, "kwargs": kwargs, **headers}
    with open(os.environ["RAN"], "a") as file:
        file.write(json.dumps(row) + "\\n")
def function(*args, **kwargs):
    from rq import get_current_job
    job = get_current_job()
    row = {"id": job.id, "args": args, "kwargs": kwargs, **job.meta}
    with open(os.environ["RAN"], "a") as file:
        file.write(json.dumps(row) + "\\n")
"""

needs_celery = pytest.mark.skipif(importlib.util.find_spec("celery") is None, reason="needs celery")
needs_rq = pytest.mark.skipif(importlib.util.find_spec("rq") is None, reason="needs rq")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as server:
        yield server


def sent(kind: str, url: str, *receipt: Path, **more: Any) -> tuple[int, str]:
    """Run the program that sends a message: its exit status, and what it printed."""
    request = {"kind": kind, "url": url, "queue": "shop", "task": "shop.tasks.refresh",
               "arguments": [1], "named": {"days": 3}, "id": ID, "headers": HEADERS}  # fmt: skip
    request |= more
    done = subprocess.run(
        [sys.executable, "-s", "-P", "-m", "pycron.sender", *map(str, receipt)],
        input=json.dumps(request) + "\n", env={"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    assert done.stdout == ""
    for secret in (PASSWORD, QUOTED, "pass:word", "word@"):
        assert secret not in done.stderr
    return done.returncode, done.stderr


def ran(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def worker(directory: Path, url: str, *arguments: str) -> "subprocess.Popen[bytes]":
    (directory / "tasks.py").write_text(TASKS)
    environment = os.environ | {"BROKER": url, "RAN": str(directory / "ran"), "PYTHONPATH": ""}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=directory, env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


# ---- the program


@needs_redis
@needs_celery
def test_a_worker_of_celery_gets_the_message(redis: RedisServer, tmp_path: Path) -> None:
    assert sent("celery", redis.url) == (0, "")
    celery = worker(tmp_path, redis.url, "celery", "-A", "tasks", "worker", "-Q", "shop",
                    "--pool", "solo", "--without-gossip", "--without-mingle")  # fmt: skip
    try:
        (row,) = until(lambda: ran(tmp_path / "ran"), patience=30)
    finally:
        celery.terminate()
        celery.wait(30)
    assert row == {
        "id": ID, "args": [1], "kwargs": {"days": 3},
        "cron_run_id": "0123-x", "cron_fire_time": "2026-03-08T07:00:00Z",
    }  # fmt: skip


@pytest.mark.slow
@needs_redis
@needs_rq
def test_a_worker_of_rq_gets_the_message_once(redis: RedisServer, tmp_path: Path) -> None:
    for _ in range(2):  # the second time as after an Attempt that was lost
        assert sent("rq", redis.url, task="tasks.function") == (0, "")
    rq = worker(tmp_path, redis.url, "rq.cli", "worker", "--burst", "-u", redis.url, "shop")
    assert rq.wait(60) == 0
    (row,) = ran(tmp_path / "ran")
    assert row == {"id": ID, "args": [1], "kwargs": {"days": 3}, **HEADERS}


@needs_redis
@needs_celery
def test_an_attempt_after_a_lost_one_sends_nothing_if_that_has_sent(
    redis: RedisServer, tmp_path: Path
) -> None:
    receipt = tmp_path / "receipt"
    for _ in range(2):
        assert sent("celery", redis.url, receipt) == (0, "")
    assert len(queued(redis)) == 1


def queued(redis: RedisServer, queue: str = "shop") -> list[dict[str, Any]]:
    """The messages of Celery that wait in a queue."""
    from redis import Redis

    with Redis.from_url(redis.url) as client:
        return [json.loads(text) for text in client.lrange(queue, 0, -1)]


@needs_redis
@needs_celery
@needs_rq
@pytest.mark.parametrize("kind", slow_after(1, ["celery", "rq"]))
def test_brokers_that_refuse(kind: str, redis: RedisServer) -> None:
    """No password is shown, also not a wrong one."""
    status, said = sent(kind, redis.url.replace(QUOTED, "wr0ng%40x"))
    assert status == os.EX_TEMPFAIL
    assert said.startswith(f"redis://127.0.0.1:{redis.port}: invalid username-password pair")
    nobody = f"redis://:{QUOTED}@127.0.0.1:{free_port()}/0"
    status, said = sent(kind, nobody)
    assert status == os.EX_TEMPFAIL
    assert "Connection refused" in said


@pytest.mark.slow
@pytest.mark.skipif(not is_here("rabbitmq"), reason="needs RabbitMQ")
def test_rabbitmq() -> None:
    """A queue that nobody has made loses no message: it is a failure."""
    from kombu import Connection, Exchange, Queue

    with running_broker("rabbitmq") as server:
        status, said = sent("celery", server.url)
        assert status == os.EX_TEMPFAIL
        assert "NO_ROUTE" in said
        with Connection(server.url) as connection:
            quorum = {"x-queue-type": "quorum"}
            queue = Queue("shop", Exchange(""), queue_arguments=quorum, channel=connection)
            queue.queue_declare()
            assert sent("celery", server.url) == (0, "")
            message = until(queue.get)
            assert message.headers["id"] == ID
            assert message.headers["cron_run_id"] == "0123-x"
            message.ack()
        status, said = sent("celery", server.url.replace("guest:guest", f"guest:{QUOTED}"))
        assert status == os.EX_TEMPFAIL
        assert "ACCESS_REFUSED" in said


@pytest.mark.slow
@pytest.mark.skipif(not is_here("sqs"), reason="needs moto, which plays SQS")
def test_sqs() -> None:
    """The region is in the address, because the program has no environment of AWS."""
    import boto3

    with running_broker("sqs") as server:
        assert sent("celery", f"{server.url}?region=eu-central-1&is_secure=false") == (0, "")
        sqs = boto3.client(
            "sqs", endpoint_url=f"http://127.0.0.1:{server.port}", region_name="eu-central-1",
            aws_access_key_id="x", aws_secret_access_key="x",
        )  # fmt: skip
        (url,) = sqs.list_queues()["QueueUrls"]
        (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert json.loads(base64.b64decode(message["Body"]))["headers"]["id"] == ID


@pytest.mark.parametrize("kind", ["celery", "rq"])
def test_a_library_that_is_missing(kind: str, tmp_path: Path) -> None:
    for name in ("celery", "rq", "kombu"):
        (tmp_path / f"{name}.py").write_text("raise ImportError\n")
    request = {"kind": kind, "url": "redis://h", "queue": "q", "task": "t", "arguments": [],
               "named": {}, "id": ID, "headers": {}}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-s", "-P", "-m", "pycron.sender"], input=json.dumps(request) + "\n",
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = f"{kind} is not installed: pip install 'pycrond[{kind}]'\n"
    assert (done.returncode, done.stderr) == (os.EX_UNAVAILABLE, said)


# ---- the daemon


def config(directory: Path, url: str, kind: str = "celery") -> Path:
    path = directory / "pycron.toml"
    path.write_text(f'[senders.shop]\n{kind} = "{url}"\nqueue = "shop"\n')
    return path


@needs_redis
@needs_celery
def test_a_job_sends_its_message(redis: RedisServer, tmp_path: Path) -> None:
    """One for each fire time, under the id of that Run, and nothing is printed."""
    table = 'CRON_NAME=s CRON_SEND=shop @every 1s shop.tasks.refresh {"days": 3}\n'
    with foreground(table, tmp_path, "--config", config(tmp_path, redis.url)) as daemon:
        daemon.wait_for("attempt_ended", outcome="succeeded", count=3)
        rows = runs(daemon, tmp_path)
        secrets_of(daemon, tmp_path)
    done = {row["run_id"] for row in rows if row["outcome"] == "succeeded"}
    messages = [each["headers"] for each in queued(redis)]
    assert len({each["id"] for each in messages}) == len(messages) >= len(done) >= 3
    assert done <= {each["cron_run_id"] for each in messages}
    assert {each["task"] for each in messages} == {"shop.tasks.refresh"}
    assert run("pycron", "log", min(done), "--state-dir", tmp_path / "state").stdout == ""


def runs(daemon: RunningDaemon, directory: Path) -> list[dict[str, Any]]:
    done = run("pycron", "runs", "--json", "--state-dir", directory / "state")
    return [json.loads(line) for line in done.stdout.splitlines()]


def secrets_of(daemon: RunningDaemon, directory: Path) -> None:
    """Neither the log nor any verb shows the password, nor do files that others could read."""
    state = directory / "state"
    texts = [json.dumps(daemon.log())]
    for verb in (["list"], ["list", "--json"], ["runs", "--json"], ["show", "s"], ["status"],
                 ["why", "s", "now"]):  # fmt: skip
        done = run("pycron", *verb, "--state-dir", state)
        texts.append(done.stdout + done.stderr)
    texts += [each.read_bytes().decode("latin-1") for each in state.rglob("*") if each.is_file()]
    for secret in (PASSWORD, QUOTED):
        assert not [text for text in texts if secret in text]


@pytest.mark.slow
@needs_redis
@needs_celery
def test_a_broker_that_comes_back(redis: RedisServer, tmp_path: Path) -> None:
    """Its Run is a failure, is tried again, and succeeds, under one id."""
    redis.kill()
    table = ("CRON_RETRIES=100 CRON_RETRY_DELAY=1s CRON_RETRY_UNTIL=never CRON_NAME=s"
             " CRON_SEND=shop @yearly shop.tasks.refresh\n")  # fmt: skip
    with foreground(table, tmp_path, "--config", config(tmp_path, redis.url)) as daemon:
        assert run("pycron", "start", "s", "--state-dir", tmp_path / "state").returncode == 0
        daemon.wait_for("attempt_ended", outcome="failed")
        (row,) = runs(daemon, tmp_path)
        assert row["outcome"] is None
        state = tmp_path / "state"
        log = run("pycron", "log", row["run_id"], "--attempt", "1", "--state-dir", state).stdout
        assert "Connection refused" in log
        redis.start()
        daemon.wait_for("attempt_ended", outcome="succeeded")
        secrets_of(daemon, tmp_path)
    (message,) = queued(redis)
    assert message["headers"]["cron_run_id"] == row["run_id"]


@needs_redis
@needs_celery
def test_a_runner_that_is_killed_while_a_message_is_sent(
    redis: RedisServer, tmp_path: Path
) -> None:
    """The program goes on. The next Attempt waits for it, and does not send the message again."""
    table = ("CRON_RETRIES=100 CRON_RETRY_DELAY=1s CRON_RETRY_UNTIL=never CRON_NAME=s"
             " CRON_SEND=shop @yearly shop.tasks.refresh\n")  # fmt: skip
    with foreground(table, tmp_path, "--config", config(tmp_path, redis.url)) as daemon:
        redis.signal(signal.SIGSTOP)  # the broker accepts the connection, and says nothing
        assert run("pycron", "start", "s", "--state-dir", tmp_path / "state").returncode == 0
        pid = daemon.wait_for("attempt_started")["pid"]
        until(lambda: "pycron.sender" in Path(f"/proc/{pid}/cmdline").read_text())
        until(lambda: _receipts(tmp_path))
        os.kill(daemon.log("runner_started")[-1]["pid"], signal.SIGKILL)
        daemon.wait_for("attempt_lost")
        daemon.wait_for("attempt_started", attempt=2)
        redis.signal(signal.SIGCONT)
        daemon.wait_for("attempt_ended", outcome="succeeded")
    assert len(queued(redis)) == 1


def _receipts(directory: Path) -> list[Path]:
    return [each for each in (directory / "state").rglob("receipts/*/*") if each.is_file()]


@needs_celery
def test_a_section_that_has_gone(tmp_path: Path) -> None:
    """A reload takes the sender away: the table is bad now, and nothing becomes a command."""
    table = "CRON_NAME=s CRON_SEND=shop @every 1s touched\n"
    path = config(tmp_path, f"redis://127.0.0.1:{free_port()}")
    with foreground(table, tmp_path, "--config", path) as daemon:
        daemon.wait_for("attempt_ended", outcome="failed")
        path.write_text("")
        assert run("pycron", "reload", "--state-dir", tmp_path / "state").returncode == 0
        table_bad = daemon.wait_for("table_bad")
        until(lambda: [line for line in daemon.log() if "any more" in str(line.get("reason"))])
    assert not (tmp_path / "touched").exists()
    assert table_bad["table"].endswith("/table")
