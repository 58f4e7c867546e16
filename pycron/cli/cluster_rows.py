"""Hosts of a cluster and shared Runs at the command line: as JSON, in columns, and compared."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pycron.cli.printing import print_table
from pycron.cli.table_layout import Column
from pycron.model.in_words import ago_in_words, duration_in_words
from pycron.model.instants import rfc3339, with_milliseconds
from pycron.model.queues import is_served
from pycron.wording.cells import Cell, Tone, Value, outcome_tone
from pycron.wording.clock import Clock

if TYPE_CHECKING:
    from pycron.cluster.operations import HostRow, QueueRow, SharedRow

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
_QUEUE_COLUMNS = (
    Column("queue"),
    Column("waiting", right=True),
    Column("for", right=True),
    Column("running", right=True),
    Column("served by", least=8),
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
        "queues": sorted({name for worker in host.workers for name in worker.queues}),
        "slots": sum(worker.slots for worker in host.workers),
        "broker": host.broker,
    }


def run_json(row: "SharedRow") -> dict[str, object]:
    """The keys of `pycron runs`, and more."""
    result, late = row.result, None
    if result.first is not None:
        late = max(0, round(1000 * (result.first - row.key.fire_time)))
    return {
        "run_id": row.run_id,
        "job": row.key.name,
        "table": row.table,
        "line": row.line,
        "user": row.key.owner,
        "fire_time": rfc3339(row.key.fire_time),
        "started": _measured(result.first),
        "ended": _measured(result.ended) if row.state == "ended" else None,
        "attempts": row.attempt,
        "outcome": row.outcome,
        "exit_status": result.exit_status,
        "signal": result.signal,
        "lateness_ms": late,
        "cpu_seconds": result.cpu_seconds,
        "memory_peak_bytes": result.memory_peak_bytes,
        "reason": row.reason,
        "started_by": None,
        "state": row.state,
        "attempt": row.attempt,
        "host": row.host,
        "stop": row.stop,
        "not_before": _instant(row.not_before),
        "expires": _instant(row.expires),
        "changed": rfc3339(row.changed),
        "queue": row.queue,
        "publications": row.publications,
        "refusal": row.refusal,
    }


def _instant(second: float | None) -> str | None:
    return None if second is None else rfc3339(second)


def _measured(second: float | None) -> str | None:
    return None if second is None else with_milliseconds(second)


def queue_json(queue: "QueueRow", hosts: "Sequence[HostRow]") -> dict[str, object]:
    return {
        "queue": queue.queue,
        "waiting": queue.waiting,
        "running": queue.held,
        "oldest_seconds": None if queue.oldest is None else round(queue.oldest, 1),
        "hosts": hosts_serving(queue.queue, hosts),
    }


def queues_of(
    rows: "Sequence[QueueRow]", hosts: "Sequence[HostRow]", empty: "Callable[[str], QueueRow]"
) -> "list[QueueRow]":
    """The queues that have Runs, and those that workers serve. `empty`: makes one without Runs."""
    known = {row.queue for row in rows}
    served = {name for host in hosts for worker in host.workers for name in worker.queues}
    return sorted([*rows, *map(empty, served - known)], key=lambda row: row.queue)


def hosts_serving(queue: str, hosts: "Sequence[HostRow]") -> list[str]:
    """The live hosts whose workers serve a queue."""
    return [
        host.host
        for host in hosts
        if host.live and any(is_served(queue, worker.queues) for worker in host.workers)
    ]


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


def print_queues(rows: "Sequence[QueueRow]", hosts: "Sequence[HostRow]") -> None:
    cells: list[list[Value]] = []
    for row in rows:
        serving = hosts_serving(row.queue, hosts)
        alone = Cell("nobody", Tone.BAD if row.waiting else Tone.WARN)
        oldest = None if row.oldest is None else duration_in_words(max(0.0, row.oldest))
        by = ", ".join(serving) if serving else alone
        cells.append([row.queue, str(row.waiting), oldest, str(row.held), by])
    print_table(_QUEUE_COLUMNS, cells, "")


def print_shared(rows: "Sequence[SharedRow]", clock: Clock) -> None:
    cells: list[list[Value]] = [
        [
            clock.at(row.key.fire_time),
            row.key.name,
            row.key.owner,
            row.host,
            str(row.attempt),
            state_cell(row),
            row.refusal or row.reason,
            row.run_id,
        ]
        for row in rows
    ]
    print_table(_RUN_COLUMNS, cells, "no shared runs", clock.title)


def state_cell(row: "SharedRow") -> Cell:
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
    for host in live:
        if host.broker is not None:
            yield f"{host.host} cannot publish: {host.broker}"
        for worker in host.workers:
            if worker.version != host.version:
                yield f"a worker of {host.host} is pycron {worker.version}, not {host.version}"
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
