"""What a daemon tells its service manager: that it is ready, that it is alive, what it leaves."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running_daemon import foreground
from tests.support.service_manager import ServiceManager
from tests.support.waiting import until


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    manager = ServiceManager(tmp_path / "notify", watchdog_seconds=2)
    yield manager
    manager.close()


def test_the_loop_feeds_the_watchdog_though_nothing_happens(
    manager: ServiceManager, tmp_path: Path
) -> None:
    environment = os.environ | manager.environment
    with foreground("@yearly true\n", tmp_path, env=environment):
        manager.wait_for("READY=1")
        assert not any("WATCHDOG" in message for message in manager.messages)
        for _ in range(3):
            assert manager.receive(10) == "WATCHDOG=1"  # a machine may be busy


def test_a_daemon_that_hangs_does_not_feed_the_watchdog(
    manager: ServiceManager, tmp_path: Path
) -> None:
    environment = os.environ | manager.environment
    with foreground("@yearly true\n", tmp_path, env=environment) as daemon:
        manager.wait_for("WATCHDOG=1")
        daemon.signal(signal.SIGSTOP)
        until(lambda: manager.receive(0.1) is None)
        assert manager.receive(4) is None
        daemon.signal(signal.SIGCONT)
        manager.wait_for("WATCHDOG=1")


def test_another_process_is_watched(manager: ServiceManager, tmp_path: Path) -> None:
    """WATCHDOG_PID names the process that systemd waits for: sd_watchdog_enabled(3)."""
    environment = os.environ | manager.environment | {"WATCHDOG_PID": "1"}
    with foreground("@yearly true\n", tmp_path, env=environment):
        manager.wait_for("READY=1")
        assert manager.receive(2) is None


def test_each_table_that_is_read_is_progress(manager: ServiceManager, tmp_path: Path) -> None:
    (tmp_path / "more").write_text("@yearly true\n")
    environment = os.environ | manager.environment
    with foreground("@yearly true\n", tmp_path, "--table", tmp_path / "more", env=environment):
        manager.wait_for("READY=1")
        steps = [message for message in manager.messages if "EXTEND" in message]
        assert steps == 2 * ["EXTEND_TIMEOUT_USEC=180000000"]
