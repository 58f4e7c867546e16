"""Options, fixtures and checks for all tests.

Tests with the mark `slow` are left out unless `-m` says otherwise. `--thorough` runs them, too,
repeats the random tests more often, and runs those that take minutes.

The tests may run in parallel (`-n auto`). The tests of an `xdist_group` run one after the other in
one process: the group "machine" consists of the tests that load the machine. The tests of a file
with the mark `root` are a group, too: they share accounts and find processes by user. A group also
shares the fixtures of a module.
"""

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import remaining_processes, thoroughness
from tests.support.user_accounts import USERS, WORKER
from tests.support.user_daemon import UserDaemon

# Speed is measured in bench/, never asserted by the clock of a machine that may be busy.
settings.register_profile("quick", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=600)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough", action="store_true",
        help="repeat the random tests more often, and run the tests that take minutes",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    thoroughness.set_thorough(config.getoption("--thorough"))
    settings.load_profile("thorough" if thoroughness.is_thorough() else "quick")
    if thoroughness.is_thorough() and config.option.markexpr == "not slow":  # as in pyproject.toml
        config.option.markexpr = ""
    # A job of a shell in the background has SIGINT ignored, and so had the programs under test.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ[remaining_processes.VARIABLE] += f".{worker}."  # gw1 is not gw10
    else:
        os.environ[remaining_processes.VARIABLE] = secrets.token_hex(8)
    # Programs are started thousands of times, and would be compiled each time.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Most tests wait for processes most of the time."""
    return 3 * len(os.sched_getaffinity(0))


def pytest_make_parametrize_id(val: object) -> str | None:
    """Tests have the same ids in all processes, although each process has its own accounts."""
    if isinstance(val, str) and any(user in val for user in USERS):
        return val.replace(WORKER, "")
    return None


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("root") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))
        if item.get_closest_marker("thorough") and not thoroughness.is_thorough():
            item.add_marker(pytest.mark.skip(reason="only with --thorough"))
    # Slow tests come first, then the groups: one process runs all tests of a group, and if it began
    # late, it would still be busy when the others have ended.
    items.sort(key=lambda item: [item.get_closest_marker(name) is None
                                 for name in ("slow", "xdist_group")])  # fmt: skip


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fail if xdist forgot the groups: their tests would disturb each other in parallel.

    xdist marks a test of a group by a suffix of its node id.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    for item in session.items:
        if item.get_closest_marker("xdist_group") and "@" not in item.nodeid:
            pytest.exit(f"pytest-xdist forgot the group of {item.nodeid}", returncode=3)


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    yield
    remaining = remaining_processes.end_remaining_processes(
        os.environ[remaining_processes.VARIABLE], tmp_path_factory.getbasetemp()
    )
    if remaining:
        pytest.fail(remaining_processes.describe(remaining), pytrace=False)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With `-n`: a worker that has died has left its processes to this one."""
    if "PYTEST_XDIST_WORKER" in os.environ or not session.config.getoption("numprocesses", None):
        return
    run = os.environ[remaining_processes.VARIABLE]
    if remaining := remaining_processes.end_remaining_processes(f"{run}."):
        print("\n" + remaining_processes.describe(remaining))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def user_daemon(tmp_path: Path) -> Iterator[UserDaemon]:
    user_daemon = UserDaemon(tmp_path)
    try:
        yield user_daemon
    finally:
        user_daemon.end()
