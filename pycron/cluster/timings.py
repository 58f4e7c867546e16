"""The durations of the lease, in seconds, and what must hold between them.

A command of a host that is cut off from the database ends at most `lease + poll + kill` after its
host's last beat; nobody fences the host before `fence`, and clocks may differ in rate by 5 %.
"""

from dataclasses import dataclass

RENEW = 5.0  # R: between two renewals
POLL = 1.0  # P: between two looks of the runner at the lease file
KILL = 10.0  # K: from TERM to KILL at most, when the lease has expired
SILENCE = 60.0  # A: no renewal so long after the last sign of life of the daemon
LEASE = 90.0  # L
MARGIN = 30.0  # F - L
DRIFT = 0.05  # by how much clocks may differ in rate


@dataclass(frozen=True, slots=True)
class Timings:
    """See the constants; `fence` is F."""

    lease: float = LEASE
    fence: float = LEASE + MARGIN
    renew: float = RENEW
    poll: float = POLL
    kill: float = KILL
    silence: float = SILENCE

    def mistake(self) -> str | None:
        """What does not hold, as a sentence without a full stop; None if all does."""
        if self.lease < 3 * self.renew:
            return f"a lease of {self.lease:g} s is shorter than three renewals ({self.renew:g} s)"
        longest = self.lease + self.poll + self.kill + DRIFT * self.fence
        if longest > self.fence:
            return f"with a lease of {self.lease:g} s commands could end after they are given up"
        return None


def timings_of(lease: float) -> Timings:
    """The timings for a lease of so many seconds. Raises ValueError."""
    timings = Timings(lease=lease, fence=lease + max(MARGIN, _needed(lease)))
    if (mistake := timings.mistake()) is not None:
        raise ValueError(mistake)
    return timings


def _needed(lease: float) -> float:
    """How much longer than a long lease F has to be."""
    return (POLL + KILL + DRIFT * lease) / (1 - DRIFT) + 1
