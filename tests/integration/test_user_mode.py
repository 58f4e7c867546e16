"""A user's own daemon, and pycrontab in all its forms."""

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pycron.system import host
from tests.support.running_daemon import RunningDaemon, program, run
from tests.support.thoroughness import slow_after
from tests.support.user_accounts import USERS, UserAccount, user_account
from tests.support.waiting import until

HELLO = "CRON_NAME=hello @every 1s echo hello\n"


class UserWithDaemon:
    """A user who runs their own daemon."""

    def __init__(self, who: UserAccount, log: Path) -> None:
        self.who = who
        self.daemon = RunningDaemon([], log, env=who.environment(), cwd="/", **who.run_as)
        self.daemon.wait_until_ready()

    def how(self, **environment: str) -> dict[str, Any]:
        return {"env": self.who.environment(**environment), "cwd": self.who.home, **self.who.run_as}

    def crontab(
        self, *arguments: str | Path, stdin: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return run("pycrontab", *arguments, stdin=stdin, **self.how(**environment))

    def edit(self, script: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """`-e` with a shell script as the editor: its $1 is the file."""
        editor = self.who.home / "editor"
        editor.write_text(f"#!/bin/sh\n{script}\n")
        editor.chmod(0o755)
        return self.crontab("-e", stdin=stdin, EDITOR=str(editor), TMPDIR=str(self.who.home))

    def on_a_terminal(self, *arguments: str, typed: bytes) -> tuple[int, str]:
        """Run pycrontab on a terminal; its status and what the terminal showed."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            program("pycrontab", *arguments), stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
            **self.how(TMPDIR=str(self.who.home), EDITOR="sh -c 'echo 61 >>$0'"),
        )  # fmt: skip
        os.close(theirs)
        os.write(ours, typed)
        shown = b""
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            shown += data
        os.close(ours)
        return process.wait(30), shown.decode()

    def table(self) -> str:
        return self.crontab("-l").stdout

    def left_behind(self) -> list[str]:
        return [path.read_text() for path in self.who.home.glob("pycrontab.*")]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[UserWithDaemon]:
    own = UserWithDaemon(user_account(USERS[0], tmp_path / "home"), tmp_path / "log")
    try:
        yield own
    finally:
        own.daemon.stop()


# ---- replace, list, delete


def test_standard_input_replaces_the_table_and_it_runs(own: UserWithDaemon) -> None:
    assert own.crontab("-", stdin=HELLO).returncode == 0
    assert own.table() == HELLO
    started = own.daemon.wait_for("attempt_started", job="hello")
    assert started["user"] == own.who.name
    own.daemon.wait_for("attempt_ended", job="hello", outcome="succeeded")


def test_a_file_replaces_the_table(own: UserWithDaemon) -> None:
    file = own.who.home / "mine"
    file.write_bytes(HELLO.encode() + b"# caf\xe9, in Latin-1\n")
    assert own.crontab(file).returncode == 0
    stored = run_bytes(own, "-l")
    assert stored == file.read_bytes()


@pytest.mark.slow
def test_a_file_that_is_not_there(own: UserWithDaemon) -> None:
    own.crontab("-", stdin=HELLO)
    refused = own.crontab("nowhere")
    assert (refused.returncode, refused.stderr) == (
        1, "pycrontab: nowhere: No such file or directory\n",
    )  # fmt: skip
    assert own.table() == HELLO


@pytest.mark.slow
def test_no_table_yet(own: UserWithDaemon) -> None:
    for form in ("-l", "-r"):
        refused = own.crontab(form)
        assert refused.returncode == 1
        assert refused.stderr == f"pycrontab: no crontab for {own.who.name}\n"


def test_delete(own: UserWithDaemon) -> None:
    own.crontab("-", stdin=HELLO)
    own.daemon.wait_for("attempt_started")
    assert own.crontab("-r").returncode == 0
    assert own.crontab("-l").returncode == 1
    own.daemon.wait_for("table_removed")


@pytest.mark.slow
def test_a_deleted_table_comes_back(own: UserWithDaemon) -> None:
    own.crontab("-", stdin=HELLO)
    own.crontab("-r")
    restored = own.crontab("--restore", "1")
    assert (restored.returncode, restored.stdout, own.table()) == (0, "", HELLO)
    assert restored.stderr.startswith("pycrontab: 1 entry added, next due ")
    listed = own.crontab("--versions").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["*", "2", "1"]


@pytest.mark.parametrize(
    ("answer", "deleted"), slow_after(1, [("?\ny\n", True), ("y\n", True), ("n\n", False)])
)
def test_delete_asks_first(own: UserWithDaemon, answer: str, deleted: bool) -> None:
    own.crontab("-", stdin=HELLO)
    asked = own.crontab("-r", "-i", stdin=answer)
    assert asked.returncode == 0
    assert f"really delete {own.who.name}'s crontab?" in asked.stderr
    assert own.table() == ("" if deleted else HELLO)


@pytest.mark.slow
def test_delete_abandoned_at_the_question(own: UserWithDaemon) -> None:
    own.crontab("-", stdin=HELLO)
    assert own.crontab("-r", "-i", stdin="").returncode == 1
    assert own.table() == HELLO


# ---- errors


def test_a_table_with_an_error_is_refused_whole(own: UserWithDaemon) -> None:
    own.crontab("-", stdin=HELLO)
    refused = own.crontab("-", stdin="@daily true\n61 * * * * true\n* * * 13 * true\n")
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        '-:2: bad minute: "61" (0-59)',
        '-:3: bad month: "13" (1-12)',
        "pycrontab: the table has errors; nothing was installed",
    ]
    assert own.table() == HELLO


@pytest.mark.slow
def test_an_unterminated_last_line_is_taken_with_a_warning(own: UserWithDaemon) -> None:
    taken = own.crontab("-", stdin="@daily true")
    assert taken.returncode == 0
    assert "-:1: warning: the last line has no newline" in taken.stderr


@pytest.mark.slow
def test_an_unknown_zone_is_refused(own: UserWithDaemon) -> None:
    refused = own.crontab("-", stdin="CRON_TZ=Mars/Olympus @daily true\n")
    assert refused.returncode == 1
    assert 'bad CRON_TZ: "Mars/Olympus" (no such time zone' in refused.stderr


def test_a_table_that_is_too_large(own: UserWithDaemon) -> None:
    refused = own.crontab("-", stdin="#" * (5 * 2**20) + "\n")
    assert refused.returncode == 1
    assert "larger than" in refused.stderr


def test_without_a_daemon(tmp_path: Path) -> None:
    who = user_account(USERS[0], tmp_path / "home")
    refused = run("pycrontab", "--user", "-l", env=who.environment(), cwd=who.home, **who.run_as)
    assert refused.returncode == 1
    assert "; start it: pycrond\n" in refused.stderr


# ---- edit


def test_edit_installs_the_new_text(own: UserWithDaemon) -> None:
    edited = own.edit(f'printf "%s" "{HELLO}" > "$1"')
    assert (edited.returncode, own.table()) == (0, HELLO)
    assert not own.left_behind()


@pytest.mark.slow
def test_an_edit_within_the_same_second_is_an_edit(own: UserWithDaemon) -> None:
    """The texts are compared, not the modification times (Debian's crontab loses such an edit)."""
    own.crontab("-", stdin=HELLO)
    edited = own.edit('m=$(stat -c %Y "$1"); echo "# more" >> "$1"; touch -d @$m "$1"')
    assert edited.returncode == 0
    assert own.table() == HELLO + "# more\n"


@pytest.mark.slow
def test_no_change(own: UserWithDaemon) -> None:
    own.crontab("-", stdin=HELLO)
    edited = own.edit('touch "$1"')
    assert (edited.returncode, own.table()) == (0, HELLO)
    assert "no changes made to crontab" in edited.stderr
    assert not own.left_behind()


def test_a_bad_edit_can_be_corrected(own: UserWithDaemon) -> None:
    script = 'if [ -s "$1" ]; then echo "@daily true" > "$1"; else echo "61 * * * *" > "$1"; fi'
    edited = own.edit(script, stdin="y\n")
    assert (edited.returncode, own.table()) == (0, "@daily true\n")
    assert 'bad minute: "61" (0-59)' in edited.stderr


@pytest.mark.parametrize("answer", slow_after(1, ["n\n", ""]))
def test_a_bad_edit_that_is_abandoned_is_kept(own: UserWithDaemon, answer: str) -> None:
    edited = own.edit('echo "61 * * * * true" > "$1"', stdin=answer)
    assert edited.returncode == 1
    assert own.left_behind() == ["61 * * * * true\n"]
    assert "edits left in" in edited.stderr
    assert own.table() == ""


@pytest.mark.slow
def test_an_editor_that_fails_keeps_the_text(own: UserWithDaemon) -> None:
    edited = own.edit('echo "@daily true" > "$1"; exit 3')
    assert edited.returncode == 1
    assert own.left_behind() == ["@daily true\n"]
    assert "ended with status 3" in edited.stderr


def test_a_daemon_that_dies_during_the_edit_loses_nothing(own: UserWithDaemon) -> None:
    pid = own.daemon.process.pid
    edited = own.edit(f'echo "@daily true" > "$1"; kill {pid}; sleep 1')
    assert edited.returncode == 1
    assert own.left_behind() == ["@daily true\n"]


# ---- on a terminal, and the rest


@pytest.mark.slow
def test_no_arguments_on_a_terminal_print_the_usage(own: UserWithDaemon) -> None:
    status, shown = own.on_a_terminal(typed=b"")
    assert status == 1
    assert "usage: pycrontab" in shown


@pytest.mark.slow
def test_no_arguments_in_a_pipe_replace_nothing(own: UserWithDaemon) -> None:
    own.crontab("-", stdin=HELLO)
    refused = own.crontab(stdin="")
    assert refused.returncode == 1
    assert "say: pycrontab -" in refused.stderr
    assert own.table() == HELLO


@pytest.mark.slow
def test_end_of_file_at_a_prompt_on_a_terminal(own: UserWithDaemon) -> None:
    status, shown = own.on_a_terminal("-e", typed=b"\x04")
    assert status == 1
    assert "edits left in" in shown
    assert own.left_behind() == ["61\n"]


@pytest.mark.slow
def test_test_a_file(own: UserWithDaemon) -> None:
    (own.who.home / "good").write_text("@daily true\n")
    (own.who.home / "bad").write_text("61 * * * * true\n")
    assert own.crontab("-T", "good").returncode == 0
    refused = own.crontab("-T", "bad")
    assert (refused.returncode, refused.stderr) == (1, 'bad:1: bad minute: "61" (0-59)\n')
    assert own.crontab("-l").returncode == 1


@pytest.mark.slow
def test_version(own: UserWithDaemon) -> None:
    assert own.crontab("-V").stdout.startswith("pycrontab 0.")


def test_wrong_usage(own: UserWithDaemon) -> None:
    for arguments in (["-l", "-r"], ["-x"], ["a", "b"]):
        refused = own.crontab(*arguments)
        assert refused.returncode == 1
        assert "usage:" in refused.stderr


def test_another_users_table(own: UserWithDaemon) -> None:
    refused = own.crontab("-u", "root", "-l")
    assert refused.returncode == 1
    assert "only root may use -u" in refused.stderr or "another user" in refused.stderr


def test_reboot_jobs_were_due_when_the_machine_started(own: UserWithDaemon) -> None:
    assert own.crontab("-", stdin="CRON_NAME=boot @reboot true\n").returncode == 0
    done = run("pycron", "why", "--json", "boot", "2026-03-10T12:00", **own.how())
    (note,) = json.loads(done.stdout)["notes"]
    said = note.removeprefix("The last such start was at ").removesuffix(".")
    assert abs(datetime.fromisoformat(said).timestamp() - host.boot_time()) < 5


def test_history_survives_a_restart(own: UserWithDaemon) -> None:
    own.crontab("-", stdin="CRON_NAME=hello @every 1s echo hello\n")
    own.daemon.wait_for("attempt_ended")
    listed = run("pycron", "list", "--json", **own.how())
    assert '"job": "hello"' in listed.stdout
    own.daemon.stop()
    own.daemon = RunningDaemon(
        [], own.who.home.parent / "log2", env=own.who.environment(), cwd="/", **own.who.run_as
    )
    own.daemon.wait_for("attempt_ended")
    shown = run("pycron", "log", "hello", **own.how())
    assert shown.stdout == "hello\n"


def run_bytes(own: UserWithDaemon, *arguments: str) -> bytes:
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        program("pycrontab", *arguments), capture_output=True, check=True, **own.how()
    )
    return done.stdout


# ---- the desktop


def test_commands_get_what_a_desktop_program_needs_and_no_more(tmp_path: Path) -> None:
    """What the daemon was started with; a table may set it otherwise."""
    who = user_account(USERS[0], tmp_path / "home")
    desktop = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere/bus", "DISPLAY": ":7",
               "WAYLAND_DISPLAY": "wayland-7", "XAUTHORITY": "/nowhere/x"}  # fmt: skip
    environment = who.environment(**desktop, SECRET="x")
    daemon = RunningDaemon([], tmp_path / "log", env=environment, cwd="/", **who.run_as)
    try:
        daemon.wait_until_ready()
        seen = who.home / "seen"
        table = f"DISPLAY=:8\n@every 1s env >{seen}.new; mv {seen}.new {seen}\n"
        how = {"env": environment, "cwd": who.home, **who.run_as}
        until(lambda: run("pycrontab", "-", stdin=table, **how).returncode == 0)
        until(seen.exists)
        found = dict(line.split("=", 1) for line in seen.read_text().splitlines())
        found["HOME"] = "/nowhere"  # where else the socket may be, as the table may set it
        found["PYTHONPATH"] = environment["PYTHONPATH"]
        status = run("pycron", "status", "--json", **{**how, "env": found})
    finally:
        daemon.stop()
    assert {name: found.get(name) for name in desktop} == desktop | {"DISPLAY": ":8"}
    assert "SECRET" not in found
    assert json.loads(status.stdout)["mode"] == "user"  # a command finds this daemon
