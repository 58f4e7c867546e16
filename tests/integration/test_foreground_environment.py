"""What commands of a foreground daemon get of the environment that it was started with."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.running_daemon import RunningDaemon, command_path, foreground, run
from tests.support.user_accounts import USERS, real_user

IMAGE = {
    "PATH": f"/opt/image/bin:{os.environ['PATH']}",
    "LANG": "C.UTF-8",
    "HOME": "/tmp",
    "DATABASE_URL": "postgres://secret",
    "SHELL": "/bin/false",
    "NOTIFY_SOCKET": "/nowhere",
    "LISTEN_FDS": "3",
}
SHOW = "CRON_NAME=show @reboot pwd; env\n"


def shown(daemon: RunningDaemon, job: str = "show") -> tuple[str, dict[str, str]]:
    """The directory and the environment of the command."""
    daemon.wait_for("attempt_ended", job=job, outcome="succeeded")
    directory, *lines = [line["line"] for line in daemon.log("output", job=job)]
    return directory, dict(line.split("=", 1) for line in lines)


def started_with(image: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **image}


def test_commands_get_the_environment_and_the_directory_of_the_image(tmp_path: Path) -> None:
    where = tmp_path / "workdir"
    where.mkdir()
    with foreground(SHOW, tmp_path, env=started_with(IMAGE), cwd=where) as daemon:
        directory, environment = shown(daemon)
    assert directory == str(where)
    passed = {name: IMAGE[name] for name in ("LANG", "HOME", "DATABASE_URL")}
    passed["PATH"] = command_path(IMAGE["PATH"])
    assert {name: environment.get(name) for name in passed} == passed
    assert environment["SHELL"] == "/bin/sh"
    assert not {"NOTIFY_SOCKET", "LISTEN_FDS"} & set(environment)
    assert environment["CRON_JOB"] == "show"


def test_the_table_wins(tmp_path: Path) -> None:
    table = f"HOME=/\nLANG=x\nSHELL=/bin/bash\n{SHOW}"
    with foreground(table, tmp_path, env=started_with(IMAGE), cwd=tmp_path) as daemon:
        directory, environment = shown(daemon)
    assert directory == "/"
    assert [environment[name] for name in ("HOME", "LANG", "SHELL")] == ["/", "x", "/bin/bash"]


def test_a_clean_environment_is_that_of_cron(tmp_path: Path) -> None:
    options = ("--clean-env", "--pass-env", "LANG,MISSING")
    with foreground(SHOW, tmp_path, *options, env=started_with(IMAGE), cwd=tmp_path) as daemon:
        directory, environment = shown(daemon)
    assert directory == str(Path.home())
    assert environment["PATH"] == command_path()
    assert environment["LANG"] == "C.UTF-8"
    assert "DATABASE_URL" not in environment


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_commands_of_other_users_get_only_what_is_named(tmp_path: Path) -> None:
    """Root's environment may contain secrets."""
    account = real_user(USERS[0])
    table = tmp_path / "system"
    table.write_text(f"CRON_NAME=other @reboot {USERS[0]} pwd; env\n")
    options: list[str | Path] = ["--system-table", table, "--pass-env", "LANG"]
    with foreground(SHOW, tmp_path, *options, env=started_with(IMAGE), cwd=tmp_path) as daemon:
        _, own = shown(daemon)
        directory, environment = shown(daemon, "other")
    assert own["DATABASE_URL"] == IMAGE["DATABASE_URL"]
    assert directory == environment["HOME"] == account.pw_dir
    assert environment["PATH"] == command_path()
    assert environment["LANG"] == "C.UTF-8"
    assert "DATABASE_URL" not in environment


@pytest.mark.parametrize("names", ["", "A,", "A=b"])
def test_a_wrong_name_is_refused(names: str) -> None:
    done = run("pycrond", "--foreground", "--table", "/none", "--pass-env", names)
    assert done.returncode == 2
    assert "no name of a variable" in done.stderr


@pytest.mark.parametrize("option", [["--clean-env"], ["--pass-env", "A"]])
def test_the_options_need_the_foreground(option: list[str]) -> None:
    done = run("pycrond", *option)
    assert done.returncode == 2
    assert f"{option[0]} needs --foreground" in done.stderr
