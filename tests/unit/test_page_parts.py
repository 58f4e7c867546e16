"""The pure parts of the page: output with colours, times, charts, links."""

from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("starlette")

from pycron.analysis.minute_counts import MinuteCounts
from pycron.control.client import ControlClient
from pycron.model.instants import parse_rfc3339
from pycron.protocol.control_answers import RunRow
from pycron.web.access.attempts import Attempts
from pycron.web.access.hosts import Hosts
from pycron.web.access.one_time_links import OneTimeLinks
from pycron.web.access.sessions import IDLE, Sessions
from pycron.web.access.tokens import Tokens
from pycron.web.access.visitor import Visitor
from pycron.web.access.visitors import find_visitor
from pycron.web.daemon import Daemon
from pycron.web.page import Page
from pycron.web.views.ansi import Terminal
from pycron.web.views.charts import durations_of, hours_of, spark_of
from pycron.web.views.state import attention, said_to_be_late
from pycron.web.views.times import Choice, chosen_times, zones
from pycron.web.views.viewing import link
from pycron.wording.cells import Tone

NOON = parse_rfc3339("2026-03-08T12:00:00Z")


# ---- output


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"plain\n", [("", "plain\n")]),
        (b"a\x1b[31mb\x1b[0mc", [("", "a"), ("fg-red", "b"), ("", "c")]),
        (b"\x1b[1;4;32mx", [("bold underline fg-green", "x")]),
        (b"\x1b[1mx\x1b[22my", [("bold", "x"), ("", "y")]),
        (b"\x1b[97;44mx\x1b[39;49my", [("fg-white bg-blue", "x"), ("", "y")]),
        (b"\x1b[38;5;2mx\x1b[38;5;200my", [("fg-green", "xy")]),
        (b"\x1b[38;2;1;2;31mx\x1b[mz", [("", "xz")]),
        (b"a\x1b[2K\x1b[10;5Hb\x1b]0;title\x07c\x1b]8;;x\x1b\\d\x1b(Be", [("", "abcde")]),
        (b"10%\r20%\r\nend", [("", "10%\n20%\nend")]),
        (b"bell \x07 null \x00", [("", "bell \\x07 null \\x00")]),
        (b"\xff \xc3\xa9", [("", "\\xff é")]),
        (b"\x1b[31", [("", "\\x1b[31")]),
        (b"\xe2\x80\xae", [("", "\\u202e")]),  # text from right to left
        (b"<script>", [("", "<script>")]),  # the template escapes it
    ],
)
def test_output_with_colours(data: bytes, parts: list[tuple[str, str]]) -> None:
    assert Terminal().feed(data, last=True) == parts


def test_output_without_colours() -> None:
    assert Terminal(plain=True).feed(b"a\x1b[31mb\x1b[0mc") == [("", "abc")]


@given(st.binary(max_size=60), st.integers(0, 60))
def test_output_in_pieces_is_the_same(data: bytes, at: int) -> None:
    """Wherever the output is cut, also in a character or in an escape sequence."""
    colours = data.replace(b"\x01", b"\x1b[31m").replace(b"\x02", b"\x1b]0;t\x07")
    whole = Terminal().feed(colours, last=True)
    terminal = Terminal()
    pieces = terminal.feed(colours[:at]) + terminal.feed(colours[at:], last=True)
    assert _joined(pieces) == _joined(whole)


def _joined(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(classes, character) for classes, text in parts for character in text]


@pytest.mark.parametrize("text", [b"\x1b", b"\x1b[", b"\x1b]", b"\x1b[1;1", b"\x1bP\x1b", b"\r"])
def test_an_unfinished_sequence_is_kept_only_for_a_while(text: bytes) -> None:
    terminal = Terminal()
    shown = "".join(part for _, part in terminal.feed(text * 10_000))
    rest = "".join(part for _, part in terminal.feed(b"", last=True))
    assert len(rest) < 5000
    assert len(shown) + len(rest) >= 10_000 or text == b"\x1bP\x1b"


# ---- times


@pytest.mark.parametrize(
    ("choice", "browser", "text", "title"),
    [
        ("utc", "Europe/Berlin", "09:00", "Times in UTC"),
        ("local", "Europe/Berlin", "10:00", "Times in Europe/Berlin"),
        ("job", "Europe/Berlin", "18:00 Asia/Tokyo",
         "Times in the zone of each Job, others in Europe/Berlin"),
        ("nonsense", "Europe/Berlin", "10:00", "Times in Europe/Berlin"),
    ],
)  # fmt: skip
def test_times(choice: str, browser: str, text: str, title: str) -> None:
    times = chosen_times(choice, browser, NOON)
    moment = times.at("2026-03-08T09:00:00Z", "Asia/Tokyo")
    assert moment
    assert (moment.text, times.title) == (text, title)
    assert moment.iso == "2026-03-08T09:00:00Z"
    assert moment.ago == "3 h ago"


@pytest.mark.parametrize("zone", ["../../etc/passwd", "No/Such", "", None, "x" * 5000, "\udce9"])
def test_a_false_zone_of_a_cookie_is_passed_over(zone: str | None) -> None:
    assert chosen_times(None, zone, NOON).zone is zones().machine


def test_an_instant_names_its_zone() -> None:
    moment = chosen_times("local", "America/New_York", NOON).at(NOON)
    assert moment
    assert moment.whole == "Sunday 2026-03-08 08:00:00 America/New_York (UTC-0400)"


def test_an_instant_of_no_job_is_local() -> None:
    moment = chosen_times("job", "America/New_York", NOON).at(NOON)
    assert moment
    assert moment.text == "08:00 America/New_York"


def test_no_instant() -> None:
    assert chosen_times(None, None, NOON).at(None) is None


def test_the_choices_are_those_of_the_page() -> None:
    assert list(Choice) == ["local", "job", "utc"]


# ---- charts


def test_a_sparkline() -> None:
    spark = spark_of(
        [
            {"run_id": "a", "outcome": "succeeded", "seconds": 2.0},
            {"run_id": "b", "outcome": "failed", "seconds": 4.0},
            {"run_id": "c", "outcome": "missed", "seconds": None},
        ],
        20.0,
    )
    assert [(bar.height, bar.top, bar.tone) for bar in spark.bars] == [
        (10, 10, Tone.GOOD), (20, 0, Tone.BAD), (2, 18, Tone.WARN),
    ]  # fmt: skip
    assert spark.words == "the last 3 Runs: 1 succeeded, 2 did not"
    assert spark_of([], 20.0).bars == ()


def test_durations() -> None:
    chart = durations_of([1, 2, 3], [1.0, 3.0, None], ["succeeded", "failed", "missed"], 90.0)
    assert (chart.largest, chart.usual, chart.usual_top) == (3.0, 1.0, 60.0)
    assert [bar.height for bar in chart.bars] == [30.0, 90.0, 2.0]
    assert durations_of([1], [0.0], ["failed"]).usual is None


def test_a_heat_map() -> None:
    counts = MinuteCounts(0, 7200)
    counts.add(60, 9)
    counts.add(3600)
    hours, levels = hours_of(counts)
    assert [(hour.start, hour.total) for hour in hours] == [(0, 9), (3600, 1)]
    assert hours[0].cells == ((1, 9, len(levels)),)
    assert hours[1].cells == ((0, 1, 1),)
    assert (levels[0].low, levels[-1].high) == (1, 9)
    assert hours_of(MinuteCounts(0, 3600))[1] == []


# ---- sessions


@pytest.mark.parametrize(
    ("path", "headers", "ends"),
    [
        ("/", [], False),  # a person asks
        ("/", [(b"x-refresh", b"1")], True),  # the page refreshes itself
        ("/runs/x/stream", [], True),  # output comes
    ],
)
def test_a_session_that_only_the_page_itself_uses_ends(
    tmp_path: Path, path: str, headers: list[tuple[bytes, bytes]], ends: bool
) -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    page = Page(
        Daemon(ControlClient), sessions, OneTimeLinks(lambda: now[0]), Hosts([]),  # type: ignore[arg-type]
        Tokens(tmp_path / "tokens"), Attempts(lambda: now[0]), "joe",
    )  # fmt: skip
    session = sessions.begin(Visitor("joe", may_change=True, login="link"))
    cookie = (b"cookie", f"pycron={session}".encode())
    scope = {"type": "http", "path": path, "headers": [cookie, *headers], "method": "GET",
             "query_string": b"", "server": ("localhost", 80), "scheme": "http"}  # fmt: skip
    now[0] += 0.9 * IDLE
    assert find_visitor(page, scope)
    now[0] += 0.9 * IDLE
    assert (find_visitor(page, scope) is None) is ends


# ---- words and links


def test_what_needs_somebody() -> None:
    well = {"reasons": [], "runner_reads": True, "tables": 1, "jobs": 1, "running": 0}
    assert attention(well, 0, 0, 0) == []  # type: ignore[arg-type]
    ill = {**well, "reasons": ["the store cannot be written"]}
    found = attention(ill, 1, 100, 2)  # type: ignore[arg-type]
    assert [each.text for each in found] == [
        "the store cannot be written", "1 failure in the last day", "100 or more dead letters",
        "2 Runs late or longer than usual",
    ]  # fmt: skip


def test_which_runs_were_said_to_be_late() -> None:
    def row(number: int, delivery: str | None, about: str, attempts: int) -> RunRow:
        return cast(RunRow, {"run_id": str(number), "delivery": delivery, "about": about,
                             "attempts": attempts})  # fmt: skip

    found = said_to_be_late([
        row(1, "mail late", "a", 1), row(2, "notify late", "a", 1), row(3, "mail failed", "b", 1),
        row(4, "mail late", "c", 0), row(5, None, "d", 1), row(6, "mail late", "e", 2),
    ])  # fmt: skip
    assert [each["about"] for each in found] == ["a", "e"]


def test_a_link_keeps_the_filters() -> None:
    assert link("/runs", {"job": "a&b", "owner": None}, before=7) == "/runs?job=a%26b&before=7"
    assert link("/runs", {"job": ""}) == "/runs"
