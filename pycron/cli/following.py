"""Follows a Run: prints its output while it runs, and waits for its end."""

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from pycron.cli.run_output import read_output
from pycron.control.client import ControlClient, ControlError, NoDaemon
from pycron.protocol.control_answers import OutputAnswer
from pycron.protocol.control_messages import OutputRequest, Request

A = TypeVar("A")
Write = Callable[[int, bytes], None]  # gets the number of an Attempt, and what it has printed

_POLL = 0.25, 0.02  # seconds between two requests for an output that grows: at most, at first
_RESTART = 60.0  # seconds for another daemon to answer


class PatientClient(ControlClient):
    """A client for questions: it asks again when the daemon was restarted.

    The commands of a daemon go on meanwhile, so whoever follows them should, too.
    """

    @classmethod
    def like(cls, client: ControlClient) -> "PatientClient":
        """A connection to the same daemon. Raises ControlError."""
        return cls(*client.address)

    def request(self, request: Request[A]) -> A:
        try:
            return super().request(request)
        except ControlError as error:
            if error.answer:
                raise  # the daemon has refused it
        self._connect_again()
        return super().request(request)

    def _connect_again(self) -> None:
        """Raises NoDaemon if none answers within a minute."""
        self.close()
        until, told = time.monotonic() + _RESTART, False
        while True:
            try:
                self._connect()
                return
            except NoDaemon as error:
                if time.monotonic() > until:
                    raise
                if not told:
                    say(f"{error}; waiting for it")
                told = True
            time.sleep(_POLL[0])


def follow_run(client: ControlClient, run_id: str, write: Write) -> OutputAnswer:
    """Print the outputs of all Attempts until the Run has ended; the daemon's last answer."""
    answer = print_attempt(client, OutputRequest(run_id, follow=True), write)
    return follow_on(client, run_id, answer, write)


def follow_on(
    client: ControlClient, run_id: str, answer: OutputAnswer, write: Write
) -> OutputAnswer:
    """The same for the Attempts after the one that this answer is about."""
    while not answer["over"]:
        number = answer["attempt"]
        say(f"attempt {number}: {answer['outcome']}")
        wanted = OutputRequest(run_id, number + 1, follow=True)
        answer = print_attempt(client, wanted, write)
    return answer


def print_attempt(client: ControlClient, wanted: OutputRequest, write: Write) -> OutputAnswer:
    """Print the output of an Attempt from its beginning; the daemon's last answer.

    With `wanted.follow`: wait for the start of the Attempt and for its end.
    """
    offset, number, told, pause = 0, wanted.attempt, None, _POLL[1]
    while True:
        asked = OutputRequest(wanted.run_id, number, offset, wanted.follow)
        for answer, data in read_output(client, asked):
            number = answer["attempt"]  # a later request must not mean a newer Attempt
            offset += len(data)
            if data:
                write(number, data)
        if answer["ended"] or not wanted.follow:
            break
        if answer["why"] not in (None, told):
            told = answer["why"]
            say(f"it waits: {told}")
        time.sleep(pause)
        pause = min(2 * pause, _POLL[0])
    printed = answer["output_bytes"]
    if printed is not None and printed > offset:
        say(f"{printed - offset} more bytes were not kept")
    return answer


def say(text: str) -> None:
    """A message about what is followed."""
    print(f"pycron: {text}", file=sys.stderr)
