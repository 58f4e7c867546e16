"""Log entries of the daemon's start: what an administrator must know about this machine."""

import os
from collections.abc import Iterator

from pycron import __version__
from pycron.config import Config
from pycron.daemon.setup import Setup
from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.storage.errors import StoreError
from pycron.storage.store import Store
from pycron.system.pam import has_service
from pycron.system.paths import SPOOL
from pycron.system.zone_data import ZoneData, unknown_machine_zone
from pycron.tables.layouts import Layout, unread_tables


def start_notices(setup: Setup, store: Store, zones: ZoneData) -> Iterator[Log]:
    """The entries of one start, in the order in which they are to be logged."""
    fields = {
        "version": __version__,
        "mode": setup.mode.value,
        "pid": os.getpid(),
        "zone": zones.machine.name,
        "zone_data": zones.origin,
        "state": str(setup.paths.state),
    }
    yield Log(Event.DAEMON_STARTED, fields)
    if unknown := unknown_machine_zone(zones):
        reason = f'TZ: unknown zone: "{unknown}"; the zone of this daemon is {zones.machine.name}'
        yield Log(Event.ZONE_UNKNOWN, {"reason": reason}, bad=True)
    if setup.config.mail_transport != "none" and _mail_is_new(store):
        reason = 'what Jobs print is mailed, as cron does; mail.transport = "none" turns it off'
        yield Log(Event.MAIL_IS_NEW, {"reason": reason}, bad=True)
    yield from pam_notices(setup.config)
    if setup.layout is not None:
        yield from _unread_tables(setup.layout)


def pam_notices(config: Config) -> Iterator[Log]:
    """Without a file of its own for the service, PAM lets `other` decide, whatever that says."""
    service = config.pam_service
    if service is not None and not has_service(service):
        reason = f"/etc/pam.d/{service} does not exist: PAM goes by /etc/pam.d/other instead"
        yield Log(Event.PAM_SERVICE_MISSING, {"reason": reason}, bad=True)


def _mail_is_new(store: Store) -> bool:
    """Whether this is the first start after an upgrade from a version that sent no mail."""
    try:
        return store.take_mail_is_new()
    except StoreError:
        return False  # the next start says it


def _unread_tables(layout: Layout) -> Iterator[Log]:
    """A layout was chosen while pycron's own spool had tables: none of them runs any more."""
    users = unread_tables(layout)
    if users:
        names = ", ".join(users[:5]) + (", ..." if users[5:] else "")
        reason = f"the users' tables are in {layout.spool}; not read: those of {names}"
        yield Log(Event.TABLE_IGNORED, {"path": str(SPOOL), "reason": reason}, bad=True)
