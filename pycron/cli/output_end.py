"""What a program does when nobody reads its output any more, as in `pycron runs | head`."""

import functools
import os
import sys
from collections.abc import Callable

Main = Callable[[list[str] | None], int]


def ends_quietly(main: Main) -> Callable[..., int]:
    """Let `main` end without a message, with its own status, if its output is a closed pipe.

    The output is flushed here: Python complains about what it cannot write when it exits. An output
    that cannot be written for another reason, such as a full disk, is an error.
    """

    @functools.wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        status = 0
        try:
            try:
                status = main(arguments)
            finally:  # argparse ends with SystemExit, after --help
                _flush(main.__module__)
        except BrokenPipeError:
            _drop_output()
        return status

    return run


def _flush(module: str) -> None:
    if sys.stdout is None:  # it was closed before the program began
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_output()
        sys.exit(f"{module.rpartition('.')[2]}: standard output: {error.strerror}")


def _drop_output() -> None:
    """Let what is still in the buffer go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
