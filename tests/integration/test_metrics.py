"""pycron metrics, and the process that serves metrics for a foreground daemon."""

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as open_metrics_parser
from prometheus_client.parser import text_string_to_metric_families

from pycron.daemon.metrics_process import MetricsProcess
from pycron.engine.actions import Log
from pycron.system.listen_address import BadAddress, parse_address
from tests.support.isolated_system import isolated_system
from tests.support.running_daemon import RunningDaemon, alive, foreground, program, run
from tests.support.unix_http import UnixConnection
from tests.support.user_accounts import USERS
from tests.support.waiting import until

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
RULES = Path(__file__).parents[2] / "contrib/prometheus"
TABLE = "CRON_NAME=good @every 1s true\nCRON_NAME=bad @every 1s exit 3\n@every 1s :\n"


def samples(text: str) -> Samples:
    return _by_labels(text_string_to_metric_families(text))


def open_metrics(text: str) -> Samples:
    parse: Callable[[str], Iterable[Metric]] = open_metrics_parser.text_string_to_metric_families
    return _by_labels(parse(text))


def _by_labels(families: Iterable[Metric]) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def ended(found: Samples, job: str, outcome: str) -> float:
    """The counter of a Job's Runs; a Job that has none at all is an error."""
    (value,) = (
        value
        for (name, labels), value in found.items()
        if name == "pycron_runs_total" and {("job_name", job), ("outcome", outcome)} <= set(labels)
    )
    return value


def printed(directory: Path, *options: str | Path) -> str:
    done = run("pycron", "--state-dir", directory, "metrics", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def scraped(path: Path) -> Samples:
    connection = UnixConnection(path)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.status == 200
    return samples(answer.read().decode())


# ---- what is printed


def test_counters_are_there_with_zero_from_the_beginning(tmp_path: Path) -> None:
    with foreground("CRON_NAME=yearly @yearly true\n", tmp_path):
        found = samples(printed(tmp_path / "state"))
    for outcome in ("succeeded", "failed", "timed_out", "missed", "skipped", "lost"):
        assert ended(found, "yearly", outcome) == ended(found, "other", outcome) == 0
    assert found["pycron_waiting", (("reason", "limit"),)] == 0
    assert found["pycron_dead_letters", ()] == 0
    assert found["pycron_store_writable", ()] == found["pycron_last_reload_successful", ()] == 1
    assert found["pycron_jobs", ()] == 1
    assert not [name for name, _ in found if name == "pycron_job_last_success_timestamp_seconds"]


@pytest.mark.slow
def test_counters_go_on_after_a_kill(tmp_path: Path) -> None:
    """They equal the ends in the history: none is lost and none is counted twice."""
    with foreground(TABLE, tmp_path) as daemon:
        daemon.wait_for("attempt_ended", job="bad", count=2)
        daemon.kill()
        before = len(daemon.log("attempt_ended", job="good"))
        with _again(tmp_path) as after:
            after.wait_for("attempt_ended", job="good", count=2)
            after.wait_for("attempt_ended", job="bad", count=2)
            found = samples(printed(tmp_path / "state"))
    assert before >= 1
    assert ended(found, "good", "succeeded") >= before + 2
    assert ended(found, "bad", "failed") >= 4
    assert ended(found, "bad", "succeeded") == ended(found, "good", "failed") == 0
    assert ended(found, "other", "succeeded") >= 2


def test_counters_equal_the_history(tmp_path: Path) -> None:
    with foreground(TABLE, tmp_path) as daemon:
        daemon.wait_for("attempt_ended", job="bad", count=3)
        state = tmp_path / "state"
        assert run("pycron", "--state-dir", state, "pause", "--all").returncode == 0
        until(lambda: samples(printed(state))["pycron_running", ()] == 0)
        found = samples(printed(state))
        listed = run("pycron", "--state-dir", state, "runs", "--job", "bad", "--json",
                     "--outcome", "failed", "--limit", "500")  # fmt: skip
    assert ended(found, "bad", "failed") == len(listed.stdout.splitlines())
    user = next(iter(labels for name, labels in found if name == "pycron_runs_total"))
    assert dict(user).keys() == {"job_name", "outcome", "user"}
    durations = sum(
        value for (name, _), value in found.items() if name == "pycron_run_duration_seconds_count"
    )
    assert durations == sum(
        ended(found, *each)
        for each in (("good", "succeeded"), ("bad", "failed"), ("other", "succeeded"))
    )


def test_times_of_a_job(tmp_path: Path) -> None:
    with foreground("CRON_NAME=often @every 1s true\n", tmp_path) as daemon:
        daemon.wait_for("attempt_ended", job="often")
        found = samples(printed(tmp_path / "state"))
        now = samples(printed(tmp_path / "state"))["pycron_start_time_seconds", ()]
    labels = next(labels for name, labels in found
                  if name == "pycron_job_next_fire_timestamp_seconds")  # fmt: skip
    last = found["pycron_job_last_success_timestamp_seconds", labels]
    assert now - 1 < last <= found["pycron_job_next_fire_timestamp_seconds", labels] + 1


def test_no_label_contains_a_command(tmp_path: Path) -> None:
    with foreground("@every 1s echo secret >/dev/null\n", tmp_path) as daemon:
        daemon.wait_for("attempt_ended")
        for options in ((), ("--openmetrics",), ("--json",)):
            assert "secret" not in printed(tmp_path / "state", *options)


def test_open_metrics(tmp_path: Path) -> None:
    with foreground(TABLE, tmp_path) as daemon:
        daemon.wait_for("attempt_ended", job="good")
        text = printed(tmp_path / "state", "--openmetrics")
    found = open_metrics(text)
    assert ended(found, "good", "succeeded") >= 1


def test_a_textfile_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "collector" / "pycron.prom"
    target.parent.mkdir()
    target.write_text("old")
    with foreground("CRON_NAME=x @yearly true\n", tmp_path):
        assert printed(tmp_path / "state", "--textfile", target) == ""
        assert ended(samples(target.read_text()), "x", "failed") == 0
        assert target.stat().st_mode & 0o777 == 0o644
        assert os.listdir(target.parent) == ["pycron.prom"]
        missing = tmp_path / "missing" / "f"
        done = run("pycron", "--state-dir", tmp_path / "state", "metrics", "--textfile", missing)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"pycron: {missing}: No such file or directory\n"


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (prometheus) is not installed")
def test_promtool_finds_nothing(tmp_path: Path) -> None:
    with foreground(TABLE, tmp_path) as daemon:
        daemon.wait_for("attempt_ended", job="good")
        text = printed(tmp_path / "state")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (prometheus) is not installed")
def test_each_alert_has_a_test_that_promtool_passes() -> None:
    rules, tests = RULES / "pycron.rules.yml", RULES / "pycron.rules.test.yml"
    alerts = [line.split()[-1] for line in rules.read_text().splitlines() if "- alert:" in line]
    tested = tests.read_text()
    assert len(alerts) == 11
    assert [name for name in alerts if f"alertname: {name}\n" not in tested] == []
    for words in (["check", "rules", rules.name], ["test", "rules", tests.name]):
        done = subprocess.run(
            ["promtool", *words], cwd=RULES, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


# ---- what is served


@contextlib.contextmanager
def listening(state: Path, address: str) -> Iterator[str]:
    """`pycron metrics --listen`; what it prints first."""
    process = subprocess.Popen(
        program("pycron", "--state-dir", state, "metrics", "--listen", address),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    try:
        yield process.stdout.readline().rstrip("\n")
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _connection(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)


def _status(url: str, path: str = "/metrics", method: str = "GET") -> int:
    connection = _connection(url)
    connection.request(method, path)
    with contextlib.closing(connection):
        return connection.getresponse().status


def test_metrics_over_http(tmp_path: Path) -> None:
    with foreground("CRON_NAME=x @yearly true\n", tmp_path) as daemon:
        with listening(tmp_path / "state", "127.0.0.1:0") as url:
            connection = _connection(url)
            connection.request(
                "GET", "/metrics", headers={"Accept": "application/openmetrics-text"}
            )
            answer = connection.getresponse()
            assert answer.getheader("Content-Type", "").startswith("application/openmetrics-text")
            assert ended(open_metrics(answer.read().decode()), "x", "failed") == 0
            connection.close()
            assert _status(url, "/") == _status(url, "/metrics/../etc/passwd") == 404
            assert _status(url, method="POST") == 501
            daemon.stop()
            assert _status(url) == 503
        again = listening(tmp_path / "state", "127.0.0.1:0")
        with again as said:
            assert said == ""  # it has ended: there is no daemon


def test_idle_clients_do_not_keep_others_out_for_long(tmp_path: Path) -> None:
    """There is room for sixteen; one more is turned away at once, and room comes back."""
    with (
        foreground("CRON_NAME=x @yearly true\n", tmp_path),
        listening(tmp_path / "state", "127.0.0.1:0") as url,
        contextlib.ExitStack() as stack,
    ):
        host, port = urlsplit(url).hostname, urlsplit(url).port
        idle = [stack.enter_context(socket.create_connection((host, port))) for _ in range(16)]
        extra = stack.enter_context(socket.create_connection((host, port), timeout=30))
        assert extra.recv(1) == b""
        idle[0].close()

        def is_served() -> bool:
            try:
                return _status(url) == 200
            except (OSError, http.client.HTTPException):
                return False

        until(is_served)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9753", ("127.0.0.1", 9753)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:9753", ("::1", 9753)),
        ("/run/pycron/metrics", Path("/run/pycron/metrics")),
    ],
)
def test_addresses(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "9753", ":9753", "host", "host:", "::1:9753", "h:65536", "h:-1", "h:٣"]
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(BadAddress, match=r"bad address: \".*\" \(HOST:PORT such as"):
        parse_address(text)
    for words in (("metrics", "--listen", text),):
        done = run("pycron", *words)
        assert done.returncode in (1, 2)
        assert done.stdout == ""


def test_a_foreground_daemon_serves_metrics(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with foreground(TABLE, tmp_path, "--metrics", path) as daemon:
        daemon.wait_for("attempt_ended", job="good")
        until(path.is_socket)
        until(lambda: ended(scraped(path), "good", "succeeded") >= 1)
        (server,) = _servers(daemon)
        assert "prometheus" not in Path(f"/proc/{daemon.process.pid}/maps").read_text()
        server.kill()
        lost = daemon.wait_for("metrics_ended")
        assert lost["address"] == str(path)
        daemon.wait_for("attempt_ended", job="good", count=len(daemon.log("attempt_ended")) + 1)


def test_the_server_ends_with_a_killed_daemon(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with foreground("@yearly true\n", tmp_path, "--metrics", path) as daemon:
        until(path.is_socket)
        (server,) = _servers(daemon)
        daemon.kill()
        until(lambda: not alive(server.pid))
        with _again(tmp_path) as after:  # it ends the runner
            after.wait_until_ready()


@contextlib.contextmanager
def _again(directory: Path) -> Iterator[RunningDaemon]:
    """The daemon of `foreground` once more, after it was killed."""
    daemon = RunningDaemon(
        ["--foreground", "--table", directory / "table", "--state-dir", directory / "state"],
        directory / "log of the second",
    )
    try:
        yield daemon
    finally:
        daemon.stop()


def _servers(daemon: RunningDaemon) -> list[psutil.Process]:
    children = psutil.Process(daemon.process.pid).children()
    return [each for each in children if "pycron.web.metrics_server" in each.cmdline()]


def test_the_server_is_started_again(tmp_path: Path) -> None:
    said: list[Log] = []
    process = MetricsProcess(str(tmp_path / "missing" / "m"), tmp_path / "socket", said.append)

    def has_ended_again(times: int) -> bool:
        process.look()
        return len(said) == times

    for times in (1, 2):
        process.run()
        until(partial(has_ended_again, times))
    process.close()
    assert [log.fields["reason"] for log in said] == [
        f"{tmp_path}/missing/m: [Errno 2] No such file or directory"
    ] * 2


def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path) -> None:
    hint = "metrics need prometheus-client: pip install 'pycrond[metrics]'"
    for name, words, status in (
        ("pycron", ["metrics"], 1),
        ("pycrond", ["--foreground", "--table", "t", "--metrics", "127.0.0.1:0"], 2),
    ):
        script = (
            "import sys; sys.modules['prometheus_client'] = None;"
            f"from pycron.cli.{name} import main; sys.exit(main({words}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True,
            check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert done.returncode == status
        assert done.stderr.endswith(f"{hint}\n")


@pytest.mark.root
def test_a_user_gets_the_metrics_of_their_own_jobs(tmp_path: Path) -> None:
    with isolated_system(tmp_path) as system:
        for user in USERS[:2]:
            table = f"CRON_NAME=of-{user} @yearly true\n"
            assert system.run("pycrontab", "-", user=user, stdin=table).returncode == 0
        own = system.run("pycron", "metrics", user=USERS[0]).stdout
        everything = system.run("pycron", "metrics").stdout
    assert f"of-{USERS[0]}" in own
    assert USERS[1] not in own
    assert "pycron_deliveries" not in own
    assert 'job_name="other"' not in own
    assert samples(own)["pycron_jobs", ()] == 1
    assert all(f"of-{user}" in everything for user in USERS[:2])
    assert samples(everything)["pycron_jobs", ()] == 2
