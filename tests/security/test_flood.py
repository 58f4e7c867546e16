"""A user floods the daemon with fire times: others start in time, and everything is accounted for.

Two thousand Jobs are due each second, far more than the user's share. Facts are asserted, not
speed: bench/attacks.py measures.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.system import paths
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.user_accounts import USERS
from tests.support.waiting import until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.xdist_group("machine"),
]

FLOODER, VICTIM, _ = USERS
JOBS = 2000
SHARE = 5
WAITING = 3000
CONFIG = f"[limits]\nuser_starts_per_second = {SHARE}\nuser_waiting = {WAITING}\n"
SECONDS = 8  # of the flood


@pytest.fixture
def system(tmp_path: Path) -> Iterator[IsolatedSystem]:
    with isolated_system(tmp_path) as system:
        system.write(paths.SYSTEM_CONFIG, CONFIG)
        assert system.run("pycron", "reload").returncode == 0
        yield system


def install(system: IsolatedSystem, user: str, table: str) -> None:
    done = system.run("pycrontab", "-", user=user, stdin=table)
    assert done.returncode == 0, done.stderr


AUTOGROUP = Path("/proc/self/autogroup")


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel has no autogroups")
def test_a_daemon_with_a_fire_time_at_hand_has_a_higher_share_of_the_processors(
    system: IsolatedSystem,
) -> None:
    """Else it has no turn in time beside many commands; with nothing at hand it takes nothing."""

    def niceness() -> str:
        return Path(f"/proc/{system.daemon.process.pid}/autogroup").read_text().split()[-1]

    install(system, VICTIM, "@every 3s true\n")
    for _ in range(2):
        until(lambda: niceness() == "-10")
        until(lambda: niceness() == "0")


def instant(text: str) -> int:
    return int(time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))) - time.timezone


def test_a_flood_of_fire_times_is_accounted_for_and_delays_nobody(system: IsolatedSystem) -> None:
    install(system, VICTIM, "CRON_NAME=victim @every 2s true\n")
    install(system, FLOODER, "".join(f"@every 1s : {number}\n" for number in range(JOBS)))
    refused = until(lambda: system.runs("--refused"), patience=30)
    first = instant(refused[-1]["first"])
    until(lambda: time.time() > first + SECONDS)

    # Root gets an answer in the midst of it, and each fire time of the victim has its Run.
    (status,) = system.rows("status")
    assert status["waiting"] <= WAITING
    install(system, FLOODER, "")
    victims = [instant(run["fire_time"]) for run in system.runs("--job", "victim")]
    assert set(range(max(victims), first, -2)) <= set(victims)
    begun = [run for run in system.runs("--job", "victim") if run["started"]]
    assert len(begun) >= len(victims) - 1
    flooder = system.runs("--owner", FLOODER, "--limit", "10000")
    started = [run for run in flooder if run["started"]]
    assert len(started) <= SHARE * 60 + SHARE * (time.time() - first + 10)

    # A fire time has its Run, or it was refused; ranges and log lines sum up thousands of them.
    ranges = system.runs("--refused")
    assert len(ranges) == 1
    (found,) = ranges
    assert (found["user"], found["reason"]) == (
        FLOODER,
        f"the queue of {FLOODER} is full (limits.user_waiting is {WAITING})",
    )
    end = instant(found["last"])
    runs = [run for run in flooder if instant(run["fire_time"]) <= end]
    earliest = min(instant(run["fire_time"]) for run in runs)
    assert len(runs) + found["fire_times"] == JOBS * (end - earliest + 1)
    assert len(system.daemon.log("fire_times_refused")) <= 2
    assert len(system.daemon.log()) < 3 * len(flooder)


@pytest.mark.slow
def test_why_and_show_say_that_a_fire_time_was_refused(system: IsolatedSystem) -> None:
    name = "CRON_NAME=first "
    others = "".join(f"@every 1s : {number}\n" for number in range(JOBS))
    install(system, FLOODER, others + f"{name}@every 1s true\n")
    (job,) = [job for job in system.rows("list") if job["job"] == "first"]

    def refused_fire() -> str | None:
        """A fire time of the Job that got no Run."""
        refused = system.runs("--refused")
        # Asked afterwards: no Run of the seconds before the last refused one can appear any more.
        known = {run["fire_time"] for run in system.runs("--job", "first", "--limit", "500")}
        for found in refused:
            for second in range(instant(found["first"]), instant(found["last"])):
                text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
                if text not in known:
                    return text
        return None

    fire = until(refused_fire, patience=30)
    install(system, FLOODER, f"{name}@every 1s true\n")
    reason = f"the queue of {FLOODER} is full (limits.user_waiting is {WAITING}): "
    run_id = f"{job['id']}-{fire.replace('-', '').replace(':', '')}"
    shown = system.run("pycron", "show", run_id, user=FLOODER)
    assert shown.returncode == 1
    assert f'no such run: "{run_id}" ({reason}' in shown.stderr
    assert "fire times" in shown.stderr
    assert shown.stderr.rstrip().endswith("were missed)")
    hidden = system.run("pycron", "show", run_id, user=VICTIM)
    assert hidden.stderr == f'pycron: no such run: "{run_id}"\n'
    (why,) = system.rows("why", "first", fire, user=FLOODER)
    assert why["verdict"] == "missed"
    assert why["reason"].startswith(reason)
    said = system.run("pycron", "runs", user=FLOODER).stderr
    assert said == (
        f"pycron: fire times of {FLOODER} got no run: too many runs waited"
        " (pycron runs --refused)\n"
    )
    assert system.runs("--refused", user=VICTIM) == []
