"""`pycron import`: takes over the tables of another cron."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from pycron.cli.errors import Failed, WrongUse
from pycron.cli.printing import print_json
from pycron.cli.verb import verb
from pycron.model.text import printable

if TYPE_CHECKING:
    from pycron.cli.importing.plan import Plan
    from pycron.cli.importing.sources import Tree
    from pycron.config import Config
    from pycron.crontab.celery_beat import Converted
    from pycron.crontab.comparison import Finding


_BEAT = "celery-beat"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="origin", metavar="DIR|debian|cronie|celery-beat",
                        help="read this tree, or with celery-beat a schedule of Celery;"
                             " default: what this machine has")  # fmt: skip
    parser.add_argument("schedule", nargs="?", metavar="FILE|MODULE",
                        help="with celery-beat: a dump of django-celery-beat (JSON), a file of"
                             " Python or a module with an app or a beat_schedule")  # fmt: skip
    parser.add_argument("--python", metavar="PROGRAM",
                        help="with celery-beat: the interpreter of the project")  # fmt: skip
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--apply", action="store_true", help="copy the tables (root)")
    action.add_argument("--undo", action="store_true",
                        help="remove what --apply has made, and start the other cron")  # fmt: skip
    parser.add_argument("--stop-other", action="store_true",
                        help="with --apply: stop and disable the other cron")  # fmt: skip


@verb("import", "Compare another cron's tables with pycron, and take them over.", _arguments)
def import_tables(options: argparse.Namespace) -> None:
    from pycron.cli.importing import apply  # with all it imports, 60 ms
    from pycron.system.paths import SYSTEM_CONFIG
    from pycron.tables.layouts import layout_of

    if options.stop_other and not options.apply:
        raise WrongUse("--stop-other goes with --apply")
    if options.origin == _BEAT:
        _convert_beat(options)
        return
    if options.schedule or options.python:
        raise WrongUse(f"a schedule and --python go with --from {_BEAT}")
    if options.undo:
        if options.origin is not None:
            raise WrongUse("--undo takes back what was imported: leave --from out")
        apply.undo()
        return
    config = _config()
    if options.apply and layout_of(config).is_foreign:
        raise Failed("pycron reads the tables of the other cron in place (tables.layout in "
                     f"{SYSTEM_CONFIG}): there is nothing to copy")  # fmt: skip
    tree, plan = _planned(options.origin, config)
    if not plan.read:
        raise Failed(_nothing_read(tree, plan))
    _show(plan.findings, as_json=options.json)
    if options.apply:
        apply.apply(plan, is_machine=tree.is_machine, stop_other=options.stop_other)
        _say_if_no_daemon()


def _convert_beat(options: argparse.Namespace) -> None:
    """Print the table for a schedule of Celery, and on stderr what is different."""
    if options.apply or options.undo:
        raise WrongUse(f"--from {_BEAT} prints a table: install it with pycrontab")
    if options.schedule is None:
        raise WrongUse(f"--from {_BEAT} needs a file or a module")
    from pycron.cli.importing.beat import converted

    table = converted(options.schedule, options.python)
    if options.json:
        print_json(_beat_rows(table))
        return
    print(table.text, end="")
    for finding in table.findings:
        if finding.code != "same":
            print(f"pycron: {_line(finding)}", file=sys.stderr)
    print(f"pycron: in all: {_counts(table.findings)}", file=sys.stderr)


def _beat_rows(table: "Converted") -> Iterator[dict[str, object]]:
    """Each Finding with the entry that it is about; None for one that is left out."""
    from pycron.crontab.comparison import finding_row

    lines = table.text.splitlines()
    for finding in table.findings:
        entry = lines[finding.line - 1] if finding.line else None
        yield {**finding_row(finding), "entry": entry}


def _say_if_no_daemon() -> None:
    """The tables run only if there is a daemon."""
    from pycron.control.client import ControlClient, ControlError
    from pycron.protocol.control_messages import StatusRequest
    from pycron.system.paths import system_paths

    try:
        ControlClient(system_paths().socket).request(StatusRequest())
    except ControlError:
        print("pycron: no daemon runs the tables: systemctl start pycron", file=sys.stderr)


def _config() -> "Config":
    """The configuration of the system; the default if it is bad, or if its readers are few."""
    from pycron.config import Config, ConfigError, read_config
    from pycron.system import paths
    from pycron.system.files import ROOTS

    try:
        return read_config(paths.SYSTEM_CONFIG, required=False, rules=ROOTS)
    except ConfigError:
        return Config()


def _planned(origin: str | None, config: "Config") -> tuple["Tree", "Plan"]:
    """The tree to read, and what becomes of its tables."""
    from dataclasses import replace

    from pycron.cli.importing.plan import make_plan
    from pycron.cli.importing.sources import find_tree
    from pycron.system.accounts import Accounts
    from pycron.system.zone_data import ZoneData
    from pycron.tables.check import local_context

    tree = find_tree(origin, Accounts())
    context = replace(local_context(ZoneData(), config), user_exists=None)  # as the daemon
    return tree, make_plan(tree, context, config.table_bytes)


def _nothing_read(tree: "Tree", plan: "Plan") -> str:
    reasons = "".join(f"\n  {_line(finding)}" for finding in plan.findings[:10])
    return f"{tree.root}: no table of another cron that can be read{reasons}"


def _show(findings: Sequence["Finding"], as_json: bool) -> None:
    """The Findings: JSON, one a line, or for people by file, with the count of each verdict."""
    if as_json:
        from pycron.crontab.comparison import finding_row

        print_json(map(finding_row, findings))
        return
    for file, of_file in groupby(findings, key=lambda finding: finding.file):
        found = list(of_file)
        print(f"{printable(file)}: {_counts(found)}")
        for finding in found:
            if finding.code != "same":
                print(f"  {_line(finding)}")
    print(f"in all: {_counts(findings)}" if findings else "nothing to import")


def _line(finding: "Finding") -> str:
    where = f"line {finding.line}: " if finding.line else ""
    return printable(f"{where}{finding.verdict.value} ({finding.code}): {finding.message}")


def _counts(findings: Sequence["Finding"]) -> str:
    counts = Counter(finding.verdict.value for finding in findings)
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
