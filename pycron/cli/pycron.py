"""pycron: shows and controls the Jobs and Runs of a daemon."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from pycron import __version__
from pycron.cli.daemon_choice import add_daemon_options
from pycron.cli.errors import Failed, WrongUse
from pycron.cli.output_end import ends_quietly
from pycron.cli.verb import Verb, all_verbs, named_verb
from pycron.control.client import ControlError


class _Parser(argparse.ArgumentParser):
    """Says of a verb that does not exist which one was probably meant."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            from pycron.cli.verb_hints import hint_at_verb

            raise argparse.ArgumentError(None, hint_at_verb(str(value), list(action.choices)))
        super()._check_value(action, value)


def parser(verbs: Sequence[Verb] | None = None) -> argparse.ArgumentParser:
    """`verbs`: those that the parser knows; None: all."""
    parser = _Parser(
        prog="pycron", description="Shows and controls the Jobs and Runs of a pycron daemon."
    )
    _add_common_options(parser)
    parser.add_argument("-V", "--version", action="version", version=f"pycron {__version__}",
                        help="print the version and exit")  # fmt: skip
    commands = parser.add_subparsers(metavar="VERB")
    for verb in all_verbs() if verbs is None else verbs:
        command = commands.add_parser(verb.name, help=verb.help, description=verb.help)
        command.set_defaults(run_verb=verb.run)
        # What stands before the verb is not overwritten by the defaults of what may stand behind.
        _add_common_options(command, default=argparse.SUPPRESS)
        verb.add_arguments(command)
    return parser


def _add_common_options(parser: argparse.ArgumentParser, **default: Any) -> None:
    """The options that may stand before the verb or behind it."""
    add_daemon_options(parser, **default)
    parser.add_argument("--json", action="store_true", help="one JSON object a line", **default)
    parser.add_argument("--utc", action="store_true", **default,
                        help="read and print times in UTC, not in the machine's zone")  # fmt: skip


@ends_quietly
def main(arguments: list[str] | None = None) -> int:
    verb = _verb_in(sys.argv[1:] if arguments is None else arguments)
    program = parser(None if verb is None else [verb])
    options, unknown = program.parse_known_args(arguments)
    if unknown:
        _refuse(program, verb, unknown)
    if "run_verb" not in options:
        return _without_verb(program, options)
    try:
        status: int | None = options.run_verb(options)
        return status or 0
    except (WrongUse, argparse.ArgumentTypeError) as error:
        print(f"pycron: {error}", file=sys.stderr)
        return 2
    except (ControlError, Failed) as error:
        print(f"pycron: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _refuse(program: argparse.ArgumentParser, verb: Verb | None, unknown: list[str]) -> NoReturn:
    """The end for arguments that nobody knows; says which ones were probably meant."""
    from pycron.cli.verb_hints import hint_at_arguments

    known: list[str] = []
    for action in program._actions:
        if verb is not None and isinstance(action, argparse._SubParsersAction):
            known = list(action.choices[verb.name]._option_string_actions)
    program.error(hint_at_arguments(verb.name if verb else "", unknown, known))


def _verb_in(arguments: Sequence[str]) -> Verb | None:
    """The verb of a command line: its first word that is no option and no directory of one."""
    before = ""
    for word in arguments:
        if not word.startswith("-") and not (before[3:] and "--state-dir".startswith(before)):
            return named_verb(word)
        before = word
    return None


def _without_verb(program: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """On a terminal, what a person wants to know first; a program has to name a verb."""
    if not sys.stdout.isatty():
        program.error("which verb? (pycron --help lists them)")
    from pycron.cli.overview import overview

    return overview(options)


if __name__ == "__main__":
    sys.exit(main())
