"""A pause and its scope: no new Attempt of the Jobs in the scope starts while the pause holds."""

from dataclasses import dataclass
from enum import StrEnum

from pycron.model.job import Job


class ScopeKind(StrEnum):
    """The kinds of scopes."""

    ALL = "all"
    USER = "user"
    POOL = "pool"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Scope:
    """The Jobs that a pause covers: all of them, or those of a user, of a pool, or one Job.

    `name` is the user, the pool or the Job's id; it is empty for all Jobs.
    """

    kind: ScopeKind
    name: str = ""

    def __str__(self) -> str:
        """The form that is stored and logged: `all`, `user:NAME`, `pool:NAME` or `job:ID`."""
        return f"{self.kind.value}:{self.name}" if self.name else self.kind.value

    @classmethod
    def parse(cls, text: str) -> "Scope":
        """The scope that a text from str() stands for. Raises ValueError."""
        kind, _, name = text.partition(":")
        scope = cls(ScopeKind(kind), name)
        if str(scope) != text or bool(name) is (scope.kind is ScopeKind.ALL):
            raise ValueError(f'bad scope: "{text}"')
        return scope

    @classmethod
    def of_user(cls, name: str) -> "Scope":
        return cls(ScopeKind.USER, name)

    @classmethod
    def of_pool(cls, name: str) -> "Scope":
        return cls(ScopeKind.POOL, name)

    @classmethod
    def of_job(cls, job_id: str) -> "Scope":
        return cls(ScopeKind.JOB, job_id)


ALL = Scope(ScopeKind.ALL)


def scopes_of(job: Job) -> list[Scope]:
    """All scopes that a Job belongs to; no pause keeps pycron from telling what has happened."""
    if job.is_message:
        return []
    scopes = [ALL, Scope.of_user(job.user), Scope.of_job(job.id)]
    return [*scopes, Scope.of_pool(job.settings.pool)] if job.settings.pool else scopes


@dataclass(frozen=True, slots=True)
class Pause:
    """No new Attempt within `scope` starts from `since` until `until`, both UTC seconds.

    `until` is None for a pause that lasts until somebody resumes the scope. `by` is the user who
    paused it.
    """

    scope: Scope
    since: float
    until: float | None
    by: str
    reason: str | None = None

    def covers(self, instant: float) -> bool:
        """Whether the pause holds at this UTC second."""
        return self.since <= instant and (self.until is None or instant < self.until)
