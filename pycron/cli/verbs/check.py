"""`pycron check`: what is wrong with tables, and with the configuration."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from pycron.cli.arguments import add_quiet, say
from pycron.cli.done import nothing_wrong
from pycron.cli.errors import WrongUse
from pycron.cli.table_options import add_table_options, named_sources
from pycron.cli.verb import verb
from pycron.model.problem import Problem, Severity

_FORMATS = ("text", "json", "github", "sarif")


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_table_options(parser)
    parser.add_argument("files", nargs="*", metavar="FILE", type=Path,
                        help="a table, a directory such as cron.d, or - for stdin")  # fmt: skip
    add_quiet(parser)
    parser.add_argument("--strict", action="store_true", help="a warning is a failure, too")
    parser.add_argument("--format", choices=_FORMATS, default="text",
                        help="how to print what is found; default: text")  # fmt: skip
    parser.add_argument("--explain", nargs="?", metavar="CODE", const="",
                        help="describe a code; without one, list all")  # fmt: skip


@verb(
    "check",
    "Say what is wrong with tables; without any, with the daemon's, and its configuration.",
    _arguments,
)
def check(options: argparse.Namespace) -> int:
    # The linter takes 30 ms to import, and few verbs need it.
    from pycron.cli import problem_formats

    if options.explain is not None:
        return _explain(options.explain)
    problems = list(_problems(options))
    form = "json" if options.json else options.format
    problem_formats.FORMATS[form](problems)
    if not problems and form == "text":
        named = [*options.files, *options.table, *options.system_table]
        say(options, nothing_wrong([str(path) for path in named]))
    bad = {Severity.ERROR, Severity.WARNING} if options.strict else {Severity.ERROR}
    return 1 if any(problem.severity in bad for problem in problems) else 0


def _problems(options: argparse.Namespace) -> Iterator[Problem]:
    """The problems of what is named, or of the daemon's tables and configuration."""
    from pycron.cli import schedules
    from pycron.cli.checked_tables import TableChecker

    config = schedules.local_config(options)
    checker = TableChecker(config, of_system=schedules.is_of_system(options))
    sources = named_sources(options)
    for path in options.files:
        yield from checker.problems(path)
    for source in sources:
        yield from checker.of_file(source)
    yield from checker.between_files()
    if not sources and not options.files:
        from pycron.cli import daemon_tables

        yield from daemon_tables.problems(options, checker)


def _explain(name: str) -> int:
    from pycron.lint.codes import CODES
    from pycron.model.text import hint_at

    if not name:
        for code in CODES.values():
            print(f"{code.name:24} {code.severity}")
        return 0
    if name not in CODES:
        hint = hint_at(name.replace("-", "_"), [each.replace("-", "_") for each in CODES], "")
        raise WrongUse(f'no code "{name}" ({hint.replace("_", "-") or "--explain lists them"})')
    from pycron.cli.code_texts import explained

    print(explained(CODES[name]))
    return 0
