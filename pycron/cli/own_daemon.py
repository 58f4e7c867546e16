"""A daemon of one's own for a moment: `pycron test` needs one where no daemon answers."""

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pycron.cli.daemon_choice import choice_for
from pycron.cli.errors import Failed
from pycron.control.client import ControlClient
from pycron.model.text import visible
from pycron.system import paths
from pycron.system.host import DESKTOP_VARIABLES

_PR_SET_PDEATHSIG = 1
_PATIENCE = 20.0  # seconds for its end
_ARGUMENTS = [
    "--foreground", "--allow-empty", "--clean-env", "--log-format", "json", "--log-level", "notice",
    "--table", "-",
]  # fmt: skip


@contextmanager
def own_daemon(options: argparse.Namespace) -> Iterator[ControlClient]:
    """A daemon without tables, and a connection to it. It keeps its state in memory.

    It has the configuration of the daemon that the options select, if this user may read that, and
    it gives commands the environment that a daemon started by the system gives them. Raises Failed.
    """
    daemon = subprocess.Popen(
        [sys.executable, "-P", "-m", "pycron.cli.pycrond", *_ARGUMENTS, *_more_arguments(options)],
        stdin=subprocess.DEVNULL,  # an empty table
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": _python_path()},
        start_new_session=True,  # Ctrl-C is for the command; the daemon is ended after it
        preexec_fn=_end_with_parent,  # noqa: PLW1509  there are no threads
    )
    try:
        yield ControlClient(paths.paths_in(_state(daemon)).socket)
    finally:
        _end(daemon)


def _end_with_parent() -> None:
    """The daemon gets SIGTERM if this program is killed: prctl(2)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _more_arguments(options: argparse.Namespace) -> list[str]:
    arguments = []
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


def _state(daemon: "subprocess.Popen[bytes]") -> Path:
    """Its state directory, which the first event of its log names. Raises Failed."""
    assert daemon.stderr is not None
    first = daemon.stderr.readline()
    try:
        return Path(json.loads(first)["state"])
    except (ValueError, KeyError):
        said = (first + daemon.stderr.read()).decode("utf-8", "backslashreplace").strip()
        raise Failed(f"no daemon answers, and none could be started: {visible(said)}") from None


def _end(daemon: "subprocess.Popen[bytes]") -> None:
    """End it; with a second signal its commands, too."""
    for _ in range(2):
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.communicate(timeout=_PATIENCE / 2)
            return
        except subprocess.TimeoutExpired:
            continue
    daemon.kill()
    daemon.communicate()
