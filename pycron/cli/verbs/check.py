"""`pycron check`: what is wrong with tables."""

import argparse

from pycron.cli.arguments import add_tables
from pycron.cli.daemon_choice import client_for
from pycron.cli.printing import Row, print_json
from pycron.cli.verb import verb
from pycron.model.problem import problem_row
from pycron.protocol.control_messages import ProblemsRequest


@verb("check", "Say what is wrong with tables; without any, with the daemon's.", add_tables)
def check(options: argparse.Namespace) -> int:
    rows = _rows(options)
    if options.json:
        print_json(rows)
    else:
        for row in rows:
            mark = "warning: " if row["severity"] == "warning" else ""
            place = f"{row['file']}:{row['line']}" if row["line"] else row["file"]
            print(f"{place}: {mark}{row['message']}")
    return 1 if any(row["severity"] == "error" for row in rows) else 0


def _rows(options: argparse.Namespace) -> list[Row]:
    """The problems of the named tables, or of the daemon's."""
    if not (options.table or options.system_table):
        return [*client_for(options).request(ProblemsRequest())["rows"]]
    from pycron.cli import schedules

    tables = schedules.read_sources(schedules.named_sources(options), schedules.zones_of(None))
    return [problem_row(problem) for table in tables for problem in table.problems]
