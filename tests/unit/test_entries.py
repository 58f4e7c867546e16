"""Entries keeps text and columns: the Jobs made of them are right, and the memory is small."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.crontab.entries import Entries, EntryContext
from pycron.crontab.entry_kind import EntryKind
from pycron.crontab.jobs import Jobs
from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.table import Table
from pycron.model.job import Job, Source
from pycron.schedule.expressions import Reboot
from pycron.schedule.fire_times import follows_the_wall, next_fire
from pycron.schedule.zone import UTC

ALICE = Source("alice", "alice")
SYSTEM = Source("/etc/pycron.d/x", None)
CONTEXT = ReaderContext(host="mill")
NOON = 1_781_092_800  # 2026-06-10T12:00:00Z

ENTRIES = [
    "* * * * * each minute",
    "5 4 * * sun weekly",
    "H ~ * * * random",
    "0 0 1,L * * extended",
    "0 12 * * 5#2 extended",
    "@hourly nickname",
    "@every 90s interval",
    "@reboot boot",
    "1-59/7 0-6 */3 jan-jun,12 * -qs flags",
    "CRON_NAME=named CRON_TZ=UTC 0 9 * * 1-5 named",
    'CRON_ON_FAILURE="é 20%" 7 7 7 7 * behind a wide setting',
    "  9 9 * * * é \udcff wide%input%of \\% lines",
]
BETWEEN = ["", "# é comment", "X=é", "CRON_RETRIES=2", "CRON_TZ=Europe/Berlin", "CRON_TZ="]


def read(*lines: str, source: Source = ALICE) -> Table:
    table = parse("".join(f"{line}\n" for line in lines), source, CONTEXT)
    assert not table.errors
    return table


def alone(lines: Sequence[str], number: int) -> Job:
    """The Job of one line as it is when no other entry is in the table."""
    kept = [line for line in lines[: number - 1] if line in BETWEEN]
    [job] = read(*kept, *[""] * (number - 1 - len(kept)), lines[number - 1]).jobs
    return job


@given(st.lists(st.sampled_from(ENTRIES), unique=True), st.lists(st.sampled_from(BETWEEN)),
       st.randoms())  # fmt: skip
def test_a_job_does_not_depend_on_other_entries(entries: list[str], between: list[str],
                                                  random: object) -> None:  # fmt: skip
    lines = [*entries, *between]
    random.shuffle(lines)  # type: ignore[attr-defined]
    jobs = read(*lines).jobs
    assert len(jobs) == len(entries)
    assert [replace(job, name="") for job in jobs] == [
        replace(alone(lines, job.line), name="") for job in jobs
    ]  # only its name depends on those of the others
    assert list(jobs) == [jobs[i] for i in range(len(jobs))]


@given(st.lists(st.sampled_from(ENTRIES)), st.integers(NOON, NOON + 10**8))
def test_the_columns_agree_with_the_jobs(lines: list[str], after: int) -> None:
    named = [line for line in lines if "CRON_NAME" in line]
    jobs = read(*[line for line in lines if line not in named], *named[:1]).jobs
    for index, job in enumerate(jobs):
        expected = next_fire(job.schedule, UTC, after)
        assert next_fire(jobs.times(index), UTC, after) == expected
        assert jobs.id(index) == job.id
        context = jobs.context(index)
        assert (context.user, context.settings.zone) == (job.user, job.zone)
    timed = [i for i, job in enumerate(jobs) if not isinstance(job.schedule, Reboot)]
    for kind in (EntryKind.WALL, EntryKind.FIXED):
        wall = kind is EntryKind.WALL
        expected_ones = [i for i in timed if follows_the_wall(jobs[i].schedule) is wall]
        assert list(jobs.of_kind(kind)) == expected_ones
    assert sorted({*range(len(jobs))} - {*timed}) == jobs.reboots()


def test_twins_keep_their_random_times() -> None:
    first, second, third = read(*["H H * * * x"] * 3).jobs
    again = read("# above", *["H H * * * x"] * 3).jobs
    assert [job.schedule for job in again] == [job.schedule for job in (first, second, third)]
    assert len({job.schedule for job in again}) > 1


def test_any_characters_of_a_command_are_kept() -> None:
    command = "é € 😀 \udcff \ud7ff"
    table = read(f"@daily {command}", "@hourly after")
    assert [job.command for job in table.jobs] == [command, "after"]


def test_the_last_line_needs_no_newline() -> None:
    jobs = parse("@daily a\n@daily b", ALICE, CONTEXT).jobs
    assert [job.command for job in jobs] == ["a", "b"]


def test_a_command_of_blanks_only_is_a_command() -> None:
    """For cron, a vertical tab or a carriage return is no blank; for str.split it is."""
    jobs = read("@daily \x0b", "@daily \r", "@daily x").jobs
    assert [job.name[:4] for job in jobs] == ["job-", "job-", "x"]


def test_slices_and_negative_indexes() -> None:
    jobs = read("@daily a", "@daily b", "@daily c").jobs
    assert [job.command for job in jobs[1:]] == ["b", "c"]
    assert jobs[-1].command == "c"
    with pytest.raises(IndexError):
        jobs[3]


def test_tables_are_equal_when_their_jobs_are() -> None:
    assert read("@daily a", "# comment") == read("@daily a")
    assert read("@daily a") != read("@daily b")


# ---- several tables


def tables() -> list[Entries]:
    return [
        read("@daily a", "CRON_RETRIES=1", "@daily b").jobs,
        read("# empty", source=Source("bob", "bob")).jobs,
        read("@daily alice c", "CRON_NAME=d @daily carol x", source=SYSTEM).jobs,
    ]


def test_the_jobs_of_several_tables() -> None:
    jobs = Jobs(tables())
    assert len(jobs) == 4
    assert [job.command for job in jobs] == ["a", "b", "c", "x"]
    assert [jobs[i].command for i in (0, 1, 2, 3, -1)] == ["a", "b", "c", "x", "x"]
    assert [job.command for job in jobs[1:3]] == ["b", "c"]
    assert not Jobs([])


def test_found_by_id() -> None:
    jobs = Jobs(tables())
    wanted = {jobs[1].id: jobs[1], jobs[2].id: jobs[2]}
    assert jobs.find({*wanted, "0" * 16}) == wanted
    assert jobs.find(set()) == {}


def test_found_by_name() -> None:
    jobs = Jobs(tables())
    for job in jobs:
        assert jobs.called(job.name) == [job]
        assert jobs.called(job.id) == [job]
    assert jobs[3].name == "d"
    assert jobs.called(f"other-{jobs[0].id[:6]}") == []
    assert jobs.called("é") == []


def test_found_by_user_or_setting() -> None:
    def commands(of: str) -> list[str]:
        found = Jobs(tables()).where(lambda context: context.user == of)
        return [entries[index].command for entries, index in found]

    def retried(context: EntryContext) -> bool:
        return context.settings.retries == 1

    assert [commands(user) for user in ("alice", "bob", "carol")] == [["a", "b", "c"], [], ["x"]]
    assert [entries[i].command for entries, i in Jobs(tables()).where(retried)] == ["b"]
    assert tables()[2].users() == {"alice": 1, "carol": 2}


# ---- memory


@pytest.mark.parametrize("schedule", ["{m} {h} {d} * *", "@every 1s", "@every {n}m"])
def test_an_entry_costs_little_more_than_its_text(schedule: str) -> None:
    """A Job takes more than a kilobyte."""
    schedules = [
        schedule.format(m=n % 60, h=n // 60 % 24, d=n // 1440 + 1, n=1 + n % 1000)
        for n in range(10_000)
    ]
    lines = [f"{each} run --number={n}\n" for n, each in enumerate(schedules)]
    text = "".join(lines)
    tracemalloc.start()
    try:
        table = parse(text, ALICE, CONTEXT)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(table.jobs) == len(lines)
    assert size - len(text) < 100 * len(lines)
