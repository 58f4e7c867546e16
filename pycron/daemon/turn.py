"""One turn of the daemon's loop: what came in goes to the engine; what the engine decides is done.

    feed      an event goes to the engine; its decisions wait for the end of the turn
    perform   release, record, start, ask, log, acknowledge: in this order

The order makes a crash harmless at any point: an Attempt is recorded before it is started, and the
runner keeps the end of an Attempt until that end is recorded.
"""

from collections.abc import Callable, Sequence

from pycron.engine.actions import Decisions, LogEntry, Record
from pycron.engine.engine import Engine
from pycron.engine.events import InputEvent, Now
from pycron.engine.shared_actions import SharedAction, WorkAction
from pycron.ports import Executor, Recorder


class Turn:
    """The turns of one daemon; it knows the world only through ports, and a test hands in fakes."""

    def __init__(
        self,
        engine: Engine,
        recorder: Recorder,
        executor: Executor,
        log: Callable[[LogEntry], None],
        clock: Callable[[], Now],
        *observers: Callable[[Sequence[Record]], object],
    ) -> None:
        """`observers`: see all records. `ask`: passes on what concerns shared Runs; `tell`: what
        workers are told.
        """
        self.ask: Callable[[Sequence[SharedAction]], object] = lambda _: None
        self.tell: Callable[[Sequence[WorkAction]], object] = lambda _: None
        self._engine = engine
        self._recorder = recorder
        self._executor = executor
        self._log = log
        self._clock = clock
        self._observers = observers
        self._decided = Decisions()  # what is to be performed at the end of this turn

    @property
    def pending(self) -> bool:
        """Whether something is decided and not performed yet."""
        return bool(self._decided)

    def feed(self, event: InputEvent) -> Decisions:
        """Tell the engine what has happened. Returns what this event leads to."""
        decided = self._engine.handle(event, self._clock())
        self._decided.add(decided)
        return decided

    def say(self, entry: LogEntry) -> None:
        """Log this after what is decided already."""
        self._decided.logs.append(entry)

    def perform(self) -> None:
        """Do what was decided in this turn.

        To perform a decision may lead to further events: an account is unknown, a start is refused.
        """
        while self._decided:
            decided, self._decided = self._decided, Decisions()
            self._executor.release(decided.released)
            self._recorder.write(decided.records)
            for observe in self._observers:
                observe(decided.records)
            self._executor.perform(decided.actions)
            if decided.questions:
                self.ask(decided.questions)
            if decided.works:
                self.tell(decided.works)
            for entry in decided.logs:
                self._log(entry)
        self._recorder.acknowledge(self._executor.take_ended())
