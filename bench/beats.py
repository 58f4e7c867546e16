"""Two Celery Beats, two RedBeats and two pycrons with CRON_SEND, killed, stopped and restarted.

    python bench/beats.py [--minutes N] [--seed N] [--directory DIRECTORY]

Each pair has the same twenty tasks, due every minute, and sends to its own database of one Redis
server. At the same moments, one or both of each pair are killed or stopped for some seconds, or the
broker is killed. Then it is counted which messages came: for each task and minute there should be
one. It needs redis-server, PostgreSQL and the packages celery[redis], celery-redbeat and psycopg.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from redis import Redis, RedisError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.brokers import RedisServer, redis_server
from tests.support.cluster_hosts import Host
from tests.support.postgres import Postgres, running_postgres
from tests.support.running_daemon import run

TASKS = 20
QUEUE = "beats"
CALM = 150  # seconds without faults at the end: a lost Run of a dead host is taken over within 75
APP = """\
import os
from celery import Celery
from celery.schedules import crontab
app = Celery("beats", broker=os.environ["BROKER"])
app.conf.update(
    timezone="UTC", task_default_queue="beats", redbeat_redis_url=os.environ["BROKER"],
    redbeat_lock_timeout=10, beat_max_loop_interval=2,
    beat_schedule={f"t{n}": {"task": f"t{n}", "schedule": crontab()} for n in range(20)},
)
"""


class Member(Protocol):
    """One of a pair. `kill` takes what a crash takes; `start` starts what is not running."""

    def start(self) -> None: ...
    def kill(self, chance: random.Random) -> str: ...
    def signal(self, number: signal.Signals) -> None: ...
    def close(self) -> None: ...


class Beat:
    """A process of `celery beat`, as a service manager would run it."""

    def __init__(self, directory: Path, name: str, url: str, *options: str) -> None:
        self._command = [
            sys.executable, "-m", "celery", "-A", "beats_app", "beat", "-l", "INFO",
            "--schedule", str(directory / f"{name}.schedule"),
            "--pidfile", "", *options,
        ]  # fmt: skip
        self._directory, self._name = directory, name
        self._environment = os.environ | {"BROKER": url, "PYTHONPATH": str(directory)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        with (self._directory / f"{self._name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._directory, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self, chance: random.Random) -> str:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        return "beat"

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Pycron:
    """A host with pycron: the daemon, its runner and its agent."""

    def __init__(self, directory: Path, name: str, address: str, url: str) -> None:
        self.host = Host(directory / name, name, address, "lease = 15")
        with self.host.config.open("a") as config:
            config.write(f'[senders.beats]\ncelery = "{url}"\nqueue = "{QUEUE}"\n')
        lines = [f"CRON_NAME=t{n} * * * * * t{n}" for n in range(TASKS)]
        self.host.write(
            "CRON_SEND=beats CRON_ON=any CRON_CONCURRENCY=allow CRON_RETRIES=20 CRON_RETRY_DELAY=1s"
            " CRON_RETRY_DELAY_MAX=5s CRON_RETRY_UNTIL=5m",
            *lines,
        )

    def start(self) -> None:
        if self.host.daemon is None or self.host.daemon.process.poll() is not None:
            self.host.start()

    def kill(self, chance: random.Random) -> str:
        """The daemon, the runner, the agent, or all of them: what they started goes on."""
        what = chance.choice(("daemon", "runner", "agent", "all"))
        pids = {"daemon": self.host.running.process.pid}
        with suppress(IndexError):  # it has not started them yet
            pids |= {"runner": self.host.runner, "agent": self.host.agent}
        killed = [pid for name, pid in pids.items() if what in (name, "all")]
        for pid in killed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.host.running.process.pid in killed:
            self.host.running.process.wait()
        return what

    def signal(self, number: signal.Signals) -> None:
        if self.host.running.process.poll() is None:
            self.host.running.signal(number)

    def close(self) -> None:
        self.host.stop()


@dataclass
class Pair:
    """Two that have the same tasks, and what came of them: (task, second of arrival, headers)."""

    name: str
    members: list[Member]
    database: int
    came: list[tuple[str, float, dict[str, Any]]] = field(default_factory=list)

    def supervise(self, down: set[int]) -> None:
        """Start what has ended, as a service manager does."""
        for number, member in enumerate(self.members):
            if number not in down:
                member.start()


class Collector(threading.Thread):
    """Takes each message of a pair as soon as it is there."""

    def __init__(self, pair: Pair, server: RedisServer) -> None:
        super().__init__(daemon=True)
        self._pair, self._server = pair, server
        self.is_over = False

    def run(self) -> None:
        client = Redis.from_url(url_of(self._server, self._pair.database), socket_timeout=10)
        while not self.is_over:
            try:
                found = client.blpop([QUEUE], timeout=1)
            except (RedisError, OSError):
                time.sleep(0.2)
                continue
            if found:
                headers = json.loads(found[1])["headers"]
                self._pair.came.append((headers["task"], time.time(), headers))


def url_of(server: RedisServer, database: int) -> str:
    return server.url.removesuffix("/0") + f"/{database}"


# ---- faults


class Faults:
    """The same faults for each pair, one after the other, from one random number generator."""

    def __init__(self, pairs: list[Pair], server: RedisServer, seed: int) -> None:
        self._pairs, self._server = pairs, server
        self._chance = random.Random(seed)
        self._down: set[int] = set()
        self.counts: Counter[str] = Counter()
        self.diary: list[str] = []

    def wait(self, seconds: float) -> None:
        """Meanwhile what has ended is started again."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for pair in self._pairs:
                pair.supervise(self._down)
            time.sleep(0.5)

    def one(self) -> None:
        """One fault: at the end everything is as before."""
        faults: list[Callable[[], None]] = [self._kill, self._kill, self._kill_both, self._stop,
                                            self._broker]  # fmt: skip
        self._wait_near_a_minute()
        fault = self._chance.choice(faults)
        name = fault.__name__.strip("_")
        self.counts[name] += 1
        began = time.time()
        fault()
        self.diary.append(f"{_clock(began)} to {_clock(time.time())} {name}")

    def _wait_near_a_minute(self) -> None:
        """Half of the faults come around a full minute, when there is something to break."""
        if self._chance.random() < 0.5:
            self.wait(self._chance.uniform(5, 20))
        else:
            self.wait((60 - time.time() % 60 + self._chance.uniform(-1, 3)) % 60)

    def _kill(self, *numbers: int) -> None:
        numbers = numbers or (self._chance.randrange(2),)
        self._down = set(numbers)
        for pair in self._pairs:
            for number in numbers:
                pair.members[number].kill(self._chance)
        self.wait(self._chance.uniform(0, 12))
        self._down = set()

    def _kill_both(self) -> None:
        self._kill(0, 1)

    def _stop(self) -> None:
        number = self._chance.randrange(2)
        for pair in self._pairs:
            pair.members[number].signal(signal.SIGSTOP)
        time.sleep(self._chance.uniform(3, 20))
        for pair in self._pairs:
            pair.members[number].signal(signal.SIGCONT)

    def _broker(self) -> None:
        self._server.kill()
        self.wait(self._chance.uniform(1, 8))
        self._server.start()


# ---- the judge


def judged(pair: Pair, begin: int, end: int) -> dict[str, int]:
    """Count the messages that came for each task and each minute in [begin, end).

    pycron says which fire time a message is for. With Beat only the minute of its arrival is known,
    so a message that is a minute late counts as one that is lost and one that came twice.
    """
    wanted = {(f"t{n}", minute) for n in range(TASKS) for minute in range(begin, end, 60)}
    counts = Counter(key for key in map(_key, pair.came) if key in wanted)
    ids = Counter((_key(each), each[2]["id"]) for each in pair.came)
    recognised = sum(count - 1 for (key, _), count in ids.items() if key in wanted)
    return {
        "wanted": len(wanted),
        "came": sum(counts.values()),
        "doubled": sum(count - 1 for count in counts.values()),
        "of these with one id": recognised,
        "lost": len(wanted - set(counts)),
    }


def doubled(pairs: list[Pair]) -> Iterator[str]:
    """When the messages came that came twice."""
    for pair in pairs:
        counts = Counter(map(_key, pair.came))
        for task, arrived, headers in pair.came:
            if counts[_key((task, arrived, headers))] > 1:
                yield f"{pair.name}: {task} at {_clock(arrived)}, id {headers['id']}"


def _clock(instant: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(instant)) + f".{int(instant * 1000) % 1000:03}"


def _key(message: tuple[str, float, dict[str, Any]]) -> tuple[str, int]:
    task, arrived, headers = message
    fire = headers.get("cron_fire_time")
    if fire is None:
        return task, int(arrived) // 60 * 60
    return task, int(time.mktime(time.strptime(fire, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone)


# ---- all of it


def pairs_in(directory: Path, server: RedisServer, postgres: Postgres) -> list[Pair]:
    (directory / "beats_app.py").write_text(APP)
    urls = [url_of(server, database) for database in range(4)]
    address = postgres.address()
    pycrons: list[Member] = [Pycron(directory, f"host{n}", address, urls[3]) for n in (1, 2)]
    first = pycrons[0]
    assert isinstance(first, Pycron)
    done = run("pycron", "cluster", "init", "--config", first.host.config)
    assert done.returncode == 0, done.stderr
    beats: list[Member] = [Beat(directory, f"beat{n}", urls[1]) for n in (1, 2)]
    redbeats: list[Member] = [
        Beat(directory, f"redbeat{n}", urls[2], "-S", "redbeat.RedBeatScheduler") for n in (1, 2)
    ]
    return [Pair("Celery Beat", beats, 1), Pair("RedBeat", redbeats, 2), Pair("pycron", pycrons, 3)]


def measure(minutes: int, seed: int, directory: Path) -> Iterator[str]:
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        server = stack.enter_context(redis_server(directory / "redis", durable=True))
        pairs = pairs_in(directory, server, postgres)
        for pair in pairs:
            for member in pair.members:
                stack.callback(member.close)
                member.start()
        collectors = [Collector(pair, server) for pair in pairs]
        for collector in collectors:
            collector.start()
        faults = Faults(pairs, server, seed)
        faults.wait(30)  # all of them are there
        begin = (int(time.time()) // 60 + 1) * 60
        end = begin + minutes * 60
        while time.time() < end:
            faults.one()
        faults.wait(CALM)
        for collector in collectors:
            collector.is_over = True
        (directory / "faults").write_text("\n".join([*faults.diary, *doubled(pairs), ""]))
        yield "faults: " + ", ".join(f"{count} {name}" for name, count in faults.counts.items())
        for pair in pairs:
            facts = judged(pair, begin, end)
            yield f"{pair.name:12}" + ", ".join(f"{name} {count}" for name, count in facts.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where the logs stay; default: nowhere")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or Path(temporary)
        directory.mkdir(exist_ok=True)
        for line in measure(options.minutes, options.seed, directory):
            print(line, flush=True)


if __name__ == "__main__":
    main()
