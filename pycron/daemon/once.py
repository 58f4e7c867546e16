"""`pycrond --once`: what is due in one minute runs once, and the daemon ends with its status."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pycron.engine.actions import Log, Record, RecordEnded, RecordNotStarted
from pycron.engine.engine import Engine
from pycron.engine.events import RunOnce
from pycron.engine.log_events import Event
from pycron.model.instants import rfc3339
from pycron.model.run import RunKey, status_of
from pycron.ports import History, StoreFailure

_MINUTE = 60
_FAILED = 1  # the command was not started, or nobody knows how it ended


@dataclass(slots=True)
class Once:
    """The Runs of one minute, which begins at a UTC second (None: the timetable decides).

    `status`: the worst exit status of those that have ended.
    """

    minute: int | None
    status: int = 0
    _left: set[RunKey] = field(default_factory=set)  # have not ended
    _last: dict[RunKey, int] = field(default_factory=dict)  # status of the last Attempt

    def begin(
        self,
        engine: Engine,
        history: History,
        feed: Callable[[RunOnce], object],
        log: Callable[[Log], None],
    ) -> None:
        """Let each Job that is due in the minute run once, with its first fire time there."""
        if self.minute is None:
            return
        due = engine.due_in(self.minute, self.minute + _MINUTE)
        fields = {"minute": rfc3339(self.minute), "due": len(due)}
        log(Log(Event.ONCE, fields))
        number = _free_pass([RunKey(job.id, fire) for fire, job in due], engine, history)
        for fire, job in due:
            run = RunKey(job.id, fire, number)
            self._left.add(run)
            feed(RunOnce(run, job))

    def note(self, records: Iterable[Record]) -> None:
        """Runs end, as these records say."""
        for record in records if self._left else ():
            if isinstance(record, RecordEnded):
                self._ended(record)
            elif isinstance(record, RecordNotStarted) and record.run in self._left:
                self._over(record.run, self._last.get(record.run, _FAILED))

    def _ended(self, record: RecordEnded) -> None:
        run = record.attempt.run
        if run not in self._left:
            return
        ending = record.ending
        how = (ending.exit_status, ending.signal) if ending else (None, None)
        self._last[run] = status_of(record.outcome, *how)
        if record.run_outcome is not None:
            self._over(run, self._last[run])

    def _over(self, run: RunKey, status: int) -> None:
        self._left.discard(run)
        self.status = max(self.status, status)

    def is_over(self, engine: Engine) -> bool:
        """Whether all Runs have ended; what tells of them may still be to be sent."""
        if self.minute is None or self._left:
            return False
        return all(live.job.is_message for live in engine.alive)

    @property
    def exit_status(self) -> int:
        """The status with which the program ends: not 0 if a Run was left to a next daemon."""
        return max(self.status, _FAILED) if self._left else self.status


def _is_taken(engine: Engine, history: History, run: RunKey) -> bool:
    """Whether there is such a Run already, as far as the records can be read."""
    try:
        return engine.is_alive(run) or history.run(run) is not None
    except StoreFailure:
        return False


def _free_pass(runs: Sequence[RunKey], engine: Engine, history: History) -> int:
    """The first pass in which none of these Runs has come to be: @after needs the same for all."""
    number = 0
    while any(_is_taken(engine, history, run._replace(pass_number=number)) for run in runs):
        number += 1
    return number
