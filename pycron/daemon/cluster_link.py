"""The daemon's link to the agent of the cluster: starts and watches it, and passes on what is said.

Nothing here waits: while there is no agent, or it does not answer, only shared Jobs stand still.
"""

import math
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence

from pycron.control.channel import Channel
from pycron.control.workers import Workers
from pycron.crontab.reader import ReaderContext
from pycron.daemon.agent_client import AgentClient, AgentGone
from pycron.daemon.agent_launch import (
    CannotStart,
    agent_account,
    find_agent,
    kill_agent,
    start_agent,
)
from pycron.daemon.agent_reports import AgentReports
from pycron.daemon.attempt_results import AttemptResults
from pycron.daemon.cluster_words import message_of, run_part, shared_key
from pycron.daemon.host_facts import HostFacts
from pycron.daemon.remote_kills import RemoteKills
from pycron.daemon.second_watcher import SecondWatcher
from pycron.daemon.setup import Mode, Setup
from pycron.engine.actions import Log
from pycron.engine.engine import Engine
from pycron.engine.events import InputEvent
from pycron.engine.log_events import Event
from pycron.engine.shared_actions import Finish, SharedAction
from pycron.engine.shared_events import ClusterReady
from pycron.executor.link import RunnerLink
from pycron.model.job import Job
from pycron.model.run import RunKey
from pycron.model.shared import SharedKey
from pycron.ports import StoreFailure
from pycron.protocol.cluster_messages import (
    ALIVE_EVERY,
    CLUSTER_PROTOCOL,
    RUNNER_SILENCE,
    ClusterAgentMessage,
    ClusterDaemonMessage,
    StatusMessage,
)
from pycron.protocol.control_answers import ClusterRow, KillAnswer
from pycron.protocol.framing import Message
from pycron.storage.recorder import Recorder
from pycron.storage.store import Store
from pycron.system.accounts import Accounts

_ALIVE_INTERVAL = ALIVE_EVERY / 2  # seconds
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds before another try to reach the agent
_FACTS_INTERVAL = 60.0  # seconds
_SILENCE = 45.0  # seconds in which an agent reads what it is sent, unless it is stopped or hangs


class ClusterLink:
    """The one place that knows the connection to the agent. Without a cluster it does nothing.

    `tzdata`: the release of the zone data.
    """

    def __init__(
        self,
        setup: Setup,
        tzdata: Callable[[], str],
        accounts: Accounts,
        store: Store,
        engine: Engine,
        recorder: Recorder,
        runner: RunnerLink,
        selector: selectors.BaseSelector,
        feed: Callable[[InputEvent], object],
        log: Callable[[Log], None],
        reader_context: Callable[[], ReaderContext],
    ) -> None:
        config = setup.config
        self._is_on = setup.once is None and config.cluster_database is not None
        self._setup = setup
        self._accounts = accounts
        self._engine = engine
        self._recorder = recorder
        self._runner = runner
        self._selector = selector
        self._feed = feed
        self._log = log
        self.workers = Workers(
            setup.configuration.current, self._why_not, self._workers_changed, log
        )
        self._host = HostFacts(setup, tzdata, store, engine, self.workers)
        self._cluster = self._host.cluster
        self._reports = AgentReports(
            self._cluster, engine, store, setup.configuration.current, reader_context
        )
        self._results = AttemptResults(store, setup.paths.output)
        self._kills = RemoteKills()
        self._watcher = SecondWatcher(engine, setup.paths, lambda: runner.pid, log)
        self._client: AgentClient | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._try_at = -math.inf  # monotonic
        self._pause = _FIRST_PAUSE
        self._alive_at = -math.inf
        self._heard_at = -math.inf  # when the agent had read all that was sent to it
        self._runner_read_at = -math.inf  # when the runner had read all that was sent to it
        self._pinged_at = -math.inf
        self._ready = False
        self._facts: ClusterDaemonMessage | None = None
        self._facts_at = -math.inf
        self._problem: str | None = None
        self.status: StatusMessage | None = None

    # ---- the loop

    def tend(self) -> None:
        """Do what is due; called in every turn of the loop once the daemon has begun."""
        if not self._is_on:
            return
        self._watcher.look()
        now = time.monotonic()
        try:
            if self._client is None:
                if now >= self._try_at:
                    self._meet(now)
                return
            self._be_alive(now)
            self._tell_facts(now)
        except AgentGone as error:
            self._lose(str(error))
        self._say_whether_ready()
        self.workers.review()

    def patience(self) -> float:
        """Seconds until something is due; infinity without a cluster."""
        if not self._is_on:
            return math.inf
        at = self._try_at if self._client is None else self._alive_at + _ALIVE_INTERVAL
        return max(0.0, min(at - time.monotonic(), self._watcher.patience()))

    def close(self, *, leave: bool) -> None:
        """Part from the agent; with `leave`, no other daemon will come."""
        if self._client is None:
            return
        try:
            self._client.send([{"type": "leave"} if leave else {"type": "bye"}])
        except AgentGone:
            pass
        self._client.close()
        self._client = None

    def reap(self) -> None:
        """Collect the exit status of the agent, if it was this daemon's child."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None

    # ---- the connection

    def _meet(self, now: float) -> None:
        """Find the agent or start one, and say hello."""
        self._try_at, self._pause = now + self._pause, min(_LONGEST_PAUSE, 2 * self._pause)
        paths = self._setup.paths
        try:
            account = agent_account(self._accounts, system=self._setup.mode is Mode.SYSTEM)
            hello = self._host.hello()
            connection = find_agent(paths)
            if connection is None:
                self._process = start_agent(paths, account)
                connection = find_agent(paths)
                fields = {"pid": self._process.pid, "cluster": self._cluster}
                self._log(Log(Event.AGENT_STARTED, fields))
        except (CannotStart, StoreFailure) as error:
            self._note_problem(str(error))
            return
        if connection is None:
            return
        self._client = AgentClient(connection, self._selector, self._came)
        self._alive_at = self._facts_at = self._heard_at = now
        self._client.send([hello])

    def _came(self, events: int) -> None:
        assert self._client is not None
        try:
            if events & selectors.EVENT_WRITE:
                self._client.flush()
            if events & selectors.EVENT_READ:
                was_known = self._client.hello is not None
                messages = self._client.receive()
                if not was_known and self._client.hello is not None:
                    self._check_version(self._client.hello["protocol"])
                    self._pause = _FIRST_PAUSE
                    self._ready = not self._recorder.behind
                    self._feed(ClusterReady(self._ready, again=True))
                for message in messages:
                    self._take(message)
        except (AgentGone, StoreFailure) as error:
            self._lose(str(error))

    def _check_version(self, protocol: int) -> None:
        """Another agent continues the lease of one that is older than this daemon."""
        if protocol < CLUSTER_PROTOCOL:
            kill_agent(self._setup.paths)
            raise AgentGone("it was of an older version")

    def _lose(self, reason: str) -> None:
        if self._client is None:
            return
        self._client.close()
        self._client = self.status = None
        self._ready = False
        self._feed(ClusterReady(ready=False))
        self._kills.fail()
        self._log(Log(Event.AGENT_LOST, {"reason": reason}, bad=True))
        self._try_at = time.monotonic() + self._pause

    # ---- what the daemon says

    def ask(self, actions: Sequence[SharedAction]) -> None:
        """Send what the engine decided. What cannot be sent now is decided again later.

        While the store cannot be written to, nothing is said of Attempts that have ended.
        """
        if self._client is None or self._client.hello is None:
            return
        if self._recorder.behind:
            self._ready = False
            self._feed(ClusterReady(ready=False))
            return
        now = time.time()
        try:
            self._client.send([self._message(each, now) for each in actions])
        except AgentGone as error:
            self._lose(str(error))

    def _message(self, action: SharedAction, now: float) -> ClusterDaemonMessage:
        config = self._setup.config
        message = message_of(action, now, config.cluster_pools, config.cluster_groups)
        if message["type"] == "finish" and isinstance(action, Finish):
            return self._results.add_to(message, action.end.hold.attempt)
        return message

    def job_left(self, run: RunKey) -> Job | None:
        """The Job of a Run that a worker has got, and that an earlier daemon has left."""
        return self._reports.job_left(run)

    def refuse(self, shared: SharedKey, number: int, reason: str) -> None:
        """Note in the row of a Run that waits in a queue why this host does not take it."""
        self._send_if_known(
            {"type": "refuse", "run": run_part(shared), "attempt": number, "reason": reason}
        )

    def kill(self, shared: SharedKey, by: str, answer: Message) -> Channel[KillAnswer]:
        """End a shared Run, wherever it is. `answer`: what is said if it has not ended."""
        channel = self._kills.wait(shared, answer)
        self._send_if_known({"type": "kill", "run": run_part(shared), "by": by})
        if self._why_not() is not None:
            self._kills.fail()
        return channel

    def _send_if_known(self, message: ClusterDaemonMessage) -> None:
        if self._client is None or self._client.hello is None:
            return
        try:
            self._client.send([message])
        except AgentGone as error:
            self._lose(str(error))

    def _be_alive(self, now: float) -> None:
        """Tell the agent that the daemon works, if the runner does, too."""
        assert self._client is not None
        if now < self._alive_at + _ALIVE_INTERVAL:
            return
        self._alive_at = now
        if self._client.hello is not None and not self._client.unread:
            self._heard_at = now
        elif now > self._heard_at + _SILENCE:
            kill_agent(self._setup.paths)
            raise AgentGone(f"it has not answered for {_SILENCE:.0f} seconds, and was killed")
        if self._client.hello is None:
            return
        if self._runner.reads(ask=False):
            self._runner_read_at = max(self._pinged_at, now - _ALIVE_INTERVAL)
        if self._runner.reads(ask=True) or self._runner_read_at > now - RUNNER_SILENCE:
            self._client.send([{"type": "alive"}])
        self._pinged_at = now

    def _tell_facts(self, now: float) -> None:
        """What hosts compare may have changed."""
        assert self._client is not None
        if now < self._facts_at + _FACTS_INTERVAL or self._client.hello is None:
            return
        self._facts_at = now
        facts = self._host.facts()
        if facts != self._facts:
            self._facts = facts
            self._client.send([facts])

    def _say_whether_ready(self) -> None:
        """What cannot be recorded is not asked for; afterwards, all that was not said is said."""
        known = self._client is not None and self._client.hello is not None
        ready = known and not self._recorder.behind
        if ready != self._ready:
            self._ready = ready
            self._feed(ClusterReady(ready, again=ready))

    def _workers_changed(self) -> None:
        self._facts_at = -math.inf

    def _why_not(self) -> str | None:
        """Why workers of this host can take nothing at present."""
        status = self.status
        if status is None or not self._ready:
            return "the database of the cluster cannot be asked"
        if status["problem"] is not None:
            return status["problem"]
        if status["incarnation"] is None:
            return "this host is not registered in the cluster"
        return "this host is drained" if status["drained"] else None

    # ---- what the agent says

    def _take(self, message: ClusterAgentMessage) -> None:
        """Raises StoreFailure."""
        if message["type"] == "status":
            self._note_status(message)
        elif message["type"] == "log":
            bad = message["level"] != "info"
            self._log(Log(Event.AGENT_LOG, {"reason": message["text"]}, bad=bad))
        elif message["type"] == "killed":
            self._kills.told(shared_key(message["run"]), done=message["done"])
        else:
            self._take_report(message)

    def _take_report(self, message: ClusterAgentMessage) -> None:
        """Raises StoreFailure."""
        try:
            event = self._reports.event_of(message)
        except ValueError as error:
            self._log(Log(Event.AGENT_LOG, {"reason": str(error)}, bad=True))
        else:
            if event is not None:
                self._feed(event)

    def _note_status(self, message: StatusMessage) -> None:
        before, self.status = self.status, message
        self._engine.shared.served = message.get("served")
        self._note_problem(message["problem"])
        incarnation = message["incarnation"]
        if incarnation is not None and (before is None or before["incarnation"] != incarnation):
            fields = {
                "cluster": self._cluster, "host": self._host.host, "incarnation": incarnation,
            }  # fmt: skip
            self._log(Log(Event.CLUSTER_JOINED, fields))

    def _note_problem(self, problem: str | None) -> None:
        if problem != self._problem:
            self._problem = problem
            if problem is not None:
                fields = {"cluster": self._cluster, "reason": problem}
                self._log(Log(Event.CLUSTER_PROBLEM, fields, bad=True))

    def row(self) -> ClusterRow | None:
        """How things are, for `pycron status`; None without a cluster."""
        if not self._is_on:
            return None
        status = self.status
        nobody = None if status else "the agent does not answer"
        return {
            "name": self._cluster,
            "host": self._host.host,
            "problem": self._problem or nobody,
            "drained": status is not None and status["drained"],
            "hosts": status["hosts"] if status else [],
            "offset": status["offset"] if status else 0.0,
            "undecided": self._engine.shared.questions,
            "broker": status.get("broker") if status else None,
        }
