"""The daemon's link to the runner: finds or starts it, and does so again when it has gone."""

import selectors
import signal
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.executor.connection import RunnerClient, RunnerGone, RunnerSilent
from pycron.executor.launch import find_runner, start_runner
from pycron.model.run import AttemptKey
from pycron.protocol.runner_messages import DaemonMessage, RunnerHello, RunnerMessage
from pycron.system.paths import Paths


class NoRunner(Exception):
    """There is no runner that can be used; the message says why."""


class RunnerListener(Protocol):
    """Takes the messages of the runner."""

    def met(self, hello: RunnerHello) -> None:
        """A runner was found or started."""

    def heard(self, message: RunnerMessage) -> None:
        """The runner has sent a message."""


@dataclass(slots=True)
class RunnerLink:
    """The one place that knows the connection to the runner. One runner at a time."""

    paths: Paths
    selector: selectors.BaseSelector
    log: Callable[[Log], None]
    _listener: RunnerListener | None = None
    _client: RunnerClient | None = None
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def pid(self) -> int | None:
        return int(self._client.instance.partition("-")[0]) if self._client else None

    @property
    def waits_itself(self) -> bool:
        """Whether the runner waits until the second of a go message that comes before it.

        A runner of protocol 1 begins at once.
        """
        return self._client is not None and self._client.protocol >= 2

    @property
    def opens_sessions(self) -> bool:
        """Whether the runner opens PAM sessions; an older one would start commands without."""
        return self._client is not None and self._client.protocol >= 3

    @property
    def knows_leases(self) -> bool:
        """Whether the runner looks at the lease of shared Attempts."""
        return self._client is not None and self._client.protocol >= 5

    def listen(self, listener: RunnerListener) -> None:
        """Hand all messages of the runner to the listener; called once, before meet()."""
        self._listener = listener

    def meet(self) -> None:
        """Find the runner, or start one, and hand its hello to the listener. Raises NoRunner."""
        try:
            client = find_runner(self.paths, self.selector)
        except RunnerSilent as error:
            where = self.paths.runner_socket
            advice = "once it has ended, another one is started"
            raise NoRunner(f"the runner at {where}: {error} ({advice})") from None
        if client is None:
            client = self._started()
        else:
            found = {"attempts": len(client.hello["attempts"]), "cgroup": client.hello["cgroup"]}
            self.log(Log(Event.RUNNER_FOUND, found))
        self._client = client
        self.selector.register(client, selectors.EVENT_READ, self._ready)
        assert self._listener is not None
        self._listener.met(client.hello)
        for message in client.came_with_hello:
            self._listener.heard(message)
        client.hello["attempts"] = []  # there may be many, and they are not needed any more

    def _started(self) -> RunnerClient:
        try:
            client, self._process, reason = start_runner(self.paths, self.selector)
        except (OSError, RunnerGone, RunnerSilent) as error:
            log = self.paths.runner_log
            raise NoRunner(f"the runner does not start (see {log}): {error}") from None
        fields = {"pid": self._process.pid, "cgroup": client.hello["cgroup"], "reason": reason}
        self.log(Log(Event.RUNNER_STARTED, fields, bad=reason is not None))
        return client

    def _ready(self, events: int) -> None:
        client = self._client
        assert client is not None
        assert self._listener is not None
        if events & selectors.EVENT_WRITE:
            client.flush()
        if not events & selectors.EVENT_READ:
            return
        try:
            messages = client.receive()
        except RunnerGone as error:
            self.log(Log(Event.RUNNER_LOST, {"reason": str(error)}, bad=True))
            self.selector.unregister(client)
            client.close()
            self.meet()
            return
        for message in messages:
            self._listener.heard(message)

    def send(self, messages: Iterable[DaemonMessage]) -> None:
        if self._client:
            self._client.send(messages)

    def reads(self, *, ask: bool) -> bool:
        """Whether the runner has read all that was sent to it; with `ask`, it is sent a message.

        So it reads after some milliseconds, unless it is stopped or hangs.
        """
        if self._client is None:
            return False
        if ask and not self._client.unread:
            self._client.send([{"type": "ping"}])
        return not self._client.unread

    def signal(self, attempts: Iterable[AttemptKey], number: signal.Signals) -> None:
        """Signal the process groups of these Attempts."""
        self.send({"type": "signal", "id": str(key), "signal": int(number)} for key in attempts)

    def acknowledge(self, attempts: Iterable[AttemptKey]) -> None:
        """The ends of these Attempts are recorded; the runner may forget them."""
        ids = [str(attempt) for attempt in attempts]
        if ids:
            self.send([{"type": "ack", "ids": ids}])

    def reap(self) -> None:
        """Collect the exit status of the runner, if it was this daemon's child."""
        if self._process:
            self._process.poll()

    def close(self, *, leave: bool) -> None:
        """Part from the runner; with `leave`, it exits when its commands have ended."""
        goodbye: DaemonMessage = {"type": "leave"} if leave else {"type": "bye"}
        self.send([goodbye])
        if self._client:
            self._client.close()
