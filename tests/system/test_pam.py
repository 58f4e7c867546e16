"""PAM, for real: its modules, in a mount namespace with services of their own."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pycron.runner.starter import STARTERS
from pycron.system import paths
from tests.support.pam_system import PamSystem
from tests.support.running_daemon import alive, command_path
from tests.support.running_daemon import run as run_program
from tests.support.user_accounts import USERS, real_user
from tests.support.waiting import until

pytest.importorskip("pamela")
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

PERMIT = "account required pam_permit.so\nsession required pam_permit.so\n"
RECORDING = "account required pam_permit.so\nsession required RECORD\n"
GO = paths.ALLOW.parent / "go"  # a directory that every user can enter
SEEN = "{} {} pycron tty=cron rhost="
Make = Callable[..., PamSystem]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes the system of the test."""
    made: list[PamSystem] = []

    def new(*arguments: Any, **more: Any) -> PamSystem:
        made.append(PamSystem(tmp_path, *arguments, **more))
        return made[-1]

    for name in USERS:
        real_user(name)
    yield new
    for pam in made:
        pam.close()


def start(
    pam: PamSystem, command: str, user: str = USERS[0], name: str = "job", settings: str = ""
) -> None:
    """Start a command by hand. `settings`: in front of its entry."""
    name = f"{name}-{user}"
    table = f"FOO=table\nCRON_NAME={name} {settings} @yearly {command}\n"
    done = pam.system.run("pycrontab", "-u", user, "-", stdin=table)
    assert done.returncode == 0, done.stderr
    done = pam.system.run("pycron", "start", name, user=user)
    assert done.returncode == 0, done.stderr


def run(
    pam: PamSystem, command: str, user: str = USERS[0], name: str = "job", settings: str = ""
) -> list[str]:
    """Run a command to its end; the lines of its output."""
    start(pam, command, user, name, settings)
    ended = pam.system.daemon.wait_for("attempt_ended", user=user, job=f"{name}-{user}")
    assert ended["outcome"] == "succeeded", str(ended)
    return pam.system.run("pycron", "log", ended["run_id"]).stdout.splitlines()


def session(user: str = USERS[0]) -> list[str]:
    """What is recorded of one session."""
    return [SEEN.format(what, user) for what in ("open_session", "close_session")]


# ---- what modules set


def test_limits_and_environment(make: Make) -> None:
    """pam_limits, pam_env, pam_umask and pam_group; what cron and the table say stands above."""
    service = (
        "account required pam_permit.so\n"
        "auth required pam_group.so\n"
        "session required pam_limits.so\n"
        "session required pam_umask.so umask=027 nousergroups\n"
        "session required pam_env.so envfile=/etc/security/variables\n"
    )
    user = USERS[0]
    limits = (
        f"{user} - nofile 1234\n{user} soft nproc 777\n{user} hard nproc 888\n{user} - core 4096\n"
        f"{user} - priority 7\n{user} - memlock 64\n{user} - as 4000000\n"
    )
    pam = make(service, limits=limits)
    variables = "FROM_PAM=yes\nFOO=pam\nPATH=/pam\nLOGNAME=root\nHOME=/pam\n"
    pam.system.write(Path("/etc/security/variables"), variables)
    pam.system.write(Path("/etc/security/group.conf"), f"pycron;*;{user};Al0000-2400;games\n")
    lines = run(pam, "nice; umask; id -Gn; env | grep -v ^CRON_; cat /proc/self/limits")
    assert lines[:2] == ["7", "0027"]
    assert set(lines[2].split()) >= {user, "games"}
    at = next(index for index, line in enumerate(lines) if line.startswith("Limit "))
    limits_of = {line[:26].strip(): line[26:].split()[:2] for line in lines[at + 1 :]}
    assert limits_of["Max open files"] == ["1234", "1234"]
    assert limits_of["Max processes"] == ["777", "888"]
    assert limits_of["Max core file size"] == [str(4096 * 1024)] * 2
    assert limits_of["Max locked memory"] == [str(64 * 1024)] * 2
    assert limits_of["Max address space"] == [str(4_000_000 * 1024)] * 2
    environment = dict(line.split("=", 1) for line in lines[3:at])
    assert environment["FROM_PAM"] == "yes"
    assert environment["FOO"] == "table"
    assert environment["PATH"] == command_path()
    assert environment["HOME"] == real_user(user).pw_dir
    assert environment["LOGNAME"] == environment["USER"] == user


@pytest.mark.slow
def test_settings_of_a_job_stand_above_pam(make: Make) -> None:
    service = (
        f"{PERMIT}session required pam_limits.so\n"
        "session required pam_umask.so umask=027 nousergroups\n"
    )
    pam = make(service, limits=f"{USERS[0]} - priority 3\n")
    lines = run(pam, "nice; umask", settings="CRON_NICE=11 CRON_UMASK=077")
    assert lines == ["11", "0077"]


@pytest.mark.slow
def test_limits_of_one_user_do_not_stay_for_the_next(make: Make) -> None:
    first, second = USERS[:2]
    limits = f"{first} - nofile 99\n{first} - priority 5\n"
    pam = make(f"{PERMIT}session required pam_limits.so\n", limits=limits)
    assert run(pam, "ulimit -n; nice", first) == ["99", "5"]
    [files, niceness] = run(pam, "ulimit -n; nice", second)
    assert (int(files) > 99, niceness) == (True, str(os.nice(0)))
    assert run(pam, "ulimit -n", "root") == [files]


@pytest.mark.slow
def test_a_limit_of_processes_keeps_a_command_from_starting(make: Make) -> None:
    """A limit that is too low for a start is an error of the Attempt, not of the daemon."""
    pam = make(f"{PERMIT}session required pam_limits.so\n", limits=f"{USERS[0]} - nproc 0\n")
    start(pam, "true")
    ended = pam.system.daemon.wait_for("attempt_ended", user=USERS[0])
    assert ended["outcome"] == "failed"
    assert "Resource temporarily unavailable" in ended["reason"]
    assert run(pam, "echo fine", USERS[1]) == ["fine"]


# ---- the account check


def test_an_expired_account_starts_nothing(make: Make) -> None:
    """The record says why, and there is no retry."""
    pam = make("account required pam_unix.so\nsession required RECORD\n")
    user, mark = USERS[0], pam.system.directory / "started"
    pam.expire(user)
    start(pam, f"touch {mark}", user, settings="CRON_RETRIES=3 CRON_RETRY_DELAY=1s")
    ended = pam.system.daemon.wait_for("attempt_ended", user=user)
    said = "Your account has expired; please contact your system administrator."
    reason = f"PAM (service pycron): account check: User account has expired ({said})"
    assert (ended["outcome"], ended["reason"]) == ("failed", reason)
    [row] = pam.system.runs("--owner", user)
    assert (row["outcome"], row["attempts"]) == ("failed", 1)
    assert reason in pam.system.run("pycron", "show", row["run_id"]).stdout
    assert "expired" in pam.system.run("pycron", "why", f"job-{user}", row["fire_time"]).stdout
    assert not pam.system.daemon.log("retry_planned")
    assert not mark.exists()
    assert pam.recorded() == []


@pytest.mark.slow
def test_root_and_other_users_start_when_an_account_has_expired(make: Make) -> None:
    """An expired password of root does not stop its Jobs."""
    pam = make("account required pam_unix.so\nsession required RECORD\n")
    pam.expire(USERS[0])
    pam.expire("root")
    assert run(pam, "echo fine", "root") == ["fine"]
    assert run(pam, "echo fine", USERS[1]) == ["fine"]
    until(lambda: pam.recorded() == [*session("root"), *session(USERS[1])])


def test_a_session_that_cannot_be_opened(make: Make) -> None:
    """The command does not start, and a retry follows."""
    pam = make("account required pam_permit.so\nsession required pam_deny.so\n")
    start(pam, "true", settings="CRON_RETRIES=1 CRON_RETRY_DELAY=1s")
    ended = pam.system.daemon.wait_for("attempt_ended", count=2, user=USERS[0])
    assert ended["reason"].startswith("PAM (service pycron): session: ")
    assert ended["attempt"] == 2


# ---- when sessions begin and end


def test_a_session_surrounds_the_command(make: Make) -> None:
    pam = make(f"account required RECORD\n{RECORDING}")
    run(pam, "true")
    account, (opened, closed) = SEEN.format("account", USERS[0]), session()
    until(lambda: pam.recorded() == [account, opened, closed])


def test_a_session_ends_with_the_last_process(make: Make) -> None:
    """Also with one that has left the session of its command and closed its output."""
    pam = make(RECORDING)
    wait = f"until [ -e {GO} ]; do sleep 0.05; done"
    start(pam, f"setsid sh -c 'exec >/dev/null 2>&1; {wait}' & exit 0")
    pam.system.daemon.wait_for("attempt_ended", user=USERS[0], outcome="succeeded")
    run(pam, "true", USERS[1])
    until(lambda: session(USERS[1])[1] in pam.recorded())  # so the helper has looked
    assert session()[1] not in pam.recorded()
    let_go(pam)
    until(lambda: session()[1] in pam.recorded())
    assert len(pam.recorded()) == 4


@pytest.mark.slow
def test_a_session_ends_after_a_time_out(make: Make) -> None:
    pam = make(RECORDING)
    start(pam, "sleep 1000", settings="CRON_TIMEOUT=1s")
    pam.system.daemon.wait_for("attempt_ended", user=USERS[0], outcome="timed_out")
    until(lambda: pam.recorded() == session())


def start_waiting(pam: PamSystem) -> None:
    """Start a command that waits for let_go()."""
    start(pam, f"until [ -e {GO} ]; do sleep 0.05; done")
    pam.system.daemon.wait_for("attempt_started", user=USERS[0])


def let_go(pam: PamSystem) -> None:
    pam.system.shell(f"touch {GO}")


@pytest.mark.slow
def test_a_daemon_that_is_killed(make: Make) -> None:
    pam = make(RECORDING)
    start_waiting(pam)
    pam.system.daemon.kill()
    pam.system.start()
    assert pam.recorded() == session()[:1]
    let_go(pam)
    pam.system.daemon.wait_for("attempt_ended", user=USERS[0], outcome="succeeded")
    until(lambda: pam.recorded() == session())


@pytest.mark.slow
def test_a_runner_that_is_killed(make: Make) -> None:
    """The next one ends its command, and then the session is closed."""
    pam = make(RECORDING)
    start_waiting(pam)
    [runner] = pam.system.daemon.log("runner_started")
    os.kill(runner["pid"], signal.SIGKILL)
    pam.system.daemon.wait_for("attempt_lost", user=USERS[0])
    run(pam, "true", USERS[1])
    until(lambda: sorted(pam.recorded()) == sorted([*session(), *session(USERS[1])]))


def helper(pam: PamSystem) -> psutil.Process:
    """The process that opens sessions."""
    [runner] = pam.system.daemon.log("runner_started")

    def found() -> list[psutil.Process]:
        children = psutil.Process(runner["pid"]).children()
        return [each for each in children if "pycron.pam" in each.cmdline()]

    [process] = until(found)
    return process


@pytest.mark.slow
def test_a_helper_that_is_killed(make: Make) -> None:
    """Its sessions are closed, its commands go on, and the next command gets another helper."""
    pam = make(RECORDING)
    start_waiting(pam)
    first = helper(pam)
    first.kill()
    until(lambda: pam.recorded() == session())
    until(lambda: not alive(first.pid))
    assert run(pam, "echo fine", USERS[1]) == ["fine"]
    let_go(pam)
    pam.system.daemon.wait_for("attempt_ended", user=USERS[0], outcome="succeeded")
    until(lambda: pam.recorded() == [*session(), *session(USERS[1])])


@pytest.mark.slow
def test_nothing_is_left_of_a_session(make: Make) -> None:
    pam = make(RECORDING)
    for name in ("one", "two", "three"):
        run(pam, "true", name=name)
    until(lambda: len(pam.recorded()) == 6)
    until(lambda: not helper(pam).children())


# ---- modules that hang


SLOW = (
    "account required pam_permit.so\n"
    "session [success=1 default=ignore] pam_succeed_if.so quiet user != {}\n"
    "session required pam_exec.so /bin/sleep 1000\n"
    "session required pam_permit.so\n"
)


def test_a_module_that_hangs_delays_no_other_user(make: Make) -> None:
    slow, other = USERS[:2]
    pam = make(SLOW.format(slow), more="timeout = 60")
    table = "".join(f"CRON_NAME=s{number} @every 1s true\n" for number in range(50))
    assert pam.system.run("pycrontab", "-u", slow, "-", stdin=table).returncode == 0
    until(lambda: helper(pam).children())
    assert run(pam, "echo fine", other) == ["fine"]
    assert not pam.system.daemon.log("attempt_ended", user=slow)
    assert len(helper(pam).children()) <= 2 * STARTERS + 1  # of hundreds that are due


@pytest.mark.slow
def test_a_time_out_of_pam_is_retried(make: Make) -> None:
    pam = make(SLOW.format(USERS[0]), more="timeout = 1")
    start(pam, "true", settings="CRON_RETRIES=1 CRON_RETRY_DELAY=1s")
    ended = pam.system.daemon.wait_for("attempt_ended", count=2, user=USERS[0])
    reason = "PAM (service pycron): no answer within 1 seconds"
    assert (ended["attempt"], ended["outcome"], ended["reason"]) == (2, "failed", reason)


@pytest.mark.slow
def test_a_command_is_cancelled_while_a_module_hangs(make: Make) -> None:
    pam = make(SLOW.format(USERS[0]), more="timeout = 2")
    start(pam, "true")
    [row] = pam.system.runs("--owner", USERS[0])
    assert pam.system.run("pycron", "kill", row["run_id"]).returncode == 0
    ended = pam.system.daemon.wait_for("attempt_ended", user=USERS[0])
    assert ended["outcome"] == "cancelled"
    until(lambda: not helper(pam).children())


# ---- many commands


@pytest.mark.slow
def test_sessions_of_commands_that_are_due_by_the_clock(make: Make) -> None:
    """A session is opened before the fire time. Also if a daemon is killed, each is closed."""
    pam = make(RECORDING)
    table = "".join(f"CRON_NAME=s{number} @every 1s true\n" for number in range(20))
    for count in range(1, 4):
        assert pam.system.run("pycrontab", "-u", USERS[0], "-", stdin=table).returncode == 0
        pam.system.daemon.wait_for("attempt_ended", outcome="succeeded", count=20 * count)
        pam.system.daemon.kill()
        pam.system.start()
    assert pam.system.run("pycrontab", "-u", USERS[0], "-r").returncode == 0
    until(lambda: all(row["outcome"] for row in pam.system.runs("--limit", "10000")))
    opened, closed = session()

    def balance() -> bool:
        seen = pam.recorded()
        return seen.count(opened) == seen.count(closed) == len(seen) / 2

    until(balance)
    ended = [row for row in pam.system.runs("--limit", "10000") if row["attempts"]]
    assert len(pam.recorded()) / 2 >= len(ended) > 60


# ---- services


@pytest.mark.slow
def test_a_service_without_a_file(make: Make) -> None:
    """The daemon warns, and PAM goes by the service `other`."""
    pam = make("")
    warning = pam.system.daemon.log("pam_service_missing")[0]
    assert warning["reason"].startswith("/etc/pam.d/pycron does not exist")
    pam.system.write(Path("/etc/pam.d/other"), "account required pam_deny.so\n")
    start(pam, "true")
    ended = pam.system.daemon.wait_for("attempt_ended", user=USERS[0])
    assert "PAM (service pycron): account check: " in ended["reason"]


@pytest.mark.slow
def test_a_reload_turns_pam_off_and_on(make: Make) -> None:
    """It holds for the next start."""
    pam = make(RECORDING)
    config = pam.system.shell(f"cat {paths.SYSTEM_CONFIG}")
    pam.system.write(paths.SYSTEM_CONFIG, "")
    assert pam.system.run("pycron", "reload").returncode == 0
    run(pam, "true", name="without")
    pam.system.write(paths.SYSTEM_CONFIG, config)
    assert pam.system.run("pycron", "reload").returncode == 0
    run(pam, "true", name="with")
    until(lambda: pam.recorded() == session())


@pytest.mark.slow
def test_a_machine_without_pamela(tmp_path: Path) -> None:
    """The daemon does not start, because commands would start without the account check."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['pamela'] = None\n")
    (tmp_path / "pycron.toml").write_text('[pam]\nservice = "pycron"\n')
    config, state = tmp_path / "pycron.toml", tmp_path / "state"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    advice = "it needs the Python package pamela: pip install 'pycrond[pam]'"
    reason = f"{config}: bad pam.service: {advice}\n"
    done = run_program("pycrond", "--config", config, "--state-dir", state, env=environment)
    assert (done.returncode, done.stderr) == (os.EX_CONFIG, f"pycrond: {reason}")
    done = run_program("pycrond", "--config", config, "--check", env=environment)
    assert (done.returncode, done.stdout.splitlines(keepends=True)[0]) == (1, reason)


def test_a_foreground_daemon_has_no_pam(tmp_path: Path) -> None:
    (tmp_path / "pycron.toml").write_text('[pam]\nservice = "pycron"\n')
    (tmp_path / "table").write_text("@daily true\n")
    config, table = tmp_path / "pycron.toml", tmp_path / "table"
    done = run_program("pycrond", "--foreground", "--config", config, "--table", table)
    reason = "only root's daemon without --foreground can use PAM"
    text = f"pycrond: {config}: bad pam.service: {reason}\n"
    assert (done.returncode, done.stderr) == (os.EX_CONFIG, text)


@pytest.mark.slow
def test_the_service_that_pycron_ships(make: Make) -> None:
    shipped = (Path(__file__).parents[2] / "contrib/pam/pycron").read_text()
    pam = make(shipped, limits=f"{USERS[0]} - nofile 345\n")
    assert run(pam, "ulimit -n") == ["345"]
    pam.expire(USERS[0])
    start(pam, "true", name="again")
    ended = pam.system.daemon.wait_for("attempt_ended", job=f"again-{USERS[0]}")
    assert "expired" in ended["reason"]
