"""Programs whose output nobody reads any more, or that cannot be written."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.operated_daemon import OperatedDaemon, operated_daemon
from tests.support.running_daemon import program
from tests.support.thoroughness import slow_after

NEVER = "@yearly"


@pytest.fixture(scope="module")
def op(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedDaemon]:
    directory = tmp_path_factory.mktemp("operated")
    with operated_daemon(directory, f"CRON_NAME=x {NEVER} seq 100000\n61 * * * * y\n") as op:
        op.daemon.wait_for("attempt_ended", run_id=op.start("x"))
        yield op


def ended(command: list[str], stdout: int) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}  # as it is in a shell
    done = subprocess.run(
        command,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    return done.returncode, done.stderr


def to_closed_pipe(command: list[str]) -> tuple[int, str]:
    """Run a program that writes to a pipe whose reader has gone; its status and its messages."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return ended(command, writer)
    finally:
        os.close(writer)


@pytest.mark.parametrize(
    ("words", "status"),
    slow_after(6, [
        ("--help", 0),
        ("status", 0),
        ("list", 0),
        ("log x", 0),
        ("next --count 100000 @every_1s", 0),
        ("check", 1),  # the table has an error
        ("--version", 0),
        ("runs --help", 0),
        ("status --json", 0),
        ("runs --json", 0),
        ("show x", 0),
        ("top", 0),
        ("why x now", 0),
        ("next --count 3", 0),
        ("explain @daily", 0),
        ("dead list --json", 0),
        ("reload --json", 0),
    ]),
)  # fmt: skip
def test_a_verb(op: OperatedDaemon, words: str, status: int) -> None:
    options = ["--state-dir", str(op.state)] if words[0] != "-" else []
    arguments = [word.replace("_", " ") for word in words.split()]
    assert to_closed_pipe(program("pycron", *options, *arguments)) == (status, "")


def test_pycrontab(op: OperatedDaemon) -> None:
    assert to_closed_pipe(program("pycrontab", "--help")) == (0, "")
    assert to_closed_pipe(program("pycrontab", "-V")) == (0, "")


def test_pycrond(op: OperatedDaemon) -> None:
    assert to_closed_pipe(program("pycrond", "--help")) == (0, "")
    table = op.directory / "table"
    assert to_closed_pipe(program("pycrond", "--check", "--table", table)) == (1, "")


@pytest.mark.parametrize("words", [("list",), ("next", "--count", "10000", "@every 1s")])
def test_a_full_disk(op: OperatedDaemon, words: tuple[str, ...]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        found = ended(program("pycron", "--state-dir", op.state, *words), full)
    finally:
        os.close(full)
    assert found == (1, "pycron: standard output: No space left on device\n")


def test_an_output_that_was_closed(op: OperatedDaemon) -> None:
    command = program("pycron", "--state-dir", op.state, "list")
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
