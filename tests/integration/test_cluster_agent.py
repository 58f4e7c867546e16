"""Real agents, a real PostgreSQL, and this test as their daemons."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycron.system import lease_file
from tests.support.cluster_agent import Agent, run_at
from tests.support.postgres import Postgres, is_here, running_postgres

pytest.importorskip("psycopg")
if not is_here():
    pytest.skip("needs PostgreSQL", allow_module_level=True)

from pycron.cluster.migrations import upgrade

Start = Callable[..., Agent]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        upgrade(postgres.address())
        yield postgres


@pytest.fixture
def start(tmp_path: Path, server: Postgres, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Start an agent of a host; each test has a cluster of its own."""
    agents: list[Agent] = []

    def start(directory: str, host: str | None = None) -> Agent:
        agent = Agent(
            tmp_path / directory, server.address(), host or directory, cluster=request.node.name
        )
        agents.append(agent)
        agent.start()
        return agent

    yield start
    for agent in agents:
        agent.stop()


def test_one_of_two_hosts_gets_each_run(start: Start) -> None:
    agents = [start("web1"), start("web2")]
    for agent in agents:
        agent.wait_for(lambda a=agent: len(a.hosts()) == 2)  # type: ignore[misc]
    now = int(time.time())
    runs = [run_at(now - each) for each in range(20)]
    for agent in agents:
        for run in runs:
            agent.ask(run)
    for run in runs:
        kinds = sorted(agent.answer_to(run)["type"] for agent in agents)
        assert kinds == ["held", "settled"]
    shares = [len(agent.heard("held")) for agent in agents]
    assert min(shares) > 0, "the preference spreads the Runs"


@pytest.mark.slow
def test_a_failed_attempt_is_offered_and_the_next_one_has_the_next_number(start: Start) -> None:
    agents = [start("web1"), start("web2")]
    for agent in agents:
        agent.registered()
    run = run_at(int(time.time()))
    agents[0].ask(run)
    held = agents[0].answer("held", run)
    assert held["attempt"] == 1
    agents[0].finish(held, "failed", retry_in=0.1)
    assert agents[0].answer("finished", run)["taken"]
    offer = agents[1].answer("offer", run)
    agents[1].accept(offer)
    assert agents[1].answer("held", run)["attempt"] == 2
    agents[0].accept(offer)  # too late
    assert agents[0].answer("settled", run)["holder"] == "web2"
    agents[0].finish(held, "failed", retry_in=0.1)  # the daemon did not hear the answer
    agents[0].wait_for(lambda: len(agents[0].heard("finished", run)) == 2)


@pytest.mark.slow
def test_the_lease_is_counted_from_before_the_request(start: Start) -> None:
    before = lease_file.now()
    agent = start("web1")
    incarnation = agent.registered()
    lease = agent.lease()
    assert lease is not None
    assert lease.incarnation == incarnation
    assert before < lease.deadline - 15.0 <= lease_file.now()
    agent.send({"type": "alive"})
    agent.wait_for(lambda: (new := agent.lease()) and new.deadline > lease.deadline)


def test_a_restarted_agent_continues_the_incarnation_and_tells_what_is_held(start: Start) -> None:
    agent = start("web1")
    incarnation = agent.registered()
    run = run_at(int(time.time()))
    agent.ask(run)
    agent.answer("held", run)
    agent.stop()
    agent.start()
    assert agent.registered() == incarnation
    assert agent.answer("held", run) == {
        "type": "held",
        "run": run,
        "attempt": 1,
        "incarnation": incarnation,
    }


def test_a_new_daemon_is_told_what_is_held(start: Start) -> None:
    agent = start("web1")
    agent.registered()
    run = run_at(int(time.time()))
    agent.ask(run)
    agent.answer("held", run)
    agent.disconnect()
    agent.connect()
    assert agent.answer("held", run)["attempt"] == 1


def test_a_second_daemon_with_the_name_of_a_host_is_refused(start: Start) -> None:
    start("web1").registered()
    twin = start("other", host="web1")
    status = twin.wait_for(
        lambda: [each for each in twin.heard("status") if each["problem"] is not None]
    )[-1]
    assert status["incarnation"] is None
    assert 'has the name "web1"' in status["problem"]


@pytest.mark.slow
def test_who_leaves_gives_up_the_name(start: Start) -> None:
    agent = start("web1")
    agent.registered()
    agent.send({"type": "leave"})
    assert agent.process is not None
    assert agent.process.wait(30) == 0
    lease = agent.lease()
    assert lease is not None
    assert lease.incarnation is None
    start("other", host="web1").registered()


@pytest.mark.slow
def test_a_fenced_host_voids_its_lease_and_comes_back(start: Start, server: Postgres) -> None:
    agent = start("web1")
    first = agent.registered()
    run = run_at(int(time.time()))
    agent.ask(run)
    held = agent.answer("held", run)
    server.psql(f"UPDATE pycron.hosts SET incarnation = NULL WHERE incarnation = '{first}'")
    agent.wait_for(lambda: agent.registered() != first)
    lease = agent.lease()
    assert lease is not None
    assert lease_file.is_void(lease, first)
    agent.wait_for(lambda: agent.heard("offer", run), 30)  # reaped: its next Attempt is due
    agent.finish(held, "succeeded")
    assert not agent.answer("finished", run)["taken"]


def test_without_the_database_nothing_is_answered_and_then_all(
    start: Start, server: Postgres
) -> None:
    agent = start("web1")
    agent.registered()
    server.stop()
    run = run_at(int(time.time()))
    agent.ask(run)
    agent.wait_for(lambda: agent.heard("status")[-1]["problem"])
    assert not agent.heard("held", run)
    server.start()
    assert agent.answer("held", run)["attempt"] == 1
    agent.wait_for(lambda: agent.heard("status")[-1]["problem"] is None)
