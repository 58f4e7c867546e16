"""Hosts of a cluster and shared Runs at the command line: as JSON, in columns, and compared."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pycron.cli.printing import print_table
from pycron.cli.table_layout import Column
from pycron.model.in_words import ago_in_words, duration_in_words
from pycron.model.instants import rfc3339
from pycron.wording.cells import Cell, Tone, Value, outcome_tone
from pycron.wording.clock import Clock

if TYPE_CHECKING:
    from pycron.cluster.operations import HostRow, SharedRow

_MOST_AHEAD = 1.0  # seconds by which the clocks of two hosts may differ

_HOST_COLUMNS = (
    Column("host"),
    Column("state"),
    Column("renewed"),
    Column("runs", right=True),
    Column("clock", right=True),
    Column("version", rank=1),
    Column("tzdata", rank=2),
)
_RUN_COLUMNS = (
    Column("when"),
    Column("job", least=10),
    Column("owner", rank=2),
    Column("host"),
    Column("attempt", right=True, rank=1),
    Column("outcome", least=9),
    Column("reason", least=14, rank=1, optional=True),
    Column("run", rank=3),
)


def host_json(host: "HostRow") -> dict[str, object]:
    return {
        "host": host.host,
        "state": _state(host),
        "drained": host.drained,
        "drain_complete": host.complete,
        "renewed": rfc3339(host.renewed),
        "runs": host.held,
        "clock_ahead_seconds": None if host.ahead is None else round(host.ahead, 3),
        "version": host.version,
        "tzdata": host.tzdata,
        "tables": host.tables,
    }


def run_json(row: "SharedRow") -> dict[str, object]:
    return {
        "run_id": row.run_id,
        "job": row.key.name,
        "user": row.key.owner,
        "fire_time": rfc3339(row.key.fire_time),
        "state": row.state,
        "attempt": row.attempt,
        "host": row.host,
        "stop": row.stop,
        "outcome": row.outcome,
        "reason": row.reason,
        "not_before": None if row.not_before is None else rfc3339(row.not_before),
        "expires": None if row.expires is None else rfc3339(row.expires),
        "changed": rfc3339(row.changed),
    }


def _state(host: "HostRow") -> str:
    if host.drained:
        return "drained" if host.complete else "draining"
    return "live" if host.live else "gone"


_TONES = {"live": Tone.GOOD, "gone": Tone.BAD, "draining": Tone.WARN, "drained": Tone.FAINT}


def print_hosts(hosts: "Sequence[HostRow]", empty: str) -> None:
    cells: list[list[Value]] = [
        [
            host.host,
            Cell(_state(host), _TONES[_state(host)]),
            ago_in_words(max(0.0, host.silent)),
            str(host.held),
            _clock(host),
            host.version,
            host.tzdata,
        ]
        for host in hosts
    ]
    print_table(_HOST_COLUMNS, cells, empty)


def _clock(host: "HostRow") -> Value:
    if host.ahead is None:
        return None
    tone = Tone.WARN if abs(host.ahead) > _MOST_AHEAD else Tone.PLAIN
    return Cell(f"{host.ahead:+.1f} s", tone)


def print_shared(rows: "Sequence[SharedRow]", clock: Clock) -> None:
    cells: list[list[Value]] = [
        [
            clock.at(row.key.fire_time),
            row.key.name,
            row.key.owner,
            row.host,
            str(row.attempt),
            _end(row),
            row.reason,
            row.run_id,
        ]
        for row in rows
    ]
    print_table(_RUN_COLUMNS, cells, "no shared runs", clock.title)


def _end(row: "SharedRow") -> Cell:
    if row.state == "held":
        return Cell("being ended" if row.stop else "running", Tone.LIVE)
    if row.state == "waiting":
        return Cell("waiting", Tone.WARN)
    return Cell((row.outcome or "").replace("_", " "), outcome_tone(row.outcome))


def differences(hosts: "Sequence[HostRow]") -> Iterator[str]:
    """Sentences about what differs between live hosts: versions, zone data, tables, clocks."""
    live = [host for host in hosts if host.live]
    yield from _differing("pycron", {host.host: host.version for host in live})
    yield from _differing("tzdata", {host.host: host.tzdata for host in live})
    tables = sorted({name for host in live for name in host.tables})
    for name in tables:
        what = f"the table {name}" if name else "the text of the tables"
        yield from _differing(what, {host.host: host.tables.get(name) for host in live})
    clocks = {host.host: host.ahead for host in live if host.ahead is not None}
    for name, ahead in clocks.items():
        if abs(ahead) > _MOST_AHEAD:
            way = "ahead of" if ahead > 0 else "behind"
            yield f"the clock of {name} is {duration_in_words(abs(ahead))} {way} the database's"


def _differing(what: str, values: dict[str, str | None]) -> Iterator[str]:
    """One sentence, if they differ: `tzdata is not the same: 2026a on web1, web2; none on web3`."""
    by_value: dict[str | None, list[str]] = {}
    for host, value in values.items():
        by_value.setdefault(value, []).append(host)
    if len(by_value) > 1:
        each = (f"{value or 'none'} on {', '.join(hosts)}" for value, hosts in by_value.items())
        yield f"{what} is not the same: {'; '.join(each)}"
