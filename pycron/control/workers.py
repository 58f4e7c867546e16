"""The workers of this host: what they serve, and the Runs that they wait for."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pycron.config import Config
from pycron.control.access import has_account
from pycron.control.channel import Channel
from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.engine.shared_actions import WorkAction, WorkDone, WorkRefused, WorkTaken
from pycron.model.queues import is_served
from pycron.model.run import RunKey
from pycron.protocol import work_messages
from pycron.protocol.framing import Message
from pycron.protocol.work_messages import ServeAnswer, WorkAnswer
from pycron.system.accounts import own_account

_SAID_AGAIN = 60.0  # seconds until the log says once more why something was refused
_MOST_SAID = 100

WorkKey = tuple[RunKey, int]
"""A Run, and the number of the Attempt after which it waits."""


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker has said of itself. `pid`: of its process."""

    pid: int
    queues: tuple[str, ...]
    version: str
    slots: int


@dataclass(slots=True)
class Workers:
    """`why_not`: why no worker may take anything at present; None if it may. `log`: the daemon's.

    `config`: the configuration in force. `changed`: called when a worker has come or gone.
    """

    config: Callable[[], Config]
    why_not: Callable[[], str | None]
    changed: Callable[[], None]
    log: Callable[[Log], None]
    _serving: dict[Channel[Any], Worker] = field(default_factory=dict)
    _told: dict[Channel[Any], Message] = field(default_factory=dict)
    _waiting: dict[WorkKey, Channel[WorkAnswer]] = field(default_factory=dict)
    _said: dict[str, float] = field(default_factory=dict)

    # ---- what they serve

    def serve(self, worker: Worker) -> Channel[ServeAnswer]:
        """A worker is there, as long as its channel is open."""
        channel: Channel[ServeAnswer] = Channel(self._left)
        self._serving[channel] = worker
        queues = ", ".join(worker.queues)
        fields = {"pid": worker.pid, "queues": queues, "version": worker.version}
        self.log(Log(Event.WORKER_CAME, fields))
        self.changed()
        self.review()
        return channel

    def review(self) -> None:
        """Tell each worker what it may take messages from, if that has changed."""
        if not self._serving:
            return
        reason = self.why_not()
        for channel, worker in list(self._serving.items()):
            message = self._serving_message(worker, reason)
            if message != self._told.get(channel):
                self._told[channel] = message
                channel.say(message)

    @property
    def all(self) -> list[Worker]:
        return list(self._serving.values())

    def _serving_message(self, worker: Worker, reason: str | None) -> Message:
        config = self.config()
        good = [each for each in worker.queues if is_served(each, config.worker_queues)]
        return {
            "ok": True,
            "type": work_messages.SERVING,
            "queues": [] if reason else good,
            "refused": [each for each in worker.queues if each not in good],
            "reason": reason,
            "cluster": config.cluster_name,
            "broker": config.cluster_broker,
        }

    def _left(self, channel: Channel[Any]) -> None:
        worker = self._serving.pop(channel)
        self._told.pop(channel, None)
        fields = {"pid": worker.pid, "queues": ", ".join(worker.queues)}
        self.log(Log(Event.WORKER_LEFT, fields))
        self.changed()

    # ---- the Runs that they wait for

    def is_waited_for(self, key: WorkKey) -> bool:
        return key in self._waiting

    def wait(self, key: WorkKey) -> Channel[WorkAnswer]:
        """A worker wants to hear what becomes of this; whoever did before has lost it."""
        before = self._waiting.pop(key, None)
        if before is not None:
            before.say(refused("another connection asks for it"), last=True)
        channel: Channel[WorkAnswer] = Channel(lambda each: self._forget(key, each))
        self._waiting[key] = channel
        return channel

    def tell(self, works: Iterable[WorkAction]) -> None:
        """Pass on what the engine has decided."""
        for action in works:
            channel = self._waiting.get((action.run, action.number))
            if channel is not None:
                message, is_last = _message(action)
                channel.say(message, last=is_last)

    def _forget(self, key: WorkKey, channel: Channel[Any]) -> None:
        if self._waiting.get(key) is channel:
            del self._waiting[key]

    # ---- the log

    def note_refusal(self, queue: str, job: str, user: str, reason: str) -> None:
        """Log it, but not for each of many messages that are the same."""
        now = time.monotonic()
        text = f"{queue} {job} {user} {reason}"
        if now < self._said.get(text, 0.0) or len(self._said) >= _MOST_SAID:
            self._said = {each: at for each, at in self._said.items() if at > now}
            return
        self._said[text] = now + _SAID_AGAIN
        fields = {"queue": queue, "job": job, "user": user, "reason": reason}
        self.log(Log(Event.WORK_REFUSED, fields, bad=True))


def why_not_allowed(config: Config, owner: str, queue: str) -> str | None:
    """Why this host never runs what a user has in a queue, as long as its configuration is so."""
    if not is_served(queue, config.worker_queues):
        return f"the queue {queue} is not in worker.queues"
    if owner not in config.worker_users:
        return f"the user {owner} is not in worker.users"
    if not has_account(owner):
        return f"no such user: {owner}"
    if os.geteuid() != 0 and owner != own_account().name:
        return f"only root can run commands as {owner}"
    return None


def refused(reason: str, *, again: bool = False) -> Message:
    """That a Run is not started here."""
    return {"ok": True, "type": work_messages.REFUSED, "reason": reason, "again": again}


def _message(action: WorkAction) -> tuple[Message, bool]:
    """What a worker is told, and whether that is the last of it."""
    match action:
        case WorkTaken(run, number):
            taken: Message = {
                "ok": True,
                "type": work_messages.TAKEN,
                "run_id": str(run),
                "attempt": number + 1,
            }
            return taken, False
        case WorkDone(outcome=outcome, reason=reason):
            done: Message = {
                "ok": True,
                "type": work_messages.DONE,
                "outcome": outcome.value,
                "reason": reason,
            }
            return done, True
        case WorkRefused(reason=reason, again=again):
            return refused(reason, again=again), True
