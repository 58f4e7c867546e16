"""`python -m pycron.sender [RECEIPT]` reads a request from stdin and sends one message.

RECEIPT is the path of its receipt (system/receipt.py). It prints nothing if the broker has accepted
the message, so that nobody gets a mail about it. The exit status is one of sysexits.h.
"""

import importlib
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType, ModuleType
from typing import BinaryIO, NoReturn

from pycron.sender.request import BadRequest, SendRequest, checked
from pycron.sender.words import why
from pycron.system.receipt import Receipt

_AT_MOST = 60  # seconds for all of it, whatever the libraries wait for


class _TooLate(BaseException):
    """The time is over. Libraries catch many an Exception, but not this."""


def main(stdin: BinaryIO, arguments: Sequence[str] = ()) -> int:
    """Send what stdin asks for, unless an earlier Attempt has sent it: the exit status."""
    try:
        request = checked(stdin.readline())
    except BadRequest as error:
        return _said(f"bad request: {error}", os.EX_USAGE)
    try:
        receipt = Receipt(arguments[0]) if arguments else None
    except OSError as error:  # without it, a message may be sent twice: with the same id
        receipt = None
        sys.stderr.write(f"no receipt: {error.strerror}\n")
    if receipt is not None and receipt.is_sent:
        return os.EX_OK
    status = _send(request)
    if receipt is not None and status == os.EX_OK:
        receipt.write()
    return status


def _send(request: SendRequest) -> int:
    logging.disable(logging.CRITICAL)  # what a library logs or warns of could have the URL
    warnings.simplefilter("ignore")
    module = _library(request["kind"])
    if module is None:
        extra = request["kind"]
        return _said(f"{extra} is not installed: pip install 'pycrond[{extra}]'", os.EX_UNAVAILABLE)
    signal.signal(signal.SIGALRM, _end)
    signal.alarm(_AT_MOST)
    try:
        module.send(request)
    except _TooLate:
        return _said(why(request, TimeoutError(f"no answer in {_AT_MOST} s")), os.EX_TEMPFAIL)
    except Exception as error:  # noqa: BLE001  each transport has exceptions of its own
        return _said(why(request, error), os.EX_TEMPFAIL)
    finally:
        signal.alarm(0)
    return os.EX_OK


def _library(kind: str) -> ModuleType | None:
    """What sends this kind of message; None if its library is not installed."""
    try:
        return importlib.import_module(f"pycron.sender.to_{kind}")
    except ImportError:
        return None


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise _TooLate


def _said(text: str, status: int) -> int:
    sys.stderr.write(f"{text}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer, sys.argv[1:]))
