"""What a host does with Runs that its workers have heard of."""

from dataclasses import replace
from typing import Any

from pycron.crontab.queue_specs import read_spec, spec_of
from pycron.crontab.reader import ReaderContext
from pycron.engine.actions import Start
from pycron.engine.events import PauseBegan, Resumed, StopStarting, Tick
from pycron.engine.limits import UNLIMITED
from pycron.engine.shared_actions import (
    Ask,
    Finish,
    RecordHold,
    Take,
    WorkDone,
    WorkRefused,
    WorkTaken,
)
from pycron.engine.shared_events import (
    ClusterReady,
    SharedHeld,
    SharedSettled,
    SharedUntaken,
    WorkWanted,
)
from pycron.engine.shared_runs import SharedState
from pycron.model.job import Job
from pycron.model.pause import ALL, Pause
from pycron.model.run import AttemptKey, Outcome
from pycron.model.shared import Hold
from tests.unit.test_shared_runs import FIRST, MINE, RUN, START, Host, ended, of, table

QUEUED = "CRON_NAME=x CRON_ON=queue:gpu * * * * * work"
RETRIES = "CRON_RETRIES=2 CRON_RETRY_DELAY=10s CRON_RETRY_JITTER=0 CRON_RETRY_UNTIL=never"


def job_of(settings: str = "") -> Job:
    (job,) = table(f"{settings} {QUEUED}").jobs
    return read_spec(spec_of(job), "prod", "anna", "x", "gpu", ReaderContext())


def hold(number: int = 1, spec: str | None = "spec") -> Hold:
    return Hold(FIRST, AttemptKey(RUN, number), MINE, "gpu", spec)


def held(number: int = 1, settings: str = "") -> SharedHeld:
    return SharedHeld(hold(number), job=job_of(settings))


def worker() -> Host:
    """A host without the entry."""
    return Host("@daily local", at=START + 60)


def want(host: Host, number: int = 0, **more: Any) -> list[object]:
    return list(host.tell(WorkWanted(FIRST, number, "gpu", **more)))


def test_the_host_with_the_entry_claims_a_row_that_waits_and_runs_nothing() -> None:
    host = Host(QUEUED)
    (ask,) = of(Ask, host.tell(Tick(), 60))
    assert (ask.terms.queue, ask.terms.table) == ("gpu", "anna")
    assert ask.terms.spec is not None
    host.tell(SharedSettled(FIRST, 0, "it waits for a worker of the queue gpu"))
    assert host.engine.shared.why(RUN) == "it waits for a worker of the queue gpu"
    assert not of(Start, host.decided)


def test_a_full_host_claims_for_queues_all_the_same() -> None:
    host = Host(QUEUED, QUEUED.replace("queue:gpu", "any").replace("NAME=x", "NAME=y"),
                limits=replace(UNLIMITED, running=0))  # fmt: skip
    assert [ask.shared.name for ask in of(Ask, host.tell(Tick(), 60))] == ["x"]


def test_a_worker_is_told_that_it_is_taken_and_how_it_ends() -> None:
    host = worker()
    assert of(Take, want(host)) == [Take(FIRST, 0, "gpu")]
    out = host.tell(held())
    (start,) = of(Start, out)
    assert (start.job.command, start.incarnation) == ("work", MINE)
    assert of(RecordHold, out) == [RecordHold(hold(), start.job)]
    assert of(WorkTaken, out) == [WorkTaken(RUN, 0)]
    out = host.tell(ended(start.attempt))
    assert of(WorkDone, out) == [WorkDone(RUN, 0, Outcome.SUCCEEDED, None)]
    assert len(of(Finish, out)) == 1


def test_a_retry_is_left_to_the_queue() -> None:
    host = worker()
    want(host)
    (start,) = of(Start, host.tell(held(settings=RETRIES)))
    (finish,) = of(Finish, host.tell(ended(start.attempt, 1)))
    assert finish.end.retry_at is not None
    assert not host.engine.alive
    assert of(Take, want(host, 1)) == [Take(FIRST, 1, "gpu")]


def test_a_second_message_is_refused() -> None:
    host = worker()
    want(host)
    assert of(WorkRefused, want(host)) == [WorkRefused(RUN, 0, "it is known here already")]
    host.tell(held())
    assert of(WorkRefused, want(host)) == [WorkRefused(RUN, 0, "it is known here already")]
    assert len(of(Take, host.decided)) == 1


def test_a_worker_that_has_lost_its_daemon_asks_again() -> None:
    host = worker()
    want(host)
    host.tell(held())
    assert of(WorkTaken, want(host, resume=True)) == [WorkTaken(RUN, 0)]
    assert of(WorkRefused, want(host, 1, resume=True))


def test_a_row_that_the_gate_does_not_give() -> None:
    host = worker()
    want(host)
    out = host.tell(SharedUntaken(FIRST, 0, "web2 runs it"))
    assert of(WorkRefused, out) == [WorkRefused(RUN, 0, "web2 runs it")]
    assert of(Take, want(host))


def test_what_is_refused_for_now_only() -> None:
    pause = Pause(ALL, START, None, "root", None)
    for event in (ClusterReady(ready=False), StopStarting(), PauseBegan(pause)):
        host = worker()
        host.tell(event)
        (refused,) = of(WorkRefused, want(host))
        assert refused.again
    host = Host("@daily local", at=START + 60, limits=replace(UNLIMITED, running=1))
    want(host)
    other = WorkWanted(FIRST._replace(name="y"), 0, "gpu")
    (refused,) = of(WorkRefused, host.tell(other))
    assert (refused.again, refused.reason) == (True, "there is no room on this machine")


def test_a_lost_connection_leaves_the_question_open() -> None:
    host = worker()
    want(host)
    (refused,) = of(WorkRefused, host.tell(ClusterReady(ready=False)))
    assert refused.again
    host.tell(ClusterReady(ready=True, again=True))
    assert of(Take, want(host))


def test_a_row_that_this_host_holds_and_does_not_know_is_taken_again() -> None:
    """A daemon was killed before it could record the Attempt; now it has to learn what to run."""
    host = worker()
    out = host.tell(SharedHeld(hold(spec=None)))
    assert of(Take, out) == [Take(FIRST, 0, "gpu")]
    assert len(of(Start, host.tell(held()))) == 1


def test_an_entry_of_this_host_does_not_stand_for_what_the_row_says() -> None:
    host = Host(QUEUED.replace("work", "another version"))
    host.tell(Tick(), 60)
    (start,) = of(Start, host.tell(held()))
    assert start.job.command == "work"


def test_a_job_that_cannot_be_run_here_has_failed() -> None:
    host = worker()
    want(host)
    out = host.tell(SharedHeld(hold(), problem="bad command"))
    (finish,) = of(Finish, out)
    assert (finish.end.outcome, finish.end.reason) == (Outcome.FAILED, "bad command")
    assert of(WorkDone, out) == [WorkDone(RUN, 0, Outcome.FAILED, "bad command")]
    assert not of(Start, out)


def test_the_next_daemon_goes_on_with_its_retries() -> None:
    job = job_of(RETRIES)
    state = SharedState("prod", START + 60, (hold(),))
    host = Host("@daily local", at=START + 61, state=state)
    host.tell(Resumed(AttemptKey(RUN, 1), job, 100, START + 60.5))
    (finish,) = of(Finish, host.tell(ended(AttemptKey(RUN, 1), 1)))
    assert finish.end.retry_at is not None
