"""This host's own incarnation and lease: what the lease file says, and what may be asked for.

An incarnation is written into the file before it is registered, so that an agent that is killed in
between finds it again; and it is registered only once: after a fence there is a new one. The file
with the new one voids the lease of the old one at the same time.

`deadline`: until when the file lets Attempts of the incarnation run (seconds of BOOTTIME).

Pure: it uses no clock and writes no file.
"""

from collections.abc import Callable
from enum import Enum, auto

from pycron.system.lease_file import Lease


class Standing(Enum):
    """UNWRITTEN: the file does not have the incarnation yet. NEW: it was never registered.

    CONTINUED: an earlier agent may have registered it. LIVE: it is registered, as far as known.
    """

    UNWRITTEN = auto()
    NEW = auto()
    CONTINUED = auto()
    LIVE = auto()


class OwnLease:
    """`found`: what the file said when the agent started; None: nothing of this boot."""

    def __init__(
        self, found: Lease | None, store: str, boot: str, new_id: Callable[[], str]
    ) -> None:
        self._store = store
        self._boot = boot
        self._new_id = new_id
        if found is not None and found.incarnation is not None and found.store == store:
            self.incarnation = found.incarnation
            self.standing = Standing.CONTINUED
            self.deadline = found.deadline
        else:
            self.replace()

    def replace(self) -> None:
        """The incarnation is no longer live: take a new one. `to_write` has to be written next."""
        self.incarnation = self._new_id()
        self.standing = Standing.UNWRITTEN
        self.deadline = 0.0

    def to_write(self) -> Lease | None:
        """What the file has to say before anything else is asked for; None: it says so already."""
        if self.standing is not Standing.UNWRITTEN:
            return None
        return Lease(self.incarnation, 0.0, self._store, self._boot)

    def renewed(self, deadline: float) -> Lease:
        """The incarnation is live until then; this is to be written."""
        self.standing = Standing.LIVE
        return Lease(self.incarnation, deadline, self._store, self._boot)

    def void(self) -> Lease:
        """The file of a host that has given up its name."""
        return Lease(None, 0.0, self._store, self._boot)

    def written(self, lease: Lease) -> None:
        """The file says so now."""
        if lease.incarnation != self.incarnation:
            return
        self.deadline = lease.deadline
        if self.standing is Standing.UNWRITTEN:
            self.standing = Standing.NEW

    def holds(self, now: float) -> bool:
        """Whether Attempts of this incarnation may be started now, as far as the file says."""
        return self.standing is Standing.LIVE and now < self.deadline

    def expired(self, now: float) -> bool:
        """Whether the file allows nothing to run any more."""
        return now >= self.deadline
