"""The daemon's log: one line for each event, which no table and no output can forge."""

import contextlib
import io
import json
import os
import re
from pathlib import Path

import pytest

from pycron.daemon.log import FORMATS, configure, default_format
from pycron.engine.actions import Log
from pycron.engine.log_events import Event

HOSTILE = [
    "two\nlines", "a\r\nb", "\r12:00:00 [info     ] attempt_ended", "\x1b[2J\x1b[31mred",
    "\x9b31m", "\x07\x08\x00\x7f", "\udcff\udc80", "\u2028\u2029\x85\v\f\x1c", "\u202egnp.exe",
    'x" outcome="succeeded', 'x\\" outcome=succeeded y="', "x outcome=succeeded", "x\\",
    "x\\ y", 'x" z', "a=b", "'", "' outcome=succeeded '", '\\" outcome=succeeded', "", " ", "\t",
    "\tx=y", "\xa0x=y", "\u3000outcome=succeeded", '{"event":"x"}', '"},{"',
]  # fmt: skip
LINES = [form for form in FORMATS if form != "journal"]  # test_journal.py has the tests of that
PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?: |$)')


def written(form: str, log: Log) -> str:
    stream = io.StringIO()
    configure(form, stream)(log)
    return stream.getvalue()


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
    line = written("console", ended(command=text)).rstrip("\n")
    assert re.match(r"\d\d:\d\d:\d\d \[warning  \] attempt_ended +command=", line)
    assert line.endswith(" outcome=failed")
    value = line.partition("command=")[2].removesuffix(" outcome=failed")
    # A value with a blank is in quotes, and ends where the quotes end.
    assert " " not in value or re.fullmatch(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", value)


@pytest.mark.parametrize("text", ["12:00:00 [info     ] attempt_ended outcome=succeeded", "\x1b[A"])
def test_the_output_of_a_command_is_marked_as_output(text: str) -> None:
    log = Log(Event.OUTPUT, {"job": "backup-1", "run_id": "x", "line": text})
    console = written("console", log)
    assert re.match(r"\d\d:\d\d:\d\d \[info     \] backup-1 \| ", console)
    assert console[:-1].isprintable()
    assert json.loads(written("json", log))["event"] == "output"


def test_a_quiet_event_is_not_written() -> None:
    assert written("json", Log(Event.ATTEMPT_STARTED, {}, quiet=True)) == ""


def test_a_field_without_a_value_is_not_on_the_console() -> None:
    assert "signal" not in written("console", ended(signal=None))
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


@pytest.mark.parametrize("form", LINES)
def test_a_log_whose_reader_has_gone_is_ignored(form: str) -> None:
    receiver, sender = os.pipe()
    os.close(receiver)
    stream = os.fdopen(sender, "w", buffering=1)
    write = configure(form, stream)
    for _ in range(3):
        write(ended())
    with contextlib.suppress(BrokenPipeError):
        stream.close()


@pytest.mark.parametrize("form", LINES)
def test_a_log_that_was_closed_is_ignored(form: str, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        write = configure(form, stream)
    write(ended())


@pytest.mark.parametrize("form", LINES)
def test_a_log_on_a_full_disk_is_ignored(form: str) -> None:
    stream = open("/dev/full", "w", buffering=1)  # noqa: SIM115  closing the stream would fail, too
    write = configure(form, stream)
    write(ended())
    with contextlib.suppress(OSError):
        stream.close()


@pytest.mark.parametrize("form", LINES)
def test_characters_that_the_log_cannot_hold_are_escaped(form: str, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        write = configure(form, stream)
        write(ended(command="grüße"))
        write(ended())
    lines = (tmp_path / "log").read_text().splitlines()
    assert any("true" in line for line in lines)
