"""What contrib/container promises, in namespaces: read-only root, any user, process 1, limits."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.container import Container, commands
from tests.support.thoroughness import slow_after
from tests.support.user_accounts import USERS, real_user
from tests.support.waiting import until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make such namespaces"),
]
TABLE = (
    "CRON_NAME=tick @every 1s id -u; (sleep 0.3 &)\n"
    "CRON_NAME=long @reboot trap 'echo told; exit 5' TERM; echo ready;"
    " while :; do sleep 0.1; done\n"
)
CGROUPS = Path("/sys/fs/cgroup")


Make = Callable[..., Container]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes containers; they are ended with the test."""
    real_user(USERS[0])  # or skip: others must be able to run this interpreter
    with contextlib.ExitStack() as made:
        yield lambda **shape: made.enter_context(contextlib.closing(Container(tmp_path, **shape)))


def works(container: Container) -> None:
    """The daemon runs commands, answers, reaps orphans, and waits for its commands at the end."""
    daemon = container.daemon
    assert daemon is not None
    daemon.wait_for("output", job="long", line="ready")
    daemon.wait_for("output", job="tick", line=str(container.uid))
    until(lambda: container.run(*commands("HEALTHCHECK .*CMD ")).returncode == 0)
    checked = container.run("pycron", "status", "--health")
    assert checked.stdout.startswith("healthy: tables 1, Jobs 2, running")
    assert '"job": "tick"' in container.run("pycron", "runs", "--json").stdout
    daemon.wait_for("attempt_ended", job="tick", count=2)
    until(lambda: not [p for p in container.process_1.children() if p.status() == "zombie"])


@pytest.mark.parametrize("uid", slow_after(1, [10001, 65534, 1_004_080_000, 0]))
def test_any_user_with_a_read_only_root_and_no_passwd(make: Make, uid: int) -> None:
    """Process 1 is the daemon: it passes the signal of the engine on to its commands."""
    container = make(uid=uid)
    container.table.write_text(TABLE)
    daemon = container.start()
    works(container)
    assert container.stop() == 0
    assert daemon.log("output", job="long", line="told")
    assert daemon.log("daemon_stopped")


def test_under_an_init_like_tini(make: Make) -> None:
    container = make(init=True)
    container.table.write_text(TABLE)
    daemon = container.start()
    works(container)
    container.process_1.terminate()
    daemon.wait_for("daemon_stopping")
    daemon.wait_for("attempt_ended", job="tick", count=2)
    assert not daemon.log("output", job="long", line="told")  # it is waited for
    assert container.stop() == 0
    assert daemon.log("output", job="long", line="told")


@pytest.mark.parametrize("shm", ["64m", None])
def test_without_a_state_directory(make: Make, shm: str | None) -> None:
    """The state is in /dev/shm, or in a temporary directory if there is no /dev/shm."""
    container = make(shm=shm)
    container.table.write_text(TABLE)
    daemon = container.start(["--foreground", "--table", container.table])
    state = Path(daemon.wait_for("daemon_started")["state"])
    assert (state.parent == Path("/dev/shm")) is (shm is not None)
    daemon.wait_for("output", job="tick", line="10001")
    assert container.stop() == 0
    assert daemon.log("daemon_stopped")


def test_with_no_place_for_the_state(make: Make, tmp_path: Path) -> None:
    container = make(shm=None, writable=False)
    container.table.write_text(TABLE)
    daemon = container.start(["--foreground", "--table", container.table])
    assert daemon.wait() == os.EX_CONFIG
    said = (tmp_path / "log").read_text()
    assert said.startswith("pycrond: no place for the state: neither /dev/shm nor")
    assert said.count("\n") == 1


@pytest.fixture
def limited() -> Iterator[Path]:
    """The file that takes the processes of a cgroup with 200 MB of memory."""
    made = _limited_cgroup(f"pycron-test-{os.getpid()}")
    if made is None:
        pytest.skip("no cgroup with a limit of memory can be made here")
    processes = made / "cgroup.procs"
    yield processes
    until(lambda: not processes.read_text())
    made.rmdir()


def _limited_cgroup(name: str) -> Path | None:
    """Version 1 has a tree for memory; version 2 has one tree, and a switch for memory."""
    tree, limit = CGROUPS / "memory", "memory.limit_in_bytes"
    if not tree.is_dir():
        tree, limit = CGROUPS, "memory.max"
    with contextlib.suppress(OSError):
        if limit == "memory.max":
            (tree / "cgroup.subtree_control").write_text("+memory")
        (tree / name).mkdir()
        (tree / name / limit).write_text("200M")
        return tree / name
    return None


def test_a_memory_limit(make: Make, limited: Path) -> None:
    """The kernel ends the command that is too large; the daemon and its runner go on."""
    container = make(cgroup=limited)
    container.table.write_text(
        "CRON_NAME=large @reboot exec python3 -c 'x = bytearray(400 * 2**20)'\n"
        "CRON_NAME=tick @every 1s true\n"
    )
    daemon = container.start()
    ended = daemon.wait_for("attempt_ended", job="large")
    assert (ended["outcome"], ended["signal"]) == ("killed", 9)
    seen = len(daemon.log("attempt_ended", job="tick"))
    daemon.wait_for("attempt_ended", job="tick", count=seen + 1)
    assert not daemon.log("runner_lost")
    assert container.run("pycron", "status", "--health").returncode == 0
    assert container.stop() == 0
