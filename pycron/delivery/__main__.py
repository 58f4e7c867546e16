"""`python -m pycron.delivery [RECEIPT]` reads a request and an output, and sends one message.

It reads both from stdin. RECEIPT is the path of its receipt (receipt.py).

The exit status is one of sysexits.h. The daemon tries again unless it is 64, 65 or 67.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import BinaryIO

from pycron.delivery.check import BadRequest, checked
from pycron.delivery.request import Request
from pycron.system.receipt import Receipt


def main(stdin: BinaryIO, arguments: Sequence[str] = ()) -> int:
    """Send what stdin asks for, unless an earlier Attempt has sent it: the exit status."""
    try:
        request = checked(stdin.readline())
    except BadRequest as error:
        sys.stderr.write(f"bad request: {error}\n")
        return os.EX_USAGE
    receipt = _receipt(arguments)
    if receipt is not None and receipt.is_sent:
        sys.stdout.write("an earlier attempt has sent it\n")
        return os.EX_OK
    status = _send(request, stdin)
    if receipt is not None and status == os.EX_OK:
        receipt.write()
    return status


def _receipt(arguments: Sequence[str]) -> Receipt | None:
    """The receipt; without one, a mail may be sent twice, which is better than not at all."""
    try:
        return Receipt(arguments[0]) if arguments else None
    except OSError as error:
        sys.stderr.write(f"no receipt: {error}\n")
        return None


def _send(request: Request, stdin: BinaryIO) -> int:
    # Each kind needs much that the others do not: only the one that is used is imported.
    sender = importlib.import_module(f"pycron.delivery.{request['kind']}")
    status: int = sender.send(request, stdin.read())
    return status


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer, sys.argv[1:]))
