"""The log on a terminal: a line for each event that fits, with the time, the Job, what happened."""

import fcntl
import os
import re
import struct
import termios
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.daemon.log import EVERYTHING, LogChoice, configure
from pycron.engine.actions import EntryLine, Log, LogEntry, Printed
from pycron.engine.log_events import Event

COLOUR = re.compile("\x1b\\[[0-9;]*m")
OF_ATTEMPT = {
    "job": "backup", "run_id": "1503c204d2669dc1-20261129T145717Z", "attempt": 1, "user": "root",
    "fire_time": "2026-11-29T14:57:17Z",
}  # fmt: skip
ENTRY = EntryLine("/etc/pycron.d/backup-of-the-database", 4)


def of_attempt(event: Event, bad: bool = False, **fields: object) -> Log:
    return Log(event, {**OF_ATTEMPT, **fields}, bad=bad, entry=ENTRY)


STARTED = of_attempt(Event.ATTEMPT_STARTED, command="backup --all", lateness_ms=3, pid=4711)
SUCCEEDED = of_attempt(
    Event.ATTEMPT_ENDED, outcome="succeeded", exit_status=0, signal=None, duration=1.234,
    cpu_seconds=0.1,
)  # fmt: skip
FAILED = of_attempt(Event.ATTEMPT_ENDED, bad=True, outcome="failed", exit_status=7, attempt=2)
RETRY = of_attempt(Event.RETRY_PLANNED, seconds=35.2)
OUTPUT = Printed("backup", "x", "stdout", b"3 files")
PROBLEM = Log(
    Event.TABLE_PROBLEM,
    {"problem": '/home/somebody/crontab:7: bad minute: "61" (0-59); ' + "a remedy in words " * 5},
    bad=True,
)
DAEMON = Log(
    Event.DAEMON_STARTED,
    {"version": "0.1.0", "mode": "foreground", "pid": 1, "zone": "America/Argentina/Buenos_Aires",
     "zone_data": "system", "state": "/dev/shm/pycron-abcdefgh"},
)  # fmt: skip


def shown(
    *entries: LogEntry, columns: int | None = 80, choice: LogChoice = EVERYTHING
) -> list[str]:
    """What is on a terminal of this width; None: in a file."""
    ours, theirs = os.openpty() if columns else (os.memfd_create("log"),) * 2
    if columns:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with open(theirs, "w", closefd=columns is not None) as stream:
        log = configure("console", stream, choice)
        for entry in entries:
            log.write(entry)
        log.close()
    if not columns:
        os.lseek(ours, 0, os.SEEK_SET)
    written = b"".join(parts(ours))
    os.close(ours)
    return written.decode().replace("\r\n", "\n").splitlines()


def parts(file: int) -> Iterator[bytes]:
    """What can be read until its end; at the end of a terminal there is an error."""
    try:
        while data := os.read(file, 65_536):
            yield data
    except OSError:
        return


def plain(*entries: LogEntry, columns: int | None = 80) -> list[str]:
    """The lines without colours and times."""
    lines = [COLOUR.sub("", line) for line in shown(*entries, columns=columns)]
    return [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in lines]


def test_a_line_has_the_job_and_what_happened() -> None:
    assert plain(STARTED, OUTPUT, SUCCEEDED, FAILED, RETRY) == [
        "backup         has started: backup --all",
        "backup         | 3 files",
        "backup         has succeeded after 1.2 s",
        "backup         failed: exit status 7 after 2 attempts",
        "backup         is tried again in 35 s",
    ]


@pytest.mark.parametrize("in_path", [True, False])
def test_a_daemon_in_the_foreground_says_how_to_ask_it(
    in_path: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole command: with the path of the program where the shell does not find it."""
    program = tmp_path / "a blank" / "pycron"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(program.with_name("pycrond"))])
    monkeypatch.setenv("PATH", str(program.parent) if in_path else "/nowhere")
    line, hint = plain(DAEMON)
    assert line.startswith("pycron 0.1.0 has started, mode foreground, zone America/Argentina")
    asked = "pycron" if in_path else f"'{program}'"
    assert hint.strip() == f"ask it: {asked} --state-dir /dev/shm/pycron-abcdefgh"
    service = Log(Event.DAEMON_STARTED, {**DAEMON.fields, "mode": "user"})
    assert len(plain(service)) == len(plain(DAEMON, columns=None)) == 1


LONG = "/opt/programs/with/a/long/path/backup --of everything --and more --than fits " * 3
LONG_NAME = "name-of-a-job-" * 4


@pytest.mark.parametrize("columns", [40, 80, 160])
@pytest.mark.parametrize("text", [LONG, "備份資料庫" * 40, "e\u0301" * 200, "\u202e\x1b[2J" * 30])
@pytest.mark.parametrize("name", ["backup", LONG_NAME])
def test_a_line_is_cut_to_the_width_of_the_terminal(columns: int, text: str, name: str) -> None:
    fields = {**STARTED.fields, "command": text, "job": name}
    (line,) = [COLOUR.sub("", each) for each in shown(Log(Event.ATTEMPT_STARTED, fields),
                                                     columns=columns)]  # fmt: skip
    assert line.endswith("…")
    assert columns - 2 <= sum(map(width, line)) <= columns
    assert line.isprintable()
    assert "has started" in line or columns == 40


def width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 1 + (unicodedata.east_asian_width(character) in "WF")


@pytest.mark.parametrize("columns", [40, 80, 160])
def test_a_warning_is_whole(columns: int) -> None:
    lines = [COLOUR.sub("", line) for line in shown(PROBLEM, columns=columns)]
    assert max(map(len, lines)) <= columns
    joined = " ".join(lines).split()[1:]
    assert joined == str(PROBLEM.fields["problem"]).split()


def test_output_is_whole() -> None:
    long = b"x" * 500
    assert plain(Printed("backup", "x", "stdout", long))[0].endswith("x" * 500)


def test_a_file_has_whole_lines() -> None:
    (line,) = plain(Log(Event.ATTEMPT_STARTED, {**STARTED.fields, "command": LONG}), columns=None)
    assert line == f"backup         has started: {LONG}"
    assert "\x1b" not in "".join(shown(FAILED, STARTED, columns=None))


def test_the_keys_are_there_if_somebody_asks_for_them() -> None:
    (line,) = [COLOUR.sub("", each) for each in shown(FAILED, choice=LogChoice(verbose=True))]
    assert "attempt_ended" in line
    assert "run_id=1503c204d2669dc1-20261129T145717Z" in line
    assert "run_id" not in plain(FAILED)[0]


@pytest.mark.parametrize("verbose", [False, True])
def test_colours_are_for_who_wants_them(verbose: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = LogChoice(verbose=verbose)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" in shown(FAILED, choice=choice)[0]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown(FAILED, choice=choice)[0]
