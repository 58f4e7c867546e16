"""The daemon's log: one line for each event, which no table and no output can forge."""

import io
import json
import os
import re
from pathlib import Path
from typing import TextIO

import pytest

from pycron.daemon.log import EVERYTHING, FORMATS, LEVELS, LogChoice, configure, default_format
from pycron.engine.actions import Log, LogEntry, Printed
from pycron.engine.log_events import Event

HOSTILE = [
    "two\nlines", "a\r\nb", "\r12:00:00 [info     ] attempt_ended", "\x1b[2J\x1b[31mred",
    "\x9b31m", "\x07\x08\x00\x7f", "\udcff\udc80", "\u2028\u2029\x85\v\f\x1c", "\u202egnp.exe",
    'x" outcome="succeeded', 'x\\" outcome=succeeded y="', "x outcome=succeeded", "x\\",
    "x\\ y", 'x" z', "a=b", "'", "' outcome=succeeded '", '\\" outcome=succeeded', "", " ", "\t",
    "\tx=y", "\xa0x=y", "\u3000outcome=succeeded", '{"event":"x"}', '"},{"',
]  # fmt: skip
LINES = [form for form in FORMATS if form != "journal"]  # test_journal.py has the tests of that
VERBOSE = LogChoice(verbose=True)
PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?: |$)')


def written(form: str, *entries: LogEntry, choice: LogChoice = EVERYTHING) -> str:
    """The log of these entries."""
    with open(os.memfd_create("log"), "r+", encoding="utf-8") as stream:
        log = configure(form, stream, choice)
        for entry in entries:
            log.write(entry)
        log.close()
        stream.seek(0)
        return stream.read()


def printed(*lines: bytes, stream: str = "stdout", partial: bool = False) -> Printed:
    return Printed("backup-1", "x", stream, b"\n".join(lines), partial)


def ended(**fields: object) -> Log:
    return Log(Event.ATTEMPT_ENDED, {"command": "true", "outcome": "failed", **fields}, bad=True)


@pytest.mark.parametrize("form", LINES)
@pytest.mark.parametrize("text", HOSTILE)
def test_one_event_is_one_printable_line(form: str, text: str) -> None:
    line = written(form, ended(command=text, table=text))
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert line.encode()


def test_a_value_that_json_cannot_represent_is_written_as_its_repr() -> None:
    line = json.loads(written("json", ended(table=Path("/etc/pycron.d/a"))))
    assert "/etc/pycron.d/a" in line["table"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_can_forge_a_json_field(text: str) -> None:
    line = json.loads(written("json", ended(command=text)))
    assert list(line) == ["timestamp", "level", "event", "command", "outcome"]
    assert (line["event"], line["level"]) == ("attempt_ended", "warning")
    assert line["outcome"] == "failed"


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_can_forge_a_logfmt_field(text: str) -> None:
    line = written("logfmt", ended(command=text)).rstrip("\n")
    pairs = PAIR.findall(line)
    assert [key for key, _ in pairs] == ["timestamp", "level", "event", "command", "outcome"]
    assert "".join(f"{key}={value} " for key, value in pairs).strip() == line.strip()
    assert pairs[-1] == ("outcome", "failed")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_can_forge_a_field_on_the_console(text: str) -> None:
    line = written("console", ended(command=text), choice=VERBOSE).rstrip("\n")
    assert re.match(r"\d\d:\d\d:\d\d \[warning  \] attempt_ended +command=", line)
    assert line.endswith(" outcome=failed")
    value = line.partition("command=")[2].removesuffix(" outcome=failed")
    # A value with a blank is in quotes, and ends where the quotes end.
    assert " " not in value or re.fullmatch(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", value)


@pytest.mark.parametrize("text", ["12:00:00 [info     ] attempt_ended outcome=succeeded", "\x1b[A"])
def test_the_output_of_a_command_is_marked_as_output(text: str) -> None:
    console = written("console", printed(text.encode()))
    assert re.match(r"\d\d:\d\d:\d\d backup-1       \| ", console)
    verbose = written("console", printed(text.encode()), choice=VERBOSE)
    assert re.match(r"\d\d:\d\d:\d\d \[info     \] backup-1 \| ", verbose)
    assert console[:-1].isprintable()
    assert verbose[:-1].isprintable()
    assert json.loads(written("json", printed(text.encode())))["event"] == "output"


def test_each_line_of_output_is_an_event() -> None:
    lines = written("json", printed("ä".encode(), b"", b"\xff", stream="stderr")).splitlines()
    assert [json.loads(line)["line"] for line in lines] == ["ä", "", "\\xff"]
    keys = ["timestamp", "level", "event", "job", "run_id", "stream", "line"]
    assert [list(json.loads(line)) for line in lines] == [keys] * 3
    assert {json.loads(line)["stream"] for line in lines} == {"stderr"}


def test_a_piece_of_a_line_is_marked() -> None:
    assert json.loads(written("json", printed(b"x", partial=True)))["partial"] is True
    for choice in (EVERYTHING, VERBOSE):
        console = written("console", printed(b"x", partial=True), choice=choice)
        assert re.search(r"backup-1 +\| x…\n$", console)
    assert written("logfmt", printed(b"x", partial=True)).endswith(" partial line=x\n")


def test_a_quiet_event_is_not_written() -> None:
    assert written("json", Log(Event.ATTEMPT_STARTED, {}, quiet=True)) == ""


def test_a_field_without_a_value_is_not_on_the_console() -> None:
    assert "signal" not in written("console", ended(signal=None), choice=VERBOSE)
    assert json.loads(written("json", ended(signal=None)))["signal"] is None


def test_the_default_format_is_that_of_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "log").open("w") as file:
        assert default_format(file) == "json"
        status = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert default_format(file) == "journal"
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")
        assert default_format(file) == "json"
    assert default_format(io.StringIO()) == "json"
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as terminal:
        assert default_format(terminal) == "console"
    os.close(leader)


def started(command: str = "secret") -> Log:
    fields = {"job": "backup", "user": "root", "command": command, "pid": 1}
    return Log(Event.ATTEMPT_STARTED, fields)


def test_a_quiet_log_has_neither_starts_nor_successful_ends() -> None:
    entries: list[LogEntry] = [
        started(), ended(outcome="succeeded"), ended(), printed(b"said"),
    ]  # fmt: skip
    events = [
        json.loads(line)["event"]
        for line in written("json", *entries, choice=LogChoice(quiet=True)).splitlines()
    ]
    assert events == ["attempt_ended", "output"]
    assert '"failed"' in written("json", *entries, choice=LogChoice(quiet=True))


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("error", ["store_failed"]),
        ("warning", ["store_failed", "attempt_ended"]),
        ("notice", ["store_failed", "attempt_ended", "daemon_stopped"]),
        ("info", ["store_failed", "attempt_ended", "daemon_stopped", "attempt_started", "output"]),
    ],
)
def test_the_level_of_the_log(level: str, events: list[str]) -> None:
    entries: list[LogEntry] = [
        Log(Event.STORE_FAILED, {}, bad=True), ended(), Log(Event.DAEMON_STOPPED, {}), started(),
        printed(b"x"),
    ]  # fmt: skip
    text = written("json", *entries, choice=LogChoice(LEVELS[level]))
    assert [json.loads(line)["event"] for line in text.splitlines()] == events


@pytest.mark.parametrize("form", LINES)
def test_a_log_without_commands(form: str) -> None:
    assert "secret" in written(form, started())
    without = written(form, started(), choice=LogChoice(commands=False))
    assert "secret" not in without
    assert "backup" in without


def raw(tmp_path: Path, form: str, *entries: LogEntry, same: bool = False) -> list[str]:
    """What is on the log and on the standard output, with the output of commands as it is."""
    names = ["log", "log" if same else "out"]
    streams = [(tmp_path / name).open("a") for name in names]
    log = configure(form, streams[0], raw=streams[0] if same else streams[1])
    for entry in entries:
        log.write(entry)
    log.close()
    for stream in streams:
        stream.close()
    return [(tmp_path / name).read_text(errors="surrogateescape") for name in names]


def test_raw_output_goes_to_the_stream_on_which_it_was_printed(tmp_path: Path) -> None:
    entries = printed(b"a", b"\xff\x1b[1m"), started(), printed(b"no", stream="stderr")
    log, out = raw(tmp_path, "json", *entries)
    assert out.encode(errors="surrogateescape") == b"a\n\xff\x1b[1m\n"
    event, error = log.splitlines()
    assert json.loads(event)["event"] == "attempt_started"
    assert error == "no"


def test_raw_output_and_the_log_may_be_one_file(tmp_path: Path) -> None:
    log, _ = raw(tmp_path, "logfmt", printed(b"a"), started(), printed(b"b"), same=True)
    first, event, last = log.splitlines()
    assert (first, last) == ("a", "b")
    assert "event=attempt_started" in event


def test_a_timestamp_is_utc_with_microseconds() -> None:
    stamp = json.loads(written("json", ended()))["timestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stamp)


# ---- a log that cannot be written to


def still_writes(form: str, stream: TextIO) -> None:
    """The daemon goes on."""
    log = configure(form, stream)
    for _ in range(3):
        log.write(ended())
        log.step()
    assert 0 < log.patience < 1
    log.events._transport.close()


@pytest.mark.parametrize("form", LINES)
def test_a_log_whose_reader_has_gone_is_ignored(form: str) -> None:
    receiver, sender = os.pipe()
    os.close(receiver)
    with os.fdopen(sender, "w") as stream:
        still_writes(form, stream)


@pytest.mark.parametrize("form", LINES)
def test_a_log_on_a_full_disk_is_ignored(form: str) -> None:
    with open("/dev/full", "w") as stream:
        still_writes(form, stream)


@pytest.mark.parametrize("form", LINES)
def test_characters_that_the_log_cannot_hold_are_escaped(form: str, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        log = configure(form, stream)
        log.write(started("grüße"))
        log.write(started("true"))
        log.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert any("true" in line for line in lines)
