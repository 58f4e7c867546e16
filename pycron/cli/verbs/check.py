"""`pycron check`: what is wrong with tables."""

import argparse

from pycron.cli.daemon_choice import client_for
from pycron.cli.printing import print_json
from pycron.cli.table_options import add_table_options, named_sources
from pycron.cli.verb import verb
from pycron.model.problem import Problem, Severity, problem_from_row, problem_row
from pycron.protocol.control_messages import ProblemsRequest


@verb("check", "Say what is wrong with tables; without any, with the daemon's.", add_table_options)
def check(options: argparse.Namespace) -> int:
    problems = _problems(options)
    if options.json:
        print_json(map(problem_row, problems))
    else:
        for problem in problems:
            print(problem)
    return 1 if any(problem.severity is Severity.ERROR for problem in problems) else 0


def _problems(options: argparse.Namespace) -> list[Problem]:
    """The problems of the named tables, or of the daemon's."""
    sources = named_sources(options)
    if not sources:
        rows = client_for(options).request(ProblemsRequest())["rows"]
        return [problem_from_row(row) for row in rows]
    from pycron.cli import schedules

    tables = schedules.read_sources(sources, schedules.zones_of(None))
    return [problem for table in tables for problem in table.problems]
