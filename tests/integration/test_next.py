"""`pycron next` and `pycron explain`, as programs."""

import datetime
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.running_daemon import foreground, run
from tests.support.thoroughness import slow_after

RECORDED = os.environ.get("PYCRON_RECORDED")


def upcoming(
    *arguments: str | Path, state: Path | None = None, zone: str | None = None
) -> list[dict[str, Any]]:
    """The rows of --json. `state`: the directory of the daemon. `zone`: that of the reader."""
    daemon: list[str | Path] = ["--state-dir", state] if state else []
    environment = dict(os.environ, **({"TZ": zone} if zone else {}))
    done = run("pycron", *daemon, "next", "--json", *arguments, env=environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def times(*arguments: str | Path) -> list[str]:
    return [row["fire_time"] for row in upcoming(*arguments)]


def test_keys() -> None:
    (row,) = upcoming("30 2 * * *", "--tz", "America/New_York", "--from", "2026-03-08",
                      "--until", "2026-03-09")  # fmt: skip
    job = row.pop("job")
    assert row == {
        "line": 1, "fire_time": "2026-03-08T07:00:00Z", "local": "2026-03-08T03:00:00-04:00",
    }  # fmt: skip
    assert job


def test_from_is_inclusive_and_until_is_not() -> None:
    window = ("--from", "2026-03-08T00:00:00Z", "--until", "2026-03-08T02:00:00Z", "--tz", "UTC")
    assert times("0 * * * *", *window) == ["2026-03-08T00:00:00Z", "2026-03-08T01:00:00Z"]


def test_count() -> None:
    assert len(times("* * * * *")) == 10
    assert len(times("* * * * *", "--count", "3")) == 3


@pytest.mark.parametrize(
    ("expression", "day", "fires"),
    [
        # New York, spring: 02:00 is followed by 03:00 (07:00Z)
        ("30 2 * * *", "2026-03-08", ["07:00"]),
        ("30 * * * *", "2026-03-08", [f"{hour:02}:30" for hour in (5, 6, 7, 8)]),
        # Autumn: 01:00-01:59 comes twice (05:00Z and 06:00Z)
        ("30 1 * * *", "2026-11-01", ["05:30"]),
        ("30 * * * *", "2026-11-01", [f"{hour:02}:30" for hour in (4, 5, 6, 7)]),
    ],
)
def test_days_on_which_the_clock_changes(expression: str, day: str, fires: list[str]) -> None:
    found = times(expression, "--tz", "America/New_York", "--from", day, "--count", "4")
    assert [time[11:16] for time in found if time[:10] == day][: len(fires)] == fires


def test_tables_are_merged_and_keep_their_zones(tmp_path: Path) -> None:
    own, system = tmp_path / "own", tmp_path / "system"
    own.write_text("CRON_NAME=here 0 9 * * *  x\nCRON_NAME=tokyo CRON_TZ=Asia/Tokyo 0 9 * * * x\n")
    system.write_text("\nCRON_NAME=root 30 8 * * *  root  x\n@reboot root y\n")
    rows = upcoming("--table", own, "--system-table", system, "--tz", "Europe/Berlin",
                    "--from", "2026-06-01T00:00:00Z", "--count", "3")  # fmt: skip
    assert [(row["job"], row["line"], row["fire_time"][11:16]) for row in rows] == [
        ("tokyo", 2, "00:00"), ("root", 2, "06:30"), ("here", 1, "07:00"),
    ]  # fmt: skip


def test_tables_are_one_list_in_the_order_of_time(tmp_path: Path) -> None:
    for number in range(4):
        lines = [f"CRON_NAME=j{number} {n + 7 * number} */5 * * * x" for n in range(4)]
        (tmp_path / f"t{number}").write_text("\n".join(line.replace("=j", f"=n{n}-")
                                             for n, line in enumerate(lines)) + "\n")  # fmt: skip
    named = [arg for number in range(4) for arg in ("--table", tmp_path / f"t{number}")]
    found = times(*named, "--from", "2026-06-01", "--count", "100")
    assert len(found) == 100
    assert found == sorted(found)


def test_no_entry_is_left_out_between_from_and_until(tmp_path: Path) -> None:
    """--until has no count: a whole day of minutes, where --count would stop at 10."""
    window = ("--from", "2026-06-01T00:00:00Z", "--until", "2026-06-02T00:00:00Z")
    assert len(times("* * * * *", *window)) == 1440
    assert times("* * * * *", "--from", window[3], "--until", window[1]) == []


def test_a_time_without_an_offset_is_one_of_tz() -> None:
    assert times("@daily", "--tz", "Asia/Tokyo", "--from", "2026-06-02", "--count", "1") == [
        "2026-06-01T15:00:00Z"
    ]


def test_an_interval_has_the_same_times_everywhere() -> None:
    arguments = ("@every 7h", "--from", "2026-06-01T00:00:00Z", "--count", "3")
    assert times(*arguments, "--tz", "Asia/Tokyo") == times(*arguments, "--tz", "UTC")
    assert times(*arguments)[0] == "2026-06-01T00:00:00Z"[:11] + first_multiple(7 * 3600)


def first_multiple(seconds: int) -> str:
    start = int(datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC).timestamp())
    moment = datetime.datetime.fromtimestamp(-(-start // seconds) * seconds, datetime.UTC)
    return moment.strftime("%H:%M:%SZ")


def test_random_values_stay_the_same_and_are_those_of_the_daemon(tmp_path: Path) -> None:
    lines = "CRON_NAME=r 0~59 H * * * x\n~ ~ ~ * * y\nH(10-20) 3 * * ~ z\n"
    with foreground(lines, tmp_path) as daemon:
        daemon.wait_for("table_loaded")
        live = upcoming("--from", "2026-06-01", state=tmp_path / "state")
    arguments = ("--table", tmp_path / "table", "--from", "2026-06-01")
    shared = [{key: row[key] for key in ("line", "job", "fire_time", "local")} for row in live]
    assert upcoming(*arguments) == upcoming(*arguments) == shared
    assert len(live) == 10


def test_without_a_table_the_zone_is_that_of_the_daemon(tmp_path: Path) -> None:
    """The zone of the reader does not change the fire times."""
    own = dict(os.environ, TZ="Asia/Tokyo")
    with foreground("CRON_NAME=a 0 9 * * * x\n", tmp_path, env=own) as daemon:
        daemon.wait_for("table_loaded")
        arguments = ("--from", "2026-06-01T00:00:00Z", "--count", "1")
        (row,) = upcoming(*arguments, state=tmp_path / "state", zone="America/New_York")
    assert (row["fire_time"], row["local"]) == (
        "2026-06-01T00:00:00Z", "2026-06-01T09:00:00+09:00",
    )  # fmt: skip


def test_calendars_are_those_of_the_daemon(tmp_path: Path) -> None:
    """The fire times that the daemon will follow, found by a client that cannot read its file."""
    config = tmp_path / "pycron.toml"
    config.write_text('[calendars]\nclosed = ["2027-06-02..2027-06-04", "2028-06-01"]\n')
    lines = "CRON_NAME=a CRON_EXCEPT=closed 0 9 1-5 6 * x\nCRON_NAME=b CRON_ONLY=closed @daily y\n"
    with foreground(lines, tmp_path, "--config", config) as daemon:
        daemon.wait_for("table_loaded")
        rows = upcoming("--from", "2027-06-01T00:00:00Z", "--until", "2029-01-01T00:00:00Z",
                        state=tmp_path / "state", zone="UTC")  # fmt: skip
        why = run("pycron", "--state-dir", tmp_path / "state", "why", "a", "2027-06-02T09:00")
    found = [(row["job"], row["local"][:10]) for row in rows]
    assert [day for job, day in found if job == "a"] == [
        "2027-06-01", "2027-06-05", "2028-06-02", "2028-06-03", "2028-06-04", "2028-06-05",
    ]  # fmt: skip
    assert [day for job, day in found if job == "b"] == [
        "2027-06-02", "2027-06-03", "2027-06-04", "2028-06-01",
    ]  # fmt: skip
    assert "not due: 2027-06-02 is in the calendar closed (CRON_EXCEPT)" in why.stdout


def test_a_calendar_in_front_of_an_expression(tmp_path: Path) -> None:
    """The client reads the configuration itself: that of the user."""
    config = tmp_path / "pycron" / "pycron.toml"
    config.parent.mkdir()
    config.write_text('[calendars]\nx = ["2026-06-02"]\n')
    own = dict(os.environ, XDG_CONFIG_HOME=str(tmp_path), TZ="UTC")
    expression = "CRON_EXCEPT=x CRON_EVERY=2d@2026-06-01 @daily"
    arguments = ("--user", "next", expression, "--from", "2026-05-30", "--count", "3")
    done = run("pycron", *arguments, env=own)
    assert [line[:10] for line in done.stdout.splitlines()[1:]] == [
        "2026-05-30", "2026-06-01", "2026-06-03",
    ]  # fmt: skip
    explained = run("pycron", "--user", "explain", expression, env=own).stdout
    assert "only every 2 days, counted from 2026-06-01, not on the days of x" in explained


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["CRON_EVERY=2w @daily"], 1, 'bad CRON_EVERY: "2w"'),
        (["CRON_ONLY=nowhere @daily"], 1, 'bad CRON_ONLY: "nowhere" (no such calendar'),
        (["61 * * * *"], 1, 'expression:1: bad minute: "61" (0-59)'),
        (["0 0 30 2 *"], 1, "it would never run"),
        (["* * * *"], 1, "bad day-of-week"),
        ([""], 1, "bad hour"),
        (["@every"], 1, "bad time specifier"),
        (["@sometimes"], 1, 'bad time specifier: "@sometimes"'),
        (["0 0 * * * *"], 1, 'bad command: "*"'),
        (["0 0 * * *\n0 1 * * *"], 1, "one line"),
        (["# 0 0 * * *"], 1, "no schedule"),
        (["CRON_TZ=Mars/Olympus 0 0 * * *"], 1, 'bad CRON_TZ: "Mars/Olympus"'),
        (["@daily", "--tz", ""], 2, "bad --tz"),
        (["@daily", "--until", "2026-13-01"], 2, 'bad time: "2026-13-01"'),
        (["@daily", "--table", "/dev/null"], 2, "not both"),
        (["@daily", "--count", "2", "--until", "2030-01-01"], 2, "not allowed with"),
        (["@daily", "--from", "soon"], 2, 'bad time: "soon"'),
        (["@daily", "--tz", "Mars/Olympus"], 2, "bad --tz"),
        (["@daily", "--count", "0"], 2, "no whole number above 0"),
        (["--table", "/nonexistent"], 1, "/nonexistent: no such file"),
    ],
)
def test_errors(arguments: list[str], status: int, message: str) -> None:
    done = run("pycron", "next", *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr


def test_without_a_daemon(tmp_path: Path) -> None:
    done = run("pycron", "--state-dir", tmp_path, "next")
    assert done.returncode == 1
    assert f"; start it: pycrond --state-dir {tmp_path}" in done.stderr


def test_a_table_with_an_error_has_no_fire_times(tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.write_text("* * * * * x\n61 * * * * y\n0 25 * * * z\n@daily w\n")
    done = run("pycron", "next", "--table", table)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f'pycron: {table}:2: bad minute: "61" (0-59)',
        f'pycron: {table}:3: bad hour: "25" (0-23)',
    ]


def test_columns() -> None:
    done = run("pycron", "next", "CRON_TZ=Asia/Tokyo CRON_NAME=a 30 2 * * *", "--tz",
               "America/New_York", "--from", "2036-03-08", "--count", "2")  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["WHEN", "IN", "JOB", "WAITS", "FOR", "OWNER", "IN", "ITS", "ZONE"]
    assert [line.split()[0] for line in lines[1:]] == [
        "2036-03-08T12:30:00-05:00", "2036-03-09T13:30:00-04:00",
    ]  # fmt: skip
    assert [line.split()[-2:] for line in lines[1:]] == [
        ["2036-03-09", "02:30+09:00"], ["2036-03-10", "02:30+09:00"],
    ]  # fmt: skip


def test_nothing_is_due() -> None:
    done = run("pycron", "next", "@reboot")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "nothing is due\n")


def test_explain() -> None:
    done = run("pycron", "explain", "--json", "--tz", "Europe/Berlin", "--count", "2",
               "CRON_TZ=Asia/Tokyo 0 9 * * 1-5")  # fmt: skip
    row = json.loads(done.stdout)
    assert (row["words"], row["zone"]) == ("at 09:00, on Monday to Friday", "Asia/Tokyo")
    for fire in row["next"]:
        instants = {
            datetime.datetime.fromisoformat(fire[key]) for key in ("fire_time", "local", "reader")
        }
        assert len(instants) == 1  # one instant, three clocks
        assert fire["local"][11:] == "09:00:00+09:00"
    assert list(row) == ["schedule", "words", "runs_on", "zone", "daylight_saving", "next"]
    shown = run("pycron", "explain", "30 2 * * *").stdout
    assert "at 02:30" in shown
    assert "daylight saving" in shown


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("@every 90s", "every 90 seconds, counted from 1970-01-01T00:00Z"),
        ("@reboot", "once, when the daemon first starts after the machine did"),
    ],
)
def test_a_schedule_without_wall_times_is_explained(expression: str, words: str) -> None:
    (row,) = [json.loads(run("pycron", "explain", "--json", expression).stdout)]
    assert (row["words"], row["daylight_saving"]) == (words, None)
    assert len(row["next"]) == (0 if expression == "@reboot" else 5)


@pytest.mark.parametrize("verb", ["next", "explain"])
@pytest.mark.parametrize(
    ("expression", "is_said"),
    slow_after(2, [("0 0 H * *", True), ("0 0 * * THU", False), ("0 ~ * * 4", True),
                   ("H * * * THU", True), ("@daily", False), ("@every 1h", False)]),
)  # fmt: skip
def test_values_that_depend_on_entry_and_host(verb: str, expression: str, is_said: bool) -> None:
    done = run("pycron", verb, "--count", "1", expression)
    assert done.returncode == 0
    assert ("depend on the entry and on the host" in done.stderr) is is_said


@pytest.mark.parametrize("expression", ["61 * * * *", "", "FOO=bar", "@weakly"])
def test_a_bad_expression_is_not_explained(expression: str) -> None:
    done = run("pycron", "explain", expression)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pycron: expression")


@pytest.mark.skipif(not RECORDED, reason="PYCRON_RECORDED names no folder of recorded firings")
@pytest.mark.parametrize("day", ["2026-03-08", "2026-11-01"])
def test_fire_times_are_those_of_debians_cron(day: str, tmp_path: Path) -> None:
    """Every recorded line as one table, through the program; compared as sets of minutes."""
    assert RECORDED
    recorded = json.loads((Path(RECORDED) / f"debian__America_New_York__{day}.json").read_text())
    lines = recorded["lines"]
    table = tmp_path / "table"
    table.write_text("".join(f"{line['line']} x\n" for line in lines))
    start, end = recorded["window_utc"]
    found: dict[int, set[str]] = {}
    for row in upcoming("--table", table, "--tz", recorded["zone"], "--from", start,
                        "--until", end):  # fmt: skip
        found.setdefault(row["line"], set()).add(row["fire_time"][:16] + "Z")
    for number, line in enumerate(lines, 1):
        expected = set(line["fired"])
        if line.get("spill_past_first_minute"):  # it spreads what a gap has skipped over minutes
            expected -= set(line["catch_up"][1:])
        assert found.get(number, set()) == expected, line["line"]
