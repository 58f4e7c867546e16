"""pycron: look at a daemon and at what it did."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from pycron import __version__
from pycron.cli import operating, verbs, why_verb
from pycron.cli.daemon_choice import add_daemon_options
from pycron.control.client import ControlError

Verb = Callable[[argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pycron", description="Shows what a pycron daemon does, did and will do."
    )
    add_daemon_options(parser)
    parser.add_argument("--version", action="version", version=f"pycron {__version__}")
    commands = parser.add_subparsers(metavar="VERB", required=True)

    def add(name: str, verb: Verb, help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help)
        command.set_defaults(verb=verb)
        command.add_argument("--json", action="store_true", help="one JSON object a line")
        return command

    add("status", verbs.status, "How the daemon is.")
    add("list", verbs.list_jobs, "The Jobs of all tables that you may see.")
    _add_next(add("next", verbs.next_fire_times, "Fire times to come, in order."))
    explain = add("explain", verbs.explain, "A schedule in words, and when it is due next.")
    explain.add_argument("expression", metavar="EXPR",
                         help='a schedule, CRON_TZ=ZONE before it if need be')  # fmt: skip
    explain.add_argument("--count", type=_positive, metavar="N", default=5,
                         help="so many fire times; default: 5")  # fmt: skip
    explain.add_argument("--tz", metavar="ZONE", help="stands for the machine's zone")
    _add_runs(add("runs", verbs.runs, "What ran, newest first."))
    why = add("why", why_verb.why, "What became of a Job at a time, and why.")
    why.add_argument("job", metavar="JOB", help="its name or id")
    why.add_argument("time", metavar="TIME",
                     help="such as 2026-03-08T02:30; in the Job's zone")  # fmt: skip
    show = add("show", verbs.show, "One Run and its Attempts.")
    show.add_argument("run", metavar="RUN", help="a run_id, or a Job's name for its last Run")
    log = add("log", verbs.log, "What a Run printed.")
    log.add_argument("run", metavar="RUN", help="a run_id, or a Job's name for its last Run")
    log.add_argument("-f", action="store_true", dest="follow", help="until the Run has ended")
    log.add_argument(
        "--attempt", type=_positive, metavar="N", help="of this Attempt; default: the last"
    )
    dead = add(
        "dead", verbs.dead, "Runs that have used up their retries, and what to do with them."
    )
    dead.add_argument("action", choices=("list", "redrive", "drop"),
                      help="redrive: once more, now; drop: leave it at that")  # fmt: skip
    dead.add_argument("run", nargs="*", metavar="RUN", help="the run_ids to redrive or to drop")
    start = add("start", operating.start, "Start a Job now, as its owner.")
    start.add_argument("job", metavar="JOB", help="a Job's name or id")
    start.add_argument("--force", action="store_true",
                       help="whatever limits, policies and pauses say")  # fmt: skip
    kill = add("kill", operating.kill, "End a Run with all its processes.")
    kill.add_argument("run", metavar="RUN", help="a run_id, or a Job's name for all its Runs")
    kill.add_argument("--kill-after", type=operating.duration, metavar="DURATION",
                      help="from TERM to KILL; default: the Job's CRON_KILL_AFTER")  # fmt: skip
    pause = add("pause", operating.pause, "Begin nothing for a while, or say what is paused.")
    _add_scope(pause)
    pause.add_argument("--for", dest="seconds", type=operating.duration, metavar="DURATION",
                       help="for so long; default: until it is resumed")  # fmt: skip
    pause.add_argument("--reason", metavar="TEXT", help="shown wherever somebody wonders")
    _add_scope(add("resume", operating.resume, "End a pause."))
    top = add("top", operating.top, "What runs, what waits and why, and what comes next.")
    top.add_argument("--limit", type=_positive, metavar="N", default=20,
                     help="at most N of each; default: 20")  # fmt: skip
    check = add("check", verbs.check, "What is wrong with tables; without any, with the daemon's.")
    _add_tables(check)
    return parser


def _add_scope(command: argparse.ArgumentParser) -> None:
    command.add_argument("job", nargs="?", metavar="JOB", help="a Job's name or id")
    command.add_argument("--owner", metavar="USER", help="all Jobs of this user")
    command.add_argument("--pool", metavar="POOL", help="all Jobs of this pool")
    command.add_argument("--all", action="store_true", help="all Jobs")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is no whole number above 0')
    return int(text)


def _add_tables(command: argparse.ArgumentParser) -> None:
    command.add_argument("--table", metavar="FILE", type=Path, action="append", default=[],
                         help="a table without a user column")  # fmt: skip
    command.add_argument("--system-table", metavar="FILE", type=Path, action="append", default=[],
                         help="a table with a user column")  # fmt: skip


def _add_next(command: argparse.ArgumentParser) -> None:
    _add_tables(command)
    command.add_argument("expression", nargs="?", metavar="EXPR",
                         help='a schedule such as "0 9 * * 1-5"')  # fmt: skip
    command.add_argument("--from", dest="start", metavar="T", default="now",
                         help="fire times from this on; default: now")  # fmt: skip
    end = command.add_mutually_exclusive_group()
    end.add_argument("--until", metavar="T", help="fire times before this")
    end.add_argument("--count", type=_positive, metavar="N", default=10,
                     help="so many of them; default: 10")  # fmt: skip
    command.add_argument("--tz", metavar="ZONE", help="stands for the machine's zone")


def _add_runs(command: argparse.ArgumentParser) -> None:
    command.add_argument("--job", metavar="JOB", help="of this Job: its name or id")
    command.add_argument("--owner", metavar="USER", help="of this user")
    command.add_argument("--outcome", metavar="OUTCOME", help="that ended so")
    command.add_argument("--since", metavar="T", help="due at this time or later")
    command.add_argument("--until", metavar="T", help="due before this time")
    command.add_argument("--limit", type=_positive, metavar="N", default=20,
                         help="the newest N; default: 20")  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return int(options.verb(options))
    except argparse.ArgumentTypeError as error:
        print(f"pycron: {error}", file=sys.stderr)
        return 2
    except (ControlError, verbs.Failed) as error:
        print(f"pycron: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
