"""The calls of the database, as SQL: the only module that has any, beside the numbered steps.

A call becomes a JSON object, one function of the schema gets it, and its JSON answer becomes an
answer of calls.py. The answer is checked: whoever can write to the database is not trusted.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pycron.cluster import calls
from pycron.cluster.answer_checks import Fields
from pycron.cluster.calls import CallFailed, SharedKey
from pycron.cluster.connection import Connection, SqlError
from pycron.cluster.migrations import LATEST
from pycron.model.run import Redrive
from pycron.protocol.cluster_messages import LONGEST_SPEC

# SQLSTATEs of a database that has no schema of pycron.
_NO_SCHEMA = ("3F000", "42P01", "42883")
_INIT = "run: pycron cluster init"
_PATIENCE = 10.0  # seconds for an answer: twice the lock_timeout of the functions

Json = dict[str, Any]


def connect(address: str, cluster: str) -> "Database":
    """A connection for one thread, made when it is first used."""
    return Database(address, cluster)


class Database:
    """A connection of one cluster, made when it is first used, and again after a failure.

    `patience`: seconds for each answer. For one thread.
    """

    def __init__(self, address: str, cluster: str, patience: float = _PATIENCE) -> None:
        self._address = address
        self._cluster = cluster
        self._patience = patience
        self._connection: Connection | None = None

    def perform(self, call: calls.Call) -> calls.Answer:
        """The answer of the type that belongs to the call. Raises CallFailed."""
        function, request, answer = prepare(call)
        try:
            return answer(Fields(self.ask(function, request)))
        except ValueError as error:
            raise CallFailed(f"the database answered something else: {error}") from None

    def ask(self, function: str, request: Mapping[str, object]) -> Any:
        """What a function of the schema answers. Raises CallFailed."""
        text = json.dumps({"cluster": self._cluster, **request})
        rows = self.query(f"SELECT pycron.{function}($1::jsonb)", text)
        return rows[0][0]

    def query(self, sql: str, *parameters: str) -> list[list[Any]]:
        """The rows, whose columns are JSON. Raises CallFailed."""
        try:
            if self._connection is None:
                self._connection = self._connected()
            return self._connection.execute(sql, parameters, self._patience)
        except SqlError as error:
            self.close()
            raise _with_advice(error) from None
        except CallFailed:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        """A connection to a database whose schema is new enough."""
        connection = Connection(self._address)
        try:
            rows = connection.execute("SELECT max(number) FROM pycron.steps", (), self._patience)
            if type(rows[0][0]) is not int or rows[0][0] < LATEST:
                raise CallFailed(f"the schema of the database is older than pycron; {_INIT}")
        except CallFailed:
            connection.close()
            raise
        return connection


def _with_advice(error: SqlError) -> CallFailed:
    if error.state in _NO_SCHEMA:
        return CallFailed(f"the database has no schema of pycron; {_INIT}")
    return error


# ---- from calls to requests


def _key(key: SharedKey) -> Json:
    return {"owner": key.owner, "name": key.name, "fire_time": key.fire_time}


def _limits(limits: calls.Limits) -> Json:
    return {
        "policy": limits.concurrency.value,
        "max_running": limits.max_running,
        "pool": limits.pool,
        "pool_limit": limits.pool_limit,
    }


def _claim(claim: calls.Claim) -> Json:
    retry, queued = claim.retry, claim.queued
    spec: Json = {name: getattr(retry, name) for name in retry.__slots__}
    if claim.entry is not None:
        spec["entry"] = dict(zip(("table", "line"), claim.entry, strict=True))
    if queued is not None:
        spec |= {
            "limits": _limits(claim.limits),
            "version": queued.version,
            "pycron": queued.pycron,
            "job": queued.spec,
        }
    return {
        **_key(claim.key),
        **_limits(claim.limits),
        "window": claim.window,
        "catch_up": claim.catch_up,
        "after": list(claim.after),
        "newer": claim.newer,
        "spec": spec,
        "queue": queued and queued.queue,
    }


def _gate(gate: calls.Gate) -> Json:
    more = _limits(gate.limits)
    if gate.queue is not None:
        more = {"queue": gate.queue, "version": gate.version}
    return {**_key(gate.key), **more, "attempt": gate.attempt}


def _facts(facts: calls.HostFacts) -> Json:
    info = {
        "version": facts.version,
        "tzdata": facts.tzdata,
        "tables": facts.tables,
        "workers": [dataclasses.asdict(each) for each in facts.workers],
        "broker": facts.broker,
    }
    return {"info": info, "clock": facts.clock}


def _who(call: Any) -> Json:
    return {"host": call.host, "incarnation": call.incarnation}


T = TypeVar("T")

Prepared = tuple[str, Json, Callable[[Fields], calls.Answer]]


def _claims(call: calls.Claims) -> Prepared:
    items = [_claim(each) for each in call.claims]
    answer = _in_order([each.key for each in call.claims], _decided)
    return (
        "claim",
        {**_who(call), "items": items},
        lambda fields: calls.ClaimsDecided(answer(fields), fields.maybe_number("publish_in")),
    )


def _gates(call: calls.Gates) -> Prepared:
    items = list(map(_gate, call.gates))
    answer = _in_order([each.key for each in call.gates], _decided)
    return (
        "start",
        {**_who(call), "items": items},
        lambda fields: calls.ClaimsDecided(answer(fields)),
    )


def _finishes(call: calls.Finishes) -> Prepared:
    items = [
        {
            **_key(each.key),
            "attempt": each.attempt,
            "incarnation": each.incarnation,
            "outcome": each.outcome,
            "reason": each.reason,
            "retry_delay": each.retry_in,
            "result": each.result,
            "output": each.output,
        }
        for each in call.finishes
    ]
    answer = _in_order([each.key for each in call.finishes], _finished)
    return (
        "finish",
        {"items": items},
        lambda fields: calls.AllFinished(answer(fields), fields.maybe_number("publish_in")),
    )


def _refuse(call: calls.Refuse) -> Prepared:
    items = [
        {**_key(each.key), "attempt": each.attempt, "reason": each.reason} for each in call.refusals
    ]
    return "refuse", {"host": call.host, "items": items}, _changed


def _kill(call: calls.Kill) -> Prepared:
    request = {**_key(call.key), "attempt": None, "action": "kill", "by": call.by}
    return "operate", request, lambda fields: calls.Changed(int(fields.flag("done")))


def prepare(call: calls.Call) -> Prepared:
    """The function of the schema, its argument without the cluster, and what reads its answer."""
    return _CALLS[type(call)](call)


_CALLS: dict[type[Any], Callable[[Any], Prepared]] = {
    calls.Register: lambda call: ("register", {**_who(call), **_facts(call.facts)}, _registered),
    calls.Renew: lambda call: (
        "renew", {**_who(call), **_facts(call.facts), "ahead": call.ahead}, _renewed,
    ),
    calls.Fence: lambda call: ("fence", {**_who(call), "beat": call.beat}, _changed),
    calls.Goodbye: lambda call: ("goodbye", _who(call), _changed),
    calls.Claims: _claims,
    calls.Gates: _gates,
    calls.Finishes: _finishes,
    calls.Reap: lambda call: ("reap", {"most": call.most}, _changed),
    calls.Expire: lambda call: (
        "expire", {"most": call.most, "problem": call.problem}, _changed,
    ),
    calls.Prune: lambda call: ("prune", {"most": call.most}, _changed),
    calls.Publish: lambda call: ("publish", {"most": call.most}, _published),
    calls.Refuse: _refuse,
    calls.Kill: _kill,
}  # fmt: skip

# ---- from JSON to answers


def _in_order(
    keys: list[SharedKey], parse: Callable[[Fields], T]
) -> Callable[[Fields], tuple[T, ...]]:
    """A function that reads one answer for each key: the database sorts them in its own way."""

    def read(fields: Fields) -> tuple[T, ...]:
        by_key: dict[SharedKey, list[Fields]] = {}
        for each in fields.objects("answers"):
            by_key.setdefault(_shared_key(each), []).append(each)
        if sorted(key for key, found in by_key.items() for _ in found) != sorted(keys):
            raise ValueError("not one answer for each row")
        return tuple(parse(by_key[key].pop(0)) for key in keys)

    return read


def _shared_key(fields: Fields) -> SharedKey:
    return SharedKey(fields.text("owner"), fields.text("name"), fields.whole("fire_time"))


def _host_beat(fields: Fields) -> calls.HostBeat:
    return calls.HostBeat(
        fields.text("host"), fields.maybe_text("incarnation"), fields.text("beat"),
        fields.flag("drained"),
    )  # fmt: skip


def _registered(fields: Fields) -> calls.Registered:
    hosts = tuple(map(_host_beat, fields.objects("hosts")))
    return calls.Registered(fields.flag("live"), hosts)


def _renewed(fields: Fields) -> calls.Renewed:
    if not fields.flag("live"):
        return calls.Renewed(live=False)
    return calls.Renewed(
        live=True,
        drained=fields.flag("drained"),
        hosts=tuple(map(_host_beat, fields.objects("hosts"))),
        held=tuple(
            calls.HeldRow(
                _shared_key(each),
                each.whole("attempt"),
                each.maybe_text("stop"),
                each.maybe_text("queue"),
                _redrive(each),
            )
            for each in fields.objects("held")
        ),
        due=tuple(
            calls.DueRow(_shared_key(each), each.whole("attempt"), each.number("due_in"))
            for each in fields.objects("due")
        ),
        orphans=fields.flag("orphans"),
        expired=fields.flag("expired"),
        clock=fields.number("clock"),
        publish_in=fields.maybe_number("publish_in"),
        served=fields.texts("served"),
    )


def _published(fields: Fields) -> calls.Published:
    publications = tuple(
        calls.Publication(*_shared_key(each), each.whole("attempt"), each.text("queue"))
        for each in fields.objects("publications")
    )
    return calls.Published(publications, fields.maybe_number("publish_in"))


def _redrive(fields: Fields) -> Redrive | None:
    number, at = fields.maybe_whole("redriven"), fields.maybe_number("redriven_at")
    return None if number is None or at is None else Redrive(number, at)


def _decided(fields: Fields) -> calls.Decided:
    key, decision = _shared_key(fields), calls.Decision(fields.text("answer"))
    queue = fields.maybe_text("queue")
    if decision is calls.Decision.HELD:
        spec = None if queue is None else fields.maybe_text("job", LONGEST_SPEC) or ""
        number, redrive = fields.whole("attempt"), _redrive(fields)
        return calls.Decided(key, decision, number, queue=queue, spec=spec, redrive=redrive)
    reason = fields.maybe_text("reason") or ""
    if decision is calls.Decision.LATER:
        return calls.Decided(key, decision, reason=reason)
    state, host = fields.text("state"), fields.maybe_text("host")
    if not reason and state == "held":
        reason = f"{host} runs it"
    elif not reason and state == "waiting":
        reason = "it waits for its next attempt"
        if queue is not None:
            reason = f"it waits for a worker of the queue {queue}"
    return calls.Decided(
        key,
        decision,
        fields.whole("attempt"),
        holder=host if state == "held" else None,
        outcome=fields.maybe_text("outcome") if state == "ended" else None,
        reason=reason,
        queue=queue,
    )


def _finished(fields: Fields) -> calls.Finished:
    if fields.text("answer") == "finished":
        return calls.Finished(taken=True)
    state, attempt = fields.text("state"), fields.whole("attempt")
    outcome = fields.maybe_text("outcome") or "no outcome"
    return calls.Finished(taken=False, reason=f"attempt {attempt}: {state}, {outcome}")


def _changed(fields: Fields) -> calls.Changed:
    return calls.Changed(fields.whole("rows"))
