"""A schedule on the command line: as one argument in quotes, or as several without quotes."""

import argparse
import os
import shlex
from collections.abc import Collection, Sequence

from pycron.cli.errors import WrongUse


def add_expression(parser: argparse.ArgumentParser, nargs: str, help: str) -> None:
    parser.add_argument("expression", nargs=nargs, metavar="EXPR", help=help)


def expression_of(words: Sequence[str]) -> str | None:
    """The schedule in these arguments; None if there are none.

    Raises WrongUse if the shell has put the names of files in place of `*`, or if it is a file.
    """
    if len(words) == 1 and os.path.isfile(words[0]):
        raise WrongUse(f"{words[0]} is a file: name it with --table, or with --system-table if it "
                       "has a user column")  # fmt: skip
    if len(words) > 1:
        _refuse_names_of_files(words)
    return " ".join(words) if words else None


def _refuse_names_of_files(words: Sequence[str]) -> None:
    names = _names_here()
    meant = " ".join(without_names(words, names)) if names else ""
    if meant and meant != " ".join(words):
        meant = meant if len(names) > 1 else "0 9 * * 1-5"  # one name may also be a field
        raise WrongUse("the shell has put the names of the files of this directory in place of *: "
                       f"write the schedule in quotes, as {shlex.quote(meant)}")  # fmt: skip


def without_names(words: Sequence[str], names: Collection[str]) -> list[str]:
    """The words with `*` in place of each run of words that are all these names, in any order."""
    wanted, count = set(names), len(names)
    found: list[str] = []
    index = 0
    while index < len(words):
        is_glob = words[index] in wanted and set(words[index : index + count]) == wanted
        found.append("*" if is_glob else words[index])
        index += count if is_glob else 1
    return found


def _names_here() -> list[str]:
    """What the shell puts in place of `*`."""
    try:
        return [name for name in os.listdir() if not name.startswith(".")]
    except OSError:
        return []
