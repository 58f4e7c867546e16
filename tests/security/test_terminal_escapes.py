"""What a stranger wrote cannot control the terminal of the person who reads it.

Every verb of pycron, and each thing that pycrontab and pycrond print, is run on a terminal with
poisoned tables, names, reasons, outputs, users and paths. In a pipe nothing is changed.
"""

import contextlib
import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.cli.verb import all_verbs
from pycron.model.text import visible
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.running_daemon import program
from tests.support.thoroughness import slow_after
from tests.support.user_accounts import USERS

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

MALLORY, _, _ = USERS
# The title of a terminal, a C1 control sequence, a bell, text that is written from right to left,
# a byte that is no UTF-8.
POISON = "\x1b]0;owned\x07\x9b31m\u202etxt\u2066\x85\x08\x7f\udc9b"
PATH = "/run/mallory/\x1b[31mtable\u202e"
TABLE = f"""# {POISON}
CRON_NAME=poisoned @yearly echo '{POISON}'; : '{POISON}'
@yearly : another '{POISON}'
"""
BAD_TABLE = f"* * * * {POISON} true\n{POISON}\n"
DROP_IN = f"@yearly {MALLORY} : {POISON}\n@yearly {POISON} true\n"
REASON = POISON.replace("\udc9b", "")  # the control protocol has no such bytes in a reason

NOW = "2026-03-08T12:00"

# Own escape sequences of pycron: colours; `pycron top` has a screen of its own and refreshes it.
_OWN = re.compile("\x1b\\[(?:[0-9;]*m|\\?1049[hl]|\\?25[hl]|H|2J|J|K)")


def is_clean(text: str) -> bool:
    """Whether only printable characters, tabs and ends of lines are in it."""
    return all(c.isprintable() or c in "\t\n" for c in _OWN.sub("", text.replace("\r\n", "\n")))


def on_terminal(command: list[str], **environment: str) -> str:
    """What a command writes to a terminal, which is its standard output and standard error."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        ["timeout", "4", *command], stdin=subprocess.DEVNULL, stdout=follower, stderr=follower,
        env={**os.environ, **environment}, cwd="/",
    )  # fmt: skip
    os.close(follower)
    parts = []
    with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
        while part := os.read(leader, 65_536):
            parts.append(part)
    os.close(leader)
    process.wait()
    return b"".join(parts).decode("utf-8", "surrogateescape")


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ümlaut 日本 🙂\n\tindented", "plain ümlaut 日本 🙂\n\tindented"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x07\x08\x7f\r", r"\x07\x08\x7f\r"),
        ("\x85\x9b", r"\x85\x9b"),
        ("\u202e\u2066\u200f", r"\u202e\u2066\u200f"),
        ("\udcff", r"\xff"),
        ("\u2028", r"\u2028"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


# ---- every program, with a real daemon


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedSystem]:
    """A daemon with everything that Mallory can poison."""
    with isolated_system(tmp_path_factory.mktemp("system")) as system:
        install(system, TABLE)
        install(system, TABLE + "@yearly : added\n")
        write(system, "/etc/pycron.d/poisoned", DROP_IN)
        run_id = run(system, "pycron", "start", "poisoned").decode().strip()
        system.daemon.wait_for("attempt_ended", run_id=run_id)
        run(system, "pycron", "pause", "--owner", MALLORY, "--reason", REASON)
        system.shell("mkdir -p /run/mallory")
        write(system, PATH, TABLE + BAD_TABLE)
        yield system


def inside(system: IsolatedSystem, name: str, *words: str, user: str = "root") -> list[str]:
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
    root = Path(__file__).parents[2]
    return [
        *system.inside, *(become if user != "root" else []),
        "env", f"PYTHONPATH={root}", *program(name, *words),
    ]  # fmt: skip


def run(system: IsolatedSystem, name: str, *words: str, user: str = MALLORY) -> bytes:
    done = subprocess.run(
        inside(system, name, *words, user=user),
        capture_output=True,
        check=True,
        timeout=60,
        cwd="/",
    )
    return done.stdout


def write(system: IsolatedSystem, path: str, text: str) -> None:
    (system.root / path.lstrip("/")).write_bytes(encoded(text))


def install(system: IsolatedSystem, table: str) -> None:
    command = inside(system, "pycrontab", "-", user=MALLORY)
    subprocess.run(command, input=encoded(table), check=True, timeout=60, cwd="/")


# Verbs that need arguments to show something; every verb gets the arguments of `wrong`, too.
ARGUMENTS: dict[str, list[list[str]]] = {
    "check": [["--table", PATH], ["--json", "--table", PATH], [PATH], []],
    "dead": [["list"], ["drop", POISON], ["redrive", POISON]],
    "explain": [["@daily " + POISON], ["* * * * *"]],
    "import": [["--from", PATH]],
    "kill": [[POISON], ["poisoned"]],
    "list": [[], ["--json"]],
    "log": [["poisoned"], ["--json", "poisoned"], [POISON], ["--search", "owned"],
            ["--json", "--search", "owned", "poisoned"], ["--search", REASON, POISON]],
    "next": [["--table", PATH], ["--json", "--table", PATH], [], [POISON]],
    "pause": [[], ["--json"], [POISON], ["--owner", POISON], ["--pool", POISON]],
    "resume": [[POISON], ["--owner", POISON], ["--pool", POISON]],
    "runs": [[], ["--json"], ["--job", POISON], ["--owner", POISON], ["--outcome", POISON],
             ["--since", POISON], ["--csv"]],
    "show": [["poisoned"], ["--json", "poisoned"], [POISON]],
    "start": [[POISON], ["--wait", "--force", "poisoned"]],  # its user is paused
    "status": [[], ["--json"], ["--state-dir", PATH]],
    "test": [["poisoned"], ["--table", PATH], ["--table", PATH, POISON], ["--line", POISON],
             ["--line", f"@daily echo '{POISON}'; exit 3"], ["--env", "--line", "@daily x"],
             ["--json", "--line", "@daily " + POISON]],
    "test-mail": [[POISON]],
    "top": [[], ["--json"]],
    "why": [["poisoned", NOW], ["--json", "poisoned", NOW], ["poisoned", POISON], [POISON, NOW]],
}  # fmt: skip


# Those that show a text of the table without being asked for it.
QUOTING = ("list", "log", "show", "top", "pause", "check")


def wrong(verb: str) -> list[list[str]]:
    """Arguments that argparse or the daemon refuses, with a message that quotes them."""
    return [[verb, f"--{POISON}"], [verb, "--json", f"--limit={POISON}", POISON, POISON, POISON]]


@needs_root
@pytest.mark.root
@pytest.mark.parametrize("verb", slow_after(
    len(QUOTING), [*QUOTING, *sorted({each.name for each in all_verbs()} - {*QUOTING})],
))  # fmt: skip
def test_every_verb(system: IsolatedSystem, verb: str) -> None:
    shown = ""
    for words in [[verb, *each] for each in ARGUMENTS.get(verb, [])] + wrong(verb):
        text = on_terminal(inside(system, "pycron", *words))
        assert is_clean(text), (words, text)
        shown += text
    assert shown
    if verb in QUOTING:
        assert r"\x1b" in shown or r"\u001b" in shown, verb


@needs_root
@pytest.mark.root
def test_pycrontab(system: IsolatedSystem) -> None:
    for words in (
        ["-u", MALLORY, "-l"], ["-u", MALLORY, "--versions"], ["-u", MALLORY, "--diff", "1"],
        ["-T", PATH], ["-u", MALLORY, PATH], ["-u", POISON, "-l"], [f"--{POISON}"],
        ["-u", MALLORY, "-r", "-i"], ["-u", MALLORY, "--restore", POISON], ["-n", POISON],
    ):  # fmt: skip
        text = on_terminal(inside(system, "pycrontab", *words))
        assert is_clean(text), (words, text)
        assert text, words
    assert "owned" in on_terminal(inside(system, "pycrontab", "-u", MALLORY, "-l"))


@pytest.mark.parametrize("form", slow_after(1, ["console -v", "console", "json", "logfmt"]))
def test_the_daemon_in_the_foreground(tmp_path: Path, form: str) -> None:
    table = tmp_path / "\x1b[31mtable\u202e"
    table.write_bytes(encoded(TABLE.replace("@yearly", "@every 1s") + BAD_TABLE))
    command = program("pycrond", "--foreground", "--table", table, "--state-dir",
                      tmp_path / "state", "--log-format", *form.split())  # fmt: skip
    text = on_terminal(command, PYTHONPATH=str(Path(__file__).parents[2]), NO_COLOR="1")
    assert is_clean(text), text  # its own colours are for who wants them
    assert "owned" in text
    for words in (["--check"], [f"--{POISON}"]):
        text = on_terminal([*command, *words], PYTHONPATH=str(Path(__file__).parents[2]))
        assert is_clean(text), text


# ---- a pipe


def run_with_output(system: IsolatedSystem) -> str:
    """The Run that has printed; later ones wait for the end of the pause."""
    words = ("runs", "--job", "poisoned", "--outcome", "succeeded", "--json")
    *_, first = run(system, "pycron", *words).splitlines()
    return str(json.loads(first)["run_id"])


@needs_root
@pytest.mark.root
def test_a_pipe_gets_everything_unchanged(system: IsolatedSystem) -> None:
    table = encoded(TABLE + "@yearly : added\n")
    assert run(system, "pycrontab", "-l") == table
    assert encoded(POISON) in run(system, "pycrontab", "-u", MALLORY, "-l", user="root")
    assert run(system, "pycron", "log", run_with_output(system)) == encoded(POISON + "\n")
    assert b"\n+@yearly : added\n" in run(system, "pycrontab", "--diff", "1")
    (row,) = [json.loads(line) for line in run(system, "pycron", "pause", "--json").splitlines()]
    assert row["reason"] == REASON


@needs_root
@pytest.mark.root
def test_raw_output_on_a_terminal_if_its_reader_wants_it(system: IsolatedSystem) -> None:
    text = on_terminal(inside(system, "pycron", "log", "--raw", run_with_output(system)))
    assert text == POISON + "\r\n"
