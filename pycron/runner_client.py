"""The daemon's end of the wire to the runner: find it, start it, speak with it."""

import ctypes
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from pycron import sockets
from pycron.accounts import Account
from pycron.cgroup import SCOPE
from pycron.model import AttemptKey, Cause, Ending, Job, rfc3339
from pycron.places import Places
from pycron.wire import CHUNK, PROTOCOL, Decoder, Message, encode

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE = 60.0  # seconds for the first word of a runner that may be busy
_LARGEST_MESSAGE = 256 * 2**20
_CGROUP2 = "/sys/fs/cgroup/cgroup.controllers"
_SHORT_OUTPUT = 1000  # bytes: of so many, four rows are in a page of the database
_DEFAULT_PATH = "/usr/bin:/bin"  # Debian's cron


class RunnerGone(Exception):
    """The runner has closed the connection."""


class RunnerSilent(Exception):
    """There is a runner, and it does not answer: its commands are not to be given up for lost."""


class RunnerClient:
    """One connection.

    `instance` names the runner process, `cgroup` is the part of the tree of cgroups that it has for
    its Attempts, and `known` are those that it began with.
    """

    def __init__(self, connection: socket.socket, selector: selectors.BaseSelector) -> None:
        """Say hello and wait for the answer. Raises RunnerGone or RunnerSilent."""
        self._connection = connection
        self._selector = selector
        self._decoder = Decoder(_LARGEST_MESSAGE)
        self._outgoing = bytearray()
        self._incoming: list[Message] = []
        try:
            connection.sendall(encode([{"type": "hello", "protocol": PROTOCOL}]))
            hello = self._first_word()
        except TimeoutError as error:
            connection.close()
            raise RunnerSilent(_silence()) from error
        except OSError as error:
            connection.close()
            raise RunnerGone(str(error)) from error
        connection.setblocking(False)
        self.instance: str = hello["instance"]
        self.protocol: int = hello["protocol"]
        self.cgroup: str | None = hello["cgroup"]
        self.known: list[Message] = hello["attempts"]

    def _first_word(self) -> Message:
        while not self._incoming:
            data = self._connection.recv(CHUNK)
            if not data:
                raise OSError("it closed the connection")
            self._incoming += self._decoder.feed(data)
        return self._incoming.pop(0)

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()

    def send(self, messages: Iterable[Message]) -> None:
        """Send, now or as soon as the runner takes it."""
        self._outgoing += encode(messages)
        self.flush()

    def flush(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: self._connection.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            self._outgoing.clear()  # receive() will see the end
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outgoing else 0)
        key = self._selector.get_map().get(self)
        if key is not None and key.events != wanted:
            self._selector.modify(self, wanted, key.data)

    def receive(self) -> list[Message]:
        """What has come. Raises RunnerGone at the end."""
        messages, self._incoming = self._incoming, []
        try:
            while True:
                data = self._connection.recv(CHUNK)
                if not data:
                    if messages:
                        return messages  # the end will be seen next time
                    raise RunnerGone("it closed the connection")
                messages += self._decoder.feed(data)
        except BlockingIOError:
            return messages
        except ConnectionError as error:
            raise RunnerGone(str(error)) from error


def _silence() -> str:
    return f"no answer within {_PATIENCE:.0f} seconds"


def find_runner(places: Places, selector: selectors.BaseSelector) -> RunnerClient | None:
    """The runner that is there already; None when there is none. Raises RunnerSilent."""
    try:
        connection = sockets.connect(str(places.runner_socket), _PATIENCE)
        return RunnerClient(connection, selector)
    except (FileNotFoundError, ConnectionRefusedError, RunnerGone):
        return None
    except BlockingIOError as error:  # others wait there already
        raise RunnerSilent(_silence()) from error
    except OSError as error:  # no descriptor to be had
        raise RunnerSilent(str(error)) from error


def start_runner(
    places: Places, selector: selectors.BaseSelector
) -> tuple[RunnerClient, "subprocess.Popen[bytes]", str | None]:
    """Start a runner and meet it; why it is in no scope, where it was to be in one.

    Raises RunnerGone, RunnerSilent or OSError.
    """
    scope = _scope()
    if scope:
        try:
            return *_start(places, selector, scope), None
        except (OSError, RunnerGone):
            pass
    reason = f"systemd-run has failed (see {places.runner_log})" if scope else None
    return *_start(places, selector, []), reason


def _start(
    places: Places, selector: selectors.BaseSelector, prefix: list[str]
) -> tuple[RunnerClient, "subprocess.Popen[bytes]"]:
    path = str(places.runner_socket)
    with sockets.listen(path, 0o600, backlog=4) as listener:
        process = _launch(listener.fileno(), places.runner_log, prefix)
    try:
        return RunnerClient(sockets.connect(path, _PATIENCE), selector), process
    except (OSError, RunnerGone):
        process.kill()
        process.wait()
        raise


def _scope() -> list[str]:
    """What starts a program in a scope of its own, below which it may make cgroups.

    Empty where this process is no service of systemd's: then somebody else has the say in where it
    runs. Commands are limited one by one: what they have together is nobody's concern, and one that
    runs out of memory is not the end of all (which it would be since systemd 253).
    """
    if not _is_service() or not os.path.exists(_CGROUP2):
        return []
    import shutil  # half a MB, and only a service asks for it

    program = shutil.which("systemd-run")
    if program is None:
        return []
    properties = ["Delegate=yes", "TasksMax=infinity", "TimeoutStopSec=10s"]
    if _systemd_version(program) >= 253:
        properties.append("OOMPolicy=continue")
    return [
        program, *([] if os.geteuid() == 0 else ["--user"]), "--scope", "--quiet", "--collect",
        f"--unit={SCOPE}{os.getpid()}-{time.monotonic_ns()}", "--description=Commands of pycron",
        *(f"--property={text}" for text in properties), "--",
    ]  # fmt: skip


def _is_service() -> bool:
    """Of the system's manager, for root; else of the user's own, which has to be there."""
    manager = "/run/systemd/system"
    if os.geteuid() != 0:
        manager = f"{os.environ.get('XDG_RUNTIME_DIR')}/systemd/private"
    return "INVOCATION_ID" in os.environ and os.path.exists(manager)


def _systemd_version(program: str) -> int:
    """Such as 252; 0 where it doesn't say."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    words = said.stdout.split()
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0


def _launch(listener: int, log: Path, prefix: list[str]) -> "subprocess.Popen[bytes]":
    """A session of its own, so that no terminal takes it down; nothing inherited but the socket.

    Without `site` it is 4 MB smaller, and every fork is that much cheaper.
    """
    root = str(Path(__file__).resolve().parent.parent)
    arguments = ["-S", "-s", "-P", "-m", "pycron.runner", str(listener)]
    environment = {"PYTHONPATH": root, "PYTHONUTF8": "1", "PATH": _DEFAULT_PATH}
    handed_on = [name for name in os.environ if name.startswith(("LD_", "FAKETIME"))]
    handed_on += [name for name in ("TZ", "XDG_RUNTIME_DIR") if name in os.environ]
    environment |= {name: os.environ[name] for name in handed_on}
    with _appending(log) as messages:
        return subprocess.Popen(
            [*prefix, sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
            pass_fds=[listener],
            env=environment,
            cwd="/",
            start_new_session=True,
            preexec_fn=_become_subreaper,  # noqa: PLW1509  there are no threads
        )


def _become_subreaper() -> None:
    """Who loses their parent, below the runner, gets the runner: prctl(2).

    It lasts across exec. To do it by itself the runner would need ctypes, and have half a megabyte
    more to copy at each fork.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _appending(log: Path) -> BinaryIO:
    """A log that can't be written to keeps no command from being started."""
    try:
        return log.open("ab")
    except OSError:
        return open(os.devnull, "ab")


def start_message(
    attempt: AttemptKey,
    job: Job,
    account: Account,
    *,
    become: bool,
    output: str,
    output_limit: int,
    report_output: bool,
    processes_max: int,
    hold: int | None,
) -> Message:
    """The order to start an Attempt as this account; see wire.py."""
    environment = command_environment(attempt, job, account)
    user = {"uid": account.uid, "gid": account.gid, "groups": list(account.groups)}
    settings = job.settings
    return {
        "type": "start",
        "id": str(attempt),
        "argv": [environment["SHELL"], "-c", job.command],
        "env": environment,
        "user": user if become else None,
        "cwd": settings.cwd or environment["HOME"],
        "cwd_required": settings.cwd is not None,
        "umask": settings.umask,
        "nice": settings.nice,
        "stdin": job.stdin,
        "output": output,
        "output_limit": output_limit,
        "short_output": 0 if report_output else _SHORT_OUTPUT,
        "report_output": report_output,
        "timeout": settings.timeout,
        "kill_after": settings.kill_after,
        "memory_max": settings.memory_max,
        "processes_max": processes_max,
        "hold": hold,
    }


def command_environment(attempt: AttemptKey, job: Job, account: Account) -> dict[str, str]:
    """crontab(5): what the table says, HOME, SHELL and PATH where it says nothing, and who it is.

    LOGNAME and USER can't be overridden.
    """
    return {
        "HOME": account.home,
        "SHELL": "/bin/sh",
        "PATH": _DEFAULT_PATH,
        **dict(job.environment),
        "LOGNAME": account.name,
        "USER": account.name,
        "CRON_JOB": job.name,
        "CRON_RUN_ID": str(attempt.run),
        "CRON_FIRE_TIME": rfc3339(attempt.run.fire_time),
        "CRON_ATTEMPT": str(attempt.number),
    }


def output_name(attempt: AttemptKey) -> str:
    """Where an Attempt's output is kept, among all others: a directory a day."""
    return f"{rfc3339(attempt.run.fire_time)[:10]}/{attempt}.log"


def ending_of(message: Message) -> Ending:
    """The Ending in a runner's message of an Attempt that ended."""
    output = message.get("output")  # an older runner says nothing of it
    return Ending(
        ended=message["ended"],
        exit_status=message["exit_status"],
        signal=message["signal"],
        cpu_seconds=message["cpu_seconds"],
        memory_peak=message["memory_peak"],
        output_bytes=message["output_bytes"],
        output_kept=message["output_kept"],
        cause=Cause(message["cause"]) if message["cause"] else None,
        reason=message["reason"],
        output=output.encode("latin-1") if output else None,
    )
