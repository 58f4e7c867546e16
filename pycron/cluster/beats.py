"""Which hosts do not renew any more: the beats that this agent has seen, and for how long.

No clocks of two machines are compared. Each renewal of a host writes a beat that was never used
before. An agent that sees the same beat again and again, in looks of its own, adds up the time
between these looks: from one answer to the next request, and at most one renewal's interval. So an
outage of the database, in which no host could renew, counts as one interval only.

Pure: it uses no clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pycron.cluster.calls import HostBeat
from pycron.cluster.timings import Timings


@dataclass(slots=True)
class _Seen:
    row: HostBeat
    unchanged: float  # seconds


class Beats:
    """What the successful looks of one agent have shown. All instants are of its own BOOTTIME."""

    def __init__(self, timings: Timings) -> None:
        self._timings = timings
        self._seen: dict[str, _Seen] = {}
        self._answered: float | None = None

    def look(self, hosts: Iterable[HostBeat], asked: float, answered: float) -> None:
        """Take in all rows of hosts, as one look has shown them."""
        passed = 0.0
        if self._answered is not None:
            passed = min(max(asked - self._answered, 0.0), self._timings.renew)
        self._answered = answered
        self._seen = {row.host: _Seen(row, self._unchanged(row, passed)) for row in hosts}

    def silent(self, own: str | None) -> list[HostBeat]:
        """The hosts to fence. `own`: the incarnation of this host."""
        return [
            seen.row
            for seen in self._seen.values()
            if seen.row.incarnation not in (None, own) and seen.unchanged >= self._timings.fence
        ]

    def live(self) -> list[str]:
        """The names of all hosts that are not free."""
        return sorted(name for name, seen in self._seen.items() if seen.row.incarnation)

    def ready(self) -> list[str]:
        """The names of the live hosts that get Runs. One that has missed a look or two is none."""
        patience = 3 * self._timings.renew
        return sorted(
            name
            for name, seen in self._seen.items()
            if seen.row.incarnation and not seen.row.drained and seen.unchanged < patience
        )

    def _unchanged(self, row: HostBeat, passed: float) -> float:
        before = self._seen.get(row.host)
        if before is None:
            return 0.0
        same = (before.row.incarnation, before.row.beat) == (row.incarnation, row.beat)
        return before.unchanged + passed if same else 0.0
