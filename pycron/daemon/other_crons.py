"""Warns of another cron on this machine that would run the same jobs."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.model.problem import Problem, Severity
from pycron.system import paths
from pycron.system.other_crons import Kind, OtherCron, other_crons
from pycron.tables.layouts import Layout


def boot_markers(layout: Layout | None) -> tuple[Path, ...]:
    """The files with which crons that have the same tables agree on who runs the @reboot jobs."""
    is_shared = layout is not None and (layout.is_foreign or paths.IMPORT_RECORD.exists())
    return paths.BOOT_MARKERS if is_shared else ()


def stopped_at(marker: Path) -> int | None:
    """The UTC second at which another cron with the same tables was stopped: the marker's time.

    None if the marker is not there, or is not a file of this user: then nobody has said so.
    """
    try:
        found = marker.lstat()
    except OSError:
        return None
    is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
    return int(found.st_mtime) if is_ours else None


class OtherCrons:
    """The other crons that would run the jobs of this daemon a second time."""

    def __init__(self, layout: Layout | None, log: Callable[[Log], None]) -> None:
        """`layout`: where the system's tables are; None for a daemon that reads none of them."""
        self._layout = layout
        self._log = log
        self._found: list[OtherCron] = []

    def look(self) -> None:
        """Look for other crons; the log names each that was not found the last time."""
        if self._layout is None:
            return
        before = {cron.name for cron in self._found}
        was_imported = paths.IMPORT_RECORD.exists()
        self._found = [
            cron
            for cron in other_crons()
            if runs_the_same_jobs(
                cron.kind, in_place=self._layout.is_foreign, imported=was_imported
            )
        ]
        for cron in self._found:
            if cron.name not in before:
                fields = {"cron": cron.name, "reason": cron.message}
                self._log(Log(Event.OTHER_CRON, fields, bad=True))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """For each of them, a sentence that says what it is and what to do."""
        return tuple(
            Problem(cron.name, 0, 1, Severity.WARNING, "other-cron", cron.message)
            for cron in self._found
        )


def runs_the_same_jobs(kind: Kind, *, in_place: bool, imported: bool) -> bool:
    """Whether a cron of this kind would run jobs that this daemon runs.

    `in_place`: the daemon reads the tables of another cron where they are. `imported`: tables were
    copied by `pycron import --apply`, which also copies the jobs of anacron.
    """
    match kind:
        case Kind.CRON:
            return in_place or imported
        case Kind.ANACRON:
            return imported
        case Kind.OWN_TABLES:
            return False
