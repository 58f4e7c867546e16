"""Reads the inputs of the daemon, and reads them again: configuration, zones, accounts, tables."""

import os
import signal
import time
from collections.abc import Callable, Collection
from contextlib import suppress

from pycron.config import Config, ConfigError
from pycron.control.context import Reloaded
from pycron.crontab.reader import ReaderContext
from pycron.daemon.notices import pam_notices
from pycron.daemon.other_crons import OtherCrons
from pycron.daemon.setup import Setup
from pycron.engine.actions import Log
from pycron.engine.events import ConfigChanged, InputEvent, MailTransport, ZonesChanged
from pycron.engine.limits import Pressure
from pycron.engine.log_events import Event
from pycron.model.text import printable
from pycron.system.accounts import Accounts
from pycron.system.sd_notify import notify
from pycron.system.zone_data import ZoneData
from pycron.tables.directories import TableDirectories
from pycron.tables.loaded import Tables
from pycron.tables.mail_transport import why_no_mail
from pycron.tables.versions import TableVersions

_HOUR = 3600.0  # seconds between two looks at the zone data, and at the processes of the machine


class Inputs:
    """The inputs of one daemon; what has changed is passed to the engine.

    `attend`: does what is due; it is called while tables are read. `no_mail`: why no mail can be
    sent at present.
    """

    def __init__(
        self,
        setup: Setup,
        accounts: Accounts,
        feed: Callable[[InputEvent], object],
        log: Callable[[Log], None],
        attend: Callable[[], object],
    ) -> None:
        self._setup = setup
        self._accounts = accounts
        self._feed = feed
        self._log = log
        self.zones = ZoneData()
        self._checked = time.monotonic()
        self.no_mail: str | None = None
        self.tables = Tables(
            TableDirectories(setup.tables, setup.configuration.current),
            accounts,
            self.reader_context,
            feed,
            log,
            TableVersions(setup.paths.versions, setup.configuration.current, accounts, log),
            attend,
        )
        self.other_crons = OtherCrons(setup.layout, log)

    def reader_context(self) -> ReaderContext:
        """What tables are read with."""
        config = self._setup.config
        return ReaderContext(
            host=self._setup.host,
            zone_exists=self.zones.exists,
            most_entries=config.table_entries,
            pools=_pools(config),
            notifications={
                name: rule.users for name, rule in self._setup.delivery_rules.notifications.items()
            },
            calendars=config.calendars,
            senders=self._setup.users_of_senders,
            no_mail=self.no_mail,
            defaults=config.defaults,
            ceilings=config.ceilings,
            cluster=config.cluster(self._setup.host),
        )

    # ---- everything, when somebody asks for it

    def reload_on_signal(self, number: signal.Signals) -> None:
        """The log tells whether the configuration is good."""
        with suppress(ConfigError):
            self.reload(number.name)

    def reload(self, by: str) -> Reloaded:
        """Read everything again, whether it looks changed or not. Raises ConfigError.

        A bad configuration changes nothing: neither options nor tables. `by`: who wants it.
        """
        notify("RELOADING=1")
        try:
            return self._reload(by)
        finally:
            notify("READY=1")

    def _reload(self, by: str) -> Reloaded:
        self._check_zones()
        try:
            changed = self._setup.configuration.reload(self.zones.exists)
        except ConfigError as error:
            self._log(Log(Event.CONFIG_BAD, {"reason": str(error), "by": by}, bad=True))
            notify(f"STATUS=not reloaded: {printable(str(error))}")
            raise
        self._accounts.forget()
        for notice in pam_notices(self._setup.config):
            self._log(notice)
        self.other_crons.look()
        self._feed(self._config_changed())
        self._look_at_mail()
        self.tables.rescan(again=True)
        reloaded = Reloaded(changed.at_reload, changed.at_start, self.tables.count())
        fields = {
            "tables": reloaded.tables,
            "changed": ", ".join(reloaded.changed) or None,
            "at_start": ", ".join(reloaded.at_start) or None,
            "by": by,
        }
        self._log(Log(Event.RELOADED, fields, bad=bool(reloaded.at_start)))
        notify("STATUS=")
        return reloaded

    def _config_changed(self) -> ConfigChanged:
        config = self._setup.config
        return ConfigChanged(
            config.limits, config.gates, self._setup.delivery_rules, self.pressure()
        )

    # ---- now and then

    def pressure(self) -> Pressure | None:
        """How busy the machine is; None if no limit depends on it."""
        config = self._setup.config
        if config.load is None and config.free_memory is None:
            return None
        import psutil  # 15 ms and 3 MB, and few configurations need it

        load, _, _ = os.getloadavg()
        return Pressure(load, psutil.virtual_memory().available)

    def check_mail(self) -> None:
        """Tell the engine and the tables whether mail can be sent, if that has changed."""
        if self._look_at_mail():
            self.tables.rescan(again=True)  # whether MAILTO has an effect is a problem of a table

    def _look_at_mail(self) -> bool:
        setup = self._setup
        no_mail = why_no_mail(setup.config, setup.sending.account, self._accounts)
        if no_mail == self.no_mail:
            return False
        self.no_mail = no_mail
        self._feed(MailTransport(no_mail))
        return True

    def check_hourly(self) -> None:
        """Look at the zone data and for other crons, if the last look was an hour ago."""
        if time.monotonic() - self._checked > _HOUR:
            self._check_zones()
            self.other_crons.look()

    def _check_zones(self) -> None:
        self._checked = time.monotonic()
        if not self.zones.stale():
            return
        self.zones.reload()
        self._feed(ZonesChanged())
        fields = {
            "zone": self.zones.machine.name,
            "zone_data": self.zones.origin,
            "release": self.zones.version,
        }
        self._log(Log(Event.ZONES_RELOADED, fields))


def _pools(config: Config) -> dict[str, Collection[str] | None]:
    """The pools that entries may name; those of the cluster are for everybody."""
    own = {name: pool.users for name, pool in config.pools.items()}
    return {**dict.fromkeys(config.cluster_pools), **own}
