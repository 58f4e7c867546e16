"""A real PostgreSQL with the schema of a cluster, and hosts that call it, for tests."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pycron.cluster import calls
from pycron.cluster.calls import Claim, Concurrency, Decided, Gate, Limits, RetryTerms, SharedKey
from pycron.cluster.database import Database
from pycron.cluster.migrations import upgrade
from tests.support.postgres import Postgres, running_postgres

CLUSTER = "prod"


def facts(clock: float | None = None) -> calls.HostFacts:
    return calls.HostFacts("0.1.0", "2026a", "{}", time.time() if clock is None else clock)


class Host:
    """A live incarnation of a host, and its calls."""

    def __init__(self, address: str, name: str, cluster: str = CLUSTER) -> None:
        self.name = name
        self.incarnation = str(uuid.uuid4())
        self.database = Database(address, cluster)

    def register(self) -> bool:
        call = calls.Register(self.name, self.incarnation, facts())
        answer = self.database.perform(call)
        assert isinstance(answer, calls.Registered)
        return answer.accepted

    def renew(self, ahead: float = 0.0, clock: float | None = None) -> calls.Renewed:
        call = calls.Renew(self.name, self.incarnation, facts(clock), ahead)
        answer = self.database.perform(call)
        assert isinstance(answer, calls.Renewed)
        return answer

    def claim(self, *claims: Claim) -> tuple[Decided, ...]:
        answer = self.database.perform(calls.Claims(self.name, self.incarnation, claims))
        assert isinstance(answer, calls.ClaimsDecided)
        return answer.decided

    def start(self, key: SharedKey, attempt: int, **limits: Any) -> Decided:
        gate = Gate(key, attempt, limits_of(**limits))
        answer = self.database.perform(calls.Gates(self.name, self.incarnation, (gate,)))
        assert isinstance(answer, calls.ClaimsDecided)
        return answer.decided[0]

    def finish(
        self,
        key: SharedKey,
        attempt: int = 1,
        outcome: str = "succeeded",
        retry_in: float | None = None,
    ) -> calls.Finished:
        end = calls.Finish(key, attempt, self.incarnation, outcome, None, retry_in)
        answer = self.database.perform(calls.Finishes((end,)))
        assert isinstance(answer, calls.AllFinished)
        return answer.finished[0]

    def change(self, call: calls.Call) -> int:
        """The number of rows that Fence, Goodbye, Reap, Expire or Prune has changed."""
        answer = self.database.perform(call)
        assert isinstance(answer, calls.Changed)
        return answer.rows

    def fence(self, other: "Host") -> bool:
        """Clear another host's incarnation, with the beat that it has now."""
        beat = next(each.beat for each in self.renew().hosts if each.host == other.name)
        return self.change(calls.Fence(other.name, other.incarnation, beat)) == 1


def limits_of(**limits: Any) -> Limits:
    if "concurrency" in limits:
        limits["concurrency"] = Concurrency(limits["concurrency"])
    return Limits(**limits)


def claim(
    key: SharedKey,
    *,
    retry: RetryTerms | None = None,
    window: float = 300.0,
    catch_up: bool = False,
    after: tuple[str, ...] = (),
    newer: bool = False,
    **limits: Any,
) -> Claim:
    """A claim with these limits."""
    terms = retry or RetryTerms()
    return Claim(key, limits_of(**limits), window, catch_up, after, newer, terms)


def run_key(name: str = "job", ago: int = 0, owner: str = "root") -> SharedKey:
    """The Run of a Job that is due so many seconds ago."""
    return SharedKey(owner, name, int(time.time()) - ago)


class ClusterDatabase:
    """The server, and the hosts that a test has made."""

    def __init__(self, server: Postgres, address: str | None = None) -> None:
        self.server = server
        self.address = address or server.address()
        self._hosts: list[Host] = []

    def host(self, name: str = "web1", *, cluster: str = CLUSTER, live: bool = True) -> Host:
        host = Host(self.address, name, cluster)
        self._hosts.append(host)
        if live:
            assert host.register()
        return host

    def column(self, key: SharedKey, column: str) -> str:
        """The value of a column in the row of a Run, as psql prints it."""
        return self.server.psql(
            f"SELECT {column} FROM pycron.runs WHERE owner = '{key.owner}' AND name = '{key.name}'"
            f" AND fire_time = to_timestamp({key.fire_time})"
        )

    def clear(self) -> None:
        for host in self._hosts:
            host.database.close()
        self._hosts.clear()
        self.server.psql("TRUNCATE pycron.hosts, pycron.runs")


@contextmanager
def cluster_database(**settings: str) -> Iterator[ClusterDatabase]:
    with running_postgres(**settings) as server:
        upgrade(server.address())
        database = ClusterDatabase(server)
        yield database
        database.clear()
