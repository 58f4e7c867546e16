"""The real daemon, runner and store under a faked clock (libfaketime) that runs fast."""

import datetime
import json
import os
import shutil
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pycron.schedule.expressions import parse_cron
from pycron.schedule.fire_times import fire_times
from pycron.schedule.zone import UTC, Zone
from tests.support.running_daemon import RunningDaemon, foreground, run
from tests.support.thoroughness import slow_after
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(
    shutil.which("faketime") is None, reason="faketime is not installed"
)

NEW_YORK = "America/New_York"
TABLE = {
    "each": "* * * * *",
    "wild": "*/15 * * * *",
    "fixed": "30 1,2 * * *",
    "hourly": "0 * * * *",
    "berlin": "CRON_TZ=Europe/Berlin */20 * * * *",
}


def instant(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize(
    ("start", "until_text"),
    slow_after(
        1,
        [
            # at 07:00Z, the hour from 02:00 is skipped
            ("2026-03-08 01:40:00", "2026-03-08T07:06:00+00:00"),
            # at 06:00Z, the hour from 01:00 is repeated
            ("2026-11-01 01:40:00", "2026-11-01T06:36:00+00:00"),
        ],
    ),
)
def test_runs_across_a_shift_of_daylight_saving(
    start: str, until_text: str, tmp_path: Path
) -> None:
    table = tmp_path / "table"
    table.write_text("".join(
        f"CRON_NAME={name} {schedule} true\n" for name, schedule in TABLE.items()
    ))  # fmt: skip
    state = tmp_path / "state"
    environment = dict(os.environ, TZ=NEW_YORK)
    daemon = RunningDaemon(
        ["--foreground", "--table", table, "--state-dir", state],
        tmp_path / "log",
        prefix=["faketime", "-f", f"@{start} x200"],
        env=environment,
    )
    last = instant(until_text)
    try:
        until(lambda: daemon.log("attempt_started", fire_time=_stamp(last)), patience=60)
        rows = [row for row in _runs(state) if row["fire_time"] <= _stamp(last)]
    finally:
        os.kill(
            _child_of(daemon.process.pid), signal.SIGTERM
        )  # the process of faketime stays its parent
        daemon.wait()
    first = min(instant(row["fire_time"]) for row in rows if row["job"] == "each")
    for name, text in TABLE.items():
        zone_name = "Europe/Berlin" if name == "berlin" else NEW_YORK
        zone = Zone(zone_name, ZoneInfo(zone_name))
        fields = tuple(text.removeprefix("CRON_TZ=Europe/Berlin ").split())
        expected = [_stamp(t) for t in fire_times(parse_cron(fields), zone, first, last + 1)]
        found = sorted(row["fire_time"] for row in rows if row["job"] == name)
        assert [t for t in found if t >= _stamp(first)] == expected, name
    assert {row["outcome"] for row in rows if row["ended"]} == {"succeeded"}
    logged = [line["run_id"] for line in daemon.log("attempt_started")]
    assert len(logged) == len(set(logged))
    assert {row["run_id"] for row in rows if row["ended"]} <= set(logged)


LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
STEPPED = """
CRON_NAME=each              * * * * *           true
CRON_NAME=wild              */10 * * * *        true
CRON_NAME=fixed             0-59/5 0-23 * * *   true
CRON_NAME=latest CRON_CATCHUP=latest */10 * * * * true
CRON_NAME=all CRON_CATCHUP=all       */10 * * * * true
"""


@pytest.mark.skipif(LIBRARY is None, reason="libfaketime.so.1 is not where Debian has it")
def test_a_clock_that_is_set_forward_by_an_hour(tmp_path: Path) -> None:
    """The monotonic clock is set, too, as if the machine had been asleep."""
    clock = tmp_path / "clock"
    _set(clock, "+0 x60")
    environment = dict(
        os.environ, TZ="UTC", LD_PRELOAD=str(LIBRARY), FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
    )  # fmt: skip
    with foreground(STEPPED, tmp_path, env=environment) as daemon:
        daemon.wait_for("attempt_ended", job="each", count=2)
        _set(clock, "+3600 x60")
        # The catch-up Runs are started together with the Run of the full hour
        daemon.wait_for("attempt_ended", job="all", count=6)
        count = len(daemon.log("attempt_ended", job="each")) + 2
        daemon.wait_for("attempt_ended", job="each", count=count)
        rows = _runs(tmp_path / "state")
    fires = {
        name: {instant(row["fire_time"]) for row in rows if row["job"] == name}
        for name in ("each", "wild", "fixed", "latest", "all")
    }
    minutes = sorted(fires["each"])
    first, last = minutes[0], minutes[-1]
    steps = [(later - earlier, later) for earlier, later in pairwise(minutes)]
    ((width, arrived),) = [step for step in steps if step[0] != 60]  # no other minute is missing
    assert 3600 <= width <= 3660 + 300

    def due(text: str) -> set[int]:
        return set(fire_times(parse_cron(tuple(text.split())), UTC, first, last + 1))

    def shown(name: str) -> set[int]:
        return {fire for fire in fires[name] if first <= fire <= last}

    assert shown("fixed") == due("0-59/5 0-23 * * *")
    assert shown("all") == due("*/10 * * * *")
    assert shown("wild") == due("*/10 * * * *") & fires["each"]
    assert shown("latest") == shown("wild") | {arrived - arrived % 600}
    assert {row["outcome"] for row in rows if row["ended"]} == {"succeeded"}
    logged = [line["run_id"] for line in daemon.log("attempt_started")]
    assert len(logged) == len(set(logged))


def _set(clock: Path, text: str) -> None:
    """Set the clock. The file is replaced, because a half-written one would be another clock."""
    new = clock.with_suffix(".new")
    new.write_text(f"{text}\n")
    new.replace(clock)


@pytest.mark.slow
def test_a_change_without_an_inotify_event_takes_effect_with_the_next_minute(
    tmp_path: Path,
) -> None:
    """inotify(7) reports no change of a symlink's target in another directory, or on NFS."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "table").write_text("")
    table, state = tmp_path / "table", tmp_path / "state"
    table.symlink_to(elsewhere / "table")
    daemon = RunningDaemon(
        ["--foreground", "--allow-empty", "--table", table, "--state-dir", state],
        tmp_path / "log",
        prefix=["faketime", "-f", "@2026-03-10 12:00:05 x5"],
        env=dict(os.environ, TZ="UTC"),
    )
    try:
        daemon.wait_for("daemon_started")  # a slow machine has 11 seconds for it, up to 12:01:00
        (elsewhere / "table").write_text("* * * * * true\n")
        until(lambda: daemon.log("attempt_started"), patience=40)
        assert _runs(state)[-1]["fire_time"] == "2026-03-10T12:01:00Z"
    finally:
        os.kill(_child_of(daemon.process.pid), signal.SIGTERM)
        daemon.wait()


def _child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _stamp(time: int) -> str:
    moment = datetime.datetime.fromtimestamp(time, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _runs(state: Path) -> list[dict[str, Any]]:
    listed = run("pycron", "--state-dir", state, "runs", "--json", "--limit", "400")
    return [json.loads(line) for line in listed.stdout.splitlines()]
