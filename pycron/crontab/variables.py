"""Variables: what the lines of a table above an entry say of it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pycron.crontab.line import LineError
from pycron.crontab.messages import MESSAGE_POOL
from pycron.model.job import Environment
from pycron.model.settings import Concurrency, Settings, intern, job_limit

LARGEST_ENVIRONMENT = 65_536  # characters; every command of a minute gets a copy
_FEW = 64  # assignments for which no copy of the environment is made


@dataclass(slots=True)
class _Stretch:
    """Assignments of a table, in order, and the environment before the first of them.

    A stretch has at most about as many assignments as `before` has variables. So to read an
    environment takes time that is linear in its size, and all stretches of a table together take
    memory that is linear in its lines.
    """

    before: dict[str, str]
    assigned: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return len(self.assigned) >= len(self.before) + _FEW


class SharedEnvironment(Collection[tuple[str, str]]):
    """The variables at a line of a table: pairs of name and value, by their first assignment.

    Environments of a table share its assignments: each is a position among them. Two environments
    are equal if their digests are, so to compare them takes no time. The digest is the sum of
    Python's hashes of the pairs (64 bits, with a key that nobody knows).
    """

    __slots__ = ("_digest", "_size", "_stretch", "_until")

    def __init__(self, stretch: _Stretch, size: int, digest: int) -> None:
        self._stretch = stretch
        self._until = len(stretch.assigned)
        self._size = size
        self._digest = digest

    def __iter__(self) -> Iterator[tuple[str, str]]:
        stretch = self._stretch
        return iter((stretch.before | dict(stretch.assigned[: self._until])).items())

    def __len__(self) -> int:
        return self._size

    def __contains__(self, pair: object) -> bool:
        return pair in tuple(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SharedEnvironment):
            return (self._size, self._digest) == (other._size, other._digest)
        return isinstance(other, tuple) and tuple(self) == other

    def __repr__(self) -> str:
        return repr(tuple(self))


class Variables:
    """The variables and settings that hold at a line of a table.

    `defaults` and `ceilings`: values of settings, by attribute, from the configuration.
    """

    def __init__(self, defaults: Mapping[str, Any], ceilings: Mapping[str, Any]) -> None:
        self.values: dict[str, Any] = dict(defaults)
        self.ceilings = ceilings
        self._environment: dict[str, str] = {}
        self._characters = 0
        self._digest = 0
        self._stretch = _Stretch({})
        self._snapshot: Environment | None = ()
        self._settings = self._capped(self.values)

    def set(self, name: str, value: str) -> None:
        """Set a variable of the environment. Raises LineError."""
        old = self._environment.get(name)
        more = len(value) - len(old) if old is not None else len(name) + len(value)
        if self._characters + more > LARGEST_ENVIRONMENT:
            message = f"more than {LARGEST_ENVIRONMENT} characters of variables"
            raise LineError("too-many-variables", message, 0)
        if self._stretch.is_full:
            self._stretch = _Stretch(dict(self._environment))
        self._characters += more
        self._digest += hash((name, value)) - (0 if old is None else hash((name, old)))
        self._environment[name] = value
        self._stretch.assigned.append((name, value))
        self._snapshot = None

    def set_setting(self, attribute: str, value: Any) -> None:
        """Set a setting of all entries below."""
        self.values = {**self.values, attribute: value}
        self._settings = self._capped(self.values)

    def environment(self) -> Environment:
        """The same object until a variable is set: many entries share it."""
        if self._snapshot is None:
            self._snapshot = SharedEnvironment(self._stretch, len(self._environment), self._digest)
        return self._snapshot

    def settings_of(self, values: dict[str, Any], flags: str) -> Settings:
        """The settings of an entry: those in force, or those of its own `values`.

        OpenBSD's flag -s is CRON_CONCURRENCY=forbid, unless the table says otherwise. The messages
        that name no pool have one in common, because sending many at once takes all processors.
        """
        if "s" in flags and values.get("concurrency") is None:
            values = {**values, "concurrency": Concurrency.FORBID}
        if values.get("send") is not None and values.get("pool") is None:
            values = {**values, "pool": MESSAGE_POOL}
        return self._settings if values is self.values else self._capped(values)

    def _capped(self, values: dict[str, Any]) -> Settings:
        """The settings with these values, each at most its ceiling.

        The name is left out: it belongs to one Job, and many Jobs share the rest.
        """
        values = {attribute: value for attribute, value in values.items() if attribute != "name"}
        settings = intern(frozenset(values.items()))
        above = {
            attribute: most
            for attribute, most in self.ceilings.items()
            if (value := _effective(settings, attribute)) is None or value > most
        }
        return intern(frozenset({**values, **above}.items())) if above else settings


def _effective(settings: Settings, attribute: str) -> Any:
    """The value of a setting; without CRON_MAX_RUNNING, the policy may allow one Attempt only."""
    return job_limit(settings) if attribute == "max_running" else getattr(settings, attribute)
