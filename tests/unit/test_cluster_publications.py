"""What the agent decides about queues: takes, publications, refusals and kills."""

from typing import Any

import pytest

from pycron.cluster import calls
from pycron.cluster.calls import Decided, Decision, Publication
from pycron.cluster.coordinator import Coordinator
from pycron.cluster.events import Action, BrokerSaid, Connected, Event, Lane, Now, Send, Tick
from tests.unit import test_cluster_coordinator as base
from tests.unit.test_cluster_coordinator import HELLO, KEY, RUN, decided

SENT = (Publication(*KEY, 0, "gpu"),)
QUEUED = {"queue": "gpu", "version": 1, "pycron": "0.1.0", "spec": "{}"}


class Agent(base.Agent):
    """`sent`: what goes to the broker."""

    def __init__(self, **hello: Any) -> None:
        super().__init__()
        self.sent: list[Publication] = []
        whole: Any = {**HELLO, **hello}
        self.coordinator = Coordinator(whole, None, "boot", lambda: "id 1", Now(self.now, self.now))
        handle = self.coordinator.handle

        def noted(event: Event, now: Now) -> list[Action]:
            actions = handle(event, now)
            for action in actions:
                if isinstance(action, Send):
                    self.sent += action.publications
            return [action for action in actions if not isinstance(action, Send)]

        self.coordinator.handle = noted  # type: ignore[method-assign]
        self.calls.clear()
        self.handle(Connected(whole))
        self.registered()

    def take(self) -> None:
        self.say("take", run=RUN, attempt=0, queue="gpu", version=1)


@pytest.fixture
def agent() -> Agent:
    return Agent(broker="redis://b/0")


def test_a_claim_is_published_at_once(agent: Agent) -> None:
    agent.ask(queued=QUEUED, entry={"table": "t", "line": 1})
    (call,) = [agent.calls[Lane.CLAIM]]
    assert isinstance(call, calls.Claims)
    assert call.claims[0].queued == calls.QueueJob("gpu", 1, "0.1.0", "{}")
    settled = Decided(KEY, Decision.SETTLED, reason="it waits", queue="gpu")
    agent.answer(Lane.CLAIM, calls.ClaimsDecided((settled,), publish_in=-0.1))
    assert agent.heard("settled")[-1]["reason"] == "it waits"
    assert agent.answer(Lane.FINISH, calls.Published(SENT, 12.0)) == calls.Publish()
    assert agent.sent == list(SENT)
    agent.handle(Tick(), 11.0)
    assert Lane.FINISH not in agent.calls
    agent.handle(Tick(), 1.0)
    assert agent.calls[Lane.FINISH] == calls.Publish()


def test_an_agent_without_a_broker_publishes_nothing() -> None:
    agent = Agent()
    agent.ask(queued=QUEUED)
    agent.answer(Lane.CLAIM, calls.ClaimsDecided((Decided(KEY, Decision.SETTLED),), -1.0))
    assert Lane.FINISH not in agent.calls


def test_a_broker_that_cannot_be_reached_is_tried_with_one_message(agent: Agent) -> None:
    agent.handle(BrokerSaid("refused"))
    assert agent.heard("status")[-1]["broker"] == "refused"
    agent.handle(Tick(), 5.0)
    agent.answer(Lane.RENEW, agent.renewed(publish_in=-1.0))
    assert agent.answer(Lane.FINISH, calls.Published(SENT, -1.0)) == calls.Publish(most=1)
    assert agent.sent == list(SENT)
    agent.handle(Tick(), 5.0)
    assert Lane.FINISH not in agent.calls
    agent.answer(Lane.RENEW, agent.renewed(publish_in=-1.0, expired=True))
    assert agent.answer(Lane.FINISH, calls.Changed(1)) == calls.Expire(problem="refused")
    agent.handle(Tick(), 5.0)
    assert agent.answer(Lane.FINISH, calls.Published((), -1.0)) == calls.Publish(most=1)
    agent.handle(BrokerSaid(None))
    assert agent.heard("status")[-1]["broker"] is None


def test_a_worker_takes_through_the_gate(agent: Agent) -> None:
    agent.take()
    gate = calls.Gate(KEY, 0, queue="gpu", version=1)
    held = Decided(KEY, Decision.HELD, 1, queue="gpu", spec="{}")
    call = agent.answer(Lane.CLAIM, calls.ClaimsDecided((held,)))
    assert isinstance(call, calls.Gates)
    assert call.gates == (gate,)
    told = {"type": "held", "run": RUN, "attempt": 1, "incarnation": "id 1", "queue": "gpu",
            "spec": "{}"}  # fmt: skip
    assert agent.heard("held") == [told]


@pytest.mark.parametrize("decision", [Decision.LATER, Decision.SETTLED])
def test_a_take_has_one_answer(agent: Agent, decision: Decision) -> None:
    agent.take()
    agent.answer(Lane.CLAIM, decided(decision))
    assert [each["attempt"] for each in agent.heard("untaken")] == [0]
    assert not agent.heard("settled")
    assert not agent.heard("later")
    assert Lane.CLAIM not in agent.calls


def test_a_take_is_asked_again_until_its_answer_is_known(agent: Agent) -> None:
    agent.take()
    call = agent.fail(Lane.CLAIM)
    assert not agent.heard("untaken")
    agent.handle(Tick(), 1.0)
    assert agent.calls[Lane.CLAIM] == call


def test_a_row_that_is_held_is_told_with_its_queue(agent: Agent) -> None:
    """Without what it needs: a daemon that does not know it takes it again."""
    agent.handle(Tick(), 5.0)
    agent.answer(Lane.RENEW, agent.renewed(held=(calls.HeldRow(KEY, 1, None, "gpu"),)))
    (told,) = agent.heard("held")
    assert told["queue"] == "gpu"
    assert "spec" not in told
    agent.take()
    held = Decided(KEY, Decision.HELD, 1, queue="gpu", spec="{}")
    agent.answer(Lane.CLAIM, calls.ClaimsDecided((held,)))
    assert agent.heard("held")[-1]["spec"] == "{}"


def test_a_kill_and_a_refusal(agent: Agent) -> None:
    agent.say("kill", run=RUN, by="anna")
    assert agent.answer(Lane.FINISH, calls.Changed(1)) == calls.Kill(KEY, "anna")
    assert agent.heard("killed") == [{"type": "killed", "run": RUN, "done": True}]
    for number in range(300):
        agent.say("refuse", run={**RUN, "fire_time": RUN["fire_time"] + number}, attempt=0,
                  reason="no such user")  # fmt: skip
    call = agent.answer(Lane.FINISH, calls.Changed(1))
    assert isinstance(call, calls.Refuse)
    assert call.refusals == (calls.Refusal(KEY, 0, "no such user"),)
    call = agent.answer(Lane.FINISH, calls.Changed(1))
    assert isinstance(call, calls.Refuse)
    assert len(call.refusals) <= calls.BATCH


def test_what_the_host_serves_is_renewed(agent: Agent) -> None:
    worker = {"queues": ["gpu"], "version": "0.1.0", "slots": 2}
    agent.say("facts", version="1", tzdata="", tables="", pools={}, workers=[worker])
    agent.handle(Tick(), 5.0)
    call = agent.answer(Lane.RENEW, agent.renewed(served=("gpu",)))
    assert isinstance(call, calls.Renew)
    assert call.facts.workers == (calls.WorkerFacts(("gpu",), "0.1.0", 2),)
    assert agent.heard("status")[-1]["served"] == ["gpu"]
