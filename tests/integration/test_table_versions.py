"""Versions of users' tables in the system's daemon, with real users, as root."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP
from subprocess import CompletedProcess

import pytest

from pycron.system import paths
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.user_accounts import USERS, real_user

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

JOE, ANN, _ = USERS
FIRST = "@yearly a\n@yearly b\n"
SECOND = "@yearly a\n@monthly b\n@yearly c\n"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[IsolatedSystem]:
    with isolated_system(tmp_path, own_etc=True) as system:
        yield system


def crontab(
    system: IsolatedSystem, *words: str, user: str = JOE, stdin: str = ""
) -> CompletedProcess[str]:
    return system.run("pycrontab", *words, user=user, stdin=stdin)


def listed(system: IsolatedSystem, *words: str, user: str = JOE) -> list[str]:
    """The lines of --versions, without the times."""
    done = crontab(system, "--versions", *words, user=user)
    assert (done.returncode, done.stderr) == (0, "")
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+"
    lines = [re.sub(time, "TIME", line, count=1) for line in done.stdout.splitlines()]
    assert all("TIME" in line for line in lines)
    return [" ".join(line.split()) for line in lines]


def found_in_spool(system: IsolatedSystem, text: str | None, event: str, count: int) -> None:
    """Change the file of the table as root does without pycrontab; wait until it is seen."""
    if text is None:
        system.shell(f"rm {paths.SPOOL}/{JOE}")
    else:
        system.write(paths.SPOOL / JOE, text)
    system.daemon.wait_for(event, table=JOE, count=count)


def test_the_versions_of_a_table(system: IsolatedSystem) -> None:
    refused = crontab(system, "--versions")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"pycrontab: no versions of a crontab for {JOE}\n"
    crontab(system, "-", stdin=FIRST)
    crontab(system, "-u", JOE, "-", user="root", stdin=SECOND)
    assert crontab(system, "-r").returncode == 0
    restored = crontab(system, "--restore", "1")
    assert restored.returncode == 0
    assert re.fullmatch(r"pycrontab: 2 entries added, next due \S+ 00:00\n", restored.stderr)
    assert crontab(system, "-l").stdout == FIRST
    assert listed(system) == listed(system, "-u", JOE, user="root") == [
        f"* 4 TIME {JOE} pycrontab --restore 1 2 entries, 20 bytes",
        f"3 TIME {JOE} pycrontab -r no table",
        "2 TIME root pycrontab - 3 entries, 31 bytes",
        f"1 TIME {JOE} pycrontab - 2 entries, 20 bytes",
    ]  # fmt: skip
    origins = [line["origin"] for line in system.daemon.log("table_installed", table=JOE)]
    assert origins == ["stdin", "stdin", "restore"]


@pytest.mark.slow
def test_the_difference_to_a_version(system: IsolatedSystem) -> None:
    crontab(system, "-", stdin=FIRST)
    crontab(system, "-", stdin=SECOND)
    done = crontab(system, "--diff", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "--- version 1\n+++ current\n@@ -1,2 +1,3 @@\n"
        " @yearly a\n-@yearly b\n+@monthly b\n+@yearly c\n"
    )
    assert crontab(system, "--diff", "2").stdout == ""
    crontab(system, "-r")
    assert "\n-@yearly c\n" in crontab(system, "--diff", "2").stdout
    for words in (["--diff", "9"], ["--restore", "9"]):
        done = crontab(system, *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "pycrontab: there is no version 9 (see --versions)\n"
    done = crontab(system, "--restore", "3")
    assert (done.returncode, "use -r to delete it" in done.stderr) == (1, True)


@pytest.mark.slow
def test_what_somebody_changes_in_the_spool(system: IsolatedSystem) -> None:
    """Each change that a scan sees, a deletion, and one while the daemon was not running."""
    crontab(system, "-", stdin=FIRST)
    found_in_spool(system, SECOND, "table_loaded", 2)
    found_in_spool(system, FIRST, "table_loaded", 3)
    found_in_spool(system, None, "table_removed", 1)
    system.daemon.stop()
    system.write(paths.SPOOL / JOE, "@yearly d\n")
    system.start()
    assert listed(system) == [
        "* 5 TIME - found in the spool 1 entry, 10 bytes",
        "4 TIME - found in the spool no table",
        "3 TIME - found in the spool 2 entries, 20 bytes",
        "2 TIME - found in the spool 3 entries, 31 bytes",
        f"1 TIME {JOE} pycrontab - 2 entries, 20 bytes",
    ]
    crontab(system, "--restore", "2")
    assert crontab(system, "-l").stdout == SECOND


def test_a_restored_version_is_checked_like_any_table(system: IsolatedSystem) -> None:
    """A version that was found in the spool may have errors."""
    crontab(system, "-", stdin=FIRST)
    found_in_spool(system, "61 * * * * a\n", "table_bad", 1)
    crontab(system, "-", stdin=FIRST)
    refused = crontab(system, "--restore", "2")
    assert refused.returncode == 1
    assert 'version 2:1: bad minute: "61" (0-59)\n' in refused.stderr
    assert crontab(system, "-l").stdout == FIRST


@pytest.mark.slow
def test_nobody_else_gets_at_them(system: IsolatedSystem) -> None:
    crontab(system, "-", stdin=FIRST)
    for words in (["--versions"], ["--restore", "1"], ["--diff", "1"]):
        refused = crontab(system, "-u", JOE, *words, user=ANN)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "only root may use -u" in refused.stderr
        refused = crontab(system, *words, user=ANN)
        assert (refused.returncode, refused.stdout) == (1, "")
    versions = paths.SYSTEM_STATE / "versions"
    assert system.shell(f"stat -c '%a %U' {versions} {versions}/{JOE} {versions}/{JOE}/1") == (
        "700 root\n700 root\n600 root\n"
    )
    system.write(paths.DENY, f"{JOE}\n")
    refused = crontab(system, "--versions")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "not allowed to use this program" in refused.stderr


@pytest.mark.slow
def test_an_account_that_gets_a_used_name_inherits_nothing(system: IsolatedSystem) -> None:
    account = real_user(JOE)
    crontab(system, "-", stdin="CRON_NAME=secret @every 1s true\n")
    assert system.shell(f"stat -c '%u %a' {paths.SPOOL}/{JOE}") == f"{account.pw_uid} 600\n"
    system.daemon.wait_for("attempt_started", job="secret")
    system.shell(f"sed -i 's/^{JOE}:x:{account.pw_uid}:/{JOE}:x:54321:/' /etc/passwd")
    system.daemon.signal(SIGHUP)
    system.daemon.wait_for("reloaded")
    assert system.rows("list") == []
    for words in (["-l"], ["--versions"], ["--restore", "1"], ["--diff", "1"]):
        refused = crontab(system, *words)
        assert (refused.returncode, refused.stdout) == (1, ""), words
    (problem,) = {line["problem"] for line in system.daemon.log("table_problem", table=JOE)}
    assert f"belongs to uid {account.pw_uid}, not to 0 or 54321" in problem
    assert crontab(system, "-", stdin=FIRST).returncode == 0
    assert listed(system) == [f"* 2 TIME {JOE} pycrontab - 2 entries, 20 bytes"]


@pytest.mark.slow
def test_a_version_that_cannot_be_kept(system: IsolatedSystem) -> None:
    versions = paths.SYSTEM_STATE / "versions"
    system.shell(f"mkdir {versions}; mount -t tmpfs -o size=4k,nr_inodes=2 tmpfs {versions}")
    done = crontab(system, "-", stdin=FIRST)
    assert done.returncode == 0
    assert done.stderr.startswith(
        "-: warning: this version could not be kept for --restore: No space left on device\n"
    )
    assert crontab(system, "-l").stdout == FIRST
    system.daemon.wait_for("version_not_kept", table=JOE)
    system.shell(f"umount {versions}")
    crontab(system, "-", stdin=SECOND)
    assert len(listed(system)) == 2
