"""One user's flood does not delete the records of another user."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import RecordAttempt, RecordEnded, RecordRun
from pycron.model.history import RunFilter
from pycron.model.job import Job, Source
from pycron.model.retention import RetentionLimits, surpluses
from pycron.model.run import AttemptKey, Ending, Outcome, RunKey
from pycron.storage.store import Store
from pycron.system import paths
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.user_accounts import USERS
from tests.support.waiting import until

NOON = 1_772_971_200
EVERYTHING = RetentionLimits(10**9, 10**9, 10**9, 2**40, 2**40, 2**40)

# ---- the rule


@pytest.mark.parametrize(
    ("uses", "most", "given_up"),
    [
        ({}, 10, {}),
        ({"a": 10}, 10, {}),
        ({"a": 11}, 10, {"a": 1}),
        ({"a": 100, "b": 5}, 50, {"a": 55}),
        ({"a": 100, "b": 25}, 50, {"a": 75}),
        ({"a": 100, "b": 90, "c": 1}, 51, {"a": 75, "b": 65}),
        ({"a": 7, "b": 7}, 0, {"a": 7, "b": 7}),
        ({"a": 10**9, **{f"b{n}": 10 for n in range(499)}}, 5000, {"a": 10**9 - 10}),
    ],
)
def test_who_gives_up_what(uses: dict[str, int], most: int, given_up: dict[str, int]) -> None:
    assert surpluses(uses, most) == given_up


@given(st.dictionaries(st.integers(), st.integers(0, 10**6), min_size=1), st.integers(0, 10**6))
def test_the_rule_keeps_the_limit_and_the_shares(uses: dict[int, int], most: int) -> None:
    surplus = surpluses(uses, most)
    left = {user: use - surplus.get(user, 0) for user, use in uses.items()}
    assert sum(left.values()) <= most
    assert all(left[user] == use for user, use in uses.items() if use <= most // len(uses))
    if surplus:  # nobody keeps more than one who gives up something, and hardly any room is unused
        assert max(left.values()) == left[next(iter(surplus))]
        assert most - sum(left.values()) < len(uses)


# ---- the store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "db")) as store:
        yield store


def a_job(user: str, number: int = 0, command: str = "work") -> Job:
    (job,) = parse(f"0 0 * * * {command} {number}\n", Source(user, user), ReaderContext()).jobs
    return job


def record(
    store: Store, job: Job, first: int, count: int, kept: int = 0, *, dead: bool = False
) -> list[RunKey]:
    """Runs of a Job that have failed, a second apart, each with so many bytes of output."""
    ending = Ending(first + 0.5, 1, None, 0.1, 1000, kept, kept)
    runs = [RunKey(job.id, first + number) for number in range(count)]
    for run in runs:
        key = AttemptKey(run, 1)
        end = RecordEnded(key, Outcome.FAILED, ending, None, Outcome.FAILED, dead=dead)
        store.write([RecordRun(run, job), RecordAttempt(key), end])
    return runs


def prune(store: Store, writing: dict[str, int] | None = None, **limits: int) -> set[AttemptKey]:
    """Steps until nothing is left to delete; the Attempts whose output is deleted."""
    removed: list[AttemptKey] = []
    while store.prune(replace(EVERYTHING, **limits), 0, removed.extend, writing or {}):
        pass
    return set(removed)


def kept_runs(store: Store, user: str) -> list[int]:
    return sorted(run.key.fire_time for run in store.runs(RunFilter(10**6, user=user)))


def test_a_flood_of_runs(store: Store) -> None:
    record(store, a_job("victim"), NOON, 5)
    flood = record(store, a_job("flooder"), NOON + 100, 300)
    prune(store, runs=20)
    assert kept_runs(store, "victim") == list(range(NOON, NOON + 5))
    assert kept_runs(store, "flooder") == [run.fire_time for run in flood[-15:]]


def test_a_flood_of_runs_of_many_jobs(store: Store) -> None:
    record(store, a_job("victim"), NOON, 5)
    for number in range(200):
        record(store, a_job("flooder", number), NOON + 100 + number, 2)
    prune(store, runs=20)
    assert len(kept_runs(store, "victim")) == 5
    assert len(kept_runs(store, "flooder")) == 15


def test_a_flood_of_output(store: Store) -> None:
    record(store, a_job("victim"), NOON, 5, kept=1000)
    flood = record(store, a_job("flooder"), NOON + 100, 300, kept=1000)
    assert prune(store, output_bytes=20_000) == {AttemptKey(run, 1) for run in flood[:-15]}


def test_output_that_is_still_being_written_counts_for_its_user(store: Store) -> None:
    record(store, a_job("victim"), NOON, 5, kept=1000)
    flood = record(store, a_job("flooder"), NOON + 100, 10, kept=1000)
    assert prune(store, output_bytes=20_000) == set()
    gone = prune(store, {"flooder": 12_000, "nobody": 1}, output_bytes=20_000)
    assert gone == {AttemptKey(run, 1) for run in flood[:7]}
    assert prune(store, {"flooder": 10**9}, output_bytes=20_000) == {
        AttemptKey(run, 1) for run in flood[7:]
    }


def test_a_flood_of_dead_letters(store: Store) -> None:
    record(store, a_job("victim"), NOON, 3, dead=True)
    record(store, a_job("flooder"), NOON + 100, 50, dead=True)
    prune(store, dead=10)
    dead = [run.user for run in store.runs(RunFilter(100, dead=True))]
    assert dead == ["flooder"] * 7 + ["victim"] * 3


@pytest.mark.parametrize("long", [False, True])
def test_a_flood_that_fills_the_database(store: Store, long: bool) -> None:
    """By many Runs, or by few Runs of Jobs with long commands."""
    record(store, a_job("victim"), NOON, 50)
    for number in range(100 if long else 1):
        command = "x" * 20_000 if long else "work"
        job = a_job("flooder", number, command)
        record(store, job, NOON + 100 + number, 2 if long else 3000)
    for _ in range(100):
        prune(store, database_bytes=400_000)
    assert len(kept_runs(store, "victim")) == 50
    assert len(kept_runs(store, "flooder")) > (0 if long else 50)


def test_a_step_with_many_users_takes_a_bounded_number_of_queries(store: Store) -> None:
    for number in range(300):
        record(store, a_job(f"user{number}"), NOON + 10 * number, 4, kept=10)
    statements: list[str] = []
    store._database.connection.set_trace_callback(statements.append)
    store.prune(replace(EVERYTHING, runs=600, dead=10, output_bytes=3000), 0, lambda _: None)
    selects = [text for text in statements if text.startswith(("SELECT", "INSERT"))]
    assert 100 < len(selects) < 300
    store._database.connection.set_trace_callback(None)
    for _ in range(20):
        prune(store, runs=600)
    assert {len(kept_runs(store, f"user{number}")) for number in range(300)} == {2}


# ---- a real daemon


CONFIG = """
[retention]
output_bytes = 300000
runs = 200
dead = 6
"""
QUIET = (
    "CRON_NAME=quiet CRON_RETRIES=1 CRON_RETRY_DELAY=1s @yearly head -c 50000 /dev/zero; false\n"
)
LOUD = "CRON_NAME=dead CRON_RETRIES=1 CRON_RETRY_DELAY=1s @every 1s false\n" + "".join(
    f"@every 1s head -c 20000 /dev/zero; : {number}\n" for number in range(30)
)


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_flooder_loses_its_own_records_only(tmp_path: Path) -> None:
    """Outputs, Runs and dead letters, while commands of the flooder still print."""
    victim, flooder, _ = USERS
    with isolated_system(tmp_path) as system:
        system.write(paths.SYSTEM_CONFIG, CONFIG)
        assert system.run("pycron", "reload").returncode == 0
        assert system.run("pycrontab", "-", user=victim, stdin=QUIET).returncode == 0
        assert system.run("pycron", "start", "quiet", user=victim).returncode == 0
        until(lambda: dead_letters(system, victim))
        assert system.run("pycrontab", "-", user=flooder, stdin=LOUD).returncode == 0
        # About one a second: the next fire time comes before most retries.
        until(lambda: len(system.daemon.log("attempt_ended", job="dead")) >= 30, patience=120)

        def is_pruned() -> bool:
            output = system.root / paths.SYSTEM_STATE.relative_to("/") / "output"
            sizes = [file.stat().st_size for file in output.rglob("*.log")]
            return len(dead_letters(system, flooder)) < 20 and sum(sizes) < 2 * 300_000

        until(is_pruned, patience=90)
        (dead,) = dead_letters(system, victim)
        assert [row["run_id"] for row in system.runs(user=victim)] == [dead["run_id"]]
        assert len(system.run("pycron", "log", "quiet", user=victim).stdout) == 50_000


def dead_letters(system: IsolatedSystem, user: str) -> list[dict[str, Any]]:
    return system.rows("dead", "list", user=user)
