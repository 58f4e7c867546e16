"""A real daemon whose standard error is the journal, and a socket in the place of journald."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.journald import Journald, fill
from tests.support.running_daemon import program
from tests.support.waiting import until

pytestmark = pytest.mark.root

ROOT = Path(__file__).resolve().parents[2]
INSIDE = (  # the directory $1 is that of the journal's socket
    "mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/journal;"
    'mount --bind "$1" /run/systemd/journal; shift; exec "$@"'
)


class Service:
    """What systemd gives a service: a stream to the journal as its standard error."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        (directory / "journal").mkdir()
        self.journald = Journald(directory / "journal" / "socket")
        self.ours, self.stream = socket.socketpair()
        self.ours.setblocking(False)

    def start(self, table: str, *arguments: str) -> "subprocess.Popen[bytes]":
        path = self._directory / "table"
        path.write_text(table)
        status = os.fstat(self.stream.fileno())
        command = [
            "unshare", "--mount", "sh", "-ec", INSIDE, "sh", str(self._directory / "journal"),
        ]  # fmt: skip
        command += program(
            "pycrond", "--foreground", "--table", path, "--state-dir", self._directory / "state",
            *arguments,
        )  # fmt: skip
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=self.stream.fileno(), cwd=ROOT,
            env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
        )  # fmt: skip

    @contextmanager
    def running(self, table: str) -> Iterator["subprocess.Popen[bytes]"]:
        daemon = self.start(table)
        try:
            yield daemon
        finally:
            daemon.terminate()
            daemon.wait(30)

    def on_stream(self) -> bytes:
        """What was written to the standard error since the last call."""
        try:
            return self.ours.recv(1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.journald.close()
        self.ours.close()
        self.stream.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path)
    yield made
    made.close()


def test_events_are_entries_of_the_journal(service: Service, tmp_path: Path) -> None:
    with service.running('CRON_NAME=bad @every 1s echo "hello $JOURNAL_STREAM"; exit 3\n'):
        ended = service.journald.wait_for(PYCRON_EVENT="attempt_ended")
        started = service.journald.wait_for(
            PYCRON_EVENT="attempt_started", PYCRON_RUN_ID=ended["PYCRON_RUN_ID"]
        )
        printed = service.journald.wait_for(PYCRON_EVENT="output")
    place = f"({tmp_path}/table:1)"
    assert ended["MESSAGE"] == f"bad of root failed: exit status 3 {place}"
    assert (ended["PRIORITY"], ended["SYSLOG_FACILITY"]) == ("4", "9")
    assert (ended["PYCRON_JOB"], ended["PYCRON_EXIT_STATUS"]) == ("bad", "3")
    assert started["MESSAGE"].startswith("bad of root has started: echo ")
    assert started["PRIORITY"] == "6"
    assert printed["MESSAGE"] == "bad | hello "
    assert printed["SYSLOG_FACILITY"] == "1"
    stopped = service.journald.wait_for(PYCRON_EVENT="daemon_stopped")
    assert (stopped["PRIORITY"], stopped["SYSLOG_PID"]) == ("5", ended["SYSLOG_PID"])
    assert service.on_stream() == b""


def test_a_table_with_an_error_is_an_error_of_the_journal(service: Service, tmp_path: Path) -> None:
    with service.running("61 * * * * true\n* * * * * true\n* * * * * true\n"):
        problem = service.journald.wait_for(PYCRON_EVENT="table_problem")
        bad = service.journald.wait_for(PYCRON_EVENT="table_bad")
    assert problem["MESSAGE"].startswith(f'{tmp_path}/table:1: bad minute: "61" (0-59)')
    assert problem["PRIORITY"] == "4"
    assert "what runs: its good lines (Jobs: 2)" in bad["MESSAGE"]
    assert (bad["PRIORITY"], bad["PYCRON_TABLE"]) == ("3", f"{tmp_path}/table")


@pytest.mark.slow
def test_a_journal_that_nobody_reads_does_not_stop_the_jobs(
    service: Service, tmp_path: Path
) -> None:
    """Its queue and the stream fill up; the daemon goes on, and what has waited comes later."""
    service.stream.setblocking(False)
    fill(lambda: service.stream.send(b"x" * 4096))
    service.stream.setblocking(True)
    # The lines of two Runs are more entries than may wait, also where that is 512.
    command = f"echo x >>{tmp_path}/ran; i=0; while [ $((i += 1)) -le 300 ]; do echo $i; done"
    with service.running(f"@every 1s {command}\n"):
        until(lambda: _size(tmp_path / "ran") >= 10, patience=30)
        assert len(service.journald.read()) < 1000
        until(lambda: len(_shown(service)) >= 900, patience=30)
    assert _shown(service)[:900] == [str(number) for number in range(1, 301)] * 3


def _shown(service: Service) -> list[str]:
    """The lines of output that the journal has got."""
    return [entry["PYCRON_LINE"] for entry in service.journald.read() if "PYCRON_STREAM" in entry]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_without_a_journal_the_messages_are_lines_with_a_priority(service: Service) -> None:
    service.journald.close()
    with service.running("@every 1s exit 3\n"):
        said = b""
        deadline = time.monotonic() + 30
        while b"failed: exit status 3" not in said:
            said += service.on_stream()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    lines = said.decode().splitlines()
    assert lines[0].startswith("<5>pycron ")
    assert next(line for line in lines if "failed: exit status 3" in line).startswith("<4>")


def test_the_reason_why_it_does_not_start_is_an_error_of_the_journal(service: Service) -> None:
    daemon = service.start("", "--config", "/no/such/file")
    assert daemon.wait(30) == os.EX_CONFIG
    assert service.on_stream().startswith(b"<3>pycrond: /no/such/file: ")
