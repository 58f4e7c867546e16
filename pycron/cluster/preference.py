"""Which host asks first for a fire time, so that Runs spread and most claims meet no other.

It is only a preference: the row in the database decides, and a host that is not preferred asks a
second later. Pure.
"""

import hashlib
from collections.abc import Collection

from pycron.cluster.calls import SharedKey


def asks_first(
    key: SharedKey, host: str, ready: Collection[str], group: Collection[str] | None
) -> bool:
    """Whether this host is to ask at once, as all agents that see the same hosts agree.

    `ready`: the hosts that get Runs. `group`: those that may have the entry; None: all.
    """
    hosts = {each for each in ready if group is None or each in group} | {host}
    return max(hosts, key=lambda each: _weight(key, each)) == host


def _weight(key: SharedKey, host: str) -> bytes:
    """The highest wins: if a host goes, only its own fire times move (rendezvous hashing)."""
    return hashlib.sha256("\0".join([*map(str, key), host]).encode()).digest()
