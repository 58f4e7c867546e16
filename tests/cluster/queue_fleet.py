"""Three hosts with a worker each, two queues, a PostgreSQL and a broker, and faults of them all."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from tests.cluster.faults import FAULTS, Fault
from tests.cluster.fleet import OWNER, Fleet
from tests.support.queue_brokers import Broker

_BROKER = "queue-broker"
_RESENT = 200  # messages
_QUEUES = ("default", "gpu", "default.low", "gpu.high")
# The resender runs in a namespace: it gets a URL, and publications as JSON.
_RESEND = """
import json, sys, time
from pycron.cluster.calls import Publication
from pycron.cluster.publisher import Publisher
publisher = Publisher(sys.argv[1], "test")
publisher.send([Publication(*each) for each in json.load(sys.stdin)])
time.sleep(10)
"""


class QueueFleet(Fleet):
    """`kind`: of the broker (tests.support.queue_brokers.KINDS)."""

    hosts: ClassVar = ["queue1", "queue2", "queue3"]
    all_hosts: ClassVar = hosts
    database_host = "queue-db"
    kinds: ClassVar = [
        (8, 0, "CRON_RETRIES=3 CRON_RETRY_DELAY=1s CRON_CONCURRENCY=allow"),
        (6, 8, "CRON_RETRIES=5 CRON_RETRY_DELAY=2s CRON_RETRY_UNTIL=10m CRON_CONCURRENCY=forbid"),
        (4, 40, "CRON_RETRIES=5 CRON_RETRY_DELAY=2s CRON_RETRY_UNTIL=20m CRON_CONCURRENCY=queue"),
        (2, 5, "CRON_RETRIES=2 CRON_POOL=few CRON_CONCURRENCY=allow"),
        (2, 90, "CRON_CONCURRENCY=replace"),
    ]
    marks: ClassVar = Fleet.marks | {"worker": "pycron.cli.pycron --state-dir"}

    def __init__(self, directory: Path, lease: int, kind: str) -> None:
        super().__init__(directory, lease)
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        (directory / "broker").mkdir()
        self.broker = Broker(kind, directory / "broker", self.network.addresses[_BROKER])

    def _further_hosts(self) -> list[str]:
        return [_BROKER]

    def _options(self) -> str:
        return (
            f'broker = "{self.broker.url}"\n[worker]\nqueues = ["default", "gpu"]\n'
            f'users = ["{OWNER}"]\n'
        )

    def where(self, number: int) -> str:
        return f"queue:{_QUEUES[number % len(_QUEUES)]}"

    def start(self) -> None:
        self.start_broker()
        super().start()
        for host in self.hosts:
            self._start_worker(host)

    def start_broker(self) -> None:
        self.broker.start(self.network.inside(_BROKER))

    def cut_broker_off(self) -> None:
        self.network.drop(_BROKER, "both")

    def heal_broker(self) -> None:
        self.network.heal(_BROKER)

    def _start_worker(self, host: str) -> None:
        home = self.directory / host
        command = [sys.executable, "-m", "pycron.cli.pycron", "--state-dir", str(home / "state"),
                   "worker", "--queues", "default,gpu", "--concurrency", "12"]  # fmt: skip
        with (home / "worker.log").open("ab") as log:
            self._workers[host] = subprocess.Popen(
                [*self.network.inside(host), *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def keep_running(self) -> None:
        super().keep_running()
        for host, worker in list(self._workers.items()):
            if worker.poll() is not None:
                self._start_worker(host)

    def resend(self, chance: random.Random) -> None:
        """Send messages again, of Runs that are over, that run and that wait, and of the future."""
        rows = json.loads(
            self.psql(
                "SELECT coalesce(jsonb_agg(jsonb_build_array(owner, name,"
                " extract(epoch FROM fire_time)::bigint, attempt, queue)), '[]') FROM pycron.runs"
            )
        )
        chosen = [chance.choice(rows) for _ in range(_RESENT if rows else 0)]
        sent = [
            (owner, name, fire_time, max(0, attempt - chance.randrange(-1, 3)), queue)
            for owner, name, fire_time, attempt, queue in chosen
        ]
        command = [*self.network.inside(_BROKER), sys.executable, "-c", _RESEND, self.broker.url]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as resender:
            assert resender.stdin is not None
            json.dump(sent, resender.stdin)

    def stop(self) -> None:
        for worker in self._workers.values():
            worker.kill()
        super().stop()
        self.broker.stop()


def _of_queues(fleet: Fleet) -> QueueFleet:
    assert isinstance(fleet, QueueFleet)
    return fleet


def _resend(fleet: Fleet, _host: str) -> None:
    _of_queues(fleet).resend(random.Random())


def _kill_broker(fleet: Fleet, _host: str) -> None:
    _of_queues(fleet).broker.kill()


def _start_broker(fleet: Fleet, _host: str) -> None:
    _of_queues(fleet).start_broker()


def _send_to_broker(number: signal.Signals) -> Callable[[Fleet, str], None]:
    return lambda fleet, _: _of_queues(fleet).broker.send(number)


def _nothing(_fleet: Fleet, _host: str) -> None:
    pass


_NOT_HERE = ("a way of five seconds", "add a host", "fill the disk", "the database's clock")

QUEUE_FAULTS = [
    *(each for each in FAULTS if not each.name.startswith(_NOT_HERE)),
    Fault("kill the worker", lambda fleet, host: fleet.send(host, "worker", signal.SIGKILL),
          _nothing, 5),
    Fault("end the worker", lambda fleet, host: fleet.send(host, "worker", signal.SIGTERM),
          _nothing, 5),
    Fault("stop the worker", lambda fleet, host: fleet.send(host, "worker", signal.SIGSTOP),
          lambda fleet, host: fleet.send(host, "worker", signal.SIGCONT), 45),
    Fault("kill the broker", _kill_broker, _start_broker, 20),
    Fault("stop the broker", _send_to_broker(signal.SIGSTOP), _send_to_broker(signal.SIGCONT), 45),
    Fault("cut the broker off", lambda fleet, _: _of_queues(fleet).cut_broker_off(),
          lambda fleet, _: _of_queues(fleet).heal_broker(), 45),
    Fault("send messages again", _resend, _nothing, 5),
    Fault("send messages again and kill the worker", _resend,
          lambda fleet, host: fleet.send(host, "worker", signal.SIGKILL), 1),
]  # fmt: skip
