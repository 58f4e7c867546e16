"""Five daemons, a sixth that comes and goes, and a PostgreSQL in namespaces of their own, the table
that the daemons share, and what is left of a run.
"""

import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from pycron.cluster.migrations import upgrade
from pycron.crontab.identity import shared_run
from pycron.model.shared import SharedKey
from tests.cluster.checker import Line, Row, parse_witness
from tests.cluster.network import Network
from tests.support.postgres import Postgres
from tests.support.waiting import until

CLUSTER, OWNER = "test", "root"
HOSTS = [f"web{number}" for number in range(1, 6)]
DISTANT = "web5"  # its way to the database can be made slow
ADDED = "web6"  # a host that comes and goes
DATABASE = "db"
_PORT, _SLOW_PORT = 5432, 5433
_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
# What a command does: B, W about each second, E. No process is started for the time: dash reads it.
_COMMAND = """\
#!/bin/sh
# SECONDS FILE HOST
say() { read -r up _ </proc/uptime; echo "$1 $CRON_RUN_ID $CRON_ATTEMPT $3 $up" >>"$2"; }
say B "$2" "$3"
left=$1
while [ "$left" -gt 0 ]; do sleep 1; left=$((left - 1)); say W "$2" "$3"; done
say E "$2" "$3"
"""
# How many Jobs, how long their commands work (s), and their settings.
_KINDS = [
    (20, 0, "CRON_RETRIES=3 CRON_RETRY_DELAY=1s CRON_CONCURRENCY=allow"),
    (15, 8, "CRON_RETRIES=5 CRON_RETRY_DELAY=2s CRON_RETRY_UNTIL=10m CRON_CONCURRENCY=forbid"),
    (8, 40, "CRON_RETRIES=5 CRON_RETRY_DELAY=2s CRON_RETRY_UNTIL=20m CRON_CONCURRENCY=queue"),
    (5, 5, "CRON_RETRIES=2 CRON_POOL=few CRON_CONCURRENCY=allow"),
    (2, 90, "CRON_CONCURRENCY=replace"),
]


class Fleet:
    """`directory`: of everything. `lease`: seconds.

    `hosts`: those that are up from the beginning, and `database_host` the one of the database.
    `all_hosts`: with those that come later. `kinds`: how many Jobs there are, how long their
    commands work (s), and their settings.
    """

    hosts: ClassVar[list[str]] = HOSTS
    all_hosts: ClassVar[list[str]] = [*HOSTS, ADDED]
    database_host = DATABASE
    kinds: ClassVar[list[tuple[int, int, str]]] = _KINDS
    marks: ClassVar[dict[str, str]] = {
        "daemon": "pycron.cli.pycrond", "agent": "pycron.cluster", "runner": "-m pycron.runner",
        "all": "",
    }  # fmt: skip

    def __init__(self, directory: Path, lease: int) -> None:
        self.directory = directory
        self.network = Network([*self.all_hosts, *self._further_hosts(), self.database_host])
        self._lease = lease
        self._standbys = 0
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._clock = directory / "db" / "clock"
        self._delay = directory / "delay"
        (directory / "db").mkdir(parents=True)
        shutil.chown(directory / "db", "postgres", "postgres")
        self.database = Postgres(directory / "db", _PORT, listen_addresses="*")
        self._socket = f"postgresql://postgres@/postgres?host={directory / 'db'}&port={_PORT}"

    def start(self) -> None:
        self.database.make()
        with (self.directory / "db/data/pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.77.0.0/24 trust\n")
        self.set_clock(0)
        self.start_database()
        until(self._answers, 60)
        upgrade(self._socket)
        command = self.directory / "command"
        command.write_text(_COMMAND)
        command.chmod(0o755)
        self.set_delay(0)
        inside = self.network.inside(self.database_host)
        self._proxy = subprocess.Popen(
            [*inside, sys.executable, "-m", "tests.cluster.slow_proxy", str(_SLOW_PORT), str(_PORT),
             str(self._delay)],
        )  # fmt: skip
        for host in self.all_hosts:
            self._make_host(host)
        for host in self.hosts:
            self.start_daemon(host)

    def _further_hosts(self) -> list[str]:
        return []

    def start_database(self) -> None:
        inside = self.network.inside(self.database_host)
        account = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
        faked = ("env", f"LD_PRELOAD={_FAKETIME}", f"FAKETIME_TIMESTAMP_FILE={self._clock}",
                 "FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1")  # fmt: skip
        self.database.start(wait=False, prefix=(*inside, *account, *faked))

    def make_standby(self) -> None:
        """A copy of the database that gets nothing more: an asynchronous standby that is behind."""
        self._standbys += 1
        self.database.back_up(self._standby)

    def fail_over(self) -> None:
        """The primary dies, and the standby takes its place: what was committed since is lost."""
        self.signal_database(signal.SIGKILL)
        self.database.stop(signal.SIGKILL)  # its lock file is in force until it is gone
        self.database.data = self._standby
        self.start_database()

    @property
    def _standby(self) -> Path:
        return self.directory / "db" / f"standby{self._standbys}"

    def set_clock(self, seconds: int) -> None:
        """Set the database's clock ahead, or back."""
        new = self._clock.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._clock)

    def set_delay(self, seconds: float) -> None:
        """Let everything that DISTANT says to the database come so much later."""
        new = self._delay.with_suffix(".new")
        new.write_text(f"{seconds}\n")
        new.replace(self._delay)

    def _make_host(self, host: str) -> None:
        home = self.directory / host
        home.mkdir()
        port = _SLOW_PORT if host == DISTANT else _PORT
        address = (
            f"postgresql://postgres@{self.network.addresses[self.database_host]}:{port}/postgres"
        )
        (home / "pycron.toml").write_text(
            f'[cluster]\nname = "{CLUSTER}"\ndatabase = "{address}"\nhost = "{host}"\n'
            f'lease = "{self._lease}s"\n{self._options()}[cluster.pools]\nfew = 2\n'
        )
        self.write_table(host, "")
        (home / "state").mkdir()
        size = "size=64m,mode=0700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", home / "state"],
                       check=True)  # fmt: skip

    def _options(self) -> str:
        """Further lines of the section [cluster]."""
        return ""

    def where(self, _number: int) -> str:
        """CRON_ON of the Job of this number of its kind."""
        return "any"

    def write_table(self, host: str, version: str) -> None:
        """Replace the table of a host; `version` changes its text, not its meaning."""
        home = self.directory / host
        lines = [f"# {version}\n"]
        for kind, (number, seconds, settings) in enumerate(self.kinds):
            lines += (
                f"CRON_ON={self.where(i)} CRON_NAME=job{kind}.{i} {settings} * * * * *"
                f" {self.directory}/command {seconds} {home}/witness {host}\n"
                for i in range(number)
            )
        (home / "table.new").write_text("".join(lines))
        (home / "table.new").replace(home / "table")

    def start_daemon(self, host: str) -> None:
        home = self.directory / host
        command = [sys.executable, "-m", "pycron.cli.pycrond", "--foreground", "--config",
                   str(home / "pycron.toml"), "--table", str(home / "table"), "--state-dir",
                   str(home / "state"), "--log-format", "json"]  # fmt: skip
        with (home / "log").open("ab") as log:
            self._daemons[host] = subprocess.Popen(
                [*self.network.inside(host), *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def remove_daemon(self, host: str) -> None:
        """Stop a daemon in good order, for good: its commands end first, and its name is free."""
        self._daemons.pop(host).terminate()

    def keep_running(self) -> None:
        """Start what has ended, as a service manager would."""
        for host, daemon in list(self._daemons.items()):
            if daemon.poll() is not None:
                self.start_daemon(host)

    def pids(self, host: str, which: str) -> list[int]:
        """`which`: daemon, agent, runner, or all: everything of the host, with its commands."""
        mark = self.marks[which]
        return [pid for pid, line in self.network.processes(host) if mark in line]

    def send(self, host: str, which: str, signum: signal.Signals) -> None:
        for pid in self.pids(host, which):
            try:
                os.kill(pid, signum)
            except ProcessLookupError:
                continue

    def signal_database(self, signum: signal.Signals) -> None:
        """All processes of the server."""
        for pid, line in self.network.processes(self.database_host):
            if line.startswith("postgres") or "/postgres " in line:
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(pid, signum)

    def psql(self, statement: str) -> str:
        done = subprocess.run(["psql", "-XAtqc", statement, self._socket], capture_output=True,
                              text=True, check=True, timeout=60)  # fmt: skip
        return done.stdout.strip()

    def _answers(self) -> bool:
        try:
            return self.psql("SELECT 1") == "1"
        except subprocess.SubprocessError:
            return False

    def has_all(self, expected: list[str]) -> bool:
        try:
            return set(expected) <= {row.run_id for row in self.rows()}
        except subprocess.SubprocessError:
            return False

    def all_ended(self) -> bool:
        try:
            return self.psql("SELECT count(*) FROM pycron.runs WHERE state <> 'ended'") == "0"
        except subprocess.SubprocessError:
            return False

    def stop(self) -> None:
        for daemon in self._daemons.values():
            daemon.terminate()
        for host in self.all_hosts:
            deadline = time.monotonic() + 20
            while self.pids(host, "all") and time.monotonic() < deadline:
                time.sleep(0.2)
            self.send(host, "all", signal.SIGKILL)
        self.signal_database(signal.SIGINT)
        self._proxy.terminate()
        for host in self.all_hosts:
            subprocess.run(["umount", "-l", self.directory / host / "state"], check=False)
        self.network.remove()

    # ---- what is left

    def expected_runs(self, begun: float, ended: float) -> list[str]:
        """The run_ids of all minutes in between: each Job is due in each minute."""
        minutes = range(int(begun) // 60 * 60 + 60, int(ended), 60)
        names = [f"job{kind}.{i}" for kind, (n, _, _) in enumerate(self.kinds) for i in range(n)]
        return [run_id(name, minute) for minute in minutes for name in names]

    def witness(self) -> list[Line]:
        files = [self.directory / host / "witness" for host in self.all_hosts]
        return [line for each in files if each.exists() for line in parse_witness(each.read_text())]

    def rows(self) -> list[Row]:
        text = self.psql(
            "SELECT coalesce(jsonb_agg(jsonb_build_object('name', name, 'fire_time',"
            " extract(epoch FROM fire_time)::bigint, 'state', state, 'attempt', attempt,"
            " 'outcome', outcome, 'log', log)), '[]') FROM pycron.runs"
        )
        return [
            Row(
                run_id(row["name"], row["fire_time"]),
                row["state"],
                row["attempt"],
                row["outcome"],
                {e["attempt"]: e["outcome"] for e in row["log"]
                 if e["event"] in ("finished", "reaped")},
            )
            for row in json.loads(text)
        ]  # fmt: skip


def run_id(name: str, fire_time: int) -> str:
    return str(shared_run(CLUSTER, SharedKey(OWNER, name, fire_time)))


def clock() -> str:
    return datetime.datetime.now().strftime("%H:%M:%S")
