"""What the verb `cluster` asks of the database, and what it changes: hosts, queues and Runs."""

import json
from binascii import a2b_base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pycron.cluster.answer_checks import Fields
from pycron.cluster.calls import CallFailed, SharedKey, WorkerFacts
from pycron.cluster.database import Database
from pycron.crontab.identity import shared_run
from pycron.model.run import Outcome, RunKey
from pycron.protocol.cluster_parts import LONGEST_OUTPUT

T = TypeVar("T")

STATES = ("held", "waiting", "ended")


@dataclass(frozen=True, slots=True)
class HostRow:
    """A host. `complete`: drained, and nothing of it runs any more.

    `renewed`: the UTC second of its last renewal, `silent`: the seconds since then, both by the
    database's clock. `ahead`: how far its clock is ahead of the database's, in seconds. `tables`:
    the digest of each table with shared Jobs, by name. `workers`: those of the host. `broker`: why
    it cannot publish.
    """

    host: str
    live: bool
    drained: bool
    complete: bool
    renewed: float
    silent: float
    held: int
    ahead: float | None
    version: str | None
    tzdata: str | None
    tables: dict[str, str]
    workers: tuple[WorkerFacts, ...] = ()
    broker: str | None = None


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue with Runs. `oldest`: for how many seconds the first one has been waiting."""

    queue: str
    waiting: int
    held: int
    oldest: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of the last Attempt that has ended; `first`: when the first one was started.

    `output_begin`: of its output, the first byte that the row has.
    """

    first: float | None = None
    started: float | None = None
    ended: float | None = None
    exit_status: int | None = None
    signal: int | None = None
    cpu_seconds: float | None = None
    memory_peak_bytes: int | None = None
    output_bytes: int | None = None
    output_begin: int | None = None


@dataclass(frozen=True, slots=True)
class SharedRow:
    """A shared Run, as its row says. `host`: the last one that had an Attempt of it.

    `stop`: kill or replace, if its Attempt is told to end. `changed`: the UTC second of the last
    change of the row. `table` and `line`: where the entry stands that was claimed. `queue`: in
    which it waits for a worker; `publications`: how many messages there were about that since its
    last Attempt; `refusal`: why the last worker that heard of it did not take it.
    """

    key: SharedKey
    run_id: str
    state: str
    attempt: int
    host: str | None
    stop: str | None
    outcome: str | None
    reason: str | None
    not_before: float | None
    expires: float | None
    changed: float
    table: str | None = None
    line: int | None = None
    queue: str | None = None
    publications: int = 0
    refusal: str | None = None
    result: Result = Result()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which Runs. `since` inclusive, `until` exclusive; None: all."""

    owner: str | None = None
    name: str | None = None
    outcomes: Sequence[str] | None = None
    since: float | None = None
    until: float | None = None
    limit: int = 20


class Operations:
    """For an operator. Every method raises CallFailed."""

    def __init__(self, address: str, cluster: str, by: str) -> None:
        """`by`: who asks, for the log of a row."""
        self._database = Database(address, cluster)
        self._cluster = cluster
        self._by = by

    def close(self) -> None:
        self._database.close()

    def hosts(self) -> list[HostRow]:
        return self._parsed(self._database.ask("list_hosts", {}), _host_row)

    def queues(self) -> list[QueueRow]:
        return self._parsed(self._database.ask("list_queues", {}), _queue_row)

    def runs(self, wanted: Wanted) -> list[SharedRow]:
        """The newest first."""
        answer = self._database.ask(
            "list_runs",
            {
                "owner": wanted.owner,
                "name": wanted.name,
                "outcomes": None if wanted.outcomes is None else list(wanted.outcomes),
                "since": wanted.since,
                "until": wanted.until,
                "limit": wanted.limit,
            },
        )
        return self._parsed(answer, self._shared_row)

    def find(self, run_id: str) -> SharedRow | None:
        """The Run with this id, as `runs` prints it. Raises ValueError if it is none."""
        fire_time = RunKey.parse(run_id).fire_time
        there = Wanted(since=fire_time, until=fire_time + 1, limit=100_000)
        return next((row for row in self.runs(there) if row.run_id == run_id), None)

    def output(self, row: SharedRow) -> bytes:
        """The end of what its last Attempt has printed that has ended."""
        answer = self._database.ask("output_of", row.key._asdict())
        try:
            text = Fields(answer).maybe_text("output", LONGEST_OUTPUT)
            return a2b_base64(text or "")
        except ValueError as error:
            raise CallFailed(f"the database answered something else: {error}") from None

    def drain(self, host: str, *, drained: bool) -> bool:
        """Whether there is such a host."""
        answer = self._database.ask("drain", {"host": host, "drained": drained})
        return bool(isinstance(answer, dict) and answer.get("known") is True)

    def kill(self, row: SharedRow) -> bool:
        """Whether its Attempt is told to end, or, of a waiting Run, whether it has ended."""
        return self._operate(row, "kill")

    def redrive(self, row: SharedRow) -> bool:
        """Whether the Run waits for its next Attempt now."""
        return self._operate(row, "redrive")

    def _operate(self, row: SharedRow, action: str) -> bool:
        """False if the row has changed since, or its state does not allow it."""
        request = {**row.key._asdict(), "attempt": row.attempt, "action": action, "by": self._by}
        answer = self._database.ask("operate", request)
        return bool(isinstance(answer, dict) and answer.get("done") is True)

    def _shared_row(self, fields: Fields) -> SharedRow:
        key = SharedKey(fields.text("owner"), fields.text("name"), fields.whole("fire_time"))
        state, outcome = fields.text("state"), fields.maybe_text("outcome")
        if state not in STATES or outcome not in (None, *Outcome):
            raise ValueError("bad state or outcome")
        return SharedRow(
            key,
            str(shared_run(self._cluster, key)),
            state,
            fields.whole("attempt"),
            fields.maybe_text("host"),
            fields.maybe_text("stop"),
            outcome,
            fields.maybe_text("reason"),
            fields.maybe_number("not_before"),
            fields.maybe_number("expires"),
            fields.number("changed"),
            **_more_of_run(fields),
        )

    def _parsed(self, answer: Any, parse: Callable[[Fields], T]) -> list[T]:
        try:
            return [parse(each) for each in Fields({"rows": answer}).objects("rows")]
        except ValueError as error:
            raise CallFailed(f"the database answered something else: {error}") from None


def _host_row(fields: Fields) -> HostRow:
    info = fields.object("info")
    return HostRow(
        fields.text("host"),
        fields.flag("live"),
        fields.flag("drained"),
        fields.flag("complete"),
        fields.number("renewed"),
        fields.number("silent"),
        fields.whole("held"),
        info.maybe_number("ahead"),
        info.maybe_text("version"),
        info.maybe_text("tzdata"),
        _tables(info.maybe_text("tables") or ""),
        tuple(map(_worker, info.objects("workers"))) if info.has("workers") else (),
        info.maybe_text("broker"),
    )


def _worker(fields: Fields) -> WorkerFacts:
    return WorkerFacts(fields.texts("queues"), fields.text("version"), fields.whole("slots"))


def _queue_row(fields: Fields) -> QueueRow:
    return QueueRow(
        fields.text("queue"),
        fields.whole("waiting"),
        fields.whole("held"),
        fields.maybe_number("oldest"),
    )


def _more_of_run(fields: Fields) -> dict[str, Any]:
    entry = fields.object("entry") if fields.has("entry") else None
    return {
        "table": entry and entry.text("table"),
        "line": entry and entry.whole("line"),
        "queue": fields.maybe_text("queue"),
        "publications": fields.whole("publications"),
        "refusal": fields.maybe_text("refusal"),
        "result": _result(fields.object("result")) if fields.has("result") else Result(),
    }


def _result(fields: Fields) -> Result:
    started = fields.maybe_number("started")
    return Result(
        first=fields.maybe_number("first") or started,
        started=started,
        ended=fields.maybe_number("ended"),
        exit_status=fields.maybe_whole("exit_status"),
        signal=fields.maybe_whole("signal"),
        cpu_seconds=fields.maybe_number("cpu_seconds"),
        memory_peak_bytes=fields.maybe_whole("memory_peak_bytes"),
        output_bytes=fields.maybe_whole("output_bytes"),
        output_begin=fields.maybe_whole("output_begin"),
    )


def _tables(text: str) -> dict[str, str]:
    """`{"table": "digest"}` as JSON; a text of another form is one digest of all tables."""
    try:
        found = json.loads(text)
    except ValueError:
        return {"": text} if text else {}
    if not isinstance(found, dict):
        return {"": text}
    return {name: str(digest) for name, digest in found.items()}
