"""Schedules in words."""

import pytest

from pycron.explain import FIXED, WILDCARD, daylight_saving, explain
from pycron.schedule import parse_cron, parse_nickname


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
        # Days
        ("0 9 * * 1-5", "at 09:00, on Monday to Friday"),
        ("0 0 * * 0", "at 00:00, on Sunday"),
        ("0 0 * * 0,3", "at 00:00, on Sunday and Wednesday"),
        ("0 0 1 * *", "at 00:00, on day 1 of the month"),
        ("0 0 1,15 * *", "at 00:00, on days 1 and 15 of the month"),
        ("0 0 8-14 * *", "at 00:00, on days 8 to 14 of the month"),
        ("0 0 L * *", "at 00:00, on the last day of the month"),
        ("0 0 LW * *", "at 00:00, on the last weekday of the month"),
        ("0 0 15W * *", "at 00:00, on the weekday nearest to day 15 of the month"),
        ("0 0 * * 5#2", "at 00:00, on the second Friday of the month"),
        ("0 0 * * 5L", "at 00:00, on the last Friday of the month"),
        # Both day fields: either, unless one begins with a star
        ("0 0 13 * 5", "at 00:00, on day 13 of the month, and also on Friday"),
        ("0 0 13 * 0-6", "at 00:00"),
        ("0 0 1-31 * 1", "at 00:00"),
        ("0 0 */15 * 5", "at 00:00, on days 1, 16 and 31 of the month if it is Friday"),
        # Months
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
        ("@weekly", "", "at 00:00, on Sunday"),
        ("@every", "90s", "every 90 seconds, counted from 1970-01-01T00:00Z"),
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


def test_what_has_no_wall_time() -> None:
    assert daylight_saving(parse_nickname("@every", "90s")) is None
    assert daylight_saving(parse_nickname("@reboot")) is None
