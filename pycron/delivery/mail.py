"""Sends a mail with the transport that the request names."""

import os
import sys

from pycron.delivery import sendmail
from pycron.delivery.addresses import envelope_of
from pycron.delivery.request import MailRequest
from pycron.model.text import printable


def send(request: MailRequest, output: bytes) -> int:
    """Send the mail: the exit status, which is 65 if one of the recipients is no address."""
    envelope = envelope_of(request)
    for text in envelope.refused:
        sys.stderr.write(f"no address, so nothing is sent to it: {printable(text)}\n")
    if not envelope.recipients:
        return os.EX_DATAERR
    transport = request["transport"]
    if transport["kind"] == "sendmail":
        status = sendmail.send(transport, request, envelope, output)
    else:
        from pycron.delivery import smtp  # 5 MB, and most machines have a sendmail program

        status = smtp.send(transport, request, envelope, output)
    return os.EX_DATAERR if not status and envelope.refused else status
