"""The daemon: waits for the next fire time or an event, and does one turn of work.

One turn: wait; take what came (signals, the runner, clients, inotify); tell the engine what time it
is; perform what the engine decided (turn.py).
"""

import math
import os
import selectors
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from pycron.control.access import Access
from pycron.control.context import Context, DaemonInfo
from pycron.control.ended_attempts import EndedAttempts
from pycron.control.server import ControlServer, Peer, Reply
from pycron.control.service import Service
from pycron.daemon import garbage
from pycron.daemon.cluster_link import ClusterLink
from pycron.daemon.demands import BadTables, NothingToRun
from pycron.daemon.inputs import Inputs
from pycron.daemon.log import DaemonLog
from pycron.daemon.metrics_process import MetricsProcess
from pycron.daemon.minute_work import MinuteWork
from pycron.daemon.new_engine import new_engine
from pycron.daemon.notices import start_notices
from pycron.daemon.once import Once
from pycron.daemon.other_crons import boot_markers
from pycron.daemon.own_programs import OwnPrograms
from pycron.daemon.recovery import Recovery
from pycron.daemon.replaced_accounts import ReplacedAccounts
from pycron.daemon.setup import Mode, Setup
from pycron.daemon.shutdown import Shutdown, stopping_message
from pycron.daemon.signals import catch_signals, is_init, reap_orphans
from pycron.daemon.table_watch import TableWatch
from pycron.daemon.turn import Turn
from pycron.daemon.watchdog import Watchdog
from pycron.daemon.words import commands_in_words, summary
from pycron.engine.actions import Decisions, Log, LogEntry
from pycron.engine.events import InputEvent, Now, TableLoaded, Tick
from pycron.engine.log_events import Event
from pycron.executor.executor import ExecutorOptions, RunnerExecutor
from pycron.executor.link import RunnerLink
from pycron.model.steps import Steps
from pycron.ports import UserTables
from pycron.protocol.framing import Message
from pycron.storage.housekeeping import Housekeeping
from pycron.storage.recorder import Recorder
from pycron.storage.store import Store
from pycron.system import host
from pycron.system.accounts import Accounts
from pycron.system.processor_share import ProcessorShare
from pycron.system.sd_notify import notify
from pycron.tables.user_tables import UserTableFiles

_LONGEST_WAIT = 60.0  # seconds
_NAMED = 100  # Runs that a log event names at most
_RAISED_AHEAD = 0.5  # seconds; a turn beside many commands takes up to 0.2


def clock() -> Now:
    """The two clocks of the machine."""
    return Now(time.time(), time.monotonic())


class Daemon:
    """One daemon, in one of its three modes."""

    def __init__(self, setup: Setup, log: DaemonLog) -> None:
        """Raises StoreTooNew; OSError if a socket or a watch cannot be made."""
        paths = setup.paths
        self._setup, self._daemon_log = setup, log
        self._log: Callable[[LogEntry], None] = log.write
        self._selector = selectors.DefaultSelector()
        self._watchdog, self._share = Watchdog(), ProcessorShare()
        self._accounts = Accounts(setup.account)
        self._inputs = Inputs(setup, self._accounts, self._feed, self._log, self._attend)
        self._tables = self._inputs.tables
        self._store = self._new_store()
        self._began = self._last_wall = time.time()
        self._begun = False  # only afterwards may anything be started
        self._engine = new_engine(setup, self._store, self._inputs.zones.zone, int(self._began))
        self._link = RunnerLink(paths, self._selector, self._log)
        self._programs = OwnPrograms(self._store, setup, self._accounts)
        self._executor = self._new_executor()
        self._recovery = self._new_recovery()
        self._recorder = Recorder(
            self._store,
            self._link.acknowledge,
            self._recovery.resume_late,
            self._recovery.remember_boot,
            self._log,
        )
        self._once, self._ended = Once(setup.once), EndedAttempts(int(self._began))
        self._turn = Turn(
            self._engine, self._recorder, self._executor, self._log, clock,
            self._once.note, self._ended.note,
        )  # fmt: skip
        self._cluster = self._new_cluster()
        self._shutdown = Shutdown(setup.mode, self._turn, self._engine, self._link, self._log)
        self._housekeeping = Housekeeping(
            self._store,
            paths.output,
            self._recorder,
            setup.configuration.current,
            self._engine.is_alive,
            lambda: ((run.job.user, run.attempt) for run in self._engine.running),
            self._log,
        )
        watched = {location.watched for location in setup.tables}
        self._watch = TableWatch(watched, self._selector, self._tables.look, self._log)
        self._server = self._new_server()
        self._replaced_accounts = ReplacedAccounts(
            self._tables, self._store, self._engine, self._accounts, self._feed,
            self._turn.perform, self._log,
        )  # fmt: skip
        self._minute_work = MinuteWork(self._look, self._tidy)
        self._metrics = MetricsProcess(setup.metrics, paths.socket, self._log)

    def _new_store(self) -> Store:
        paths, uid_of = self._setup.paths, self._accounts.uid_of
        with suppress(OSError):  # without the directory, output is not kept
            paths.output.mkdir(exist_ok=True)
        return Store(
            paths.database,
            may_wait=True,
            uid_of=uid_of,
            journal_bytes=self._setup.config.retention_database_bytes // 2,
            most_counted=lambda: self._setup.configuration.current().metrics_jobs,
        )

    def _new_executor(self) -> RunnerExecutor:
        setup = self._setup
        options = ExecutorOptions(
            self._accounts,
            setup.account,
            setup.paths.output,
            setup.configuration.current,
            longest_line=self._daemon_log.longest_line if setup.mode is Mode.FOREGROUND else None,
            deliverer=self._programs,
            passed=setup.passed,
            lease=setup.paths.lease,
        )
        return RunnerExecutor(self._engine, self._store, self._link, options, self._feed, self._say)

    def _new_cluster(self) -> ClusterLink:
        link = ClusterLink(self._setup, lambda: self._inputs.zones.version, self._accounts,
                           self._store, self._engine, self._recorder, self._link, self._selector,
                           self._feed, self._log, self._inputs.reader_context)  # fmt: skip
        self._turn.ask, self._turn.tell = link.ask, link.workers.tell
        self._recovery.queue_job = link.job_left
        return link

    def _new_recovery(self) -> Recovery:
        setup = self._setup
        return Recovery(
            self._engine,
            self._store,
            self._executor,
            setup.paths.booted,
            self._feed,
            self._began,
            always_boots=setup.mode is Mode.FOREGROUND,
            boot_markers=boot_markers(setup.layout),
        )

    def _new_server(self) -> ControlServer:
        current = self._setup.configuration.current
        context = Context(
            engine=self._engine,
            history=self._store,
            recorder=self._recorder,
            tables=self._tables,
            user_tables=self._new_user_tables(),
            config=current,
            output=self._setup.paths.output,
            access=Access(current, self._log, self._setup.everyone_may),
            feed=self._feed,
            log=self._log,
            info=self._info,
            reload=self._inputs.reload,
            runner_reads=lambda ask: self._link.reads(ask=ask),
            reader_context=self._inputs.reader_context,
            ended=self._ended,
            cluster=self._cluster,
        )
        service = Service(context)
        return ControlServer(
            self._setup.paths.socket,
            0o666 if self._setup.mode is Mode.SYSTEM else 0o600,
            self._selector,
            lambda peer, request: self._answer(service, peer, request),
            current,
            broken=lambda text: self._log(Log(Event.REQUEST_BROKEN, {"reason": text}, bad=True)),
        )

    def _new_user_tables(self) -> UserTables | None:
        where = self._setup.user_tables
        if where is None:
            return None
        current, tables = self._setup.configuration.current, self._tables
        context = self._inputs.reader_context
        return UserTableFiles(where, current, context, tables, tables.versions, self._attend)

    # ---- the loop

    def run(self) -> int:
        """Work until a signal ends the daemon, or what was to run once has run.

        Returns the exit status. Raises NoRunner, NothingToRun or BadTables.
        """
        self._begin()
        while not self._shutdown.finished:
            self._take(self._selector.select(self._patience()))
            self._share.keep(raised=self._next_wakeup() < time.time() + _RAISED_AHEAD)
            self._act()
            self._server.answer_some()
            # The first look may have only released held Attempts.
            if not self._engine.busy and time.time() >= self._next_wakeup():
                self._act()
            self._minute_work.do(self._last_wall, self._next_wakeup())
            self._housekeeping.go_on()
            self._tables.work()
            self._cluster.tend()
            self._turn.perform()
            self._daemon_log.step()
            if self._daemon_log.takes_output:
                self._executor.take_more_output()
            if self._once.is_over(self._engine):
                self._shutdown.end_with_the_work()
            self._watchdog.turned()
        self._end()
        return self._once.exit_status

    def _begin(self) -> None:
        """Load the tables, take over what an earlier daemon left, and meet the runner."""
        catch_signals(self._selector, self._signalled)
        for notice in start_notices(self._setup, self._store, self._inputs.zones):
            self._log(notice)
        self._watch.renew()
        self._inputs.check_mail()
        self._inputs.other_crons.look()
        self._tables.rescan()
        self._recovery.resume()
        self._check_demands()
        self._link.meet()
        if self._setup.once is None:
            self._recovery.boot()
        self._once.begin(self._engine, self._store, self._feed, self._log)
        self._turn.perform()
        self._recovery.mark_boot()
        self._begun = True
        self._metrics.run()
        garbage.take_charge()
        self._watchdog.ready()

    def _check_demands(self) -> None:
        """Raises NothingToRun or BadTables; then the daemon leaves nothing behind."""
        try:
            work = len(self._engine.jobs()) + len(self._engine.alive)
            self._setup.demands.check(work, self._tables.problems())
        except (NothingToRun, BadTables):
            self._server.close()
            self._store.close()
            raise

    def _end(self) -> None:
        """End in good order; commands that still run are left to the runner."""
        running = self._engine.running
        notify(stopping_message(running))
        self._metrics.close()
        self._server.close()
        self._recorder.write([])  # one more try for what could not be written so far
        self._cluster.close(leave=self._setup.mode is Mode.FOREGROUND)
        self._link.close(leave=self._setup.mode is Mode.FOREGROUND)
        self._store.close()
        fields = {"running": len(running), "commands": commands_in_words(running, _NAMED)}
        self._log(Log(Event.DAEMON_STOPPED, fields))
        self._daemon_log.close()

    def _take(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Handle what came; what is due meanwhile is done in between."""
        for key, events in ready:
            key.data(events)
            if not self._engine.busy and time.time() >= self._next_wakeup():
                self._act()

    def _act(self) -> None:
        """Tell the engine what time it is, if something is due, and perform what it decided."""
        self._shutdown.kill_if_due()
        wall = time.time()
        if wall < self._last_wall - 1:
            self._minute_work.look_now()  # the clock was set back
        self._last_wall = wall
        if wall >= self._next_tick():
            self._replaced_accounts.look()
            if pressure := self._inputs.pressure():
                self._feed(pressure)
            self._feed(Tick())
        self._turn.perform()

    def _attend(self) -> None:
        """Do what is due while a request waits for its table to be read."""
        if not self._begun:
            return
        self._watchdog.turned()
        if time.time() >= self._next_wakeup():
            self._act()

    def _next_wakeup(self) -> float:
        """The UTC second at which the engine has something to do; infinity if there is none."""
        wakeup = self._engine.next_wakeup()
        return math.inf if wakeup is None else wakeup

    def _next_tick(self) -> float:
        """The same, or when the work of the minute is due."""
        return min(self._next_wakeup(), self._minute_work.next_at)

    def _patience(self) -> float:
        """How long to wait for something to happen, in seconds."""
        if self._server.busy or self._tables.has_work:
            return 0.0
        until = min(self._next_tick() - time.time(), self._shutdown.patience())
        until = min(until, self._housekeeping.next_at - time.monotonic())
        until = min(until, self._daemon_log.patience, self._cluster.patience())
        return max(0.0, min(until, self._watchdog.patience, _LONGEST_WAIT))

    def _feed(self, event: InputEvent) -> Decisions:
        decided = self._turn.feed(event)
        if isinstance(event, TableLoaded):
            self._watchdog.table_was_read()
        return decided

    def _say(self, entry: LogEntry) -> None:
        self._turn.say(entry)

    # ---- once a minute

    def _look(self) -> None:
        """Look for changes that inotify and the runner may not have reported."""
        self._watch.renew()
        self._tables.look()
        if not self._engine.busy:  # else it may still decide to start Attempts of an earlier daemon
            self._executor.settle()

    def _tidy(self) -> None:
        self._server.drop_idle()
        self._inputs.check_mail()
        self._housekeeping.prune()
        self._programs.remove_receipts(self._engine.is_alive)
        self._inputs.check_hourly()
        self._metrics.run()
        garbage.collect(sum(self._engine.count(lambda _: True)))

    # ---- signals

    def _signalled(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT | signal.SIGQUIT:
                self._shutdown.begin(number)
            case signal.SIGHUP | signal.SIGUSR2:  # USR2 is the reload signal of supercronic
                self._inputs.reload_on_signal(number)
            case signal.SIGUSR1:
                self._log(summary(self._engine.running, self._engine.waiting, _NAMED))
            case signal.SIGCHLD if is_init():
                self._metrics.look()
                reap_orphans()
            case signal.SIGCHLD:
                self._metrics.look()
                self._link.reap()
                self._cluster.reap()

    # ---- what others ask

    def _answer(self, service: Service, peer: Peer, request: Message) -> Steps[Reply]:
        """Answer a request; its effects are recorded before the answer is sent."""
        self._replaced_accounts.look()
        answer = yield from service.answer(peer, request)
        self._turn.perform()
        return answer

    def _info(self) -> DaemonInfo:
        return DaemonInfo(
            mode=self._setup.mode.value,
            since=self._began,
            last_boot=self._began if self._setup.mode is Mode.FOREGROUND else host.boot_time(),
            state=self._setup.paths.state,
            zone=self._inputs.zones.machine.name,
            zone_data=f"{self._inputs.zones.origin} {self._inputs.zones.version}",
            daemon_pid=os.getpid(),
            runner_pid=self._link.pid,
            no_mail=self._inputs.no_mail,
            config_file=self._setup.configuration.path,
            config_state=partial(self._setup.configuration.look, self._inputs.zones.exists),
            other_crons=self._inputs.other_crons.problems,
            cluster=self._cluster.row(),
        )
