"""The output of an Attempt, read from the daemon in parts."""

from binascii import a2b_base64
from collections.abc import Iterator
from dataclasses import replace

from pycron.control.client import ControlClient
from pycron.protocol.control_answers import OutputAnswer
from pycron.protocol.control_messages import OutputRequest


def read_output(
    client: ControlClient, wanted: OutputRequest
) -> Iterator[tuple[OutputAnswer, bytes]]:
    """The output that exists now, from the requested offset on, each part with its answer.

    There is at least one part; it may be empty.
    """
    more = True
    while more:
        answer = client.request(wanted)
        data = a2b_base64(answer["data"])
        yield answer, data
        wanted = replace(wanted, attempt=answer["attempt"], offset=wanted.offset + len(data))
        more = answer["more"]
