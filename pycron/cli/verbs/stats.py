"""`pycron stats`: how often, how long and how late Jobs run, and since when one is slower."""

import argparse

from pycron.cli.arguments import positive
from pycron.cli.verb import verb


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", nargs="?", metavar="JOB", help="only this Job: its name or id")
    parser.add_argument("--owner", metavar="USER", help="Jobs of this user")
    parser.add_argument("--since", metavar="T", help="Runs that were due at this time or later")
    parser.add_argument("--until", metavar="T", help="Runs that were due before this time")
    parser.add_argument("--limit", type=positive, metavar="N",
                        help="of each Job the newest N; default: 100, of one Job 1000")  # fmt: skip


@verb("stats", "Show how often, how long and how late Jobs run.", _arguments)
def stats(options: argparse.Namespace) -> None:
    from pycron.cli.statistics_view import print_statistics

    print_statistics(options)
