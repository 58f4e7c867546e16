"""Measures what the load of one user costs the others, as root: `bench/attacks.py [ATTACK…]`.

Each attack has a system's daemon of its own, in a mount namespace (tests/support). Beside the
attack, another user has a Job that is due every second, a program that has nothing to do with
pycron spawns a command every second, and root asks for `status` twice a second. The program prints
one line for each attack.
"""

import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pycron.control.client import ControlClient, ControlError
from pycron.protocol.control_messages import StatusRequest
from pycron.system import paths
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.user_accounts import USERS

os.environ["PYTHONPATH"] = sys.path[0]  # for the programs that this one starts
ATTACKER, SECOND_ATTACKER, VICTIM = USERS
PERIOD = 1  # seconds between the fire times of the victim's Job
SECONDS = 40  # of an attack
DOWN = 7200  # seconds of downtime
MANY = 10_000
USER_COUNT = 500
DATABASE = paths.SYSTEM_STATE / "pycron.db"
_QUERY = (
    "import json, sqlite3, sys; database = sqlite3.connect(sys.argv[1], timeout=60);"
    "print(json.dumps(database.execute(sys.argv[2]).fetchall())); database.commit()"
)
_ORDERS = """
import sys
from pathlib import Path
from pycron.control.client import ControlClient, ControlError
from pycron.protocol import control_messages as messages
client = ControlClient(Path(sys.argv[1]), patience=60)
while True:
    for request in (
        messages.StartRequest(job="n1"),
        messages.PauseRequest(scope="job", job="n2"),
        messages.ResumeRequest(scope="job", job="n2"),
        messages.NextRequest(count=1000),
        messages.RunsRequest(limit=1000, outcome="killed"),
        messages.JobsRequest(match="no such text"),
        messages.TopRequest(limit=1000, usual=True),
        messages.WhyRequest(time=1_700_000_000, job="n3"),
    ):
        try:
            client.request(request)
        except ControlError:
            client = ControlClient(Path(sys.argv[1]), patience=60)
"""
# Spawns a command each second, like the victim's, and says how late the latest spawn was.
_BESIDE = """
import os, sys, time
end, latest = time.time() + float(sys.argv[1]), 0
while (due := int(time.time()) + 1) < end:
    time.sleep(due - time.time())
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", ":"], os.environ, setsid=True)
    latest = max(latest, time.time() - due)
    os.waitpid(pid, 0)
print(latest)
"""
_SOCKET = str(paths.SYSTEM_RUN / "pycron.sock").lstrip("/")


class Scene:
    """One attack. `answers`: how many seconds each of root's requests took."""

    def __init__(self, system: IsolatedSystem) -> None:
        self.system = system
        self.answers: list[float] = []
        self.memory = 0
        self.beside = 0.0  # how late a plain spawn beside it was, in seconds
        self.began = 0.0
        self._over = threading.Event()

    @property
    def socket(self) -> Path:
        return self.system.root / _SOCKET

    def query(self, query: str) -> list[list[Any]]:
        """Rows of the database, read inside: SQLite resolves symlinks such as /proc/PID/root."""
        rows: list[list[Any]] = json.loads(self.system.shell(
            f"{sys.executable} -c {shlex.quote(_QUERY)} {DATABASE} {shlex.quote(query)}"
        ))  # fmt: skip
        return rows

    def install(self, user: str, table: str) -> None:
        """Install a table; a busy daemon may take longer than the client waits."""
        with suppress(Exception):
            self.system.run("pycrontab", "-u", user, "-", stdin=table)

    def watch(self, seconds: float) -> None:
        """Measure root's requests, and the memory of the daemon, for so long."""
        daemon = psutil.Process(self.system.daemon.process.pid)
        beside = subprocess.Popen([sys.executable, "-c", _BESIDE, str(seconds)],
                                  stdout=subprocess.PIPE, start_new_session=True)  # fmt: skip
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            try:
                with closing(ControlClient(self.socket, patience=60)) as client:
                    client.request(StatusRequest())
            except ControlError:
                pass
            self.answers.append(time.monotonic() - now)
            time.sleep(max(0.0, 0.5 - (time.monotonic() - now)))
        self.memory = _peak(daemon.pid)
        self.beside = float(beside.communicate()[0])

    def figures(self, name: str, log: Path) -> str:
        starts = self.query(
            "SELECT fire_time, (SELECT min(started) FROM attempts WHERE run = runs.number)"
            " FROM runs JOIN jobs ON jobs.number = job"
            f" WHERE \"table\" = '{VICTIM}' AND fire_time > {self.began}"
        )
        ((rows,),) = self.query("SELECT count(*) FROM runs")
        late = [1000 * (start - fire) for fire, start in starts if start is not None]
        expected = int((time.time() - 2) // PERIOD - self.began // PERIOD)
        return (
            f"{name:12} victim late max {max(late, default=float('nan')):9.1f} ms,"
            f" {len(late):3} of {expected:3} starts; a plain spawn {1000 * self.beside:6.1f} ms;"
            f" root max {1000 * max(self.answers):8.1f} ms in {len(self.answers):3} requests;"
            f" daemon max {self.memory / 2**20:6.1f} MiB;"
            f" log {log.stat().st_size / 2**20:7.2f} MiB; {rows:,} Runs"
        )


def _peak(pid: int) -> int:
    """The most memory that a process has had, in bytes: proc_pid_status(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def quiet(scene: Scene) -> None:
    """No attack."""
    scene.watch(SECONDS)


def catch_up(scene: Scene) -> None:
    """Ten thousand Jobs that want all their fire times of two hours back."""
    after_downtime(scene, "".join(f"CRON_CATCHUP=all * * * * * : {n}\n" for n in range(MANY)))


def catch_up_all(scene: Scene) -> None:
    """The same with five thousand different schedules."""
    after_downtime(scene, "".join(
        f"CRON_CATCHUP=all {n % 60},{n // 60 % 60},{n // 3600} * * * * : {n}\n" for n in range(MANY)
    ))  # fmt: skip


def after_downtime(scene: Scene, table: str) -> None:
    """Install a table, and start a daemon that has been down for two hours."""
    scene.install(ATTACKER, table)
    scene.system.daemon.stop()
    then = int(time.time()) - DOWN
    scene.query(f"UPDATE meta SET value = '[{then}, {then}, []]' WHERE key = 'cursor'")
    scene.system.shell(f"rm -f {DATABASE}-cursor")
    scene.system.start()
    scene.began = time.time()
    scene.watch(SECONDS)


def clients(scene: Scene) -> None:
    """Two hundred connections: one sends a byte a second, the others ask for all Jobs and Runs."""
    scene.install(ATTACKER, "".join(f"0 0 1 1 * : {n}\n" for n in range(MANY)))
    over = threading.Event()
    threads = [
        threading.Thread(target=_slow_client if n == 0 else _greedy_client, args=(scene, over))
        for n in range(16)
    ]
    idle = []
    for _ in range(100):
        with suppress(ControlError):
            idle.append(ControlClient(scene.socket))
    for thread in threads:
        thread.start()
    scene.watch(SECONDS)
    over.set()
    for thread in threads:
        thread.join()


def orders(scene: Scene) -> None:
    """A user gives orders and asks questions, one after the other, in eight processes."""
    scene.install(ATTACKER, "".join(f"CRON_NAME=n{n} @every 1h : {n}\n" for n in range(500)))
    client = [sys.executable, "-c", _ORDERS, str(paths.SYSTEM_RUN / "pycron.sock")]
    become = ["setpriv", f"--reuid={ATTACKER}", f"--regid={ATTACKER}", "--init-groups"]
    running = [subprocess.Popen([*scene.system.inside, *become, *client]) for _ in range(8)]
    scene.watch(SECONDS)
    for process in running:
        process.kill()
        process.wait()


def install_again(scene: Scene, tables: Sequence[str]) -> None:
    """Install these tables in turn, without a pause."""
    over = threading.Event()

    def install() -> None:
        for table in cycle(tables):
            if over.is_set():
                break
            scene.install(ATTACKER, table)

    installing = threading.Thread(target=install)
    installing.start()
    scene.watch(SECONDS)
    over.set()
    installing.join()


def _slow_client(scene: Scene, over: threading.Event) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(scene.socket))
        while not over.wait(1):
            with suppress(OSError):
                connection.send(b"{")


def _greedy_client(scene: Scene, over: threading.Event) -> None:
    while not over.is_set():
        with suppress(ControlError), closing(ControlClient(scene.socket)) as client:
            for first in range(0, MANY, 500):
                client.ask("jobs", version="0.1.0", first=first)
                if over.is_set():
                    return


def users(scene: Scene) -> None:
    """Five hundred users have a table: one Job is due in each minute, and nine in each hour."""
    of_all_users(scene, lambda n: f"* * * * * u{n} :\n" + f"{n % 60} * * * * u{n} : {n}\n" * 9)


def crowd(scene: Scene) -> None:
    """The same users have Jobs that are due each second: more than two processors can start."""
    of_all_users(scene, lambda n: f"@every 1s u{n} :\n" + f"* * * * * u{n} : {n}\n" * 9)


def of_all_users(scene: Scene, table: Callable[[int], str]) -> None:
    spool = scene.system.root / str(paths.DROP_INS).lstrip("/")
    for n in range(0, USER_COUNT, 50):
        (spool / f"users{n}").write_text("".join(map(table, range(n, n + 50))))
    scene.watch(75)


def sleepers(scene: Scene) -> None:
    """Two users whose commands do not end take all that they can of limits.running (50)."""
    for user in (ATTACKER, SECOND_ATTACKER):
        scene.install(user, "@every 1s sleep 600\n" * 100)
    scene.watch(SECONDS)


_DEAF = "trap '' TERM; for i in $(seq 100); do (while :; do sleep 0.1; done) & done; wait"
_VARIABLES = "".join(f"v{n}=\n" for n in range(23_155))
# The table of one user.
TABLES = {
    "every_second": "".join(f"@every 1s : {n}\n" for n in range(MANY)),
    "priority": "CRON_POOL=shared CRON_PRIORITY=1000 @every 1s sleep 0.2\n" * 50,
    "forks": f"CRON_TIMEOUT=2s @every 5s {_DEAF}\n" * 4,
    "outputs": "@every 1s head -c 1000000 /dev/zero\n" * 20,
    "endless": "CRON_TIMEOUT=5s @every 10s yes\n" * 4,
    "retries": "CRON_RETRIES=1000 CRON_RETRY_DELAY=1s @every 1s false\n" * 200,
    "failures": "@every 1s /no/such/program\n" * 500,
    "background": "@every 1s sleep 30 & exec 2>&-\n" * 50,
    "killers": "@every 1s kill -KILL -1\n" * 20,
    "stoppers": "@every 1s kill -STOP -1\n" * 5 + "@every 1s :\n" * 100,
    "followers": "CRON_NAME=k @every 1s :\n" + "@after k :\n" * 1000,
}
# Tables that one user installs again and again.
INSTALLED: dict[str, Callable[[], list[str]]] = {
    "installs": lambda: ["".join(f"V{n}={n}\n" for n in range(250_000))],
    "variables": lambda: [_VARIABLES + "a=1\n" * 178_000],
    "contexts": lambda: [_VARIABLES + "".join(f"a={n}\n@yearly : {n}\n" for n in range(1000))],
    "blanks": lambda: [(" " * 131_071 + "x\n") * 3],
    "changes": lambda: [
        "".join(f"{n % 60} * * * * : {n}\n" for n in range(MANY - k)) for k in (0, 1)
    ],
    "others": lambda: [
        "".join(f"{n % 60} * * * * : {k} {n}\n" for n in range(MANY // 2)) for k in range(50)
    ],
    "never": lambda: ["".join(f"{n % 60} {n // 60 % 24} 30 2 * :\n" for n in range(MANY))],
    "zones": lambda: [
        "".join(f"CRON_TZ={zone} {n} 1 * * * :\n" for n in range(15) for zone in _zones())
    ],
}


def _zones() -> list[str]:
    return sorted(zone for zone in available_timezones() if "/" in zone)


ATTACKS: dict[str, Callable[[Scene], None]] = {
    "quiet": quiet,
    "catch_up": catch_up,
    "catch_up_all": catch_up_all,
    "sleepers": sleepers,
    "clients": clients,
    "orders": orders,
    "users": users,
    "crowd": crowd,
}
CONFIG = {
    "sleepers": "[limits]\nrunning = 50\nuser_running = 25\n",
    "priority": "[pools]\nshared = 2\n",
}
VICTIMS = {"priority": f"CRON_POOL=shared @every {PERIOD}s :\n"}


def attack(scene: Scene, name: str) -> None:
    if name in TABLES:
        scene.install(ATTACKER, TABLES[name])
        scene.watch(SECONDS)
    elif name in INSTALLED:
        install_again(scene, INSTALLED[name]())
    else:
        ATTACKS[name](scene)


@contextmanager
def scene_of(name: str, directory: Path) -> Iterator[Scene]:
    with isolated_system(directory, own_etc=True) as system:
        etc = directory / "etc"
        if name in ("users", "crowd"):
            with (etc / "passwd").open("a") as passwd:
                passwd.writelines(
                    f"u{n}:x:{70000 + n}:{70000 + n}::/:/bin/sh\n" for n in range(USER_COUNT)
                )
            with (etc / "group").open("a") as group:
                group.writelines(f"u{n}:x:{70000 + n}:\n" for n in range(USER_COUNT))
        if name in CONFIG:
            system.write(paths.SYSTEM_CONFIG, CONFIG[name])
            assert system.run("pycron", "reload").returncode == 0
        scene = Scene(system)
        victims = system.run(
            "pycrontab", "-u", VICTIM, "-", stdin=VICTIMS.get(name, f"@every {PERIOD}s :\n")
        )
        assert victims.returncode == 0, victims.stderr
        scene.began = time.time()
        try:
            yield scene
        finally:
            system.daemon.kill()  # a busy daemon may not end in time


def main() -> None:
    for name in sys.argv[1:] or [*ATTACKS, *TABLES, *INSTALLED]:
        with tempfile.TemporaryDirectory() as temporary:
            directory = Path(temporary)
            with scene_of(name, directory) as scene:
                attack(scene, name)
                log = max(directory.glob("log*"), key=lambda path: path.stat().st_size)
                print(scene.figures(name, log), flush=True)


if __name__ == "__main__":
    main()
