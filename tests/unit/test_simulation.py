"""A simulation: what would run, wait, be skipped or missed, by the engine itself."""

import datetime
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.analysis.durations import Durations
from pycron.analysis.forecast import Forecast, JobForecast
from pycron.analysis.simulation import Simulation
from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.cursor import Cursor
from pycron.engine.engine import Engine
from pycron.engine.events import TableLoaded, Tick
from pycron.engine.limits import UNLIMITED, Limits
from pycron.model.job import Source
from pycron.model.pause import ALL, Pause
from pycron.model.run import Outcome, RunKey
from pycron.schedule.zone import UTC

START = int(datetime.datetime(2026, 6, 10, 12, tzinfo=datetime.UTC).timestamp())
HOUR = 3600


def simulated(
    *lines: str,
    limits: Limits = UNLIMITED,
    pauses: Sequence[Pause] = (),
    hours: float = 1,
    takes: Mapping[str, float] = MappingProxyType({}),
) -> Forecast:
    """What happens from START on. `takes`: the durations of Jobs by name; others take 1 s."""
    table = parse("".join(f"{line}\n" for line in lines), Source("joe", "joe"), ReaderContext())
    assert not table.problems
    engine = Engine(lambda _: UTC, Cursor(START - 1, START - 1), limits=limits, pauses=pauses)
    end = START + round(hours * HOUR)
    forecast = Forecast(engine, START, end)
    simulation = Simulation(engine, START, Durations(takes, {}, 1.0).of, forecast)
    simulation.tell(TableLoaded(table))
    simulation.tell(Tick())
    reached = list(simulation.play(end))
    assert reached == sorted(reached)
    return forecast


def only(forecast: Forecast) -> JobForecast:
    (job,) = forecast.jobs.values()
    return job


def named(forecast: Forecast) -> dict[str, JobForecast]:
    return {job.name: job for job in forecast.jobs.values()}


def test_every_fire_time_of_the_stretch_is_a_run() -> None:
    """The first second belongs to it, the last one does not."""
    forecast = simulated("* * * * * true")
    job = only(forecast)
    assert (job.runs, job.started, job.waited) == (60, 60, 0)
    assert job.outcomes == {Outcome.SUCCEEDED: 60}
    assert list(forecast.starts.counts) == [1] * 60
    assert (forecast.running, forecast.waiting) == (0, 0)


def test_the_peak_is_the_most_commands_at_once() -> None:
    forecast = simulated(
        "CRON_NAME=a 0 * * * * true", "CRON_NAME=b 0,10 * * * * true", takes={"a": 90, "b": 700}
    )
    assert (forecast.peak, forecast.peak_at) == (2, START)
    forecast = simulated("CRON_NAME=a */10 * * * * true", takes={"a": 1500})
    assert (forecast.peak, forecast.peak_at) == (3, START + 1200)
    assert forecast.running == 2


def test_a_limit_makes_runs_wait() -> None:
    lines = [f"CRON_NAME=job{i} 0 * * * * true" for i in range(4)]
    forecast = simulated(*lines, limits=Limits(running=2), takes={f"job{i}": 60 for i in range(4)})
    waited = [job for job in forecast.jobs.values() if job.waited]
    assert len(waited) == 2
    assert {job.longest_wait for job in waited} == {60.0}
    assert {job.longest_at for job in waited} == {float(START)}
    reasons = [reason for job in waited for reason in job.reasons]
    assert all(reason.startswith("limits.running is 2") for reason in reasons)
    assert forecast.peak == 2


def test_a_pool_is_a_limit() -> None:
    lines = ["CRON_NAME=a CRON_POOL=one 0 * * * * true", "CRON_NAME=b CRON_POOL=one 0 * * * * true"]
    forecast = simulated(*lines, limits=Limits(pools={"one": 1}), takes={"a": 30, "b": 30})
    assert sorted(job.waited for job in forecast.jobs.values()) == [0, 1]
    assert sum(job.reasons["pools.one is 1"] for job in forecast.jobs.values()) == 1


def test_forbid_skips_and_a_deadline_misses() -> None:
    job = only(simulated("CRON_NAME=a CRON_CONCURRENCY=forbid */10 * * * * true", takes={"a": 700}))
    assert job.outcomes == {Outcome.SUCCEEDED: 3, Outcome.SKIPPED: 3}
    assert job.reasons == {"an earlier run still runs (CRON_CONCURRENCY=forbid)": 3}
    job = only(
        simulated(
            "CRON_NAME=a CRON_MAX_RUNNING=1 CRON_START_DEADLINE=1m */10 * * * * x",
            takes={"a": 1100},
        )
    )
    assert job.outcomes[Outcome.MISSED] == 3
    assert job.reasons["CRON_START_DEADLINE is 60"] == 3


def test_replace_ends_the_earlier_run() -> None:
    job = only(
        simulated("CRON_NAME=a CRON_CONCURRENCY=replace */10 * * * * true", takes={"a": 700})
    )
    assert (job.started, job.outcomes) == (6, {Outcome.CANCELLED: 5})


def test_a_timeout_ends_a_command_and_a_retry_follows() -> None:
    job = only(
        simulated("CRON_NAME=a CRON_TIMEOUT=1m CRON_RETRIES=1 0 * * * * true", takes={"a": 61})
    )
    assert (job.started, job.retries) == (1, 1)
    assert job.outcomes == {Outcome.TIMED_OUT: 1}
    job = only(
        simulated("CRON_NAME=a CRON_TIMEOUT=1m CRON_RETRIES=1 0 * * * * true", takes={"a": 60})
    )
    assert job.outcomes == {Outcome.SUCCEEDED: 1}


def test_after_follows() -> None:
    forecast = simulated(
        "CRON_NAME=a 0 * * * * x", "CRON_NAME=b @after a y", takes={"a": 600, "b": 5}
    )
    assert forecast.starts.busiest(5) == [(START, 1), (START + 600, 1)]
    assert named(forecast)["b"].waited == 0


def test_a_pause_skips() -> None:
    pause = Pause(ALL, START - 60, START + 1800, "root", "upgrade")
    job = only(simulated("* * * * * true", pauses=[pause]))
    assert job.outcomes == {Outcome.SKIPPED: 30, Outcome.SUCCEEDED: 30}
    assert job.reasons == {"paused by root: upgrade": 30}


def test_a_full_queue_refuses_fire_times() -> None:
    lines = [f"CRON_NAME=job{i} * * * * * true" for i in range(4)]
    limits = Limits(running=1, waiting=2)
    forecast = simulated(
        *lines, limits=limits, hours=0.1, takes={f"job{i}": 9999 for i in range(4)}
    )
    runs = sum(job.runs for job in forecast.jobs.values())
    assert runs + sum(forecast.refused.values()) == 4 * 6
    assert set(forecast.refused) == {"the queue is full (limits.waiting is 2)"}
    assert forecast.waiting == 2


def test_deliveries_are_no_runs() -> None:
    """A failure hook and a ping are not counted, and take no time."""
    settings = "CRON_ON_FAILURE=tell CRON_PING_URL=https://example.org/x CRON_TIMEOUT=1s"
    forecast = simulated(f"CRON_NAME=a {settings} 0 * * * * true", takes={"a": 5})
    assert (only(forecast).outcomes, forecast.peak) == ({Outcome.TIMED_OUT: 1}, 1)


# ---- durations


def test_a_given_duration_goes_before_the_recorded_one() -> None:
    (job,) = parse("CRON_NAME=a * * * * * true\n", Source("joe", "joe"), ReaderContext()).jobs
    run = RunKey(job.id, START)
    recorded = {job.id: [2.0]}
    assert Durations({"a": 5.0}, recorded, 1.0).of(run, job) == 5.0
    assert Durations({job.id: 6.0}, recorded, 1.0).of(run, job) == 6.0
    durations = Durations({"b": 5.0}, recorded, 1.0)
    assert (durations.of(run, job), durations.guessed) == (2.0, set())
    durations = Durations({}, {job.id: []}, 1.0)
    assert (durations.of(run, job), durations.guessed) == (1.0, {"a"})


def test_recorded_durations_are_all_used_and_always_the_same_for_a_run() -> None:
    (job,) = parse("CRON_NAME=a * * * * * true\n", Source("joe", "joe"), ReaderContext()).jobs
    durations = Durations({}, {job.id: [1.0, 2.0, 3.0, 4.0]}, 1.0)
    runs = [RunKey(job.id, START + 60 * minute) for minute in range(400)]
    found = [durations.of(run, job) for run in runs]
    assert found == [durations.of(run, job) for run in runs]
    assert all(60 < found.count(seconds) < 140 for seconds in (1.0, 2.0, 3.0, 4.0))


# ---- properties


@given(
    limit=st.integers(1, 4),
    jobs=st.lists(
        st.tuples(
            st.sampled_from(["*", "*/3", "0", "5,6,7"]),
            st.sampled_from(["allow", "forbid", "replace", "queue"]),
            st.floats(0, 300),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_every_run_is_accounted_for(limit: int, jobs: list[tuple[str, str, float]]) -> None:
    """Each fire time ends as a Run that has ended, runs or waits; and no limit is exceeded."""
    lines = [
        f"CRON_NAME=job{i} CRON_CONCURRENCY={policy} {minutes} * * * * true"
        for i, (minutes, policy, _) in enumerate(jobs)
    ]
    takes = {f"job{i}": seconds for i, (_, _, seconds) in enumerate(jobs)}
    forecast = simulated(*lines, limits=Limits(running=limit), hours=0.5, takes=takes)
    ended = sum(sum(job.outcomes.values()) for job in forecast.jobs.values())
    runs = sum(job.runs for job in forecast.jobs.values())
    assert runs == ended + forecast.running + forecast.waiting
    assert forecast.peak <= limit
    started = sum(job.started + job.retries for job in forecast.jobs.values())
    assert forecast.starts.total == started


@pytest.mark.parametrize("hours", [1, 2])
def test_a_simulation_can_be_repeated(hours: int) -> None:
    lines = [f"CRON_NAME=job{i} CRON_MAX_RUNNING=1 */{i + 1} * * * * x" for i in range(5)]
    takes = {f"job{i}": 50.0 * i for i in range(5)}
    first, second = (simulated(*lines, hours=hours, takes=takes) for _ in range(2))
    assert first.jobs == second.jobs
    assert first.starts.counts == second.starts.counts
