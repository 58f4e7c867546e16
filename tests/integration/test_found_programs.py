"""Commands that the daemon starts find pycron's programs and this daemon, also without PATH."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pycron.cli.daemon_choice import choice_for
from pycron.cli.pycron import parser
from pycron.system import paths
from tests.support.running_daemon import python_script
from tests.support.waiting import until

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = "import sys\nfrom pycron.cli.{name} import main\nsys.exit(main())\n"


def installed_in(directory: Path) -> Path:
    """A directory with the programs, as a virtual environment has one."""
    programs = directory / "venv/bin"
    programs.mkdir(parents=True)
    for name in ("pycron", "pycrond"):
        (programs / name).write_text(python_script(SCRIPT.format(name=name)))
        (programs / name).chmod(0o755)
    return programs


@contextmanager
def running(directory: Path, table: str, *options: str) -> Iterator[Path]:
    """A foreground daemon that a cron-like environment has started; the directory of programs."""
    programs = installed_in(directory)
    (directory / "table").write_text(table)
    command = [str(programs / "pycrond"), "--foreground", "--table", str(directory / "table")]
    with (directory / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [*command, *options],
            env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield programs
    finally:
        daemon.terminate()
        daemon.wait(30)


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("", []),
        ("PATH=/usr/local/bin:/usr/bin:/bin\n", ["--clean-env", "--pass-env", "PYTHONPATH"]),
    ],
)
def test_a_failure_hook_prints_the_log_of_the_failed_run(
    tmp_path: Path, path: str, options: list[str]
) -> None:
    said = tmp_path / "said"
    hook = f"(pycron log $CRON_FAILED_RUN_ID; echo $PATH) >{said}.part 2>&1; mv {said}.part {said}"
    table = f"{path}CRON_NAME=bad CRON_ON_FAILURE='{hook}' @reboot echo what went wrong; exit 7\n"
    with running(tmp_path, table, "--state-dir", str(tmp_path / "state"), *options) as programs:
        until(said.exists, patience=30)
    own = path.removeprefix("PATH=").strip() or "/usr/bin:/bin"
    assert said.read_text().splitlines() == ["what went wrong", f"{own}:{programs}"]


def test_a_path_that_has_the_directory_stays_as_it_is(tmp_path: Path) -> None:
    said = tmp_path / "said"
    path = f"{tmp_path}/venv/bin:/usr/bin:/bin"
    with running(
        tmp_path, f"PATH={path}\n@reboot echo $PATH >{said}.part; mv {said}.part {said}\n"
    ):
        until(said.exists, patience=30)
    assert said.read_text() == f"{path}\n"


@pytest.mark.parametrize("which", ["own", "system"])
def test_the_directory_of_a_socket_stands_for_its_daemon(
    which: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Commands of a user's own daemon speak to it, also where there is a system's daemon."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    meant = paths.user_paths() if which == "own" else paths.system_paths()
    monkeypatch.setenv(paths.STATE_DIR_VARIABLE, str(meant.run))
    choice = choice_for(parser().parse_args(["list"]))
    assert choice.paths == meant
    assert choice.config is not None


def test_another_directory_stands_for_the_daemon_that_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(paths.STATE_DIR_VARIABLE, str(tmp_path))
    assert choice_for(parser().parse_args(["list"])).paths == paths.paths_in(tmp_path)
