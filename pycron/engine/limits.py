"""The limits on what may run and wait at once, and the load at which nothing starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """How many Runs may run and wait at once; None is no limit.

    `pools`: limits by pool name. `pool_rates`: by pool name, how many may start in a second.
    `user_starts_per_second`: how many Runs of one user may start in a second, averaged over a
    minute. `priority`: the highest priority with which a user's table passes other users' Runs.
    """

    running: int | None = None
    user_running: int | None = None
    waiting: int | None = None
    user_waiting: int | None = None
    starts_per_second: int | None = None
    pools: Mapping[str, int] = field(default_factory=dict)
    pool_rates: Mapping[str, float] = field(default_factory=dict)
    user_starts_per_second: float | None = None
    priority: int = 0


UNLIMITED = Limits()


def reserved(most: int) -> int:
    """How many places of a limit are kept for users who have none of it."""
    return max(1, most // 8) if most > 1 else 0


def others_have_none(users: frozenset[str], counted: Mapping[str, int]) -> bool:
    """Whether some of the users are not among those that are counted."""
    return len(users) > len(counted) or not users <= counted.keys()


def kept_in_words(limit: str, most: int) -> str:
    return f"{limit} is {most}, and {reserved(most)} are kept for users who have nothing running"


@dataclass(frozen=True, slots=True)
class PressureLimits:
    """When the machine is too busy for another command to start; None is never.

    `load`: that of the last minute. `free_memory`: bytes.
    """

    load: float | None = None
    free_memory: int | None = None


NO_PRESSURE_LIMITS = PressureLimits()


@dataclass(frozen=True, slots=True)
class Pressure:
    """How busy the machine is: the load of the last minute, and the free memory in bytes."""

    load: float
    free_memory: int


def pressure_reason(limits: PressureLimits, pressure: Pressure) -> str | None:
    """Why no command may start on a machine that is so busy; None if it may."""
    free_memory = pressure.free_memory
    if limits.load is not None and pressure.load > limits.load:
        return f"the load is {pressure.load:.1f} (limits.load is {limits.load:g})"
    if limits.free_memory is not None and free_memory < limits.free_memory:
        mebibytes = free_memory // 2**20
        return f"{mebibytes} MiB of memory are free (limits.free_memory is {limits.free_memory})"
    return None
