"""The daemon: waits for the next fire time or an event, asks the engine, does what it says.

One turn of the loop: wait; take what came (signals, the runner, clients, inotify); tick; then
perform all actions of the turn in order: record them in one transaction, start, log, acknowledge.
"""

import math
import os
import selectors
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile

from pycron import __version__
from pycron.config import Config
from pycron.control.access import Access
from pycron.control.operations import Operations
from pycron.control.server import ControlServer, Peer
from pycron.control.service import Service
from pycron.control.user_tables import UserTableRequests, UserTables
from pycron.crontab.reader import ReaderContext
from pycron.daemon.recovery import Recovery
from pycron.engine.actions import Action, Go, Log, Record, RunnerAction
from pycron.engine.engine import Engine
from pycron.engine.events import InputEvent, Now, Pressure, StopStarting, Tick, ZonesChanged
from pycron.engine.log_events import Event
from pycron.engine.runs import HEAD
from pycron.engine.timetable import starting_cursor, starting_gaps
from pycron.executor.commands import Commands
from pycron.executor.link import RunnerLink
from pycron.protocol.framing import Message
from pycron.storage.housekeeping import Housekeeping
from pycron.storage.recorder import Recorder
from pycron.storage.store import Store
from pycron.system.accounts import Account, Accounts
from pycron.system.inotify import DirectoryWatch
from pycron.system.paths import Paths
from pycron.system.sd_notify import notify
from pycron.system.zone_data import ZoneData
from pycron.tables.directories import TableDirectories, TableLocation
from pycron.tables.loaded import Tables

_MINUTE = 60
_LOOK_AHEAD = 2.0  # seconds before the end of a minute
_GIVING_WAY = 0.005  # seconds in which what was let go has the processors to itself
_KILL_AFTER = 10.0  # seconds from TERM to KILL when a foreground daemon is told to end
_ZONES_CHECKED = 3600.0  # seconds
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_FORWARDED_BY_INIT = (signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Mode(StrEnum):
    SYSTEM = "system"
    USER = "user"
    FOREGROUND = "foreground"


@dataclass(frozen=True, slots=True)
class Setup:
    """What a daemon is started with. `host` is what `~` and `H` depend on."""

    mode: Mode
    paths: Paths
    tables: list[TableLocation]
    user_tables: UserTables | None
    config: Config
    account: Account
    host: str


class Daemon:
    """One daemon, in one of its three modes."""

    def __init__(self, setup: Setup, log: Callable[[Log], None]) -> None:
        """Raises StoreTooNew, or OSError when a socket or a watch can't be had."""
        self._setup = setup
        self._log = log
        self._selector = selectors.DefaultSelector()
        self._accounts = Accounts(setup.account)
        self._zones = ZoneData()
        self._zones_checked = time.monotonic()
        self._store = Store(setup.paths.database, may_wait=True)
        with suppress(OSError):  # what is printed can't be kept, then
            setup.paths.output.mkdir(exist_ok=True)
        self._began = self._last_wall = time.time()
        self._engine = self._new_engine(int(self._began))
        self._actions: list[Action] = []  # to be performed at the end of this turn of the loop
        self._stop_signals = 0
        self._kill_at: float | None = None
        self._next_look = 0.0
        self._next_tidying = math.inf
        self._commands = Commands(
            self._engine,
            self._store,
            self._accounts,
            setup.account,
            setup.paths,
            setup.config,
            shown=setup.mode is Mode.FOREGROUND,
            send=self._send,
            feed=self._feed,
            act=self._act,
        )
        self._recovery = Recovery(
            self._engine,
            self._store,
            self._commands,
            setup.paths.booted,
            self._feed,
            self._began,
            always_boots=setup.mode is Mode.FOREGROUND,
        )
        self._runner = RunnerLink(
            setup.paths, self._selector, self._commands.met, self._commands.heard, self._log
        )
        self._recorder = Recorder(
            self._store,
            lambda ended: self._runner.acknowledge([str(attempt) for attempt in ended]),
            self._recovery.resume_late,
            self._log,
        )
        self._housekeeping = Housekeeping(
            self._store,
            setup.paths.output,
            self._recorder,
            setup.config,
            self._engine.is_alive,
            self._log,
        )
        self._tables = Tables(
            TableDirectories(setup.tables, setup.config.table_bytes, setup.config.tables),
            self._accounts,
            self._reader_context,
            self._feed,
            log,
        )
        self._watch = DirectoryWatch({location.watched for location in setup.tables})
        self._server = self._serve()

    def _new_engine(self, now: int) -> Engine:
        """An engine that takes up where the last daemon stopped."""
        record = self._store.cursor()
        cursor = starting_cursor(record, now)
        config = self._setup.config
        return Engine(
            self._zones.zone,
            cursor,
            starting_gaps(record, now),
            self._setup.host,
            config.limits,
            config.gates,
            self._store.pauses(),
            self._store.done_after(min(cursor.fixed, cursor.wall)),
        )

    # ---- the loop

    def run(self) -> None:
        """Until a signal ends it. Raises NoRunner."""
        self._catch_signals()
        self._selector.register(self._watch, selectors.EVENT_READ, self._tables_changed)
        self._say_started()
        self._tables.rescan()
        self._recovery.resume()
        self._runner.meet()
        self._recovery.boot()
        self._perform()
        notify("READY=1")
        while not self._finished():
            for key, events in self._selector.select(self._patience()):
                key.data(events)
                if time.time() >= self._next_wakeup():
                    break  # what is due comes first; the others are still there next time
            self._act_on_time()
            self._perform()
            if time.time() >= self._next_wakeup():  # after the word for what was held, the rest
                self._act_on_time()
                self._perform()
            self._keep_house()
            self._perform()
        self._stop()

    def _feed(self, event: InputEvent) -> list[Action]:
        actions = self._engine.handle(event, Now(time.time(), time.monotonic()))
        self._act(actions)
        return actions

    def _act(self, actions: list[Action]) -> None:
        self._actions += actions

    def _send(self, messages: list[Message]) -> None:
        self._runner.send(messages)

    def _next_wakeup(self) -> float:
        """When the engine has something to do."""
        wakeup = self._engine.next_wakeup()
        return math.inf if wakeup is None else wakeup

    def _next_tick(self) -> float:
        """The same, or when it is time to keep house."""
        return min(self._next_wakeup(), self._next_look, self._next_tidying)

    def _patience(self) -> float:
        """How long to wait for something to happen, in seconds."""
        until = self._next_tick() - time.time()
        if self._kill_at is not None:
            until = min(until, self._kill_at - time.monotonic())
        return max(0.0, min(until, _MINUTE))

    def _act_on_time(self) -> None:
        """Do what is due; with nothing due, the store is to know that."""
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = None
            self._signal_all(signal.SIGKILL)
        wall = time.time()
        set_back = wall < self._last_wall - 1
        self._last_wall = wall
        if set_back:
            self._next_look = wall
        if wall >= self._next_tick():
            self._feel_pressure()
            self._feed(Tick())

    def _feel_pressure(self) -> None:
        """What the gates depend on, where there are any."""
        config = self._setup.config
        if config.load is None and config.free_memory is None:
            return
        import psutil  # 15 ms and 3 MB, and only a few ask for it

        load, _, _ = os.getloadavg()
        self._feed(Pressure(load, psutil.virtual_memory().available))

    def _keep_house(self) -> None:
        """Once a minute: before it ends, what the next one depends on; the rest when there is time.

        That is at once, unless something is due in a moment: then after the starts.
        """
        wall = self._last_wall
        if wall >= self._next_look:
            self._look_around()
            boundary = wall - (wall + _LOOK_AHEAD) % _MINUTE + _LOOK_AHEAD  # in a moment, or past
            self._next_tidying = boundary if self._next_wakeup() < boundary else wall
            self._next_look = boundary + _MINUTE - _LOOK_AHEAD
        if wall >= self._next_tidying:
            self._tidy()
            self._next_tidying = math.inf

    def _look_around(self) -> None:
        """What nobody tells us of, and a fire time may depend on."""
        self._watch.renew()
        self._tables.rescan()
        self._commands.settle()

    def _tidy(self) -> None:
        """What nobody waits for."""
        self._server.drop_idle()
        self._housekeeping.prune()
        if time.monotonic() - self._zones_checked > _ZONES_CHECKED:
            self._check_zones()

    def _finished(self) -> bool:
        if not self._stop_signals:
            return False
        return self._setup.mode is not Mode.FOREGROUND or self._engine.idle

    def _stop(self) -> None:
        """Commands that still run are left to the runner."""
        notify("STOPPING=1")
        self._server.close()
        self._recorder.write([])  # what could not be written so far has a last chance
        self._runner.close(leave=self._setup.mode is Mode.FOREGROUND)
        self._store.close()
        self._log(Log(Event.DAEMON_STOPPED, {"running": len(self._engine.running)}))

    def _say_started(self) -> None:
        fields = {
            "version": __version__,
            "mode": self._setup.mode.value,
            "pid": os.getpid(),
            "zone": self._zones.machine.name,
            "zone_data": self._zones.origin,
            "state": str(self._setup.paths.state),
        }
        self._log(Log(Event.DAEMON_STARTED, fields))

    # ---- actions

    def _perform(self) -> None:
        """Record, then start, then tell: the order is what makes a crash harmless."""
        while self._actions:
            actions, self._actions = self._actions, []
            on_record = list(takewhile(lambda action: isinstance(action, RunnerAction), actions))
            self._order_first([action for action in on_record if isinstance(action, RunnerAction)])
            rest = actions[len(on_record) :]
            records = [action for action in rest if isinstance(action, Record)]
            self._recorder.write(records)
            if self._recorder.behind:
                self._recovery.remember_boot(records)
            self._commands.order([action for action in rest if isinstance(action, RunnerAction)])
            for action in rest:
                if isinstance(action, Log):
                    self._log(action)
        self._recorder.acknowledge(self._commands.take_ended())

    def _order_first(self, orders: list[RunnerAction]) -> None:
        """What is on record already: the word for what is held, which then has its moment."""
        times = [order.until for order in orders if isinstance(order, Go)]
        if times and not self._runner.waits_itself:
            time.sleep(_left_until(times[0]))
        self._commands.order(orders)
        if times:
            time.sleep(_left_until(times[0]) + _GIVING_WAY)

    # ---- signals

    def _catch_signals(self) -> None:
        receiver, sender = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
        caught = _SIGNALS + (_FORWARDED_BY_INIT if os.getpid() == 1 else ())
        for number in caught:
            signal.signal(number, lambda *_: None)

        def read(_events: int) -> None:
            for number in os.read(receiver, 4096):
                self._signalled(signal.Signals(number))

        self._selector.register(receiver, selectors.EVENT_READ, read)

    def _signalled(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT:
                self._told_to_stop(number)
            case signal.SIGHUP:
                self._reload()
            case signal.SIGCHLD if os.getpid() == 1:
                _reap_orphans()
            case signal.SIGCHLD:
                self._runner.reap()
            case _:
                self._signal_all(number)

    def _told_to_stop(self, number: signal.Signals) -> None:
        """In the foreground the first signal waits for what runs, the second ends it."""
        self._stop_signals += 1
        self._feed(StopStarting())
        fields = {"signal": number.name, "running": len(self._engine.running)}
        self._log(Log(Event.DAEMON_STOPPING, fields))
        if self._setup.mode is not Mode.FOREGROUND:
            return
        if self._stop_signals == 1 and os.getpid() == 1:
            self._signal_all(number)  # a container's init hands the signal on
        elif self._stop_signals == 2:
            self._kill_at = time.monotonic() + _KILL_AFTER
            self._signal_all(signal.SIGTERM)
        elif self._stop_signals > 2:
            self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: signal.Signals) -> None:
        running = [str(running.attempt) for running in self._engine.running]
        if running:
            fields = {"signal": number.name, "running": len(running)}
            self._log(Log(Event.COMMANDS_SIGNALLED, fields))
            self._runner.signal(running, number)

    def _reload(self) -> None:
        """SIGHUP: everything anew, whether it looks changed or not."""
        notify("RELOADING=1")
        self._accounts.forget()
        self._check_zones()
        self._tables.rescan(again=True)
        self._log(Log(Event.RELOADED, {"tables": self._tables.count()}))
        notify("READY=1")

    # ---- tables and zones

    def _tables_changed(self, _events: int) -> None:
        self._watch.drain()
        self._tables.rescan()

    def _check_zones(self) -> None:
        self._zones_checked = time.monotonic()
        if not self._zones.stale():
            return
        self._zones.reload()
        self._feed(ZonesChanged())
        fields = {
            "zone": self._zones.machine.name,
            "zone_data": self._zones.origin,
            "release": self._zones.version,
        }
        self._log(Log(Event.ZONES_RELOADED, fields))

    def _reader_context(self) -> ReaderContext:
        return ReaderContext(
            host=self._setup.host,
            zone_exists=self._zones.exists,
            most_entries=self._setup.config.table_entries,
            pools=self._setup.config.pools,
            defaults=self._setup.config.defaults,
            ceilings=self._setup.config.ceilings,
        )

    # ---- the control socket

    def _serve(self) -> ControlServer:
        config = self._setup.config
        access = Access(config.operators, self._log)
        user_tables = UserTableRequests(
            self._setup.user_tables, access, self._tables, config, self._reader_context, self._log
        )
        operations = Operations(
            self._engine, self._store, config, access, self._feed, lambda: self._recorder.behind
        )
        service = Service(
            engine=self._engine,
            store=self._store,
            tables=self._tables,
            config=config,
            where=self._setup.paths,
            access=access,
            user_tables=user_tables,
            operations=operations,
            about=self._about,
        )
        return ControlServer(
            self._setup.paths.socket,
            0o666 if self._setup.mode is Mode.SYSTEM else 0o600,
            self._selector,
            lambda peer, request: self._answer(service, peer, request),
            config.clients,
            most_bytes=2 * config.user_table_bytes + 65_536,
            broken=lambda text: self._log(Log(Event.REQUEST_BROKEN, {"reason": text}, bad=True)),
        )

    def _answer(self, service: Service, peer: Peer, request: Message) -> Message:
        """What was said to have been done is on record by then."""
        answer = service.answer(peer, request)
        self._perform()
        return answer

    def _about(self) -> Message:
        """What only the daemon knows of itself, for `pycron status`."""
        return {
            "version": __version__,
            "mode": self._setup.mode.value,
            "since": self._began,
            "state": str(self._setup.paths.state),
            "zone": self._zones.machine.name,
            "zone_data": f"{self._zones.origin} {self._zones.version}",
            "pids": {"daemon": os.getpid(), "runner": self._runner.pid},
            "store_failure": self._recorder.failure,
            "unwritten": self._recorder.unwritten,
        }


def _left_until(instant: float) -> float:
    """Seconds until a time that is a moment away, as it was before the clock was set, maybe."""
    return min(max(0.0, instant - time.time()), HEAD)


def _reap_orphans() -> None:
    """As PID 1 of a container: whoever has lost its parent is this process's child."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
