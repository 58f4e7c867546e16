"""Retention in a real daemon: limits of the configuration, and what is deleted."""

import os
from pathlib import Path

import pytest

from pycron.model.run import RunKey
from tests.support.operated_daemon import operated_daemon
from tests.support.waiting import until

CONFIG = """
[retention]
job_runs = 5
output_bytes = 40000
job_output_bytes = 25000
"""
TABLE = """
CRON_NAME=loud @every 1s head -c 10000 /dev/zero
CRON_NAME=quiet @yearly head -c 5000 /dev/zero
CRON_NAME=silent @every 1s true
"""


@pytest.mark.slow
def test_what_is_beyond_the_limits_is_deleted(tmp_path: Path) -> None:
    """Each minute: Runs of a Job, outputs of a Job, and a file without a record."""
    with operated_daemon(tmp_path, TABLE, CONFIG) as op:
        op.daemon.wait_for("attempt_ended", run_id=op.start("quiet"))
        op.daemon.wait_for("attempt_ended", job="loud", count=10)
        stray = op.state / "output" / "2026-03-08" / f"{RunKey('0' * 16, 1_772_971_200)}.1.log"
        stray.parent.mkdir()
        stray.write_text("lost")
        os.utime(stray, (0, 0))
        oldest = {job: [line["run_id"] for line in op.daemon.log("attempt_ended", job=job)[:4]]
                  for job in ("loud", "quiet", "silent")}  # fmt: skip
        until(lambda: not stray.parent.exists(), patience=90)
        for job in ("loud", "silent"):
            assert not {row["run_id"] for row in op.runs(job)} & set(oldest[job])
        files = {path.stem.rpartition(".")[0]: path for path in op.state.rglob("output/*/*.log")}
        assert not files.keys() & set(oldest["loud"])
        assert [row["run_id"] for row in op.runs("quiet")] == oldest["quiet"]
        assert files[oldest["quiet"][0]].stat().st_size == 5000
    assert op.daemon.log("store_failed") == []
