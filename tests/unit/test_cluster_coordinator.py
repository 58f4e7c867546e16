"""What the agent decides, step by step, without a clock, a database or a daemon."""

import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from pycron.cluster import calls
from pycron.cluster.beats import Beats
from pycron.cluster.calls import Decided, Decision, HostBeat, SharedKey
from pycron.cluster.coordinator import Coordinator
from pycron.cluster.events import (
    Answered,
    Connected,
    Disconnected,
    Event,
    Exit,
    Failed,
    Lane,
    Now,
    Perform,
    Said,
    Tell,
    Tick,
    Write,
    Written,
)
from pycron.cluster.preference import asks_first
from pycron.cluster.timings import Timings, timings_of
from pycron.protocol.cluster_messages import DaemonHello
from pycron.system.lease_file import Lease

HELLO: DaemonHello = {
    "type": "hello", "protocol": 1, "cluster": "test", "database": "", "host": "web1",
    "lease": 90.0, "lease_file": "", "store": "store", "pools": {"reports": 2},
    "version": "1", "tzdata": "2026a", "tables": "",
}  # fmt: skip
TERMS: dict[str, Any] = {
    "concurrency": "allow", "max_running": None, "pool": None, "window": 300.0,
    "catch_up": False, "after": [], "hosts": None,
    "retry": {"most": 0, "lost": False, "delay": 1.0, "backoff": 1.0, "delay_max": 1.0,
              "jitter": 0.0, "until": None},
}  # fmt: skip
RUN: Any = {"owner": "deploy", "name": "nightly", "fire_time": 1_800_000_000}
KEY = SharedKey("deploy", "nightly", 1_800_000_000)


class Agent:
    """A coordinator, and what it has asked for. `now`: both clocks."""

    def __init__(self, found: Lease | None = None) -> None:
        ids = itertools.count(1)
        self.now = 1000.0
        self.coordinator = Coordinator(
            HELLO, found, "boot", lambda: f"id {next(ids)}", Now(self.now, self.now)
        )
        self.calls: dict[Lane, calls.Call] = {}
        self.told: list[Any] = []
        self.file = found
        self.exits = False
        self.unwritable = False
        self.handle(Connected(HELLO))

    def handle(self, event: Event, passed: float = 0.0) -> None:
        self.now += passed
        actions = deque(self.coordinator.handle(event, Now(self.now, self.now)))
        while actions:
            match action := actions.popleft():
                case Perform(call=calls.Prune()):
                    self.handle(Answered(action.lane, calls.Changed(0)))
                case Perform():
                    assert action.lane not in self.calls, "one call at a time"
                    self.calls[action.lane] = action.call
                case Tell():
                    self.told.append(action.message)
                case Write():
                    problem = "disk full" if self.unwritable else None
                    if problem is None:
                        self.file = action.lease
                    written = Written(action.lease, problem)
                    actions.extend(self.coordinator.handle(written, Now(self.now, self.now)))
                case Exit():
                    self.exits = True

    def answer(self, lane: Lane, answer: calls.Answer, passed: float = 0.0) -> calls.Call:
        call = self.calls.pop(lane)
        self.handle(Answered(lane, answer), passed)
        return call

    def fail(self, lane: Lane) -> calls.Call:
        call = self.calls.pop(lane)
        self.handle(Failed(lane, "gone"))
        return call

    def registered(self) -> str:
        """Register and renew once. Returns the incarnation."""
        register = self.answer(Lane.RENEW, calls.Registered(True, (self.beat(),)))
        assert isinstance(register, calls.Register)
        self.answer(Lane.RENEW, self.renewed())
        return register.incarnation

    def beat(self) -> HostBeat:
        call = self.calls.get(Lane.RENEW)
        incarnation = getattr(call, "incarnation", "id 1")
        return HostBeat("web1", incarnation, f"beat {self.now}")

    def renewed(self, **values: Any) -> calls.Renewed:
        return calls.Renewed(True, hosts=(self.beat(),), clock=self.now, **values)

    def say(self, kind: str, **values: Any) -> None:
        message: Any = {"type": kind, **values}
        self.handle(Said(message))

    def ask(self, **terms: Any) -> None:
        self.say("ask", run=RUN, terms=TERMS | terms)

    def heard(self, kind: str) -> list[Any]:
        return [message for message in self.told if message["type"] == kind]


@pytest.fixture
def agent() -> Agent:
    return Agent()


def decided(decision: Decision, attempt: int = 0) -> calls.ClaimsDecided:
    return calls.ClaimsDecided((Decided(KEY, decision, attempt),))


def test_the_file_has_the_incarnation_before_it_is_registered(agent: Agent) -> None:
    assert isinstance(agent.calls[Lane.RENEW], calls.Register)
    assert agent.file == Lease("id 1", 0.0, "store", "boot")


def test_nothing_is_registered_while_the_file_cannot_be_written(agent: Agent) -> None:
    agent.answer(Lane.RENEW, calls.Registered(True, ()))
    agent.unwritable = True
    agent.answer(Lane.RENEW, calls.Renewed(False))
    agent.handle(Tick(), 5.0)
    assert Lane.RENEW not in agent.calls
    assert agent.heard("status")[-1]["problem"] == "the lease file cannot be written: disk full"
    agent.unwritable = False
    agent.handle(Tick(), 5.0)
    assert isinstance(agent.calls[Lane.RENEW], calls.Register)


def test_the_lease_is_counted_from_before_the_request(agent: Agent) -> None:
    agent.answer(Lane.RENEW, calls.Registered(True, ()), passed=7.0)
    assert agent.file == Lease("id 1", 1090.0, "store", "boot")
    asked = agent.now
    agent.answer(Lane.RENEW, agent.renewed(), passed=3.0)
    assert agent.file == Lease("id 1", asked + 90.0, "store", "boot")


def test_a_question_is_asked_again_until_its_answer_is_known(agent: Agent) -> None:
    incarnation = agent.registered()
    agent.ask()
    first = agent.fail(Lane.CLAIM)
    assert not agent.heard("later")
    agent.handle(Tick(), 1.0)
    assert agent.answer(Lane.CLAIM, decided(Decision.HELD, 1)) == first
    held = {"type": "held", "run": RUN, "attempt": 1, "incarnation": incarnation}
    assert agent.heard("held") == [held]


@pytest.mark.parametrize("decision", [Decision.LATER, Decision.SETTLED])
def test_each_question_has_one_answer(agent: Agent, decision: Decision) -> None:
    agent.registered()
    agent.ask()
    agent.answer(Lane.CLAIM, decided(decision))
    agent.handle(Tick(), 2.0)
    assert [message["attempt"] for message in agent.heard(decision.value)] == [0]
    assert Lane.CLAIM not in agent.calls


def test_a_row_that_was_held_for_an_earlier_incarnation_starts_nothing(agent: Agent) -> None:
    agent.registered()
    agent.ask()
    agent.handle(Tick(), 5.0)
    agent.answer(Lane.RENEW, calls.Renewed(False))
    agent.answer(Lane.CLAIM, decided(Decision.HELD, 1))
    assert not agent.heard("held")
    assert agent.heard("later")[-1]["reason"] == "this host lost its lease"


def test_a_fenced_host_voids_its_file_first_and_has_a_new_incarnation(agent: Agent) -> None:
    first = agent.registered()
    agent.handle(Tick(), 5.0)
    agent.answer(Lane.RENEW, calls.Renewed(False))
    register = agent.calls[Lane.RENEW]
    assert isinstance(register, calls.Register)
    assert register.incarnation != first
    assert agent.file == Lease(register.incarnation, 0.0, "store", "boot")
    assert agent.heard("status")[-1]["incarnation"] is None


def test_an_agent_continues_what_the_file_says() -> None:
    agent = Agent(Lease("old", 1050.0, "store", "boot"))
    renew = agent.answer(Lane.RENEW, agent.renewed(held=(calls.HeldRow(KEY, 3),)))
    assert isinstance(renew, calls.Renew)
    assert renew.incarnation == "old"
    assert agent.heard("held")[0]["attempt"] == 3
    assert agent.file == Lease("old", 1090.0, "store", "boot")


def test_with_another_store_there_is_a_new_incarnation() -> None:
    agent = Agent(Lease("old", 1050.0, "another", "boot"))
    assert isinstance(agent.calls[Lane.RENEW], calls.Register)


def test_an_incarnation_is_registered_only_once(agent: Agent) -> None:
    first = agent.registered()
    agent.handle(Tick(), 5.0)
    agent.answer(Lane.RENEW, calls.Renewed(False))
    second = agent.fail(Lane.RENEW)
    agent.handle(Tick(), 1.0)
    again = agent.calls[Lane.RENEW]
    assert isinstance(second, calls.Register)
    assert isinstance(again, calls.Register)
    assert first != second.incarnation == again.incarnation


def test_without_a_sign_of_life_nothing_is_renewed_or_claimed(agent: Agent) -> None:
    agent.registered()
    for _ in range(12):
        agent.handle(Tick(), 5.0)
        agent.answer(Lane.RENEW, agent.renewed())
    agent.handle(Tick(), 5.0)
    agent.ask()
    assert agent.calls == {}
    agent.say("alive")
    assert set(agent.calls) == {Lane.RENEW, Lane.CLAIM}


def test_nothing_is_claimed_when_the_lease_is_over(agent: Agent) -> None:
    agent.registered()
    agent.handle(Tick(), 5.0)
    for _ in range(18):  # the renewal has no answer for all this time
        agent.handle(Tick(), 5.0)
        agent.say("alive")
    agent.ask()
    agent.handle(Tick(), 2.0)
    assert Lane.CLAIM not in agent.calls


def test_a_row_is_told_once_in_each_connection(agent: Agent) -> None:
    agent.registered()
    row = calls.HeldRow(KEY, 1)
    for _ in range(3):
        agent.handle(Tick(), 5.0)
        agent.answer(Lane.RENEW, agent.renewed(held=(row,)))
    assert len(agent.heard("held")) == 1
    agent.handle(Disconnected())
    agent.handle(Connected(HELLO), 2.0)
    agent.answer(Lane.RENEW, agent.renewed(held=(row,)))
    assert len(agent.heard("held")) == 2


def test_a_renewal_from_before_the_finish_does_not_bring_the_row_back(agent: Agent) -> None:
    incarnation = agent.registered()
    agent.ask()
    agent.answer(Lane.CLAIM, decided(Decision.HELD, 1))
    agent.handle(Tick(), 5.0)  # the renewal is under way
    ended = {"run": RUN, "attempt": 1, "incarnation": incarnation, "outcome": "succeeded"}
    agent.say("finish", **ended, reason=None, retry_in=None)
    agent.answer(Lane.FINISH, calls.AllFinished((calls.Finished(True),)), passed=0.1)
    agent.answer(Lane.RENEW, agent.renewed(held=(calls.HeldRow(KEY, 1),)))
    assert len(agent.heard("held")) == 1
    assert agent.heard("finished")[0]["taken"]


def test_a_row_whose_finish_the_database_has_lost_is_told_again(agent: Agent) -> None:
    """As in a fail-over to an asynchronous standby. Else nobody would end it: its host is alive."""
    incarnation = agent.registered()
    agent.ask()
    agent.answer(Lane.CLAIM, decided(Decision.HELD, 1))
    ended = {"run": RUN, "attempt": 1, "incarnation": incarnation, "outcome": "succeeded"}
    agent.say("finish", **ended, reason=None, retry_in=None)
    agent.answer(Lane.FINISH, calls.AllFinished((calls.Finished(True),)), passed=0.1)
    for _ in range(3):  # the daemon's second finish has no answer yet
        agent.handle(Tick(), 5.0)
        agent.answer(Lane.RENEW, agent.renewed(held=(calls.HeldRow(KEY, 1),)))
    assert len(agent.heard("held")) == 2
    agent.say("finish", **ended, reason=None, retry_in=None)
    agent.answer(Lane.FINISH, calls.AllFinished((calls.Finished(True),)), passed=0.1)
    agent.handle(Tick(), 5.0)
    agent.answer(Lane.RENEW, agent.renewed())
    assert len(agent.heard("held")) == 2


def test_a_stop_is_told_once(agent: Agent) -> None:
    agent.registered()
    for _ in range(2):
        agent.handle(Tick(), 5.0)
        agent.answer(Lane.RENEW, agent.renewed(held=(calls.HeldRow(KEY, 1, "replace"),)))
    assert [message["reason"] for message in agent.heard("stop")] == ["replace"]


def test_a_due_row_is_offered_and_its_gate_is_passed(agent: Agent) -> None:
    agent.registered()
    agent.handle(Tick(), 5.0)
    agent.answer(Lane.RENEW, agent.renewed(due=(calls.DueRow(KEY, 1, 2.0),)))
    agent.handle(Tick(), 1.9)
    assert not agent.heard("offer")
    agent.handle(Tick(), 0.2)
    assert agent.heard("offer") == [{"type": "offer", "run": RUN, "attempt": 1}]
    agent.say("accept", run=RUN, attempt=1, terms=TERMS)
    call = agent.answer(Lane.CLAIM, decided(Decision.HELD, 2))
    assert isinstance(call, calls.Gates)
    assert agent.heard("held")[-1]["attempt"] == 2


def test_an_older_fire_time_is_asked_for_as_one_that_has_a_newer_one(agent: Agent) -> None:
    agent.registered()
    agent.say("ask", run={**RUN, "fire_time": RUN["fire_time"] + 60}, terms=TERMS)
    agent.calls.pop(Lane.CLAIM)
    later = Decided(KEY._replace(fire_time=KEY.fire_time + 60), Decision.LATER)
    agent.handle(Answered(Lane.CLAIM, calls.ClaimsDecided((later,))))
    agent.ask()
    call = agent.calls[Lane.CLAIM]
    assert isinstance(call, calls.Claims)
    assert [claim.newer for claim in call.claims] == [True]


def test_a_pool_that_nobody_configured_holds_nothing(agent: Agent) -> None:
    agent.registered()
    agent.ask(pool="unknown")
    assert 'no cluster pool "unknown"' in agent.heard("later")[0]["reason"]
    agent.ask(pool="reports")
    call = agent.calls[Lane.CLAIM]
    assert isinstance(call, calls.Claims)
    assert call.claims[0].limits.pool_limit == 2


def test_a_silent_host_is_fenced_and_its_rows_are_reaped(agent: Agent) -> None:
    agent.registered()
    silent = HostBeat("web2", "other", "the same")
    for _ in range(30):
        agent.handle(Tick(), 5.0)
        agent.say("alive")
        assert Lane.FINISH not in agent.calls
        answer = calls.Renewed(True, hosts=(agent.beat(), silent), clock=agent.now)
        agent.answer(Lane.RENEW, answer)
        if Lane.FINISH in agent.calls:
            break
    assert agent.now >= 1000 + 120
    fence = agent.answer(Lane.FINISH, calls.Changed(1))
    assert fence == calls.Fence("web2", "other", "the same")
    assert isinstance(agent.calls[Lane.FINISH], calls.Reap)


def test_who_leaves_hands_in_what_is_left_and_gives_up_the_name(agent: Agent) -> None:
    incarnation = agent.registered()
    ended = {"run": RUN, "attempt": 1, "incarnation": incarnation, "outcome": "succeeded"}
    agent.say("finish", **ended, reason=None, retry_in=None)
    agent.say("leave")
    assert Lane.RENEW not in agent.calls
    agent.answer(Lane.FINISH, calls.AllFinished((calls.Finished(True),)))
    assert agent.answer(Lane.RENEW, calls.Changed(1)) == calls.Goodbye("web1", incarnation)
    assert agent.exits
    assert agent.file == Lease(None, 0.0, "store", "boot")


def test_an_agent_without_a_daemon_exits_when_nothing_may_run_any_more(agent: Agent) -> None:
    agent.registered()
    agent.handle(Disconnected())
    while not agent.exits and agent.now < 2000:
        agent.handle(Tick(), 5.0)
        if isinstance(agent.calls.get(Lane.RENEW), calls.Renew):
            agent.answer(Lane.RENEW, agent.renewed())
        elif Lane.RENEW in agent.calls:
            agent.answer(Lane.RENEW, calls.Changed(0))  # it holds a row
    assert 1000 + 60 + 90 - 10 < agent.now < 1000 + 60 + 90 + 10


def test_another_configuration_needs_another_agent(agent: Agent) -> None:
    agent.handle(Connected({**HELLO, "database": "another"}))
    assert agent.exits


# ---- beats


def looks(beats: Beats, *asked: float, beat: Callable[[float], str] = lambda _: "same") -> None:
    for at in asked:
        beats.look([HostBeat("web2", "i", beat(at))], at, at + 0.1)


def test_an_outage_counts_as_one_interval() -> None:
    beats = Beats(Timings())
    looks(beats, *range(0, 100, 5))
    looks(beats, 1000.0)
    assert beats.silent(None) == []
    looks(beats, *range(1005, 1030, 5))
    assert [row.host for row in beats.silent(None)] == ["web2"]


def test_a_beat_that_changes_begins_anew() -> None:
    beats = Beats(Timings())
    looks(beats, *range(0, 1000, 5), beat=lambda at: str(at // 100))
    assert beats.silent(None) == []
    assert beats.ready() == []  # though it has missed some looks
    assert beats.live() == ["web2"]


def test_the_own_incarnation_is_never_silent() -> None:
    beats = Beats(Timings())
    looks(beats, *range(0, 1000, 5))
    assert beats.silent("i") == []


def test_looks_one_after_the_other_count_for_the_time_between_them() -> None:
    beats = Beats(Timings())
    looks(beats, *(each / 10 for each in range(1000)))
    assert beats.silent(None) == []


# ---- timings and preference


def test_timings_of_short_and_of_long_leases_hold() -> None:
    for lease in (15.0, 30.0, 90.0, 600.0, 86_400.0):
        assert timings_of(lease).mistake() is None
    assert timings_of(90.0).fence == 120.0
    with pytest.raises(ValueError, match="three renewals"):
        timings_of(14.0)


def test_exactly_one_host_asks_first() -> None:
    ready = ["web1", "web2", "web3"]
    keys = [SharedKey("deploy", "nightly", each) for each in range(300)]
    for key in keys:
        assert sum(asks_first(key, host, ready, None) for host in ready) == 1
    shares = [sum(asks_first(key, host, ready, None) for key in keys) for host in ready]
    assert min(shares) > 60
    in_group = [asks_first(key, "web1", ready, ["web1", "elsewhere"]) for key in keys]
    assert all(in_group)
