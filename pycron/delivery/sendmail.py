"""Hands a mail to a sendmail program."""

import os
import shlex
import subprocess
import sys
import time

from pycron.delivery.addresses import Envelope
from pycron.delivery.message import build
from pycron.delivery.request import MailRequest, Sendmail
from pycron.model.text import printable


def send(transport: Sendmail, request: MailRequest, envelope: Envelope, output: bytes) -> int:
    """Run the program with the mail as its stdin: its exit status, 75 if a signal killed it."""
    argv = transport["argv"]
    testing = request["occasion"] == "test"
    if testing:
        _show(f"$ {printable(shlex.join(argv))}")
    try:
        status = _run(argv, build(request, envelope, output, time.time()))
    except OSError as error:
        sys.stderr.write(f"cannot run {printable(argv[0])}: {error.strerror}\n")
        return os.EX_UNAVAILABLE
    if status < 0:
        sys.stderr.write(f"{printable(argv[0])} was killed by signal {-status}\n")
        return os.EX_TEMPFAIL
    if testing:
        _show(f"exit status {status}")
    return status


def _run(argv: list[str], message: bytes) -> int:
    """The exit status, or the negative number of the signal. Raises OSError.

    stdin is a file in memory, not a pipe: nobody waits for a program that does not read it. What
    the program prints goes where this program prints.
    """
    with open(os.memfd_create("mail"), "w+b", buffering=0) as file:
        written = memoryview(message)
        while written:
            written = written[file.write(written) :]
        file.seek(0)
        return subprocess.run(argv, stdin=file, check=False).returncode


def _show(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()  # before what the program prints
