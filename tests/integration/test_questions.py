"""`pycron stats`, `calendar` and `simulate` with a real daemon."""

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.operated_daemon import OWN_NAME, OperatedDaemon, Row, operated_daemon
from tests.support.pseudo_terminal import show
from tests.support.running_daemon import program
from tests.support.thoroughness import slow_after
from tests.support.waiting import until

TABLE = """
CRON_NAME=good @reboot true
CRON_NAME=bad @reboot exit 3
CRON_NAME=flaky CRON_RETRIES=1 CRON_RETRY_DELAY=2s @reboot exit 1
CRON_NAME=tick @every 1s true
CRON_NAME=busy CRON_POOL=one 0 3 * * * true
CRON_NAME=late CRON_POOL=one 0 3 * * * true
CRON_NAME=hand 0 0 29 2 * true
CRON_NAME=once CRON_CONCURRENCY=forbid 0,1 4 * * * true
"""
CONFIG = "[pools]\none = 1\n"
_TICKS = 3
JOBS = {"good", "bad", "flaky", "tick"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedDaemon]:
    with operated_daemon(tmp_path_factory.mktemp("questions"), TABLE, CONFIG) as operated:
        operated.daemon.wait_for("attempt_ended", job="tick", count=_TICKS)
        until(lambda: stats(operated).keys() >= JOBS, patience=30)  # flaky is tried twice
        yield operated


def stats(daemon: OperatedDaemon, *words: str) -> dict[str, Row]:
    return {str(row["job"]): row for row in daemon.rows("stats", *words)}


# ---- stats


def test_stats_have_a_row_for_each_job_that_has_run(daemon: OperatedDaemon) -> None:
    rows = stats(daemon)
    assert rows.keys() >= JOBS
    assert rows["bad"]["failures"] == rows["bad"]["runs"] == 1
    assert rows["bad"]["outcomes"] == {"failed": 1}
    assert rows["good"]["failures"] == 0
    tick = rows["tick"]
    assert tick["user"] == OWN_NAME
    assert tick["runs"] >= _TICKS
    assert 0 <= tick["seconds_median"] <= tick["seconds_p95"] <= tick["seconds_max"]
    assert 0 <= tick["lateness_median"] < 5


def test_a_run_is_as_late_as_its_first_attempt(daemon: OperatedDaemon) -> None:
    """Not as late as the retry, two seconds later."""
    row = stats(daemon)["flaky"]
    assert (row["runs"], row["outcomes"]) == (1, {"failed": 1})
    assert row["lateness_max"] < 2


def test_a_run_that_a_user_started_is_never_late(daemon: OperatedDaemon) -> None:
    daemon.start("hand")
    until(lambda: "hand" in stats(daemon))
    row = stats(daemon, "hand")["hand"]
    assert (row["runs"], row["lateness_median"]) == (1, None)
    assert row["seconds_median"] is not None


def test_stats_of_one_job_are_a_page(daemon: OperatedDaemon) -> None:
    done = daemon.run("stats", "tick")
    assert (done.returncode, done.stderr) == (0, "")
    assert {"job", "runs", "ended", "takes", "late"} <= {
        line.split(" ")[0] for line in done.stdout.splitlines()
    }


def test_stats_know_jobs_by_their_id_too(daemon: OperatedDaemon) -> None:
    (row,) = daemon.rows("stats", "bad")
    assert stats(daemon, str(row["id"])) == {"bad": row}


def test_stats_refuse_a_job_that_does_not_exist(daemon: OperatedDaemon) -> None:
    assert daemon.refusal("stats", "nobody") == 'no such job: "nobody" (pycron list)'


def test_stats_of_a_time_without_runs_say_so(daemon: OperatedDaemon) -> None:
    assert daemon.rows("stats", "--until", "2020-01-01") == []
    assert daemon.run("stats", "--until", "2020-01-01").stderr == "no runs\n"
    assert "no Run of it has ended" in daemon.refusal("stats", "tick", "--until", "2020-01-01")


def test_stats_of_another_user_are_empty(daemon: OperatedDaemon) -> None:
    assert daemon.rows("stats", "--owner", "somebody-else") == []
    assert stats(daemon, "--owner", OWN_NAME).keys() >= JOBS


def test_limit_is_the_number_of_runs_of_each_job(daemon: OperatedDaemon) -> None:
    assert {row["runs"] for row in stats(daemon, "--limit", "1").values()} == {1}


# ---- calendar


def test_the_calendar_has_the_plan_and_the_history_of_a_day(daemon: OperatedDaemon) -> None:
    rows = daemon.rows("calendar", "--utc")
    assert sum(row["history"] for row in rows) >= _TICKS
    planned = {row["minute"][11:]: row["plan"] for row in rows}
    assert planned["03:00:00Z"] == 60 + 2  # tick, busy, late
    assert planned["04:01:00Z"] == 60 + 1
    assert sum(planned.values()) == 86_400 + 4


def test_the_calendar_of_a_day_to_come_has_no_history(daemon: OperatedDaemon) -> None:
    rows = daemon.rows("calendar", "--utc", "--day", "tomorrow")
    assert {row["history"] for row in rows} == {None}
    assert sum(row["plan"] for row in rows) == 86_400 + 4


def test_the_calendar_says_in_which_minutes_most_starts_are(daemon: OperatedDaemon) -> None:
    done = daemon.run("calendar", "--utc", "--plan")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "03:00       62  tick, busy, late" in lines
    assert len([line for line in lines if line[2:6] == ":00 "]) >= 24


def test_the_calendar_of_a_table_needs_no_daemon(tmp_path: Path) -> None:
    (tmp_path / "table").write_text("0 3 * * * true\n")
    found = OperatedDaemon(tmp_path, [], None)  # type: ignore[arg-type]
    (row,) = found.rows("calendar", "--utc", "--table", str(tmp_path / "table"))
    assert (row["minute"][11:], row["plan"], row["history"]) == ("03:00:00Z", 1, None)
    assert found.run("calendar", "--history", "--table", str(tmp_path / "table")).returncode == 2


# ---- simulate


@pytest.mark.slow
def test_a_simulation_has_the_tables_and_the_limits_of_the_daemon(daemon: OperatedDaemon) -> None:
    words = ["--utc", "--from", "2030-01-01T03:00", "--until", "2030-01-01T04:02"]
    words += ["--duration", "tick=0s", "--duration", "1m30s"]
    *rows, total = daemon.rows("simulate", *words)
    jobs = {row["job"]: row for row in rows}
    assert jobs.keys() == {"tick", "busy", "late", "once"}
    assert (jobs["busy"]["waited"], jobs["late"]["waited"]) == (0, 1)
    assert jobs["late"]["longest_wait"] == 90
    assert jobs["late"]["reasons"] == {"pools.one is 1": 1}
    assert jobs["once"]["outcomes"] == {"succeeded": 1, "skipped": 1}
    assert jobs["tick"]["runs"] == 62 * 60
    assert total["assumed"] == ["busy", "late", "once"]
    assert (total["from"], total["until"]) == ("2030-01-01T03:00:00Z", "2030-01-01T04:02:00Z")


def test_a_simulation_takes_the_durations_of_the_history(daemon: OperatedDaemon) -> None:
    *_, total = daemon.rows("simulate", "--from", "2030-01-01", "--until", "2030-01-01T00:01")
    assert total["assumed"] == []
    assert total["runs"] == 60


def test_a_simulation_says_what_happens_and_draws_a_map(daemon: OperatedDaemon) -> None:
    done = daemon.run("simulate", "--from", "2030-01-01T03:30", "--until", "2030-01-01T04:30",
                      "--duration", "1m30s", "--utc")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "from 2030-01-01 03:30 to 2030-01-01 04:30, times in UTC" in lines
    assert any(line.startswith("skipped") and line.endswith("most of once") for line in lines)
    assert [line[:5] for line in lines if line[2:6] == ":00 "] == ["03:00", "04:00"]


@pytest.mark.parametrize(
    ("words", "message"),
    slow_after(2, [
        (["--until", "2020-01-01"], "pycron: --until is not after --from\n"),
        (["--duration", "sync=5"], 'pycron: bad duration: "5"'),
        (["--from", "5"], 'pycron: bad time: "5"'),
        (["--from", "0001-01-01"], "pycron: bad time: from 1970 to 9998"),
        (["--until", "2099-01-01"], "pycron: at most ten years can be simulated"),
    ]),
)  # fmt: skip
def test_a_bad_question_is_refused(daemon: OperatedDaemon, words: list[str], message: str) -> None:
    done = daemon.run("simulate", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)


def test_a_table_with_an_error_is_not_simulated(tmp_path: Path) -> None:
    (tmp_path / "table").write_text("61 * * * * true\n")
    found = OperatedDaemon(tmp_path, [], None)  # type: ignore[arg-type]
    assert "bad minute" in found.refusal("simulate", "--table", str(tmp_path / "table"))


def test_a_time_of_the_history_is_a_day_of_the_calendar(daemon: OperatedDaemon) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    assert daemon.rows("calendar", "--utc", "--day", f"{today}T23:00", "--history") != []


# ---- on a terminal


@pytest.mark.parametrize("columns", slow_after(1, [40, 80, 160]))
@pytest.mark.parametrize(
    "words",
    [
        ["stats"], ["stats", "tick"], ["calendar"],
        ["simulate", "--from", "2030-01-01T04:00", "--until", "2030-01-01T04:02"],
    ],
    ids=lambda words: "-".join(words[:2]),
)  # fmt: skip
def test_nothing_is_wider_than_the_terminal(
    daemon: OperatedDaemon, words: list[str], columns: int
) -> None:
    shown = show(program("pycron", "--state-dir", daemon.state, *words), columns)
    assert shown.status == 0, shown.text
    assert shown.lines
    assert [line for line in shown.lines if len(line.rstrip()) > columns] == []
