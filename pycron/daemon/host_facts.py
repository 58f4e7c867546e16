"""What a host tells the agent of its cluster about itself."""

from collections.abc import Callable

from pycron import __version__
from pycron.control.workers import Workers
from pycron.daemon.cluster_words import ComparedTables
from pycron.daemon.setup import Setup
from pycron.engine.engine import Engine
from pycron.protocol.cluster_messages import (
    CLUSTER_PROTOCOL,
    DaemonHello,
    FactsMessage,
    WorkerPart,
)
from pycron.storage.store import Store


class HostFacts:
    """`tzdata`: the release of the zone data."""

    def __init__(
        self,
        setup: Setup,
        tzdata: Callable[[], str],
        store: Store,
        engine: Engine,
        workers: Workers,
    ) -> None:
        config = setup.config
        self.cluster = config.cluster_name or ""
        self.host = config.cluster(setup.host).host  # another one needs a restart
        self._setup = setup
        self._tzdata = tzdata
        self._store = store
        self._engine = engine
        self._workers = workers
        self._tables = ComparedTables()

    def hello(self) -> DaemonHello:
        """All of the agent's configuration. Raises StoreFailure."""
        config, facts = self._setup.config, self.facts()
        assert config.cluster_database is not None
        hello: DaemonHello = {
            "type": "hello",
            "protocol": CLUSTER_PROTOCOL,
            "cluster": self.cluster,
            "database": config.cluster_database,
            "host": self.host,
            "lease": float(config.cluster_lease),
            "lease_file": str(self._setup.paths.lease),
            "store": self._store.store_id(),
            "pools": facts["pools"],
            "version": facts["version"],
            "tzdata": facts["tzdata"],
            "tables": facts["tables"],
            "workers": facts["workers"],
        }
        if config.cluster_broker is not None:
            hello["broker"] = config.cluster_broker
        return hello

    def facts(self) -> FactsMessage:
        """What may change meanwhile."""
        return {
            "type": "facts",
            "version": __version__,
            "tzdata": self._tzdata(),
            "tables": self._tables.in_short(self._engine.jobs()),
            "pools": dict(self._setup.config.cluster_pools),
            "workers": [
                WorkerPart(queues=list(each.queues), version=each.version, slots=each.slots)
                for each in self._workers.all
            ],
        }
