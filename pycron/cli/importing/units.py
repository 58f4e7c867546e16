"""Stops other crons, and starts them again, with systemctl(1); keeps them from running at once."""

import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from pycron.cli.errors import Failed
from pycron.cli.importing.plan import NewFile
from pycron.cli.importing.record import Made, Stopped
from pycron.system import paths
from pycron.system.other_crons import Kind, OtherCron, conflicting_units, other_crons

_LONGEST = 100  # seconds; systemd waits 90 for a unit to stop
_UNTIL_GONE = 3  # seconds; systemctl has waited already
_EARLY, _LATE = 2, 50  # seconds of a minute
_SYSTEMD = Path("/run/systemd/system")  # exists if systemd has booted the machine

CONFLICTS = f"""\
# Starting pycron stops these, and starting one of them, also by hand, stops pycron: they would run
# the same jobs. The Debian package has this file; `pycron import --apply --stop-other` makes it,
# as pycron then has the tables of the other cron. Anacron is not here: it starts briefly each day.
[Unit]
Conflicts={" ".join(conflicting_units())}
"""


def conflicting(anacron_too: bool) -> list[OtherCron]:
    """The other crons that would run what is imported. `anacron_too`: also anacron's jobs."""
    kinds = {Kind.CRON, Kind.ANACRON} if anacron_too else {Kind.CRON}
    return [cron for cron in other_crons() if cron.kind in kinds]


def states_of(crons: Iterable[OtherCron]) -> tuple[Stopped, ...]:
    """The units to stop, as they are now. Raises Failed if systemd cannot stop one."""
    crons = list(crons)
    without = [cron.message for cron in crons if not cron.units]
    if without or (crons and not _SYSTEMD.is_dir()):
        messages = "\n  ".join(without or [cron.message for cron in crons])
        raise Failed(f"stop it yourself, systemd does not know it:\n  {messages}")
    units = [unit for cron in crons for unit in cron.units]
    return tuple(Stopped(unit, _says("is-active", unit), _says("is-enabled", unit))
                 for unit in units)  # fmt: skip


def stop(stopped: Iterable[Stopped], anacron_too: bool) -> None:
    """Stop and disable units, and wait until they are gone. Raises Failed.

    Not at the turn of a minute: what is due then would be started by neither cron.
    """
    while not _EARLY < time.time() % 60 < _LATE:
        time.sleep(0.2)
    for each in stopped:
        _systemctl("disable", "--now", each.unit)
        _systemctl("stop", each.unit)  # one that is not enabled
    deadline = time.monotonic() + _UNTIL_GONE
    while left := [cron for cron in conflicting(anacron_too) if cron.active]:
        if time.monotonic() > deadline:
            raise Failed(f"it does not stop: {left[0].message}")
        time.sleep(0.1)


def conflicts() -> list[NewFile]:
    """The drop-in of pycron's unit that names the other crons; none without systemd."""
    if not _SYSTEMD.is_dir():
        return []
    return [NewFile(paths.CONFLICTS, CONFLICTS, 0o644, "the text of this version of pycron")]


def read_again(made: Iterable[Made]) -> None:
    """Tell systemd of the drop-in, if it is one of these files that were made or removed.

    Raises Failed.
    """
    if not any(each.path == str(paths.CONFLICTS) for each in made):
        return
    with suppress(OSError):  # it does not exist, or has other files
        paths.CONFLICTS.parent.rmdir()
    _systemctl("daemon-reload")


def start_again(stopped: Iterable[Stopped]) -> None:
    """Enable and start what was enabled and active. Raises Failed."""
    for each in stopped:
        if each.enabled:
            _systemctl("enable", each.unit)
        if each.active:
            _systemctl("start", each.unit)


def _says(question: str, unit: str) -> bool:
    """Whether systemctl answers is-active or is-enabled with yes."""
    return _run([question, "--quiet", unit]).returncode == 0


def _systemctl(*arguments: str) -> None:
    done = _run(arguments)
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise Failed(f"systemctl {' '.join(arguments)}: {reason}")


def _run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = ["systemctl", *arguments]
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=_LONGEST, check=False)  # fmt: skip
    except FileNotFoundError:
        raise Failed("there is no systemctl: stop the other cron yourself") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command)}: no end after {_LONGEST} s") from None
