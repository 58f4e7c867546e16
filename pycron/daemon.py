"""The daemon: waits for the next fire time or an event, asks the engine, does what it says.

One turn of the loop: wait; take what came (signals, the runner, clients, inotify); tick; then
perform all actions of the turn in order: record them in one transaction, start, log, acknowledge.
"""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from pycron import __version__, host
from pycron.accounts import Account, Accounts
from pycron.config import Config
from pycron.control import ControlServer
from pycron.crontab import Judge
from pycron.engine import (
    Action,
    Booted,
    Ended,
    Engine,
    InputEvent,
    Log,
    Lost,
    Now,
    Record,
    RecordRunner,
    Refused,
    Resumed,
    Start,
    Started,
    StopStarting,
    Tick,
    ZonesChanged,
)
from pycron.events import Event
from pycron.model import AttemptKey, Ending, Job, Source
from pycron.notify import notify
from pycron.output import OutputFollower
from pycron.places import Places
from pycron.runner_client import (
    RunnerClient,
    RunnerGone,
    find_runner,
    output_path,
    start_message,
    start_runner,
)
from pycron.schedule import Reboot
from pycron.service import Service, UserTables
from pycron.settings import intern
from pycron.spool import Place, Spool
from pycron.store import Store, StoreError, Unfinished
from pycron.tables import Tables
from pycron.timetable import starting_cursor
from pycron.watch import Watch
from pycron.wire import Message
from pycron.zonedata import ZoneData

_MINUTE = 60
_LOOK_AHEAD = 2.0  # seconds before the minute ends
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
    places: Places
    tables: list[Place]
    user_tables: UserTables | None
    config: Config
    account: Account
    host: str


class Startup(Exception):
    """The daemon can't start: why."""


@dataclass(slots=True)
class _Following:
    """A command whose output a foreground daemon prints."""

    job: Job
    output: OutputFollower


@dataclass(slots=True)
class _Turn:
    """What is to be performed at the end of this turn of the loop."""

    actions: list[Action] = field(default_factory=list)
    acknowledge: list[str] = field(default_factory=list)


class Daemon:
    """One daemon, in one of its three modes."""

    def __init__(self, setup: Setup, log: Callable[[Log], None]) -> None:
        """Raises Startup or StoreError."""
        self._setup = setup
        self._log = log
        self._selector = selectors.DefaultSelector()
        self._accounts = Accounts()
        self._zones = ZoneData()
        self._zones_checked = time.monotonic()
        self._store = Store(setup.places.database)
        self._began = time.time()
        cursor = starting_cursor(self._store.cursor(), int(self._began))
        self._engine = Engine(self._zones.zone, cursor)
        self._turn = _Turn()
        self._unwritten: list[Record] = []
        self._following: dict[str, _Following] = {}
        self._stop_signals = 0
        self._kill_at: float | None = None
        self._next_tick = 0.0
        self._next_look = _next_minute(self._began) - _LOOK_AHEAD
        self._last_wall = self._began
        self._runner: RunnerClient | None = None
        self._runner_process: subprocess.Popen[bytes] | None = None
        self._tables = Tables(
            Spool(setup.tables, setup.config.table_bytes),
            self._accounts,
            self._judge,
            self._feed,
            log,
        )
        self._watch = Watch({place.path if place.directory else place.path.parent
                             for place in setup.tables})  # fmt: skip
        self._server = self._serve()

    # ---- the loop

    def run(self) -> None:
        """Until a signal ends it."""
        self._catch_signals()
        self._selector.register(self._watch, selectors.EVENT_READ, self._tables_changed)
        self._log(Log(Event.DAEMON_STARTED, {
            "version": __version__, "mode": self._setup.mode.value, "pid": os.getpid(),
            "zone": self._zones.machine.name, "zone_data": self._zones.origin,
            "state": str(self._setup.places.state)}))  # fmt: skip
        self._tables.rescan()
        self._resume()
        self._meet_runner()
        self._boot()
        self._perform()
        notify("READY=1")
        while not self._finished():
            for key, events in self._selector.select(self._patience()):
                key.data(events)
            self._tick()
            self._perform()
        self._stop()

    def _now(self) -> Now:
        return Now(time.time(), time.monotonic())

    def _feed(self, event: InputEvent) -> None:
        self._turn.actions += self._engine.handle(event, self._now())

    def _patience(self) -> float:
        """How long to wait for something to happen: to the next fire time or minute."""
        until = min(self._next_tick, self._next_look) - time.time()
        if self._kill_at is not None:
            until = min(until, self._kill_at - time.monotonic())
        return max(0.0, min(until, _MINUTE))

    def _tick(self) -> None:
        """Ask the engine what is due, when something can be; look at the tables each minute."""
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = None
            self._signal_all(signal.SIGKILL)
        wall = time.time()
        set_back = wall < self._last_wall - 1
        self._last_wall = wall
        if wall >= self._next_look or set_back:
            self._look_around()
            self._next_look = _next_minute(wall + _LOOK_AHEAD) - _LOOK_AHEAD
        if wall >= self._next_tick or set_back:
            self._feed(Tick())
            wakeup = self._engine.next_wakeup()
            next_minute = _next_minute(wall)
            self._next_tick = next_minute if wakeup is None else min(next_minute, wakeup)

    def _look_around(self) -> None:
        """Once a minute, before it ends: what nobody tells us of, out of the way of the starts."""
        self._server.drop_idle()
        self._watch.renew()
        self._tables.rescan()
        if time.monotonic() - self._zones_checked > _ZONES_CHECKED:
            self._check_zones()

    def _finished(self) -> bool:
        if not self._stop_signals:
            return False
        return self._setup.mode is not Mode.FOREGROUND or self._engine.idle

    def _stop(self) -> None:
        notify("STOPPING=1")
        self._server.close()
        if self._runner and self._setup.mode is Mode.FOREGROUND:
            self._runner.send([{"type": "leave"}])
        if self._runner:
            self._runner.close()
        self._store.close()
        self._log(Log(Event.DAEMON_STOPPED, {"running": len(self._engine.running)}))

    # ---- actions

    def _perform(self) -> None:
        """Record, then start, then tell: the order is what makes a crash harmless."""
        while self._turn.actions or self._turn.acknowledge:
            turn, self._turn = self._turn, _Turn()
            actions = turn.actions
            written = self._write([action for action in actions if isinstance(action, Record)])
            self._start([action for action in actions if isinstance(action, Start)])
            for action in actions:
                if isinstance(action, Log):
                    self._log(action)
            if turn.acknowledge and written and self._runner:
                self._runner.send([{"type": "ack", "ids": turn.acknowledge}])

    def _write(self, records: list[Record]) -> bool:
        """Into the store; what can't be written now is tried again with what comes next."""
        failed_before = bool(self._unwritten)
        self._unwritten += records
        try:
            self._store.write(self._unwritten)
        except StoreError as error:
            if not failed_before:
                self._log(Log(Event.STORE_FAILED, {"reason": str(error)}, bad=True))
            return False
        self._unwritten.clear()
        if failed_before:
            self._log(Log(Event.STORE_RECOVERED, {}))
        return True

    def _start(self, starts: list[Start]) -> None:
        messages: list[Message] = []
        for start in starts:
            account = self._accounts.find(start.job.user)
            if account is None:
                self._feed(Refused(start.attempt, f"no such user: {start.job.user}"))
            elif not self._may_become(account):
                reason = f"only root can run commands as {account.name}"
                self._feed(Refused(start.attempt, reason))
            else:
                messages.append(self._order(start, account))
        if messages and self._runner:
            self._runner.send(messages)

    def _may_become(self, account: Account) -> bool:
        return self._setup.account.uid in (0, account.uid)

    def _order(self, start: Start, account: Account) -> Message:
        path = output_path(self._setup.places, start.attempt)
        shown = self._setup.mode is Mode.FOREGROUND
        if shown:
            self._following[str(start.attempt)] = _Following(start.job, OutputFollower(path))
        return start_message(
            start.attempt,
            start.job,
            account,
            become=self._setup.account.uid == 0,
            output=path,
            output_limit=self._setup.config.output_bytes,
            report_output=shown,
        )

    # ---- the runner

    def _meet_runner(self) -> None:
        """Find the runner or start one, and compare what each side knows."""
        places = self._setup.places
        self._runner = find_runner(places, self._selector)
        if self._runner is None:
            try:
                self._runner, self._runner_process = start_runner(places, self._selector)
            except (OSError, RunnerGone) as error:
                raise Startup(f"the runner does not start ({places.runner_log}): {error}") from None
            self._log(Log(Event.RUNNER_STARTED, {"pid": self._runner_process.pid}))
        else:
            known = len(self._runner.known)
            self._log(Log(Event.RUNNER_FOUND, {"attempts": known}))
        self._selector.register(self._runner, selectors.EVENT_READ, self._runner_spoke)
        self._reconcile(self._runner)

    def _reconcile(self, runner: RunnerClient) -> None:
        """An Attempt that the same runner has never heard of was recorded, but not started.

        With another runner nobody can tell, and it is lost: a command never starts twice.
        """
        same = self._store.meta("runner") == runner.instance
        known = {message["id"] for message in runner.known}
        for running in self._engine.running:
            if str(running.attempt) in known:
                continue
            if same and running.pid is None:
                self._turn.actions += self._engine.start_again(running.attempt)
            else:
                reason = "the runner died; nobody knows how the command ended"
                self._feed(Lost(running.attempt, reason))
        self._turn.actions.append(RecordRunner(runner.instance))
        for message in runner.known:
            self._heard(message)

    def _runner_spoke(self, events: int) -> None:
        runner = self._runner
        assert runner is not None
        if events & selectors.EVENT_WRITE:
            runner.flush()
        if not events & selectors.EVENT_READ:
            return
        try:
            messages = runner.receive()
        except RunnerGone as error:
            self._log(Log(Event.RUNNER_LOST, {"reason": str(error)}, bad=True))
            self._selector.unregister(runner)
            runner.close()
            self._meet_runner()
            return
        for message in messages:
            self._heard(message)

    def _heard(self, message: Message) -> None:
        kind = message.get("type")
        if kind == "output":
            self._show_output(message["id"])
            return
        attempt = AttemptKey.parse(message["id"])
        if kind in ("started", "ended"):
            self._feed(Started(attempt, message["pid"], message["started"]))
        if kind in ("ended", "refused"):
            self._show_output(message["id"], ended=True)
        if kind == "ended":
            self._feed(Ended(attempt, ending_of(message)))
        elif kind == "refused":
            self._feed(Refused(attempt, message["reason"]))
        if kind in ("ended", "refused"):
            self._turn.acknowledge.append(message["id"])

    def _show_output(self, attempt: str, ended: bool = False) -> None:
        following = self._following.get(attempt)
        if following is None:
            return
        for line in following.output.lines(ended):
            fields = {"job": following.job.name, "run_id": attempt.rpartition(".")[0], "line": line}
            self._turn.actions.append(Log(Event.OUTPUT, fields))
        if ended:
            del self._following[attempt]

    # ---- after a restart

    def _resume(self) -> None:
        """Take up the Attempts that an earlier daemon left behind."""
        jobs = {job.id: job for job in self._engine.jobs()}
        for left in self._store.unfinished():
            job = jobs.get(left.job_id) or _job_of(left)
            self._feed(Resumed(left.attempt, job, left.pid, left.started))

    def _boot(self) -> None:
        """@reboot: once a boot; in the foreground, where the daemon is the machine, each start."""
        boot_id = host.boot_id()
        if self._setup.mode is Mode.FOREGROUND or self._store.meta("boot_id") != boot_id:
            self._feed(Booted(boot_id))

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
            case signal.SIGCHLD:
                self._reap()
            case _:
                self._signal_all(number)

    def _told_to_stop(self, number: signal.Signals) -> None:
        self._stop_signals += 1
        self._feed(StopStarting())
        fields = {"signal": number.name, "running": len(self._engine.running)}
        self._log(Log(Event.DAEMON_STOPPING, fields))
        if self._setup.mode is not Mode.FOREGROUND:
            return
        if self._stop_signals == 2:
            self._kill_at = time.monotonic() + _KILL_AFTER
            self._signal_all(signal.SIGTERM)
        elif self._stop_signals > 2:
            self._signal_all(signal.SIGKILL)
        elif os.getpid() == 1:
            self._signal_all(number)  # a container's init hands the signal on

    def _signal_all(self, number: signal.Signals) -> None:
        running = [str(running.attempt) for running in self._engine.running]
        if running and self._runner:
            fields = {"signal": number.name, "running": len(running)}
            self._log(Log(Event.RUNNING_COMMANDS_SIGNALLED, fields))
            self._runner.send(
                {"type": "signal", "id": attempt, "signal": int(number)} for attempt in running
            )

    def _reap(self) -> None:
        """The runner, when it is a child of this daemon; as PID 1, every orphan."""
        if os.getpid() != 1:
            if self._runner_process:
                self._runner_process.poll()
            return
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return

    def _reload(self) -> None:
        """SIGHUP: everything anew, whether it looks changed or not."""
        notify("RELOADING=1")
        self._accounts.forget()
        self._check_zones()
        self._tables.rescan(again=True)
        self._log(Log(Event.RELOADED, {"tables": self._tables.tables()}))
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
        fields = {"zone": self._zones.machine.name, "zone_data": self._zones.origin,
                  "release": self._zones.version}  # fmt: skip
        self._log(Log(Event.ZONES_RELOADED, fields))

    def _judge(self) -> Judge:
        return Judge(
            host=self._setup.host,
            zone_exists=self._zones.exists,
            most_entries=self._setup.config.table_entries,
        )

    # ---- the control socket

    def _serve(self) -> ControlServer:
        service = Service(
            engine=self._engine,
            store=self._store,
            reader=self._tables,
            config=self._setup.config,
            where=self._setup.places,
            user_tables=self._setup.user_tables,
            judge=self._judge,
            status=self._status,
            log=self._log,
        )
        return ControlServer(
            self._setup.places.socket,
            0o666 if self._setup.mode is Mode.SYSTEM else 0o600,
            self._selector,
            service.answer,
            self._setup.config.clients,
            most_bytes=2 * self._setup.config.user_table_bytes + 65_536,
        )

    def _status(self) -> Message:
        """Figures of the daemon itself; memory and CPU of both processes as psutil sees them."""
        import psutil  # 15 ms, and only this asks for it

        runner_pid = int(self._runner.instance.partition("-")[0]) if self._runner else None
        processes = {}
        for name, pid in (("daemon", os.getpid()), ("runner", runner_pid)):
            process = psutil.Process(pid)
            times = process.cpu_times()
            processes[name] = {
                "pid": pid,
                "memory_bytes": process.memory_info().rss,
                "cpu_seconds": round(times.user + times.system, 2),
            }
        return {
            "version": __version__,
            "mode": self._setup.mode.value,
            "since": self._began,
            "state": str(self._setup.places.state),
            "zone": self._zones.machine.name,
            "zone_data": f"{self._zones.origin} {self._zones.version}",
            "next_fire_time": self._engine.next_wakeup(),
            "runs": self._store.count_runs(),
            "processes": processes,
        }


def _next_minute(instant: float) -> float:
    return instant - instant % _MINUTE + _MINUTE


def ending_of(message: Message) -> Ending:
    """The Ending in a runner's message."""
    return Ending(
        ended=message["ended"],
        exit_status=message["exit_status"],
        signal=message["signal"],
        cpu_seconds=message["cpu_seconds"],
        memory_peak=message["memory_peak"],
        output_bytes=message["output_bytes"],
        error=message["error"],
    )


def _job_of(left: Unfinished) -> Job:
    """What is known of a Job whose entry has gone since it was started."""
    return Job(
        id=left.job_id,
        name=left.name,
        source=Source(left.table, left.user),
        line=left.line,
        user=left.user,
        schedule=Reboot(),
        command=left.command,
        stdin=None,
        environment=(),
        settings=intern(frozenset()),
    )
