"""Hosts of a cluster on this machine: each is a real daemon with its runner and its agent."""

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.postgres import Postgres
from tests.support.remaining_processes import works_in
from tests.support.running_daemon import RunningDaemon, run
from tests.support.waiting import until

CLUSTER = "test"


class Host:
    """One host; its commands write lines to its witness file, of which `$WITNESS` is the path."""

    def __init__(self, directory: Path, name: str, address: str, *options: str) -> None:
        """`options`: lines of the section [cluster]."""
        directory.mkdir()
        self.name = name
        self.directory = directory
        self.state = directory / "state"
        self.witness = directory / "witness"
        self.witness.touch()
        self.table = directory / "table"
        self.config = directory / "pycron.toml"
        section = [f'name = "{CLUSTER}"', f'database = "{address}"', f'host = "{name}"', *options]
        self.config.write_text("[cluster]\n" + "".join(f"{line}\n" for line in section))
        self.daemon: RunningDaemon | None = None

    def write(self, *lines: str) -> None:
        """Write the table anew; a running daemon reads it."""
        new = self.directory / "new"
        new.write_text(f"WITNESS={self.witness}\n" + "".join(f"{line}\n" for line in lines))
        os.replace(new, self.table)

    def start(self) -> RunningDaemon:
        self.daemon = RunningDaemon(
            ["--foreground", "--config", self.config, "--table", self.table, "--state-dir",
             self.state, "--host-id", self.name],
            self.directory / "log",
        )  # fmt: skip
        return self.daemon

    @property
    def running(self) -> RunningDaemon:
        assert self.daemon is not None
        return self.daemon

    def joined(self) -> None:
        """Wait until it is in the cluster."""
        self.running.wait_for("cluster_joined")

    @property
    def agent(self) -> int:
        """The pid of the agent that was started last."""
        return int(self.running.log("agent_started")[-1]["pid"])

    @property
    def runner(self) -> int:
        return int(self.running.log("runner_started")[-1]["pid"])

    def kill(self, *pids: int) -> None:
        """KILL these processes, by default all of the host, but not its commands."""
        for pid in pids or (self.running.process.pid, self.runner, self.agent):
            os.kill(pid, signal.SIGKILL)
        if not pids:
            self.running.process.wait()

    def lines(self) -> list[str]:
        return self.witness.read_text().splitlines()

    def stop(self) -> None:
        """End all processes of the host, also commands that its log does not name yet."""
        if self.daemon is None:
            return
        self.daemon.process.kill()
        self.daemon.process.wait()
        until(lambda: not _kill_all_in(self.directory))


def _kill_all_in(directory: Path) -> list[int]:
    """KILL the processes of a host and return their pids: they may just have started others."""
    processes = Path("/proc").glob("[0-9]*")
    found = [int(each.name) for each in processes if works_in(directory, each)]
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


@contextmanager
def hosts(
    directory: Path, server: Postgres, count: int, *lines: str, options: Iterable[str] = ()
) -> Iterator[list[Host]]:
    """So many hosts with the same table, which are in the cluster."""
    made = [
        Host(directory / f"host{n}", f"host{n}", server.address(), *options)
        for n in range(1, count + 1)
    ]
    done = run("pycron", "cluster", "init", "--config", made[0].config)
    assert done.returncode == 0, done.stderr
    try:
        for host in made:
            host.write(*lines)
            host.start()
        for host in made:
            host.joined()
        yield made
    finally:
        for host in made:
            host.stop()


def witnessed(all_hosts: Iterable[Host]) -> Counter[str]:
    """How often each line stands in the witness files."""
    return Counter(line for host in all_hosts for line in host.lines())


def rows(server: Postgres, columns: str, condition: str = "true") -> list[list[str]]:
    """Rows of the shared Runs, in the order of their fire times."""
    query = f"SELECT {columns} FROM pycron.runs WHERE {condition} ORDER BY fire_time, name"
    return [line.split("|") for line in server.psql(query).splitlines()]


def wait_for_rows(server: Postgres, condition: str, count: int = 1, patience: float = 60) -> None:
    def there() -> bool:
        try:
            found = server.psql(f"SELECT count(*) FROM pycron.runs WHERE {condition}")
        except subprocess.CalledProcessError:
            return False
        return int(found) >= count

    until(there, patience)
