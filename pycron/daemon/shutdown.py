"""How a daemon ends: what each signal does, and when the loop is over."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pycron.daemon.setup import Mode
from pycron.daemon.signals import is_init
from pycron.daemon.turn import Turn
from pycron.daemon.words import commands_in_words
from pycron.engine.actions import Log
from pycron.engine.engine import Engine
from pycron.engine.events import StopStarting
from pycron.engine.live_runs import LiveRun
from pycron.engine.log_events import Event
from pycron.executor.link import RunnerLink

_NAMED = 20  # commands in the status; the service manager reads at most 4096 bytes
_NEXT = (  # the effect of the next signal on a foreground daemon
    "the next one sends them SIGTERM, and SIGKILL 10 seconds later",
    "the next one sends them SIGKILL at once",
)
_KILL_AFTER = 10.0  # seconds from TERM to KILL when a foreground daemon is told to end


@dataclass(slots=True)
class Shutdown:
    """A service ends at once and leaves its commands to the runner.

    A foreground daemon waits for its commands, and for what tells of them, after the first signal;
    it ends them (TERM, then KILL) after the second one, and kills them after the third one.
    """

    mode: Mode
    turn: Turn
    engine: Engine
    link: RunnerLink
    log: Callable[[Log], None]
    _over: bool = False
    _signals: int = 0
    _kill_at: float | None = None  # seconds of the monotonic clock

    @property
    def finished(self) -> bool:
        """Whether the loop is over."""
        if not (self._signals or self._over):
            return False
        return self.mode is not Mode.FOREGROUND or self.engine.idle

    def begin(self, number: signal.Signals) -> None:
        """The daemon was told to end, for the first time or once more."""
        self._signals += 1
        first = self._signals == 1
        self.turn.feed(StopStarting(delivers=first and self.mode is Mode.FOREGROUND))
        fields = {"signal": number.name, "running": len(self.engine.running)}
        self.log(Log(Event.DAEMON_STOPPING, fields | self._what_comes_next()))
        if self.mode is not Mode.FOREGROUND:
            return
        if self._signals == 1 and is_init():
            self.signal_commands(number)  # the init of a container forwards the signal
        elif self._signals == 2:
            self._kill_at = time.monotonic() + _KILL_AFTER
            self.signal_commands(signal.SIGTERM)
        elif self._signals > 2:
            self.signal_commands(signal.SIGKILL)

    def end_with_the_work(self) -> None:
        """A foreground daemon has nothing left to do but to tell of its Runs."""
        if not (self._signals or self._over):
            self._over = True
            self.turn.feed(StopStarting(delivers=True))

    def _what_comes_next(self) -> dict[str, object]:
        """For the log: what a foreground daemon waits for, and what the next signal does."""
        running = self.engine.running
        if self.mode is not Mode.FOREGROUND or not running or self._signals > len(_NEXT):
            return {}
        named = commands_in_words(running, _NAMED)
        return {"commands": named, "next_signal": _NEXT[self._signals - 1]}

    def signal_commands(self, number: signal.Signals) -> None:
        """Send a signal to all running commands."""
        running = [running.attempt for running in self.engine.running]
        if running:
            fields = {"signal": number.name, "running": len(running)}
            self.log(Log(Event.COMMANDS_SIGNALLED, fields))
            self.link.signal(running, number)

    def patience(self) -> float:
        """Seconds until KILL is due; infinity if it is not."""
        return float("inf") if self._kill_at is None else self._kill_at - time.monotonic()

    def kill_if_due(self) -> None:
        """KILL, once, when its time has come."""
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = None
            self.signal_commands(signal.SIGKILL)


def stopping_message(running: Sequence[LiveRun]) -> str:
    """What a daemon that ends tells the service manager: sd_notify(3)."""
    named = commands_in_words(running, _NAMED)
    status = f"commands that go on: {named} (pycron kill --all ends them)" if named else ""
    return f"STOPPING=1\nSTATUS={status}"
