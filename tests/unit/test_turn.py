"""One turn of the daemon: the order of its phases, with fakes of the ports."""

from collections.abc import Iterable, Sequence
from itertools import permutations

import pytest

from pycron.daemon.turn import Turn
from pycron.engine.actions import (
    Decisions,
    Log,
    Record,
    RecordAttempt,
    RecordCursor,
    RecordResume,
    RecordRun,
    Release,
    RunnerAction,
    Start,
)
from pycron.engine.events import Now, PauseEnded, Refused, Tick
from pycron.engine.log_events import Event
from pycron.model.pause import ALL, Scope, ScopeKind, scopes_of
from pycron.model.run import AttemptKey, RunKey
from tests.unit.test_engine import START, Sim, table

RUN = RunKey("0123456789abcdef", START)
ATTEMPT = AttemptKey(RUN, 1)
(JOB,) = table("* * * * * a").jobs
HELD, AT_ONCE = Start(ATTEMPT, JOB, hold=True), Start(ATTEMPT, JOB)
RELEASE = Release(START)
WRITTEN = RecordResume(ALL)
SAID = Log(Event.RELOADED, {})


# ---- decisions


def test_actions_come_out_by_phase() -> None:
    decided = Decisions([RELEASE], [WRITTEN], [AT_ONCE], [SAID])
    assert list(decided) == [RELEASE, WRITTEN, AT_ONCE, SAID]


@pytest.mark.parametrize("parts", list(permutations([
    Decisions(released=[RELEASE]), Decisions(records=[WRITTEN]),
    Decisions(actions=[AT_ONCE]), Decisions(logs=[SAID]),
])))  # fmt: skip
def test_the_order_of_events_does_not_change_the_order_of_phases(
    parts: tuple[Decisions, ...],
) -> None:
    """A log entry, or a record, that comes first does not move a release behind the records."""
    decided = Decisions()
    for part in parts:
        decided.add(part)
    assert list(decided) == [RELEASE, WRITTEN, AT_ONCE, SAID]


def test_an_attempt_is_released_after_it_was_handed_over_to_be_held() -> None:
    decided = Decisions(records=[WRITTEN], actions=[HELD])
    decided.add(Decisions(released=[RELEASE]))
    assert list(decided) == [WRITTEN, HELD, RELEASE]


def test_decisions_are_true_if_there_is_something_to_perform() -> None:
    assert not Decisions()
    assert all((Decisions(released=[RELEASE]), Decisions(logs=[SAID])))


# ---- the turn


class World:
    """Fakes of the ports and the log; `done` is all that they were told, in order."""

    behind = False
    unwritten = 0
    failure = None

    def __init__(self) -> None:
        self.done: list[object] = []
        self.ended: list[AttemptKey] = []
        self.refuse: AttemptKey | None = None
        self.sim = Sim("* * * * * a")
        self.turn = Turn(
            self.sim.engine, self, self, self.done.append, lambda: Now(self.sim.wall, self.sim.wall)
        )

    def write(self, records: Sequence[Record]) -> None:
        self.done += records

    def acknowledge(self, ended: Iterable[AttemptKey]) -> None:
        self.done += [("acknowledged", attempt) for attempt in ended]

    def release(self, released: Sequence[Release]) -> None:
        self.done += released

    def perform(self, actions: Sequence[RunnerAction]) -> None:
        self.done += actions
        for action in actions:
            if isinstance(action, Start):
                self.turn.feed(Refused(action.attempt, "no such user"))

    def take_ended(self) -> list[AttemptKey]:
        ended, self.ended = self.ended, []
        return ended

    def kinds(self) -> list[str]:
        return [type(each).__name__ for each in self.done]


def test_a_turn_records_starts_logs_and_acknowledges_in_this_order() -> None:
    world = World()
    world.sim.wall = START + 60.25
    world.turn.feed(Tick())
    world.turn.say(SAID)
    world.ended = [ATTEMPT]
    assert world.turn.pending
    world.turn.perform()
    first = [RecordRun, RecordCursor, RecordAttempt, Start, Log]
    assert world.kinds()[:5] == [kind.__name__ for kind in first]
    assert world.done[-1] == ("acknowledged", ATTEMPT)
    assert not world.turn.pending


def test_what_a_start_leads_to_is_performed_in_the_same_turn() -> None:
    world = World()
    world.sim.wall = START + 60.25
    world.turn.feed(Tick())
    world.turn.perform()
    start = world.kinds().index("Start")
    assert world.kinds()[start + 1 :] == ["RecordEnded", "Log"]


def test_a_turn_without_an_event_does_nothing() -> None:
    world = World()
    world.turn.feed(PauseEnded(ALL))  # nothing is paused
    world.turn.perform()
    assert world.done == []


# ---- scopes of pauses


@pytest.mark.parametrize("text", ["all", "user:alice", "pool:db", "job:0123456789abcdef"])
def test_a_scope_has_one_text(text: str) -> None:
    assert str(Scope.parse(text)) == text


@pytest.mark.parametrize("text", ["", "user", "user:", "all:", "all:x", "group:x", "USER:x"])
def test_a_bad_scope_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"scope|ScopeKind"):
        Scope.parse(text)


def test_the_scopes_of_a_job() -> None:
    (plain, pooled) = table("* * * * * a", "CRON_POOL=db * * * * * b").jobs
    assert scopes_of(plain) == [ALL, Scope.of_user("alice"), Scope.of_job(plain.id)]
    assert scopes_of(pooled)[-1] == Scope(ScopeKind.POOL, "db")
