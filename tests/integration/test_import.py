"""pycron import: reading another cron's tables, taking them over, and going back."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pycron.system import paths
from pycron.system.files import FileRules
from pycron.tables.files import Signature, read_table
from tests.support.cron_sandbox import CRON_D, SPOOL, CronSandbox
from tests.support.isolated_system import IsolatedSystem
from tests.support.running_daemon import run
from tests.support.thoroughness import slow_after
from tests.support.user_accounts import USERS, real_user, user_account
from tests.support.waiting import until

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

RECORD = str(paths.SYSTEM_STATE / "import.json")
NOBODY = 65534
DROP_IN = Path(__file__).parents[2] / "contrib/systemd/pycron.service.d/conflicts.conf"
BACKUP = "17 3 * * * root backup\n"


# ---- a tree, as any user


def tree(directory: Path, **files: str) -> Path:
    """A tree of Debian: `cron_d_NAME`, `spool_USER` or another path, with _ for /."""
    (directory / "var/spool/cron/crontabs").mkdir(parents=True)
    (directory / "etc/cron.d").mkdir(parents=True)
    (directory / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\njoe:x:1:1::/:/bin/sh\n")
    for name, text in files.items():
        write(directory, name, text)
    return directory


def write(directory: Path, name: str, text: str) -> Path:
    name = name.replace("cron_d_", "etc/cron.d/").replace("spool_", "var/spool/cron/crontabs/")
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600 if "spool" in name else 0o644)
    return path


def codes(directory: Path) -> dict[str, list[str]]:
    """The verdict and code of each finding, by the name of the file."""
    done = run("pycron", "import", "--json", "--from", directory)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, list[str]] = {}
    for row in map(json.loads, done.stdout.splitlines()):
        assert list(row) == ["file", "line", "verdict", "code", "message"]
        name = os.path.relpath(row["file"], directory)
        found.setdefault(name, []).append(f"{row['verdict']} {row['code']}")
    return found


def test_all_tables_of_a_tree_are_read(tmp_path: Path) -> None:
    tree(tmp_path, cron_d_a=BACKUP, spool_joe="@daily x\n", spool_gone="@daily x\n")
    write(tmp_path, "etc/crontab", BACKUP)
    write(tmp_path, "etc/cron.d/a.bak", BACKUP)
    write(tmp_path, "etc/cron.deny", "joe\n")
    assert codes(tmp_path) == {
        "etc/crontab": ["same same"],
        "etc/cron.d/a": ["same same"],
        "etc/cron.d/a.bak": ["ignored name"],
        "var/spool/cron/crontabs/joe": ["same denied-user", "same same"],
        "var/spool/cron/crontabs/gone": ["ignored no-user"],
    }


def test_a_tree_of_cronie(tmp_path: Path) -> None:
    write(tmp_path, "etc/cron.d/a.b", "PATH=/bin\n" + BACKUP)
    spool = tmp_path / "var/spool/cron"
    spool.mkdir(parents=True)
    (spool / "root").write_text("0 5 * * * x\n")
    (spool / "root").chmod(0o600)
    assert codes(tmp_path) == {
        "etc/cron.d/a.b": ["same renamed", "same same"],
        "var/spool/cron/root": ["changed path"],
        os.path.relpath(paths.ALLOW, tmp_path): ["same root-only"],
    }


def test_a_directory_of_user_tables(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("0 5 * * * x\n")
    assert codes(tmp_path) == {"root": ["same same"]}


def test_files_beside_the_tables_of_debian(tmp_path: Path) -> None:
    tree(tmp_path, cron_d_a=BACKUP)
    write(tmp_path, "etc/environment", "# x\nLANG=C\n")
    write(tmp_path, "etc/default/locale", "# LANG=C\n")
    write(tmp_path, "etc/default/cron", 'EXTRA_OPTS="-L 5 -l"\n')
    assert codes(tmp_path) == {
        "etc/cron.d/a": ["same same"],
        "etc/environment": ["changed environment"],
        "etc/default/cron": ["warning lsb-names"],
    }


ANACRONTAB = "1 5 cron.daily run-parts --report /etc/cron.daily\n"
CRONTAB = "25 6 * * * root test -x /usr/sbin/anacron || run-parts --report /etc/cron.daily\n"


def test_anacron_with_its_own_timer(tmp_path: Path) -> None:
    tree(tmp_path, cron_d_anacron="30 7-23 * * * root invoke-rc.d anacron start\n")
    write(tmp_path, "etc/crontab", CRONTAB)
    write(tmp_path, "etc/anacrontab", ANACRONTAB)
    assert codes(tmp_path) == {
        "etc/crontab": ["same same"],
        "etc/anacrontab": ["changed anacron-job"],
        "etc/cron.d/anacron": ["ignored starts-anacron"],
    }


def test_anacron_that_is_not_installed(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "usr/sbin").mkdir(parents=True)
    write(tmp_path, "etc/crontab", CRONTAB)
    write(tmp_path, "etc/anacrontab", ANACRONTAB)
    assert codes(tmp_path) == {
        "etc/crontab": ["same same"],
        "etc/anacrontab": ["ignored no-anacron"],
    }


def test_anacron_that_cron_starts(tmp_path: Path) -> None:
    tree(tmp_path, cron_d_0hourly="01 * * * * root run-parts /etc/cron.hourly\n")
    write(tmp_path, "etc/cron.hourly/0anacron", "anacron -s\n").chmod(0o755)
    write(tmp_path, "etc/anacrontab", ANACRONTAB)
    assert codes(tmp_path) == {
        "etc/cron.d/0hourly": ["same same"],
        "etc/anacrontab": ["same anacron-stays"],
    }


def test_hostile_files(tmp_path: Path) -> None:
    tree(tmp_path, cron_d_good=BACKUP, spool_root="@daily x\n")
    os.mkfifo(tmp_path / "etc/cron.d/fifo", 0o644)
    (tmp_path / "etc/cron.d/link").symlink_to("good")
    (tmp_path / "etc/cron.d/out").symlink_to("/etc/passwd")
    (tmp_path / "etc/cron.d/gone").symlink_to("nowhere")
    os.truncate(write(tmp_path, "cron_d_huge", ""), 10**9)
    write(tmp_path, "cron_d_loose", BACKUP).chmod(0o666)
    os.link(write(tmp_path, "cron_d_twice", BACKUP), tmp_path / "twin")
    (tmp_path / "var/spool/cron/crontabs/joe").symlink_to(tmp_path / "etc/cron.d/good")
    write(tmp_path, "cron_d_binary", "\0\0\0\n")
    assert codes(tmp_path) == {
        "etc/cron.d/good": ["same same"],
        "etc/cron.d/fifo": ["refused not-a-file"],
        "etc/cron.d/link": ["same same"],
        "etc/cron.d/out": ["refused symlink"],
        "etc/cron.d/huge": ["refused too-large"],
        "etc/cron.d/loose": ["ignored not-run"],
        "etc/cron.d/twice": ["ignored not-run"],
        "etc/cron.d/binary": ["ignored discarded", "refused binary"],
        "var/spool/cron/crontabs/joe": ["refused symlink"],
        "var/spool/cron/crontabs/root": ["same same"],
    }


def test_a_file_that_is_swapped_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pycron.cli.importing import sources
    from pycron.system.accounts import Accounts

    victim = write(tree(tmp_path), "cron_d_a", BACKUP)
    other = write(tmp_path, "other", BACKUP)
    reader = sources.Reader(sources.find_tree(str(tmp_path), Accounts()), 10_000)

    def swapped(path: str, rules: FileRules, most_bytes: int) -> tuple[str, Signature]:
        if path == str(victim):
            os.replace(other, victim)
        return read_table(path, rules, most_bytes)

    monkeypatch.setattr(sources, "read_table", swapped)
    assert list(reader.system_tables()) == []
    assert [finding.code for finding in reader.findings] == ["changed"]


def test_the_text_for_people(tmp_path: Path) -> None:
    tree(tmp_path, cron_d_a="61 * * * * root x\n" + BACKUP, spool_joe="@daily x\n")
    done = run("pycron", "import", "--from", tmp_path)
    assert done.returncode == 0
    [_, discarded, refused, joe, total] = done.stdout.splitlines()
    assert discarded.startswith("  line 1: ignored (discarded): Debian's cron runs nothing of this")
    assert refused == '  line 1: refused (bad-minute): bad minute: "61" (0-59)'
    assert joe.endswith("/crontabs/joe: 1 same")
    assert total == "in all: 1 ignored, 1 refused, 1 same"


def test_nothing_to_read_is_a_failure(tmp_path: Path) -> None:
    done = run("pycron", "import", "--from", tmp_path)
    assert done.returncode == 1
    assert "no table of another cron that can be read" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--from", "/nowhere/at/all"), ("--stop-other",), ("--undo", "--from", "/"),
        ("--undo", "--apply"),
    ],
)  # fmt: skip
def test_wrong_use(arguments: tuple[str, ...]) -> None:
    assert run("pycron", "import", *arguments).returncode == 2


# ---- taking over


@pytest.fixture
def sandbox() -> Iterator[CronSandbox]:
    with closing(CronSandbox()) as sandbox:
        sandbox.write(CRON_D / "backup", BACKUP)
        sandbox.write(SPOOL / "root", "@reboot x\n", 0o600)
        yield sandbox


MADE = {str(paths.DROP_INS / "backup"), str(paths.SPOOL / "root")}


@root
@pytest.mark.root
def test_the_tables_are_copied_and_removed_again(sandbox: CronSandbox) -> None:
    done = sandbox.run("--apply")
    assert done.returncode == 0, done
    assert sandbox.made() == {*MADE, RECORD}
    drop_in, own = sandbox.path(paths.DROP_INS / "backup"), sandbox.path(paths.SPOOL / "root")
    assert (drop_in.read_text(), own.read_text()) == (BACKUP, "@reboot x\n")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (drop_in, own, sandbox.path(RECORD))]
    assert modes == [0o644, 0o600, 0o600]
    assert sandbox.read(CRON_D / "backup") == BACKUP
    assert sandbox.run("--apply").returncode == 0  # nothing is left to do
    assert sandbox.run("--undo").returncode == 0
    assert sandbox.made() == set()
    assert sandbox.run("--undo").returncode == 1


@root
@pytest.mark.root
def test_a_cron_that_runs_is_a_refusal(sandbox: CronSandbox) -> None:
    sandbox.start_cron()
    done = sandbox.run("--apply")
    assert done.returncode == 1
    assert "cron.service) is running: it would run the same jobs" in done.stderr
    assert sandbox.made() == set()
    assert sandbox.cron_runs()


@root
@pytest.mark.root
def test_another_cron_is_stopped_and_started_again(sandbox: CronSandbox) -> None:
    sandbox.start_cron()
    done = sandbox.run("--apply", "--stop-other")
    assert done.returncode == 0, done
    assert sandbox.made() == {*MADE, RECORD}
    assert not sandbox.cron_runs()
    assert sandbox.read(paths.CONFLICTS) == DROP_IN.read_text()
    assert sandbox.calls()[-1] == "daemon-reload"
    assert sandbox.run("--undo").returncode == 0
    assert sandbox.made() == set()
    assert not sandbox.path(paths.CONFLICTS.parent).exists()
    assert sandbox.cron_runs()
    assert sandbox.calls()[-3:] == ["daemon-reload", "enable cron.service", "start cron.service"]


@root
@pytest.mark.root
def test_without_stop_other_no_unit_is_told_to_conflict(sandbox: CronSandbox) -> None:
    assert sandbox.run("--apply").returncode == 0
    assert not sandbox.path(paths.CONFLICTS).exists()
    assert sandbox.run("--apply", "--stop-other").returncode == 0
    assert sandbox.path(paths.CONFLICTS).exists()
    sandbox.write(paths.CONFLICTS.parent / "own.conf", "[Service]\n")
    assert sandbox.run("--undo").returncode == 0
    assert not sandbox.path(paths.CONFLICTS).exists()
    assert sandbox.path(paths.CONFLICTS.parent / "own.conf").exists()


@root
@pytest.mark.root
def test_a_cron_that_does_not_stop_leaves_everything_as_it_was(sandbox: CronSandbox) -> None:
    sandbox.start_cron()
    sandbox.write("/run/systemd/refuse", "")
    done = sandbox.run("--apply", "--stop-other")
    assert done.returncode == 1
    assert "it does not stop" in done.stderr
    assert sandbox.made() == set()
    assert sandbox.cron_runs()


@root
@pytest.mark.root
def test_a_cron_without_a_unit_is_to_be_stopped_by_hand(sandbox: CronSandbox) -> None:
    sandbox.shell("setsid /run/systemd/cron 1000 >/dev/null 2>&1 &")
    until(lambda: "cron (pid" in sandbox.run("--apply").stderr)
    done = sandbox.run("--apply", "--stop-other")
    assert done.returncode == 1
    assert "stop it yourself" in done.stderr
    assert sandbox.made() == set()


@root
@pytest.mark.root
@pytest.mark.parametrize("moment", slow_after(1, ["stop", "disable", "start"]))
def test_an_import_that_is_killed_can_be_undone(sandbox: CronSandbox, moment: str) -> None:
    """At `start` it is the undo that is killed; it is repeated."""
    sandbox.start_cron()
    sandbox.write("/run/systemd/fail", moment)
    killed = sandbox.run("--apply", "--stop-other")
    if moment == "start":
        assert killed.returncode == 0
        killed = sandbox.run("--undo")
    assert killed.returncode in (-9, 137)
    sandbox.path("/run/systemd/fail").unlink()
    assert RECORD in sandbox.made()
    if moment != "start":
        assert sandbox.run("--apply").returncode == 1  # an import was interrupted
    assert sandbox.run("--undo").returncode == 0
    assert sandbox.made() == set()
    assert sandbox.cron_runs()


# Ends `pycron import VERB` at its n-th call that changes a file, then undoes, for each n.
_KILLED_AT_EACH_STEP = """
import os, pathlib, sys
from pycron.cli.pycron import main

def counted(call):
    def wrapper(*arguments, **more):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return call(*arguments, **more)
    return wrapper

for name in ("rename", "replace", "unlink", "fsync", "fchmod"):
    setattr(os, name, counted(getattr(os, name)))

def status(argument, steps=1000):
    global left
    left = steps
    child = os.fork()
    if not child:
        sys.stdout = sys.stderr = open(os.devnull, "w")
        os._exit(main(["import", argument]))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def made():
    found = [path for each in sys.argv[2:] for path in pathlib.Path(each).iterdir()]
    return [path for path in found if not path.name.startswith(".new-")]

for step in range(1000):
    if sys.argv[1] == "--undo":
        assert status("--apply") == 0
    ended = status(sys.argv[1], step)
    assert ended in (0, 9), (step, ended)
    had_a_record = pathlib.Path("/var/lib/pycron/import.json").exists()
    assert status("--undo") == (0 if had_a_record else 1), step
    assert made() == [], (step, made())
    if ended == 0:
        break
assert step > 5
"""


@pytest.mark.slow
@root
@pytest.mark.root
@pytest.mark.parametrize("argument", ["--apply", "--undo"])
def test_what_is_killed_at_any_step_can_be_undone(sandbox: CronSandbox, argument: str) -> None:
    places = [str(paths.SPOOL), str(paths.DROP_INS), str(paths.SYSTEM_STATE)]
    done = sandbox.run_python(["-c", _KILLED_AT_EACH_STEP, argument, *places])
    assert done.returncode == 0, done


@root
@pytest.mark.root
def test_tables_that_pycron_reads_in_place_are_not_copied(sandbox: CronSandbox) -> None:
    sandbox.write(paths.SYSTEM_CONFIG, '[tables]\nlayout = "debian"\n')
    assert sandbox.run().returncode == 0
    done = sandbox.run("--apply")
    assert done.returncode == 1
    assert "in place" in done.stderr
    assert sandbox.made() == {str(paths.SYSTEM_CONFIG)}


@root
@pytest.mark.root
def test_a_file_that_is_there_is_never_overwritten(sandbox: CronSandbox) -> None:
    own = sandbox.write(paths.DROP_INS / "backup", "# mine\n")
    done = sandbox.run("--apply")
    assert done.returncode == 1
    assert "/etc/pycron.d/backup exists and differs from /etc/cron.d/backup" in done.stderr
    assert sandbox.made() == {str(paths.DROP_INS / "backup")}
    assert own.read_text() == "# mine\n"


@root
@pytest.mark.root
def test_a_symlink_or_fifo_in_the_place_of_a_table_is_left_alone(sandbox: CronSandbox) -> None:
    sandbox.path(paths.DROP_INS / "backup").symlink_to("/run/systemd/elsewhere")
    sandbox.write("/run/systemd/elsewhere", BACKUP)
    os.mkfifo(sandbox.path(paths.SPOOL / "root"))
    assert sandbox.run("--apply").returncode == 1
    assert sandbox.made() == MADE


@root
@pytest.mark.root
def test_a_table_that_was_changed_since_is_kept(sandbox: CronSandbox) -> None:
    assert sandbox.run("--apply").returncode == 0
    sandbox.write(paths.SPOOL / "root", "@daily y\n", 0o600)
    done = sandbox.run("--undo")
    assert done.returncode == 0
    assert f"kept {paths.SPOOL / 'root'}: it was changed" in done.stderr
    assert sandbox.made() == {str(paths.SPOOL / "root")}


@root
@pytest.mark.root
def test_a_full_disk_leaves_everything_as_it_was(sandbox: CronSandbox) -> None:
    sandbox.shell(f"mount -t tmpfs -o size=4k,mode=700 tmpfs {paths.SPOOL};"
                  f" head -c 4096 /dev/zero > {paths.SPOOL}/.full")  # fmt: skip
    done = sandbox.run("--apply")
    assert done.returncode == 1
    assert "nothing was done" in done.stderr
    assert sandbox.made() == {str(paths.SPOOL / ".full")}


@root
@pytest.mark.root
def test_files_of_other_owners_are_not_read(sandbox: CronSandbox) -> None:
    os.chown(sandbox.write(CRON_D / "foreign", BACKUP), NOBODY, NOBODY)
    sandbox.path(CRON_D / "link").symlink_to("backup")
    os.chown(sandbox.path(CRON_D / "link"), NOBODY, NOBODY, follow_symlinks=False)
    found = {row["file"]: row["code"] for row in sandbox.findings()}
    assert found[str(CRON_D / "foreign")] == "not-run"
    assert found[str(CRON_D / "link")] == "symlink"


def test_only_root_may_apply(tmp_path: Path) -> None:
    account = user_account(USERS[0], tmp_path / "home")
    (account.home / "root").write_text("@daily x\n")
    (account.home / "root").chmod(0o644)
    done = run("pycron", "import", "--apply", "--from", account.home, cwd="/",
               env=account.environment(), **account.run_as)  # fmt: skip
    assert done.returncode == 1, done
    assert "only root" in done.stderr


# ---- with a daemon


HEADER = (
    "# DO NOT EDIT THIS FILE - edit the master and reinstall.\n"
    "# (/tmp/x installed on Sun Nov 29 02:30:00 2026)\n# (Cron version -- $Id: crontab.c $)\n"
)


@root
@pytest.mark.root
def test_the_daemon_takes_the_tables_up(tmp_path: Path) -> None:
    """What was due before the import, and the boot, start nothing."""
    user = real_user(USERS[0]).pw_name
    directory = tree(tmp_path / "tree")
    (directory / "etc/passwd").unlink()
    write(directory, f"spool_{user}", HEADER + "@reboot echo boot\n* * * * * echo minute\n")
    write(directory, "etc/anacrontab", "1 5 daily.job echo daily\n")
    with closing(IsolatedSystem(tmp_path)) as system:
        done = system.run("pycron", "import", "--apply", "--from", directory)
        assert done.returncode == 0, done
        until(lambda: len(system.rows("list")) == 3)
        assert {(row["user"], row["command"]) for row in system.rows("list")} == {
            (user, "echo boot"), (user, "echo minute"), ("root", "echo daily"),
        }  # fmt: skip
        assert [row["job"] for row in system.runs() if "minute" not in row["job"]] == []
        own = system.root / str(paths.SPOOL / user).lstrip("/")
        assert own.stat().st_uid == real_user(user).pw_uid
        assert system.run("pycrontab", "-l", user=user).stdout.startswith("@reboot echo boot")
        assert system.run("pycron", "import", "--undo").returncode == 0
        until(lambda: not system.rows("list"))
