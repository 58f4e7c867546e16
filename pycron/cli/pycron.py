"""pycron: shows and controls the Jobs and Runs of a daemon."""

import argparse
import sys

from pycron import __version__
from pycron.cli.daemon_choice import add_daemon_options
from pycron.cli.errors import Failed, WrongUse
from pycron.cli.output_end import ends_quietly
from pycron.cli.verb import all_verbs
from pycron.control.client import ControlError


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pycron", description="Shows and controls the Jobs and Runs of a pycron daemon."
    )
    add_daemon_options(parser)
    parser.add_argument("--version", action="version", version=f"pycron {__version__}")
    commands = parser.add_subparsers(metavar="VERB", required=True)
    for verb in all_verbs():
        command = commands.add_parser(verb.name, help=verb.help, description=verb.help)
        command.set_defaults(run_verb=verb.run)
        command.add_argument("--json", action="store_true", help="one JSON object a line")
        verb.add_arguments(command)
    return parser


@ends_quietly
def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return options.run_verb(options) or 0
    except (WrongUse, argparse.ArgumentTypeError) as error:
        print(f"pycron: {error}", file=sys.stderr)
        return 2
    except (ControlError, Failed) as error:
        print(f"pycron: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
