"""What operators do by hand: start, kill, pause, resume, and what becomes of dead letters."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from pycron.config import Config
from pycron.control.access import Access, Refusal, is_master, user_of
from pycron.control.requests import duration_or_none, text_or_none, visible_run
from pycron.control.rows import pause_row, scope_in_words
from pycron.control.server import Peer
from pycron.engine.actions import Action, RecordNotStarted, RecordRun
from pycron.engine.engine import Engine
from pycron.engine.events import (
    CancelledByHand,
    InputEvent,
    PauseBegan,
    PauseEnded,
    Redriven,
    StartedByHand,
)
from pycron.model.history import RunRecord
from pycron.model.job import Job
from pycron.model.pause import Pause
from pycron.model.run import AttemptKey, RunKey
from pycron.ports import History
from pycron.protocol.framing import Message

# The turns of Runs that were started by hand; no clock is set back so often.
_BY_HAND = 1000
_ENDING = "the daemon is ending, and begins nothing"
_MOST_PAUSES = 1000  # of one user; those of Jobs outlive their entries


@dataclass(slots=True)
class Operations:
    """Requests that change what runs: for the owner of a Job, and for root.

    `behind`: whether there is something that could not be written to the store yet.
    """

    engine: Engine
    store: History
    config: Config
    access: Access
    feed: Callable[[InputEvent], list[Action]]
    behind: Callable[[], bool]
    _last_start: RunKey | None = field(default=None, init=False)

    # ---- start, kill

    def start(self, peer: Peer, request: Message) -> Message:
        """A Run now, within the limits unless forced; refused where it is given up at once."""
        job = self._job(peer, request)
        self.access.check_may_change(peer, job.user)
        force = request.get("force") is True
        if force and not is_master(peer):
            raise Refusal("only root may use --force: it goes past everybody's limits and pauses")
        actions = self.feed(StartedByHand(job, user_of(peer), self._free_turn(job), force))
        run = next((a.run for a in actions if isinstance(a, RecordRun) and a.by), None)
        if run is None:
            raise Refusal(_ENDING)
        self._last_start = run
        for action in actions:
            if isinstance(action, RecordNotStarted) and action.run == run:
                raise Refusal(f"{job.name}: {action.outcome.value}: {action.reason}")
        live = self.engine.find(run)
        assert live is not None  # or it would have been given up
        return {"run_id": str(run), "state": live.state.value, "why": live.why}

    def _free_turn(self, job: Job) -> int:
        """One that no Run of this second has, be it on record or not."""
        run = RunKey(job.id, int(time.time()), _BY_HAND)
        last = self._last_start
        if last and last.fire_time >= run.fire_time:
            run = RunKey(job.id, run.fire_time, last.turn + 1)
        while self.engine.is_alive(run) or self.store.run(run):
            run = RunKey(job.id, run.fire_time, run.turn + 1)
        return run.turn

    def kill(self, peer: Peer, request: Message) -> Message:
        """End a Run, or all of a Job that run or wait."""
        name = text_or_none(request, "run_id") or ""
        kill_after = duration_or_none(request, "kill_after")
        sees = self.access.sight(peer)
        found = [
            live
            for live in self.engine.alive
            if name in (str(live.run), live.job.name, live.job.id) and sees(live.job.user)
        ]
        if not found:
            raise Refusal(f'nothing runs or waits that is called "{name}"')
        job = _only_one(name, {live.job.id: live.job for live in found}.values())
        self.access.check_may_change(peer, job.user)
        for live in found:
            self.feed(CancelledByHand(live.run, user_of(peer), kill_after))
        return {"rows": [{"run_id": str(each.run), "state": each.state.value} for each in found]}

    def _job(self, peer: Peer, request: Message) -> Job:
        """The one Job of this name or id that the peer may see."""
        name = text_or_none(request, "job") or ""
        sees = self.access.sight(peer)
        found = [job for job in self.engine.jobs().called(name) if sees(job.user)]
        if not found:
            raise Refusal(f'no such job: "{name}" (pycron list)')
        return _only_one(name, found)

    # ---- pause, resume

    def pause(self, peer: Peer, request: Message) -> Message:
        """Begin nothing in a scope, for some seconds or until it is resumed."""
        scope, names = self._scope(peer, request)
        seconds = duration_or_none(request, "seconds")
        now = time.time()
        until = None if seconds is None else now + seconds
        pause = Pause(scope, now, until, user_of(peer), text_or_none(request, "reason"))
        self._check_may_pause(peer, pause)
        self.feed(PauseBegan(pause))
        return {"row": pause_row(pause, names)}

    def _check_may_pause(self, peer: Peer, pause: Pause) -> None:
        """Who puts a pause in the place of another one ends that."""
        others = {each.scope: each for each in self.engine.pauses}
        replaced = others.pop(pause.scope, None)
        if replaced is not None:
            self._check_may_resume(peer, replaced)
        if sum(other.by == pause.by for other in others.values()) >= _MOST_PAUSES:
            raise Refusal(f"{pause.by} has {_MOST_PAUSES} pauses: resume some first (pycron pause)")

    def resume(self, peer: Peer, request: Message) -> Message:
        scope, names = self._paused_scope(peer, request)
        for pause in self.engine.pauses:
            if pause.scope == scope:
                self._check_may_resume(peer, pause)
                self.feed(PauseEnded(scope))
                return {"row": pause_row(pause, names)}
        raise Refusal(f"{scope_in_words(scope, names)} is not paused")

    def _paused_scope(self, peer: Peer, request: Message) -> tuple[str, dict[str, str]]:
        """As _scope; and a Job whose entry is gone has its id still."""
        scope = f"job:{request.get('job')}"
        if any(pause.scope == scope for pause in self.engine.pauses):
            return scope, {}
        return self._scope(peer, request)

    def _check_may_resume(self, peer: Peer, pause: Pause) -> None:
        if not is_master(peer) and pause.by != user_of(peer):
            raise Refusal(f"{pause.by} has paused it; only that user and root may resume it")

    def _scope(self, peer: Peer, request: Message) -> tuple[str, dict[str, str]]:
        """What a request names, where the peer may pause it; and the names of Jobs by id."""
        kind = request.get("scope")
        if kind == "job":
            job = self._job(peer, request)
            self.access.check_may_change(peer, job.user)
            return f"job:{job.id}", {job.id: job.name}
        if kind == "user":
            user = text_or_none(request, "user") or ""
            self.access.check_may_change(peer, user)
            return f"user:{user}", {}
        if not is_master(peer):
            raise Refusal("only root may do that")
        if kind == "pool":
            pool = text_or_none(request, "pool") or ""
            if pool not in self.config.pools:
                raise Refusal(f'no such pool: "{pool}" (the configuration names them)')
            return f"pool:{pool}", {}
        if kind == "all":
            return "all", {}
        raise Refusal("bad scope (job, user, pool or all)")

    # ---- dead letters

    def redrive(self, peer: Peer, request: Message) -> Message:
        run = self._dead_run(peer, request)
        job = self.engine.jobs().find({run.key.job_id}).get(run.key.job_id)
        if job is None:
            raise Refusal(f"{run.job}: its entry is gone; it can only be dropped")
        attempts = len(run.attempts)
        if not self.feed(Redriven(AttemptKey(run.key, attempts), job)):
            raise Refusal(_ENDING)
        return {"run_id": run.run_id, "attempt": attempts + 1}

    def drop(self, peer: Peer, request: Message) -> Message:
        run = self._dead_run(peer, request)
        self.store.drop_dead(run.key)
        return {"run_id": run.run_id}

    def _dead_run(self, peer: Peer, request: Message) -> RunRecord:
        """A dead letter that the peer may handle.

        Whether it still is one, and which Attempts it had, only the record says.
        """
        if self.behind():
            raise Refusal("the history cannot be written to, so it is not up to date; try it later")
        run = visible_run(self.store, self.access, peer, request)
        self.access.check_may_change(peer, run.user)
        if not run.dead:
            raise Refusal(f"{run.run_id} is no dead letter")
        return run


def _only_one(name: str, jobs: Collection[Job]) -> Job:
    """The Job that was meant; refused where that could be several."""
    if len(jobs) > 1:
        ids = ", ".join(f"{job.id} ({job.source.name}:{job.line})" for job in jobs)
        raise Refusal(f'several jobs are called "{name}": {ids}')
    return next(iter(jobs))
