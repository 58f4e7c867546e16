"""The log in the journal: the native protocol, a sentence and a priority for each event."""

import ast
import contextlib
import os
import re
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.daemon.log import DaemonLog
from pycron.daemon.log_entries import output_as_events
from pycron.daemon.log_journal import fields_of, journal_transport, to_journal
from pycron.daemon.log_messages import ENDINGS, MESSAGES, Priority, message, priority
from pycron.daemon.log_queue import Encoding, LogQueue
from pycron.engine.actions import EntryLine, Log, Printed
from pycron.engine.log_events import Event
from pycron.model.run import Outcome
from pycron.system.journal import Journal, encode
from tests.support.journald import Journald, decode, fill
from tests.unit.test_docs import items, sections
from tests.unit.test_log import HOSTILE

PACKAGE = Path(__file__).resolve().parents[2] / "pycron"
ENTRY = EntryLine("/etc/pycron.d/backup", 4)


def ended(outcome: str, *, bad: bool = True, **fields: object) -> Log:
    what = {"job": "backup", "user": "root", "attempt": 1, "outcome": outcome, **fields}
    return Log(Event.ATTEMPT_ENDED, what, bad=bad, entry=ENTRY)


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    server = Journald(tmp_path / "socket")
    yield server
    server.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A socket to `journald`, if the test has that."""
    with contextlib.closing(Journal(tmp_path / "socket")) as opened:
        yield opened


# ---- the protocol

NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True)


@given(st.lists(st.tuples(NAMES, st.text() | st.text("\n=AB\0"))))
def test_what_was_encoded_can_be_decoded(fields: list[tuple[str, str]]) -> None:
    assert decode(encode(fields)) == fields


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ("plain", b"A=plain\n"),
        ("", b"A=\n"),
        ("a=b", b"A=a=b\n"),
        ("grüße", "A=grüße\n".encode()),
        ("x\nPRIORITY=0", b"A\n\x0c\0\0\0\0\0\0\0x\nPRIORITY=0\n"),
        ("\x1b[2J", b"A\n\4\0\0\0\0\0\0\0\x1b[2J\n"),
    ],
)
def test_a_value_with_a_newline_or_a_control_character_has_its_length_before_it(
    value: str, data: bytes
) -> None:
    assert encode([("A", value)]) == data


@pytest.mark.parametrize("size", [10, 1 << 23])
def test_an_entry_that_is_too_large_for_a_datagram_is_sent_as_a_sealed_file(
    size: int, journald: Journald, journal: Journal
) -> None:
    journal.send(encode([("MESSAGE", "x" * size)]))
    assert journald.read() == [{"MESSAGE": "x" * size}]
    assert journald.files == (size > 1 << 20)


# ---- the fields


def test_an_event_has_its_fields() -> None:
    log = ended("failed", exit_status=3, signal=None, duration=0.5, force=True)
    assert dict(fields_of(log)) == {
        "MESSAGE": "backup of root failed: exit status 3 (/etc/pycron.d/backup:4)",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "pycron",
        "SYSLOG_FACILITY": "9",
        "SYSLOG_PID": str(os.getpid()),
        "PYCRON_EVENT": "attempt_ended",
        "PYCRON_JOB": "backup",
        "PYCRON_USER": "root",
        "PYCRON_ATTEMPT": "1",
        "PYCRON_OUTCOME": "failed",
        "PYCRON_EXIT_STATUS": "3",
        "PYCRON_DURATION": "0.5",
        "PYCRON_FORCE": "true",
        "PYCRON_TABLE": "/etc/pycron.d/backup",
        "PYCRON_LINE": "4",
    }


def test_the_manual_has_the_fields() -> None:
    log = ended("failed")
    fields = {name for name, _ in fields_of(log)} - {f"PYCRON_{key.upper()}" for key in log.fields}
    assert set(items(sections("pycrond.8")["THE JOURNAL"], "Ev")) == {*fields, "PYCRON_ Ns Ar KEY"}


@pytest.mark.parametrize("priority", Priority)
def test_the_manual_has_the_priorities(priority: Priority) -> None:
    text = items(sections("pycrond.8")["THE JOURNAL"], "Cm")[priority.name.lower()]
    usual, _, _ = text.partition("\nAlso\n")
    named = re.findall(r"^\.Cm (\w+)", usual.partition("\n.El")[0], re.MULTILINE)
    assert set(named) == {event.value for event in Event if MESSAGES[event].priority is priority}


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_can_forge_a_field(text: str) -> None:
    log = Log(Event.ATTEMPT_STARTED, {"job": text, "user": "joe", "command": text, "pid": 1})
    fields = decode(encode(fields_of(log)))
    assert [name for name, _ in fields] == [name for name, _ in fields_of(log)]
    assert dict(fields)["PYCRON_EVENT"] == "attempt_started"
    assert all(value.isprintable() for _, value in fields)


def test_the_output_of_a_command_is_no_message_of_cron() -> None:
    log = Log(Event.OUTPUT, {"job": "sshd", "run_id": "x", "line": "backup of root failed"})
    fields = dict(fields_of(log))
    assert fields["MESSAGE"] == "sshd | backup of root failed"
    assert (fields["SYSLOG_FACILITY"], fields["SYSLOG_IDENTIFIER"]) == ("1", "pycron")


# ---- sentences and priorities


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (ended("failed", exit_status=3, attempt=2), "failed: exit status 3 after 2 attempts"),
        (ended("failed", reason="no such user"), "failed: no such user"),
        (ended("succeeded", exit_status=0, duration=1.5), "has succeeded after 1.5 s"),
        (ended("killed", signal=9), "was killed by signal 9"),
        (
            ended("timed_out", duration=3.002, reason="CRON_TIMEOUT=3s"),
            "timed out after 3 s: CRON_TIMEOUT=3s",
        ),
    ],
)
def test_the_end_of_an_attempt_is_one_sentence(log: Log, sentence: str) -> None:
    assert message(log) == f"backup of root {sentence} (/etc/pycron.d/backup:4)"


@pytest.mark.parametrize("text", ["{user}", "[x]", "{", "{missing}", "\\1", "a\nb"])
def test_a_value_is_not_read_as_a_part_of_the_sentence(text: str) -> None:
    log = Log(Event.OUTPUT, {"job": text, "line": "said"})
    assert message(log) == f"{text} | said".replace("\n", "\\n")


def test_every_event_and_every_end_has_a_sentence() -> None:
    assert set(MESSAGES) == set(Event)
    assert set(ENDINGS) == set(Outcome) - {Outcome.MISSED, Outcome.SKIPPED, Outcome.LOST}
    empty = [event for event, found in MESSAGES.items() if not found.sentence]
    assert empty == [Event.ATTEMPT_ENDED]


def sentences() -> Iterator[tuple[Event, str]]:
    for event, found in MESSAGES.items():
        yield from ((event, text) for text in [found.sentence] if text)
    yield from ((Event.ATTEMPT_ENDED, text) for text in ENDINGS.values())


@pytest.mark.parametrize(("event", "sentence"), list(sentences()))
def test_a_sentence_has_keys_of_its_event(event: Event, sentence: str) -> None:
    """The manual lists the keys, and the code where the event is made has those that are needed."""
    needed = set(re.findall(r"\{(\w+)\}", re.sub(r"\[.*?\]", "", sentence)))
    used = set(re.findall(r"\{(\w+)\}", sentence)) - {"entry", "again"}
    text = items(sections("pycrond.8")["LOG EVENTS"], "Cm")[event.value]
    described = set(re.findall(r"\w+", " ".join(re.findall(r"^\.Cm (.+)$", text, re.MULTILINE))))
    if "the Attempt's keys" in text:
        described |= {"job", "run_id", "attempt", "user", "fire_time"}
    assert used <= described
    places = made()[event]
    assert places
    assert all(needed <= keys for keys in places)


@cache
def made() -> dict[Event, list[set[str]]]:
    """For each event, the keys that are written in the functions that make it.

    These are the keys of dictionaries and the names of arguments, also in the functions of the same
    module that are called.
    """
    found: dict[Event, list[set[str]]] = {event: [] for event in Event}
    for path in PACKAGE.rglob("*.py"):
        functions = {
            node.name: node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef)
        }
        for function in functions.values():
            names = _called(function)
            if "Log" not in names:
                continue  # it only reads events
            called = [functions[name] for name in names & set(functions)]
            keys = set().union(*map(_keys, [function, *called]))
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Event":
                    found[Event[node.attr]].append(keys)
    found[Event.OUTPUT] = [keys for keys in found[Event.OUTPUT] if "line" in keys]  # others read it
    return found


def _called(function: ast.FunctionDef) -> set[str]:
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    return {call.id for call in calls if isinstance(call, ast.Name)}


def _keys(function: ast.FunctionDef) -> set[str]:
    keys = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Dict):
            keys |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
        elif isinstance(node, ast.Call):
            keys |= {keyword.arg for keyword in node.keywords if keyword.arg}
    return {str(key) for key in keys}


def test_a_bad_event_is_a_warning_at_least() -> None:
    for event in Event:
        assert priority(Log(event, {}, bad=True)) <= Priority.WARNING
    assert priority(Log(Event.STORE_FAILED, {}, bad=True)) == Priority.ERR
    assert priority(Log(Event.ATTEMPT_STARTED, {})) == Priority.INFO


# ---- a journal that does not take the entries


def journal_log(stream: TextIO, journal: Journal) -> DaemonLog:
    encoding = Encoding(to_journal, output_as_events(to_journal))
    return DaemonLog(LogQueue(journal_transport(stream, journal), encoding))


def test_what_the_journal_does_not_take_goes_to_the_stream_with_its_priority(
    journal: Journal, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("w") as stream:
        log = journal_log(stream, journal)
        log.write(ended("failed", exit_status=3))
        log.write(Log(Event.RESUMED, {"scope": "x\n<0>forged"}))
        log.write(Log(Event.ATTEMPT_STARTED, {}, quiet=True))
        log.write(Printed("backup", "x", "stdout", b"one\ntwo"))
        log.close()
    assert (tmp_path / "log").read_text().splitlines() == [
        "<4>backup of root failed: exit status 3 (/etc/pycron.d/backup:4)",
        "<5>the pause of x\\n<0>forged is over",
        "<6>backup | one",
        "<6>backup | two",
    ]


def test_of_a_long_message_the_stream_gets_the_beginning(journal: Journal, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        log = journal_log(stream, journal)
        log.write(Log(Event.RESUMED, {"scope": "x" * 10_000}))
        log.close()
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line == "<5>the pause of " + "x" * (4095 - 16)


def test_a_journal_that_was_started_again_is_found(journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = Journald(path)
    with (tmp_path / "log").open("w") as stream:
        log = journal_log(stream, journal)
        log.write(ended("failed"))
        first.close()
        log.write(ended("killed"))  # the socket is there, and nobody listens
        path.unlink()
        second = Journald(path)
        log.write(ended("timed_out"))
        log.close()
    assert [e["PYCRON_OUTCOME"] for e in second.read()] == ["timed_out"]
    assert (tmp_path / "log").read_text().startswith("<4>backup of root was killed")
    second.close()


def test_a_journal_that_nobody_reads_holds_nothing_up(journald: Journald, journal: Journal) -> None:
    """Neither the journal nor the stream is read; what waits is written later, in order."""
    ours, theirs = socket.socketpair()
    with ours, theirs, os.fdopen(os.dup(theirs.fileno()), "w") as stream:
        log = journal_log(stream, journal)
        fill(lambda: journal.send(b"FILLED=1\n"))
        theirs.setblocking(False)
        fill(lambda: theirs.send(b"x" * 4096))
        theirs.setblocking(True)  # as the standard error of a service
        for number in range(7):
            log.write(ended("failed", duration=number))
        log.step()
        assert all("FILLED" in entry for entry in journald.read())
        journald.entries.clear()
        log.close()
    assert [entry["PYCRON_DURATION"] for entry in journald.read()] == list("0123456")


def test_a_stream_that_nobody_reads_any_more_is_ignored(journal: Journal) -> None:
    receiver, sender = os.pipe()
    os.close(receiver)
    with os.fdopen(sender, "w") as stream:
        log = journal_log(stream, journal)
        for _ in range(3):
            log.write(ended("failed"))
            log.step()
        log.close()
