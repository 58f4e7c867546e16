"""From a start message to its command: Attempts that are due or held, and their starters.

Imported by the runner: it stays small.
"""

import os
import signal
import time

from pycron.protocol.runner_messages import EndMessage, StartMessage
from pycron.runner.attempt import Attempt, User
from pycron.runner.attempts import Attempts, Usage
from pycron.runner.batch import Batch, seconds_until
from pycron.runner.event_loop import NEVER
from pycron.runner.held_attempts import HeldAttempts
from pycron.runner.launch import Launch
from pycron.runner.launcher import Launcher
from pycron.runner.progress import DIRECT, NO_PROCESS, STARTED, UNTOUCHED
from pycron.runner.start_queue import StartQueue
from pycron.runner.starter import STARTERS, Starter, StarterProcesses

BATCH = 128  # the most commands of one starter
_MOST_READY = 4 * STARTERS  # that wait for their go message; users without one get as many more
_FIRST_BATCH = 2  # commands of the first starter that waits
_SMALLEST_BATCH = 96  # to fork a starter costs as much as to start ten commands
_HEAD_START = 0.002  # seconds that the first starter has before the others
_MANY = 16 * STARTERS  # commands that are due: with more of them, the daemon hears later of them
_PROGRESS_INTERVAL = 0.25  # seconds between two looks at what starters have done
_KILLED = "killed while it was being started"


class Starters:
    """Starts the commands of Attempts; what happens is noted in `attempts`."""

    def __init__(self, attempts: Attempts, launcher: Launcher) -> None:
        self._attempts = attempts
        self._launcher = launcher
        self._processes = StarterProcesses()
        self._queue = StartQueue()
        self._held = HeldAttempts()
        self._ready: list[Starter] = []  # wait for their go message
        self._due: list[Starter] = []  # wait for their turn after their go message has come
        self._not_before = 0.0  # the instant (monotonic) before which no other batch may begin

    def __contains__(self, pid: int) -> bool:
        """Whether this is the pid of a starter."""
        return pid in self._processes

    @property
    def idle(self) -> bool:
        return not self._queue and not self._processes

    @property
    def many_due(self) -> bool:
        """Whether so many commands are due that starting them will take a while.

        The commands of slow users do not count: nothing else has to wait for them.
        """
        slow = self._processes.slow_users()
        starters = [*self._due, *self._processes.working]
        left = sum(starter.left for starter in starters if starter.user not in slow)
        return left + self._queue.count_except(slow) > _MANY

    @property
    def working(self) -> bool:
        """Whether commands are being started."""
        return bool(self._processes.working)

    def patience(self) -> float:
        """How long the event loop may wait, in seconds."""
        if self._may_get_ready():
            return 0.0
        if self._may_start():
            return max(0.0, self._not_before - time.monotonic())
        return _PROGRESS_INTERVAL if self._processes else NEVER

    def step(self) -> None:
        """Called in every turn of the event loop."""
        while self._may_start() and time.monotonic() >= self._not_before:
            self._start_next()
        if self._may_get_ready():
            self._get_ready()
        if self._processes:
            self.take_progress()
            self._processes.wake_overdue()

    # ---- messages of the daemon

    def start(self, message: StartMessage) -> None:
        attempt = Attempt(message)
        self._attempts.add(attempt)
        self.add(attempt)

    def add(self, attempt: Attempt) -> None:
        """Start an Attempt that has everything it needs, at once or when its go message comes."""
        if attempt.hold:
            self._held.add(attempt)
        else:
            self._queue.add(attempt)

    def go(self, until: int) -> None:
        """Start everything that is held until this second (UTC), which may be a moment ahead.

        Starters that are ready wait for that second themselves, so that no other process has to
        be scheduled at that moment.
        """
        self._not_before = time.monotonic() + seconds_until(until) + _HEAD_START
        self._due += [starter for starter in self._ready if starter.hold <= until]
        self._ready = [starter for starter in self._ready if starter.hold > until]
        at = float(until)
        while self._processes.have_room and (starter := self._next_due()):
            self._release(starter, at)
            at = until + _HEAD_START
        for attempt in self._held.take_until(until):
            self._queue.add(attempt)

    def drop(self, id: str) -> None:
        """Forget an Attempt, if it is held."""
        if self._take_held(id):
            self._attempts.drop(id)

    def drop_held(self) -> None:
        """Forget all Attempts that are held."""
        for starter in list(self._ready):
            self._dismiss(starter)
        for attempt in self._held.take_until(NEVER):
            self._attempts.drop(attempt.id)

    def end(self, attempt: Attempt, message: EndMessage) -> None:
        """End an Attempt that is not known to be started."""
        self._take_held(attempt.id)
        if attempt.starter:
            attempt.end = message  # carried out as soon as it has a pid
            if self._processes[attempt.starter].overdue:
                os.kill(attempt.starter, signal.SIGKILL)
        else:
            self._attempts.refused(attempt, message["cause"], message["reason"])

    def _take_held(self, id: str) -> bool:
        """Remove an Attempt from those that are held; False if it was not held."""
        for starter in [*self._ready, *self._due]:
            if any(attempt.id == id for attempt in starter.attempts):
                self._dismiss(starter)
        return self._held.take(id)

    # ---- starters of Attempts that are due

    def _may_start(self) -> bool:
        """Whether there is room for a starter, and a user whose commands it may start."""
        if not (self._queue or self._due) or not self._processes.have_room:
            return False
        barred = self._processes.barred_users()
        return bool(self._queue.count_except(barred)) or any(
            starter.user not in barred for starter in self._due
        )

    def _start_next(self) -> None:
        starter = self._next_due()
        if starter is not None:
            self._release(starter, 0.0)
        else:
            self._start_batch()

    def _next_due(self) -> Starter | None:
        """Take the first due starter whose user is not barred."""
        barred = self._processes.barred_users()
        found = next((each for each in self._due if each.user not in barred), None)
        if found is not None:
            self._due.remove(found)
        return found

    def _start_batch(self) -> None:
        """Start the first Attempts in the queue: as many of one kind as one starter may have."""
        size = _share(len(self._queue), len(self._processes.working))
        queue = self._queue.next_turn(self._processes.barred_users())
        launches: list[Launch] = []
        attempts: list[Attempt] = []
        while queue and len(launches) < size:
            attempt = queue[0]
            if attempt.ended is not None:  # it was ended before it was started
                self._queue.take(queue)
                continue
            if attempts and not _fits(attempts[-1], attempt):
                break
            launch = self._launcher.prepare(attempt, is_first=not attempts)
            if launch is None and attempts:
                break
            self._queue.take(queue)
            if launch is not None:
                launches.append(launch)
                attempts.append(attempt)
        if launches:
            self._launch(Starter(Batch(launches), attempts))

    def _release(self, starter: Starter, at: float) -> None:
        self._launcher.begin(starter.lines)
        starter.release(at)

    def _launch(self, starter: Starter) -> bool:
        pid = self._launcher.launch(starter.batch, starter.attempts)
        if pid:
            self._processes.add(pid, starter)
        return pid > 0

    # ---- starters that are forked ahead of time

    def _may_get_ready(self) -> bool:
        return bool(self._held) and self._passed_over() is not None

    def _passed_over(self) -> set[User] | None:
        """The users who get no starter ahead of time now; None if nobody gets one.

        They are those whose commands are due already. A user without a starter that waits comes
        first, and gets one even if others have as many as there may be.
        """
        due = self._queue.users
        served = due | {starter.user for starter in self._ready}
        if self._held.has_others_than(served):
            return served if len(self._ready) < 2 * _MOST_READY else None
        if len(self._ready) < _MOST_READY and self._held.has_others_than(due):
            return due
        return None

    def _get_ready(self) -> None:
        """Fork a starter for the first Attempts that are held; it waits for their go message."""
        attempts = self._first_held()
        gate = self._launcher.open_gate(attempts[0])
        launches = self._prepare_all(attempts) if gate else []
        for attempt in attempts[: max(1, len(launches))]:
            self._held.take(attempt.id)
        if gate is None or not launches:  # the first Attempt was refused
            for end in gate or ():
                os.close(end)
            return
        starter = Starter(Batch(launches, gate), attempts[: len(launches)])
        if self._launch(starter):
            starter.lines = self._launcher.lines(starter.attempts)
            self._ready.append(starter)

    def _prepare_all(self, attempts: list[Attempt]) -> list[Launch]:
        """As many of the first ones as there are descriptors for; none: the first was refused."""
        launches: list[Launch] = []
        for attempt in attempts:
            launch = self._launcher.prepare(attempt, is_first=not launches)
            if launch is None:
                break
            launches.append(launch)
        return launches

    def _first_held(self) -> list[Attempt]:
        """The Attempts for the next starter."""
        alike = self._held.first_of_others_than(self._passed_over() or set())
        size = _share(len(alike), len(self._ready)) if self._ready else _FIRST_BATCH
        return alike[:size]

    def _dismiss(self, starter: Starter) -> None:
        """Let a starter that waits exit, and put its Attempts back, in the order they came in.

        One starter can only start them in that order; see ProcessTree.join.
        """
        starter.batch.dismiss()
        attempts, starter.attempts = starter.attempts, []
        for attempt in attempts:
            self._launcher.take_back(attempt)
        if starter in self._due:
            self._due.remove(starter)
            for attempt in reversed(attempts):
                self._queue.put_back(attempt)
            return
        self._ready.remove(starter)
        self._held.put_back(attempts)

    # ---- the progress of starters

    def take_progress(self) -> None:
        """Note which commands the starters have started."""
        for starter in self._processes:
            while starter.left > 0:
                pid, started, state = starter.batch.progress(starter.next)
                if state not in (STARTED, DIRECT):
                    break
                attempt = starter.attempts[starter.next]
                starter.next += 1
                attempt.starter = 0
                if state == DIRECT:
                    attempt.leave_out_shell()
                if pid == NO_PROCESS:
                    self._launcher.give_up(attempt)
                else:
                    self._attempts.started(attempt, pid, started)

    def reaped(self, pid: int, status: int, usage: Usage) -> None:
        """A starter has ended. If it was killed, some of its commands are not started."""
        starter = self._processes[pid]
        waited = starter in self._ready or starter in self._due
        if waited:
            self._dismiss(starter)
        self.take_progress()
        self._processes.remove(pid, killed=waited or starter.left > 0)
        for index in reversed(range(starter.next, len(starter.attempts))):
            attempt = starter.attempts[index]
            _, started, state = starter.batch.progress(index)
            if state == UNTOUCHED:
                self._put_back(attempt)
            else:  # it was about to become the command, and may have started it all the same
                attempt.starter, attempt.pid, attempt.started = 0, pid, started
                cause, reason = _why_killed(attempt)
                self._attempts.kill(attempt, cause, reason)
                self._attempts.ended(attempt, status, usage)

    def _put_back(self, attempt: Attempt) -> None:
        self._launcher.take_back(attempt)
        if attempt.end is not None:
            self.end(attempt, attempt.end)
        else:
            self._queue.put_back(attempt)


def _fits(last: Attempt, attempt: Attempt) -> bool:
    """Whether an Attempt can follow another one in a batch; see ProcessTree.join."""
    return attempt.kind == last.kind and attempt.tree.mark < last.tree.mark


def _share(count: int, others: int) -> int:
    """How many of `count` commands one more starter gets beside so many other starters."""
    starters = max(1, STARTERS - others)
    return min(BATCH, max(_SMALLEST_BATCH, -(-count // starters)))


def _why_killed(attempt: Attempt) -> tuple[str | None, str]:
    """The cause and the reason of an Attempt whose starter was killed."""
    return (attempt.end["cause"], attempt.end["reason"]) if attempt.end else (None, _KILLED)
