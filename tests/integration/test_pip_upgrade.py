"""pip replaces a running version of pycron: nothing is lost, and nothing runs twice."""

import json
import signal
import site
import subprocess
import sys
import venv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pycron.model.run import RunKey
from tests.support.running_daemon import RunningDaemon, alive
from tests.support.user_daemon import UserDaemon, Version
from tests.support.waiting import until
from tests.support.wheels import build_wheel, copy_checkout

pytestmark = pytest.mark.xdist_group("wheels")  # they are built once

OLD, NEW = "1.0", "2.0"

# Each command appends a mark to a file when it starts, in one write.
TABLE = (
    "MARK=echo $CRON_RUN_ID.$CRON_ATTEMPT >>$MARKS\n"
    "CRON_NAME=long @reboot"
    " eval $MARK; echo before; until [ -e $GO ]; do sleep 0.05; done; echo after; exit 7\n"
    "CRON_NAME=retried CRON_RETRIES=1 CRON_RETRY_DELAY=5s CRON_RETRY_JITTER=0 @reboot"
    " eval $MARK; [ $CRON_ATTEMPT = 2 ]\n"
    "CRON_NAME=short @every 1s eval $MARK\n"
)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two wheels of this checkout, with different version numbers."""
    directory = tmp_path_factory.mktemp("wheels")
    source = copy_checkout(directory / "source")
    for version in (OLD, NEW):
        (source / "pycron/__init__.py").write_text(f'__version__ = "{version}"\n')
        build_wheel(source, directory)
    return {version: next(directory.glob(f"*-{version}-*.whl")) for version in (OLD, NEW)}


class Environment:
    """A virtual environment with a wheel of pycron, and the dependencies of this environment."""

    def __init__(self, directory: Path, wheel: Path) -> None:
        venv.create(directory, symlinks=True)
        self._programs = directory / "bin"
        self.version = Version(python=self._programs / "python")
        (self.packages,) = directory.glob("lib/python*/site-packages")
        self.install(wheel)
        # Python searches these directories after those of the environment, and does not read their
        # own .pth files, such as the one of an editable pycron.
        (self.packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))

    def install(self, wheel: Path) -> None:
        """With this environment's pip: to install another one takes seconds."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.version.python), "install"]
        subprocess.run([*pip, "-q", "--no-index", "--no-deps", str(wheel)], check=True, timeout=300)

    def installed(self) -> str:
        """The version that a program of this environment imports, from this environment only."""
        code = "import pycron; print(pycron.__version__, pycron.__file__)"
        version, file = self._run("python", "-c", code).split()
        assert Path(file).is_relative_to(self.packages)
        return version

    def _run(self, name: str, *arguments: str) -> str:
        """Run a program of this environment; its output."""
        command = [str(self._programs / name), *arguments]
        environment = self.version.environment
        return subprocess.check_output(command, text=True, timeout=300, env=environment, cwd="/")


@pytest.fixture
def environment(tmp_path: Path, wheels: dict[str, Path]) -> Environment:
    return Environment(tmp_path / "environment", wheels[OLD])


def stop(daemon: RunningDaemon) -> None:
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0


def wait_for_a_short_command(daemon: RunningDaemon) -> None:
    """Wait for the next start of a short command, and for its end."""
    seen = len(daemon.log("attempt_started", job="short"))
    started = daemon.wait_for("attempt_started", job="short", count=seen + 1)
    daemon.wait_for("attempt_ended", run_id=started["run_id"], outcome="succeeded")


def check_the_record(runs: list[dict[str, Any]], marks: Path) -> None:
    """Every fire time has its Run, and every Attempt was started once."""
    begun = [run for run in runs if run["attempts"]]
    started = [f"{run['run_id']}.{n + 1}" for run in begun for n in range(run["attempts"])]
    assert sorted(marks.read_text().split()) == sorted(started)
    ends = Counter((run["job"], run["outcome"], run["attempts"]) for run in begun)
    short = ends.pop(("short", "succeeded", 1))
    assert ends == {("long", "failed", 1): 1, ("retried", "succeeded", 2): 1}
    times = [RunKey.parse(run["run_id"]).fire_time for run in begun if run["job"] == "short"]
    assert times == list(range(times[0], times[0] - short, -1))  # newest first


@pytest.mark.slow
@pytest.mark.parametrize("end", [stop, RunningDaemon.kill])
def test_pip_upgrades_a_running_daemon(
    user_daemon: UserDaemon,
    environment: Environment,
    wheels: dict[str, Path],
    tmp_path: Path,
    end: Callable[[RunningDaemon], None],
) -> None:
    def pycron(*arguments: str) -> list[Any]:
        printed = user_daemon.run(*arguments, "--json", version=environment.version)
        return [json.loads(line) for line in printed.splitlines()]

    def runs() -> list[dict[str, Any]]:
        return pycron("runs", "--limit", "1000")

    marks = tmp_path / "marks"
    user_daemon.write_table(f"MARKS={marks}\n{TABLE}")
    assert environment.installed() == OLD
    first = user_daemon.start(environment.version)
    assert first.log("daemon_started")[0]["version"] == OLD
    runner = first.wait_for("runner_started")["pid"]
    long = first.wait_for("attempt_started", job="long")
    first.wait_for("retry_planned", job="retried")
    wait_for_a_short_command(first)

    environment.install(wheels[NEW])
    assert environment.installed() == NEW
    wait_for_a_short_command(first)
    end(first)
    assert alive(long["pid"])

    second = user_daemon.start(environment.version)
    assert second.log("daemon_started")[0]["version"] == NEW
    assert second.wait_for("runner_found")["attempts"] >= 1
    (status,) = pycron("status")
    assert (status["version"], status["processes"]["runner"]["pid"]) == (NEW, runner)
    wait_for_a_short_command(second)
    user_daemon.go.touch()
    ended = second.wait_for("attempt_ended", job="long")
    assert (ended["run_id"], ended["exit_status"]) == (long["run_id"], 7)
    assert user_daemon.run("log", long["run_id"], version=environment.version) == "before\nafter\n"

    pycron("pause", "short")
    until(lambda: all(run["outcome"] for run in runs()), patience=30)
    check_the_record(runs(), marks)
