"""Arguments that several verbs have."""

import argparse

from pycron.cli.errors import WrongUse
from pycron.schedule.durations import parse_duration


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is no whole number above 0')
    return int(text)


def duration(text: str) -> int:
    """Seconds, for argparse."""
    try:
        return parse_duration(text)
    except ValueError:
        message = f'bad duration: "{text}" (such as 90s, 15m or 1h30m)'
        raise argparse.ArgumentTypeError(message) from None


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run_id, or a Job's name for its last Run")


def add_scope(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", nargs="?", metavar="JOB", help="a Job's name or id")
    parser.add_argument("--owner", metavar="USER", help="all Jobs of this user")
    parser.add_argument("--pool", metavar="POOL", help="all Jobs of this pool")
    parser.add_argument("--all", action="store_true", help="all Jobs")


def scope_kind(options: argparse.Namespace) -> str | None:
    """The kind of the scope that was named: `job`, `user`, `pool`, `all` or None.

    Raises WrongUse if there are several.
    """
    named = {
        "job": options.job is not None,
        "user": options.owner is not None,
        "pool": options.pool is not None,
        "all": options.all,
    }
    kinds = [kind for kind, is_named in named.items() if is_named]
    if len(kinds) > 1:
        raise WrongUse("a job, --owner, --pool or --all: one of them")
    return kinds[0] if kinds else None


def no_scope(verb: str) -> WrongUse:
    """The error of a verb that needs a scope and has none."""
    return WrongUse(f"{verb}: what? (a job, --owner, --pool or --all)")
