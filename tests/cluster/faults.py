"""The faults of a run: each begins, lasts for a while, and is healed."""

import random
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from tests.cluster.fleet import ADDED, Fleet

KILL, STOP, CONT = signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT


@dataclass(frozen=True)
class Fault:
    """`seconds`: how long it lasts; as a share of the lease if `of_lease`."""

    name: str
    begin: Callable[[Fleet, str], None]
    heal: Callable[[Fleet, str], None]
    seconds: float
    of_lease: bool = False


def _nothing(_fleet: Fleet, _host: str) -> None:
    pass


def _kill(which: str) -> Callable[[Fleet, str], None]:
    return lambda fleet, host: fleet.send(host, which, KILL)


def _stop(which: str) -> Callable[[Fleet, str], None]:
    return lambda fleet, host: fleet.send(host, which, STOP)


def _go_on(which: str) -> Callable[[Fleet, str], None]:
    return lambda fleet, host: fleet.send(host, which, CONT)


def _drop(ways: str) -> Callable[[Fleet, str], None]:
    return lambda fleet, host: fleet.network.drop(host, ways)


def _heal(fleet: Fleet, host: str) -> None:
    fleet.network.heal(host)


def _cut_database_off(fleet: Fleet, _host: str) -> None:
    fleet.network.drop(fleet.database_host, "both")


def _heal_database(fleet: Fleet, _host: str) -> None:
    fleet.network.heal(fleet.database_host)


def _kill_database(fleet: Fleet, _host: str) -> None:
    fleet.signal_database(KILL)


def _start_database(fleet: Fleet, _host: str) -> None:
    fleet.start_database()


def _fill_disk(fleet: Fleet, host: str) -> None:
    big = fleet.directory / host / "state/big"
    subprocess.run(["dd", "if=/dev/zero", f"of={big}", "bs=1M"], check=False, capture_output=True)


def _free_disk(fleet: Fleet, host: str) -> None:
    (fleet.directory / host / "state/big").unlink(missing_ok=True)


def _edit_tables(fleet: Fleet, _host: str) -> None:
    version = str(random.random())
    for host in fleet.all_hosts:
        fleet.write_table(host, version)


def _drain(drained: bool) -> Callable[[Fleet, str], None]:
    word = "true" if drained else "false"
    return lambda fleet, host: print(
        fleet.psql(
            "SELECT pycron.drain(jsonb_build_object('cluster', 'test', 'host',"
            f" '{host}', 'drained', {word}))"
        )
    )


def _fall_behind(fleet: Fleet, host: str) -> None:
    """A host is cut off, too: it asks later for the fire times whose rows are lost."""
    fleet.make_standby()
    fleet.network.drop(host, "both")


def _fail_over(fleet: Fleet, host: str) -> None:
    fleet.fail_over()
    fleet.network.heal(host)


# What docs/cluster.md does not promise: the checker has to find what comes of it.
CONCEDED = [
    Fault("an asynchronous fail-over", _fall_behind, _fail_over, 50),
]  # fmt: skip

FAULTS = [
    Fault("kill the daemon", _kill("daemon"), _nothing, 5),
    Fault("kill the agent", _kill("agent"), _nothing, 5),
    Fault("kill the runner", _kill("runner"), _nothing, 5),
    Fault("kill the host", _kill("all"), _nothing, 5),
    Fault("stop the daemon", _stop("daemon"), _go_on("daemon"), 2.5, of_lease=True),
    Fault("stop the agent", _stop("agent"), _go_on("agent"), 2.5, of_lease=True),
    Fault("stop the runner", _stop("runner"), _go_on("runner"), 2.5, of_lease=True),
    Fault("kill PostgreSQL", _kill_database, _start_database, 10),
    Fault("stop PostgreSQL", lambda fleet, _: fleet.signal_database(STOP),
          lambda fleet, _: fleet.signal_database(CONT), 20),
    Fault("cut the host off", _drop("both"), _heal, 2.5, of_lease=True),
    Fault("drop what the host gets", _drop("in"), _heal, 1.5, of_lease=True),
    Fault("drop what the host sends", _drop("out"), _heal, 2.5, of_lease=True),
    Fault("cut the database off", _cut_database_off, _heal_database, 60),
    Fault("fill the disk", _fill_disk, _free_disk, 15),
    Fault("the database's clock goes ahead", lambda fleet, _: fleet.set_clock(90),
          lambda fleet, _: fleet.set_clock(0), 30),
    Fault("the database's clock goes back", lambda fleet, _: fleet.set_clock(-90),
          lambda fleet, _: fleet.set_clock(0), 30),
    Fault("edit the tables", _edit_tables, _nothing, 5),
    Fault("drain the host", _drain(True), _drain(False), 30),
    Fault("a way of five seconds to the database", lambda fleet, _: fleet.set_delay(5),
          lambda fleet, _: fleet.set_delay(0), 3, of_lease=True),
    Fault("add a host", lambda fleet, _: fleet.start_daemon(ADDED),
          lambda fleet, _: fleet.remove_daemon(ADDED), 90),
]  # fmt: skip
