"""Runs of `@after` Jobs: each waits until the Runs of the named Jobs at its fire time have ended.

Such a Run comes to be at its fire time, as every other Run. So it is recorded while it waits, and a
daemon that is killed leaves it to the next one. When a Run has ended, the Runs that wait for it are
decided in the same event, so the end and what follows from it are one transaction.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pycron.engine.live_runs import LiveRuns
from pycron.model.run import OUTCOME_IN_WORDS, Outcome, RunKey
from pycron.schedule.expressions import After
from pycron.schedule.fire_times import follows_the_wall

Decision = tuple[RunKey, str | None]
"""A Run that waits no more: it starts, or (with a reason) is skipped."""


@dataclass(slots=True)
class _Waiting:
    """A Run that waits. `succeeded`: the ids of the Jobs that have succeeded."""

    schedule: After
    succeeded: set[str] = field(default_factory=set)


class Followers:
    """The Runs that wait for other Runs. `ended`: Runs whose fire time was not handed out yet."""

    def __init__(self, live: LiveRuns, ended: Mapping[RunKey, Outcome]) -> None:
        self._live = live
        self._waiting: dict[RunKey, _Waiting] = {}
        self._behind: dict[RunKey, dict[RunKey, None]] = {}  # by the Run that is waited for
        self._unsure: set[RunKey] = set()  # which wait for a Run that nobody knows of yet
        # How Runs ended for which another Run may still come to wait.
        self._ended = dict(ended)
        self._taken_up = 0  # the UTC second up to which all fire times have been taken up
        self._decisions: deque[Decision] = deque()

    # ---- Runs that wait

    def __contains__(self, run: RunKey) -> bool:
        return run in self._waiting

    def why(self, run: RunKey) -> str | None:
        """The Jobs that a Run waits for, in words; None if it waits for none."""
        waiting = self._waiting.get(run)
        if waiting is None:
            return None
        named = zip(waiting.schedule.jobs, waiting.schedule.job_ids, strict=True)
        names = [name for name, job_id in named if job_id not in waiting.succeeded]
        return f"waits for the success of {', '.join(names)}"

    def wait(self, run: RunKey, schedule: After) -> None:
        """A Run waits from now on, or for other Jobs than before."""
        before = self._waiting.get(run)
        self._enter(run, schedule, before.succeeded if before else set())
        self._look(run, {})

    def wait_again(self, run: RunKey, schedule: After, ended: Mapping[str, Outcome]) -> None:
        """A Run of the store waits. The next Tick decides: the other Runs may not be alive yet.

        `ended`: how the Runs of the named Jobs have ended, by id, as far as they have.
        """
        self._enter(run, schedule, set())
        self._ended |= {run._replace(job_id=job_id): how for job_id, how in ended.items()}
        self._unsure.add(run)

    def _enter(self, run: RunKey, schedule: After, succeeded: set[str]) -> None:
        self.leave(run)
        self._waiting[run] = _Waiting(schedule, succeeded)
        for job_id in schedule.job_ids:
            self._behind.setdefault(run._replace(job_id=job_id), {})[run] = None

    def leave(self, run: RunKey) -> None:
        """A Run waits no more, whatever the reason."""
        waiting = self._waiting.pop(run, None)
        self._unsure.discard(run)
        for job_id in waiting.schedule.job_ids if waiting else ():
            awaited = run._replace(job_id=job_id)
            behind = self._behind.get(awaited, {})
            behind.pop(run, None)
            if not behind:
                self._behind.pop(awaited, None)

    # ---- Runs that are waited for

    def ended(self, run: RunKey, outcome: Outcome) -> None:
        """A Run has ended, with whatever Outcome."""
        self.leave(run)
        if run.fire_time > self._taken_up:
            self._ended[run] = outcome
        for follower in list(self._behind.get(run, ())):
            self._look(follower, {run.job_id: outcome})

    def revived(self, run: RunKey) -> None:
        """A Run that had ended is alive again."""
        self._ended.pop(run, None)

    def settle(self, is_taken_up: Callable[[RunKey, bool], bool], until: int) -> None:
        """Fire times have been taken up. A Run that has not come to be by now never will.

        `is_taken_up`: whether all fire times up to that of a Run have, of Jobs that follow the wall
        clock or of fixed ones. `until`: the UTC second up to which both have.
        """
        for run in sorted(self._unsure):
            settled = is_taken_up(run, follows_the_wall(self._waiting[run].schedule))
            self._look(run, {}, is_settled=settled)
        self._taken_up = until
        self._ended = {run: how for run, how in self._ended.items() if run.fire_time > until}

    def _look(self, run: RunKey, ended: Mapping[str, Outcome], *, is_settled: bool = False) -> None:
        """Decide about a Run, if the Runs that it waits for leave no doubt."""
        waiting = self._waiting[run]
        named = zip(waiting.schedule.jobs, waiting.schedule.job_ids, strict=True)
        is_complete, reason = True, None
        self._unsure.discard(run)
        for name, job_id in named:
            if job_id in waiting.succeeded:
                continue
            awaited = run._replace(job_id=job_id)
            outcome = ended.get(job_id) or self._ended.get(awaited)
            if outcome is Outcome.SUCCEEDED:
                waiting.succeeded.add(job_id)
            elif awaited in self._live:
                is_complete = False
            elif outcome is not None:
                reason = reason or f"{name} {OUTCOME_IN_WORDS[outcome]}"
            elif is_settled:
                reason = reason or f"{name} has no Run at this fire time"
            else:
                self._unsure.add(run)
                is_complete = False
        if reason or is_complete:
            self.leave(run)
            self._decisions.append((run, reason))

    # ---- what follows

    def take(self) -> Decision | None:
        """The next decision; None if there is none."""
        return self._decisions.popleft() if self._decisions else None
