"""Runs the hosts under faults, and then checks what they did. As root.

python -m tests.cluster --minutes 60 [--lease 30] [--seed 1] [--only FAULT] [--directory D]
python -m tests.cluster --queues --broker redis|rabbitmq|sqs --minutes 20 …
"""

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.cluster.checker import Verdict, check
from tests.cluster.faults import CONCEDED, FAULTS, Fault
from tests.cluster.fleet import Fleet, clock
from tests.cluster.queue_fleet import QUEUE_FAULTS, QueueFleet
from tests.support.queue_brokers import KINDS

_CALM = 15.0  # seconds between two faults
_ASKED = 180.0  # seconds in which each fire time gets its row, or is lost
_HEALED = 900.0  # seconds in which everything has to end after the last fault


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--lease", type=int, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", action="append", help="this fault; may be repeated")
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--queues", action="store_true", help="three hosts with workers")
    parser.add_argument("--broker", choices=KINDS, default="redis")
    options = parser.parse_args()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="pycron-hosts-", dir="/tmp"))
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
    print(f"{clock()} seed {options.seed}, {directory}", flush=True)
    fleet = (
        QueueFleet(directory, options.lease, options.broker)
        if options.queues
        else Fleet(directory, options.lease)
    )
    chance = random.Random(options.seed)
    known = QUEUE_FAULTS if options.queues else FAULTS
    faults = [each for each in (*known, *CONCEDED) if each.name in (options.only or ())] or known
    try:
        fleet.start()
        begun = time.time()
        time.sleep(20)
        counts = _faults(fleet, faults, chance, begun + options.minutes * 60, options.lease)
        ended = time.time() - 10  # a fire time of the last seconds may not have its row yet
        verdict = _end(fleet, begun, ended)
    finally:
        fleet.stop()
    print(f"{clock()} faults: {dict(counts)}")
    for kind, found in vars(verdict).items():
        print(f"{kind}: {len(found)}", *found[:20], sep="\n    ")
    if verdict.is_good and options.directory is None:
        shutil.rmtree(directory, ignore_errors=True)
    return 0 if verdict.is_good else 1


def _faults(
    fleet: Fleet, faults: list[Fault], chance: random.Random, until: float, lease: int
) -> Counter[str]:
    """One fault after the other until the time is over."""
    counts: Counter[str] = Counter()
    queue: list[Fault] = []
    while time.time() < until:
        if not queue:
            queue = chance.sample(faults, len(faults))
        fault, host = queue.pop(), chance.choice(fleet.hosts)
        counts[fault.name] += 1
        print(f"{clock()} {fault.name} ({host})", flush=True)
        fault.begin(fleet, host)
        _wait(fleet, fault.seconds * (lease if fault.of_lease else 1))
        fault.heal(fleet, host)
        _wait(fleet, _CALM * chance.uniform(0.5, 1.5))
    return counts


def _wait(fleet: Fleet, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        fleet.keep_running()
        time.sleep(0.5)


def _end(fleet: Fleet, begun: float, ended: float) -> Verdict:
    """Let everything come to its end: no further fire times, all rows ended.

    A fire time that has no row yet needs its entry.
    """
    expected = fleet.expected_runs(begun, ended)
    deadline = time.monotonic() + _ASKED
    while not fleet.has_all(expected) and time.monotonic() < deadline:
        _wait(fleet, 2)
    for host in fleet.all_hosts:
        (fleet.directory / host / "table").write_text("# nothing more\n")
    deadline = time.monotonic() + _HEALED
    while not fleet.all_ended() and time.monotonic() < deadline:
        _wait(fleet, 2)
    lines, rows = fleet.witness(), fleet.rows()
    outcomes = Counter(row.outcome for row in rows)
    attempts = Counter(row.attempt for row in rows)
    print(f"{clock()} {len(rows)} Runs: {dict(outcomes)}; attempts {dict(attempts)}")
    print(f"not ended: {sum(row.state != 'ended' for row in rows)}")
    return check(lines, rows, expected)


if __name__ == "__main__":
    raise SystemExit(main())
