"""`pycron setup`: installs units, accounts, directories, manual pages and completion."""

import argparse
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pycron.cli.errors import Failed, WrongUse
from pycron.cli.printing import print_json
from pycron.cli.verb import verb
from pycron.cli.verbs.cluster import NO_PACKAGE

if TYPE_CHECKING:
    from pycron.cli.installing.items import Target
    from pycron.cli.installing.plan import Plan
    from pycron.cli.installing.steps import Step


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true",
                        help="print the steps, and do nothing")  # fmt: skip
    parser.add_argument("--remove", action="store_true", help="remove what setup has made")
    parser.add_argument("--purge", action="store_true",
                        help="with --remove: the state and the accounts, too")  # fmt: skip
    parser.add_argument("--cluster", action="store_true",
                        help="for a host that shares Jobs with others")  # fmt: skip


@verb("setup", "Install units, directories, manual pages and completion, or remove them.",
      _arguments)  # fmt: skip
def setup(options: argparse.Namespace) -> None:
    from pycron.cli.installing.carry_out import carry_out  # with all it imports, 40 ms
    from pycron.cli.installing.machine_now import plan_install, plan_removal, running_commands
    from pycron.cli.installing.record import read_record
    from pycron.cli.installing.target import system_target, user_target

    if options.system is options.own or options.state_dir:
        raise WrongUse("say for whom: --system (as root, for all users) or --user")
    if options.purge and not options.remove:
        raise WrongUse("--purge goes with --remove")
    if options.cluster and options.remove:
        raise WrongUse("--cluster goes with an installation")
    if options.cluster and find_spec("psycopg") is None:
        raise Failed(NO_PACKAGE)
    target = system_target() if options.system else user_target()
    before = read_record(target.record)
    if options.remove:
        _say(*running_commands(target))
        plan = plan_removal(target, before, purge=options.purge)
    else:
        plan = plan_install(target, before)
    if plan.conflicts:
        raise Failed("nothing was done. Move these away first:\n  " + "\n  ".join(plan.conflicts))
    _say(*plan.notes)
    printer = _print_json if options.json else _print
    if options.dry_run:
        for step in plan.steps:
            printer(step)
        return
    carry_out(plan, target.record, before, printer)
    _say(*_last_words(target, plan, removed=options.remove))
    if options.cluster:
        _say(*_cluster_words(target))


def _print(step: "Step") -> None:
    from pycron.cli.installing.steps import sentence

    print(sentence(step), flush=True)


def _print_json(step: "Step") -> None:
    print_json([step.row])
    sys.stdout.flush()


def _say(*lines: str) -> None:
    for line in lines:
        print(f"pycron: {line}", file=sys.stderr)


def _last_words(target: "Target", plan: "Plan", *, removed: bool) -> Iterator[str]:
    """What to do next."""
    from pycron.cli.installing.machine_now import is_active, systemd_runs
    from pycron.cli.installing.plan import systemctl

    if removed:
        yield f"removed; the programs themselves are still in {target.programs}"
        return
    command = " ".join(systemctl(target))
    if not plan.steps:
        yield "everything is in place"
    if not systemd_runs(target):
        yield f"no systemd runs here: let another program start {target.programs}/pycrond"
    elif is_active(target):
        yield f"next, to run the version that is installed: {command} restart pycron"
    else:
        yield f"next: {command} enable --now pycron"
        if not target.system:
            yield f"and, to have it run without a login: loginctl enable-linger {_user()}"


def _cluster_words(target: "Target") -> Iterator[str]:
    """What makes this host one of a cluster."""
    yield f"write [cluster] with name and database into {target.config}: pycron.toml(5)"
    yield f"then, on one of the hosts: pycron cluster init --config {target.config}"
    yield "then restart pycron on each host; pycron cluster status shows them"


def _user() -> str:
    from pycron.system.accounts import own_account

    return own_account().name if os.geteuid() else "root"
