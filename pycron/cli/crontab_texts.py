"""The texts that pycrontab reads, and the messages that it writes; its other modules use them."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pycron.cli.errors import Failed
from pycron.control.client import ControlError
from pycron.model.problem import Problem, Severity, problem_from_row
from pycron.protocol.control_answers import ProblemRow
from pycron.protocol.table_answers import InstallAnswer, NextDueRow

CRONTAB = "crontab"  # the name of cron's own program


class NoTable(Failed):
    """The user has no table."""

    def __init__(self, user: str) -> None:
        super().__init__(f"no crontab for {user}")


def called_as() -> str:
    """The name under which the program was called: `crontab` or `pycrontab`."""
    return CRONTAB if Path(sys.argv[0]).name == CRONTAB else "pycrontab"


def say(message: object) -> None:
    print(f"{called_as()}: {message}", file=sys.stderr)


def say_failure(error: Exception, file: str | None) -> None:
    """`file`: what the user calls the text of the table."""
    if isinstance(error, ControlError):
        print_problems(error.problems, file or "-")
    if isinstance(error, NoTable) and called_as() == CRONTAB:
        print(error, file=sys.stderr)  # the line of cron, which programs compare as a whole
    else:
        say(error)


def print_problems(rows: Iterable[ProblemRow], file: str) -> None:
    """The daemon knows the table by its user; the user knows it by the file."""
    for row in rows:
        print(problem_from_row(row).renamed(file), file=sys.stderr)


_MOST_WARNINGS = 10  # lines after an installation


def say_installed(answer: InstallAnswer, file: str, text: str | None = None) -> None:
    """Write the warnings about a table, and what its installation has changed.

    `text`: the table that was installed, for the linter; None if it is an old version.

    Cron's crontab says nothing. Under its name the changes, and what the linter finds, are only
    written to a terminal, so that a command of a table that installs a table gives no mail.
    """
    known = tuple(problem_from_row(row).renamed(file) for row in answer["problems"])
    if called_as() == CRONTAB and not sys.stderr.isatty():
        say_warnings(known)
        return
    say_warnings(known if text is None else _warnings(text, answer["user"], file, known))
    if words := _words_of_changes(answer):
        say(words)


def _warnings(text: str, user: str, file: str, known: tuple[Problem, ...]) -> Sequence[Problem]:
    """The warnings of the daemon and of the linter; a note is for `pycron check` alone."""
    from pycron.cli.checked_tables import TableChecker  # 50 ms, which -l does not need
    from pycron.model.job import Source

    found = TableChecker().of_text(text, Source(file, user), True, known)
    return [problem for problem in found if problem.severity is not Severity.NOTE]


def say_warnings(problems: Sequence[Problem]) -> None:
    """A line for each of the first problems, on stderr."""
    for problem in problems[:_MOST_WARNINGS]:
        print(problem, file=sys.stderr)
    more = len(problems) - _MOST_WARNINGS
    if more > 0:
        say(f"{more} more warnings: pycron check shows all")


def _words_of_changes(answer: InstallAnswer) -> str:
    """`2 entries added, 1 changed, next due 02:30`; empty if the daemon is older."""
    changes = answer.get("changes")
    if changes is None:
        return ""
    counts = [(changes["added"], "added"), (changes["changed"], "changed"),
              (changes["removed"], "removed")]  # fmt: skip
    parts = [f"{count} {verb}" for count, verb in counts if count]
    if not parts:
        parts = ["no entry changed"]
    else:
        count, verb = parts[0].split()
        parts[0] = f"{count} {'entry' if count == '1' else 'entries'} {verb}"
    due = answer.get("next")
    if due:
        parts.append(f"next due {_words_of_due(due)}")
    return ", ".join(parts)


def _words_of_due(due: NextDueRow) -> str:
    """The time of day, with the date if that is not today, on the clock of the entry."""
    import datetime

    local = datetime.datetime.fromisoformat(due["local"])
    today = datetime.datetime.now(local.tzinfo).date()
    day = "" if local.date() == today else f"{local.date()} "
    time = local.strftime("%H:%M:%S" if local.second else "%H:%M")
    zone = f" {due['zone']}" if due["zone"] else ""
    return f"{day}{time}{zone}"


def yes(question: str) -> bool:
    """Ask until the answer is yes or no. Raises Failed at the end of input."""
    while True:
        print(question, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise Failed("end of input: abandoned")
        if line.strip().lower() in ("y", "yes", "n", "no"):
            return line.strip().lower().startswith("y")


def read_text(file: str) -> str:
    """The text in a file; `-` is the standard input. Raises Failed."""
    if file == "-":
        return decode(sys.stdin.buffer.read())
    try:
        return decode(Path(file).read_bytes())
    except OSError as error:
        raise Failed(f"{file}: {error.strerror}") from None


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
