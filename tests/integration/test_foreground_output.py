"""What commands print in the foreground: every line is shown, and the log holds nothing up."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.running_daemon import RunningDaemon, alive, foreground, program, run
from tests.support.waiting import until

TICK = "CRON_NAME=tick @every 1s echo >>{0}/ticks\n"


def ticks(directory: Path) -> int:
    path = directory / "ticks"
    return path.stat().st_size if path.exists() else 0


def test_every_line_of_much_output_is_shown_while_the_command_runs(tmp_path: Path) -> None:
    """Whatever part of it is kept: here it is a tenth."""
    config = tmp_path / "pycron.toml"
    config.write_text('[limits]\noutput_bytes = "80K"\n')
    count = 30_000
    waiting = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    printing = f"seq -f 'line \\%06g of many lines' {count}; {waiting}"
    with foreground(f"@reboot {printing}\n", tmp_path, "--config", config) as daemon:
        daemon.wait_for("output", count=count)
        assert not daemon.log("attempt_ended")
        shown = [line["line"] for line in daemon.log("output")]
        (tmp_path / "go").touch()
        daemon.wait_for("attempt_ended")
    assert shown == [f"line {number:06} of many lines" for number in range(1, count + 1)]
    (kept,) = (tmp_path / "state" / "output").glob("*/*.log")
    assert 80_000 < kept.stat().st_size < 85_000


def test_the_streams_of_a_command(tmp_path: Path) -> None:
    table = "@reboot echo out; echo err >&2; (sleep 0.3; echo late; printf rest) &\n"
    with foreground(table, tmp_path) as daemon:
        daemon.wait_for("output", line="rest")
        lines = [(line["stream"], line["line"]) for line in daemon.log("output")]
        assert daemon.log("attempt_ended")
    assert sorted(lines[:2]) == [("stderr", "err"), ("stdout", "out")]
    assert lines[2:] == [("stdout", "late"), ("stdout", "rest")]


def test_a_line_longer_than_64_kib_comes_in_pieces_that_are_marked(tmp_path: Path) -> None:
    long = "head -c 200000 /dev/zero | tr '\\0' x"
    with foreground(f"@reboot {long}; echo; echo short\n", tmp_path) as daemon:
        daemon.wait_for("output", line="short")
        pieces = daemon.log("output")[:-1]
    assert "".join(piece["line"] for piece in pieces) == "x" * 200_000
    assert 2 <= len(pieces) <= 4
    assert [piece.get("partial", False) for piece in pieces] == [True] * (len(pieces) - 1) + [False]


def test_a_killed_daemon_shows_what_its_commands_print_after_the_next_start(tmp_path: Path) -> None:
    table = f"CRON_NAME=long @reboot while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo done\n"
    with foreground(table, tmp_path) as daemon:
        daemon.wait_for("attempt_started")
        daemon.kill()
        again = RunningDaemon(
            ["--foreground", "--table", tmp_path / "table", "--state-dir", tmp_path / "state"],
            tmp_path / "log2",
        )
        try:
            again.wait_for("runner_found")
            (tmp_path / "go").touch()
            assert again.wait_for("output", line="done")["job"] == "long"
        finally:
            again.stop()


# ---- options of the log


def started(directory: Path, *options: str, table: str) -> tuple[str, str]:
    """The standard output and error of a daemon that runs a table until `end` was printed."""
    (directory / "table").write_text(table)
    words = program("pycrond", "--log-format", "logfmt", "--foreground", "--table",
                    directory / "table", "--state-dir", directory / "state", *options)  # fmt: skip
    with (directory / "out").open("w") as stdout, (directory / "err").open("w") as stderr:
        daemon = subprocess.Popen(words, stdout=stdout, stderr=stderr)
        try:
            until((directory / "ended").exists, patience=30)
        finally:
            daemon.terminate()
            daemon.wait(30)
    out, err = ((directory / name).read_text(errors="surrogateescape") for name in ("out", "err"))
    return out, err


def test_passthrough_writes_output_as_it_is(tmp_path: Path) -> None:
    printing = "printf '\\033[1mout\\377\\n'; echo err >&2; printf 'no newline'"
    table = f"@reboot {printing}; touch {tmp_path}/ended\n"
    out, err = started(tmp_path, "--passthrough", table=table)
    assert out.encode(errors="surrogateescape") == b"\x1b[1mout\xff\nno newline\n"
    assert err.splitlines().count("err") == 1
    assert "event=output" not in err
    assert "event=attempt_ended" in err


def test_passthrough_never_mixes_the_lines_of_commands(tmp_path: Path) -> None:
    """Each of four commands prints lines of 10,000 bytes, in parts."""
    line = "for i in 1 2 3 4 5 6 7 8 9 0; do head -c 1000 /dev/zero | tr '\\0' {0}; done; echo"
    table = "".join(
        f"@reboot for n in 1 2 3; do {line.format(letter)}; done; echo >>{tmp_path}/done;"
        f" [ $(wc -l <{tmp_path}/done) = 4 ] && touch {tmp_path}/ended\n"
        for letter in "abcd"
    )
    out, _ = started(tmp_path, "--passthrough", table=table)
    assert sorted(out.splitlines()) == sorted(letter * 10_000 for letter in "abcd" for _ in "123")


def test_quiet_and_without_commands(tmp_path: Path) -> None:
    table = f"@reboot true secret\n@reboot false secret; touch {tmp_path}/ended; exit 1\n"
    _, err = started(tmp_path, "--quiet", "--no-log-commands", table=table)
    assert "event=attempt_started" not in err
    assert err.count("event=attempt_ended") == err.count("outcome=failed") == 1
    assert "secret" not in err


def test_the_level_of_the_log(tmp_path: Path) -> None:
    table = f"@reboot echo x; touch {tmp_path}/ended; exit 1\n"
    _, err = started(tmp_path, "--log-level", "warning", table=table)
    (line,) = err.splitlines()
    assert "event=attempt_ended" in line


@pytest.mark.parametrize("option", ["--passthrough", "--quiet", "--no-log-commands"])
def test_options_that_need_the_foreground(option: str) -> None:
    refused = run("pycrond", option)
    assert refused.returncode == 2
    assert f"{option} needs --foreground" in refused.stderr


# ---- a log that nobody reads


@contextmanager
def unread(directory: Path, table: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A daemon whose log is a pipe, and the end of that pipe to read from."""
    (directory / "table").write_text(table)
    receiver, sender = os.pipe()
    words = program("pycrond", "--log-format", "json", "--foreground", "--table",
                    directory / "table", "--state-dir", directory / "state")  # fmt: skip
    daemon = subprocess.Popen(words, stdout=sender, stderr=sender)
    os.close(sender)
    try:
        yield daemon, receiver
    finally:
        daemon.kill()
        daemon.wait()
        os.close(receiver)


def test_a_reader_that_stops_stops_nothing(tmp_path: Path) -> None:
    """Starts, recording, the control socket and signals go on; commands that print do not wait."""
    table = TICK.format(tmp_path) + f"@reboot seq 1 500000; touch {tmp_path}/printed\n"
    with unread(tmp_path, table) as (daemon, _):
        until((tmp_path / "printed").exists, patience=30)
        seen = ticks(tmp_path)
        until(lambda: ticks(tmp_path) >= seen + 3)
        runs = run("pycron", "--state-dir", tmp_path / "state", "runs", "--json").stdout
        ended = [json.loads(line)["outcome"] for line in runs.splitlines()]
        assert ended.count("succeeded") >= 3
        daemon.terminate()
        assert daemon.wait(10) == 0


def test_what_is_missing_is_counted_when_the_log_moves_again(tmp_path: Path) -> None:
    lines, length = 10_000, 1000
    printing = f"yes $(head -c {length - 1} /dev/zero | tr '\\0' x) | head -n {lines}"
    table = f"CRON_NAME=much @reboot {printing}; touch {tmp_path}/printed\n"
    with unread(tmp_path, table + TICK.format(tmp_path)) as (daemon, receiver):
        until((tmp_path / "printed").exists, patience=30)
        seen = ticks(tmp_path)
        until(lambda: ticks(tmp_path) >= seen + 2)
        got: list[bytes] = []

        def read() -> None:
            while data := os.read(receiver, 65_536):
                got.append(data)

        reader = threading.Thread(target=read)
        reader.start()
        until(lambda: b'"log_dropped"' in b"".join(got), patience=30)
        daemon.terminate()
        daemon.wait(30)
        reader.join(10)
    events = [json.loads(line) for line in b"".join(got).splitlines()]
    (dropped,) = [event for event in events if event["event"] == "log_dropped"]
    shown = [event for event in events if event["event"] == "output"]
    assert dropped["events"] == 0
    assert len(shown) + dropped["lines"] == lines
    assert len(shown) * length > 2**21
    starts = [event for event in events if event["event"] == "attempt_started"]
    assert len(starts) - 1 == ticks(tmp_path)


# ---- a daemon without a state directory


@pytest.mark.parametrize("running", [True, False])
def test_a_killed_daemon_without_a_state_directory_leaves_nothing(
    tmp_path: Path, *, running: bool
) -> None:
    """Its runner cannot be found again: it ends with its last command."""
    waiting = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; touch {tmp_path}/done"
    (tmp_path / "table").write_text(f"@reboot {waiting if running else 'true'}\n")
    daemon = RunningDaemon(["--foreground", "--table", tmp_path / "table"], tmp_path / "log")
    state = Path(daemon.wait_for("daemon_started")["state"])
    runner = daemon.wait_for("runner_started")["pid"]
    daemon.wait_for("attempt_started" if running else "attempt_ended")
    daemon.kill()
    if running:
        os.kill(runner, signal.SIGTERM)
        assert alive(runner)
        assert state.exists()
        (tmp_path / "go").touch()
    until(lambda: not state.exists())
    until(lambda: not alive(runner))
    assert (tmp_path / "done").exists() == running


IN_SMALL_SHM = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec",
                'mount -t tmpfs -o size=1m,mode=1777 shm /dev/shm; exec "$@"', "sh"]  # fmt: skip
needs_namespaces = pytest.mark.skipif(
    subprocess.run([*IN_SMALL_SHM, "true"], check=False, capture_output=True).returncode != 0,
    reason="no user namespaces here",
)


@contextmanager
def in_small_shm(directory: Path, table: str) -> Iterator[RunningDaemon]:
    """A daemon without a state directory, and /dev/shm with a megabyte."""
    (directory / "table").write_text(table)
    words: list[str | Path] = ["--foreground", "--table", directory / "table"]
    daemon = RunningDaemon(words, directory / "log", prefix=IN_SMALL_SHM)
    try:
        yield daemon
    finally:
        daemon.stop()


@needs_namespaces
def test_output_is_shown_when_nothing_can_be_kept(tmp_path: Path) -> None:
    fill = "head -c 2M /dev/zero >/dev/shm/full; exit 0"
    tick = "CRON_NAME=tick @every 1s echo tick; seq 1000\n"
    with in_small_shm(tmp_path, f"CRON_NAME=fill @reboot {fill}\n{tick}") as daemon:
        daemon.wait_for("attempt_ended", job="fill")
        daemon.wait_for("store_failed")
        seen = len(daemon.log("attempt_ended", job="tick"))
        daemon.wait_for("attempt_ended", job="tick", count=seen + 3)
        runs = {line["run_id"] for line in daemon.log("attempt_ended", job="tick")}
        lines = [line["line"] for line in daemon.log("output") if line["run_id"] in runs]
    assert lines == ["tick", *map(str, range(1, 1001))] * len(runs)


@pytest.mark.slow
@needs_namespaces
def test_what_is_kept_in_memory_has_a_bound(tmp_path: Path) -> None:
    """Each second, the command prints a third of the room; the database is not full."""
    used = "df --output=pcent /dev/shm | tail -n 1"
    table = f"CRON_NAME=much @every 1s head -c 300000 /dev/zero | tr '\\0' x; echo; {used}\n"
    with in_small_shm(tmp_path, table) as daemon:
        daemon.wait_for("attempt_ended", count=8)
        lines = [line["line"] for line in daemon.log("output")]
        assert not daemon.log("store_failed")
    percents = [int(line.strip("% ")) for line in lines if line.endswith("%")]
    assert len(percents) >= 8
    assert max(percents) < 70
