"""10,000 Runs through a queue, with two workers, beside Celery alone running the same commands.

Needs PostgreSQL and the broker's server on this machine, and the extras cluster and celery. Prints
for each how many commands ended in a second, the processors' seconds, and a worker's memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.cluster_hosts import hosts
from tests.support.postgres import Postgres, running_postgres
from tests.support.queue_brokers import Broker, running_broker
from tests.support.running_worker import running_worker
from tests.support.waiting import until

_SLOTS = 4  # of each of the two workers
_PATIENCE = 900.0
_TASKS = """
import os, subprocess
from celery import Celery
app = Celery("tasks", broker=os.environ["BROKER"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1)
@app.task(name="run")
def run(path):
    subprocess.run(["sh", "-c", "echo >>" + path], check=True)
"""
_SEND = """
import sys
from tasks import run
for _ in range(int(sys.argv[1])):
    run.delay(sys.argv[2])
"""


def processor_seconds(processes: Iterable[psutil.Process]) -> float:
    """Of these processes, and of their children that have ended."""
    seconds = 0.0
    for process in processes:
        try:
            seconds += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return seconds


def below(*pids: int) -> list[psutil.Process]:
    """These processes and all that descend from them."""
    roots = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return [*roots, *(child for root in roots for child in root.children(recursive=True))]


def megabytes(pid: int) -> float:
    return round(psutil.Process(pid).memory_info().rss / 2**20, 1)


def row(what: str, broker: Broker, runs: int, seconds: float, **more: object) -> str:
    found = {"what": what, "broker": broker.kind, "runs": runs, "seconds": round(seconds, 1),
             "runs_per_second": round(runs / seconds, 1)}  # fmt: skip
    return json.dumps(found | more)


def pycron(runs: int, server: Postgres, broker: Broker) -> str:
    section = (f'broker = "{broker.url}"', "[worker]", 'queues = ["default"]', 'users = ["root"]')
    with (
        tempfile.TemporaryDirectory(prefix="pycron-bench-", dir="/tmp") as directory,
        hosts(Path(directory), server, 2, "@daily true", options=section) as both,
        running_worker(both[0].state, "default", _SLOTS) as first,
        running_worker(both[1].state, "default", _SLOTS) as second,
    ):
        workers = [first.process.pid, second.process.pid]
        servers = [server.pid, *broker.pids()]
        fire = (int(time.time()) // 60 + (1 if time.time() % 60 < 30 else 2)) * 60
        when = time.gmtime(fire)
        lines = [
            f"CRON_NAME=j{n} CRON_ON=queue:default CRON_START_DEADLINE=1h {when.tm_min}"
            f" {when.tm_hour} * * * echo >> $WITNESS"
            for n in range(runs)
        ]
        for host in both:
            host.write(*lines)
        until(lambda: time.time() > fire - 1, 130)
        pids = {
            "daemons": [host.running.process.pid for host in both],
            "runners": [host.runner for host in both],
            "agents": [host.agent for host in both],
            "workers": workers,
            "servers": servers,
        }
        before = {name: processor_seconds(below(*of)) for name, of in pids.items()}
        until(lambda: _ended(server) >= runs, _PATIENCE)
        seconds = time.time() - fire
        cpu = {
            name: round(processor_seconds(below(*of)) - before[name], 1)
            for name, of in pids.items()
        }
        return row("pycron", broker, runs, seconds, cpu=cpu, worker_mb=megabytes(workers[0]))


def _ended(server: Postgres) -> int:
    time.sleep(0.2)
    return int(server.psql("SELECT count(*) FROM pycron.runs WHERE outcome = 'succeeded'"))


def celery(runs: int, broker: Broker) -> str:
    """Two workers of Celery with as many processes; the tasks are there before they begin."""
    with tempfile.TemporaryDirectory(prefix="pycron-bench-", dir="/tmp") as directory:
        place = Path(directory)
        (place / "tasks.py").write_text(_TASKS)
        witness = place / "witness"
        witness.touch()
        environment = {**os.environ, "BROKER": broker.url, "PYTHONPATH": directory}
        subprocess.run([sys.executable, "-c", _SEND, str(runs), str(witness)], env=environment,
                       check=True, cwd=place)  # fmt: skip
        begun = time.time()
        with _celery_workers(place, environment) as workers:
            until(lambda: witness.stat().st_size >= runs, _PATIENCE)
            seconds = time.time() - begun
            cpu = {"workers": round(processor_seconds(below(*workers)), 1)}
            return row("celery", broker, runs, seconds, cpu=cpu, worker_mb=megabytes(workers[0]))


@contextmanager
def _celery_workers(place: Path, environment: dict[str, str]) -> Iterator[list[int]]:
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-c", str(_SLOTS), "-l",
               "WARNING", "--without-gossip", "--without-mingle"]  # fmt: skip
    with (place / "log").open("a") as log:
        both = [
            subprocess.Popen([*command, "-n", f"w{n}@%h"], cwd=place, env=environment, stdout=log,
                             stderr=log)
            for n in range(2)
        ]  # fmt: skip
    try:
        yield [each.pid for each in both]
    finally:
        for each in both:
            each.terminate()
        for each in both:
            each.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--broker", action="append", choices=["redis", "rabbitmq", "sqs"])
    parser.add_argument("--only", choices=["pycron", "celery"])
    options = parser.parse_args()
    for kind in options.broker or ["redis", "rabbitmq"]:
        with running_broker(kind) as broker:
            if options.only != "celery":
                with running_postgres() as server:
                    print(pycron(options.runs, server, broker), flush=True)
            if options.only != "pycron":
                print(celery(options.runs, broker), flush=True)


if __name__ == "__main__":
    main()
