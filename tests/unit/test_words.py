"""Schedules in words."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.crontab.reader import ReaderContext, parse
from pycron.model.job import Source
from pycron.schedule.expressions import NoSchedule, ScheduleError, parse_cron, parse_nickname
from pycron.schedule.words import FIXED, WILDCARD, daylight_saving, explain
from tests.unit.test_fire_times import fields

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        # Times of day
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("0 * * * *", "at minute 0 of every hour"),
        ("17 * * * *", "at minute 17 of every hour"),
        ("1,31 * * * *", "at minutes 1 and 31 of every hour"),
        ("30 2 * * *", "at 02:30"),
        ("0,30 8,20 * * *", "at 08:00, 08:30, 20:00 and 20:30"),
        ("*/10 8-18 * * *", "every 10 minutes, at hours 8 to 18"),
        ("15 */6 * * *", "at 00:15, 06:15, 12:15 and 18:15"),
        ("* */12 * * *", "every minute, at hours 0 and 12"),
        ("*/40 * * * *", "at minutes 0 and 40 of every hour"),
        ("*/2 * * * *", "every 2 minutes"),
        ("*/30 * * * *", "every 30 minutes"),
        ("0-58/2 * * * *", "every 2 minutes"),
        ("0-59 0-23 * * *", "every minute"),
        ("* 9 * * *", "every minute, at hour 9"),
        ("*/10 */6 * * *", "every 10 minutes, at hours 0, 6, 12 and 18"),
        ("0-30 * * * *", "at minutes 0 to 30 of every hour"),
        ("5,6,20-22 * * * *", "at minutes 5, 6 and 20 to 22 of every hour"),
        ("23 0-20/2 * * *", "at minute 23, at hours 0, 2, 4, 6, 8, 10, 12, 14, 16, 18 and 20"),
        ("0 12-14 * * *", "at 12:00, 13:00 and 14:00"),
        ("0 9-17 * * *", "at minute 0, at hours 9 to 17"),
        # A step begins again with each hour or day, if that is no multiple of it
        ("*/7 * * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"),
        ("*/45 * * * *", "at minutes 0 and 45 of every hour"),
        ("0,59 * * * *", "at minutes 0 and 59 of every hour"),
        ("*/20,50 * * * *", "at minutes 0, 20, 40 and 50 of every hour"),
        ("*/10 */9 * * *", "every 10 minutes, at hours 0, 9 and 18"),
        # Days
        ("0 9 * * 1-5", "at 09:00, on Monday to Friday"),
        ("0 0 * * 0", "at 00:00, on Sunday"),
        ("0 0 * * 0,3", "at 00:00, on Sunday and Wednesday"),
        ("0 0 1 * *", "at 00:00, on day 1 of the month"),
        ("0 0 1,15 * *", "at 00:00, on days 1 and 15 of the month"),
        ("0 0 8-14 * *", "at 00:00, on days 8 to 14 of the month"),
        ("0 0 L * *", "at 00:00, on the last day of the month"),
        ("0 0 LW * *", "at 00:00, on the last weekday of the month"),
        ("0 0 L-1 * ?", "at 00:00, on the day before the last of the month"),
        ("0 0 l-3 * ?", "at 00:00, on the day 3 days before the last of the month"),
        ("0 0 15W * *", "at 00:00, on the weekday nearest to day 15 of the month"),
        ("0 0 * * 5#2", "at 00:00, on the second Friday of the month"),
        ("0 0 * * 5L", "at 00:00, on the last Friday of the month"),
        ("0 0 * * 5-7", "at 00:00, on Sunday, Friday and Saturday"),
        ("0 0 * * mon-fri", "at 00:00, on Monday to Friday"),
        ("0 0 1,L * *", "at 00:00, on day 1 and the last day of the month"),
        ("0 0 * * 1,5L", "at 00:00, on Monday and the last Friday of the month"),
        # Both day fields: OR, unless one begins with a star
        ("0 0 13 * 5", "at 00:00, on day 13 of the month, and also on Friday"),
        ("0 0 1-31 * 1", "at 00:00"),
        ("0 0 */15 * 5", "at 00:00, on days 1, 16 and 31 of the month if it is Friday"),
        ("0 0 1-7 * */7", "at 00:00, on days 1 to 7 of the month if it is Sunday"),
        (
            "0 0 13 * 5L",
            "at 00:00, on day 13 of the month, and also on the last Friday of the month",
        ),
        ("0 0 L * 5", "at 00:00, on the last day of the month, and also on Friday"),
        ("0 0 1-31 * 5", "at 00:00"),
        ("0 0 13 * 0-6", "at 00:00"),
        ("0 0 */1 * 5", "at 00:00, on Friday"),
        ("0 0 13 * *", "at 00:00, on day 13 of the month"),
        # Months
        ("* * 1 1 *", "every minute, on day 1 of the month, in January"),
        ("59 23 31 12 5", "at 23:59, on day 31 of the month, and also on Friday, in December"),
        ("0 0 * */2 *", "at 00:00, in January, March, May, July, September and November"),
        ("0 0 1 1 *", "at 00:00, on day 1 of the month, in January"),
        ("0 0 * 6-8 *", "at 00:00, in June to August"),
        ("0 0 * jan,jul *", "at 00:00, in January and July"),
        ("0 0 29 2 *", "at 00:00, on day 29 of the month, in February"),
    ],
)
def test_five_fields(expression: str, words: str) -> None:
    assert explain(parse_cron(tuple(expression.split()))) == words


@pytest.mark.parametrize(
    ("text", "argument", "words"),
    [
        ("@hourly", "", "at minute 0 of every hour"),
        ("@daily", "", "at 00:00"),
        ("@midnight", "", "at 00:00"),
        ("@monthly", "", "at 00:00, on day 1 of the month"),
        ("@yearly", "", "at 00:00, on day 1 of the month, in January"),
        ("@weekly", "", "at 00:00, on Sunday"),
        ("@every", "90s", "every 90 seconds, counted from 1970-01-01T00:00Z"),
        ("@every", "1s", "every second, counted from 1970-01-01T00:00Z"),
        ("@reboot", "", "once, when the daemon first starts after the machine did"),
    ],
)
def test_nicknames(text: str, argument: str, words: str) -> None:
    assert explain(parse_nickname(text, argument)) == words


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("30 2 * * *", FIXED),
        ("0 0-23 * * *", FIXED),
        ("0 * * * *", WILDCARD),
        ("*/5 2 * * *", WILDCARD),
    ],
)
def test_daylight_saving(expression: str, what: str) -> None:
    assert daylight_saving(parse_cron(tuple(expression.split()))) == what


def test_daylight_saving_of_schedules_without_wall_times() -> None:
    assert daylight_saving(parse_nickname("@every", "90s")) is None
    assert daylight_saving(parse_nickname("@reboot")) is None
    assert daylight_saving(NoSchedule()) is None


def test_no_schedule() -> None:
    assert explain(NoSchedule()) == "at no time of its own: another event starts it"


# ---- any schedule


def benchmarked() -> list[str]:
    """The expressions of bench/schedules.py, whose imports the tests do not have."""
    text = (ROOT / "bench" / "schedules.py").read_text()
    _, _, after = text.partition('EXPRESSIONS = (\n    """\n')
    return after.partition('"""')[0].strip().replace("\n", "|").split("|")


def test_the_expressions_of_the_benchmark() -> None:
    expressions = benchmarked()
    assert len(expressions) >= 50
    for expression in expressions:
        assert sound(explain(parse_cron(tuple(expression.split())))), expression


@pytest.mark.parametrize("path", sorted((ROOT / "examples").iterdir()), ids=lambda path: path.name)
def test_the_entries_of_the_examples(path: Path) -> None:
    owners = ["alice", None]  # a table of a user, or one with a user column
    tables = [
        parse(path.read_text(), Source(path.name, owner), ReaderContext()) for owner in owners
    ]
    jobs = next(table.jobs for table in tables if not table.errors)
    assert jobs
    for job in jobs:
        assert sound(explain(job.schedule)), job


@given(st.tuples(fields(0, 59), fields(0, 23), fields(1, 31), fields(1, 12), fields(0, 6)))
def test_any_five_fields_are_one_line(drawn: tuple[tuple[str, set[int]], ...]) -> None:
    try:
        schedule = parse_cron(tuple(text for text, _ in drawn))
    except ScheduleError:
        return  # no month has such a day
    assert sound(explain(schedule))
    assert daylight_saving(schedule) in (FIXED, WILDCARD)


@given(st.integers(1, 10**8))
def test_any_interval_is_one_line(seconds: int) -> None:
    assert sound(explain(parse_nickname("@every", f"{seconds}s")))


def sound(words: str) -> bool:
    """Whether this is one line without traces of an empty part, such as a double comma."""
    return bool(words) and words.isprintable() and "  " not in words and words.strip(" ,") == words
