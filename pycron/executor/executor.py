"""Carries out the engine's actions through the runner, and feeds its messages to the engine."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pycron.config import Config
from pycron.engine.actions import LogEntry, Release, RunnerAction, Start, Stop, Withdraw
from pycron.engine.attempts import LONGEST_RELEASE_AHEAD, RELEASE_AHEAD
from pycron.engine.engine import Engine
from pycron.engine.events import Ended, InputEvent, Lost, NeverStarted, Refused, RunnerMet, Started
from pycron.engine.states import State
from pycron.executor.environments import Passed
from pycron.executor.known_shells import KnownShells
from pycron.executor.link import RunnerLink
from pycron.executor.messages import ending_of, session_request, start_message
from pycron.executor.output_lines import OutputLines
from pycron.model.run import AttemptKey, Cause, RunKey
from pycron.ports import CannotDeliver, Deliverer, Program, RecordedState
from pycron.protocol.runner_messages import (
    WINDOW,
    AttemptMessage,
    DaemonMessage,
    LeaseRequest,
    OutputMessage,
    RunnerHello,
    RunnerMessage,
    SessionRequest,
)
from pycron.system.accounts import Account, Accounts
from pycron.system.output_names import output_name

_AT_ONCE = 100  # actions that are turned into messages at a time, to save memory
_OLD_RUNNER = (
    "the runner is of a version without PAM (pam.service); "
    "when its commands have ended, restart pycrond"
)
_NO_LEASES = (
    "the runner is of a version without shared Jobs; when its commands have ended, restart pycrond"
)
_TAKEN_AT_ONCE = WINDOW // 8  # bytes of output, for which one message to the runner is enough
_GIVING_WAY = 0.005  # seconds in which released Attempts have the processors to themselves


class _CannotStart(Exception):
    """Why the runner is not asked to start an Attempt."""


@dataclass(frozen=True, slots=True)
class ExecutorOptions:
    """How commands are run.

    `own`: the daemon's account; only root can run commands as other users. `output`: the directory
    of the output files. `config`: their length, the processes of an Attempt, and PAM.
    `longest_line`: the daemon shows what commands print, line by line, and longer lines in pieces
    of so many bytes; None if it does not show them. `deliverer`: knows the programs that send
    deliveries, and the messages of CRON_SEND. `passed`: what commands get of what the daemon was
    started with. `lease`: the file that says how long shared Attempts may run.
    """

    accounts: Accounts
    own: Account
    output: Path
    config: Callable[[], Config]
    longest_line: int | None
    deliverer: Deliverer
    passed: Passed
    lease: Path

    @property
    def shown(self) -> bool:
        """Whether the daemon shows what commands print."""
        return self.longest_line is not None


class RunnerExecutor:
    """Turns actions into messages to the runner, and the runner's messages into events.

    `recorded`: what an earlier daemon recorded. `feed` hands an event to the engine, `say` takes
    entries of the log, which are written after what the engine has decided so far.
    """

    def __init__(
        self,
        engine: Engine,
        recorded: RecordedState,
        link: RunnerLink,
        options: ExecutorOptions,
        feed: Callable[[InputEvent], object],
        say: Callable[[LogEntry], None],
    ) -> None:
        self._engine = engine
        self._recorded = recorded
        self._link = link
        self._options = options
        self._feed = feed
        self._say = say
        self._shells = KnownShells()
        self._output = OutputLines(options.longest_line or 0)
        self._untaken = 0  # bytes of output that the runner does not know to be taken
        self._ended: list[AttemptKey] = []
        # The last message about each Attempt that the runner knows and the engine does not (yet).
        self._unexpected: dict[str, AttemptMessage] = {}
        self._unfinished: set[RunKey] = set()  # Runs that an earlier daemon left
        link.listen(self)

    def note_unfinished(self, runs: Iterable[RunKey]) -> None:
        """Note Runs that an earlier daemon left unfinished; the runner may know their Attempts."""
        self._unfinished.update(runs)

    # ---- actions

    def perform(self, actions: Sequence[RunnerAction]) -> None:
        """Tell the runner, in this order; an Attempt that cannot be started is refused."""
        for at in range(0, len(actions), _AT_ONCE):
            part = actions[at : at + _AT_ONCE]
            messages = [message for action in part if (message := self._message(action))]
            if messages:
                self._link.send(messages)

    def release(self, released: Sequence[Release]) -> None:
        """Release held Attempts, and leave them the processors for a moment, if it comes now.

        The runner waits for the fire time; a runner of protocol 1 starts them at once.
        """
        if not released:
            return
        if not self._link.waits_itself:
            time.sleep(_left_until(released[0].until))
        self.perform(released)
        left = _left_until(released[0].until)
        if left <= RELEASE_AHEAD:
            time.sleep(left + _GIVING_WAY)

    def take_ended(self) -> list[AttemptKey]:
        """The Attempts whose end was reported since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def _message(self, action: RunnerAction) -> DaemonMessage | None:
        match action:
            case Start():
                return self._start_message(action)
            case Release():
                return {"type": "go", "until": action.until}
            case Withdraw():
                self._output.forget(action.attempt)
                return {"type": "drop", "id": str(action.attempt)}
            case Stop():
                return {
                    "type": "end",
                    "id": str(action.attempt),
                    "cause": Cause.CANCELLED.value,
                    "reason": action.reason,
                    "kill_after": action.kill_after,
                }

    def _start_message(self, start: Start) -> DaemonMessage | None:
        """None if an earlier daemon has started the Attempt, or if it is refused."""
        if known := self._unexpected.pop(str(start.attempt), None):
            self._report(known)
            return None
        try:
            program = self._program(start)
            account = self._account(program.account if program else start.job.user)
            session = None if program else self._session(account)
            lease = self._lease(start)
        except (CannotDeliver, _CannotStart) as error:
            self._feed(Refused(start.attempt, str(error)))
            return None
        options, config, own = self._options, self._options.config(), self._options.own.uid
        # A Path would intern its parts, and Python's table of interned strings never shrinks.
        output = f"{options.output}/{output_name(start.attempt)}"
        shown = options.shown and not start.job.is_message
        if shown:
            self._output.follow(start.attempt, start.job.name)
        return start_message(
            start.attempt,
            start.job,
            account,
            become=own == 0 and (account.uid != own or not options.shown),
            output=output,
            output_limit=config.output_bytes,
            report_output=shown,
            processes_max=config.processes,
            hold=start.attempt.run.fire_time if start.hold else None,
            passed=options.passed,
            program=program,
            session=session,
            lease=lease,
            shells=self._shells if config.direct and program is None else None,
        )

    def _lease(self, start: Start) -> LeaseRequest | None:
        """What the runner is to look at before and while it runs the command of a shared Run.

        Raises _CannotStart.
        """
        if start.incarnation is None:
            return None
        if not self._link.knows_leases:
            raise _CannotStart(_NO_LEASES)
        return {"file": str(self._options.lease), "incarnation": start.incarnation}

    def _account(self, name: str) -> Account:
        """The account that runs a program. Raises _CannotStart."""
        account = self._options.accounts.find(name)
        if account is None:
            raise _CannotStart(f"no such user: {name}")
        if self._options.own.uid not in (0, account.uid):
            raise _CannotStart(f"only root can run commands as {account.name}")
        return account

    def _session(self, account: Account) -> SessionRequest | None:
        """The PAM session of a command, if there is to be one. Raises _CannotStart."""
        config = self._options.config()
        service = config.pam_service
        if service is None:
            return None
        if not self._link.opens_sessions:
            raise _CannotStart(_OLD_RUNNER)
        return session_request(service, account, config.pam_timeout)

    def _program(self, start: Start) -> Program | None:
        """The program of pycron that sends something; None for a command. Raises CannotDeliver."""
        if not start.job.is_message and start.job.settings.send is None:
            return None
        return self._options.deliverer.program(start.attempt.run, start.job)

    # ---- messages of the runner

    def met(self, hello: RunnerHello) -> None:
        """Compare the recorded Attempts with those that the runner knows."""
        known = hello["attempts"]
        self._give_up_unknown(hello["instance"], {message["id"] for message in known})
        self._feed(RunnerMet(hello["instance"]))
        self._untaken = 0
        for running in self._engine.attempts:
            if self._options.shown and not running.job.is_message:
                self._output.follow(running.attempt, running.job.name)
        recorded = {str(running.attempt) for running in self._engine.attempts}
        for message in known:
            attempt = AttemptKey.parse(message["id"])
            if message["id"] not in recorded and self._may_be_started(attempt):
                self._unexpected[message["id"]] = message
            else:
                self._report(message)

    def _give_up_unknown(self, instance: str, known: set[str]) -> None:
        """Start again, or give up as lost, the recorded Attempts that the runner does not know.

        If the same runner process does not know an Attempt, it was recorded, but not started. With
        another runner process that is not known, and the Attempt is lost: no Attempt starts twice.
        """
        same = self._recorded.runner() == instance
        for running in self._engine.attempts:
            if str(running.attempt) in known:
                continue
            if running.state is State.HELD or (same and running.pid is None):
                self._feed(NeverStarted(running.attempt))
            else:
                self._output.forget(running.attempt)
                reason = "the runner died; nobody knows how the command ended"
                self._feed(Lost(running.attempt, reason))

    def _may_be_started(self, attempt: AttemptKey) -> bool:
        """Whether the engine may still decide to start an Attempt that is not recorded.

        Then an earlier daemon has started it, and was killed before it could record that. While the
        store cannot be read, every Attempt may be one of those.
        """
        if self._recorded.unread:
            return True
        cursor = self._recorded.cursor()
        ahead = cursor is not None and attempt.run.fire_time > min(cursor.fixed, cursor.wall)
        return ahead or attempt.run in self._unfinished

    def heard(self, message: RunnerMessage) -> None:
        """Take one message of the runner."""
        if message["type"] == "output":
            self._take_output(message)
        elif message["id"] in self._unexpected:
            self._unexpected[message["id"]] = message
        else:
            self._report(message)

    def _take_output(self, message: OutputMessage) -> None:
        data = message["data"].encode("latin-1")
        self._untaken += len(data)
        attempt = AttemptKey.parse(message["id"])
        for lines in self._output.printed(attempt, message["stream"], data):
            self._say(lines)

    def take_more_output(self) -> None:
        """The log has taken all output so far, so the runner may send more."""
        if self._untaken >= _TAKEN_AT_ONCE:
            self._link.send([{"type": "taken", "bytes": self._untaken}])
            self._untaken = 0

    def _report(self, message: AttemptMessage) -> None:
        """Turn a message into events."""
        attempt = AttemptKey.parse(message["id"])
        match message["type"]:
            case "started":
                self._feed(Started(attempt, message["pid"], message["started"]))
            case "ended":
                self._feed(Started(attempt, message["pid"], message["started"]))
                for lines in self._output.ended(attempt):
                    self._say(lines)
                self._feed(Ended(attempt, ending_of(message)))
                self._ended.append(attempt)
            case "refused":
                self._output.forget(attempt)
                cause = Cause(message["cause"]) if message["cause"] else None
                self._feed(Refused(attempt, message["reason"], cause, message["final"]))
                self._ended.append(attempt)
            case "lost":
                for lines in self._output.ended(attempt):
                    self._say(lines)
                self._output.forget(attempt)
                self._feed(Lost(attempt, message["reason"]))
                self._ended.append(attempt)

    # ---- Attempts that the engine does not know

    def settle(self) -> None:
        """Feed the engine the reports on Attempts that it has not decided to start by now."""
        if self._recorded.unread:
            return
        reports, self._unexpected = self._unexpected, {}
        for message in reports.values():
            self._report(message)

    def compare_late(self) -> None:
        """Compare again, when the store could be read at last after note_unfinished()."""
        for running in self._engine.attempts:
            unfinished = running.attempt.run in self._unfinished
            if unfinished and str(running.attempt) not in self._unexpected:
                reason = "the runner does not know it; nobody knows how the command ended"
                self._feed(Lost(running.attempt, reason))
        self.settle()


def _left_until(instant: float) -> float:
    """Seconds until a UTC second that comes in a moment, even if the clock is set meanwhile."""
    return min(max(0.0, instant - time.time()), LONGEST_RELEASE_AHEAD)
