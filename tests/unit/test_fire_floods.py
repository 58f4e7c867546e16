"""Floods: many fire times at one instant are taken up in parts, or refused as ranges."""

import gc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.crontab.entries import Entries
from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import Action, Log, RecordCursor, RecordRefused, RecordRun
from pycron.engine.cursor import Cursor
from pycron.engine.engine import Engine
from pycron.engine.events import Ended, InputEvent, Now, Started, TableLoaded, TableRemoved, Tick
from pycron.engine.limits import Limits
from pycron.engine.log_events import Event
from pycron.engine.refusals import Refusals, RefusedRange
from pycron.model.job import Source
from pycron.model.run import AttemptKey, Ending
from pycron.schedule.zone import UTC

START = 1_800_000_000
SLICE = 10


class Flood:
    """An engine whose parts are small, and its clock."""

    def __init__(self, limits: Limits, **tables: str) -> None:
        cursor = Cursor(START, START)
        self.engine = Engine(lambda _: UTC, cursor, limits=limits, slice_runs=SLICE)
        self.wall = float(START)
        for name, text in tables.items():
            self.tell(TableLoaded(parse(text, Source(name, name), ReaderContext())))
        self.tell(Tick())

    def tell(self, event: InputEvent, wait: float = 0) -> list[Action]:
        self.wall += wait
        return list(self.engine.handle(event, Now(self.wall, self.wall)))

    def second(self) -> list[list[Action]]:
        """The actions of each Tick of the next second."""
        parts = [self.tell(Tick(), 1)]
        while self.engine.busy:
            parts.append(self.tell(Tick()))
        return parts


def begun(actions: list[Action]) -> list[str]:
    """The users of the Runs that come to be."""
    return [each.job.user for each in actions if isinstance(each, RecordRun)]


def cursors(actions: list[Action]) -> list[int]:
    return [each.cursor.wall for each in actions if isinstance(each, RecordCursor)]


def many(count: int, schedule: str = "@every 1s") -> str:
    return "".join(f"{schedule} : {number}\n" for number in range(count))


def test_a_part_of_a_flood_is_taken_up_and_other_users_are_in_the_first_part() -> None:
    flood = Flood(Limits(running=0), alice=many(100), bob="@every 1s true\n")
    parts = flood.second()
    assert "bob" in begun(parts[0])
    assert all(len(begun(part)) <= 2 * SLICE for part in parts)
    assert Counter(user for part in parts for user in begun(part))["alice"] >= 100


def test_who_has_more_due_than_the_daemon_can_take_up_delays_nobody_else() -> None:
    """Bob's fire time comes later than thousands of Alice's that still wait for their turn."""
    flood = Flood(Limits(running=0), alice=many(400), bob="@every 1s true\n")
    for _ in range(20):
        ticks = [flood.tell(Tick(), wait) for wait in (1, 0, 0)]
        assert "bob" in begun(ticks[0])
        assert flood.engine.busy


@pytest.mark.parametrize("period", [1, 7])
def test_urgent_runs_of_a_flood_are_in_the_first_part(period: int) -> None:
    """Also after some turns, in which entries leave the sorted part of the queue, and return."""
    table = many(300, f"@every {period}s")
    urgent = [4, 150, 299]
    lines = table.splitlines()
    for number in urgent:
        lines[number] = f"CRON_PRIORITY=7 CRON_NAME=urgent{number} {lines[number]}"
    flood = Flood(Limits(running=0), alice="\n".join(lines) + "\n")
    for _ in range(2 * period):
        parts = flood.second()
        first = [each.job.name for each in parts[0] if isinstance(each, RecordRun)]
        if flood.wall % period == 0:
            assert first[: len(urgent)] == [f"urgent{number}" for number in urgent]


def test_the_cursor_passes_a_fire_time_only_when_all_of_it_was_taken_up() -> None:
    """Otherwise a daemon that is killed between two parts would lose the rest."""
    flood = Flood(Limits(running=0), alice=many(100))
    *parts, last = flood.second()
    assert {cursor for part in parts for cursor in cursors(part)} == {START}
    assert cursors(last)[-1] == START + 1


def test_a_run_that_was_claimed_and_has_ended_does_not_come_again() -> None:
    """Much of the fire time is still in the timetable when the first part was taken up."""
    flood = Flood(Limits(), alice=many(400, "@every 10s"))
    begun_before = [each for second in range(9) for part in flood.second() for each in part]
    assert not begun(begun_before)
    actions = flood.tell(Tick(), 0.9)
    while flood.engine.busy:
        actions += flood.tell(Tick())
    claimed = [each.run for each in actions if isinstance(each, RecordRun)]
    assert len(claimed) == 400
    flood.wall = START + 10
    flood.tell(Tick())  # the first one only releases what was claimed
    later = flood.tell(Tick())
    for run in claimed:
        attempt = AttemptKey(run, 1)
        later += flood.tell(Started(attempt, 1, flood.wall))
        later += flood.tell(Ended(attempt, Ending(flood.wall, 0, None, 0, 0, 0)))
    while flood.engine.busy:
        later += flood.tell(Tick())
    assert not [each.run for each in later if isinstance(each, RecordRun)]
    assert cursors(later)[-1] == START + 10


def test_what_the_queue_refuses_is_a_range_and_a_log_line_a_minute() -> None:
    flood = Flood(Limits(running=0, user_waiting=30), alice=many(100), bob="@every 1s true\n")
    seconds = [flood.second() for _ in range(50)]
    found = [each for second in seconds for part in second for each in part]
    assert Counter(begun(found)) == {"alice": 30, "bob": 30}
    ranges = {
        (each.refused.user, each.refused.after): each.refused
        for each in found
        if isinstance(each, RecordRefused)
    }
    assert {user for user, _ in ranges} == {"alice", "bob"}
    (of_alice,) = (each for each in ranges.values() if each.user == "alice")
    assert (of_alice.after, of_alice.until) == (START, START + 50)
    assert of_alice.count == 100 * 50 - 30
    assert of_alice.reason == "the queue of alice is full (limits.user_waiting is 30)"
    lines = [each for each in found if isinstance(each, Log)]
    assert Counter(each.event for each in lines) == {Event.FIRE_TIMES_REFUSED: 2}


def test_a_fire_time_that_starts_at_once_needs_no_place_in_the_queue() -> None:
    flood = Flood(Limits(running=50, user_waiting=5), alice=many(40))
    assert len([user for part in flood.second() for user in begun(part)]) == 40


def test_of_the_queue_an_eighth_is_kept_for_users_who_have_nothing_waiting() -> None:
    tables = {f"u{number}": many(100) for number in range(3)}
    flood = Flood(Limits(running=0, waiting=80), **tables, zoe="0 0 * * * x\n")
    flood.second()
    flood.second()
    assert flood.engine.admission.waiting == 70


def test_a_table_that_changes_leaves_no_fire_time_unaccounted_for() -> None:
    flood = Flood(Limits(running=0), alice=many(100))
    first = flood.tell(Tick(), 1)
    change = flood.tell(TableRemoved("alice"))
    refused = [each.refused for each in change if isinstance(each, RecordRefused)]
    runs = len(begun(first)) + len(begun(change))
    assert runs + refused[-1].count == 100
    assert refused[-1].reason == "its table was changed before its turn came"
    assert not flood.engine.busy


def test_delays_count_as_waiting() -> None:
    """Ten thousand Runs that wait for the end of CRON_JITTER are a queue, too."""
    table = "CRON_JITTER=1d\n" + many(100)
    flood = Flood(Limits(user_waiting=30), alice=table)
    for _ in range(3):
        flood.second()
    assert len(flood.engine.alive) == 30


@pytest.mark.parametrize(
    ("fires", "ranges"),
    [
        ((5, 6, 6, 66), [(4, 66, 4)]),
        ((5, 66), [(4, 5, 1), (65, 66, 1)]),  # more than a minute apart
        ((5, 4), [(4, 5, 1), (3, 4, 1)]),  # the clock was set back
        (tuple(range(0, 3660, 60)), [(-1, 3540, 60), (3599, 3600, 1)]),  # an hour at most
    ],
)
def test_ranges(fires: tuple[int, ...], ranges: list[tuple[int, int, int]]) -> None:
    refusals = Refusals()
    for fire in fires:
        refusals.add("alice", fire, "full")
    found = refusals.take()
    assert [(each.after, each.until, each.count) for each in found] == ranges
    assert refusals.take() == []
    assert len(refusals.to_be_logged(found, 7.0)) == 1
    assert refusals.to_be_logged(found, 66.9) == []
    assert len(refusals.to_be_logged(found, 67.0)) == 1


@given(st.lists(st.integers(0, 600), max_size=60), st.integers(1, 10))
def test_each_fire_time_is_in_the_ranges_in_any_order(fires: list[int], part: int) -> None:
    """The store keeps one range for each user and beginning: the last that it was given."""
    refusals = Refusals()
    stored: dict[int, RefusedRange] = {}
    for number, fire in enumerate(fires):
        refusals.add("alice", 60 * fire, "full")
        if number % part == 0:
            stored |= {each.after: each for each in refusals.take()}
    stored |= {each.after: each for each in refusals.take()}
    assert sum(each.count for each in stored.values()) == len(fires)
    for fire in fires:
        assert any(each.after < 60 * fire <= each.until for each in stored.values())


def test_a_table_that_lags_behind_has_few_fire_times_in_memory() -> None:
    """Each Tick took the fire times of some entries, and all that had come meanwhile."""
    flood = Flood(Limits(), alice=many(1000))
    flood.tell(Tick(), 30)
    for _ in range(100):
        flood.tell(Tick(), 0.01)
    assert flood.engine.busy
    in_memory = [each for each in gc.get_objects() if is_due_fire(each)]
    assert len(in_memory) <= SLICE * 31


def is_due_fire(thing: object) -> bool:
    return isinstance(thing, tuple) and len(thing) == 4 and isinstance(thing[2], Entries)
