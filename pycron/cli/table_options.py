"""--table and --system-table: the tables that a command line names."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pycron.model.job import Source


def add_table_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", metavar="FILE", type=Path, action="append", default=[],
                        help="a table without a user column")  # fmt: skip
    parser.add_argument("--system-table", metavar="FILE", type=Path, action="append", default=[],
                        help="a table with a user column")  # fmt: skip


def named_sources(options: argparse.Namespace) -> list["Source"]:
    """The named tables; those without a user column belong to the user of this process."""
    from pycron.model.job import Source  # 15 ms, and few verbs need it
    from pycron.system.accounts import own_account

    own = [Source(str(path), own_account().name) for path in options.table]
    return own + [Source(str(path), None) for path in options.system_table]
