"""Joins what commands have written with the rows of the database, and names what must not be.

A command writes a line when it begins (B), about every second while it works (W), and at its end
(E). All instants are seconds since boot of the one machine that plays all hosts.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

Attempt = tuple[str, int]  # the run_id and the number
_STARTED = ("succeeded", "failed", "timed_out", "killed")  # outcomes of commands that have begun


class Line(NamedTuple):
    """What a command has written: B, W or E."""

    what: str
    run_id: str
    attempt: int
    host: str
    at: float


class Row(NamedTuple):
    """The end of a Run in the database. `ends`: the outcome of each Attempt that has ended."""

    run_id: str
    state: str
    attempt: int
    outcome: str | None
    ends: Mapping[int, str]


@dataclass
class Verdict:
    """Each list names Runs or Attempts that break a promise."""

    doubled: list[str] = field(default_factory=list)
    overlapping: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not any(vars(self).values())


def parse_witness(text: str) -> list[Line]:
    """The lines of a file; a last line that was cut by a full disk or a kill is left out."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 5 and words[0] in ("B", "W", "E"):
            found.append(Line(words[0], words[1], int(words[2]), words[3], float(words[4])))
    return found


def check(
    lines: Iterable[Line],
    rows: Collection[Row],
    expected: Collection[str],
    unheard: Collection[Attempt] = (),
) -> Verdict:
    """`expected`: the run_ids of all fire times.

    `unheard`: Attempts whose own lines may be missing, as the disk of their host was full.
    """
    verdict = Verdict()
    by_attempt: dict[Attempt, list[Line]] = defaultdict(list)
    for line in lines:
        by_attempt[line.run_id, line.attempt].append(line)
    for (run_id, attempt), written in by_attempt.items():
        _check_attempt(verdict, run_id, attempt, written)
    _check_order(verdict, by_attempt)
    known = {row.run_id: row for row in rows}
    verdict.lost += sorted(set(expected) - set(known))
    for row in rows:
        _check_row(verdict, row, by_attempt, unheard)
    for run_id, attempt in by_attempt:
        if run_id not in known or known[run_id].attempt < attempt:
            verdict.unexplained.append(f"{run_id}.{attempt} ran, and the database knows nothing")
    return verdict


def _check_attempt(verdict: Verdict, run_id: str, attempt: int, written: list[Line]) -> None:
    begun = [line for line in written if line.what == "B"]
    if len(begun) > 1:
        hosts = ", ".join(sorted(line.host for line in begun))
        verdict.doubled.append(f"{run_id}.{attempt} began {len(begun)} times: {hosts}")


def _check_order(verdict: Verdict, by_attempt: Mapping[Attempt, list[Line]]) -> None:
    """No line of an Attempt is later than the begin of a later one of the same Run."""
    by_run: dict[str, list[int]] = defaultdict(list)
    for run_id, attempt in by_attempt:
        by_run[run_id].append(attempt)
    for run_id, attempts in by_run.items():
        attempts.sort()
        for earlier, later in pairwise(attempts):
            last = max(by_attempt[run_id, earlier], key=lambda line: line.at)
            begin = min(line.at for line in by_attempt[run_id, later])
            if last.at > begin and last.what == "E":
                verdict.overlapping.append(f"{run_id}: {later} began before {earlier} ended")
            elif last.at > begin:
                verdict.stale.append(f"{run_id}.{earlier} wrote after {later} had begun")


def _check_row(
    verdict: Verdict,
    row: Row,
    by_attempt: Mapping[Attempt, list[Line]],
    unheard: Collection[Attempt],
) -> None:
    if row.state != "ended":
        verdict.unexplained.append(f"{row.run_id} is still {row.state}")
    for attempt, outcome in row.ends.items():
        if (row.run_id, attempt) in unheard:
            continue
        whats = {line.what for line in by_attempt.get((row.run_id, attempt), ())}
        if outcome == "succeeded" and "E" not in whats:
            verdict.unexplained.append(f"{row.run_id}.{attempt} succeeded, and did not end")
        elif outcome in _STARTED and not whats:
            verdict.unexplained.append(f"{row.run_id}.{attempt} {outcome}, and never began")
