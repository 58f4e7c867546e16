"""The lease of this host: registering, renewing, and what becomes of it when it was fenced.

Pure: it uses no clock and writes no file.
"""

from dataclasses import dataclass

from pycron.cluster import messages
from pycron.cluster.beats import Beats
from pycron.cluster.calls import (
    Goodbye,
    HostBeat,
    HostFacts,
    Register,
    Registered,
    Renew,
    Renewed,
    WorkerFacts,
)
from pycron.cluster.events import Now, Written
from pycron.cluster.out import Out
from pycron.cluster.own_lease import OwnLease, Standing
from pycron.cluster.timings import Timings, timings_of
from pycron.protocol.cluster_messages import DaemonHello, FactsMessage, StatusMessage

_AGAIN = 1.0  # seconds: after a failure; and between two renewals at least
_NOTABLE = 0.5  # seconds: a change of the clocks' difference that the daemon is told


@dataclass(frozen=True, slots=True)
class Setup:
    """What the daemon's hello says, as far as it may change while an agent runs."""

    version: str
    tzdata: str
    tables: str
    pools: dict[str, int]
    workers: tuple[WorkerFacts, ...]


def setup_of(message: DaemonHello | FactsMessage) -> Setup:
    workers = tuple(map(messages.worker_of, message.get("workers", ())))
    return Setup(
        message["version"], message["tzdata"], message["tables"], message["pools"], workers
    )


class Renewals:
    """Of one host. All instants are seconds of BOOTTIME, unless they are a Now."""

    def __init__(self, hello: DaemonHello, lease: OwnLease, out: Out, now: float) -> None:
        self.host = hello["host"]
        self.setup = setup_of(hello)
        self.timings: Timings = timings_of(hello["lease"])
        self.lease = lease
        self.beats = Beats(self.timings)
        self._out = out
        self._alive = now
        self._at = now  # of the next renewal
        self._asked = now - _AGAIN
        self._write_at = now
        self._problem: str | None = None
        self.drained = False
        self.broker: str | None = None  # what keeps this host from publishing
        self._offset = 0.0
        self._served: tuple[str, ...] = ()
        self._told: StatusMessage | None = None

    def alive(self, now: float) -> None:
        """The daemon has given a sign of life."""
        self._alive = now

    def is_silent(self, now: float) -> bool:
        """Whether the daemon has been silent for so long that nothing is renewed or claimed."""
        return now - self._alive > self.timings.silence

    def soon(self, at: float) -> None:
        """Renew at this instant already, but not more often than once a second."""
        self._at = min(self._at, max(at, self._asked + _AGAIN))

    def next_at(self) -> float:
        """When something is to be done next."""
        return self._at if self.lease.to_write() is None else self._write_at

    def write(self, now: float) -> None:
        """Write the file, if it does not have the incarnation yet."""
        new = self.lease.to_write()
        if new is not None and now >= self._write_at:
            self._write_at = now + _AGAIN
            self._out.write(new)

    def next_call(self, now: Now) -> Register | Renew | None:
        """The call that is due."""
        standing = self.lease.standing
        if now.boot < self._at or self.is_silent(now.boot) or standing is Standing.UNWRITTEN:
            return None
        self._asked = now.boot
        setup = self.setup
        facts = HostFacts(
            setup.version, setup.tzdata, setup.tables, now.wall, setup.workers, self.broker
        )
        incarnation = self.lease.incarnation
        if standing is Standing.NEW:
            return Register(self.host, incarnation, facts)
        return Renew(self.host, incarnation, facts, ahead=self.timings.renew)

    def goodbye(self) -> Goodbye | None:
        """The call that gives up the name; None if there is nothing to give up."""
        if self.lease.standing in (Standing.UNWRITTEN, Standing.NEW):
            return None
        return Goodbye(self.host, self.lease.incarnation)

    def registered(self, answer: Registered, asked: float, now: float) -> None:
        self.beats.look(answer.hosts, asked, now)
        if answer.accepted:
            self._out.log("info", f'registered as "{self.host}"')
            self._out.write(self.lease.renewed(asked + self.timings.lease))
            self._at = now
            self._note(None)
        else:
            self._at = asked + self.timings.renew
            self._note(f'another daemon, or this one before a reboot, has the name "{self.host}"')

    def renewed(self, call: Renew, answer: Renewed, asked: float, now: Now) -> bool:
        """Whether the lease goes on; otherwise this host was fenced and has a new incarnation."""
        if not answer.live:
            self._fenced(now.boot)
            return False
        self._out.write(self.lease.renewed(asked + self.timings.lease))
        self.beats.look(answer.hosts, asked, now.boot)
        self._at = asked + self.timings.renew
        self.drained, self._served = answer.drained, answer.served
        self._offset = (call.facts.clock + now.wall) / 2 - answer.clock
        self._note(None)
        return True

    def failed(self, reason: str, now: float) -> None:
        """A renewal has no answer."""
        self._at = now + _AGAIN
        self._note(f"the database cannot be used: {reason}")

    def written(self, event: Written) -> None:
        if event.problem is None:
            self.lease.written(event.lease)
        else:
            self._note(f"the lease file cannot be written: {event.problem}")

    def parted(self) -> None:
        """The name is free: this incarnation holds nothing any more."""
        self._out.write(self.lease.void())
        self.lease.replace()

    def silent(self) -> list[HostBeat]:
        """The hosts to fence, as the last look has shown them."""
        return self.beats.silent(self.lease.incarnation)

    def greet(self) -> None:
        """A new daemon knows nothing."""
        self._told = None

    def tell_status(self) -> None:
        """Tell the daemon how things are, if that is not what it was told last."""
        live = self.lease.standing is Standing.LIVE
        status: StatusMessage = {
            "type": "status",
            "incarnation": self.lease.incarnation if live else None,
            "hosts": self.beats.live(),
            "drained": self.drained,
            "problem": self._problem,
            "offset": round(self._offset, 3),
            "broker": self.broker,
            "served": list(self._served),
        }
        told = self._told
        if told is not None and abs(told["offset"] - status["offset"]) < _NOTABLE:
            status["offset"] = told["offset"]
        if status != told:
            self._told = status
            self._out.tell(status)

    def _fenced(self, now: float) -> None:
        expected = self.lease.standing is Standing.CONTINUED and self.lease.expired(now)
        level = "info" if expected else "warning"
        self._out.log(level, f'"{self.host}" had lost its lease, and starts as a new incarnation')
        self.lease.replace()
        self.drained = False
        self._write_at = self._at = now

    def _note(self, problem: str | None) -> None:
        if problem is not None and problem != self._problem:
            self._out.log("warning", problem)
        elif problem is None and self._problem is not None:
            self._out.log("info", "the database can be used again")
        self._problem = problem
