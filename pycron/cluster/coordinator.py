"""What the agent decides: events in, actions out, time as an argument.

Its rules, each of which the simulation breaks once (tests/simulation):

* The lease is counted from before the request: deadline = the reading of BOOTTIME when the renewal
  was handed out, plus the lease.
* The file is written before anything is asked for with a new incarnation; a host that was fenced
  voids its old lease with the same write.
* A question is asked again until its answer is known; an answer for an incarnation that is not this
  host's any more starts nothing.
* Without a sign of life of the daemon nothing is renewed, and nothing is asked for.

Pure: it uses no clock, file, process or socket.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pycron.cluster import messages
from pycron.cluster.calls import (
    AllFinished,
    Answer,
    Call,
    Changed,
    Claim,
    Claims,
    ClaimsDecided,
    Decided,
    Decision,
    Expire,
    Fence,
    Finishes,
    Gate,
    Gates,
    Goodbye,
    HeldRow,
    Kill,
    Prune,
    Published,
    Reap,
    Refuse,
    Registered,
    Renew,
    Renewed,
)
from pycron.cluster.events import (
    Action,
    Answered,
    BrokerSaid,
    Connected,
    Disconnected,
    Event,
    Failed,
    Lane,
    Now,
    Said,
    Tick,
    Written,
)
from pycron.cluster.held_rows import HeldRows
from pycron.cluster.offers import Offers
from pycron.cluster.out import Out
from pycron.cluster.own_lease import OwnLease
from pycron.cluster.questions import Questions, not_ours, unknown_pool
from pycron.cluster.renewals import Renewals, setup_of
from pycron.cluster.upkeep import Upkeep
from pycron.protocol.cluster_messages import (
    AcceptMessage,
    AskMessage,
    ClusterDaemonMessage,
    DaemonHello,
)
from pycron.system.lease_file import Lease

_PAUSE = 1.0  # seconds before a lane calls again after a failure
_LEAVE = 10.0  # seconds for the last calls of an agent that is told to leave
_FIXED = ("cluster", "database", "host", "lease", "lease_file", "store", "broker")


@dataclass(slots=True)
class _LaneState:
    """`call`: without an answer. `asked`: when it was handed out. `pause`: no call before that.
    `failing`: the last call has failed.
    """

    call: Call | None = None
    asked: float = 0.0
    pause: float = 0.0
    failing: bool = False


class Coordinator:
    """Of one agent, from its first daemon's hello on.

    `found`: what the lease file says; `boot`: the id of this boot. `new_id` returns a text that was
    never used before. Raises ValueError if the timings of the hello do not work.
    """

    def __init__(
        self,
        hello: DaemonHello,
        found: Lease | None,
        boot: str,
        new_id: Callable[[], str],
        now: Now,
    ) -> None:
        self._hello = hello
        self._out = Out()
        lease = OwnLease(found, hello["store"], boot, new_id)
        self._renewals = Renewals(hello, lease, self._out, now.boot)
        self._questions = Questions(hello["host"])
        self._offers = Offers(hello["host"])
        self._held = HeldRows()
        self._upkeep = Upkeep(hello["host"], now.boot, has_broker="broker" in hello)
        self._publications = self._upkeep.publications
        self._lanes = {lane: _LaneState() for lane in Lane}
        self._gates_were_last = False
        self._connected = False
        self._leave: float | None = None  # the latest instant to exit

    def handle(self, event: Event, now: Now) -> list[Action]:
        """What is to be done because of this event, in this order."""
        match event:
            case Connected():
                self._connect(event.hello, now)
            case Disconnected():
                self._connected = False
                self._questions.forget()
            case Said():
                self._hear(event.message, now)
            case Answered():
                lane = self._lanes[event.lane]
                call, asked = lane.call, lane.asked
                assert call is not None
                lane.call, lane.failing = None, False
                self._take(call, event.answer, asked, now)
            case Failed():
                self._fail(event, now.boot)
            case Written():
                self._renewals.written(event)
            case BrokerSaid():
                self._note_broker(event.problem)
            case Tick():
                pass
        self._work(now)
        self._renewals.tell_status()
        return self._out.take()

    def wake_at(self, now: float) -> float:
        """When the next Tick is due (BOOTTIME), if nothing happens before; at most a second."""
        times = [now + _PAUSE, self._renewals.next_at(), self._publications.next_at()]
        if self._connected:
            times += [at for at in (self._questions.next_at(), self._offers.next_at()) if at]
        return min(each for each in times if each > now)

    def has_call(self, lane: Lane) -> bool:
        """Whether a call of this lane has no answer yet."""
        return self._lanes[lane].call is not None

    # ---- the daemon

    def _connect(self, hello: DaemonHello, now: Now) -> None:
        if any(hello.get(key) != self._hello.get(key) for key in _FIXED):
            self._out.exit("the configuration has changed")
            return
        self._connected = True
        self._leave = None
        self._renewals.setup = setup_of(hello)
        self._renewals.greet()
        self._renewals.alive(now.boot)
        self._renewals.soon(now.boot)
        self._questions.forget()
        self._held.forget()

    def _hear(self, message: ClusterDaemonMessage, now: Now) -> None:
        if message["type"] == "ask":
            self._ask(message, now)
        elif message["type"] == "accept":
            self._accept(message, now)
        elif message["type"] == "take":
            key = messages.key_of(message["run"])
            queue, version = message["queue"], message["version"]
            self._questions.take(key, message["attempt"], queue, version, now.boot)
        elif message["type"] == "refuse":
            self._upkeep.refuse(messages.refusal_of(message))
        elif message["type"] == "kill":
            self._upkeep.kill(messages.key_of(message["run"]), message["by"])
        elif message["type"] == "finish":
            self._upkeep.finish(messages.finish_of(message))
        elif message["type"] == "alive":
            self._renewals.alive(now.boot)
        elif message["type"] == "facts":
            self._renewals.setup = setup_of(message)
        elif message["type"] == "leave":
            self._leave = now.boot + _LEAVE

    def _ask(self, message: AskMessage, now: Now) -> None:
        key, terms = messages.key_of(message["run"]), message["terms"]
        pool = unknown_pool(terms, self._renewals.setup.pools)
        if pool is not None:
            reason = f'the configuration has no cluster pool "{pool}"'
            self._out.tell(messages.answer(0, Decided(key, Decision.LATER, reason=reason)))
            return
        self._questions.ask(key, terms, now.boot, self._renewals.beats.ready())

    def _accept(self, message: AcceptMessage, now: Now) -> None:
        key, terms = messages.key_of(message["run"]), message["terms"]
        self._questions.accept(key, message["attempt"], terms, now.boot)

    # ---- calls

    def _work(self, now: Now) -> None:
        """Hand out the next call of each lane that is idle."""
        if self._leave is None:
            self._renewals.write(now.boot)
        if self._is_idle(Lane.RENEW, now):
            self._hand_out(Lane.RENEW, self._next_renewal(now), now)
        if self._is_idle(Lane.CLAIM, now) and self._may_claim(now):
            self._hand_out(Lane.CLAIM, self._next_question(now.boot), now)
        if self._is_idle(Lane.FINISH, now):
            self._hand_out(Lane.FINISH, self._upkeep.next_call(now.boot), now)
        if self._may_claim(now) and not self._renewals.drained:
            for key, attempt in self._offers.take(now.boot):
                if not self._questions.is_open(key, attempt):
                    run = messages.run_of(key)
                    self._out.tell({"type": "offer", "run": run, "attempt": attempt})

    def _is_idle(self, lane: Lane, now: Now) -> bool:
        state = self._lanes[lane]
        return state.call is None and now.boot >= state.pause

    def _hand_out(self, lane: Lane, call: Call | None, now: Now) -> None:
        if call is not None:
            self._lanes[lane].call = call
            self._lanes[lane].asked = now.boot
            self._out.perform(lane, call)

    def _may_claim(self, now: Now) -> bool:
        """Whether new Attempts of this host could start now."""
        renewals = self._renewals
        held = renewals.lease.holds(now.boot) and not renewals.is_silent(now.boot)
        return held and self._connected and self._leave is None

    def _next_renewal(self, now: Now) -> Call | None:
        if self._leave is None and not self._connected and self._renewals.is_silent(now.boot):
            self._leave = max(self._renewals.lease.deadline, now.boot + _LEAVE)
        if self._leave is None:
            return self._renewals.next_call(now)
        goodbye = None if self._upkeep.has_finishes else self._renewals.goodbye()
        nothing_held = self._renewals.goodbye() is None
        if now.boot >= self._leave or nothing_held:
            self._out.exit("no daemon needs it")
            return None
        return goodbye

    def _next_question(self, now: float) -> Call | None:
        """Claims and gates take turns, as far as both wait."""
        host, incarnation = self._renewals.host, self._renewals.lease.incarnation
        pools = self._renewals.setup.pools
        claims = self._questions.claims(now, pools)
        gates = self._questions.gates(now, pools)
        if gates and not (claims and self._gates_were_last):
            self._gates_were_last = True
            return Gates(host, incarnation, gates)
        self._gates_were_last = False
        return Claims(host, incarnation, claims) if claims else None

    # ---- answers

    def _take(self, call: Call, answer: Answer, asked: float, now: Now) -> None:
        match answer:
            case Registered():
                self._renewals.registered(answer, asked, now.boot)
                self._upkeep.fence(self._renewals.silent())
            case Renewed() if isinstance(call, Renew):
                self._renewed(call, answer, asked, now)
            case ClaimsDecided() if isinstance(call, Claims | Gates):
                self._decided(call, answer, now.boot)
            case AllFinished() if isinstance(call, Finishes):
                self._finished(call, answer, now.boot)
            case Published():
                self._publications.published(answer, now.boot)
                if answer.publications:
                    self._out.send(answer.publications)
            case Changed():
                self._changed(call, answer.rows, now.boot)
            case _:
                raise TypeError(f"{call!r} was answered with {answer!r}")

    def _renewed(self, call: Renew, answer: Renewed, asked: float, now: Now) -> None:
        if not self._renewals.renewed(call, answer, asked, now):
            self._held.forget()
            self._offers.refresh((), now.boot, ())
            return
        self._upkeep.fence(self._renewals.silent())
        self._upkeep.sweep(reap=answer.orphans, expire=answer.expired)
        self._publications.due_in(answer.publish_in, now.boot)
        self._offers.refresh(answer.due, now.boot, self._renewals.beats.ready())
        if not self._connected:
            return
        for row in self._held.compare(answer.held, asked, now.boot):
            self._tell_held(row, call.incarnation)
        for row in self._held.to_stop(answer.held):
            run, reason = messages.run_of(row.key), row.stop or ""
            self._out.tell({"type": "stop", "run": run, "attempt": row.attempt, "reason": reason})

    def _decided(self, call: Claims | Gates, answer: ClaimsDecided, now: float) -> None:
        """A row that is held for an earlier incarnation starts nothing."""
        if isinstance(call, Claims):
            self._publications.due_in(answer.publish_in, now)
        asked: Iterable[Claim | Gate] = call.claims if isinstance(call, Claims) else call.gates
        for question, decided in zip(asked, answer.decided, strict=True):
            is_open = self._close(question)
            if decided.decision is Decision.HELD:
                if call.incarnation == self._renewals.lease.incarnation:
                    is_new = self._held.tell(decided.key, decided.attempt, now)
                    if self._connected and (is_new or is_open):
                        self._tell_held(decided.row, call.incarnation, decided.spec)
                    continue
                decided = not_ours(decided.key)  # noqa: PLW2901
            if is_open:
                self._out.tell(messages.reply(question, decided))

    def _close(self, question: Claim | Gate) -> bool:
        """A question has its answer. Whether it was open."""
        if isinstance(question, Claim):
            return self._questions.close(question.key, 0)
        if question.queue is not None:
            return self._questions.close_take(question.key, question.attempt)
        self._offers.remove(question.key, question.attempt)
        return self._questions.close(question.key, question.attempt)

    def _tell_held(self, row: HeldRow, incarnation: str, spec: str | None = None) -> None:
        self._questions.close_held(row.key, row.attempt)
        self._offers.remove(row.key, row.attempt - 1)
        self._out.tell(messages.held(row, incarnation, spec))

    def _finished(self, call: Finishes, answer: AllFinished, now: float) -> None:
        self._publications.due_in(answer.publish_in, now)
        for finish, result in self._upkeep.taken(call, answer.finished):
            self._held.finished(finish.key, finish.attempt, now)
            self._out.tell(messages.finished(finish, result))
            if finish.retry_in is not None:
                self._renewals.soon(now + finish.retry_in)

    def _changed(self, call: Call, rows: int, now: float) -> None:
        if isinstance(call, Goodbye):
            if rows:
                self._renewals.parted()
            else:
                self._lanes[Lane.RENEW].pause = now + _PAUSE
        elif isinstance(call, Kill):
            self._upkeep.killed(call)
            self._out.tell(messages.killed(call.key, done=rows > 0))
            self._renewals.soon(now)
        elif isinstance(call, Refuse):
            self._upkeep.noted(call)
        elif isinstance(call, Fence):
            self._upkeep.fenced(call)
            if rows:
                self._out.log("warning", f'"{call.host}" has lost its lease: it renews no more')
        elif isinstance(call, Reap | Expire | Prune):
            self._upkeep.swept(call, rows, now)
            if rows and isinstance(call, Reap):
                self._out.log("warning", f"{rows} Attempts of hosts without a lease are lost")

    def _note_broker(self, problem: str | None) -> None:
        if problem is not None and self._publications.problem is None:
            self._out.log("warning", problem)
        elif problem is None and self._publications.problem is not None:
            self._out.log("info", "the broker takes messages again")
        self._publications.problem = self._renewals.broker = problem

    def _fail(self, event: Failed, now: float) -> None:
        lane = self._lanes[event.lane]
        lane.call = None
        lane.pause = now + _PAUSE
        if event.lane is Lane.RENEW:
            self._renewals.failed(event.reason, now)
        elif not lane.failing:
            self._out.log("info", f"{event.lane.value}: no answer: {event.reason}")
        lane.failing = True
