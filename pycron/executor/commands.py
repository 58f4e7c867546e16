"""The daemon's side of commands: orders to the runner, and what the runner says of them."""

from collections.abc import Callable
from pathlib import Path

from pycron.config import Config
from pycron.engine.actions import Action, Drop, Go, RecordRunner, RunnerAction, Start, Stop
from pycron.engine.engine import Engine
from pycron.engine.events import Ended, InputEvent, Lost, Refused, Started
from pycron.engine.states import State
from pycron.executor.messages import ending_of, start_message
from pycron.executor.output_lines import OutputLines
from pycron.model.run import AttemptKey, Cause, RunKey
from pycron.ports import RecordedState
from pycron.protocol.framing import Message
from pycron.system.accounts import Account, Accounts
from pycron.system.paths import Paths, output_name

_AT_ONCE = 100  # orders that are put into words: more of them would only take memory


class Commands:
    """Turns orders into messages, and messages into events.

    `shown`: the daemon shows what commands print. `send`, `feed` and `act` take what goes to the
    runner, what the engine is to know, and what else is to be done.
    """

    def __init__(
        self,
        engine: Engine,
        store: RecordedState,
        accounts: Accounts,
        account: Account,
        paths: Paths,
        config: Config,
        *,
        shown: bool,
        send: Callable[[list[Message]], None],
        feed: Callable[[InputEvent], object],
        act: Callable[[list[Action]], None],
    ) -> None:
        self._engine = engine
        self._store = store
        self._accounts = accounts
        self._own_uid = account.uid
        self._outputs = str(paths.output)
        self._config = config
        self._shown = shown
        self._send = send
        self._feed = feed
        self._act = act
        self._output = OutputLines()
        self._ended: list[AttemptKey] = []
        self._told_early: dict[str, Message] = {}
        self.left_behind: set[RunKey] = set()  # Runs that an earlier daemon has not seen end

    def take_ended(self) -> list[AttemptKey]:
        """The Attempts that have ended since this was asked last."""
        ended, self._ended = self._ended, []
        return ended

    def order(self, orders: list[RunnerAction]) -> None:
        """Hand them to the runner; starts that can't be are refused."""
        for at in range(0, len(orders), _AT_ONCE):
            part = orders[at : at + _AT_ONCE]
            messages = [message for order in part if (message := self._message(order))]
            if messages:
                self._send(messages)

    def _message(self, order: RunnerAction) -> Message | None:
        match order:
            case Start():
                return self._start_message(order)
            case Go():
                return {"type": "go", "until": order.until}
            case Drop():
                return {"type": "drop", "id": str(order.attempt)}
            case Stop():
                return {
                    "type": "end",
                    "id": str(order.attempt),
                    "cause": Cause.CANCELLED.value,
                    "reason": order.reason,
                    "kill_after": order.kill_after,
                }

    def _start_message(self, start: Start) -> Message | None:
        if self._told_early and (told := self._told_early.pop(str(start.attempt), None)):
            self.heard(told)
            return None
        account = self._accounts.find(start.job.user)
        own = self._own_uid
        if account is None:
            self._feed(Refused(start.attempt, f"no such user: {start.job.user}"))
            return None
        if own not in (0, account.uid):
            self._feed(Refused(start.attempt, f"only root can run commands as {account.name}"))
            return None
        output = f"{self._outputs}/{output_name(start.attempt)}"
        if self._shown:
            self._output.follow(start.attempt, start.job, Path(output))
        return start_message(
            start.attempt,
            start.job,
            account,
            become=own == 0 and (account.uid != own or not self._shown),
            output=output,
            output_limit=self._config.output_bytes,
            report_output=self._shown,
            processes_max=self._config.processes,
            hold=start.attempt.run.fire_time if start.hold else None,
        )

    def met(self, instance: str, known: list[Message]) -> None:
        """Compare what each side knows.

        An Attempt that the same runner has never heard of was recorded, but not started. With
        another runner nobody can tell, and it is lost: a command never starts twice.
        """
        same = self._store.runner() == instance
        heard_of = {message["id"] for message in known}
        for running in self._engine.attempts:
            if str(running.attempt) in heard_of:
                continue
            if running.state is State.HELD or (same and running.pid is None):
                self._act(self._engine.start_again(running.attempt))
            else:
                reason = "the runner died; nobody knows how the command ended"
                self._feed(Lost(running.attempt, reason))
        self._act([RecordRunner(instance)])
        recorded = {str(running.attempt) for running in self._engine.attempts}
        for message in known:
            if message["id"] not in recorded and self._may_come_up(AttemptKey.parse(message["id"])):
                self._told_early[message["id"]] = message
            else:
                self.heard(message)

    def _may_come_up(self, attempt: AttemptKey) -> bool:
        """Whether the engine, from what is on record, can want this Attempt to be started.

        Then it was, by a daemon that was killed before it could write that down. What can't be read
        may say anything.
        """
        if self._store.unread:
            return True
        cursor = self._store.cursor()
        ahead = cursor is not None and attempt.run.fire_time > min(cursor.fixed, cursor.wall)
        return ahead or attempt.run in self.left_behind

    def heard(self, message: Message) -> None:
        """One message of the runner; wire.py has them all."""
        kind = message.get("type")
        if message.get("id") in self._told_early:
            if kind != "output":
                self._told_early[message["id"]] = message
            return
        if kind not in ("started", "ended", "refused", "output"):
            return  # a newer runner says it
        ended = kind in ("ended", "refused")
        attempt = AttemptKey.parse(message["id"])
        if kind in ("started", "ended"):
            self._feed(Started(attempt, message["pid"], message["started"]))
        if ended or kind == "output":
            self._act(list(self._output.grown(message["id"], ended=ended)))
        if kind == "ended":
            self._feed(Ended(attempt, ending_of(message)))
        elif kind == "refused":
            cause = Cause(message["cause"]) if message["cause"] else None
            self._feed(Refused(attempt, message["reason"], cause))
        if ended:
            self._ended.append(attempt)

    def settle(self) -> None:
        """What was told early and nobody has asked for since: take it as it is."""
        if self._store.unread:
            return
        told, self._told_early = self._told_early, {}
        for message in told.values():
            self.heard(message)

    def meet_late(self) -> None:
        """Compare again, when what an earlier daemon has left can be read at last."""
        for running in self._engine.attempts:
            left = running.attempt.run in self.left_behind
            if left and str(running.attempt) not in self._told_early:
                reason = "the runner does not know it; nobody knows how the command ended"
                self._feed(Lost(running.attempt, reason))
        self.settle()
