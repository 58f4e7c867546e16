"""The section [calendars]: dates, .ics files and holidays, and what is wrong with them."""

import datetime
import subprocess
import sys
from pathlib import Path

import pytest

from pycron.config import Config, ConfigError, Configuration, read_config
from pycron.schedule.day_rules import Calendar

HEAD = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//x//EN\r\n"
TAIL = "END:VCALENDAR\r\n"


def event(uid: str, *lines: str) -> str:
    return "\r\n".join(["BEGIN:VEVENT", f"UID:{uid}", *lines, "END:VEVENT", ""])


EVENTS = (
    event("new-year", "DTSTART;VALUE=DATE:20200101", "RRULE:FREQ=YEARLY"),
    # DTEND is the day after the last one
    event("summer", "DTSTART;VALUE=DATE:20260803", "DTEND;VALUE=DATE:20260806"),
    event("winter", "DTSTART;VALUE=DATE:20261230", "DTEND;VALUE=DATE:20270103"),
    event("mondays", "DTSTART;VALUE=DATE:20260202", "RRULE:FREQ=WEEKLY;COUNT=3",
          "EXDATE;VALUE=DATE:20260209"),
    # The third of these Mondays was moved to the Tuesday
    event("mondays", "RECURRENCE-ID;VALUE=DATE:20260216", "DTSTART;VALUE=DATE:20260217"),
    event("length", "DTSTART;VALUE=DATE:20260501", "DURATION:P2D"),
    # No whole days, or no event
    event("meeting", "DTSTART:20260310T100000Z", "DTEND:20260310T110000Z", "RRULE:FREQ=DAILY"),
    event("cancelled", "DTSTART;VALUE=DATE:20260311", "STATUS:CANCELLED"),
    "BEGIN:VTODO\r\nUID:todo\r\nDTSTART;VALUE=DATE:20260312\r\nEND:VTODO\r\n",
)  # fmt: skip


def ics(tmp_path: Path, *events: str) -> Path:
    path = tmp_path / "x.ics"
    path.write_text(HEAD + "".join(events) + TAIL, newline="")
    return path


def config(tmp_path: Path, section: str) -> Config:
    path = tmp_path / "pycron.toml"
    path.write_text(f"[calendars]\n{section}\n")
    return read_config(path, required=True)


def days(calendar: Calendar, year: int) -> list[str]:
    return [f"{day:%m-%d}" for day in calendar.days_in(year)]


# ---- dates


def test_dates_and_ranges(tmp_path: Path) -> None:
    found = config(tmp_path, 'x = ["2026-12-24", 2026-05-01, "2026-12-30..2027-01-02"]').calendars
    assert days(found["x"], 2026) == ["05-01", "12-24", "12-30", "12-31"]
    assert days(found["x"], 2027) == ["01-01", "01-02"]
    assert days(found["x"], 2028) == []


def test_a_calendar_without_days(tmp_path: Path) -> None:
    assert days(config(tmp_path, "x = []").calendars["x"], 2026) == []


def test_the_end_of_time(tmp_path: Path) -> None:
    found = config(tmp_path, 'x = ["9999-12-30..9999-12-31"]').calendars["x"]
    assert days(found, 9999) == ["12-30", "12-31"]


# ---- .ics files


def test_all_day_events_with_their_recurrences(tmp_path: Path) -> None:
    found = config(tmp_path, f'x = "{ics(tmp_path, *EVENTS)}"').calendars["x"]
    assert days(found, 2026) == [
        "01-01", "02-02", "02-17", "05-01", "05-02", "08-03", "08-04", "08-05", "12-30", "12-31",
    ]  # fmt: skip
    assert days(found, 2027) == ["01-01", "01-02"]
    assert days(found, 2019) == []


def test_another_text_of_the_file_is_another_calendar(tmp_path: Path) -> None:
    """So a reload says what has changed, and which Jobs follow other days."""
    path = ics(tmp_path, EVENTS[0])
    configuration = tmp_path / "pycron.toml"
    configuration.write_text(f'[calendars]\nx = "{path}"\n')
    read = Configuration(configuration)
    assert read.look(lambda _: True).at_reload == ()
    ics(tmp_path, EVENTS[1])
    assert read.reload(lambda _: True).at_reload == ("calendars.x",)
    assert datetime.date(2026, 8, 4) in read.config.calendars["x"]


# ---- holidays


def test_holidays_of_a_part_of_a_country(tmp_path: Path) -> None:
    found = config(tmp_path, 'by = "holidays:DE-BY"\nde = "holidays:DE"').calendars
    assert datetime.date(2026, 1, 6) in found["by"]  # Epiphany
    assert datetime.date(2026, 1, 6) not in found["de"]
    assert datetime.date(2027, 3, 26) in found["de"]  # Good Friday


def test_neither_package_is_imported_for_dates(tmp_path: Path) -> None:
    path = tmp_path / "pycron.toml"
    path.write_text('[calendars]\nx = ["2026-12-24"]\n')
    code = (
        "import sys, pathlib; from pycron.config import read_config; "
        "read_config(pathlib.Path(sys.argv[1]), True); "
        "print([name for name in ('holidays', 'icalendar', 'dateutil') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code, path], text=True) == "[]\n"


# ---- mistakes


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3", "3 (a list of dates and ranges, the path of an .ics file, or holidays:COUNTRY)"),
        ('"x.ics"', "'x.ics' (a list of dates and ranges, the path of an .ics file, or"),
        ('"/x.txt"', "'/x.txt' (a list of dates and ranges"),
        ('["2026-02-30"]', '\'2026-02-30\' ("2026-12-24" or "2026-12-24..2027-01-01")'),
        ('["24.12.2026"]', "'24.12.2026' (\"2026-12-24\" or"),
        ('["2026-12-31..2026-12-24"]', "'2026-12-31..2026-12-24' (\"2026-12-24\" or"),
        ("[2026-12-24T10:00:00]", "'2026-12-24 10:00:00' (\"2026-12-24\" or"),
        ("[1]", "'1' (\"2026-12-24\" or"),
        ('"holidays:"', "'holidays:' (a country and perhaps a part of it: holidays:DE-BY)"),
        ('"holidays:Bavaria"', "'holidays:Bavaria' (a country"),
        ('"holidays:XX"', "'holidays:XX' (Country XX not available"),
        ('"holidays:DE-XX"', "'holidays:DE-XX' ("),
        ('"/nowhere/x.ics"', "'/nowhere/x.ics': no such file"),
    ],
)
def test_a_bad_calendar(tmp_path: Path, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, f"x = {value}")
    assert str(caught.value).startswith(f"{tmp_path}/pycron.toml: bad calendars.x: {message}")


@pytest.mark.parametrize(
    "text",
    [
        "", "no calendar", HEAD, HEAD + "BEGIN:VEVENT\r\n" + TAIL, "\0\xff",
        HEAD + event("x", "DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=NEVER") + TAIL,
        HEAD + event("x", "DTSTART;VALUE=DATE:2026") + TAIL,
        HEAD + event("x", "DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=DAILY;INTERVAL=0") + TAIL,
        HEAD + event("x", "DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=DAILY;INTERVAL=-1") + TAIL,
        HEAD + event("x", "DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=SECONDLY") + TAIL,
        HEAD + event("x", "DTSTART;VALUE=DATE:20260101", "RRULE:COUNT=3") + TAIL,
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_or_has_no_days(tmp_path: Path, text: str) -> None:
    """Whatever is wrong with it, the daemon gets an error at once, and not a fault in some year."""
    path = tmp_path / "x.ics"
    path.write_bytes(text.encode("latin-1"))
    try:
        found = config(tmp_path, f'x = "{path}"').calendars["x"]
    except ConfigError:
        return
    assert all(len(found.days_in(year)) < 2 for year in range(2020, 2031))


def test_a_file_that_others_may_write_to_is_not_trusted(tmp_path: Path) -> None:
    path = ics(tmp_path, EVENTS[0])
    path.chmod(0o666)
    with pytest.raises(ConfigError, match=r"x\.ics'?:.*writ"):
        config(tmp_path, f'x = "{path}"')


def test_a_missing_package_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("holidays", "icalendar"):
        monkeypatch.setitem(sys.modules, name, None)
    for value in ("holidays:DE", str(ics(tmp_path, EVENTS[0]))):
        with pytest.raises(ConfigError, match=r"pip install 'pycrond\[calendars\]'"):
            config(tmp_path, f'x = "{value}"')


def test_defaults_name_calendars_that_exist(tmp_path: Path) -> None:
    text = 'x = ["2026-12-24"]\n[defaults]\nCRON_EXCEPT = "x"\n'
    assert config(tmp_path, text).defaults == {"excepted": ("x",)}
    with pytest.raises(ConfigError, match=r"bad defaults: no calendar y in \[calendars\]"):
        config(tmp_path, text.replace('= "x"', '= "x,y"'))
