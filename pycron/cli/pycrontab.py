"""pycrontab: a user's table, through the daemon's socket. The program has no access of its own."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from pycron import __version__
from pycron.cli.daemon_choice import add_daemon_options, client_for
from pycron.cli.output_end import ends_quietly
from pycron.control.client import ControlClient, ControlError
from pycron.model.problem import problem_from_row
from pycron.protocol.control_answers import InstallAnswer, ProblemRow
from pycron.protocol.control_messages import DeleteRequest, InstallRequest, TableRequest

_SYNOPSIS = (
    "pycrontab [--system | --user | --state-dir D]\n"
    "                 [-u USER] {FILE | - | -l | -r [-i] | -e | -T FILE | -V}"
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with status 1, as crontab(1) does when it is used wrongly."""
        self.print_usage(sys.stderr)
        self.exit(1, f"pycrontab: {message}\n")


def parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="pycrontab", usage=_SYNOPSIS, description="Shows, replaces, edits or "
                     "deletes a user's table of the pycron daemon.")  # fmt: skip
    add_daemon_options(parser)
    parser.add_argument("-u", metavar="USER", dest="user", help="whose table; for root")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-l", action="store_true", dest="list", help="print the table")
    what.add_argument("-r", action="store_true", dest="remove", help="delete the table")
    what.add_argument("-e", action="store_true", dest="edit", help="edit the table")
    what.add_argument("-T", metavar="FILE", dest="test", help="say whether a table has errors")
    what.add_argument("-V", action="version", version=f"pycrontab {__version__}",
                      help="print the version")  # fmt: skip
    parser.add_argument("-i", action="store_true", dest="ask", help="with -r, ask before")
    what.add_argument("file", nargs="?", metavar="FILE", help="replace the table; - is stdin")
    return parser


class _Failed(Exception):
    """The table could not be handled; the message tells the user why."""


@ends_quietly
def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return _run(options)
    except BrokenPipeError:
        raise  # nobody reads the output any more
    except (ControlError, _Failed, OSError) as error:
        _print_failure(error, options.file)
    return 1


def _run(options: argparse.Namespace) -> int:
    if options.test is not None:
        return _test(options.test)
    if not (options.list or options.remove or options.edit or options.file):
        return _no_action()
    client = client_for(options)
    if options.list:
        return _list(client, options.user)
    if options.remove:
        return _remove(client, options.user, options.ask)
    if options.edit:
        return _Edit(client, options.user).run()
    return _replace(client, options.user, options.file)


def _no_action() -> int:
    """Crontab(1) would replace the table by standard input; pycrontab does that only for `-`."""
    print(f"usage: {_SYNOPSIS}", file=sys.stderr)
    if not sys.stdin.isatty():
        print("pycrontab: to replace the table by standard input, say: pycrontab -",
              file=sys.stderr)  # fmt: skip
    return 1


def _test(file: str) -> int:
    from pycron.crontab import reader
    from pycron.model.job import Source
    from pycron.system.accounts import own_account
    from pycron.system.zone_data import ZoneData
    from pycron.tables.check import local_context

    owner = own_account().name
    table = reader.parse(_read(file), Source(file, owner), local_context(ZoneData()))
    for problem in table.problems:
        print(problem, file=sys.stderr)
    if table.errors:
        return 1
    print(f"{file}: no errors, {len(table.jobs)} jobs", file=sys.stderr)
    return 0


def _list(client: ControlClient, user: str | None) -> int:
    answer = client.request(TableRequest(user))
    if answer["text"] is None:
        raise _Failed(f"no crontab for {answer['user']}")
    sys.stdout.buffer.write(_encode(answer["text"]))
    sys.stdout.flush()
    return 0


def _remove(client: ControlClient, user: str | None, ask: bool) -> int:
    if ask:
        owner = client.request(TableRequest(user))["user"]
        if not _yes(f"pycrontab: really delete {owner}'s crontab? (y/n) "):
            return 0
    answer = client.again().request(DeleteRequest(user))
    if not answer["deleted"]:
        raise _Failed(f"no crontab for {answer['user']}")
    return 0


def _replace(client: ControlClient, user: str | None, file: str) -> int:
    text = _read(file)  # which may take longer than the daemon waits for a silent client
    answer = client.again().request(InstallRequest(text, user))
    _print_problems(answer["problems"], file)
    return 0


class _Edit:
    """`-e`: the text that the user typed is either installed or left in a file that is named."""

    def __init__(self, client: ControlClient, user: str | None) -> None:
        self._client = client
        self._user = user

    def run(self) -> int:
        before = self._client.request(TableRequest(self._user))["text"] or ""
        descriptor, name = tempfile.mkstemp(prefix="pycrontab.")
        path = Path(name)
        with open(descriptor, "wb") as file:
            file.write(_encode(before))
        try:
            if self._edit_until_good(path, before):
                path.unlink()
                return 0
        except (ControlError, _Failed, OSError) as error:
            _print_failure(error, str(path))
        self._leave(path, before)
        return 1

    def _edit_until_good(self, path: Path, before: str) -> bool:
        """Edit and install until there is no error; False if the user gives up."""
        while True:
            _run_editor(path)
            text = _decode(path.read_bytes())
            if text == before:
                print("pycrontab: no changes made to crontab", file=sys.stderr)
                return True
            try:
                answer = self._install(text)
            except ControlError as error:
                if not error.problems:
                    raise
                _print_failure(error, str(path))
                if not _yes("Do you want to retry the same edit? (y/n) "):
                    return False
                continue
            _print_problems(answer["problems"], str(path))
            print("pycrontab: installed the new crontab", file=sys.stderr)
            return True

    def _install(self, text: str) -> InstallAnswer:
        """On a new connection: an edit takes longer than the daemon waits for a silent client."""
        self._client.close()
        self._client = self._client.again()
        return self._client.request(InstallRequest(text, self._user))

    def _leave(self, path: Path, before: str) -> None:
        """Name the file to the user; delete it if nothing was changed."""
        if path.exists():
            if _decode(path.read_bytes()) == before:
                path.unlink()
            else:
                print(f"pycrontab: edits left in {path}", file=sys.stderr)


def _run_editor(path: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    ignored = {number: signal.signal(number, signal.SIG_IGN)
               for number in (signal.SIGINT, signal.SIGQUIT)}  # fmt: skip
    try:
        status = subprocess.run(
            ["/bin/sh", "-c", f'{editor} "$1"', "sh", str(path)], check=False
        ).returncode
    finally:
        for number, handler in ignored.items():
            signal.signal(number, handler)
    if status != 0:
        raise _Failed(f"{editor}: ended with status {status}; nothing was installed")


def _yes(question: str) -> bool:
    """Ask until the answer is yes or no. Raises _Failed at the end of input."""
    while True:
        print(question, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise _Failed("end of input: abandoned")
        if line.strip().lower() in ("y", "yes", "n", "no"):
            return line.strip().lower().startswith("y")


def _print_failure(error: Exception, file: str | None) -> None:
    if isinstance(error, ControlError):
        _print_problems(error.problems, file or "-")
    print(f"pycrontab: {error}", file=sys.stderr)


def _print_problems(rows: Iterable[ProblemRow], file: str) -> None:
    """The daemon knows the table by its user; the user knows it by the file."""
    for row in rows:
        print(problem_from_row(row).renamed(file), file=sys.stderr)


def _read(file: str) -> str:
    if file == "-":
        return _decode(sys.stdin.buffer.read())
    try:
        return _decode(Path(file).read_bytes())
    except OSError as error:
        raise _Failed(f"{file}: {error.strerror}") from None


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


if __name__ == "__main__":
    sys.exit(main())
