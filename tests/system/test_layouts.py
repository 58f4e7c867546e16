"""The tables of another cron, read in place: `[tables] layout`."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.system import paths
from tests.support.isolated_system import USERS, IsolatedSystem
from tests.support.user_accounts import real_user
from tests.support.waiting import until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

CONFIG = paths.SYSTEM_CONFIG


@pytest.fixture
def system(tmp_path: Path) -> Iterator[IsolatedSystem]:
    for name in USERS:
        real_user(name)
    system = IsolatedSystem(tmp_path, own_etc=True)
    try:
        system.daemon.stop()
        yield system
    finally:
        system.close()


def start(system: IsolatedSystem, tables: str) -> None:
    system.write(CONFIG, f"[tables]\n{tables}\n")
    system.start()


def jobs(system: IsolatedSystem) -> dict[str, str]:
    """The user of each Job."""
    return {row["job"]: row["user"] for row in system.rows("list")}


def problems(system: IsolatedSystem) -> dict[str, str]:
    """The code of each table that was refused, by the name of its file."""
    done = system.run("pycron", "check", "--json")
    rows = map(json.loads, done.stdout.splitlines())
    return {Path(row["file"]).name: row["code"] for row in rows if row["line"] == 0}


def entry(name: str, user: str = "") -> str:
    return f"CRON_NAME={name} @yearly {user} true\n"


def put(system: IsolatedSystem, path: Path, text: str, mode: str, owner: str = "root") -> None:
    system.write(path, text)
    system.shell(f"chown {owner} '{path}'; chmod {mode} '{path}'")


def test_debians_tables_in_place(system: IsolatedSystem) -> None:
    one, other, third = USERS
    spool = paths.DEBIAN_SPOOL
    system.shell(f"mkdir -p {spool}; chmod 1730 {spool}")
    put(system, paths.CRONTAB, entry("machine", "root"), "644")
    put(system, paths.CRON_DROP_INS / "package", entry("package", "nobody"), "644")
    put(system, paths.CRON_DROP_INS / "dotted.name", entry("dotted", "root"), "644")
    put(system, paths.CRON_DROP_INS / "loose", entry("loose", "root"), "666")
    put(system, paths.DROP_INS / "own", entry("own", "root"), "644")
    system.shell(f"ln -s {paths.CRONTAB} {paths.CRON_DROP_INS}/alias")
    put(system, spool / one, entry("mine"), "600", one)
    put(system, spool / other, entry("readable"), "644", other)
    put(system, spool / third, entry("stolen"), "600", one)
    put(system, spool / "tmp.Ab12xY", entry("unfinished"), "600", one)
    put(system, paths.SPOOL / one, entry("forgotten"), "600")
    start(system, 'layout = "debian"')
    expected = {"machine": "root", "package": "nobody", "own": "root", "mine": one}
    assert jobs(system) == expected
    assert problems(system) == {"loose": "writable", other: "mode", third: "wrong-owner"}
    ignored = {row["path"]: row["reason"] for row in system.daemon.log("table_ignored")}
    assert "letters, digits" in ignored[str(paths.CRON_DROP_INS / "dotted.name")]
    assert ignored[str(paths.SPOOL)].endswith(f"not read: those of {one}")
    put(system, spool / one, entry("changed"), "600", one)
    until(lambda: "changed" in jobs(system))


def test_cronies_tables_in_place(system: IsolatedSystem) -> None:
    one, other, _ = USERS
    spool = paths.CRONIE_SPOOL
    put(system, paths.CRON_DROP_INS / "dotted.name", entry("dotted", "root"), "640")
    put(system, paths.CRON_DROP_INS / "old.rpmsave", entry("old", "root"), "644")
    put(system, paths.CRON_DROP_INS / "executable", entry("executable", "root"), "755")
    put(system, spool / one, entry("mine"), "640", one)
    start(system, 'layout = "cronie"')
    assert jobs(system) == {"dotted": "root", "mine": one}
    assert problems(system) == {"executable": "mode"}
    refused = system.run("pycrontab", "-l", user=one)
    assert "not allowed to use this program" in refused.stderr
    system.write(paths.CRON_DENY, f"{other}\n")
    assert system.run("pycrontab", "-l", user=one).stdout == entry("mine")
    assert system.run("pycrontab", "-l", user=other).returncode == 1


@pytest.mark.parametrize("marker", paths.BOOT_MARKERS)
def test_the_reboot_jobs_of_a_boot_run_under_one_cron(system: IsolatedSystem, marker: Path) -> None:
    """Cron has run them, and they are not run again; or pycron has, and cron finds its marker."""
    put(system, paths.CRONTAB, "CRON_NAME=boot @reboot root true\n@every 1s root true\n", "644")
    system.shell(f"touch {marker}")
    start(system, 'layout = "debian"')
    system.daemon.wait_for("attempt_ended")
    assert system.runs("--job", "boot") == []
    system.daemon.stop()
    system.shell(f"rm {paths.SYSTEM_STATE}/pycron.db* {' '.join(map(str, paths.BOOT_MARKERS))}")
    system.start()
    system.daemon.wait_for("attempt_ended", job="boot")
    assert system.shell(f"stat -c %a {marker}") == "600\n"
    system.daemon.stop()
    system.start()
    assert len(system.runs("--job", "boot")) == 1


def test_another_cron_on_the_same_tables(system: IsolatedSystem, tmp_path: Path) -> None:
    """The log, status and check name it; a daemon with tables of its own does not mind it."""
    program = tmp_path / "cron"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "infinity"]) as cron:
        try:
            start(system, 'layout = "debian"')
            said = system.daemon.wait_for("other_cron", cron="cron")
            assert f"cron (pid {cron.pid}" in said["reason"]
            assert "it would run the same jobs" in said["reason"]
            assert said["level"] == "warning"
            [status] = system.rows("status")
            assert status["other_crons"] == [said["reason"]]
            assert f"warning: {said['reason']}" in system.run("pycron", "status").stdout
            checked = system.run("pycron", "check")
            assert (checked.returncode, checked.stdout) == (0, f"cron: warning: {said['reason']}\n")
            system.daemon.stop()
            start(system, 'layout = "pycron"')
            assert system.rows("status")[0]["other_crons"] == []
            system.shell(f"echo {{}} > {paths.IMPORT_RECORD}")
            system.daemon.signal(signal.SIGHUP)
            system.daemon.wait_for("other_cron", cron="cron")
        finally:
            cron.kill()
    system.daemon.signal(signal.SIGHUP)
    until(lambda: system.rows("status")[0]["other_crons"] == [])


def test_paths_of_ones_own(system: IsolatedSystem) -> None:
    etc = paths.ALLOW.parent
    put(system, etc / "jobs.table", entry("file", "root"), "644")
    system.shell(f"mkdir {etc}/jobs.d")
    put(system, etc / "jobs.d" / "inside", entry("inside", "root"), "644")
    put(system, paths.DROP_INS / "own", entry("own", "root"), "644")
    start(system, f'system = ["{etc}/jobs.table", "{etc}/jobs.d"]\nspool = "{etc}/spool"')
    assert jobs(system) == {"file": "root", "inside": "root"}
    assert system.run("pycrontab", "-", user=USERS[0], stdin=entry("mine")).returncode == 0
    assert jobs(system) == {"file": "root", "inside": "root", "mine": USERS[0]}
    assert system.shell(f"ls {etc}/spool") == f"{USERS[0]}\n"


def test_an_unsafe_spool_is_refused(system: IsolatedSystem) -> None:
    etc = paths.ALLOW.parent
    system.shell(f"mkdir -m 777 {etc}/spool")
    system.write(CONFIG, f'[tables]\nspool = "{etc}/spool"\n')
    done = system.run("pycrond")
    assert done.returncode == 1
    assert f"{etc}/spool: not a safe spool" in done.stderr


def test_the_lists_of_another_cron_hold_where_pycron_has_none(system: IsolatedSystem) -> None:
    """cron.deny before cron.allow, which replaces it; a list of pycron's own comes first."""

    def may(user: str) -> bool:
        done = system.run("pycrontab", "-", user=user, stdin="@daily true\n")
        assert done.returncode == 0 or "not allowed to use this program" in done.stderr
        return done.returncode == 0

    one, other = USERS[:2]
    system.start()
    system.write(paths.CRON_DENY, f"{one}\n")
    assert (may(one), may(other)) == (False, True)
    system.write(paths.CRON_ALLOW, f"{one}\n")
    assert (may(one), may(other)) == (True, False)
    system.write(paths.ALLOW, f"{other}\n")
    assert (may(one), may(other)) == (False, True)
