"""What a container lacks: inotify, a user with a name, HOME; and what it has: its own process 1."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.running_daemon import RunningDaemon, program
from tests.support.waiting import until

TICK = "CRON_NAME=tick @every 1s true\n"


def _can_unshare() -> bool:
    tried = subprocess.run(["unshare", "-Urpf", "--mount-proc", "true"], check=False)
    return tried.returncode == 0


pytestmark = pytest.mark.skipif(not _can_unshare(), reason="no user namespaces here")


@pytest.mark.parametrize("limit", ["instances", "watches"])
def test_a_machine_without_inotify(tmp_path: Path, limit: str) -> None:
    """The daemon says which limit is too low, and works: it looks at its tables each minute."""
    sysctl = f"max_inotify_{limit}"
    table = tmp_path / "table"
    table.write_text(TICK)
    in_namespace = ["unshare", "-Ur", "sh", "-c"]
    without = [*in_namespace, f'echo 0 >/proc/sys/user/{sysctl}; exec "$@"', "sh"]
    arguments: list[str | Path] = [
        "--foreground",
        "--table",
        table,
        "--state-dir",
        tmp_path / "state",
    ]
    daemon = RunningDaemon(arguments, tmp_path / "log", prefix=without)
    try:
        told = daemon.wait_for("tables_not_watched")
        assert "within a minute" in told["reason"]
        assert f"fs.inotify.max_user_{limit}" in told["reason"]
        daemon.wait_for("attempt_ended", job="tick", outcome="succeeded")
        table.write_text(TICK.replace("tick", "tock"))
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("attempt_ended", job="tock", outcome="succeeded")
        assert len(daemon.log("tables_not_watched")) == 1
    finally:
        daemon.stop()


class Container:
    """A uid without a name and without HOME, in a PID namespace whose process 1 is the daemon."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "XDG_STATE_HOME": str(directory / "state"),
        }
        self._logs = 0
        self.daemon: RunningDaemon | None = None

    def boot(self) -> RunningDaemon:
        self._logs += 1
        namespaces = ["unshare", "-Upf", "--map-user=61234", "--map-group=61234", "--mount-proc"]
        log = self.directory / f"log{self._logs}"
        self.daemon = RunningDaemon([], log, prefix=namespaces, env=self.environment)
        self.daemon.wait_until_ready()
        return self.daemon

    @property
    def init(self) -> psutil.Process:
        """Process 1 of the container."""
        assert self.daemon
        outside = psutil.Process(self.daemon.process.pid)
        return until(outside.children)[0]

    def run(self, name: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of pycron's programs in the container."""
        enter = ["nsenter", "-t", str(self.init.pid), "-U", "-p", "-m", "--preserve-credentials"]
        return subprocess.run(
            [*enter, *program(name, *words)], input=stdin, capture_output=True, text=True,
            env=self.environment, timeout=60, check=False,
        )  # fmt: skip

    def stop(self) -> None:
        """Stop the container, and wait for it."""
        if self.daemon and self.daemon.process.poll() is None:
            self.init.terminate()
            self.daemon.wait()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    container = Container(tmp_path)
    yield container
    container.stop()


@pytest.mark.slow
def test_a_user_without_a_name_and_without_home(container: Container) -> None:
    daemon = container.boot()
    done = container.run("pycrontab", "-", stdin=TICK)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    daemon.wait_for("attempt_ended", job="tick", outcome="succeeded")
    assert container.run("pycrontab", "-l").stdout == TICK
    for verb in ("status", "list", "runs", "next", "check"):
        done = container.run("pycron", verb)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (verb, done)
    checked = container.run("pycrond", "--check")
    assert (checked.returncode, checked.stderr) == (0, "pycrond: nothing is wrong\n")


def test_the_programs_without_a_daemon_without_a_name_and_without_home() -> None:
    """Not even a place for the state: the message says so, and there is no traceback."""
    nobody = ["unshare", "-Ur", "--map-user=61234", "--map-group=61234"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    for name, *words in (("pycron", "status"), ("pycrontab", "-l"), ("pycrond", "--check")):
        done = subprocess.run([*nobody, *program(name, *words)], capture_output=True, text=True,
                              env=environment, timeout=60, check=False)  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr


def test_a_container_boots_when_its_process_1_starts(container: Container) -> None:
    """The kernel's boot id stays the same then. @reboot Jobs run again, once."""
    ran = container.directory / "ran"
    table = container.directory / "config" / "pycron" / "crontab"
    table.parent.mkdir(parents=True)
    table.write_text(f"CRON_NAME=boot @reboot echo >>{ran}\n{TICK}")
    for boots in (1, 2):
        daemon = container.boot()
        daemon.wait_for("attempt_ended", job="boot")
        daemon.wait_for("attempt_ended", job="tick")
        assert ran.read_text() == boots * "\n"
        container.stop()


def test_the_boot_of_a_container_is_later_than_that_of_the_machine() -> None:
    script = "from pycron.system import host; print(host.boot_id(), host.boot_time())"
    command = [sys.executable, "-c", script]
    inside = ["unshare", "-Urpf", "--mount-proc"]
    said = [subprocess.run([*how, *command], capture_output=True, text=True, check=True,
                           cwd=Path(__file__).parents[2]).stdout.split()
            for how in ([], inside, inside)]  # fmt: skip
    kernel, *_ = said[0]
    assert {words[0] for words in said} == {kernel}
    assert len({" ".join(words[:-1]) for words in said}) == 3
    times = [float(words[-1]) for words in said]
    assert times[0] < times[1] <= times[2] + 0.02
