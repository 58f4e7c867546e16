"""Which other cron runs, or would run after the next boot."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.system.other_crons import Facts, Kind, OtherCron, Process, decide, other_crons
from tests.support.waiting import until

CRON = Process(812, 1, "cron", "/usr/sbin/cron", "cron.service")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (Facts(True, (CRON,), frozenset({"cron.service"})),
         "cron (pid 812, cron.service) is running: it would run the same jobs; "
         "systemctl disable --now cron"),
        (Facts(True, (CRON, Process(900, 812, "cron", "/usr/sbin/cron", "cron.service"))),
         "cron (pid 812, cron.service) is running: it would run the same jobs; "
         "systemctl disable --now cron"),
        (Facts(True, (), frozenset({"cron.service"})),
         "cron (cron.service) is enabled and would run after the next boot: it would run the same "
         "jobs; systemctl disable --now cron"),
        (Facts(True, (Process(5, 1, "crond", "/usr/sbin/crond", "crond.service"),)),
         "crond (pid 5, crond.service) is running: it would run the same jobs; "
         "systemctl disable --now crond"),
        (Facts(False, (Process(5, 1, "crond", "/bin/busybox"),)),
         "busybox crond (pid 5) is running: it would run the same jobs; kill 5"),
        (Facts(True, (Process(5, 1, "cron", "/usr/sbin/cron (deleted)"),)),
         "cron (pid 5) is running: it would run the same jobs; kill 5"),
        (Facts(False, (Process(5, 1, "cron", None),), scripts=frozenset({"cron"})),
         "cron (pid 5) is running: it would run the same jobs; "
         "service cron stop; update-rc.d cron disable"),
        (Facts(False, scripts=frozenset({"cron"})),
         "cron (init script) is enabled and would run after the next boot: it would run the same "
         "jobs; service cron stop; update-rc.d cron disable"),
        (Facts(True, units=frozenset({"anacron.timer"})),
         "anacron (anacron.timer) is running: it would run the jobs of /etc/anacrontab; "
         "systemctl disable --now anacron.timer"),
        (Facts(True, units=frozenset({"cron.target"})),
         "systemd-cron (cron.target) is running: it would run the same jobs; "
         "systemctl disable --now cron.target"),
        (Facts(True, (Process(5, 1, "fcron", "/usr/sbin/fcron", "fcron.service"),)),
         "fcron (pid 5, fcron.service) is running: it runs the jobs of its own tables; "
         "systemctl disable --now fcron"),
    ],
)  # fmt: skip
def test_one_sentence_says_what_runs_and_what_to_do(facts: Facts, message: str) -> None:
    [found] = decide(facts)
    assert found.message == message


@pytest.mark.parametrize(
    "facts",
    [
        Facts(True),
        Facts(True, (Process(5, 1, "cron", "/usr/bin/python3.11"),)),  # a script of that name
        Facts(True, (Process(5, 1, "cron", "/usr/sbin/cron", "cron.service", left=True),)),
        Facts(True, (Process(5, 1, "pycrond", "/usr/bin/python3.11", "pycron.service"),)),
        Facts(True, units=frozenset({"pycron.service"})),
    ],
)
def test_nothing_else_is_a_cron(facts: Facts) -> None:
    assert decide(facts) == []


def test_cron_and_anacron_are_two() -> None:
    units = frozenset({"cron.service", "anacron.timer", "anacron.service"})
    cron, anacron = decide(Facts(True, (CRON,), units))
    assert cron == OtherCron("cron", Kind.CRON, 812, True, True, ("cron.service",))
    assert (anacron.kind, anacron.active) == (Kind.ANACRON, True)
    assert anacron.units == ("anacron.timer", "anacron.service")


# ---- the facts of a machine


def unit(root: Path, name: str, wants: str | None, target: str | None = None) -> None:
    path = root / "lib/systemd/system" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[Unit]\n")
    if wants:
        link = root / "etc/systemd/system" / wants / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/lib/systemd/system/{name}")
    if target:
        (root / "etc/systemd/system" / name).symlink_to(target)


def crons_in(root: Path) -> list[str]:
    """The crons that the files of a tree show; a process of the machine is none of them."""
    return [cron.name for cron in other_crons(root) if cron.enabled]


@pytest.fixture
def booted(tmp_path: Path) -> Path:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    return tmp_path


def test_an_enabled_unit_is_found(booted: Path) -> None:
    unit(booted, "cron.service", "multi-user.target.wants")
    unit(booted, "anacron.timer", "timers.target.wants")
    assert crons_in(booted) == ["cron", "anacron"]


def test_a_disabled_or_masked_unit_would_not_run(booted: Path) -> None:
    unit(booted, "cron.service", None)
    unit(booted, "anacron.timer", "timers.target.wants", target="/dev/null")
    assert crons_in(booted) == []


def test_a_symlink_without_a_unit_is_nothing(booted: Path) -> None:
    unit(booted, "cron.service", "multi-user.target.wants")
    (booted / "lib/systemd/system/cron.service").unlink()
    assert crons_in(booted) == []


@pytest.mark.parametrize(
    ("link", "with_systemd", "with_unit", "found"),
    [
        ("etc/rc2.d/S01cron", False, False, ["cron"]),
        ("etc/rc2.d/K01cron", False, False, []),
        ("etc/rc2.d/S01cron", True, True, []),  # systemd takes the unit, which is disabled
        ("etc/rc2.d/S01cron", True, False, ["cron"]),  # systemd-sysv-generator
        ("etc/runlevels/default/cronie", False, False, ["crond"]),
        ("etc/runlevels/default/sshd", False, False, []),
    ],
)
def test_an_init_link(
    tmp_path: Path, link: str, with_systemd: bool, with_unit: bool, found: list[str]
) -> None:
    for path in (link, "etc/init.d/cron", "etc/init.d/cronie"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch(0o755)
    if with_systemd:
        (tmp_path / "run/systemd/system").mkdir(parents=True)
    if with_unit:
        unit(tmp_path, "cron.service", None)
    assert crons_in(tmp_path) == found


def test_the_init_script_of_a_removed_package(tmp_path: Path) -> None:
    """Debian's cron leaves its script and the links when it is removed."""
    for path in ("etc/rc2.d/S01cron", "etc/init.d/cron"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch(0o644)
    assert crons_in(tmp_path) == []


@pytest.fixture
def fake_cron(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose name and program are `bcron-exec`: none of a real cron of this machine."""
    sleep = shutil.which("sleep")
    assert sleep
    program = shutil.copy(sleep, tmp_path / "bcron-exec")
    with subprocess.Popen([program, "60"]) as process:
        # execve(2) closes descriptors, for which Popen waits, before it gives the new name.
        name = Path(f"/proc/{process.pid}/comm")
        until(lambda: name.read_text() == "bcron-exec\n")
        yield process
        process.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="a cron is a process of root")
def test_a_process_of_root_is_found(tmp_path: Path, fake_cron: subprocess.Popen[bytes]) -> None:
    [found] = [cron for cron in other_crons(tmp_path) if cron.name == "bcron"]
    assert (found.pid, found.active, found.enabled) == (fake_cron.pid, True, False)
