"""`pycron simulate`: what would run, wait, be skipped or missed."""

import argparse

from pycron.cli.table_options import add_table_options
from pycron.cli.verb import verb


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_table_options(parser)
    parser.add_argument("--from", dest="start", metavar="T", default="now",
                        help="the simulation begins at this time; default: now")  # fmt: skip
    parser.add_argument("--until", metavar="T",
                        help="it ends at this time; default: a day later")  # fmt: skip
    parser.add_argument("--duration", metavar="[JOB=]D", action="append", default=[],
                        help="what a Job takes; without JOB: those without history")  # fmt: skip


@verb("simulate", "Show what would run, wait, be skipped or missed.", _arguments)
def simulate(options: argparse.Namespace) -> None:
    from pycron.cli.simulation_view import print_simulation  # with the engine: 90 ms

    print_simulation(options)
