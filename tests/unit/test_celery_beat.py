"""A schedule of Celery Beat as a table: the same times, and what is said of differences."""

import importlib.util
import json
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycron.cli.errors import Failed
from pycron.cli.importing.beat_dump import entries_of_dump
from pycron.crontab.celery_beat import BeatEntry, Converted, Interval, Unknown, convert
from pycron.crontab.celery_fields import CannotConvert, CeleryFields, five_fields
from pycron.crontab.messages import Message, read_message
from pycron.crontab.reader import ReaderContext, parse
from pycron.model.job import Source
from pycron.schedule.expressions import parse_cron
from pycron.schedule.fire_times import fire_times
from pycron.system.zone_data import ZoneData

CONTEXT = ReaderContext(zone_exists=ZoneData().exists)
UTC_ZONE = ZoneData("UTC").machine
needs_celery = pytest.mark.skipif(importlib.util.find_spec("celery") is None, reason="needs celery")


# ---- fields


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (CeleryFields(), "* * * * *"),
        (CeleryFields("*/5"), "*/5 * * * *"),
        (CeleryFields("0,15,30,45", "0-23"), "0,15,30,45 * * * *"),
        (CeleryFields("0", "22-2"), "0 0-2,22,23 * * *"),
        (CeleryFields("0", "0", "*", "jan-mar", "fri-mon"), "0 0 * 1-3 0,1,5,6"),
        (CeleryFields("0", "0", "2-30/9"), "0 0 2,11,20,29 * *"),
        (CeleryFields("0", "0", "1-7", "*", "monday"), "0 0 * * mon#1"),
        (CeleryFields("0", "0", "1-7,29-31", "*", "0,6"),
         "0 0 * * sun#1,sun#5,sat#1,sat#5"),
        (CeleryFields("0", "0", "*/2", "*", "mon"), "0 0 */2 * 1"),
        (CeleryFields("0", "0", "13", "*", "*/2"), "0 0 13 * */2"),
    ],
)  # fmt: skip
def test_five_fields(fields: CeleryFields, text: str) -> None:
    assert five_fields(fields) == text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (CeleryFields("60"), r"bad minute: \"60\" \(0-59\)"),
        (CeleryFields("*/0"), "a step of 0"),
        (CeleryFields("x"), "bad minute"),
        (CeleryFields(""), "bad minute"),
        (CeleryFields("1," * 1000), "longer than"),
        (CeleryFields("0", "0", "*", "*", "7"), "bad day_of_week"),
        (CeleryFields("0", "0", "13", "*", "fri"), "five fields take either"),
    ],
)
def test_fields_without_an_entry(fields: CeleryFields, said: str) -> None:
    with pytest.raises(CannotConvert, match=said):
        five_fields(fields)


def field(least: int, most: int) -> st.SearchStrategy[str]:
    number = st.integers(least, most)
    part = st.one_of(
        st.just("*"),
        st.integers(1, most).map("*/{}".format),
        number.map(str),
        st.tuples(number, number).map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.tuples(number, number, st.integers(1, 9)).map(lambda of: f"{of[0]}-{of[1]}/{of[2]}"),
    )
    return st.lists(part, min_size=1, max_size=3).map(",".join)


@needs_celery
@settings(max_examples=150, deadline=None)
@given(
    field(0, 59), field(0, 23), st.one_of(st.just("*"), field(1, 31), st.just("8-14")),
    field(1, 12), st.one_of(st.just("*"), field(0, 6)),
)  # fmt: skip
def test_an_entry_is_due_when_beat_sends(
    minute: str, hour: str, day: str, month: str, weekday: str
) -> None:
    """Celery's own crontab() is the judge, in UTC, for the next three times."""
    from celery.schedules import ParseException, crontab

    try:
        judge = crontab(minute, hour, weekday, day, month, nowfun=lambda: datetime.now(UTC))
        text = five_fields(CeleryFields(minute, hour, day, month, weekday))
    except (CannotConvert, ParseException, ValueError):
        return
    start = datetime(2026, 11, 29, 12, 0, 30, tzinfo=UTC)
    first = int(start.timestamp())
    ours = fire_times(parse_cron(tuple(text.split())), UTC_ZONE, first, first + 86_400 * 366 * 9)
    last = start
    for found in islice(ours, 3):
        begun, delta, _ = judge.remaining_delta(last)
        last = begun + delta
        assert found == last.timestamp()


# ---- entries


def of(*entries: BeatEntry) -> Converted:
    return convert(entries, "proj", CONTEXT)


def line_of(entry: BeatEntry) -> str:
    return of(entry).text.splitlines()[-1]


def test_an_entry_has_its_name_its_zone_and_its_arguments() -> None:
    entry = BeatEntry("every five", "shop.refresh", CeleryFields("*/5"), [1, "50%"], {"a": None},
                      zone="Europe/Berlin")  # fmt: skip
    line = (
        "CRON_NAME=every-five CRON_TZ=Europe/Berlin */5 * * * *  "
        r'shop.refresh [1, "50\%"] {"a": null}'
    )
    table = of(entry)
    assert table.text.splitlines()[-1] == line
    assert [finding.verdict.value for finding in table.findings] == ["same"]
    (job,) = parse(table.text, Source("joe", "joe"), CONTEXT).jobs
    assert job.settings.send == "celery"
    assert read_message(job.command, job.stdin) == Message("shop.refresh", [1, "50%"], {"a": None})


@pytest.mark.parametrize(("seconds", "text"), [
    (30, "30s"), (90, "90s"), (7200, "2h"), (86_400, "1d"), (1_209_600, "2w"),
])  # fmt: skip
def test_an_interval(seconds: int, text: str) -> None:
    table = of(BeatEntry("x", "a", Interval(seconds), zone="UTC"))
    assert table.text.splitlines()[-1] == f"CRON_NAME=x @every {text}  a"
    (finding,) = table.findings
    assert finding.verdict.value == "changed"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (BeatEntry("x", "a", Interval(0.5)), "whole seconds"),
        (BeatEntry("x", "a", Unknown("no entry has Celery's solar schedules")), "solar"),
        (BeatEntry("x", "a b", CeleryFields()), "no JSON"),
        (BeatEntry("x", "", CeleryFields()), "no name of a task"),
        (BeatEntry("x", "a", CeleryFields("0", "0", "30", "2")), "never run"),
        (BeatEntry("x", "a", CeleryFields(), zone="Mars/Base"), "no such time zone"),
        (BeatEntry("x", "a", CeleryFields(), zone="UTC @daily rm"), "no such time zone"),
    ],
)
def test_what_is_left_out_is_said(entry: BeatEntry, reason: str) -> None:
    """In the table, too: the line is a comment, and no other line follows from it."""
    table = of(entry)
    assert table.text.splitlines()[-1].startswith("# left out: x: ")
    (finding,) = table.findings
    assert (finding.verdict.value, finding.line) == ("refused", 0)
    assert reason in finding.message


def test_no_name_makes_a_line_of_its_own() -> None:
    """A dump may come from anywhere."""
    hostile = "x\n* * * * * rm -rf ~"
    for entry in (
        BeatEntry(hostile, "a", CeleryFields()),
        BeatEntry(hostile, "a", Unknown(hostile)),
        BeatEntry("x", hostile, CeleryFields()),
        BeatEntry("x", "a", CeleryFields(), zone=hostile),
        BeatEntry("x", "a", CeleryFields(hostile)),
        BeatEntry("x", "a", CeleryFields(), queue=hostile),
        BeatEntry("x", "a", CeleryFields(), [hostile], {hostile: hostile}),
        BeatEntry(hostile, "a", CeleryFields(), enabled=False),
    ):
        lines = convert([entry], hostile, CONTEXT).text.splitlines()
        assert len(lines) == 5
        assert not [line for line in lines if line.startswith("*")]


def test_names_are_unique() -> None:
    entries = [BeatEntry(name, "a", CeleryFields()) for name in ("a b", "a-b", "a  b", "ü")]
    names = [line.split()[0] for line in of(*entries).text.splitlines()[-4:]]
    assert names == ["CRON_NAME=a-b", "CRON_NAME=a-b-2", "CRON_NAME=a-b-3", "CRON_NAME=task"]


def test_a_queue_is_a_sender_of_its_own() -> None:
    table = of(BeatEntry("x", "a", CeleryFields(), zone="UTC", queue="slow lane"))
    assert "CRON_SEND=slow-lane" in table.text.splitlines()[-1]
    assert "[senders.celery] and [senders.slow-lane]" in table.text


def test_what_is_different_is_said() -> None:
    table = of(BeatEntry("x", "a", CeleryFields(), left_out=("expires",)))
    assert [finding.code for finding in table.findings] == ["beat-zone", "beat-options"]
    table = of(BeatEntry("x", "a", CeleryFields(), zone="UTC", enabled=False))
    assert [finding.code for finding in table.findings] == ["beat-disabled"]
    assert table.text.splitlines()[-1].startswith("# not enabled: CRON_NAME=x ")


# ---- django-celery-beat


def dump(*tasks: dict[str, Any]) -> str:
    rows = [
        {"model": "django_celery_beat.intervalschedule", "pk": 1,
         "fields": {"every": 10, "period": "minutes"}},
        {"model": "django_celery_beat.crontabschedule", "pk": 7,
         "fields": {"minute": "0", "hour": "4", "day_of_month": "*", "month_of_year": "*",
                    "day_of_week": "1, 3", "timezone": "Asia/Tokyo"}},
        {"model": "auth.user", "pk": 1, "fields": {"password": "geheim"}},
    ]  # fmt: skip
    rows += [
        {"model": "django_celery_beat.periodictask", "pk": number,
         "fields": {"name": f"t{number}", "task": "shop.t", "args": "[]", "kwargs": "{}"} | fields}
        for number, fields in enumerate(tasks)
    ]  # fmt: skip
    return json.dumps(rows)


def test_the_rows_of_a_dump() -> None:
    entries = entries_of_dump(dump(
        {"crontab": 7, "args": '[1, "x"]', "kwargs": '{"a": true}', "queue": "fast"},
        {"interval": 1, "enabled": False, "expire_seconds": 60, "headers": '{"x": 1}'},
    ))  # fmt: skip
    assert entries == [
        BeatEntry("t0", "shop.t", CeleryFields("0", "4", "*", "*", "1,3"), [1, "x"], {"a": True},
                  "Asia/Tokyo", "fast"),
        BeatEntry("t1", "shop.t", Interval(600), left_out=("expire_seconds", "headers"),
                  enabled=False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"solar": 1}, "solar"),
        ({"clocked": 1}, "single time"),
        ({"interval": 1, "one_off": True}, "once only"),
        ({"interval": 9}, "no schedule"),
        ({"interval": 1, "args": "{1}"}, "no JSON"),
        ({"interval": 1, "kwargs": "[]"}, "no JSON"),
    ],
)
def test_rows_that_are_left_out(fields: dict[str, Any], reason: str) -> None:
    (finding,) = convert(entries_of_dump(dump(fields)), "dump", CONTEXT).findings
    assert finding.verdict.value == "refused"
    assert reason in finding.message


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"model": "x"}]', "[" * 100_000, "[]"])
def test_a_file_that_is_no_dump(text: str) -> None:
    with pytest.raises(Failed):
        entries_of_dump(text)


def test_timedelta_is_what_beat_means() -> None:
    """The text that an interval gets is read back as the same duration."""
    from pycron.schedule.durations import parse_duration

    for seconds in (1, 59, 61, 3600, 90_000, 604_800):
        text = line_of(BeatEntry("x", "a", Interval(seconds))).split()[2]
        assert timedelta(seconds=parse_duration(text)).total_seconds() == seconds
