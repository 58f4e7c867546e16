"""The output of an Attempt, read from the daemon in parts."""

from binascii import a2b_base64
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pycron.control.client import ControlClient
from pycron.protocol.control_answers import OutputAnswer
from pycron.protocol.control_messages import OutputRequest

_TAIL = 65_536  # bytes


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of the output of an Attempt. `whole`: there is nothing before these lines."""

    attempt: int
    lines: list[str]
    whole: bool


def read_tail(client: ControlClient, run_id: str) -> Tail:
    """The last lines that the last Attempt of a Run has printed."""
    answers, parts = zip(*read_output(client, OutputRequest(run_id, tail=_TAIL)), strict=True)
    data = b"".join(parts)
    lines = data.decode("utf-8", "surrogateescape").splitlines()
    if len(data) < _TAIL:
        return Tail(answers[-1]["attempt"], lines, whole=True)
    return Tail(answers[-1]["attempt"], lines[1:] or lines, whole=False)


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
