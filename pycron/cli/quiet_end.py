"""The end of a program whose reader has gone, as in `pycron runs --json | head`."""

import functools
import os
import sys
from collections.abc import Callable

Main = Callable[[list[str] | None], int]


def ends_quietly(main: Main) -> Main:
    """Let `main` end without a message if nobody reads its output any more.

    Output is written here at the latest: what Python itself writes at its exit, it complains about.
    """

    @functools.wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        status = 0
        try:
            try:
                status = main(arguments)
            finally:  # argparse ends by SystemExit, after --help
                _flush()
        except BrokenPipeError:
            _drop_output()
        return status

    return run


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it was closed before the program began
            stream.flush()


def _drop_output() -> None:
    """Let what is still in the buffers go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
