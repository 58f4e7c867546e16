"""The daemon's hold on its runner: finds or starts it, and does so again when it is gone."""

import selectors
import signal
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.executor.connection import RunnerClient, RunnerGone, RunnerSilent
from pycron.executor.launch import find_runner, start_runner
from pycron.protocol.framing import Message
from pycron.system.paths import Paths


class NoRunner(Exception):
    """The runner can't be started: why."""


@dataclass(slots=True)
class RunnerLink:
    """One runner at a time. `met` is called with what a runner knows, `heard` with what it says."""

    paths: Paths
    selector: selectors.BaseSelector
    met: Callable[[str, list[Message]], None]
    heard: Callable[[Message], None]
    log: Callable[[Log], None]
    _client: RunnerClient | None = None
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def pid(self) -> int | None:
        return int(self._client.instance.partition("-")[0]) if self._client else None

    @property
    def waits_itself(self) -> bool:
        """Whether a word ahead of its time is kept for then, where older ones begin at once."""
        return self._client is not None and self._client.protocol >= 2

    def meet(self) -> None:
        """Raises NoRunner."""
        try:
            self._client = find_runner(self.paths, self.selector)
        except RunnerSilent as error:
            where = self.paths.runner_socket
            advice = "once it has ended, another one is started"
            raise NoRunner(f"the runner at {where}: {error} ({advice})") from None
        if self._client is None:
            self._client = self._started()
        else:
            found = {"attempts": len(self._client.known), "cgroup": self._client.cgroup}
            self.log(Log(Event.RUNNER_FOUND, found))
        self.selector.register(self._client, selectors.EVENT_READ, self._ready)
        self.met(self._client.instance, self._client.known)
        self._client.known = []

    def _started(self) -> RunnerClient:
        try:
            client, self._process, reason = start_runner(self.paths, self.selector)
        except (OSError, RunnerGone, RunnerSilent) as error:
            log = self.paths.runner_log
            raise NoRunner(f"the runner does not start (see {log}): {error}") from None
        fields = {"pid": self._process.pid, "cgroup": client.cgroup, "reason": reason}
        self.log(Log(Event.RUNNER_STARTED, fields))
        return client

    def _ready(self, events: int) -> None:
        client = self._client
        assert client is not None
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
            self.heard(message)

    def send(self, messages: Iterable[Message]) -> None:
        if self._client:
            self._client.send(messages)

    def signal(self, attempts: Iterable[str], number: signal.Signals) -> None:
        self.send({"type": "signal", "id": id_, "signal": int(number)} for id_ in attempts)

    def acknowledge(self, attempts: list[str]) -> None:
        """Their ends are recorded; the runner may forget them."""
        if attempts:
            self.send([{"type": "ack", "ids": attempts}])

    def reap(self) -> None:
        """Collect the process, when it was this daemon's child."""
        if self._process:
            self._process.poll()

    def close(self, *, leave: bool) -> None:
        """Let the runner alone; with `leave`, it is to exit when its commands have ended."""
        self.send([{"type": "leave" if leave else "bye"}])
        if self._client:
            self._client.close()
