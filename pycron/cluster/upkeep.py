"""What the agent does beside the questions: hand in ends, publish, fence, reap, expire, prune.

Each kind takes its turn, so that none waits for another for long. Pure: it uses no clock.
"""

from collections.abc import Sequence

from pycron.cluster.calls import (
    BATCH,
    Call,
    Expire,
    Fence,
    Finish,
    Finished,
    Finishes,
    HostBeat,
    Kill,
    Prune,
    Reap,
    Refusal,
    Refuse,
    SharedKey,
)
from pycron.cluster.publications import Publications

_PRUNE_EVERY = 3600.0  # seconds
_FIRST_PRUNE = 60.0

FinishId = tuple[SharedKey, int, str]


class Upkeep:
    """The calls of the lane for everything that may wait a moment."""

    def __init__(self, host: str, now: float, *, has_broker: bool) -> None:
        self.publications = Publications(has_broker=has_broker)
        self._host = host
        self._refusals: dict[tuple[SharedKey, int], Refusal] = {}
        self._kills: dict[SharedKey, str] = {}  # by whom
        self._finishes: dict[FinishId, Finish] = {}
        self._fences: dict[str, Fence] = {}
        self._reap = False
        self._expire = False
        self._prune_at = now + _FIRST_PRUNE
        self._turn = 0

    @property
    def has_finishes(self) -> bool:
        """Whether ends are still to be handed in."""
        return bool(self._finishes)

    def finish(self, finish: Finish) -> None:
        """An Attempt has ended. A finish that is repeated is handed in once."""
        self._finishes[finish.key, finish.attempt, finish.incarnation] = finish

    def refuse(self, refusal: Refusal) -> None:
        """A worker does not take a Run. Whoever writes to the broker can make many of these."""
        if len(self._refusals) < BATCH:
            self._refusals[refusal.key, refusal.attempt] = refusal

    def kill(self, key: SharedKey, by: str) -> None:
        """Somebody wants a Run to end."""
        self._kills[key] = by

    def fence(self, rows: Sequence[HostBeat]) -> None:
        """These hosts, as seen by the last look, are silent; those of an earlier look are not."""
        self._fences = {
            row.host: Fence(row.host, row.incarnation, row.beat)
            for row in rows
            if row.incarnation is not None
        }

    def sweep(self, *, reap: bool, expire: bool) -> None:
        """The last renewal has found something, or nothing, to reap and to expire."""
        self._reap = reap
        self._expire = expire

    def next_call(self, now: float) -> Call | None:
        """The next call of this lane."""
        kinds = (
            self._next_finishes, self._next_fence, self._next_reap, self._next_expire,
            self._next_refuse, self._next_kill, lambda: self.publications.next_call(now),
        )  # fmt: skip
        for _ in kinds:
            self._turn = (self._turn + 1) % len(kinds)
            call: Call | None = kinds[self._turn]()
            if call is not None:
                return call
        if now < self._prune_at:
            return None
        return Prune()

    def taken(self, call: Finishes, results: Sequence[Finished]) -> list[tuple[Finish, Finished]]:
        """The ends that have been answered, to tell the daemon."""
        for each in call.finishes:
            self._finishes.pop((each.key, each.attempt, each.incarnation), None)
        return list(zip(call.finishes, results, strict=True))

    def noted(self, call: Refuse) -> None:
        """These refusals are in their rows."""
        for each in call.refusals:
            self._refusals.pop((each.key, each.attempt), None)

    def killed(self, call: Kill) -> None:
        """The Run has been told to end, or has ended."""
        self._kills.pop(call.key, None)

    def fenced(self, call: Fence) -> None:
        """The host is free, or it was not silent after all."""
        if self._fences.get(call.host) == call:
            del self._fences[call.host]
            self._reap = True

    def swept(self, call: Reap | Expire | Prune, rows: int, now: float) -> None:
        """So many rows were changed; while it were as many as possible, there are more."""
        more = rows >= call.most
        if isinstance(call, Reap):
            self._reap = more
        elif isinstance(call, Expire):
            self._expire = more
        elif not more:
            self._prune_at = now + _PRUNE_EVERY

    def _next_finishes(self) -> Finishes | None:
        chosen = sorted(self._finishes)[:BATCH]
        return Finishes(tuple(self._finishes[each] for each in chosen)) if chosen else None

    def _next_fence(self) -> Fence | None:
        return next(iter(self._fences.values()), None)

    def _next_reap(self) -> Reap | None:
        return Reap() if self._reap else None

    def _next_expire(self) -> Expire | None:
        return Expire(problem=self.publications.problem) if self._expire else None

    def _next_refuse(self) -> Refuse | None:
        refusals = tuple(self._refusals[each] for each in sorted(self._refusals))
        return Refuse(self._host, refusals) if refusals else None

    def _next_kill(self) -> Kill | None:
        return next((Kill(key, by) for key, by in self._kills.items()), None)
