"""A model of the database: the calls of pycron.cluster.calls over plain dictionaries.

Each call is one step, as each function of the schema is one transaction. Where the lock is not a
statement of its own, a claim counts at one instant and writes at another.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from pycron.cluster import calls
from pycron.cluster.calls import Decided, Decision, Limits, SharedKey
from tests.simulation.rows import (
    ENDED,
    HELD,
    WAITING,
    HostRow,
    Plan,
    Row,
    existing,
    job_limit,
    replace,
)
from tests.simulation.rules import Rules

_DAY = 86_400.0  # seconds


@dataclass(slots=True)
class Database:
    """`now`: its clock (UTC seconds), which may be stepped.

    `wrong`: what it took and should not have. `goodbyes`: how many hosts have given up their names.
    """

    now: Callable[[], float]
    rules: Rules
    rows: dict[SharedKey, Row] = field(default_factory=dict)
    hosts: dict[str, HostRow] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    goodbyes: int = 0
    _beats: int = 0

    def perform(self, call: calls.Call) -> calls.Answer:
        match call:
            case calls.Register():
                return self._register(call)
            case calls.Renew():
                return self._renew(call)
            case calls.Fence():
                row = self.hosts.get(call.host)
                seen = row is not None and (row.incarnation, row.beat) == (
                    call.incarnation,
                    call.beat,
                )
                return self._free(call.host) if seen else calls.Changed(0)
            case calls.Goodbye():
                return self._goodbye(call)
            case calls.Finishes():
                finished = tuple(map(self._finish, call.finishes))
                return calls.AllFinished(finished, self._publish_in())
            case calls.Reap():
                return self._reap()
            case calls.Expire():
                return calls.Changed(self._expire(self._expired()))
            case calls.Prune() | calls.Refuse() | calls.Kill():
                return calls.Changed(0)
            case calls.Publish():
                return self._publish(call)
            case calls.Claims() | calls.Gates():
                return self.write(call, self.count(call))

    # ---- claims and gates, in two steps

    def count(self, call: calls.Claims | calls.Gates) -> list[Plan]:
        """The first step. With the lock as a statement of its own nothing comes in between."""
        if not self.rules.lock_first:
            if isinstance(call, calls.Claims):
                return [self._count_claim(call, each) for each in call.claims]
            return [self._count_gate(call, each) for each in call.gates]
        return []

    def write(self, call: calls.Claims | calls.Gates, plans: list[Plan]) -> calls.ClaimsDecided:
        """The second step."""
        items: list[calls.Claim | calls.Gate] = []
        items += call.claims if isinstance(call, calls.Claims) else call.gates
        decided = []
        for number, item in enumerate(items):
            plan = plans[number] if plans else self._count(call, item)
            decided.append(self._hold(call, item, plan))
        return calls.ClaimsDecided(tuple(decided), self._publish_in())

    def _count(self, call: calls.Claims | calls.Gates, item: calls.Claim | calls.Gate) -> Plan:
        if isinstance(item, calls.Claim):
            return self._count_claim(call, item)
        return self._count_gate(call, item)

    def _hold(
        self, call: calls.Claims | calls.Gates, item: calls.Claim | calls.Gate, plan: Plan
    ) -> Decided:
        if isinstance(item, calls.Claim):
            row = self.rows.get(item.key)
            if row is not None:  # ON CONFLICT DO NOTHING
                return existing(row, call.incarnation)
            if plan.row is not None:
                self.rows[item.key] = plan.row
                return plan.refusal or Decided(item.key, Decision.HELD, 1, call.host)
        elif plan.refusal is None:
            row = self.rows[item.key]
            if row.state != WAITING or row.attempt != item.attempt:
                return Decided(item.key, Decision.SETTLED, row.attempt)
            if self.now() >= row.expires:
                self.wrong.append(f"an Attempt after its time: {item.key} {row.attempt + 1}")
            row.state, row.attempt = HELD, row.attempt + 1
            row.holder, row.host, row.stop = call.incarnation, call.host, None
            return existing(row, call.incarnation)
        assert plan.refusal is not None
        return plan.refusal

    def _count_claim(self, call: calls.Claims | calls.Gates, item: calls.Claim) -> Plan:
        key, now = item.key, self.now()
        if key in self.rows:
            return Plan(existing(self.rows[key], call.incarnation), None)
        if key.fire_time > now + calls.EARLY:
            return Plan(Decided(key, Decision.LATER, reason="early"), None)
        verdict, since = self._after_named(item)
        if now > since + item.window and not item.catch_up:
            return self._ended(item, "missed")
        if not self._may_hold(call):
            return Plan(Decided(key, Decision.LATER, reason="not live"), None)
        if verdict == "wait":
            return Plan(Decided(key, Decision.LATER, reason="follows"), None)
        refusal = verdict or self._refusal(item)
        if refusal == "skipped" or (refusal is not None and item.newer):
            return self._ended(item, "skipped")
        if refusal is not None:
            return Plan(Decided(key, Decision.LATER, reason="busy"), None)
        if item.queued is None:
            row = Row(key, HELD, 1, item.limits, item.retry, call.incarnation, call.host)
            return Plan(None, row)
        row = Row(key, WAITING, 0, item.limits, item.retry, queue=item.queued.queue)
        row.next_publish = now
        row.expires = key.fire_time + 7 * _DAY if item.catch_up else since + item.window
        return Plan(Decided(key, Decision.SETTLED), row)

    def _after_named(self, item: calls.Claim) -> tuple[str | None, float]:
        """What the Runs that it follows mean, and since when its window counts."""
        key, since = item.key, float(item.key.fire_time)
        named = [self.rows.get(key._replace(name=name)) for name in item.after]
        ended = [row for row in named if row is not None and row.state == ENDED]
        if len(ended) < len(named):
            return ("wait", inf) if self.rules.wait_for_named else (None, since)
        failed = any(row.outcome != "succeeded" for row in ended)
        return "skipped" if failed else None, max([since, *(row.changed for row in ended)])

    def _refusal(self, item: calls.Claim) -> str | None:
        """None if a new row may be held; "skipped" if it never may."""
        key, policy = item.key, item.limits.concurrency
        at = max(self.now(), key.fire_time)
        self._expire([row for row in self._of_job(key) if _is_over(row, at)])
        others = self._of_job(key)
        if policy in (calls.Concurrency.QUEUE, calls.Concurrency.REPLACE) and any(
            row.key[:2] == key[:2] and row.key.fire_time > key.fire_time
            for row in self.rows.values()
        ):
            return "skipped"
        held = sum(row.state == HELD for row in others)
        waiting = len(others) - held
        most = job_limit(item.limits)
        if policy is calls.Concurrency.REPLACE and held + waiting >= most:
            older = [row for row in others if row.key.fire_time < key.fire_time]
            replace(older, held - most + 1, self.now())
            waiting = 0
        elif policy is calls.Concurrency.ALLOW:
            waiting = 0
        if held + waiting >= most:
            return "skipped" if policy is calls.Concurrency.FORBID else "busy"
        return "busy" if self._pool_is_full(item.limits) else None

    def _ended(self, item: calls.Claim, outcome: str) -> Plan:
        row = Row(item.key, ENDED, 0, item.limits, item.retry, outcome=outcome)
        row.changed = self.now()
        return Plan(Decided(item.key, Decision.SETTLED, outcome=outcome), row)

    def _count_gate(self, call: calls.Claims | calls.Gates, item: calls.Gate) -> Plan:
        key = item.key
        row = self.rows.get(key)
        if row is None or row.queue != item.queue:
            return Plan(Decided(key, Decision.SETTLED), None)
        if row.state != WAITING or row.attempt != item.attempt:
            return Plan(existing(row, call.incarnation), None)
        if self.rules.expiry and self.now() >= row.expires:
            row.end_waiting("missed", self.now())
            return Plan(existing(row, call.incarnation), None)
        limits = item.limits if item.queue is None else row.limits
        held = sum(each.state == HELD for each in self._of_job(key))
        full = held >= job_limit(limits) or self._pool_is_full(limits)
        may_hold = row.not_before <= self.now() and self._may_hold(call)
        if not may_hold or full:
            row.limited |= may_hold and row.queue is not None
            return Plan(Decided(key, Decision.LATER), None)
        return Plan(None, None)

    def _may_hold(self, call: calls.Claims | calls.Gates) -> bool:
        row = self.hosts.get(call.host)
        return row is not None and row.incarnation == call.incarnation and not row.drained

    def _of_job(self, key: SharedKey) -> list[Row]:
        """The other rows of its Job that are held or waiting."""
        return [
            row
            for row in self.rows.values()
            if row.key != key and row.key[:2] == key[:2] and row.state != ENDED
        ]

    def _pool_is_full(self, limits: Limits) -> bool:
        held = sum(
            row.state == HELD and row.limits.pool == limits.pool for row in self.rows.values()
        )
        return limits.pool_limit is not None and held >= limits.pool_limit

    # ---- ends

    def _finish(self, call: calls.Finish) -> calls.Finished:
        row = self.rows.get(call.key)
        if row is None:
            return calls.Finished(False, "no row")
        if row.finished_by == f"{call.attempt} {call.incarnation}":
            return calls.Finished(True)
        held = row.state == HELD and row.holder == call.incarnation
        if row.attempt != call.attempt or (self.rules.guard_finish and not held):
            return calls.Finished(False, f"{row.state}, Attempt {row.attempt}")
        if not held:
            self.wrong.append(f"a stale finish: {call.key} {call.attempt}: {row.state}")
        row.finished_by = f"{call.attempt} {call.incarnation}"
        self._end(row, call.outcome, None if row.stop else call.retry_in)
        return calls.Finished(True)

    def _end(self, row: Row, outcome: str, retry_in: float | None) -> None:
        now, until = self.now(), row.retry.until
        due = now + (retry_in or 0.0)
        over = max(row.key.fire_time + 7 * _DAY, due + _DAY) if until is None else until
        row.state = ENDED if retry_in is None or over <= due else WAITING
        row.holder, row.outcome, row.changed = None, outcome, now
        row.not_before = row.next_publish = due
        row.expires = over
        row.publications, row.limited = 0, False
        self._publish_limited(row)

    def _reap(self) -> calls.Changed:
        live = {row.incarnation for row in self.hosts.values()}
        lost = [row for row in self.rows.values() if row.state == HELD and row.holder not in live]
        for row in lost:
            again = row.retry.lost and row.attempt <= row.retry.most and row.stop is None
            retry = row.retry
            delay = min(retry.delay * retry.backoff ** (row.attempt - 1), retry.delay_max)
            self._end(row, "lost", delay if again else None)
        return calls.Changed(len(lost))

    def _expired(self) -> list[Row]:
        return [row for row in self.rows.values() if _is_over(row, self.now())]

    def _expire(self, rows: list[Row]) -> int:
        """The time of these rows is over."""
        for row in rows if self.rules.expiry else ():
            row.end_waiting("missed", self.now())
        return len(rows)

    # ---- publications

    def _of_queues(self) -> list[Row]:
        """The rows that wait in a queue, and whose time is not over."""
        return [row for row in self._in_time() if row.queue is not None]

    def _in_time(self) -> list[Row]:
        waiting = [row for row in self.rows.values() if row.state == WAITING]
        return [row for row in waiting if not (self.rules.expiry and _is_over(row, self.now()))]

    def _publish_limited(self, ended: Row) -> None:
        """There is room: the first row that a limit has kept out is published at once."""
        pool = ended.limits.pool
        kept = [
            row
            for row in self._of_queues()
            if row.limited and row.not_before <= self.now()
            and (row.key[:2] == ended.key[:2] or (pool is not None and row.limits.pool == pool))
        ]  # fmt: skip
        for row in sorted(kept, key=lambda row: row.key.fire_time)[:1]:
            row.next_publish, row.limited = self.now(), False

    def _publish_in(self) -> float | None:
        times = [row.next_publish - self.now() for row in self._of_queues()]
        return min(times, default=None)

    def _publish(self, call: calls.Publish) -> calls.Published:
        due = [row for row in self._of_queues() if row.next_publish <= self.now()]
        sent = []
        for row in sorted(due, key=lambda row: row.next_publish)[: call.most]:
            wait = min(10.0 * 2**row.publications, 300.0) if self.rules.publish_again else inf
            row.next_publish, row.publications = self.now() + wait, row.publications + 1
            sent.append(calls.Publication(*row.key, row.attempt, row.queue or ""))
        return calls.Published(tuple(sent), self._publish_in())

    # ---- hosts

    def _beat(self) -> str:
        self._beats += 1
        return f"beat {self._beats}"

    def _free(self, host: str) -> calls.Changed:
        self.hosts[host].incarnation = None
        return calls.Changed(1)

    def _goodbye(self, call: calls.Goodbye) -> calls.Changed:
        row = self.hosts.get(call.host)
        if row is None or row.incarnation != call.incarnation:
            return calls.Changed(1)
        if any(each.holder == call.incarnation for each in self.rows.values()):
            if self.rules.goodbye_holds_nothing:
                return calls.Changed(0)
            self.wrong.append(f"a goodbye of {call.host}, which still has Runs")
        self.goodbyes += 1
        return self._free(call.host)

    def _register(self, call: calls.Register) -> calls.Registered:
        row = self.hosts.setdefault(call.host, HostRow(None, self._beat()))
        accepted = row.incarnation in (None, call.incarnation)
        if accepted:
            row.incarnation, row.beat = call.incarnation, self._beat()
            row.stamp = call.facts.clock
        return calls.Registered(accepted, self._all_hosts())

    def _renew(self, call: calls.Renew) -> calls.Renewed:
        row = self.hosts.get(call.host)
        if row is None or row.incarnation != call.incarnation:
            return calls.Renewed(False)
        row.beat, row.stamp = self._beat(), call.facts.clock
        now = self.now()
        live = {each.incarnation for each in self.hosts.values()}
        rows = self.rows.values()
        return calls.Renewed(
            True,
            row.drained,
            self._all_hosts(),
            held=tuple(
                calls.HeldRow(each.key, each.attempt, each.stop, each.queue)
                for each in rows
                if each.state == HELD and each.holder == call.incarnation
            ),
            due=tuple(
                calls.DueRow(each.key, each.attempt, each.not_before - now)
                for each in self._in_time()
                if each.queue is None and each.not_before <= now + call.ahead
            ),
            expired=bool(self._expired()),
            orphans=any(each.state == HELD and each.holder not in live for each in rows),
            clock=now,
            publish_in=self._publish_in(),
        )

    def _all_hosts(self) -> tuple[calls.HostBeat, ...]:
        return tuple(
            calls.HostBeat(name, row.incarnation, row.beat, row.drained)
            for name, row in sorted(self.hosts.items())
        )


def _is_over(row: Row, at: float) -> bool:
    """Whether it waits, and its time is over then."""
    return row.state == WAITING and row.expires <= at
