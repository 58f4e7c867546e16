"""What is counted: each ended Run once, through restarts, failures and changes of the tables."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycron.crontab.identity import is_named
from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import (
    Record,
    RecordAttempt,
    RecordEnded,
    RecordNotStarted,
    RecordRun,
    RecordStarted,
)
from pycron.engine.delivery_jobs import mail_job
from pycron.model.counts import Histogram, Series
from pycron.model.delivery import Mail, Occasion
from pycron.model.job import Job, Source
from pycron.model.run import FIRST_BY_HAND, AttemptKey, Ending, Outcome, RunKey
from pycron.storage.errors import StoreError
from pycron.storage.store import Store

NOON = 1_772_971_200
BACKUP = Series("anna", "backup")
fire_times = count(NOON, 60)


def a_job(line: str = "CRON_NAME=backup * * * * * true", owner: str | None = "anna") -> Job:
    (job,) = parse(f"{line}\n", Source(owner or "/etc/cron.d/x", owner), ReaderContext()).jobs
    return job


def a_run(
    job: Job, outcome: Outcome = Outcome.SUCCEEDED, late: float = 0.02, seconds: float = 3.0
) -> list[Record]:
    """The records of a Run with one Attempt, from its beginning to its end."""
    run = RunKey(job.id, next(fire_times))
    return [RecordRun(run, job), *an_attempt(run, 1, outcome, late, seconds)]


def an_attempt(
    run: RunKey, number: int, outcome: Outcome, late: float = 0.02, seconds: float = 3.0,
    *, last: bool = True,
) -> list[Record]:  # fmt: skip
    attempt, started = AttemptKey(run, number), run.fire_time + late
    ending = Ending(started + seconds, 0, None, 0.1, 1, 0)
    end = RecordEnded(attempt, outcome, ending, None, outcome if last else None)
    return [RecordAttempt(attempt), RecordStarted(attempt, 7, started), end]


def opened(path: Path, most: int = 10) -> Store:
    return Store(path, most_counted=lambda: most)


def test_counts_survive_a_restart(tmp_path: Path) -> None:
    path, job = tmp_path / "db", a_job()
    for _ in range(2):
        with closing(opened(path)) as store:
            store.write(a_run(job, seconds=3))
            store.write(a_run(job, Outcome.FAILED, late=2, seconds=0.05))
    with closing(opened(path)) as store:
        counted = store.counts([BACKUP])
    backup = counted.jobs[BACKUP]
    assert backup.ended == {"succeeded": 2, "failed": 2}
    assert backup.seconds.buckets == [2, 0, 0, 2, *[0] * 8]  # at most 0.1 s; at most 5 s
    assert backup.seconds.sum == pytest.approx(6.1)
    assert backup.succeeded is not None
    assert NOON < backup.succeeded < NOON + 6000
    assert counted.starts.seconds.buckets == [0, 2, 0, 0, 0, 2, *[0] * 5]
    assert counted.other.ended == {}


def test_an_attempt_of_an_earlier_daemon_counts_once_it_ends(tmp_path: Path) -> None:
    path, job = tmp_path / "db", a_job()
    *begun, end = a_run(job, seconds=50)
    with closing(opened(path)) as store:
        store.write(begun)
        assert store.counts([BACKUP]).jobs[BACKUP].ended == {}
    with closing(opened(path)) as store:
        store.write([end])
        backup = store.counts([BACKUP]).jobs[BACKUP]
    assert backup.ended == {"succeeded": 1}
    assert backup.seconds.sum == pytest.approx(50)


def test_each_attempt_has_a_duration_and_each_run_one_end(tmp_path: Path) -> None:
    job = a_job()
    run = RunKey(job.id, NOON)
    with closing(opened(tmp_path / "db")) as store:
        store.write([RecordRun(run, job)])
        store.write(an_attempt(run, 1, Outcome.FAILED, last=False))
        store.write(an_attempt(run, 2, Outcome.SUCCEEDED, late=40))
        counted = store.counts([BACKUP])
    assert counted.jobs[BACKUP].ended == {"succeeded": 1}
    assert sum(counted.jobs[BACKUP].seconds.buckets) == 2
    assert counted.starts.seconds.sum == pytest.approx(0.02)  # a retry is not late


def test_runs_that_never_start_count(tmp_path: Path) -> None:
    job = a_job()
    run = RunKey(job.id, NOON)
    with closing(opened(tmp_path / "db")) as store:
        store.write(
            [RecordRun(run, job), RecordNotStarted(run, Outcome.MISSED, "the daemon was off")]
        )
        counted = store.counts([BACKUP])
    assert counted.jobs[BACKUP].ended == {"missed": 1}
    assert counted.jobs[BACKUP].succeeded is None
    assert sum(counted.starts.seconds.buckets) == 0


def test_what_was_started_by_hand_is_not_late(tmp_path: Path) -> None:
    job = a_job()
    run = RunKey(job.id, NOON, FIRST_BY_HAND)
    with closing(opened(tmp_path / "db")) as store:
        store.write([RecordRun(run, job), *an_attempt(run, 1, Outcome.SUCCEEDED)])
        assert sum(store.counts([BACKUP]).starts.seconds.buckets) == 0


def test_jobs_without_a_name_count_together(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "db")) as store:
        store.write(a_run(a_job("* * * * * true")))
        store.write(a_run(a_job("* * * * * false"), Outcome.FAILED))
        counted = store.counts([])
    assert counted.jobs == {}
    assert counted.other.ended == {"succeeded": 1, "failed": 1}


def test_deliveries_count_apart(tmp_path: Path) -> None:
    mail = mail_job(a_job(), Occasion.FAILED, Mail(("anna",), "anna"))
    with closing(opened(tmp_path / "db")) as store:
        store.write(a_run(mail, Outcome.FAILED))
        counted = store.counts([BACKUP])
    assert counted.deliveries.ended == {"failed": 1}
    assert counted.other.ended == counted.jobs[BACKUP].ended == {}
    assert sum(counted.starts.seconds.buckets) == 0


def test_a_transaction_that_fails_counts_nothing(tmp_path: Path) -> None:
    job = a_job()
    with closing(opened(tmp_path / "db")) as store:
        store.write(a_run(job))
        stranger = AttemptKey(RunKey("0" * 16, NOON), 1)
        with pytest.raises(StoreError):
            store.write(
                [*a_run(job), RecordEnded(stranger, Outcome.LOST, None, None, Outcome.LOST)]
            )
        store.write(a_run(job))
        assert store.counts([BACKUP]).jobs[BACKUP].ended == {"succeeded": 2}


# ---- the number of series is bounded


def test_all_named_jobs_have_zeros_from_the_beginning(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "db", most=2)) as store:
        names = [Series("anna", name) for name in ("a", "b", "c")]
        counted = store.counts(names)
    assert list(counted.jobs) == names[:2]
    assert all(counts.ended == {} for counts in counted.jobs.values())


def test_too_many_named_jobs_count_together(tmp_path: Path) -> None:
    jobs = [a_job(f"CRON_NAME=n{number} * * * * * true") for number in range(5)]
    names = [Series("anna", job.name) for job in jobs]
    with closing(opened(tmp_path / "db", most=2)) as store:
        for job in jobs * 3:
            store.write(a_run(job))
        counted = store.counts(names)
        assert {series.job_name: c.ended for series, c in counted.jobs.items()} == {
            "n0": {"succeeded": 3}, "n1": {"succeeded": 3},
        }  # fmt: skip
        assert counted.other.ended == {"succeeded": 9}
    with closing(sqlite3.connect(tmp_path / "db")) as database:
        query = "SELECT count(*) FROM meta WHERE key LIKE 'counts:%'"
        assert database.execute(query).fetchone()[0] == 2 + 2  # with `other` and `starts`


def test_a_job_that_is_gone_makes_room(tmp_path: Path) -> None:
    jobs = [a_job(f"CRON_NAME=n{number} * * * * * true") for number in range(3)]
    names = [Series("anna", job.name) for job in jobs]
    with closing(opened(tmp_path / "db", most=2)) as store:
        for job in jobs:
            store.write(a_run(job))
        assert list(store.counts(names[1:]).jobs) == names[1:]
        store.write(a_run(jobs[2]))
    with closing(opened(tmp_path / "db", most=2)) as store:
        counted = store.counts(names[1:])
    assert counted.jobs[names[2]].ended == {"succeeded": 1}
    assert counted.other.ended == {"succeeded": 1}  # what was counted there, stays there


def test_fewer_series_after_a_reload(tmp_path: Path) -> None:
    most = 3
    jobs = [a_job(f"CRON_NAME=n{number} * * * * * true") for number in range(3)]
    names = [Series("anna", job.name) for job in jobs]
    with closing(Store(tmp_path / "db", most_counted=lambda: most)) as store:
        for job in jobs:
            store.write(a_run(job))
        most = 1
        assert len(store.counts(names).jobs) == 1
        store.write(a_run(jobs[2]))
        assert sum(sum(c.ended.values()) for c in store.counts(names).jobs.values()) == 1


# ---- damage


@pytest.mark.parametrize(
    "damaged",
    ["", "{}", "[[],[],0,null]", '[{"succeeded": -1}, [1,2], 0.0, null]', "[" * 100_000,
     '[{"succeeded": 1e9}, ["x"], "y", []]'],
)  # fmt: skip
def test_a_damaged_count_begins_anew(tmp_path: Path, damaged: str) -> None:
    with closing(opened(tmp_path / "db")) as store:
        store.write(a_run(a_job()))
    with closing(sqlite3.connect(tmp_path / "db")) as database:
        database.execute("UPDATE meta SET value = ? WHERE key LIKE 'counts:%'", (damaged,))
        database.commit()
    with closing(opened(tmp_path / "db")) as store:
        store.write(a_run(a_job()))
        assert store.counts([BACKUP]).jobs[BACKUP].ended == {"succeeded": 1}


def test_a_name_of_a_table_is_told_from_a_derived_one() -> None:
    for owner in ("anna", None):
        user = "" if owner else "bob "
        given, derived = (
            a_job(f"{name}* * * * * {user}true", owner) for name in ("CRON_NAME=true ", "")
        )
        for job, expected in ((given, True), (derived, False)):
            assert is_named(job.id, job.source.name, job.user, job.name) is expected
            assert not is_named(job.id, "other", job.user, job.name)
        impostor = replace(derived, name="true")
        assert not is_named(impostor.id, impostor.source.name, impostor.user, impostor.name)


@settings(max_examples=200)
@given(st.lists(st.floats(0, 1e6, allow_nan=False)), st.lists(st.floats(0.001, 1e5), min_size=1))
def test_a_histogram_counts_what_is_at_most_each_bound(
    values: list[float], bounds: list[float]
) -> None:
    ordered = tuple(sorted(set(bounds)))
    histogram = Histogram(ordered)
    for value in values:
        histogram.add(value)
    total = 0
    for bound, inside in zip((*ordered, float("inf")), histogram.buckets, strict=True):
        total += inside
        assert total == sum(value <= bound for value in values)
    assert histogram.sum == pytest.approx(sum(values))
