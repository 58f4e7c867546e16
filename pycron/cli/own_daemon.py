"""A daemon of one's own for a moment: `pycron test` needs one where no daemon answers."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pycron.cli.daemon_choice import choice_for
from pycron.cli.daemon_directories import temporary_directory
from pycron.cli.errors import Failed
from pycron.control.client import ControlClient, NoDaemon
from pycron.system import paths
from pycron.system.host import DESKTOP_VARIABLES

_POLL = 0.02  # seconds
_PATIENCE = 20.0  # seconds for its start, and for its end


@contextmanager
def own_daemon(options: argparse.Namespace) -> Iterator[ControlClient]:
    """A daemon without tables, in a temporary directory, and a connection to it.

    It has the configuration of the daemon that the options select, if this user may read that, and
    it gives commands the environment that a daemon started by the system gives them. Raises Failed.
    """
    with temporary_directory() as state:
        daemon = subprocess.Popen(
            [sys.executable, "-P", "-m", "pycron.cli.pycrond", *_arguments(options, state)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": _python_path()},
            start_new_session=True,  # Ctrl-C is for the command, and ends the daemon after it
        )
        try:
            yield _connected(paths.paths_in(state).socket, daemon)
        finally:
            _end(daemon)


def _arguments(options: argparse.Namespace, state: Path) -> list[str]:
    table = state / "no-table"
    table.touch()
    arguments = [
        "--foreground", "--allow-empty", "--clean-env", "--log-level", "error",
        "--log-format", "console", "--state-dir", str(state), "--table", str(table),
    ]  # fmt: skip
    if os.geteuid() != 0:
        arguments += ["--pass-env", ",".join(DESKTOP_VARIABLES)]
    config = choice_for(options).config
    if config is not None and os.access(config, os.R_OK):
        arguments += ["--config", str(config)]
    return arguments


def _python_path() -> str:
    """Where the daemon finds this package, whatever directory this program was started in."""
    root = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))


def _connected(socket: Path, daemon: "subprocess.Popen[bytes]") -> ControlClient:
    until = time.monotonic() + _PATIENCE
    while daemon.poll() is None and time.monotonic() < until:
        try:
            return ControlClient(socket)
        except NoDaemon:
            time.sleep(_POLL)
    raise Failed("no daemon answers, and none could be started for the test")


def _end(daemon: "subprocess.Popen[bytes]") -> None:
    """End it, and its commands with a second signal."""
    for _ in range(2):
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(_PATIENCE / 2)
            return
        except subprocess.TimeoutExpired:
            continue
    daemon.kill()
    daemon.wait()
