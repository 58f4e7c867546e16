"""`pycron calendar`: a day by the minute, where starts pile up, by plan and by history."""

import argparse

from pycron.cli.table_options import add_table_options
from pycron.cli.verb import verb


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_table_options(parser)
    parser.add_argument("--day", metavar="DAY", default="today",
                        help="the day that contains this time; default: today")  # fmt: skip
    parser.add_argument("--owner", metavar="USER", help="only Jobs of this user")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--plan", action="store_true", help="only by plan: fire times")
    which.add_argument("--history", action="store_true", help="only by history: recorded starts")


@verb("calendar", "Show a day by the minute, and where starts pile up.", _arguments)
def calendar(options: argparse.Namespace) -> None:
    from pycron.cli.calendar_view import print_calendar  # with the reader of tables: 50 ms

    print_calendar(options)
