"""The end of a program whose output cannot be written, as in `pycron runs --json | head`."""

import errno
import functools
import os
import sys
from collections.abc import Callable

from pycron.cli.terminal import guard_terminal

Main = Callable[[list[str] | None], int]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def ends_quietly(main: Main) -> Callable[..., int]:
    """Let `main` end without a message if its output is a closed pipe, and guard the terminal.

    The status is that of `main`, or 0 if the pipe was closed before `main` had an end. The output
    is flushed here: Python complains about what it cannot write when it exits. A full disk is an
    error with a message.
    """

    @functools.wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        status = 0
        _open_missing()
        guard_terminal()
        try:
            try:
                status = main(arguments)
            finally:  # argparse ends with SystemExit, after --help
                sys.stdout.flush()
        except BrokenPipeError:
            _drop_output()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            _drop_output()
            program = os.path.basename(sys.argv[0]).removesuffix(".py")
            print(f"{program}: standard output: {error.strerror}", file=sys.stderr)
            return 1
        return status

    return run


def _open_missing() -> None:
    """Send the output nowhere if the program was started without one."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  until the program ends


def _drop_output() -> None:
    """Let what is still in the buffer go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
