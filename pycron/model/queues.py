"""Queues: names of work that any worker may take (CRON_ON=queue:NAME).

A priority is a queue of its own, whose name ends with it: who serves `default` serves
`default.high`, then `default`, then `default.low`.
"""

from collections.abc import Iterable

_FIRST, _LAST = ".high", ".low"


def with_priorities(name: str) -> tuple[str, ...]:
    """The queues that are served with this one, the most urgent first."""
    return name + _FIRST, name, name + _LAST


def is_served(queue: str, served: Iterable[str]) -> bool:
    """Whether who serves these queues serves this one, too."""
    return any(queue in with_priorities(name) for name in served)
