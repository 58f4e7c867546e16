"""`pycron cluster`: the database of shared Jobs, their hosts and Runs."""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pycron.cli.arguments import (
    add_config,
    add_outcomes,
    add_quiet,
    positive,
    say,
    wanted_outcomes,
)
from pycron.cli.clock import clock_for
from pycron.cli.cluster_rows import (
    differences,
    host_json,
    print_hosts,
    print_queues,
    print_shared,
    queue_json,
    queues_of,
    run_json,
)
from pycron.cli.daemon_choice import choice_for
from pycron.cli.errors import Failed, WrongUse
from pycron.cli.instants import Looks, parse_instant
from pycron.cli.printing import print_json
from pycron.cli.verb import verb
from pycron.config import Config, ConfigError, read_config
from pycron.model.in_words import number_of
from pycron.model.text import printable
from pycron.system.accounts import own_account
from pycron.system.files import ROOTS, own_rules
from pycron.system.paths import SYSTEM_CONFIG

if TYPE_CHECKING:
    from pycron.cluster.operations import HostRow, Operations, QueueRow, SharedRow

NO_PACKAGE = "shared jobs need another package: pip install 'pycrond[cluster]'"
_LOOK = 1.0  # seconds between two looks at a host that is being drained


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=tuple(_ACTIONS),
                        help="init: make or upgrade the tables of the database; status: the hosts; "
                        "queues: those with Runs or workers; runs: shared Runs, newest first; "
                        "drain: a host gets no new Runs; "
                        "kill, redrive: a shared Run")  # fmt: skip
    parser.add_argument("what", nargs="?", metavar="HOST|RUN",
                        help="the host to drain, or the run_id to kill or to redrive")  # fmt: skip
    add_config(parser)
    parser.add_argument("--undo", action="store_true", help="drain: the host gets Runs again")
    parser.add_argument("--wait", action="store_true",
                        help="drain: wait until nothing of the host runs")  # fmt: skip
    add_quiet(parser)
    parser.add_argument("--job", metavar="JOB", help="Runs of this Job: its name")
    parser.add_argument("--owner", metavar="USER", help="Runs of this user's Jobs")
    add_outcomes(parser)
    parser.add_argument("--since", metavar="T", help="due at this time or later")
    parser.add_argument("--until", metavar="T", help="due before this time")
    parser.add_argument("--limit", type=positive, metavar="N", default=20,
                        help="the newest N; default: 20")  # fmt: skip


@verb("cluster", "Make, show and change what several hosts share.", _arguments)
def cluster(options: argparse.Namespace) -> None:
    needs_one = options.action in ("drain", "kill", "redrive")
    if needs_one != (options.what is not None):
        what = "host" if options.action == "drain" else "run"
        raise WrongUse(
            f"cluster {options.action}: which {what}?" if needs_one
            else f"cluster {options.action}: what is {options.what}?"
        )  # fmt: skip
    if (options.undo or options.wait) and options.action != "drain":
        raise WrongUse("--undo and --wait go with cluster drain")
    with_database(options, _ACTIONS[options.action])


def with_database(
    options: argparse.Namespace, act: "Callable[[argparse.Namespace, Operations, Config], None]"
) -> None:
    """Do something with the database that the configuration names. Raises Failed."""
    if find_spec("psycopg") is None:
        raise Failed(NO_PACKAGE)
    from pycron.cluster.calls import CallFailed
    from pycron.cluster.operations import Operations

    config = _config(options)
    address, name = config.cluster_database, config.cluster_name
    if address is None or name is None:
        raise Failed("the configuration has no [cluster] with a name and a database")
    try:
        with closing(Operations(address, name, own_account().name)) as operations:
            act(options, operations, config)
    except CallFailed as error:
        raise Failed(printable(str(error))) from None


def _config(options: argparse.Namespace) -> Config:
    path = options.config or choice_for(options).config
    if path is None:
        raise WrongUse("--config: which configuration does this daemon have?")
    try:
        rules = ROOTS if path == SYSTEM_CONFIG else own_rules()
        return read_config(path, required=True, rules=rules)
    except ConfigError as error:
        raise Failed(str(error)) from None


def _init(options: argparse.Namespace, _operations: "Operations", config: Config) -> None:
    from pycron.cluster.migrations import LATEST, upgrade

    assert config.cluster_database is not None
    done = upgrade(config.cluster_database)
    if options.json:
        print_json([{"version": LATEST, "applied": done}])
    what = "made" if 1 in done else "upgraded" if done else "up to date already"
    say(options, f"the tables of the database are {what}: version {LATEST}")


def _status(options: argparse.Namespace, operations: "Operations", config: Config) -> None:
    hosts = operations.hosts()
    if options.json:
        print_json(map(host_json, hosts))
        return
    print_hosts(hosts, f"no host has joined the cluster {config.cluster_name}")
    if queues := _queues(operations, hosts):
        print()
        print_queues(queues, hosts)
    for sentence in differences(hosts):
        print(f"pycron: {printable(sentence)}", file=sys.stderr)


def _queues(operations: "Operations", hosts: "list[HostRow]") -> "list[QueueRow]":
    from pycron.cluster.operations import QueueRow

    return queues_of(operations.queues(), hosts, lambda name: QueueRow(name, 0, 0, None))


def _list_queues(options: argparse.Namespace, operations: "Operations", _config: Config) -> None:
    hosts = operations.hosts()
    rows = _queues(operations, hosts)
    if options.json:
        print_json(queue_json(row, hosts) for row in rows)
    elif rows:
        print_queues(rows, hosts)
    else:
        say(options, "no queue has a run, and no worker serves one")


def print_shared_runs(
    options: argparse.Namespace, operations: "Operations", _config: Config
) -> None:
    """For `pycron cluster runs` and `pycron runs --cluster`."""
    from pycron.cluster.operations import Wanted

    zone = clock_for(options).zone
    outcomes = wanted_outcomes(options)
    rows = operations.runs(
        Wanted(
            owner=options.owner,
            name=options.job,
            outcomes=None if outcomes is None else outcomes.split(","),
            since=parse_instant(options.since, zone, Looks.BACK) if options.since else None,
            until=parse_instant(options.until, zone, Looks.BACK) if options.until else None,
            limit=options.limit,
        )
    )
    if options.json:
        print_json(map(run_json, rows))
    else:
        print_shared(rows, clock_for(options))


def _drain(options: argparse.Namespace, operations: "Operations", _config: Config) -> None:
    name = options.what
    if not operations.drain(name, drained=not options.undo):
        raise Failed(f"{name}: no such host in this cluster (pycron cluster status)")
    if options.undo:
        say(options, f"{name} gets runs again")
        return
    while True:
        host = next((each for each in operations.hosts() if each.host == name), None)
        if host is None:
            raise Failed(f"{name}: its row in the database is gone")
        if host.complete or not options.wait:
            break
        time.sleep(_LOOK)
    if options.json:
        print_json([host_json(host)])
    if host.complete:
        say(options, f"{name} is drained: it gets no new runs, and nothing of it runs")
    else:
        runs = number_of(host.held, "run")
        say(options, f"{name} gets no new runs; {runs} of it not over (pycron cluster status)")


def _kill(options: argparse.Namespace, operations: "Operations", _config: Config) -> None:
    row = _found(options, operations)
    if not operations.kill(row):
        raise Failed(f"{options.what}: it has ended, or has just changed (pycron cluster runs)")
    say(options, f"{row.key.name} is told to end on {row.host}" if row.state == "held"
        else f"{row.key.name} is cancelled")  # fmt: skip


def _redrive(options: argparse.Namespace, operations: "Operations", _config: Config) -> None:
    row = _found(options, operations)
    if not operations.redrive(row):
        raise Failed(f"{options.what}: it has not ended without success (pycron cluster runs)")
    say(options, f"{row.key.name} waits for its attempt {row.attempt + 1}: a host starts it soon")


def _found(options: argparse.Namespace, operations: "Operations") -> "SharedRow":
    try:
        row = operations.find(options.what)
    except ValueError as error:
        raise WrongUse(str(error)) from None
    if row is None:
        raise Failed(f"{options.what}: no such run in this cluster (pycron cluster runs)")
    if options.json:
        print_json([run_json(row)])
    return row


_ACTIONS: "dict[str, Callable[[argparse.Namespace, Operations, Config], None]]" = {
    "init": _init,
    "status": _status,
    "queues": _list_queues,
    "runs": print_shared_runs,
    "drain": _drain,
    "kill": _kill,
    "redrive": _redrive,
}
