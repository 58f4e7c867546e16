"""The program `pycron runs`: which Runs its filters select."""

import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.running_daemon import foreground, run
from tests.support.waiting import until

TABLE = """
CRON_NAME=good @reboot true
CRON_NAME=bad  @reboot exit 3
CRON_NAME=tick @every 1s true
"""
_TICKS = 3


class Listing:
    """Runs `pycron runs` on the state directory of a daemon."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def rows(self, *filters: str) -> list[dict[str, Any]]:
        done = run("pycron", "--state-dir", self._state, "runs", "--json", *filters)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def jobs(self, *filters: str) -> set[str]:
        return {row["job"] for row in self.rows(*filters)}

    def refusal(self, *filters: str) -> tuple[int, str]:
        done = run("pycron", "--state-dir", self._state, "runs", *filters)
        assert done.stdout == ""
        return done.returncode, done.stderr

    def all_ended(self) -> bool:
        outcomes = [row["outcome"] for row in self.rows()]
        return len(outcomes) >= 2 + _TICKS and None not in outcomes


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listing]:
    """One daemon for all tests; its table is emptied, so that no further Runs are due."""
    directory = tmp_path_factory.mktemp("runs")
    with foreground(TABLE, directory) as daemon:
        daemon.wait_for("attempt_ended", job="tick", count=_TICKS)
        (directory / "table").write_text("")
        daemon.wait_for("table_loaded", count=2)
        listing = Listing(directory / "state")
        until(listing.all_ended)
        yield listing


def test_without_filters_all_runs_are_listed_newest_first(listing: Listing) -> None:
    rows = listing.rows()
    assert {row["job"] for row in rows} == {"good", "bad", "tick"}
    ticks = [row["fire_time"] for row in rows if row["job"] == "tick"]
    assert ticks == sorted(ticks, reverse=True)


def test_job_selects_by_name_or_id(listing: Listing) -> None:
    """--job takes the name or the id of a Job."""
    (row,) = listing.rows("--job", "bad")
    assert (row["job"], row["exit_status"]) == ("bad", 3)
    assert listing.rows("--job", row["run_id"][:16]) == [row]


def test_owner_selects_the_runs_of_a_user(listing: Listing) -> None:
    assert listing.rows("--owner", getpass.getuser()) == listing.rows()
    assert listing.rows("--owner", "somebody-else") == []


def test_outcome_selects_the_runs_with_that_outcome(listing: Listing) -> None:
    assert listing.jobs("--outcome", "failed") == {"bad"}
    assert listing.jobs("--outcome", "succeeded") == {"good", "tick"}
    assert listing.rows("--outcome", "skipped") == []


@pytest.mark.parametrize(
    ("filters", "jobs"),
    [
        (["--outcome", "failed", "--outcome", "timed_out"], {"bad"}),
        (["--outcome", "timed_out", "--outcome", "failed"], {"bad"}),
        (["--outcome", "failed,timed_out"], {"bad"}),
        (["--outcome", "succeeded,failed"], {"good", "bad", "tick"}),
        (["--outcome", "timed out"], set()),  # as people read it
        (["--outcome", "Timed-Out"], set()),
        (["--failed"], {"bad"}),
        (["--failed", "--outcome", "succeeded"], {"good", "bad", "tick"}),
    ],
)
def test_several_outcomes_add_up(listing: Listing, filters: list[str], jobs: set[str]) -> None:
    assert listing.jobs(*filters) == jobs


def test_a_duration_is_that_long_ago(listing: Listing) -> None:
    assert listing.jobs("--since", "10m") == {"good", "bad", "tick"}
    assert listing.jobs("--until", "10m") == set()
    assert listing.jobs("--since", "last night") == {"good", "bad", "tick"}


def test_options_may_stand_before_the_verb(listing: Listing) -> None:
    before = run("pycron", "--json", "runs", "--state-dir", listing._state, "--failed")
    assert [json.loads(line)["job"] for line in before.stdout.splitlines()] == ["bad"]


def test_since_is_inclusive_and_until_is_not(listing: Listing) -> None:
    ticks = listing.rows("--job", "tick")
    middle = ticks[1]["fire_time"]
    since = listing.rows("--job", "tick", "--since", middle)
    before = listing.rows("--job", "tick", "--until", middle)
    assert [row["fire_time"] for row in since] == [ticks[0]["fire_time"], middle]
    assert since + before == ticks
    assert listing.rows("--since", "2040-01-01") == listing.rows("--until", "2020-01-01") == []


def test_limit_selects_the_newest_runs(listing: Listing) -> None:
    assert listing.rows("--limit", "2") == listing.rows()[:2]


def test_all_filters_can_be_combined(listing: Listing) -> None:
    latest = listing.rows("--job", "tick")[0]
    filters = ["--job", "tick", "--owner", getpass.getuser(), "--outcome", "succeeded",
               "--since", "2020-01-01", "--until", "2040-01-01", "--limit", "1"]  # fmt: skip
    assert listing.rows(*filters) == [latest]
    assert listing.rows(*filters[:4], "--outcome", "failed") == []


def test_a_message_says_that_no_runs_were_found(listing: Listing) -> None:
    assert listing.refusal("--outcome", "lost") == (0, "no runs\n")


@pytest.mark.parametrize(
    ("filters", "status", "message"),
    [
        (["--job", "nobody"], 1, 'pycron: no such job: "nobody" (pycron list)\n'),
        (["--outcome", "fine"], 1, 'pycron: unknown outcome: "fine" (succeeded, failed,'),
        (["--outcome", "failed,fine"], 1, 'pycron: unknown outcome: "failed,fine" (succeeded,'),
        (["--since", "soon"], 2, 'pycron: bad time: "soon"'),
        (["--since", "5"], 2, 'pycron: bad time: "5" (a number needs a unit: 5m for minutes'),
        (["--limit", "0"], 2, "usage:"),
    ],
)
def test_an_invalid_filter_is_refused_with_a_message(
    listing: Listing, filters: list[str], status: int, message: str
) -> None:
    refused = listing.refusal(*filters)
    assert refused[0] == status
    assert refused[1].startswith(message)
