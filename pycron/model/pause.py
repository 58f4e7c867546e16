"""Pause: Runs in a scope do not start for a while."""

from dataclasses import dataclass
from enum import StrEnum

from pycron.model.job import Job


class ScopeKind(StrEnum):
    ALL = "all"
    USER = "user"
    POOL = "pool"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Scope:
    """The Jobs that a pause applies to: all, or those of a user, of a pool, or the one of an id.

    `name` is the user, the pool or the Job's id; it is empty if the kind is ALL.
    """

    kind: ScopeKind
    name: str

    def __str__(self) -> str:
        """The stored form, which JSON has too: `all`, `user:NAME`, `pool:NAME` or `job:ID`."""
        return self.kind.value if self.kind is ScopeKind.ALL else f"{self.kind.value}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> "Scope":
        """The scope of a stored form. Raises ValueError."""
        kind, _, name = text.partition(":")
        return cls(ScopeKind(kind), name)

    @classmethod
    def of_job(cls, job_id: str) -> "Scope":
        return cls(ScopeKind.JOB, job_id)

    @classmethod
    def of_user(cls, name: str) -> "Scope":
        return cls(ScopeKind.USER, name)

    @classmethod
    def of_pool(cls, name: str) -> "Scope":
        return cls(ScopeKind.POOL, name)


ALL = Scope(ScopeKind.ALL, "")


def scopes_of(job: Job) -> list[Scope]:
    """The scopes of the pauses that apply to a Job."""
    scopes = [ALL, Scope.of_user(job.user), Scope.of_job(job.id)]
    return [*scopes, Scope.of_pool(job.settings.pool)] if job.settings.pool else scopes


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing within `scope` is started from `since` until `until` (None: until it is resumed).

    `by`: the user who paused it. Instants are UTC seconds.
    """

    scope: Scope
    since: float
    until: float | None
    by: str
    reason: str | None = None

    def covers(self, instant: float) -> bool:
        return self.since <= instant and (self.until is None or instant < self.until)
