"""`search`: lines of recorded output that contain a text, newest Run first."""

from collections.abc import Iterator

from pycron.control.access import Refusal
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.lookup import visible_run
from pycron.control.runs import OUTPUT_CHUNK, known_ids, part_of_output, visible_user
from pycron.control.server import Peer
from pycron.model.history import RunFilter, RunRecord
from pycron.model.instants import rfc3339
from pycron.model.run import AttemptKey
from pycron.model.steps import Steps
from pycron.protocol.output_answers import FoundLine, SearchAnswer
from pycron.protocol.output_messages import SearchRequest

_PAGE = 50  # Runs that are read at a time
_MOST_LINES = 1000  # of one answer
_MOST_BYTES = 16 * 2**20  # that are searched for one answer: the client waits half a minute at most
_LONGEST_LINE = 65_536  # bytes that are searched as one line
_LONGEST_SHOWN = 1000  # characters


@handles(SearchRequest)
def search(context: Context, peer: Peer, request: SearchRequest) -> Steps[SearchAnswer]:
    """One step reads a part of one output; the answer may have fewer lines than were asked for."""
    text = request.text.encode()
    if not text or b"\n" in text:
        raise Refusal("search for what? (a text in one line)")
    runs, more = _runs(context, peer, request)
    most = min(max(1, request.limit), _MOST_LINES)
    rows: list[FoundLine] = []
    left, last = _MOST_BYTES, request.before
    for run in runs:
        if left <= 0 or len(rows) >= most:
            more = True
            break
        last = run.number
        for attempt in run.attempts:
            if attempt.outcome is not None and not attempt.output_kept:
                continue
            found = Found(text)
            read = yield from _search(context, AttemptKey(run.key, attempt.number), found)
            left -= read
            rows += [
                _row(run, attempt.number, line) for line in found.lines[: most + 1 - len(rows)]
            ]
        yield
    return {"rows": rows[:most], "before": last if more else None, "cut": len(rows) > most}


def _runs(context: Context, peer: Peer, request: SearchRequest) -> tuple[list[RunRecord], bool]:
    """The Runs that are searched now, newest first, and whether older ones may follow.

    Raises Refusal.
    """
    if request.run_id is not None:
        return [visible_run(context, peer, request.run_id)], False
    job_ids = known_ids(context, peer, request.job) if request.job is not None else ()
    wanted = RunFilter(
        limit=_PAGE,
        job=request.job,
        user=visible_user(context, peer, None),
        since=request.since,
        until=request.until,
        before=request.before,
        delivery=None if request.job is not None else False,
        job_ids=job_ids,
    )
    runs = context.history.runs(wanted)
    return runs, len(runs) == _PAGE


class Found:
    """Collects the lines of a text that comes in parts; takes linear time in that text.

    A line that is longer than 64 KiB is searched in pieces, each of which counts as a line.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._rest = b""
        self.lines: list[bytes] = []

    def add(self, part: bytes) -> None:
        whole, newline, rest = (self._rest + part).rpartition(b"\n")
        if newline:
            self.lines += self._matching(whole)
        if len(rest) > _LONGEST_LINE:
            self.lines += self._matching(rest)
            # What is found across the border of two pieces must not be found twice.
            rest = b"" if self._text in rest else rest[len(rest) - len(self._text) + 1 :]
        self._rest = rest

    def end(self) -> None:
        self.lines += self._matching(self._rest)
        self._rest = b""

    def _matching(self, lines: bytes) -> Iterator[bytes]:
        if self._text in lines:
            yield from (line for line in lines.split(b"\n") if self._text in line)


def _search(context: Context, attempt: AttemptKey, found: Found) -> Steps[int]:
    """Search the output of an Attempt; how many bytes it has."""
    offset = 0
    while part := part_of_output(context, attempt, offset):
        found.add(part)
        offset += len(part)
        if len(found.lines) > _MOST_LINES:
            break
        if len(part) < OUTPUT_CHUNK:
            break
        yield
    found.end()
    return offset


def _row(run: RunRecord, attempt: int, line: bytes) -> FoundLine:
    return {
        "run_id": run.run_id,
        "job": run.job,
        "fire_time": rfc3339(run.key.fire_time),
        "attempt": attempt,
        "line": line.decode("utf-8", "backslashreplace")[:_LONGEST_SHOWN],
    }
