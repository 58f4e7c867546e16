"""The agent's process: it connects the coordinator to the daemon, the database and the lease file.

It outlives the daemon: until the daemon has been silent for the time of the design (A), the lease
goes on. SIGTERM ends it at once; the lease then ends by itself, unless a new agent continues it.
"""

import fcntl
import os
import selectors
import signal
import socket
import sys
import time
import uuid
from collections import deque

from pycron.cluster.calls import Caller
from pycron.cluster.coordinator import Coordinator
from pycron.cluster.daemon_connection import DaemonConnection
from pycron.cluster.events import (
    Action,
    Connected,
    Disconnected,
    Event,
    Exit,
    Now,
    Perform,
    Said,
    Send,
    Tell,
    Tick,
    Write,
    Written,
)
from pycron.cluster.lanes import Lanes
from pycron.cluster.log import say
from pycron.cluster.publisher import Publisher
from pycron.protocol.cluster_messages import (
    CLUSTER_PROTOCOL,
    AgentHello,
    ClusterDaemonMessage,
    DaemonHello,
)
from pycron.system import lease_file

_FIRST_CONTACT = 60.0  # seconds in which a daemon has to come to a new agent
_LOCK_PATIENCE = 2.0  # seconds in which an earlier agent may exit


class _Refused(Exception):
    """The agent cannot work for this daemon; the message says why."""


class Agent:
    """`listener`: an inherited socket to which the daemon connects."""

    def __init__(self, listener: socket.socket) -> None:
        self._selector = selectors.DefaultSelector()
        self._daemon = DaemonConnection(listener, self._selector)
        self._coordinator: Coordinator | None = None
        self._lanes: Lanes | None = None
        self._publisher: Publisher | None = None
        self._hello: DaemonHello | None = None
        self._greeted = False
        self._lock: int | None = None
        self._over: str | None = None

    def run(self) -> None:
        """Run until the agent is not needed any more."""
        deadline = _now().boot + _FIRST_CONTACT
        while self._over is None:
            self._turn()
            if self._coordinator is None and _now().boot > deadline:
                self._over = "no daemon has come"
        say(f"exits: {self._over}")
        self._daemon.close()

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._patience()):
            key.data()
        heard, self._daemon.heard = self._daemon.heard, []
        for message in heard:
            self._hear(message)
        if self._lanes is not None:
            for result in self._lanes.take():
                self._handle(result)
        if self._publisher is not None:
            for change in self._publisher.take():
                self._handle(change)
        self._handle(Tick())
        self._daemon.flush()

    def _patience(self) -> float:
        if self._coordinator is None:
            return 1.0
        now = _now().boot
        return max(0.0, self._coordinator.wake_at(now) - now)

    def _hear(self, message: ClusterDaemonMessage | None) -> None:
        if message is None:
            self._greeted = False
            self._handle(Disconnected())
        elif message["type"] == "hello":
            self._greet(message)
        elif self._greeted:
            self._handle(Said(message))

    def _greet(self, hello: DaemonHello) -> None:
        answer: AgentHello = {"type": "hello", "protocol": CLUSTER_PROTOCOL, "pid": os.getpid()}
        self._daemon.send(answer)
        try:
            if self._coordinator is None:
                self._begin(hello)
        except (_Refused, ValueError) as error:
            self._daemon.send({"type": "log", "level": "error", "text": str(error)})
            self._over = str(error)
            return
        self._greeted = True
        self._handle(Connected(hello))

    def _begin(self, hello: DaemonHello) -> None:
        """Take the configuration of the first daemon, and what an earlier agent has left."""
        self._lock = _lock(hello["lease_file"])
        found = lease_file.read(hello["lease_file"])
        boot = lease_file.boot_id()
        self._coordinator = Coordinator(hello, found, boot, _new_id, _now())
        self._hello = hello
        self._lanes = Lanes(lambda: _connect(hello["database"], hello["cluster"]))
        self._selector.register(self._lanes, selectors.EVENT_READ, lambda: None)
        if "broker" in hello:
            self._publisher = Publisher(hello["broker"], hello["cluster"])
            self._selector.register(self._publisher, selectors.EVENT_READ, lambda: None)

    def _handle(self, event: Event) -> None:
        if self._coordinator is None:
            return
        actions = deque(self._coordinator.handle(event, _now()))
        while actions and self._over is None:
            written = self._perform(actions.popleft())
            if written is not None:
                actions.extend(self._coordinator.handle(written, _now()))

    def _perform(self, action: Action) -> Written | None:
        assert self._lanes is not None
        match action:
            case Perform():
                self._lanes.perform(action.lane, action.call)
            case Tell():
                self._daemon.send(action.message)
            case Write():
                return self._write(action.lease)
            case Send() if self._publisher is not None:
                self._publisher.send(action.publications)
            case Exit():
                self._over = action.reason
        return None

    def _write(self, lease: lease_file.Lease) -> Written:
        assert self._hello is not None
        try:
            lease_file.write(self._hello["lease_file"], lease)
        except OSError as error:
            return Written(lease, str(error))
        return Written(lease)


def main() -> None:
    """`python -m pycron.cluster DESCRIPTOR`: the listening socket is inherited."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o022)
    listener = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(listener.fileno(), False)
    Agent(listener).run()


def _connect(address: str, cluster: str) -> Caller:
    """psycopg takes a while to import, and the agent is to answer the daemon before."""
    from pycron.cluster.database import connect

    return connect(address, cluster)


def _lock(path: str) -> int:
    """Keep other agents from the same lease file. Raises _Refused."""
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _Refused(f"the lease file cannot be locked: {error}") from error
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise _Refused("another agent of this daemon is still running") from None
            time.sleep(0.05)
        else:
            return descriptor


def _new_id() -> str:
    return str(uuid.uuid4())


def _now() -> Now:
    return Now(lease_file.now(), time.time())
