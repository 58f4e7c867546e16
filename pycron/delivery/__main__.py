"""`python -m pycron.delivery` reads a request and an output from stdin, and sends one message.

The exit status is one of sysexits.h. The daemon tries again unless it is 64, 65 or 67.
"""

import importlib
import os
import sys
from typing import BinaryIO

from pycron.delivery.check import BadRequest, checked


def main(stdin: BinaryIO) -> int:
    """Send what stdin asks for: the exit status."""
    try:
        request = checked(stdin.readline())
    except BadRequest as error:
        sys.stderr.write(f"bad request: {error}\n")
        return os.EX_USAGE
    # Each kind needs much that the others do not: only the one that is used is imported.
    sender = importlib.import_module(f"pycron.delivery.{request['kind']}")
    status: int = sender.send(request, stdin.read())
    return status


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer))
