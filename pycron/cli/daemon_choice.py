"""Which daemon a program speaks to, and what it says if that daemon does not answer."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from pycron.cli.errors import WrongUse
from pycron.control.client import ControlClient
from pycron.system import paths
from pycron.system.paths import Paths, paths_in, system_paths, user_paths


@dataclass(frozen=True, slots=True)
class Choice:
    """A daemon: its directories, its configuration (None: not known), and how it is started."""

    paths: Paths
    config: Path | None
    start: str


def add_daemon_options(parser: argparse.ArgumentParser, **default: object) -> None:
    """`default`: what an option is that is not given, instead of false or none."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--system", action="store_true", help="the system's daemon",
                       **default)  # type: ignore[arg-type]  # fmt: skip
    which.add_argument("--user", action="store_true", dest="own", help="your own daemon",
                       **default)  # type: ignore[arg-type]  # fmt: skip
    which.add_argument("--state-dir", metavar="D", type=Path,
                       help="the daemon of this state directory",
                       **default)  # type: ignore[arg-type]  # fmt: skip


def client_for(options: argparse.Namespace, patience: float = 30.0) -> ControlClient:
    """A connection to the daemon that the options select. Raises NoDaemon.

    `patience`: seconds for each answer.
    """
    chosen = choice_for(options)
    return ControlClient(chosen.paths.socket, patience, f"start it: {chosen.start}")


def choice_for(options: argparse.Namespace) -> Choice:
    """The daemon that the options select.

    Without an option: that of PYCRON_STATE_DIR, else the system's daemon if its socket exists, else
    the user's own daemon if its socket exists. If no socket exists, it is the system's daemon for
    root and on a machine on which that has been in use, and the user's own daemon elsewhere. Raises
    WrongUse if the options name several daemons, one before and one behind the verb.
    """
    if sum(map(bool, (options.system, options.own, options.state_dir))) > 1:
        raise WrongUse("--system, --user or --state-dir: one of them")
    if options.state_dir:
        return _choice_in(options.state_dir)
    system = Choice(system_paths(), paths.SYSTEM_CONFIG, "systemctl start pycron")
    if options.system:
        return system
    own = Choice(user_paths(), paths.user_config(), "pycrond")
    if options.own:
        return own
    if directory := os.environ.get(paths.STATE_DIR_VARIABLE):
        named = Path(directory)
        return next((each for each in (own, system) if each.paths.run == named), _choice_in(named))
    if _exists(system.paths.socket):
        return system
    if _exists(own.paths.socket):
        return own
    return system if os.geteuid() == 0 or _is_installed(system.paths) else own


def _choice_in(directory: Path) -> Choice:
    where = directory.absolute()
    return Choice(paths_in(where), None, f"pycrond --state-dir {where}")


def _is_installed(system: Paths) -> bool:
    """Whether the system's daemon has been in use: its unit or the daemon made a directory."""
    return _exists(system.run) or _exists(system.state)


def _exists(path: Path) -> bool:
    """False also if this user may not look, as in root's home after su(1)."""
    return os.path.exists(path)
