"""All codes of problems, by name, in the order of the manual."""

from types import ModuleType

from pycron.lint import clock, commands, history, schedules, shell_text, variables, whole_table
from pycron.lint.code import Code, warning
from pycron.lint.reader_codes import ENTRIES, FILES, MACHINE, VARIABLES

UNKNOWN_CODE = warning(
    "unknown-code",
    "A comment ignores a code that does not exist.",
    "# pycron: ignore=percents\n0 5 * * * /usr/local/bin/backup",
    "# pycron: ignore=percent\n0 5 * * * /usr/local/bin/backup",
)


def _of(module: ModuleType) -> tuple[Code, ...]:
    """The public Codes of a module."""
    named = vars(module).items()
    return tuple(each for name, each in named if isinstance(each, Code) and name[0] != "_")


GROUPS: dict[str, tuple[Code, ...]] = {
    "The schedule": (*_of(schedules), *_of(clock), *_of(whole_table)),
    "The command": (*_of(commands), *_of(shell_text)),
    "Variables": _of(variables),
    "Entries that are refused, or taken with a warning": (*ENTRIES, UNKNOWN_CODE),
    "Variables and settings that are refused, or taken with a warning": VARIABLES,
    "Files": FILES,
    "The machine": (*MACHINE, *_of(history)),
}
CODES: dict[str, Code] = {code.name: code for group in GROUPS.values() for code in group}
