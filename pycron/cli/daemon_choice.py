"""Which daemon a program speaks to."""

import argparse
from pathlib import Path

from pycron.control.client import ControlClient
from pycron.system.paths import Paths, paths_in, system_paths, user_paths


def add_daemon_options(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--system", action="store_true", help="speak to the system's daemon")
    which.add_argument("--user", action="store_true", dest="own", help="speak to your own daemon")
    which.add_argument("--state-dir", metavar="D", type=Path,
                       help="speak to the daemon of this state directory")  # fmt: skip


def client_for(options: argparse.Namespace) -> ControlClient:
    """A connection to the daemon that the options select. Raises ControlError."""
    return ControlClient(_paths_for(options).socket)


def _paths_for(options: argparse.Namespace) -> Paths:
    """Without an option: the system's daemon if its socket exists, else the user's own daemon."""
    if options.state_dir:
        return paths_in(options.state_dir.absolute())
    if options.own:
        return user_paths()
    system = system_paths()
    if options.system or system.socket.exists():
        return system
    return user_paths()
