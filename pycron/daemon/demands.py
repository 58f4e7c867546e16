"""What the tables of a daemon must fulfil at its start; otherwise it ends with the reason."""

from collections.abc import Sequence
from dataclasses import dataclass

from pycron.model.problem import Problem, Severity


class NothingToRun(Exception):
    """The daemon would never run anything; a service manager would take it for healthy."""


class BadTables(Exception):
    """A table has an error, and the daemon was told not to start then."""


@dataclass(frozen=True, slots=True)
class TableDemands:
    """`jobs`: there is at least one Job. `no_errors`: no table has an error (--strict)."""

    jobs: bool = False
    no_errors: bool = False

    def check(self, work: int, problems: Sequence[Problem]) -> None:
        """Raises NothingToRun or BadTables.

        `work`: the number of Jobs, and of Runs that an earlier daemon left. `problems`: those of
        all tables.
        """
        errors = [each for each in problems if each.severity is Severity.ERROR]
        if self.no_errors and errors:
            raise BadTables(f"{errors[0]}{_more(errors)}: not started, because of --strict")
        if self.jobs and not work:
            reason = f"{errors[0]}{_more(errors)}" if errors else "no table has an entry"
            raise NothingToRun(f"nothing to run: {reason} (--allow-empty starts anyway)")


NO_DEMANDS = TableDemands()


def _more(errors: list[Problem]) -> str:
    return f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
