"""Shared Runs on one host: questions, what the database answers, and the ends that it is told."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import pytest

from pycron.crontab.identity import shared_run
from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.table import Table
from pycron.engine.actions import (
    Action,
    Decisions,
    RecordAttempt,
    RecordEnded,
    Start,
    Stop,
)
from pycron.engine.cursor import Cursor
from pycron.engine.engine import Engine
from pycron.engine.events import (
    Ended,
    InputEvent,
    Lost,
    NeverStarted,
    Now,
    PauseBegan,
    PauseEnded,
    Refused,
    Resumed,
    Started,
    StopStarting,
    TableLoaded,
    TableRemoved,
    Tick,
)
from pycron.engine.limits import UNLIMITED, Limits
from pycron.engine.shared_actions import (
    Accept,
    Ask,
    Finish,
    RecordHold,
    RecordReported,
    RecordSharedCursor,
    RecordSharedEnd,
)
from pycron.engine.shared_events import (
    ClusterReady,
    SharedHeld,
    SharedLater,
    SharedOffered,
    SharedReported,
    SharedSettled,
    SharedStopped,
)
from pycron.engine.shared_runs import SharedState
from pycron.model.hosts import Cluster
from pycron.model.job import Source
from pycron.model.pause import ALL, Pause
from pycron.model.run import AttemptKey, Cause, Ending, Outcome, RunKey
from pycron.model.shared import Hold, SharedEnd, SharedKey
from pycron.schedule.zone import UTC

START = 1_750_000_020  # a whole minute, in UTC
MINUTELY = "CRON_NAME=x CRON_ON=any * * * * * x"
FOREVER = "CRON_RETRY_UNTIL=never "
RETRIED = f"CRON_RETRIES=2 CRON_RETRY_DELAY=10s CRON_RETRY_JITTER=0 {FOREVER}{MINUTELY}"
MINE = "incarnation-1"

T = TypeVar("T")


def table(*lines: str, name: str = "anna") -> Table:
    text = "".join(f"{line}\n" for line in lines)
    found = parse(text, Source(name, "anna"), ReaderContext(cluster=Cluster("web1", "prod")))
    assert not found.errors
    return found


class Host:
    """The engine of one host, its clocks, and what it has decided."""

    def __init__(
        self,
        *lines: str,
        limits: Limits = UNLIMITED,
        state: SharedState | None = None,
        at: float = START,
        connected: bool = True,
    ) -> None:
        self.wall = self.steady = float(at)
        self.engine = Engine(
            lambda _: UTC,
            Cursor(int(at), int(at)),
            limits=limits,
            shared=state or SharedState("prod", int(at)),
        )
        self.decided: list[Action] = []
        self.tell(TableLoaded(table(*lines)))
        self.resume(state)
        self.tell(Tick())
        if connected:
            self.tell(ClusterReady(ready=True, again=True))

    def resume(self, state: SharedState | None) -> None:
        """For a subclass or a test that continues with Runs of an earlier daemon."""

    def tell(self, event: InputEvent, wait: float = 0) -> list[Action]:
        self.wall += wait
        self.steady += wait
        out = list(self.engine.handle(event, Now(self.wall, self.steady)))
        for _ in range(1000):  # as the daemon does, in the next turns of its loop
            wakeup = self.engine.next_wakeup()
            if wakeup is None or wakeup > self.wall:
                break
            out += self.engine.handle(Tick(), Now(self.wall, self.steady))
        else:
            raise AssertionError("the engine always wants to be called at once")
        self.decided += out
        return out

    def held(self, shared: SharedKey, number: int = 1, incarnation: str = MINE) -> list[Action]:
        return self.tell(SharedHeld(hold(shared, number, incarnation)))

    def begin(self, shared: SharedKey, number: int = 1) -> AttemptKey:
        """The database gives the Attempt to this host, and the runner starts it."""
        (start,) = of(Start, self.held(shared, number))
        self.tell(Started(start.attempt, 100, self.wall))
        return start.attempt

    def cursor(self) -> int:
        """The last one that was recorded, with another record to make sure that there is one."""
        self.tell(Tick(), 61)
        return of(RecordSharedCursor, self.decided)[-1].second


def of(kind: type[T], actions: Sequence[object]) -> list[T]:
    return [action for action in actions if isinstance(action, kind)]


def key(fire: int, name: str = "x") -> SharedKey:
    return SharedKey("anna", name, fire)


def hold(shared: SharedKey, number: int = 1, incarnation: str = MINE) -> Hold:
    return Hold(shared, AttemptKey(shared_run("prod", shared), number), incarnation)


def ended(attempt: AttemptKey, exit_status: int = 0) -> Ended:
    return Ended(attempt, Ending(START + 61.0, exit_status, None, 0.1, 4096, 0))


FIRST = key(START + 60)
RUN = shared_run("prod", FIRST)
ATTEMPT = AttemptKey(RUN, 1)


# ---- questions


def test_a_fire_time_is_asked_for_and_makes_no_run_by_itself() -> None:
    host = Host(MINUTELY, "* * * * * local")
    out = host.tell(Tick(), 60)
    assert [ask.shared for ask in of(Ask, out)] == [FIRST]
    assert len(of(Start, out)) == 1  # that of the local Job
    assert not of(Ask, host.tell(Tick(), 30))
    assert not of(Ask, host.tell(Tick(), 29))


def test_a_host_without_a_cluster_asks_nothing() -> None:
    host = Host(MINUTELY, state=SharedState())
    host.tell(Tick(), 60)
    assert not of(Ask, host.decided)
    assert not of(Start, host.decided)


def test_a_held_run_is_recorded_then_started_under_its_incarnation() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    out = host.held(FIRST)
    (start,) = of(Start, out)
    assert (start.attempt, start.incarnation) == (ATTEMPT, MINE)
    records = [RecordHold(hold(FIRST), start.job), RecordAttempt(ATTEMPT)]
    assert [each for each in out if isinstance(each, RecordHold | RecordAttempt)] == records
    assert not of(Ask, out)


def test_a_settled_fire_time_is_over_for_this_host() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    host.tell(SharedSettled(FIRST, 0, "it runs on web2"))
    assert host.engine.shared.why(RUN) == "it runs on web2"
    assert not of(Start, host.decided)
    assert host.cursor() >= FIRST.fire_time


def test_an_undecided_fire_time_is_asked_for_again_after_a_second() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    host.tell(SharedLater(FIRST, 0, "the limit is full"))
    assert host.engine.next_wakeup() == host.wall + 1
    assert not of(Ask, host.tell(Tick(), 0.5))
    assert [ask.shared for ask in of(Ask, host.tell(Tick(), 0.5))] == [FIRST]
    assert host.engine.shared.why(RUN) == "the limit is full"


def test_without_an_agent_fire_times_wait_and_are_asked_for_later() -> None:
    host = Host(MINUTELY, connected=False)
    for _ in range(3):
        host.tell(Tick(), 60)
    assert not of(Ask, host.decided)
    assert host.cursor() == FIRST.fire_time - 1
    out = host.tell(ClusterReady(ready=True, again=True))
    assert [ask.shared.fire_time for ask in of(Ask, out)] == [START + 60 * n for n in (1, 2, 3, 4)]


def test_a_lost_connection_ends_all_questions() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    host.tell(ClusterReady(ready=False), 1)
    assert not of(Ask, host.tell(Tick(), 1))
    out = host.tell(ClusterReady(ready=True, again=True), 1)
    assert [ask.shared for ask in of(Ask, out)] == [FIRST]


def test_the_cursor_stays_before_a_fire_time_without_an_answer() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    host.tell(Tick(), 60)
    host.tell(SharedSettled(key(START + 120), 0, "elsewhere"))
    assert host.cursor() == FIRST.fire_time - 1


def test_a_new_daemon_asks_for_all_fire_times_after_the_cursor() -> None:
    """However long it was down: the database decides what is missed."""
    host = Host(MINUTELY, at=START + 3600, state=SharedState("prod", START))
    fires = [ask.shared.fire_time for ask in of(Ask, host.decided)]
    assert fires == list(range(START + 60, START + 3601, 60))


def test_fire_times_of_more_than_a_week_ago_are_not_asked_for() -> None:
    week = 7 * 86_400
    state = SharedState("prod", START - 10 * week)
    host = Host("CRON_NAME=x CRON_ON=any 0 * * * * x", at=START, state=state)
    fires = [ask.shared.fire_time for ask in of(Ask, host.decided)]
    assert min(fires) > START - week
    assert len(fires) == week // 3600


def test_a_clock_that_is_set_back_makes_no_second_pass() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    host.tell(SharedSettled(FIRST, 0, "elsewhere"))
    host.wall -= 600
    assert not of(Ask, host.tell(Tick(), 1))
    assert not of(Ask, host.tell(Tick(), 300))


def test_a_clock_that_is_set_forward_loses_no_fire_time() -> None:
    host = Host(MINUTELY)
    host.wall += 7200
    fires = [ask.shared.fire_time for ask in of(Ask, host.tell(Tick()))]
    assert fires == list(range(START + 60, START + 7201, 60))


def test_jitter_delays_the_question() -> None:
    """The window in which the Run may start counts from the end of the delay."""
    host = Host(f"CRON_JITTER=1h {MINUTELY}")
    while not of(Ask, host.decided):
        host.tell(Tick(), 1)
    (ask,) = of(Ask, host.decided)
    delay = host.wall - ask.shared.fire_time
    assert 0 < delay <= 3600
    assert ask.terms.window == 300 + delay


def test_no_question_without_room_on_this_machine() -> None:
    limits = replace(UNLIMITED, running=2)
    lines = [f"CRON_NAME=x{n} CRON_ON=any * * * * * x" for n in range(5)]
    host = Host(*lines, limits=limits)
    asks = of(Ask, host.tell(Tick(), 60))
    assert len(asks) == 2
    first = host.begin(asks[0].shared)
    host.tell(SharedSettled(asks[1].shared, 0, "elsewhere"))
    assert len(of(Ask, host.decided)) == 3  # one runs here, one is asked for
    assert len(of(Ask, host.tell(ended(first)))) == 1
    assert host.engine.next_wakeup() is not None


def test_local_jobs_do_not_wait_for_open_questions() -> None:
    limits = replace(UNLIMITED, running=1)
    host = Host(MINUTELY, "30 * * * * local", "* * * * * other", limits=limits)
    host.tell(Tick(), 60)
    assert len(of(Start, host.decided)) == 1


def test_a_pause_keeps_this_host_from_asking() -> None:
    host = Host(MINUTELY)
    host.tell(PauseBegan(Pause(ALL, host.wall, None, "anna")))
    assert not of(Ask, host.tell(Tick(), 60))
    assert not of(Ask, host.tell(Tick(), 60))
    host.tell(PauseEnded(ALL))
    assert of(Ask, host.tell(Tick(), 5))


def test_the_terms_of_a_job() -> None:
    host = Host(
        "CRON_CONCURRENCY=queue CRON_MAX_RUNNING=3 CRON_POOL=db CRON_START_DEADLINE=1h"
        f" CRON_CATCHUP=all CRON_RETRY_ON=1 {RETRIED.replace(FOREVER, 'CRON_RETRY_UNTIL=2h ')}"
    )
    (ask,) = of(Ask, host.tell(Tick(), 60))
    terms = ask.terms
    assert (terms.concurrency, terms.max_running, terms.pool) == ("queue", 3, "db")
    assert (terms.window, terms.catch_up, terms.after, terms.group) == (3600.0, True, (), None)
    assert (terms.retry.most, terms.retry.lost, terms.retry.delay) == (2, False, 10)
    assert terms.retry.until == FIRST.fire_time + 7200


def test_retries_end_with_the_next_fire_time() -> None:
    host = Host("CRON_RETRIES=1 " + MINUTELY)
    (ask,) = of(Ask, host.tell(Tick(), 60))
    assert ask.terms.retry.until == FIRST.fire_time + 60
    assert ask.terms.concurrency == "forbid"


def test_only_the_latest_missed_fire_time_is_caught_up() -> None:
    host = Host(f"CRON_CATCHUP=latest {MINUTELY}", at=START + 180, state=SharedState("prod", START))
    asks = of(Ask, host.decided)
    assert [ask.terms.catch_up for ask in asks] == [False, False, True]


def test_a_shared_job_follows_others() -> None:
    host = Host(MINUTELY, "CRON_NAME=y CRON_ON=any @after x y")
    asks = of(Ask, host.tell(Tick(), 60))
    assert [(ask.shared.name, ask.terms.after) for ask in asks] == [("x", ()), ("y", ("x",))]
    (start,) = of(Start, host.held(key(START + 60, "y")))
    assert start.job.name == "y"


# ---- nothing starts twice


def test_an_attempt_that_is_held_again_does_not_start_again() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    attempt = host.begin(FIRST)
    assert not of(Start, host.held(FIRST))
    host.tell(ended(attempt))
    out = host.held(FIRST)
    assert not of(Start, out)
    assert len(of(Finish, out)) == 1  # the database has not heard of the end


def test_what_the_history_knows_does_not_start_again() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    out = host.tell(SharedHeld(hold(FIRST), Outcome.SUCCEEDED))
    assert not of(Start, out)
    assert of(Finish, out)[0].end.outcome is Outcome.SUCCEEDED


def test_the_next_attempt_waits_until_the_one_before_has_ended() -> None:
    """The host was fenced, and has a new incarnation, while its command is being killed."""
    host = Host(RETRIED)
    host.tell(Tick(), 60)
    attempt = host.begin(FIRST)
    second = hold(FIRST, 2, "incarnation-2")
    assert not of(Start, host.tell(SharedHeld(second)))
    out = host.tell(Ended(attempt, Ending(START + 70, None, 9, 0, 0, 0, cause=Cause.LEASE)))
    (start,) = of(Start, out)
    assert (start.attempt, start.incarnation) == (second.attempt, "incarnation-2")
    assert [end.end.hold.incarnation for end in of(Finish, out)] == [MINE]


def test_one_question_at_a_time_about_a_run() -> None:
    host = Host(RETRIED)
    host.tell(Tick(), 60)
    assert not of(Accept, host.tell(SharedOffered(FIRST, 1)))  # it is asked for
    host.tell(SharedSettled(FIRST, 0, "waits for a retry"))
    assert len(of(Accept, host.tell(SharedOffered(FIRST, 1)))) == 1
    assert not of(Accept, host.tell(SharedOffered(FIRST, 1)))
    host.tell(SharedLater(FIRST, 1, "too late"))
    assert len(of(Accept, host.tell(SharedOffered(FIRST, 1)))) == 1


def test_nothing_starts_in_a_daemon_that_stops() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    host.tell(StopStarting())
    assert not of(Start, host.held(FIRST))
    assert not of(RecordHold, host.decided)


# ---- ends


def test_an_end_is_recorded_and_told_until_the_database_has_answered() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    out = host.tell(ended(host.begin(FIRST)))
    end = SharedEnd(hold(FIRST), Outcome.SUCCEEDED)
    assert of(RecordSharedEnd, out) == [RecordSharedEnd(end)]
    assert of(Finish, out) == [Finish(end)]
    host.tell(ClusterReady(ready=False))
    assert of(Finish, host.tell(ClusterReady(ready=True, again=True))) == [Finish(end)]
    out = host.tell(SharedReported(FIRST, 1, MINE))
    assert of(RecordReported, out) == [RecordReported(FIRST, ATTEMPT)]
    host.tell(ClusterReady(ready=False))
    assert not of(Finish, host.tell(ClusterReady(ready=True, again=True)))


def test_an_end_that_comes_too_late_is_noted() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    host.tell(ended(host.begin(FIRST)))
    (record,) = of(RecordReported, host.tell(SharedReported(FIRST, 1, MINE, "lost")))
    assert record.late == "lost"


def test_the_report_of_another_incarnation_is_no_answer() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    host.tell(ended(host.begin(FIRST)))
    assert not of(RecordReported, host.tell(SharedReported(FIRST, 1, "another")))


def test_a_failed_attempt_leaves_the_retry_to_the_cluster() -> None:
    host = Host(RETRIED)
    host.tell(Tick(), 60)
    out = host.tell(ended(host.begin(FIRST), 1))
    (told,) = of(Finish, out)
    assert (told.end.outcome, told.end.retry_at) == (Outcome.FAILED, host.wall + 10)
    (record,) = of(RecordEnded, out)
    assert (record.run_outcome, record.dead) == (Outcome.FAILED, False)
    assert host.engine.find(RUN) is None
    host.tell(SharedReported(FIRST, 1, MINE))
    (accept,) = of(Accept, host.tell(SharedOffered(FIRST, 1), 10))
    assert (accept.shared, accept.number) == (FIRST, 1)
    second = host.begin(FIRST, 2)
    assert second.number == 2
    assert of(Finish, host.tell(ended(second)))[0].end.outcome is Outcome.SUCCEEDED


def test_an_attempt_of_another_host_is_followed_by_one_of_this_host() -> None:
    host = Host(RETRIED)
    host.tell(Tick(), 60)
    host.tell(SharedSettled(FIRST, 0, "it runs on web2"))
    assert of(Accept, host.tell(SharedOffered(FIRST, 2)))
    last = host.begin(FIRST, 3)
    assert last.number == 3
    (told,) = of(Finish, host.tell(ended(last, 1)))
    assert told.end.retry_at is None  # it was the last one


def test_a_run_without_retries_left_is_no_dead_letter_of_this_host() -> None:
    """The dead letters of shared Jobs are in the database of the cluster."""
    host = Host(f"CRON_RETRIES=1 CRON_RETRY_ON=7 {MINUTELY}")
    host.tell(Tick(), 60)
    (record,) = of(RecordEnded, host.tell(ended(host.begin(FIRST), 1)))
    assert not record.dead


def test_what_the_runner_refuses_for_want_of_a_lease_is_lost() -> None:
    host = Host(RETRIED)
    host.tell(Tick(), 60)
    host.held(FIRST)
    (told,) = of(Finish, host.tell(Refused(ATTEMPT, "the lease is over", Cause.LEASE)))
    assert (told.end.outcome, told.end.retry_at) == (Outcome.LOST, host.wall + 10)


def test_a_lost_attempt_is_told() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    (told,) = of(Finish, host.tell(Lost(host.begin(FIRST), "the runner died")))
    assert (told.end.outcome, told.end.retry_at) == (Outcome.LOST, None)


def test_a_start_that_comes_too_late_is_told_as_missed() -> None:
    host = Host(f"CRON_START_DEADLINE=10s {MINUTELY}")
    host.tell(Tick(), 60)
    host.tell(Tick(), 11)
    out = host.held(FIRST)
    assert not of(Start, out)
    assert of(Finish, out)[0].end.outcome is Outcome.MISSED


def test_a_held_run_without_an_entry_is_told_as_missed() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    host.tell(TableRemoved("anna"))
    out = host.held(FIRST)
    assert not of(Start, out)
    assert of(Finish, out)[0].end.outcome is Outcome.MISSED


def test_a_stop_ends_the_attempt_and_no_other() -> None:
    host = Host(RETRIED)
    host.tell(Tick(), 60)
    attempt = host.begin(FIRST)
    assert not of(Stop, host.tell(SharedStopped(FIRST, 2, "killed by joe")))
    (stop,) = of(Stop, host.tell(SharedStopped(FIRST, 1, "killed by joe")))
    assert (stop.attempt, stop.reason) == (attempt, "killed by joe")
    cancelled = Ending(START + 61.0, None, 15, 0.1, 0, 0, cause=Cause.CANCELLED)
    (told,) = of(Finish, host.tell(Ended(attempt, cancelled)))
    assert (told.end.outcome, told.end.retry_at) == (Outcome.CANCELLED, None)


# ---- tables


def test_a_new_entry_begins_with_now() -> None:
    """Also while older fire times of other entries wait for the database."""
    host = Host(MINUTELY, connected=False)
    host.tell(Tick(), 120)
    new = "CRON_NAME=y CRON_ON=any * * * * * y"
    host.tell(TableLoaded(table(MINUTELY, new)))
    host.tell(Tick(), 60)
    out = host.tell(ClusterReady(ready=True, again=True))
    asked = {(ask.shared.name, (ask.shared.fire_time - START) // 60) for ask in of(Ask, out)}
    assert asked == {("x", 1), ("x", 2), ("x", 3), ("y", 3)}


def test_a_changed_entry_keeps_its_fire_times() -> None:
    host = Host(MINUTELY, connected=False)
    host.tell(Tick(), 60)
    host.tell(TableLoaded(table("# above", MINUTELY.replace(" x", " changed"))))
    host.tell(ClusterReady(ready=True, again=True))
    (start,) = of(Start, host.held(FIRST))
    assert start.job.command == "changed"


def test_a_removed_entry_leaves_its_fire_times_to_other_hosts() -> None:
    host = Host(MINUTELY, connected=False)
    host.tell(Tick(), 60)
    host.tell(TableLoaded(table("@daily other")))
    assert not of(Ask, host.tell(ClusterReady(ready=True, again=True)))


# ---- what an earlier daemon left


def left(number: int, **fields: object) -> Callable[[Host], Resumed]:
    def event(host: Host) -> Resumed:
        (job,) = host.engine.jobs()
        return Resumed(AttemptKey(RUN, number), job, None, None, **fields)  # type: ignore[arg-type]

    return event


@pytest.mark.parametrize("number", [1, 3])
def test_a_run_that_was_held_and_not_begun_begins_under_its_number(number: int) -> None:
    state = SharedState("prod", START, (hold(FIRST, number),))
    host = Host(MINUTELY, state=state, connected=False)
    host.tell(left(0)(host), 61)
    host.tell(Tick(), 1)
    (start,) = of(Start, host.decided)
    assert (start.attempt.number, start.incarnation) == (number, MINE)


def test_an_attempt_that_was_recorded_and_never_started_keeps_its_incarnation() -> None:
    host = Host(MINUTELY, state=SharedState("prod", START, (hold(FIRST),)), connected=False)
    host.tell(left(1)(host), 61)
    (start,) = of(Start, host.tell(NeverStarted(ATTEMPT)))
    assert (start.attempt, start.incarnation) == (ATTEMPT, MINE)
    (told,) = of(Finish, host.tell(Lost(ATTEMPT, "the machine was restarted")))
    assert told.end.hold == hold(FIRST)


def test_an_end_that_an_earlier_daemon_did_not_tell_is_told() -> None:
    end = SharedEnd(hold(FIRST), Outcome.FAILED, "x", START + 70.0)
    host = Host(MINUTELY, state=SharedState("prod", START + 60, (), (end,)), at=START + 65)
    assert of(Finish, host.decided) == [Finish(end)]
    assert not of(Start, host.held(FIRST))


def test_a_claimed_run_of_a_killed_daemon_is_asked_for_again_and_begins_once() -> None:
    """The daemon was killed between the answer and its record: the cursor is before the Run."""
    host = Host(MINUTELY, at=START + 70, state=SharedState("prod", START))
    assert [ask.shared for ask in of(Ask, host.decided)] == [FIRST]
    assert len(of(Start, host.held(FIRST))) == 1
    assert not of(Start, host.held(FIRST))


def test_decisions_are_performed_in_order() -> None:
    host = Host(MINUTELY)
    host.tell(Tick(), 60)
    host.begin(FIRST)
    out = host.engine.handle(ended(ATTEMPT), Now(host.wall, host.steady))
    kinds = [type(each) for each in out]
    assert kinds.index(RecordSharedEnd) < kinds.index(Finish)
    assert isinstance(out, Decisions)


def test_the_key_of_a_run_is_the_same_on_all_hosts() -> None:
    (job,) = table(MINUTELY, name="/etc/other").jobs
    assert RunKey(job.id, START + 60) == RUN
