"""Claims: what will be due in a moment is recorded and handed to the runner before its fire time.

So only a short message is left to be sent at the fire time. Measured with 1,000 Jobs that are due
in one minute, on two cores: with claims the first one starts 3 ms after the fire time, and the last
one after 1.10 times as long as with plain spawning; without claims after 181 ms and 1.29 times.
"""

from collections.abc import Iterable

from pycron.engine.intake import DueFire, Intake
from pycron.engine.timetable import Timetable
from pycron.model.run import RunKey

# Seconds before a fire time at which Runs are claimed: at least CLAIM_AHEAD, and more where many
# Runs are due. If both the runner and the daemon die after the claim, nobody can tell whether a Run
# began: it is lost. They are binary fractions, so that they can be subtracted from an instant and
# added again without rounding.
CLAIM_AHEAD = 5 / 16
CLAIM_AHEAD_PER_RUN = 1 / 2048
LONGEST_CLAIM_AHEAD = 5.0


class Claims:
    """Which fire times are claimed. `known`: Runs that were recorded before their fire time."""

    def __init__(self, timetable: Timetable, known: Iterable[RunKey]) -> None:
        self._timetable = timetable
        self._known: dict[int, set[RunKey]] = {}  # by fire time
        for run in known:
            self.add(run)
        self._claimed: int | None = None  # the fire time that is or was claimed
        self._coming = Intake()  # what is still to be claimed of it
        self._ahead_of: tuple[int, float] | None = None  # seconds ahead of the next fire time

    def __contains__(self, run: RunKey) -> bool:
        return run in self._known.get(run.fire_time, ())

    def add(self, run: RunKey) -> None:
        self._known.setdefault(run.fire_time, set()).add(run)

    def forget_until(self, now: float) -> None:
        """The timetable has handed out all fire times up to this UTC second."""
        for fire in [fire for fire in self._known if fire <= now]:
            del self._known[fire]

    def reconsider(self) -> None:
        """Tables or zones have changed, so other Runs may be due next."""
        self._claimed = self._ahead_of = None
        self._coming.clear()

    @property
    def pending(self) -> bool:
        """Whether some Runs of the fire time that is being claimed are still to be claimed."""
        return bool(self._coming)

    def wakeup(self, *, others_wait: bool) -> float | None:
        """The UTC second at which the next fire time is to be claimed; once claimed, itself."""
        fire = self._timetable.next_fire_time()
        if fire is None or fire == self._claimed:
            return fire
        return fire - self._ahead(fire, others_wait=others_wait)

    def take(self, now: float, *, others_wait: bool) -> DueFire | None:
        """The next one of the next fire time that is to be claimed; each is returned once."""
        fire = self._timetable.next_to_come()
        if fire != self._claimed:
            self._coming.clear()
            if fire is None or not now < fire <= now + self._ahead(fire, others_wait=others_wait):
                return None
            self._claimed = fire
            self._coming.add(self._timetable.peek(fire))
        return self._coming.take()

    def _ahead(self, fire: int, *, others_wait: bool) -> float:
        """How many seconds before this fire time its Runs are claimed.

        As few as possible while other Runs wait in the queue: a claimed Run counts against the
        limits.
        """
        if others_wait:
            return CLAIM_AHEAD
        if self._ahead_of is None or self._ahead_of[0] != fire:
            ahead = max(CLAIM_AHEAD, CLAIM_AHEAD_PER_RUN * self._timetable.count(fire))
            self._ahead_of = fire, min(ahead, LONGEST_CLAIM_AHEAD)
        return self._ahead_of[1]
