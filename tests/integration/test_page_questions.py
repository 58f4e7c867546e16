"""What the page asks the daemon for, beside what the programs ask for."""

import contextlib
import time
from binascii import a2b_base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycron.control.client import ControlClient
from pycron.protocol.control_messages import JobsRequest, OutputRequest, RunsRequest, TopRequest
from pycron.protocol.question_messages import StartsRequest
from pycron.system.paths import paths_in
from tests.support.running_daemon import foreground
from tests.support.waiting import until

ClientOf = Callable[[Path], ControlClient]


@pytest.fixture
def client_of() -> Iterator[ClientOf]:
    """Makes a client of the daemon in a directory, which is closed at the end."""
    with contextlib.ExitStack() as clients:

        def made(directory: Path) -> ControlClient:
            client = ControlClient(paths_in(directory / "state").socket)
            return clients.enter_context(contextlib.closing(client))

        yield made


def test_one_job_in_words_and_with_its_last_runs(tmp_path: Path, client_of: ClientOf) -> None:
    with foreground("CRON_NAME=often @every 1s exit 3\n30 2 * * * true\n", tmp_path) as daemon:
        daemon.wait_for("attempt_ended", job="often", count=3)
        client = client_of(tmp_path)
        (row,) = client.request(JobsRequest(job="often", details=True, recent=2))["rows"]
        (plain,) = client.request(JobsRequest(job="often"))["rows"]
        (other,) = client.request(JobsRequest(job="true", details=True, recent=2))["rows"]
    assert row["in_words"] == "every second, counted from 1970-01-01T00:00Z"
    assert [each["outcome"] for each in row["recent"]] == ["failed", "failed"]
    assert row["recent"][0]["run_id"] < row["recent"][1]["run_id"]
    assert row["next_fire_time"]
    assert row["last"]
    assert row["last"]["exit_status"] == 3
    assert "in_words" not in plain
    assert other["recent"] == []
    assert other["daylight_saving"]


def test_recent_runs_are_listed_only_if_they_are_wanted(
    tmp_path: Path, client_of: ClientOf
) -> None:
    with foreground("CRON_NAME=often @every 1s true\n", tmp_path) as daemon:
        daemon.wait_for("attempt_ended", job="often", count=2)
        client = client_of(tmp_path)
        (without,) = client.request(JobsRequest(position=0, details=True))["rows"]
        (row,) = client.request(JobsRequest(position=0, details=True, recent=5))["rows"]
    assert "recent" not in without
    assert {each["outcome"] for each in row["recent"]} == {"succeeded"}
    assert all(each["seconds"] is not None for each in row["recent"])


def test_a_search_of_jobs_looks_at_a_bounded_number_of_them(
    tmp_path: Path, client_of: ClientOf
) -> None:
    """A hundred Jobs for each row of a page; the next page goes on behind them."""
    table = "".join(f"{n % 60} 3 * * * job {n}\n" for n in range(950)) + "0 3 * * * needle\n"
    with foreground(table, tmp_path):
        client = client_of(tmp_path)
        first = client.request(JobsRequest(position=0, match="needle", limit=4))
        positions = [first["position"]]
        answer = first
        while answer["more"]:
            wanted = JobsRequest(position=answer["position"], match="needle", limit=4)
            answer = client.request(wanted)
            positions.append(answer["position"])
    assert first["rows"] == []
    assert 400 <= positions[0] < 600
    assert [row["command"] for row in answer["rows"]] == ["needle"]


def test_the_usual_duration_of_what_runs(tmp_path: Path, client_of: ClientOf) -> None:
    with foreground("CRON_NAME=often @every 2s sleep 1.2\n", tmp_path) as daemon:
        daemon.wait_for("attempt_ended", job="often")
        client = client_of(tmp_path)
        (row,) = until(lambda: client.request(TopRequest(usual=True))["running"])
        without = client.request(TopRequest())["running"]
    assert row["usual_seconds"]
    assert 1.2 <= row["usual_seconds"] < 20
    assert all("usual_seconds" not in each for each in without)


def test_where_a_part_of_an_output_is(tmp_path: Path, client_of: ClientOf) -> None:
    with foreground("CRON_NAME=prints @every 1s printf 0123456789\n", tmp_path) as daemon:
        daemon.wait_for("attempt_ended", job="prints")
        client = client_of(tmp_path)
        wanted = RunsRequest(job="prints", outcome="succeeded")
        run_id = until(lambda: client.request(wanted)["rows"])[0]["run_id"]
        tail = client.request(OutputRequest(run_id, tail=4))
        rest = client.request(OutputRequest(run_id, offset=3))
    assert (a2b_base64(tail["data"]), tail["begin"], tail["size"]) == (b"6789", 6, 10)
    assert (a2b_base64(rest["data"]), rest["begin"], rest["size"]) == (b"3456789", 3, 10)


def test_starts_of_each_minute_equal_the_history(tmp_path: Path, client_of: ClientOf) -> None:
    with foreground("CRON_NAME=often @every 1s true\n@yearly true\n", tmp_path) as daemon:
        daemon.wait_for("attempt_ended", job="often", count=4)
        client = client_of(tmp_path)
        now = int(time.time())
        since = now - now % 60 - 60
        counts = client.request(StartsRequest(since=since, until=since + 180))["counts"]
        rows = client.request(RunsRequest(limit=100, since=since, until=now))["rows"]
    started = [row for row in rows if row["started"]]
    assert len(counts) == 3
    assert len(started) <= sum(counts) <= len(started) + 2  # one may have started meanwhile
