"""`pycron check`: what is wrong with tables, and with the configuration."""

import argparse
import sys

from pycron.cli.daemon_choice import choice_for, client_for
from pycron.cli.printing import print_json
from pycron.cli.table_options import add_table_options, named_sources
from pycron.cli.verb import verb
from pycron.control.client import NoDaemon
from pycron.model.problem import Problem, Severity, problem_from_row, problem_row
from pycron.protocol.control_messages import ProblemsRequest


@verb(
    "check",
    "Say what is wrong with tables; without any, with the daemon's, and its configuration.",
    add_table_options,
)
def check(options: argparse.Namespace) -> int:
    problems = _problems(options)
    if options.json:
        print_json(map(problem_row, problems))
    else:
        for problem in problems:
            print(problem)
    return 1 if any(problem.severity is Severity.ERROR for problem in problems) else 0


def _problems(options: argparse.Namespace) -> list[Problem]:
    """The problems of the named tables, or of the daemon's tables and configuration."""
    sources = named_sources(options)
    if not sources:
        return _problems_of_daemon(options)
    from pycron.cli import schedules

    zones, config = schedules.zones_of(None), schedules.local_config(options)
    tables = schedules.read_sources(sources, zones, config)
    return [problem for table in tables for problem in table.problems]


def _problems_of_daemon(options: argparse.Namespace) -> list[Problem]:
    """If no daemon answers, its configuration may be the reason. Raises ControlError."""
    try:
        rows = client_for(options).request(ProblemsRequest())["rows"]
    except NoDaemon as error:
        bad = _problem_of_configuration(options)
        if bad is None:
            raise
        print(f"pycron: {error}", file=sys.stderr)
        return [bad]
    return [problem_from_row(row) for row in rows]


def _problem_of_configuration(options: argparse.Namespace) -> Problem | None:
    """What is wrong with the file that the daemon would read; None also if it is not readable."""
    from pycron.config import ConfigError, ConfigUnreadable, read_config  # rarely needed here
    from pycron.system.files import ROOTS, own_rules
    from pycron.system.paths import SYSTEM_CONFIG

    path = choice_for(options).config
    rules = ROOTS if path == SYSTEM_CONFIG else own_rules()
    try:
        if path is not None:
            read_config(path, required=False, rules=rules)
    except ConfigUnreadable:
        return None
    except ConfigError as error:
        return error.problem
    return None
