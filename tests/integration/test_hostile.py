"""Hostile users: they attack the machine and the daemon, and other users' Jobs run on time."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pycron.control.client import ControlClient
from pycron.system import paths
from tests.support.isolated_system import IsolatedSystem
from tests.support.running_daemon import PYTHON, LogLine
from tests.support.running_runner import status_of
from tests.support.user_accounts import real_user
from tests.support.waiting import until

pytestmark = [
    pytest.mark.root,
    pytest.mark.xdist_group("machine"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

# Users of this file only: some of them kill all their own processes.
BOB, ALICE, BOMBER, HOARDER = ("pycronbob", "pycronalice", "pycronbomber", "pycronhoarder")
GIGABYTE = 2**30
BY_HAND = "@yearly"
CONFIG = "[limits]\nprocesses = 60\nuser_running = 30\nuser_waiting = 20\n"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[IsolatedSystem]:
    for name in (BOB, ALICE, BOMBER, HOARDER):
        real_user(name)
    system = IsolatedSystem(tmp_path)
    try:
        system.write(paths.ALLOW.parent / "pycron.toml", CONFIG)
        system.daemon.stop()
        system.daemon = system.start()
        system.write(paths.DROP_INS / "bob", f"CRON_NAME=bob @every 1s {BOB} true\n")
        system.daemon.wait_for("attempt_ended", job="bob")
        yield system
    finally:
        system.close()
        for name in (ALICE, BOMBER, HOARDER):
            for pid in processes_of(name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def processes_of(user: str) -> list[int]:
    """The pids of this user's processes."""
    uid = real_user(user).pw_uid
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if entry.stat().st_uid == uid and status_of(entry.name, "State")[0] != "Z":
                    found.append(int(entry.name))
    return found


def start_at_once(system: IsolatedSystem, jobs: Iterable[str]) -> None:
    """Start these Jobs by hand, at about the same moment."""
    client = ControlClient(system.root / paths.system_paths().socket.relative_to("/"))
    for job in jobs:
        client.ask("start", job=job)
    client.close()


def ends_of(
    system: IsolatedSystem, jobs: Collection[str], patience: float = 30
) -> dict[str, LogLine]:
    """The ends of the only Run of each of these Jobs, as soon as all have ended."""

    def ends() -> dict[str, LogLine]:
        ended = [line for line in system.daemon.log("attempt_ended") if line["job"] in jobs]
        assert len(ended) == len({line["job"] for line in ended})
        return {line["job"]: line for line in ended} if len(ended) == len(jobs) else {}

    return until(ends, patience)


def processes(system: IsolatedSystem) -> dict[str, int]:
    """The pids of the daemon and the runner."""
    status = json.loads(system.run("pycron", "status", "--json").stdout)
    return {name: process["pid"] for name, process in status["processes"].items()}


def assert_bob_was_in_time(system: IsolatedSystem, within: int) -> None:
    """Bob's Job has one Run a second, and none began later than `within` milliseconds."""
    runs = system.runs("--job", "bob", "--limit", "500", user=BOB)
    ended = [run for run in runs if run["outcome"] is not None]
    assert {run["outcome"] for run in ended} == {"succeeded"}
    late = [run["lateness_ms"] for run in ended]
    assert max(late) < within, late
    times = sorted(datetime.fromisoformat(run["fire_time"]) for run in ended)
    assert times[-1] - times[0] == timedelta(seconds=len(times) - 1)


# ---- hostile commands

HUNGRY = """import time
x = []
while True:
    x.append(b"x" * (2 << 20)); time.sleep(0.005)
""".replace("\n", "%")
FORKS = """import os
while True:
    try: os.fork()
    except OSError: pass
""".replace("\n", "%")
PYTHON_INPUT = f"exec {PYTHON} -S -"
ATTACKS = {
    "escapee": "CRON_TIMEOUT=3s CRON_KILL_AFTER=1s {} "
    "setsid sleep 1000 & (setsid sh -c 'sleep 1000 &' &); sleep 1000",
    "deaf": "CRON_TIMEOUT=3s CRON_KILL_AFTER=1s {} trap '' TERM; while :; do sleep 1; done",
    "gigabyte": f"{{}} yes | head -c {GIGABYTE}",
    "hungry": f"CRON_MEMORY_MAX=100M {{}} {PYTHON_INPUT}%{HUNGRY}",
    "mute": "CRON_TIMEOUT=3s {} exec >&- 2>&-; sleep 1000",
    "frozen": "CRON_TIMEOUT=3s {} kill -STOP $$",
}
OUTCOMES = {
    "escapee": "timed_out", "deaf": "timed_out", "gigabyte": "succeeded",
    "hungry": "out_of_memory", "mute": "timed_out", "frozen": "timed_out", "bomb": "timed_out",
}  # fmt: skip
VANDALS = {f"vandal{n}": f"kill -{what} -1" for n, what in enumerate(5 * ["STOP", "KILL"])}
VICTIMS = dict.fromkeys((f"victim{n}" for n in range(20)), "sleep 1000")


def install(system: IsolatedSystem, user: str, table: str) -> None:
    installed = system.run("pycrontab", "-", user=user, stdin=table)
    assert installed.returncode == 0, installed.stderr


@pytest.mark.slow
def test_hostile_commands_harm_no_other_user(system: IsolatedSystem) -> None:
    """Each is recorded with its outcome, none is left, and another user's Job runs on time."""
    before = processes(system)
    lines = {name: text.format(BY_HAND) for name, text in ATTACKS.items()}
    lines |= {
        name: f"CRON_TIMEOUT=3s {BY_HAND} {command}"
        for name, command in (VANDALS | VICTIMS).items()
    }
    install(system, ALICE, "".join(f"CRON_NAME={name} {line}\n" for name, line in lines.items()))
    bomb = f"CRON_NAME=bomb CRON_TIMEOUT=3s CRON_KILL_AFTER=1s {BY_HAND} {PYTHON_INPUT}%{FORKS}\n"
    install(system, BOMBER, bomb)
    hoard = "".join(f"CRON_NAME=hoard{n} @every 4s exec sleep 1000\n" for n in range(60))
    install(system, HOARDER, hoard)
    start_at_once(system, OUTCOMES)
    ended = ends_of(system, OUTCOMES)
    assert {name: line["outcome"] for name, line in ended.items()} == OUTCOMES
    (gigabyte,) = system.runs("--job", "gigabyte", user=ALICE)
    shown = system.run("pycron", "show", "--json", gigabyte["run_id"], user=ALICE)
    assert json.loads(shown.stdout)["attempt_list"][0]["output_bytes"] == GIGABYTE
    kept = system.run("pycron", "log", gigabyte["run_id"], user=ALICE).stdout
    assert "bytes are not kept here]" in kept
    assert len(kept) < 2**20 + 100
    until(lambda: not processes_of(ALICE) and not processes_of(BOMBER))

    vandals = [*VANDALS, *VICTIMS]
    start_at_once(system, vandals)
    for name, line in ends_of(system, vandals).items():
        assert line["outcome"] in ("failed", "killed", "timed_out", "succeeded"), name
        assert line["outcome"] != "succeeded" or name in VANDALS
    until(lambda: not processes_of(ALICE))

    refused = until(lambda: system.runs("--owner", HOARDER, "--refused"))
    full = f"the queue of {HOARDER} is full (limits.user_waiting is 20)"
    assert {each["reason"] for each in refused} == {full}
    assert len(processes_of(HOARDER)) <= 30
    assert processes(system) == before
    assert_bob_was_in_time(system, within=1000)


# ---- hostile clients

ABUSE = """
import json, os, socket, sys, time
path, seconds = sys.argv[1], float(sys.argv[2])
end = time.monotonic() + seconds
table = "".join(f"CRON_NAME=x{n} {n % 60} * * * * true\\n" for n in range(10_000))
def line(**request):
    return json.dumps(request).encode() + b"\\n"
def ask(connection, request):
    connection.sendall(request)
    while not connection.recv(2**20).endswith(b"\\n"):
        pass
def deaf(connection):
    while True:
        connection.sendall(line(verb="jobs") * 100)
WAYS = [
    lambda c: c.sendall(os.urandom(2**16)),
    lambda c: (c.sendall(b'{"verb":"sta'), time.sleep(0.5)),
    lambda c: c.sendall(b"x" * 2**23 + b"\\n"),
    lambda c: c.sendall(b'{"verb":"install","text":"' + b"* " * 2**22 + b'"}\\n'),
    deaf,
    deaf,
    *6 * [lambda c: ask(c, line(verb="install", user=None, text=table))],
    lambda c: ask(c, line(verb="runs", limit=500)),
    lambda c: ask(c, line(verb="jobs")),
    lambda c: ask(c, line(verb="top", limit=500)),
    lambda c: ask(c, line(verb="problems")),
]
for way in WAYS:
    if not os.fork():
        while time.monotonic() < end:
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(max(0.1, end - time.monotonic()))
                    connection.connect(path)
                    while time.monotonic() < end:
                        way(connection)
            except OSError:
                time.sleep(0.01)
        os._exit(0)
for way in WAYS:
    os.wait()
"""


@pytest.mark.slow
def test_hostile_clients_delay_no_other_user(system: IsolatedSystem) -> None:
    """Sixteen clients of one user at once: another user's commands still start."""
    before = processes(system)
    install(system, ALICE, "@daily true\n")
    how = ["setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups"]
    socket = str(paths.system_paths().socket)
    subprocess.run(
        [*system.inside, *how, sys.executable, "-S", "-c", ABUSE, socket, "12"],
        check=True, timeout=60,
    )  # fmt: skip
    assert processes(system) == before
    peak = int(status_of(before["daemon"], "VmHWM").split()[0])
    assert peak < 400_000
    assert_bob_was_in_time(system, within=2000)
