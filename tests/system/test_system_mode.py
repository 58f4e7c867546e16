"""The system's daemon, as root: real users, the spool, drop-ins, hostile files."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.system import paths
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.running_daemon import command_path
from tests.support.user_accounts import USERS, join, member_of, real_user
from tests.support.waiting import until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[IsolatedSystem]:
    with isolated_system(tmp_path) as system:
        yield system


WHO = "id -u; id -g; id -G; pwd; umask; env | sort"


def test_commands_run_as_their_users(system: IsolatedSystem) -> None:
    """Two users with tables and one in a drop-in: uid, gid, groups and cron's environment."""
    join(USERS[0], "users")
    for user in USERS[:2]:
        table = f"FOO=bar\nCRON_NAME=who @every 1s {WHO}\n"
        assert system.run("pycrontab", "-", user=user, stdin=table).returncode == 0
    system.write(paths.DROP_INS / "third", f"CRON_NAME=who @every 1s {USERS[2]} {WHO}\n")
    for user in USERS:
        system.daemon.wait_for("attempt_ended", user=user, outcome="succeeded")
        account = real_user(user)
        run_id = system.runs("--owner", user, "--outcome", "succeeded")[0]["run_id"]
        log = system.run("pycron", "log", run_id)
        lines = log.stdout.splitlines()
        groups = set(os.getgrouplist(user, account.pw_gid))
        assert lines[:2] == [str(account.pw_uid), str(account.pw_gid)]
        assert set(map(int, lines[2].split())) == groups
        assert lines[3:5] == [account.pw_dir, "0022"]
        environment = dict(line.split("=", 1) for line in lines[5:])
        expected = {
            "HOME": account.pw_dir, "LOGNAME": user, "USER": user, "SHELL": "/bin/sh",
            "PATH": command_path(), "CRON_JOB": "who", "CRON_RUN_ID": run_id, "CRON_ATTEMPT": "1",
        } | ({"FOO": "bar"} if user != USERS[2] else {})  # fmt: skip
        assert {key: environment.get(key) for key in expected} == expected
        assert set(environment) - set(expected) <= {"CRON_FIRE_TIME", "PWD", "_", "OLDPWD"}


def test_mail_is_sent_by_the_owner(system: IsolatedSystem) -> None:
    """The sendmail program runs as the owner, whose receipts nobody else can read."""
    etc = paths.ALLOW.parent
    part = "cd mails && (id -un; env; cat) >.$$ && mv .$$ $$"  # a mail is there as a whole
    script = f"#!/bin/sh\ncd {etc} && {part}\n"
    system.write(etc / "sendmail", script)
    system.shell(f"chmod 755 {etc}/sendmail; mkdir -m 1777 {etc}/mails")
    system.write(etc / "pycron.toml", f'[mail]\nsendmail = "{etc}/sendmail -i -t"\n')
    system.daemon.stop()
    system.start()
    user, other = USERS[:2]
    table = "SECRET=42\nCRON_NAME=hello @yearly echo hello\n"
    assert system.run("pycrontab", "-", user=user, stdin=table).returncode == 0
    assert system.run("pycron", "start", "hello", user=user).returncode == 0
    sent = until(lambda: [row for row in deliveries(system, user) if row["outcome"]])
    assert [row["outcome"] for row in sent] == ["succeeded"]
    text = system.shell(f"cat {etc}/mails/*")
    assert text.startswith(f"{user}\n")
    assert f"\nTo: {user}\n" in text
    assert "\nhello\n" in text
    assert "SECRET" not in text
    receipts = paths.SYSTEM_STATE / "receipts"
    uid = real_user(user).pw_uid
    assert system.shell(f"stat -c '%a %u' {receipts} {receipts}/{uid}") == f"711 0\n700 {uid}\n"
    assert deliveries(system, other) == []


def deliveries(system: IsolatedSystem, user: str) -> list[dict[str, object]]:
    return system.rows("runs", "--deliveries", user=user)


def test_a_user_sees_only_their_own(system: IsolatedSystem) -> None:
    mine, other = USERS[:2]
    system.run("pycrontab", "-", user=mine, stdin="CRON_NAME=secret @every 1s echo secret\n")
    system.daemon.wait_for("attempt_ended", user=mine)
    run = system.runs("--outcome", "succeeded", user=mine)[0]
    run_id = run["run_id"]
    assert system.runs(user=other) == []
    for arguments in (["log", run_id], ["show", run_id]):
        refused = system.run("pycron", *arguments, user=other)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == f'pycron: no such run: "{run_id}"\n'
    assert system.run("pycron", "list", user=other).stdout == ""
    assert run_id in system.run("pycron", "why", "secret", run["fire_time"], user=mine).stdout
    refused = system.run("pycron", "why", "secret", "now", user=other)
    assert refused.stderr == 'pycron: no such job: "secret" (pycron list)\n'
    refused = system.run("pycron", "runs", "--owner", mine, user=other)
    assert refused.stderr == "pycron: you may see your own runs only\n"
    for arguments in (["-l"], ["-r"], ["-"]):
        refused = system.run("pycrontab", "-u", mine, *arguments, user=other)
        assert refused.returncode == 1
        assert "only root may use -u" in refused.stderr
    assert "secret" in system.run("pycrontab", "-u", mine, "-l").stdout  # as root


@pytest.mark.slow
def test_runs_as_root_stay_hidden_from_the_next_user_of_the_entry(system: IsolatedSystem) -> None:
    """One Run of root is running, one has ended, one is a dead letter; then the user changes."""
    user, table = USERS[0], paths.DROP_INS / "moved"
    entries = {"ended": "echo secret", "alive": "echo secret; sleep 1000", "dead": "exit 1"}
    marks = {"dead": "CRON_RETRIES=1 CRON_RETRY_DELAY=1 CRON_RETRY_JITTER=0 "}
    text = "".join(f"CRON_NAME={name} {marks.get(name, '')}0 0 1 1 * root {command}\n"
                   for name, command in entries.items())  # fmt: skip
    system.write(table, text)
    system.daemon.wait_for("table_loaded", table=str(table))
    run_ids = {}
    for name in entries:
        (started,) = system.rows("start", name)
        run_ids[name] = started["run_id"]
    system.daemon.wait_for("attempt_started", run_id=run_ids["alive"])
    system.daemon.wait_for("attempt_ended", run_id=run_ids["ended"])
    system.daemon.wait_for("attempt_ended", run_id=run_ids["dead"], attempt=2)
    system.write(table, text.replace(" root ", f" {user} "))
    system.daemon.wait_for("table_loaded", table=str(table), count=2)
    assert {row["job"] for row in system.rows("list", user=user)} == set(entries)
    assert system.runs(user=user) == []
    assert system.rows("dead", "list", user=user) == []
    for name, run_id in run_ids.items():
        for words in (("show", run_id), ("log", run_id), ("kill", run_id), ("kill", name),
                      ("dead", "drop", run_id), ("dead", "redrive", run_id)):  # fmt: skip
            done = system.run("pycron", *words, user=user)
            assert (done.returncode, done.stdout) == (1, ""), words
        (answer,) = system.rows("why", name, system.runs("--job", name)[0]["fire_time"], user=user)
        assert answer["runs"] == []
        assert [(row["run_id"], row["user"]) for row in system.runs("--job", name)] == [
            (run_id, "root")
        ]
    (top,) = system.rows("top", user=user)
    assert (top["running"], top["waiting"]) == ([], [])
    system.rows("kill", run_ids["alive"])
    system.daemon.wait_for("attempt_ended", run_id=run_ids["alive"], outcome="cancelled")
    redriven = system.run("pycron", "dead", "redrive", run_ids["dead"])
    assert (redriven.returncode, redriven.stderr) == (
        1, "pycron: dead: its entry is gone; it can only be dropped\n"
    )  # fmt: skip


def test_operators_see_all(system: IsolatedSystem) -> None:
    with member_of(USERS[2], "pycron"):
        system.run("pycrontab", "-", user=USERS[0], stdin="@every 1s true\n")
        system.daemon.wait_for("attempt_ended", user=USERS[0])
        assert system.runs(user=USERS[2])


def test_the_number_of_tables_is_limited(system: IsolatedSystem) -> None:
    one, another = USERS[:2]
    system.daemon.stop()
    system.write(Path("/etc/pycron/pycron.toml"), "[limits]\ntables = 1\n")
    system.daemon = system.start()
    for _ in range(2):
        assert system.run("pycrontab", "-", user=one, stdin="@daily true\n").returncode == 0
    refused = system.run("pycrontab", "-", user=another, stdin="@daily true\n")
    assert refused.returncode == 1
    assert "no room for another table (limits.tables is 1)" in refused.stderr
    assert system.run("pycrontab", "-r", user=one).returncode == 0
    assert system.run("pycrontab", "-", user=another, stdin="@daily true\n").returncode == 0


def test_allow_and_deny(system: IsolatedSystem) -> None:
    assert system.run("pycrontab", "-", user=USERS[0], stdin="@daily true\n").returncode == 0
    system.write(paths.DENY, f"{USERS[0]}\n")
    refused = system.run("pycrontab", "-l", user=USERS[0])
    assert refused.returncode == 1
    assert "not allowed to use this program" in refused.stderr
    assert system.run("pycrontab", "-", user=USERS[1], stdin="@daily true\n").returncode == 0
    system.write(paths.ALLOW, f"{USERS[0]}\n")
    assert system.run("pycrontab", "-l", user=USERS[0]).returncode == 0
    assert system.run("pycrontab", "-l", user=USERS[1]).returncode == 1
    system.daemon.wait_for("access_denied", user=USERS[1])


def test_hostile_files_in_the_drop_in_directory(system: IsolatedSystem) -> None:
    """Each has a problem of its own, and the daemon goes on."""
    system.shell(f"""
        cd {paths.DROP_INS}
        mkfifo fifo
        ln -s /etc/passwd link; chown -h {USERS[0]} link
        mkdir directory
        for name in open twice stranger; do echo '* * * * * root true' > .$name; done
        chmod 666 .open; ln .twice again; chown {USERS[0]} .stranger
        for name in open twice stranger; do mv .$name $name; done
        head -c 100000000 /dev/zero > big
        head -c 4096 /dev/urandom > junk
        echo '* * * * * root true' > dotted.bak
    """)
    good = f"CRON_NAME=good @every 1s {USERS[0]} true\n"
    system.write(paths.DROP_INS / "good", good)
    system.daemon.wait_for("attempt_started", job="good")
    system.daemon.signal(signal.SIGHUP)
    system.daemon.wait_for("reloaded")
    checked = system.run("pycron", "check", "--json")
    assert checked.returncode == 1
    problems = [json.loads(line) for line in checked.stdout.splitlines()]
    codes = {Path(p["file"]).name: p["code"] for p in problems if p["line"] == 0}
    assert codes == {
        "fifo": "not-a-file", "link": "symlink", "directory": "not-a-file", "open": "writable",
        "twice": "hard-link", "again": "hard-link", "stranger": "wrong-owner", "big": "too-large",
        "dotted.bak": "ignored-file",
    }  # fmt: skip
    assert any(Path(p["file"]).name == "junk" and p["severity"] == "error" for p in problems)
    assert system.daemon.log("table_ignored", path=str(paths.DROP_INS / "dotted.bak"))
    jobs = [json.loads(line) for line in system.run("pycron", "list", "--json").stdout.splitlines()]
    assert {job["job"] for job in jobs} == {"good"}


@pytest.mark.slow
def test_a_table_that_comes_and_goes_while_it_is_read(system: IsolatedSystem) -> None:
    path = paths.DROP_INS / "restless"
    churn = subprocess.Popen([*system.inside, "sh", "-c", f"""
        for i in $(seq 300); do echo '@daily root true' > {path}; rm -f {path}; done
    """])  # fmt: skip
    while churn.poll() is None:
        system.daemon.signal(signal.SIGHUP)
        assert system.run("pycron", "status").returncode == 0
    system.write(path, f"CRON_NAME=rest @every 1s {USERS[0]} true\n")
    system.daemon.wait_for("attempt_ended", job="rest")


def test_an_entry_of_an_unknown_user_fails_and_the_others_run(system: IsolatedSystem) -> None:
    table = f"CRON_NAME=a @every 1s nobody-here true\nCRON_NAME=b @every 1s {USERS[0]} true\n"
    system.write(paths.DROP_INS / "mixed", table)
    failed = system.daemon.wait_for("attempt_ended", job="a")
    assert (failed["outcome"], failed["reason"]) == ("failed", "no such user: nobody-here")
    system.daemon.wait_for("attempt_ended", job="b", outcome="succeeded")
    assert system.daemon.log("table_problem", table=str(paths.DROP_INS / "mixed"))


def test_commands_survive_a_restart_of_the_daemon(system: IsolatedSystem) -> None:
    done = system.directory / "done"
    command = f"while [ ! -e {done} ]; do sleep 0.1; done; exit 9"
    system.write(paths.DROP_INS / "long", f"CRON_NAME=long CRON_CWD=/ @every 1h root {command}\n")
    system.write(paths.DROP_INS / "boot", f"CRON_NAME=boot @reboot root {command}\n")
    system.daemon.stop()
    system.shell(f"rm {paths.SYSTEM_STATE}/pycron.db*")  # as after a boot
    system.daemon = system.start()
    pid = system.daemon.wait_for("attempt_started", job="boot")["pid"]
    assert system.daemon.stop() == 0
    assert Path(f"/proc/{pid}").exists()
    system.daemon = system.start()
    done.touch()
    ended = system.daemon.wait_for("attempt_ended", job="boot")
    assert (ended["exit_status"], ended["attempt"]) == (9, 1)
    assert not system.daemon.log("attempt_started", job="boot")  # once a boot


def test_the_spool_is_for_the_daemon_alone(system: IsolatedSystem) -> None:
    system.run("pycrontab", "-", user=USERS[0], stdin="@daily true\n")
    listing = system.shell(f"stat -c '%a %U' {paths.SPOOL} {paths.SPOOL}/{USERS[0]}")
    assert listing == f"700 root\n600 {USERS[0]}\n"
    for path in (paths.SYSTEM_STATE / "pycron.db", paths.SYSTEM_STATE / "lock"):
        assert system.shell(f"stat -c %a {path}") == "600\n"
