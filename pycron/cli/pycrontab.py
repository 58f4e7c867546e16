"""pycrontab: a user's table, through the daemon's socket. The program has no access of its own.

Under the name `crontab`, for example through a symlink, it does what cron's crontab(1) does.
"""

import argparse
import sys
from typing import NoReturn

from pycron import __version__
from pycron.cli.arguments import positive
from pycron.cli.crontab_texts import (
    CRONTAB,
    NoTable,
    called_as,
    encode,
    read_text,
    say,
    say_failure,
    say_installed,
    say_warnings,
    yes,
)
from pycron.cli.daemon_choice import add_daemon_options, client_for
from pycron.cli.errors import Failed
from pycron.cli.output_end import ends_quietly
from pycron.cli.terminal import write_bytes
from pycron.control.client import ControlClient, ControlError
from pycron.model.problem import Severity
from pycron.model.table_version import Origin
from pycron.protocol.table_messages import DeleteRequest, InstallRequest, TableRequest

_SYNOPSIS = (
    "{name} [--system | --user | --state-dir D] [-u USER]\n"
    "         {{[-n] FILE | - | -l | -r [-i] | -e | -T FILE | -V |\n"
    "          --versions | --restore N | --diff N}}"
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with status 1, as crontab(1) does when it is used wrongly."""
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: {message}\n")


def parser(name: str = "pycrontab") -> argparse.ArgumentParser:
    parser = _Parser(prog=name, usage=_SYNOPSIS.format(name=name), description="Shows, replaces, "
                     "edits or deletes a user's table of the pycron daemon.")  # fmt: skip
    add_daemon_options(parser)
    parser.add_argument("-u", metavar="USER", dest="user", help="whose table; for root")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-l", action="store_true", dest="list", help="print the table")
    what.add_argument("-r", action="store_true", dest="remove", help="delete the table")
    what.add_argument("-e", action="store_true", dest="edit", help="edit the table")
    what.add_argument("-T", metavar="FILE", dest="test", help="say whether a table has errors")
    what.add_argument("--versions", action="store_true", help="list the last versions of the table")
    what.add_argument("--restore", metavar="N", type=positive,
                      help="install version N of the table again")  # fmt: skip
    what.add_argument("--diff", metavar="N", type=positive,
                      help="print what has changed since version N")  # fmt: skip
    what.add_argument("-V", action="version", version=f"pycrontab {__version__}",
                      help="print the version")  # fmt: skip
    parser.add_argument("-i", action="store_true", dest="ask", help="with -r, ask before")
    parser.add_argument("-n", action="store_true", dest="dry_run",
                        help="with FILE, only say whether it has errors")  # fmt: skip
    what.add_argument("file", nargs="?", metavar="FILE", help="replace the table; - is stdin")
    return parser


@ends_quietly
def main(arguments: list[str] | None = None) -> int:
    command_line = parser(called_as())
    options = command_line.parse_args(arguments)
    if options.dry_run and not options.file:
        command_line.error("-n needs a FILE")
    try:
        return _run(options, command_line)
    except BrokenPipeError:
        raise  # nobody reads the output any more
    except (ControlError, Failed, OSError) as error:
        say_failure(error, f"version {options.restore}" if options.restore else options.file)
    return 1


def _run(options: argparse.Namespace, command_line: argparse.ArgumentParser) -> int:
    if options.test is not None or options.dry_run:
        return _test(options.test or options.file)
    if not _is_action(options) and not _replaces_by_stdin():
        command_line.print_usage(sys.stderr)
        if not sys.stdin.isatty():
            say("to replace the table by standard input, say: pycrontab -")
        return 1
    client = client_for(options)
    if options.list:
        return _list(client, options.user)
    if options.remove:
        return _remove(client, options.user, options.ask)
    if options.edit:
        from pycron.cli.crontab_edit import Edit  # with tempfile and subprocess

        return Edit(client, options.user).run()
    if options.versions or options.restore or options.diff:
        return _versions(client, options)
    return _replace(client, options.user, options.file)


def _is_action(options: argparse.Namespace) -> bool:
    return bool(options.list or options.remove or options.edit or options.file
                or options.versions or options.restore or options.diff)  # fmt: skip


def _replaces_by_stdin() -> bool:
    """Whether a call without arguments replaces the table by standard input, as in cron."""
    return called_as() == CRONTAB and not sys.stdin.isatty()


def _test(file: str) -> int:
    from pycron.cli.checked_tables import TableChecker

    problems, jobs = TableChecker().own_table(read_text(file), file)
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    for problem in errors:
        print(problem, file=sys.stderr)
    say_warnings([problem for problem in problems if problem.severity is Severity.WARNING])
    if errors:
        return 1
    print(f"{file}: no errors, {jobs} jobs", file=sys.stderr)
    return 0


def _list(client: ControlClient, user: str | None) -> int:
    answer = client.request(TableRequest(user))
    if answer["text"] is None:
        raise NoTable(answer["user"])
    write_bytes(encode(answer["text"]))
    sys.stdout.flush()
    return 0


def _remove(client: ControlClient, user: str | None, ask: bool) -> int:
    if ask:
        owner = client.request(TableRequest(user))["user"]
        if not yes(f"{called_as()}: really delete {owner}'s crontab? (y/n) "):
            return 0
    answer = client.again().request(DeleteRequest(user))
    if not answer["deleted"]:
        raise NoTable(answer["user"])
    return 0


def _versions(client: ControlClient, options: argparse.Namespace) -> int:
    from pycron.cli import crontab_versions

    if options.restore:
        return crontab_versions.restore(client, options.user, options.restore)
    if options.diff:
        return crontab_versions.print_difference(client, options.user, options.diff)
    return crontab_versions.list_versions(client, options.user)


def _replace(client: ControlClient, user: str | None, file: str | None) -> int:
    """Replace the table by a file. None: by standard input, which must not be empty then.

    A program that failed in front of the pipe would otherwise delete all entries.
    """
    text = read_text(file or "-")  # which may take longer than the daemon waits for a silent client
    if file is None and not text:
        raise Failed("the standard input is empty; nothing was installed (crontab - installs an"
                     " empty table, crontab -r deletes the table)")  # fmt: skip
    origin = Origin.STDIN if file in (None, "-") else Origin.FILE
    answer = client.again().request(InstallRequest(text, user, origin.value))
    say_installed(answer, file or "-", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
