"""What the agent of the cluster reports about Runs, as events for the engine."""

import time
from collections.abc import Callable

from pycron.config import Config
from pycron.control.workers import why_not_allowed
from pycron.crontab.identity import shared_run
from pycron.crontab.queue_specs import BadSpec, read_spec
from pycron.crontab.reader import ReaderContext
from pycron.daemon.cluster_words import is_sound, shared_key
from pycron.engine.engine import Engine
from pycron.engine.shared_events import (
    SharedEvent,
    SharedHeld,
    SharedLater,
    SharedOffered,
    SharedReported,
    SharedSettled,
    SharedStopped,
    SharedUntaken,
)
from pycron.model.job import Job
from pycron.model.run import AttemptKey, Outcome, Redrive, RunKey
from pycron.model.shared import Hold
from pycron.model.text import printable
from pycron.protocol.cluster_messages import ClusterAgentMessage, HeldMessage
from pycron.storage.store import Store


class AgentReports:
    """`reader_context`: what tables are read with, and so the Jobs of queues."""

    def __init__(
        self,
        cluster: str,
        engine: Engine,
        store: Store,
        config: Callable[[], Config],
        reader_context: Callable[[], ReaderContext],
    ) -> None:
        self._cluster = cluster
        self._engine = engine
        self._store = store
        self._config = config
        self._reader_context = reader_context

    def event_of(self, message: ClusterAgentMessage) -> SharedEvent | None:
        """The event; None if the message reports no change of a Run.

        Raises StoreFailure, or ValueError for a message about a Run that cannot be.
        """
        if not is_sound(message, time.time()):
            shown = printable(str(message))[:300]
            raise ValueError(f"a message about a Run that cannot be: {shown}")
        match message["type"]:
            case "held":
                return self._held(message)
            case "settled":
                shared = shared_key(message["run"])
                return SharedSettled(shared, message["attempt"], message["reason"])
            case "later":
                return SharedLater(
                    shared_key(message["run"]), message["attempt"], message["reason"]
                )
            case "untaken":
                shared = shared_key(message["run"])
                return SharedUntaken(shared, message["attempt"], message["reason"])
            case "offer":
                return SharedOffered(shared_key(message["run"]), message["attempt"])
            case "stop":
                shared = shared_key(message["run"])
                return SharedStopped(shared, message["attempt"], message["reason"])
            case "finished":
                late = None if message["taken"] else message["reason"]
                shared = shared_key(message["run"])
                return SharedReported(shared, message["attempt"], message["incarnation"], late)
        return None

    def _held(self, message: HeldMessage) -> SharedHeld:
        """Raises StoreFailure: what the history says of the Attempt has to be known."""
        shared = shared_key(message["run"])
        attempt = AttemptKey(shared_run(self._cluster, shared), message["attempt"])
        queue, spec = message.get("queue"), message.get("spec")
        hold = Hold(shared, attempt, message["incarnation"], queue, spec)
        if self._engine.is_alive(attempt.run):
            return SharedHeld(hold)
        recorded = self._store.run(attempt.run)
        known = recorded.attempt(attempt.number) if recorded else None
        ended = None if known is None else known.outcome or Outcome.LOST
        part = message.get("redrive")
        redrive = None if part is None else Redrive(part["number"], part["at"])
        try:
            return SharedHeld(hold, ended, self._job_of(hold), redrive=redrive)
        except BadSpec as error:
            return SharedHeld(hold, ended, problem=f"its job cannot be run here: {error}")

    def job_left(self, run: RunKey) -> Job | None:
        """The Job of a Run that a worker has got, and that an earlier daemon has left."""
        hold = self._engine.shared.held.hold(run)
        try:
            return None if hold is None else self._job_of(hold)
        except BadSpec:
            return None  # it could be run before the configuration changed

    def _job_of(self, hold: Hold) -> Job | None:
        """The Job that the database has told with a Run of a queue, if it has.

        Raises BadSpec, also if [worker] does not allow it.
        """
        if hold.queue is None or hold.spec is None:
            return None
        owner, name, _ = hold.shared
        # Nobody may have asked for it: the database can say anything.
        reason = why_not_allowed(self._config(), owner, hold.queue)
        if reason is not None:
            raise BadSpec(reason)
        context = self._reader_context()
        return read_spec(hold.spec, self._cluster, owner, name, hold.queue, context)
