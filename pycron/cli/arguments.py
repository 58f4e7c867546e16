"""Arguments that several verbs have."""

import argparse
import re
import sys
from pathlib import Path

from pycron.cli.errors import WrongUse
from pycron.model.run import NOT_SUCCEEDED
from pycron.model.text import printable
from pycron.schedule.durations import spoken_duration


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is no whole number above 0')
    return int(text)


def duration(text: str) -> int:
    """Seconds, for argparse."""
    try:
        return spoken_duration(text.lower())
    except ValueError:
        hint = f"a number needs a unit: {text}s, {text}m" if text.isdecimal() else "90s, 15m, 1h30m"
        raise argparse.ArgumentTypeError(f'bad duration: "{text}" ({hint})') from None


def add_config(parser: argparse.ArgumentParser) -> None:
    """Of a verb that speaks to the database of the cluster."""
    parser.add_argument("--config", metavar="F", type=Path,
                        help="the configuration that names the database; by default the "
                        "daemon's")  # fmt: skip


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Of a verb that asks either the daemon or the database of the cluster."""
    parser.add_argument("--cluster", action="store_true",
                        help="of a shared Job: what the database of the cluster knows, wherever it "
                        "ran")  # fmt: skip
    add_config(parser)


def add_quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="do not say what was done")


def say(options: argparse.Namespace, sentence: str) -> None:
    """Say on stderr in one line what was done and what holds now, unless --quiet or --json."""
    if not options.quiet and not options.json:
        print(f"pycron: {printable(sentence)}", file=sys.stderr)


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run_id, or a Job's name for its last Run")


def add_outcomes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--outcome", metavar="OUTCOME", action="append", default=[],
                        help="Runs that ended in this way; several with commas")  # fmt: skip
    parser.add_argument("--failed", action="store_true",
                        help="Runs that have ended and did not succeed")  # fmt: skip


def wanted_outcomes(options: argparse.Namespace) -> str | None:
    """The Outcomes of --outcome and --failed as in RunsRequest; None: any.

    `timed-out` and `timed out` mean timed_out, because people read it so in other places.
    """
    names = [name for each in options.outcome for name in each.split(",")]
    wanted = [re.sub("[ -]", "_", name.strip().lower()) for name in names]
    wanted += NOT_SUCCEEDED if options.failed else ()
    return ",".join(dict.fromkeys(wanted)) or None


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
