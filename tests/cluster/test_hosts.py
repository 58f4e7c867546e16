"""Runs of five hosts in network namespaces: with faults, and with one that is conceded."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.support import postgres
from tests.support.queue_brokers import each_kind

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not postgres.is_here(), reason="PostgreSQL is not installed"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="nftables is not installed"),
    pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed"),
]


def run_hosts(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.cluster", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_no_fault_breaks_a_promise() -> None:
    done = run_hosts("--minutes", "15", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_command_outlives_an_outage_of_a_minute() -> None:
    """With the default lease: what was lost would be lost to the outage alone."""
    done = run_hosts("--minutes", "5", "--lease", "90", "--only", "cut the database off")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'lost'" not in done.stdout


@pytest.mark.parametrize("broker", each_kind())
def test_no_fault_of_queues_breaks_a_promise(broker: str) -> None:
    done = run_hosts("--queues", "--broker", broker, "--minutes", "15", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_rows_that_a_fail_over_loses_are_found() -> None:
    """What is conceded shows, so the checker sees what it has to see."""
    done = run_hosts("--minutes", "3", "--only", "an asynchronous fail-over")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "doubled: 0" not in done.stdout
    assert "not ended: 0" in done.stdout
