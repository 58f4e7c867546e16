"""Fire times to come: in order over all Jobs, without looking at more of them than needed."""

import heapq
from collections.abc import Iterator
from itertools import islice, starmap
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pycron.control.rows import job_row, listed_row
from pycron.crontab.entries import Entries, EntryContext
from pycron.crontab.entry_kind import EntryKind
from pycron.crontab.jobs import Jobs
from pycron.crontab.listing import entries_from, listed
from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.cursor import Cursor
from pycron.engine.table_queue import TableQueue
from pycron.engine.timetable import Timetable
from pycron.engine.upcoming import NextFires, first_from, in_order
from pycron.model.job import Job, Source
from pycron.model.steps import finish
from pycron.schedule.fire_times import fire_times, next_fire
from pycron.schedule.zone import UTC, Zone

START = 1_780_000_000
DAY = 86_400
ENTRIES = st.sampled_from(
    ["* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 1 * *", "15 14 * * 1-5", "@hourly",
     "@every 90s", "CRON_TZ=Asia/Kolkata 5 4 * * *", "CRON_EVERY=2d@2026-01-01 0 6 * * *",
     "@reboot"]
)  # fmt: skip
TABLES = st.lists(st.lists(ENTRIES, max_size=6), max_size=4)


def zone_of(_: str | None) -> Zone:
    return UTC


def everybody(_: EntryContext) -> bool:
    return True


def entries_of(lines: list[str], name: str = "joe") -> Entries:
    text = "".join(f"{line} echo {number}\n" for number, line in enumerate(lines))
    table = parse(text, Source(name, "joe"), ReaderContext("host", lambda _: True))
    assert not table.errors, table.errors
    return table.jobs


def jobs_of(tables: list[list[str]]) -> Jobs:
    return Jobs([entries_of(lines, f"t{number}") for number, lines in enumerate(tables)])


def all_fires(jobs: Jobs, count: int) -> list[tuple[int, int]]:
    """The first fire times, each with the number of its Job, without any shortcut."""

    def of_job(number: int, job: Job) -> Iterator[tuple[int, int]]:
        for fire in fire_times(job.schedule, UTC, START, START + 5000 * DAY):
            yield fire, number

    return list(islice(heapq.merge(*starmap(of_job, enumerate(jobs))), count))


@given(TABLES, st.integers(0, 40))
@example([["*/7 * * * *", "@every 90s"]], 13)  # two are due at the time of the last one
def test_the_first_fire_times_are_those_that_brute_force_finds(
    tables: list[list[str]], count: int
) -> None:
    jobs = jobs_of(tables)
    first = finish(first_from(jobs, everybody, NextFires(zone_of), START, max(count, 1)))
    found = list(islice(in_order(first, zone_of), count))
    expected = all_fires(jobs, count)
    assert [fire for fire, _ in found] == [fire for fire, _ in expected]
    number = {job.id: n for n, job in enumerate(jobs)}
    numbered = sorted((fire, number[job.id]) for fire, job in found)
    last = max((fire for fire, _ in expected), default=0)  # of which not all may be among them
    assert [each for each in numbered if each[0] < last] == [
        each for each in expected if each[0] < last
    ]
    assert set(numbered) <= set(all_fires(jobs, count + len(jobs)))
    assert len(set(numbered)) == len(numbered)


def test_the_next_fire_times_are_not_read_further_than_needed() -> None:
    job = entries_of(["* * * * *"])[0]

    def endless() -> Iterator[tuple[int, Any]]:
        for number in range(100):
            assert number < 12, "read too far"
            yield START + 60 * number, job

    assert len(list(islice(in_order(endless(), zone_of), 10))) == 10


@given(st.lists(ENTRIES, min_size=1, max_size=6), st.integers(START, START + 3 * DAY))
def test_the_next_fire_time_of_an_entry(lines: list[str], instant: int) -> None:
    """Also when those of equal schedules are remembered."""
    entries, fires = entries_of(lines), NextFires(zone_of)
    for after in (instant, instant + 1, instant - 59):
        found = [fires.after(entries, index, after) for index in range(len(entries))]
        assert found == [next_fire(job.schedule, UTC, after) for job in entries]


def test_a_table_is_opened_when_its_turn_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for the next five fire times does not wait for ten thousand tables."""
    timetable = Timetable(zone_of, Cursor(START, START))
    for number in range(200):
        text = f"{number % 60} {number // 60} * * * true\n"
        timetable.put(parse(text, Source(f"t{number}", "joe"), ReaderContext()))
    opened = []
    coming = TableQueue.coming

    def noted(queue: TableQueue) -> Iterator[Any]:
        opened.append(queue.table)
        return coming(queue)

    monkeypatch.setattr(TableQueue, "coming", noted)
    found = timetable.coming(5, lambda _: True)
    times = [fire for fire, _ in found]
    assert times == sorted(times)
    assert len(found) == 5
    assert len(opened) <= 6


def test_of_a_large_table_only_the_beginning_is_sorted() -> None:
    entries = entries_of([f"{n % 60} {n // 60} * * *" for n in range(600)])
    queue = TableQueue(entries, zone_of, START, EntryKind.FIXED)
    taken = list(queue.take(START + DAY // 2, 1000))
    everything = list(queue.coming())
    assert [fire for fire, _, _ in everything] == sorted(fire for fire, _, _ in everything)
    assert len(everything) == 600
    assert len(taken) > 100
    assert list(islice(queue.coming(), 5)) == everything[:5]
    assert list(queue.coming()) == everything  # the queue stays as it is


# ---- entries as a list shows them


@given(st.lists(ENTRIES, max_size=6))
def test_a_listed_entry_says_what_its_job_says(lines: list[str]) -> None:
    table = [*lines, "CRON_POOL=db H ~ * * 1", "CRON_NAME=a 1 1 * * *", "@after a"]
    entries = entries_of(table)
    for index, job in enumerate(entries):
        row = dict(listed_row(listed(entries, index)))
        assert row.pop("pool") == job.settings.pool
        assert row == job_row(job)
        assert listed(entries, index).scopes[2].name == job.id


@given(TABLES, st.integers(0, 20))
def test_a_list_goes_on_from_any_position(tables: list[list[str]], position: int) -> None:
    jobs = jobs_of(tables)
    found = [
        (at, entries.id(index)) for at, entries, index in entries_from(jobs, position, everybody)
    ]
    assert found == [(at, job.id) for at, job in enumerate(jobs)][position:]
