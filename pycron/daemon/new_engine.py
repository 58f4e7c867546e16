"""An engine that continues where the last daemon stopped."""

from collections.abc import Callable

from pycron.daemon.other_crons import stopped_at
from pycron.daemon.setup import Setup
from pycron.engine.cursor import (
    after_other_cron,
    handed_out_after,
    starting_cursor,
    starting_gaps,
)
from pycron.engine.engine import Engine
from pycron.engine.shared_runs import NO_CLUSTER
from pycron.schedule.zone import Zone
from pycron.storage.store import Store


def new_engine(
    setup: Setup, store: Store, zone_of: Callable[[str | None], Zone], now: int
) -> Engine:
    """`now`: the UTC second at which this daemon was started. Raises StoreError."""
    stopped = stopped_at(setup.paths.other_cron_stopped)
    record = after_other_cron(store.cursor(), stopped, now)
    cursor, gaps = starting_cursor(record, now), starting_gaps(record, now)
    only_asked = setup.once is not None
    return Engine(
        zone_of,
        cursor,
        () if only_asked else gaps,
        setup.host,
        setup.config.limits,
        setup.config.gates,
        store.pauses(),
        store.done_after(handed_out_after(cursor, gaps)),
        store.delivery_state(setup.delivery_rules, now),
        only_asked=only_asked,
        shared=NO_CLUSTER if only_asked else store.shared_state(_cluster_of(setup)),
    )


def _cluster_of(setup: Setup) -> str | None:
    """The cluster whose shared Jobs this host has; None without a database of it."""
    config = setup.config
    return config.cluster_name if config.cluster_database is not None else None
