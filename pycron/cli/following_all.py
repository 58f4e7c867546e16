"""Follows all Runs: prints what their commands print, each line with the name of its Job."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pycron.cli.following import say
from pycron.cli.run_output import read_output
from pycron.control.client import ControlClient
from pycron.model.run import OUTCOME_IN_WORDS, Outcome
from pycron.protocol.control_messages import OutputRequest
from pycron.protocol.output_answers import FollowedRow
from pycron.protocol.output_messages import FollowRequest

# Gets an Attempt, and whole lines that it has printed.
WriteLines = Callable[[FollowedRow, bytes], None]

_POLL = 0.25  # seconds between two looks
_SHARE = 4  # a look waits at least so many times as long as the last one took
_LONGEST_LINE = 65_536  # bytes; longer lines are shown in pieces


@dataclass(slots=True)
class _Shown:
    """How much of an Attempt is shown. `rest`: of a line that is not complete."""

    offset: int = 0
    rest: bytearray = field(default_factory=bytearray)


class AllRuns:
    """The Attempts that run, and how far their output is shown."""

    def __init__(self, client: ControlClient, write: WriteLines) -> None:
        self._client = client
        self._write = write
        self._shown: dict[tuple[str, int], _Shown] = {}
        answer = client.request(FollowRequest())
        self._after = answer["last"]
        for row in answer["running"]:  # what was printed before is not shown
            self._shown[_key(row)] = _Shown(row["output_bytes"])

    def follow(self) -> None:
        """Show what is printed from now on; this ends with an exception, or never."""
        while True:
            began = time.monotonic()
            self.look()
            time.sleep(max(_POLL, _SHARE * (time.monotonic() - began)))

    def look(self) -> None:
        """Show what was printed since the last look. Raises ControlError."""
        answer = self._client.request(FollowRequest(self._after))
        self._after = answer["last"]
        for row in answer["ended"]:
            self._show(row)
            self._end(row)
        for row in answer["running"]:
            self._show(row)
        if answer["forgotten"]:
            say(f"{answer['forgotten']} commands have ended meanwhile: pycron runs, pycron log")

    def _show(self, row: FollowedRow) -> None:
        shown = self._shown.setdefault(_key(row), _Shown())
        if row["output_bytes"] <= shown.offset:
            return
        wanted = OutputRequest(row["run_id"], row["attempt"], shown.offset, follow=True)
        for _, data in read_output(self._client, wanted):
            shown.offset += len(data)
            lines, newline, rest = (bytes(shown.rest) + data).rpartition(b"\n")
            if len(rest) > _LONGEST_LINE:
                lines, rest = lines + newline + rest, b""
            if lines or newline:
                self._write(row, lines)
            shown.rest = bytearray(rest)

    def _end(self, row: FollowedRow) -> None:
        shown = self._shown.pop(_key(row))
        if shown.rest:
            self._write(row, bytes(shown.rest))
        if row["outcome"] not in (None, Outcome.SUCCEEDED):
            again = f" in attempt {row['attempt']}" if row["attempt"] > 1 else ""
            say(f"{row['job']} {OUTCOME_IN_WORDS[Outcome(str(row['outcome']))]}{again}")


def _key(row: FollowedRow) -> tuple[str, int]:
    return row["run_id"], row["attempt"]
