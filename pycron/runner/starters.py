"""From an order to its command: what waits, what is held, and the starters at work.

Imported by the runner: it stays small.
"""

import os
import signal
import time
from collections.abc import Iterator
from operator import itemgetter

from pycron.protocol.framing import Message
from pycron.runner.attempt import Attempt
from pycron.runner.attempts import Attempts, Usage
from pycron.runner.event_loop import NEVER
from pycron.runner.launcher import Launcher
from pycron.runner.process_tree import marked
from pycron.runner.spawn import (
    NO_PROCESS,
    STARTED,
    UNTOUCHED,
    Batch,
    Launch,
    Order,
    kind_of,
    left_until,
)
from pycron.runner.start_queue import StartQueue, User, user_of

BATCH = 128  # commands that one starter starts at the most
STARTERS = 2 * (os.cpu_count() or 1)  # at a time, of one user
_READY = 4 * STARTERS  # starters that stand ready at the most
_FIRST = 2  # commands of the first one
_WORTH_IT = 96  # commands of one at the least: to fork it costs as much as to start ten of them
_HEAD_START = 0.002  # seconds that it has before the others
_ENOUGH = 16 * STARTERS  # commands that are due: with more of them nobody tells the daemon anything
_STARTER_PACE = 0.25  # seconds between two looks at what starters have done
_STARTER_PATIENCE = 1.0  # seconds after which one is overdue
_GRUDGE = 1.0  # seconds for which who has killed one is taken for slow
_KILLED = {"cause": None, "reason": "killed while it was being started"}


class _Starter:
    """A batch at work. `next`: the first of its commands that is not known to have been started."""

    __slots__ = ("attempts", "batch", "next", "since", "user")

    def __init__(self, batch: Batch, attempts: list[Attempt], user: User) -> None:
        self.batch = batch
        self.attempts = attempts
        self.user = user
        self.next = 0
        self.since = time.monotonic()

    @property
    def waits(self) -> bool:
        """For the word."""
        return self.since == NEVER

    @property
    def hold(self) -> int:
        """The UTC second whose go it waits for."""
        second: int = self.batch.launches[0].order["hold"]
        return second

    def let_go(self, at: float) -> None:
        self.batch.let_go(at)
        self.since = time.monotonic()

    @property
    def overdue(self) -> bool:
        """Its user has stopped it, or a file system keeps it waiting."""
        return time.monotonic() - self.since > _STARTER_PATIENCE


class Starters:
    """They start what is ordered; what they have done is noted among the Attempts."""

    def __init__(self, attempts: Attempts, launcher: Launcher) -> None:
        self._attempts = attempts
        self._launcher = launcher
        self._orders = StartQueue()
        self._held: dict[str, Order] = {}  # but for those that a starter stands ready with
        self._at_work: dict[int, _Starter] = {}
        self._ready: list[_Starter] = []  # of those at work the ones that wait for the word
        self._due: list[_Starter] = []  # the same, of those whose word has come: they take turns
        self._not_before = 0.0  # the instant (monotonic) at which what is due may begin
        self._killed: dict[User, float] = {}  # whose starter was, and when (monotonic)
        self._urge_due = 0.0

    def __contains__(self, pid: int) -> bool:
        return pid in self._at_work

    @property
    def idle(self) -> bool:
        return not self._orders and not self._at_work

    @property
    def enough_to_do(self) -> bool:
        """Whether so many commands are due that they will take a while.

        Those of users who keep them from being started are nothing that others have to wait for.
        """
        slow = self._slow()
        starters = [each for each in (*self._due, *self._in_time()) if each.user not in slow]
        left = sum(len(starter.attempts) - starter.next for starter in starters)
        return left + self._orders.count_but(slow) > _ENOUGH

    @property
    def at_work(self) -> bool:
        """Whether commands are being started."""
        return any(self._in_time())

    def patience(self) -> float:
        """How long they can wait for a descriptor, in seconds."""
        if self._may_get_ready():
            return 0.0
        if self._may_start():
            return max(0.0, self._not_before - time.monotonic())
        return _STARTER_PACE if self._at_work else NEVER

    def step(self) -> None:
        """Once in every turn of the loop."""
        while self._may_start() and time.monotonic() >= self._not_before:
            self._start_next()
        if self._may_get_ready():
            self._get_ready()
        if self._at_work:
            self.hear()
            self._urge()

    # ---- orders

    def order(self, order: Order) -> None:
        """Raises KeyError, TypeError or ValueError for an order of nobody's."""
        self._attempts.add(Attempt(order))
        if order["hold"] is not None:
            self._held[order["id"]] = order
        else:
            self._orders.add(order)

    def go(self, until: int) -> None:
        """The time has come of what is held until then, or comes in a moment.

        Starters that stand ready wait for that time themselves, so that nobody else has to be
        awake for it.
        """
        self._not_before = time.monotonic() + left_until(until) + _HEAD_START
        self._due += [starter for starter in self._ready if starter.hold <= until]
        self._ready = [starter for starter in self._ready if starter.hold > until]
        at = float(until)
        while self._have_room() and (starter := self._next_due()):
            starter.let_go(at)
            at = until + _HEAD_START
        for attempt, order in list(self._held.items()):
            if order["hold"] <= until:
                self._orders.add(self._held.pop(attempt))

    def drop(self, id: str) -> None:
        """It is not to be, if it is held."""
        if self._take_held(id):
            self._attempts.drop(id)

    def drop_held(self) -> None:
        """All of them."""
        for starter in list(self._ready):
            self._stand_down(starter)
        for attempt in self._held:
            self._attempts.drop(attempt)
        self._held.clear()

    def _take_held(self, id: str) -> bool:
        """Whether it was held; it isn't any more, nor does a starter wait with it."""
        for starter in [*self._ready, *self._due]:
            if any(attempt.id == id for attempt in starter.attempts):
                self._stand_down(starter)
        return self._held.pop(id, None) is not None

    def call_off(self, attempt: Attempt, end_order: Message) -> None:
        """End one that isn't known to have been started."""
        self._take_held(attempt.id)
        if attempt.starter:
            attempt.end_order = end_order  # for when it has a pid
            if self._at_work[attempt.starter].overdue:
                os.kill(attempt.starter, signal.SIGKILL)
        else:
            self._attempts.refused(attempt, end_order["cause"], end_order["reason"])

    # ---- starters begin

    def _in_time(self) -> Iterator[_Starter]:
        """Those that do what they are there for."""
        return (each for each in self._at_work.values() if not (each.overdue or each.waits))

    def _may_start(self) -> bool:
        """Whether there is room for one more starter, and somebody whose commands it can start."""
        if not (self._orders or self._due) or not self._have_room():
            return False
        barred = self._barred()
        return bool(self._orders.count_but(barred)) or any(
            starter.user not in barred for starter in self._due
        )

    def _have_room(self) -> bool:
        return sum(1 for _ in self._in_time()) < 2 * STARTERS

    def _start_next(self) -> None:
        starter = self._next_due()
        if starter is not None:
            starter.let_go(0.0)
        else:
            self._start_batch()

    def _next_due(self) -> _Starter | None:
        """The next one whose word has come and whose user isn't barred."""
        barred = self._barred()
        found = next((each for each in self._due if each.user not in barred), None)
        if found is not None:
            self._due.remove(found)
        return found

    def _barred(self) -> set[User]:
        """Who gets no further starter now.

        With as many at work as there should be, that is everybody who has one: so nobody has to
        wait for another user's. Who is slow has them one after the other.
        """
        slow = self._slow()
        in_time = [starter.user for starter in self._in_time()]
        return {user for user in in_time if len(in_time) >= STARTERS or user in slow}

    def _slow(self) -> set[User]:
        """Whose starters are overdue, or were killed a moment ago."""
        now = time.monotonic()
        self._killed = {user: when for user, when in self._killed.items() if when > now - _GRUDGE}
        return {each.user for each in self._at_work.values() if each.overdue} | self._killed.keys()

    def _start_batch(self) -> None:
        """Start the first orders that wait, as many of one kind as one starter may have."""
        size = self._share(len(self._orders), sum(1 for _ in self._in_time()))
        orders = self._orders.next_turn(self._barred())
        launches: list[Launch] = []
        attempts: list[Attempt] = []
        while orders and len(launches) < size:
            order = orders[0]
            attempt = self._attempts.get(order["id"])
            if attempt is None or attempt.ended is not None:  # it was ended before it was started
                orders.popleft()
                continue
            if launches and not _fits(launches[-1], order, attempt):
                break
            orders.popleft()
            launch = self._launcher.prepare(attempt, order)
            if launch is not None:
                launches.append(launch)
                attempts.append(attempt)
        if launches:
            self._launch(_Starter(Batch(launches), attempts, user_of(launches[0].order)))

    def _launch(self, starter: _Starter) -> bool:
        pid = self._launcher.launch(starter.batch, starter.attempts)
        if pid:
            self._at_work[pid] = starter
        return pid > 0

    # ---- starters that wait

    def _may_get_ready(self) -> bool:
        return bool(self._held) and len(self._ready) < _READY and not self._orders

    def _get_ready(self) -> None:
        """Fork a starter of the first orders that are held; it waits for the word as well."""
        orders = self._first_held()
        attempts = [self._attempts[order["id"]] for order in orders]
        launches: list[Launch] = []
        for attempt, order in zip(attempts, orders, strict=True):
            launch = self._launcher.prepare(attempt, order)
            if launch is None:  # no descriptor is to be had: it is refused
                del self._held[order["id"]]
                for each, prepared in zip(launches, attempts, strict=False):
                    each.close()
                    self._launcher.take_back(prepared)
                return
            launches.append(launch)
        for order in orders:
            del self._held[order["id"]]
        starter = _Starter(Batch(launches, waits=True), attempts, user_of(orders[0]))
        starter.since = NEVER
        if self._launch(starter):
            self._ready.append(starter)

    def _first_held(self) -> list[Order]:
        """As many as the next starter is to have."""
        first = min(self._held.values(), key=itemgetter("hold"))
        alike = [
            order
            for order in self._held.values()
            if order["hold"] == first["hold"] and kind_of(order) == kind_of(first)
        ]
        if not self._ready:
            return alike[:_FIRST]
        return alike[: self._share(len(alike), len(self._ready))]

    def _share(self, count: int, others: int) -> int:
        """Of so many commands, what one more starter gets beside so many others."""
        starters = max(1, STARTERS - others)
        return min(BATCH, max(_WORTH_IT, -(-count // starters)))

    def _stand_down(self, starter: _Starter) -> None:
        """It exits; its orders are with the others again, in the order in which they came.

        That is the order in which one starter can have them; see Tree.join.
        """
        starter.batch.stand_down()
        attempts, starter.attempts = starter.attempts, []
        for attempt in attempts:
            self._launcher.take_back(attempt)
        if starter in self._due:
            self._due.remove(starter)
            for attempt in reversed(attempts):
                self._orders.put_back(attempt.wanted)
            return
        self._ready.remove(starter)
        self._held |= {attempt.id: attempt.wanted for attempt in attempts}
        came = sorted(self._held, key=self._mark_of, reverse=True)
        self._held = {attempt: self._held[attempt] for attempt in came}

    def _mark_of(self, id: str) -> int:
        return self._attempts[id].tree.mark

    # ---- what starters have done

    def hear(self) -> None:
        """Take the commands that they have started."""
        for starter in list(self._at_work.values()):
            while starter.next < len(starter.attempts):
                pid, started, state = starter.batch.told(starter.next)
                if state != STARTED:
                    break
                attempt = starter.attempts[starter.next]
                starter.next += 1
                attempt.starter = 0
                if pid == NO_PROCESS:
                    self._launcher.give_up(attempt)
                else:
                    self._attempts.started(attempt, pid, started)

    def _urge(self) -> None:
        """Whoever stops their starters, and what is about to be a command, stops neither for long.

        A command that isn't known yet can't be ended, nor can its time be measured.
        """
        now = time.monotonic()
        overdue = {pid: s for pid, s in self._at_work.items() if s.overdue}
        if not overdue or now < self._urge_due:
            return
        self._urge_due = now + _STARTER_PATIENCE
        begun = [s.attempts[s.next].tree for s in overdue.values() if s.next < len(s.attempts)]
        bearers = marked(tree.mark for tree in begun)
        for tree in begun:
            tree.wake(bearers[tree.mark])
        for pid in overdue:
            os.kill(pid, signal.SIGCONT)

    def reaped(self, pid: int, status: int, usage: Usage) -> None:
        """One that was killed at its work leaves commands that nobody has started."""
        starter = self._at_work[pid]
        waited = starter in self._ready or starter in self._due
        if waited:
            self._stand_down(starter)
        self.hear()
        del self._at_work[pid]
        if waited or starter.next < len(starter.attempts):
            self._killed[starter.user] = time.monotonic()
        for index in reversed(range(starter.next, len(starter.attempts))):
            attempt = starter.attempts[index]
            _, started, state = starter.batch.told(index)
            if state == UNTOUCHED:
                self._put_back(attempt)
            else:  # it was about to be the command itself, and may have started it all the same
                attempt.starter, attempt.pid, attempt.started = 0, pid, started
                self._attempts.end(attempt, (attempt.end_order or _KILLED) | {"kill_after": 0})
                self._attempts.ended(attempt, status, usage)

    def _put_back(self, attempt: Attempt) -> None:
        self._launcher.take_back(attempt)
        if attempt.end_order is not None:
            self.call_off(attempt, attempt.end_order)
        else:
            self._orders.put_back(attempt.wanted)


def _fits(last: Launch, order: Order, attempt: Attempt) -> bool:
    """Whether an order can follow another one in its batch; see Tree.join."""
    return kind_of(order) == kind_of(last.order) and attempt.tree.mark < last.tree.mark
