"""`pycron setup` on a machine: what is there before and after, and what it never touches."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.overlay_system import (
    OverlaySystem,
    environment_with,
    install_wheel,
    installed,
)
from tests.support.user_accounts import USERS, real_user
from tests.support.waiting import until
from tests.support.wheels import build_wheel, copy_checkout

pytestmark = pytest.mark.xdist_group("wheels")

UNIT = "/etc/systemd/system/pycron.service"
NEW = "99.0"
PURGE = ("--remove", "--purge")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """This version, and a newer one with another unit and without one of the manual pages."""
    directory = tmp_path_factory.mktemp("wheels")
    source = copy_checkout(directory / "source")
    build_wheel(source, directory / "old")
    (source / "pycron/__init__.py").write_text(f'__version__ = "{NEW}"\n')
    with (source / "contrib/systemd/pycron.service").open("a") as unit:
        unit.write("# newer\n")
    (source / "man/pycrontab.5").unlink()
    build_wheel(source, directory / "new")
    return [next((directory / name).glob("*.whl")) for name in ("old", "new")]


@pytest.fixture(scope="module")
def opt(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """/opt with a virtual environment; the first line of its programs names /opt/pycron."""
    directory = tmp_path_factory.mktemp("opt")
    environment = environment_with(wheels[0], directory / "pycron")
    for program in environment.glob("bin/pycron*"):
        program.write_text(program.read_text().replace(str(environment), "/opt/pycron"))
    return directory


@pytest.fixture
def machine(opt: Path, tmp_path: Path) -> Iterator[OverlaySystem]:
    with contextlib.closing(OverlaySystem(tmp_path, opt)) as system:
        yield system


def failed(done: subprocess.CompletedProcess[str], *texts: str) -> bool:
    return done.returncode == 1 and all(text in done.stderr for text in texts)


@pytest.mark.root
class TestSystem:
    @pytest.mark.slow
    def test_a_removal_leaves_nothing_behind(self, machine: OverlaySystem) -> None:
        before = machine.listing()
        planned = machine.setup("--dry-run")
        assert machine.listing() == before
        assert planned.returncode == 0

        done = machine.setup()
        assert (done.returncode, done.stdout) == (0, planned.stdout)
        assert f"write {UNIT}\n" in done.stdout
        assert machine.shell("pycron --version; man -w pycrond || echo no man")
        assert "ExecStart=/opt/pycron/bin/pycrond\n" in machine.shell(f"cat {UNIT}")
        assert machine.shell("getent passwd pycron-mail; getent group pycron")
        modes = machine.shell("stat -c %a /etc/pycron /etc/pycron.d /var/lib/pycron"
                              " /var/spool/pycron /var/lib/pycron/setup.json")  # fmt: skip
        assert modes.split() == ["755", "755", "711", "700", "600"]
        installed = machine.listing()

        again = machine.setup()
        assert (again.returncode, again.stdout) == (0, "")
        assert "everything is in place" in again.stderr
        assert machine.listing() == installed

        planned = machine.setup(*PURGE, "--dry-run")
        assert machine.listing() == installed
        removed = machine.setup(*PURGE)
        assert (removed.returncode, removed.stdout) == (0, planned.stdout)
        assert machine.listing() == before

    @pytest.mark.slow
    def test_accounts_without_systemd_sysusers(self, machine: OverlaySystem) -> None:
        machine.shell("file=$(command -v systemd-sysusers) || exit 0; mount --bind /dev/null $file")
        before = machine.listing()
        done = machine.setup()
        is_there = any(line.startswith("pycron:x:") for line in before)
        assert ("run groupadd --system pycron\n" in done.stdout) is not is_there
        assert "--shell /usr/sbin/nologin" in done.stdout
        account = machine.shell("getent passwd pycron-mail").strip().split(":")
        assert account[4:] == ["pycron notifications and mail", "/", "/usr/sbin/nologin"]
        assert machine.setup().stdout == ""
        assert machine.setup(*PURGE).returncode == 0
        assert machine.listing() == before

    def test_a_removal_keeps_the_state_and_what_was_changed(self, machine: OverlaySystem) -> None:
        before = machine.listing()
        machine.setup()
        machine.shell(
            "echo '# mine' | tee -a /etc/pycron/pycron.toml >>/usr/local/share/man/man1/pycron.1;"
            "echo '* * * * * root true' >/etc/pycron.d/mine; echo x >/var/spool/pycron/joe;"
            "ln -sf /bin/true /usr/local/bin/pycrond; touch /var/lib/pycron/pycron.db"
        )
        removed = machine.setup("--remove")
        assert removed.returncode == 0
        kept = {line.split()[2].rstrip(":") for line in removed.stderr.splitlines()
                if line.startswith("pycron: kept /")}  # fmt: skip
        assert kept >= {
            "/etc/pycron", "/etc/pycron/pycron.toml", "/etc/pycron.d", "/var/spool/pycron",
            "/usr/local/bin/pycrond", "/usr/local/share/man/man1/pycron.1", "/var/lib/pycron",
        }  # fmt: skip
        assert machine.shell("cat /etc/pycron.d/mine /var/spool/pycron/joe")
        assert machine.run("test", "-e", UNIT).returncode == 1

        assert machine.setup(*PURGE).returncode == 0
        left = machine.listing() - before
        assert {line.split()[0] for line in left if line.startswith("/")} >= {
            "/etc/pycron/pycron.toml", "/etc/pycron.d/mine", "/usr/local/bin/pycrond",
            "/usr/local/share/man/man1/pycron.1",
        }  # fmt: skip
        assert not [line for line in left if "/var/" in line or "pycron-mail" in line]

    @pytest.mark.parametrize(
        "foreign",
        [
            f"mkdir -p /etc/systemd/system; echo x >{UNIT}",
            f"mkdir -p /etc/systemd/system; ln -s /etc/passwd {UNIT}",
            f"mkdir -p /etc/systemd/system; mkfifo {UNIT}",
            "echo x >/usr/local/bin/pycrontab",
            "ln -s /bin/true /usr/local/bin/pycrontab",
            "mkdir -p /usr/local/share/man/man5/pycrontab.5",
        ],
    )
    def test_a_foreign_file_is_never_replaced(self, machine: OverlaySystem, foreign: str) -> None:
        machine.shell(foreign)
        before = machine.listing()
        assert failed(machine.setup(), "nothing was done", "that setup has not made")
        assert machine.listing() == before

    @pytest.mark.slow
    def test_an_interrupted_installation_is_completed(self, machine: OverlaySystem) -> None:
        machine.shell(
            "rm -rf /usr/local/share/zsh; mkdir -p /usr/local/share; touch /usr/local/share/zsh"
        )
        before = machine.listing()
        assert failed(machine.setup(), "/usr/local/share/zsh", "the same command goes on")
        assert machine.run("test", "-e", UNIT).returncode == 1
        assert machine.listing() > before
        assert machine.setup(*PURGE).returncode == 0
        assert machine.listing() == before  # what was made until then is removed

        assert machine.setup().returncode == 1
        machine.shell("rm /usr/local/share/zsh; echo part >/etc/systemd/system/x"
                      f"; ln -s x {Path(UNIT).with_name('.pycron-setup-pycron.service')}"
                      )  # fmt: skip
        assert machine.setup().returncode == 0
        assert machine.shell("cat /etc/systemd/system/x") == "part\n"  # no link was followed
        assert "pycrond" in machine.shell(f"cat {UNIT}")
        machine.shell("rm /etc/systemd/system/x")
        assert machine.setup(*PURGE).returncode == 0
        assert {line for line in before if "local/share/zsh " not in line} == machine.listing()

    @pytest.mark.slow
    def test_an_upgrade_replaces_what_is_ours(
        self, machine: OverlaySystem, wheels: list[Path]
    ) -> None:
        before = machine.listing()
        machine.setup()
        machine.shell("echo '# mine' >>/usr/local/share/man/man8/pycrond.8")
        install_wheel(wheels[1], Path("/opt/pycron"), *machine.inside)
        done = machine.setup()
        assert done.returncode == 0, done
        assert done.stdout.splitlines()[:2] == [
            f"replace {UNIT}", "remove /usr/local/share/man/man5/pycrontab.5",
        ]  # fmt: skip
        assert "kept /usr/local/share/man/man8/pycrond.8" in done.stderr
        assert "# newer" in machine.shell(f"cat {UNIT}")
        machine.shell("rm /usr/local/share/man/man8/pycrond.8")
        assert machine.setup().stdout == "write /usr/local/share/man/man8/pycrond.8\n"
        assert machine.setup(*PURGE).returncode == 0
        opt = {line for line in before if line.startswith("/opt")}
        assert {each for each in machine.listing() if not each.startswith("/opt")} == before - opt

    def test_a_read_only_usr(self, machine: OverlaySystem) -> None:
        machine.shell("mount -o remount,bind,ro /usr/local")
        done = machine.setup()
        assert done.returncode == 0
        assert "left out /usr/local/bin: the file system is read-only" in done.stderr
        assert "pycrond" in machine.shell(f"cat {UNIT}")
        assert machine.setup(*PURGE).returncode == 0

    def test_who_may(self, machine: OverlaySystem) -> None:
        before = machine.listing()
        # Its number: the account may be younger than the machine, which then has no name for it.
        user = real_user(USERS[0]).pw_uid
        as_user = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
        assert failed(machine.run(*as_user, "/opt/pycron/bin/pycron", "setup", "--system"), "root")
        machine.shell(f"chown {user} /opt/pycron")
        assert failed(machine.setup(), "/opt/pycron can be changed by uid")
        machine.shell("chown root /opt/pycron; chmod 777 /opt/pycron/bin")
        assert failed(machine.setup(), "/opt/pycron/bin can be changed by everybody")
        machine.shell("chmod 755 /opt/pycron/bin")
        assert machine.listing() == before

    @pytest.mark.slow
    def test_a_daemon_that_no_unit_can_stop(self, machine: OverlaySystem) -> None:
        machine.setup()
        daemon = subprocess.Popen([*machine.inside, "/opt/pycron/bin/pycrond"],
                                  env=installed(), stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            until(lambda: machine.run("pycron", "status").returncode == 0)
            running = machine.listing()
            assert failed(machine.setup(*PURGE), "that systemd has not started", str(daemon.pid))
            assert machine.run("test", "-e", UNIT).returncode == 0
            assert {line.split()[0] for line in running} >= {"/run/pycron/pycron.sock"}
        finally:
            daemon.terminate()
            daemon.wait()

    def test_tables_of_another_cron_go_back_first(self, machine: OverlaySystem) -> None:
        machine.setup()
        machine.shell("echo {} >/var/lib/pycron/import.json")
        assert failed(machine.setup("--remove"), "pycron import --undo")


def own(home: Path) -> dict[str, str]:
    kept = {key: value for key, value in installed().items() if not key.startswith("XDG_")}
    return kept | {"HOME": str(home)}


@pytest.mark.slow
def test_for_one_user(wheels: list[Path], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = environment_with(wheels[0], home / "venv")

    def setup(*options: str) -> subprocess.CompletedProcess[str]:
        command = [str(environment / "bin/pycron"), "setup", "--user", *options]
        return subprocess.run(command, env=own(home), capture_output=True, text=True, check=False)

    def listing() -> set[Path]:
        return {path for path in home.rglob("*") if not path.is_relative_to(home / "venv")}

    rows = [json.loads(line) for line in setup("--dry-run", "--json").stdout.splitlines()]
    assert {"step", "path", "detail"} == {key for row in rows for key in row}
    assert listing() == set()
    done = setup()
    assert done.returncode == 0, done
    unit = (home / ".config/systemd/user/pycron.service").read_text()
    assert f"ExecStart={home}/venv/bin/pycrond" in unit
    assert (home / ".local/bin/pycron").resolve() == home / "venv/bin/pycron"
    assert (home / ".local/share/man/man8/pycrond.8").is_file()
    assert (home / ".config/pycron/pycron.toml").is_file()
    assert setup().stdout == ""
    assert setup(*PURGE).returncode == 0
    assert listing() == set()
