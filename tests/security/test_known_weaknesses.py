"""One test for each published weakness of a cron: the attack is made on pycron.

docs/security.md has the table of them. The attacks that need more than a few lines have files of
their own in this folder.
"""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.system import paths
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.running_daemon import program
from tests.support.thoroughness import slow_after
from tests.support.user_accounts import USERS, real_user

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

MALLORY, VICTIM, THIRD = USERS
SECRET = "the-secret-of-the-victim"
GOOD = "CRON_NAME=good @yearly true\n"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedSystem]:
    with isolated_system(tmp_path_factory.mktemp("system"), own_etc=True) as system:
        yield system


@pytest.fixture
def place(system: IsolatedSystem) -> Iterator[Path]:
    """A directory inside that belongs to Mallory, who has a good table."""
    install(system, MALLORY, GOOD)
    install(system, VICTIM, f"CRON_NAME={SECRET} @yearly true\n")
    directory = Path("/run/mallory")
    system.shell(f"rm -rf {directory}; mkdir -m 700 {directory}; chown {MALLORY} {directory}")
    yield directory
    assert system.run("pycron", "status").returncode == 0  # the daemon has survived


def install(system: IsolatedSystem, user: str, table: str) -> None:
    done = system.run("pycrontab", "-", user=user, stdin=table)
    assert done.returncode == 0, done.stderr


def command(name: str, *words: str) -> str:
    """One of pycron's programs with arguments, as words of the shell."""
    return f"PYTHONPATH={Path(__file__).parents[2]} {shlex.join(program(name, *words))}"


def editor(system: IsolatedSystem, script: str) -> Path:
    """A program that everybody can run; `$1` is the file that pycrontab gives to an editor."""
    path = Path("/etc/pycron-test-editor")
    system.write(path, f"#!/bin/sh\n{script}\n")
    system.shell(f"chmod 755 {path}")
    return path


def edit(system: IsolatedSystem, script: str, place: Path, *, answer: str = "n\n") -> str:
    """What `pycrontab -e` prints for Mallory; `answer`: to its question after an error."""
    path = editor(system, script)
    return system.shell(
        f"cd {place}; printf '{answer}' | setpriv --reuid={MALLORY} --regid={MALLORY} --init-groups"
        f" env EDITOR={path} PLACE={place} TMPDIR={place} {command('pycrontab', '-e')} 2>&1 || true"
    )


def table_of(system: IsolatedSystem, user: str) -> str:
    return system.run("pycrontab", "-u", user, "-l").stdout


def test_cve_2000_1096_the_file_of_an_edit_has_a_name_that_nobody_can_guess(
    system: IsolatedSystem, place: Path
) -> None:
    """Vixie cron used the process id. A link of that name made root's editor write anywhere."""
    for _ in range(2):
        edit(system, 'stat -c "%a %U %h" "$1" >>$PLACE/seen; echo "$1" >>$PLACE/seen', place)
    first, name, second, other = system.shell(f"cat {place}/seen").splitlines()
    assert first == second == f"600 {MALLORY} 1"
    assert name != other
    assert re.fullmatch(r"pycrontab\.[A-Za-z0-9_]{8,}", Path(name).name)


def test_cve_2001_0559_an_editor_has_no_privileges_also_after_a_mistake(
    system: IsolatedSystem, place: Path
) -> None:
    """Vixie cron's crontab was setuid root, and forgot to drop that after a failed edit."""
    script = (
        'grep -E "^(Uid|Gid|CapEff)" /proc/self/status >>$PLACE/seen; echo "99 * * * * x" >"$1"'
    )
    edit(system, script, place, answer="y\\nn\\n")
    account = real_user(MALLORY)
    uids, gids, capabilities = (
        ["Uid:", *4 * [str(account.pw_uid)]],
        ["Gid:", *4 * [str(account.pw_gid)]],
        ["CapEff:", "0" * 16],
    )
    seen = [line.split() for line in system.shell(f"cat {place}/seen").splitlines()]
    assert seen == 2 * [uids, gids, capabilities]
    assert table_of(system, MALLORY) == GOOD


@pytest.mark.parametrize(
    "words",
    [
        ("pycrontab", "/etc/shadow"),
        ("pycrontab", "-T", "/etc/shadow"),
        ("pycron", "check", "--table", "/etc/shadow"),
        ("pycrontab", "{place}/link"),  # CVE-2010-0792: fcrontab read it as root
    ],
    ids=lambda words: " ".join(words[:-1]),
)
def test_cve_2004_1030_and_2010_0792_no_file_is_read_with_more_rights_than_the_users(
    system: IsolatedSystem, place: Path, words: tuple[str, ...]
) -> None:
    """fcronsighup and fcrontab read files as root, and printed their lines in error messages."""
    system.shell(f"ln -s /etc/shadow {place}/link; chmod 600 /etc/shadow")
    done = system.run(*(word.format(place=place) for word in words), user=MALLORY)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "Permission denied" in said
    assert "root:" not in said
    assert table_of(system, MALLORY) == GOOD


def test_cve_2004_1031_no_file_and_no_variable_of_the_user_changes_who_may_use_it(
    system: IsolatedSystem, place: Path
) -> None:
    """fcronsighup took the path of a configuration, with other rules of access, from anybody."""
    system.write(paths.DENY, f"{MALLORY}\n")
    try:
        for variables in ("", f"HOME={place}", f"XDG_CONFIG_HOME={place} XDG_RUNTIME_DIR={place}"):
            said = system.shell(
                f"echo '@daily true' | setpriv --reuid={MALLORY} --regid={MALLORY} --clear-groups"
                f" env {variables} {command('pycrontab', '-')} 2>&1 || true"
            )
            assert "not allowed to use this program" in said
        refused = system.run("pycron", "--system", "reload", user=MALLORY)
        assert refused.returncode == 1
    finally:
        system.shell(f"rm {paths.DENY}")
    assert table_of(system, MALLORY) == GOOD


@pytest.mark.parametrize(
    "name", slow_after(2, ["../../../etc/passwd", "/etc/passwd", ".", "..", "", "a/b"])
)
def test_cve_2004_1032_no_name_leads_to_another_file(system: IsolatedSystem, name: str) -> None:
    """fcronsighup deleted any file whose name it was given, as root."""
    before = system.shell("sha256sum /etc/passwd")
    for words in (("-r",), ("-",), ("--restore", "1")):
        for user in (MALLORY, "root"):
            done = system.run("pycrontab", "-u", name, *words, user=user, stdin="@daily true\n")
            assert done.returncode == 1, done.stdout
    assert system.shell("sha256sum /etc/passwd") == before


def test_cve_2004_1033_an_editor_inherits_no_descriptor(
    system: IsolatedSystem, place: Path
) -> None:
    """fcrontab left the lists of allowed users open for reading in the editor."""
    edit(system, "ls -l /proc/self/fd >$PLACE/seen", place)
    listed = re.findall(r" (\d+) -> (\S+)", system.shell(f"cat {place}/seen"))
    assert {int(number) for number, _ in listed} == {0, 1, 2, 3}  # 3: the directory that ls reads
    assert dict(listed)["3"].startswith("/proc/")


@pytest.mark.parametrize("target", ["/etc/shadow", f"{paths.SPOOL}/{VICTIM}"])
def test_cve_2005_1038_and_2010_0424_a_link_in_place_of_the_edited_file(
    system: IsolatedSystem, place: Path, target: str
) -> None:
    """Vixie cron read the file behind the link as root, and cronie changed its times."""
    system.shell("chmod 600 /etc/shadow")
    before = system.shell(f"stat -c '%Y %Z %s' {target}")
    said = edit(system, f'ln -sf {target} "$1"', place)
    assert "Permission denied" in said
    assert SECRET not in said
    assert "root:" not in said
    assert system.shell(f"stat -c '%Y %Z %s' {target}") == before
    assert table_of(system, MALLORY) == GOOD


def test_cve_2006_2607_a_command_that_cannot_become_its_user_does_not_start(
    system: IsolatedSystem,
) -> None:
    """Vixie cron ignored the failure of setuid(), and the command ran as root.

    The kernel refuses the uid 4294967295, which means "no change" to it.
    """
    system.shell("echo 'impossible:x:4294967295:4294967295::/:/bin/sh' >>/etc/passwd")
    proof = Path("/etc/pycron/proof")
    table = f"CRON_NAME=uid @every 1s impossible id >{proof}\n"
    system.write(paths.DROP_INS / "impossible", table)
    ended = system.daemon.wait_for("attempt_ended", job="uid")
    system.shell(f"rm {paths.DROP_INS}/impossible")
    assert ended["outcome"] == "failed"
    assert system.shell(f"ls {proof.parent}/proof 2>/dev/null || true") == ""


def test_cve_2007_1856_a_hard_link_stops_one_table_at_most(
    system: IsolatedSystem, place: Path
) -> None:
    """Vixie cron refused all tables of a user whose file somebody had linked, without a word."""
    system.write(paths.DROP_INS / "linked", f"CRON_NAME=linked @yearly {VICTIM} true\n")
    system.write(paths.DROP_INS / "other", f"CRON_NAME=other @every 1s {VICTIM} true\n")
    system.shell(f"ln {paths.DROP_INS}/linked {paths.DROP_INS}/.link")
    try:
        system.run("pycron", "reload")
        system.daemon.wait_for("attempt_ended", job="other", outcome="succeeded")
        assert f"{paths.DROP_INS}/linked" in system.run("pycron", "check").stdout
    finally:
        system.shell(f"rm {paths.DROP_INS}/linked {paths.DROP_INS}/.link {paths.DROP_INS}/other")
    assert table_of(system, VICTIM)


def test_cve_2012_6097_and_2012_6110_a_command_has_no_descriptor_of_others(
    system: IsolatedSystem, place: Path
) -> None:
    """cronie's commands inherited its tables; bcron's the outputs of other users' commands."""
    slow = "".join(f"CRON_NAME=slow{n} @yearly echo {SECRET}; sleep 1000\n" for n in range(5))
    install(system, VICTIM, slow)
    for n in range(5):
        assert system.run("pycron", "start", f"slow{n}", user=VICTIM).returncode == 0
        system.daemon.wait_for("attempt_started", job=f"slow{n}")
    install(system, MALLORY, f"CRON_NAME=look @yearly ls -l /proc/self/fd >{place}/seen\n")
    assert system.run("pycron", "start", "look", user=MALLORY).returncode == 0
    system.daemon.wait_for("attempt_ended", job="look", outcome="succeeded")
    listed = dict(re.findall(r" (\d+) -> (\S+)", system.shell(f"cat {place}/seen")))
    for n in range(5):
        system.run("pycron", "kill", f"slow{n}", user=VICTIM)
    assert set(listed) == {"0", "1", "2", "3"}  # 3: the directory that ls reads
    assert listed["0"] == "/dev/null"


def test_cve_2017_9525_files_of_a_spool_that_others_may_write_stay_as_they_are(
    tmp_path: Path,
) -> None:
    """Debian's package gave files in the spool, also linked ones, to other users, as root.

    The members of the group crontab may write to Debian's spool.
    """
    with isolated_system(tmp_path, own_etc=True) as system:
        spool = paths.DEBIAN_SPOOL
        system.shell(f"mkdir -p {spool}; chmod 1730 {spool}; chmod 600 /etc/shadow")
        link, hard = f"{spool}/{MALLORY}", f"{spool}/{VICTIM}"
        system.shell(f"cp /etc/shadow {spool}/../twice; ln -s /etc/shadow {link}")
        system.shell(f"ln {spool}/../twice {hard}; ln -s {spool}/../twice /etc/twice")
        before = system.shell(f"stat -L -c '%U %G %a %s' /etc/shadow /etc/twice; stat -c %N {link}")
        system.write(paths.SYSTEM_CONFIG, '[tables]\nlayout = "debian"\n')
        system.daemon.stop()
        system.start()
        assert system.run("pycron", "list").stdout == ""
        after = system.shell(f"stat -L -c '%U %G %a %s' /etc/shadow /etc/twice; stat -c %N {link}")
        assert after == before
        for user in (MALLORY, VICTIM):
            install(system, user, GOOD)
        owners = system.shell(f"stat -c '%U %F' {link} {hard}")
        assert owners == f"{MALLORY} regular file\n{VICTIM} regular file\n"
        still = system.shell("stat -L -c '%U %G %a %s' /etc/shadow /etc/twice")
        assert still == "".join(before.splitlines(keepends=True)[:2])


def test_cve_2019_9704_and_9705_a_table_beyond_the_limit_is_refused_before_it_is_read(
    system: IsolatedSystem, place: Path
) -> None:
    """Vixie cron read a table of any size, and died if it got no memory for it."""
    system.shell(f"yes '* * * * * true' | head -c 100000000 >{place}/huge; chmod 644 {place}/huge")
    done = system.run("pycrontab", f"{place}/huge", user=MALLORY)
    assert done.returncode == 1
    assert "limits.user_table_bytes" in done.stderr
    assert table_of(system, MALLORY) == GOOD


@pytest.mark.slow
def test_cve_2019_9706_a_table_that_goes_while_its_command_runs(
    system: IsolatedSystem, place: Path
) -> None:
    """Vixie cron used the memory of a user's table after the user's table had gone."""
    for _ in range(10):
        install(system, THIRD, "CRON_NAME=now @yearly sleep 1000\nCRON_NAME=due @every 1s true\n")
        done = system.rows("start", "now", user=THIRD)
        run_id = done[0]["run_id"]
        system.daemon.wait_for("attempt_started", run_id=run_id)
        assert system.run("pycrontab", "-r", user=THIRD).returncode == 0
        assert system.run("pycron", "kill", run_id, user=THIRD).returncode == 0
        ended = system.daemon.wait_for("attempt_ended", run_id=run_id)
        assert ended["outcome"] == "cancelled"


def test_cve_2024_43688_a_number_of_any_size_is_one_of_the_fields_or_an_error(
    system: IsolatedSystem, place: Path
) -> None:
    """Vixie cron added a step of 2147483647 to a minute, and wrote outside of its memory."""
    numbers = [2**31 - 1, 2**31, 2**32, 2**63, 2**64 + 1, "9" * 100_000]
    forms = ["{}", "0-{}", "{}-59", "*/{}", "0-59/{}", "0/{}"]
    minutes = [form.format(number) for form in forms for number in numbers]
    table = "".join(f"{minute} * * * * true\n" for minute in minutes)
    done = system.run("pycrontab", "-T", "-", user=MALLORY, stdin=table)
    wrong = re.findall(r"^-:(\d+): bad minute", done.stderr, re.MULTILINE)
    outside = [str(line) for line, minute in enumerate(minutes, 1) if "/" not in minute]
    assert set(outside) <= set(wrong)
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 300 * len(minutes)


@pytest.mark.parametrize("length", slow_after(1, [131_000, 100, 10_000, 1_000_000]))
def test_sni_02_names_and_values_of_any_length(
    system: IsolatedSystem, place: Path, length: int
) -> None:
    """Vixie cron 2.1 copied the name of a variable into a buffer of fixed size."""
    long = "x" * length
    table = f"{long}=1\nA={long}\n{GOOD}"
    done = system.run("pycrontab", "-", user=MALLORY, stdin=table)
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 1000
    if done.returncode == 0:
        assert table_of(system, MALLORY) == table
    else:
        assert ":1: " in done.stderr
        assert table_of(system, MALLORY) == GOOD


def test_debian_378153_a_file_that_is_no_table_runs_nothing(system: IsolatedSystem) -> None:
    """A core dump in /etc/cron.d, written through a fault of the kernel, contained one valid line.

    Debian's cron ran that line as root. The server gluck.debian.org was taken over in this way.
    """
    proof = "/etc/pycron/taken-over"
    system.shell(f"""
        {{ head -c 65536 /dev/urandom; printf '\\n@every 1s root touch {proof}\\n'
           head -c 65536 /dev/urandom; }} >{paths.DROP_INS}/.core
        mv {paths.DROP_INS}/.core {paths.DROP_INS}/core
    """)
    system.write(paths.DROP_INS / "other", f"CRON_NAME=after @every 1s {VICTIM} true\n")
    system.daemon.wait_for("attempt_ended", job="after", outcome="succeeded")
    assert not [row for row in system.rows("list") if proof in row["command"]]
    assert f"{paths.DROP_INS}/core" in system.run("pycron", "check").stdout
    system.shell(f"test ! -e {proof}; rm {paths.DROP_INS}/core {paths.DROP_INS}/other")
