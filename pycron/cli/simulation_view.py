"""What `pycron simulate` prints: what would happen, of which Jobs, and when most starts are."""

import argparse
from collections.abc import Iterator, Sequence

from pycron.analysis.durations import Durations
from pycron.analysis.forecast import Forecast, JobForecast
from pycron.analysis.kept_jobs import with_kept_jobs
from pycron.analysis.simulation import Simulation
from pycron.analysis.statistics import statistics_of
from pycron.cli.arguments import duration
from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.days import in_reach
from pycron.cli.errors import WrongUse
from pycron.cli.heat_map import HOURS_UNTIL, print_heat_map
from pycron.cli.instants import Looks, parse_instant
from pycron.cli.plan import Plan, plan_for
from pycron.cli.printing import Row, print_json, print_page, print_table, print_text
from pycron.cli.progress import show_progress
from pycron.cli.samples import read_samples, samples_of
from pycron.cli.table_layout import Column
from pycron.cli.table_options import named_sources
from pycron.control.client import ControlError
from pycron.engine.cursor import Cursor
from pycron.engine.engine import Engine
from pycron.engine.events import TableLoaded, Tick
from pycron.model.in_words import duration_in_words, number_of
from pycron.model.instants import rfc3339
from pycron.model.run import Outcome
from pycron.protocol.question_messages import SamplesRequest
from pycron.schedule.local_days import day_of, hour_start
from pycron.wording.cells import Cell, Tone, Value
from pycron.wording.clock import Clock

_DAY = 86_400  # seconds
_LONGEST = 3660 * _DAY
_ASSUMED = 1  # seconds that a Job without history takes
_LAST_RUNS = 50  # whose durations are used
_SHOWN = 20  # Jobs in the table
_NAMED = 3  # Jobs that a sentence names
_TROUBLE = (Outcome.SKIPPED, Outcome.MISSED, Outcome.TIMED_OUT)
_COLUMNS = (
    Column("job", least=8),
    Column("runs", right=True),
    Column("waited", right=True),
    Column("longest", right=True, rank=1),
    Column("skipped", right=True),
    Column("missed", right=True),
    Column("timed out", right=True, rank=2),
    Column("why", least=12),
)


def print_simulation(options: argparse.Namespace) -> None:
    clock = clock_for(options)
    start = in_reach(parse_instant(options.start, clock.zone, Looks.AHEAD))
    end = parse_instant(options.until, clock.zone, Looks.AHEAD) if options.until else start + _DAY
    if end <= start:
        raise WrongUse("--until is not after --from")
    if end - start > _LONGEST:
        raise WrongUse("at most ten years can be simulated")
    given, other = _given(options.duration)
    plan = plan_for(options)
    durations = Durations(given, _recorded(options), other)
    forecast = _simulate(plan, durations, start, end, clock)
    if options.json:
        print_json(_json(forecast, durations, plan, start, end))
        return
    _print_result(forecast, durations, plan, clock, (start, end))


def _simulate(plan: Plan, durations: Durations, start: int, end: int, clock: Clock) -> Forecast:
    """What happens in [start, end)."""
    engine = Engine(
        plan.zones.zone,
        Cursor(start - 1, start - 1),
        host=plan.host,
        limits=plan.limits,
        pauses=plan.pauses,
    )
    by_day = end - start > HOURS_UNTIL
    first = day_of(start, clock.zone)[0] if by_day else hour_start(start, clock.zone)
    forecast = Forecast(engine, first, end)
    simulation = Simulation(engine, start, durations.of, forecast)
    for table in plan.tables:
        simulation.tell(TableLoaded(with_kept_jobs(table)))
    simulation.tell(Tick())
    show_progress(simulation.play(end), start, end, "simulating")
    return forecast


# ---- durations


def _given(options: Sequence[str]) -> tuple[dict[str, float], float]:
    """The durations that the options give: of Jobs, and of those without history."""
    given: dict[str, float] = {}
    other = float(_ASSUMED)
    for text in options:
        job, is_of_job, length = text.rpartition("=")
        if is_of_job:
            given[job] = duration(length)
        else:
            other = duration(text)
    return given, other


def _recorded(options: argparse.Namespace) -> dict[str, list[float]]:
    """What the last Runs of each Job took, by id. Files may be simulated without a daemon."""
    try:
        rows = read_samples(client_for(options), SamplesRequest(limit=_LAST_RUNS))
        return {row["id"]: list(statistics_of(samples_of(row)).durations) for row in rows}
    except ControlError:
        if not named_sources(options):
            raise
        return {}


# ---- for people


def _print_result(
    forecast: Forecast,
    durations: Durations,
    plan: Plan,
    clock: Clock,
    period: tuple[int, int],
) -> None:
    begin, end = (f"{clock.zone.local(at):%Y-%m-%d %H:%M}" for at in period)
    print_text(f"from {begin} to {end}, {clock.title}", Tone.FAINT)
    print_page(_summary(forecast, durations, plan, clock))
    troubled = sorted(filter(_trouble, forecast.jobs.values()), key=_trouble, reverse=True)
    if troubled:
        print()
        print_table(_COLUMNS, map(_line, troubled[:_SHOWN]), "")
    print()
    print_heat_map(forecast.starts, clock.zone)


def _summary(
    forecast: Forecast, durations: Durations, plan: Plan, clock: Clock
) -> Iterator[tuple[str, Value | list[Value]]]:
    jobs = list(forecast.jobs.values())
    runs, started = sum(job.runs for job in jobs), sum(job.started for job in jobs)
    yield "runs", f"{runs:,} of {number_of(len(jobs), 'Job')}, {started:,} of them start"
    yield "wait", _waits(jobs, clock)
    for outcome, name in zip(_TROUBLE, ("skipped", "missed", "timed out"), strict=True):
        yield name, _ended(jobs, outcome)
    refused = forecast.refused
    if refused:
        reason, _ = refused.most_common(1)[0]
        yield "refused", Cell(f"{sum(refused.values()):,} fire times: {reason}", Tone.BAD)
    retries = sum(job.retries for job in jobs)
    yield "retries", f"{retries:,}" if retries else None
    yield "peak", f"{forecast.peak:,} at once, at {clock.at(int(forecast.peak_at))}"
    yield "at the end", f"{forecast.running:,} run, {forecast.waiting:,} wait"
    yield "assumed", _assumed(durations)
    yield "note", [Cell(note, Tone.WARN) for note in plan.notes]


def _waits(jobs: Sequence[JobForecast], clock: Clock) -> Value:
    waited = sum(job.waited for job in jobs)
    if not waited:
        return None
    longest = max(jobs, key=lambda job: job.longest_wait)
    text = f"{waited:,}, the longest {duration_in_words(longest.longest_wait)}"
    return Cell(f"{text} ({longest.name}, {clock.at(int(longest.longest_at))})", Tone.WARN)


def _ended(jobs: Sequence[JobForecast], outcome: Outcome) -> Value:
    """How many Runs end like this, and of which Jobs most of them are."""
    number = sum(job.outcomes[outcome] for job in jobs)
    if not number:
        return None
    first = sorted(jobs, key=lambda job: job.outcomes[outcome], reverse=True)[:_NAMED]
    names = ", ".join(job.name for job in first if job.outcomes[outcome])
    return Cell(f"{number:,}, most of {names}", Tone.WARN)


def _assumed(durations: Durations) -> Value:
    names = sorted(durations.guessed)
    if not names:
        return None
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    takes = duration_in_words(durations.other)
    return f"{takes} for Jobs without history: {', '.join(names[:_NAMED])}{more} (--duration)"


def _trouble(job: JobForecast) -> int:
    """How many Runs of a Job do not start and end as planned."""
    return job.waited + sum(job.outcomes[outcome] for outcome in _TROUBLE)


def _line(job: JobForecast) -> list[Value]:
    """A line of the table, in the order of _COLUMNS."""
    skipped, missed, timed_out = (job.outcomes[outcome] for outcome in _TROUBLE)
    return [
        job.name,
        f"{job.runs:,}",
        f"{job.waited:,}",
        duration_in_words(job.longest_wait) if job.waited else None,
        f"{skipped:,}",
        Cell(f"{missed:,}", Tone.WARN) if missed else "0",
        f"{timed_out:,}",
        job.reasons.most_common(1)[0][0] if job.reasons else None,
    ]


# ---- JSON


def _json(
    forecast: Forecast, durations: Durations, plan: Plan, start: int, end: int
) -> Iterator[Row]:
    """A row for each Job, then one for all."""
    jobs = list(forecast.jobs.values())
    yield from map(job_row, jobs)
    yield {
        "from": rfc3339(start),
        "until": rfc3339(end),
        "runs": sum(job.runs for job in jobs),
        "started": sum(job.started for job in jobs),
        "waited": sum(job.waited for job in jobs),
        "refused": sum(forecast.refused.values()),
        "peak": forecast.peak,
        "peak_at": rfc3339(forecast.peak_at),
        "running_at_end": forecast.running,
        "waiting_at_end": forecast.waiting,
        "assumed": sorted(durations.guessed),
        "notes": list(plan.notes),
    }


def job_row(job: JobForecast) -> Row:
    """The JSON object with the results for one Job."""
    return {
        "job": job.name,
        "id": job.id,
        "user": job.user,
        "table": job.table,
        "line": job.line,
        "runs": job.runs,
        "started": job.started,
        "waited": job.waited,
        "longest_wait": round(job.longest_wait, 3),
        "retries": job.retries,
        "outcomes": {outcome.value: number for outcome, number in job.outcomes.items()},
        "reasons": dict(job.reasons),
    }
