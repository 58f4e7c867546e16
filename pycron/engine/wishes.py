"""What users and operators want: to start, end, pause and redrive."""

from pycron.engine import reports
from pycron.engine.actions import RecordPause, RecordResume
from pycron.engine.events import (
    CancelledByHand,
    PauseBegan,
    PauseEnded,
    Redriven,
    RunOnce,
    StartedByHand,
)
from pycron.engine.fire_times import FireTimes
from pycron.engine.pauses import Pauses
from pycron.engine.runs import Runs
from pycron.engine.workspace import Workspace
from pycron.model.pause import Pause, Scope
from pycron.model.run import RunKey

Wish = Redriven | StartedByHand | RunOnce | CancelledByHand | PauseBegan | PauseEnded


class Wishes:
    """Handles the wishes; the daemon has checked who may have them."""

    def __init__(
        self, workspace: Workspace, runs: Runs, fire_times: FireTimes, pauses: Pauses
    ) -> None:
        self._space = workspace
        self._runs = runs
        self._fire_times = fire_times
        self._pauses = pauses

    def take(self, event: Wish) -> None:
        """Handle the wish of a user or an operator."""
        match event:
            case Redriven():
                if event.attempt.run not in self._space.live and not self._space.stopping:
                    self._runs.redrive(event)
            case StartedByHand():
                self._start_by_hand(event)
            case RunOnce():
                self._fire_times.run_once(event.run, event.job)
            case CancelledByHand():
                if event.run in self._space.live:
                    self._runs.cancel(event.run, event.by, event.kill_after)
            case PauseBegan():
                self._pause(event.pause)
            case PauseEnded():
                self.end_pause(event.scope)

    def _start_by_hand(self, event: StartedByHand) -> None:
        run = RunKey(event.job.id, int(self._space.now.wall), event.pass_number)
        if not self._space.stopping and run not in self._space.live:
            self._runs.start_by_hand(run, event.job, event.by, force=event.force)

    def _pause(self, pause: Pause) -> None:
        self._pauses.begin(pause)
        self._space.out.records.append(RecordPause(pause))
        self._space.out.logs.append(reports.paused(pause))
        self._runs.hold_back(pause)

    def end_pause(self, scope: Scope) -> None:
        if self._pauses.end(scope):
            self._space.out.records.append(RecordResume(scope))
            self._space.out.logs.append(reports.resumed(scope))
            self._runs.end_hold()
