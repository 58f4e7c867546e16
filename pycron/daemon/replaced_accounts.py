"""An account was deleted, and another one has its name: it inherits nothing.

The table of the former account is not run, its records are kept under another name, and its Runs
end. A look costs one stat(2) as long as /etc/passwd has not changed. An account of a directory
service is noticed when its next Run is recorded, up to a minute later.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from pycron.engine.actions import Log
from pycron.engine.engine import Engine
from pycron.engine.events import CancelledByHand, InputEvent
from pycron.engine.log_events import Event
from pycron.storage.errors import StoreError
from pycron.storage.store import Store
from pycron.system.accounts import Accounts, LocalUids
from pycron.tables.loaded import Tables


@dataclass(slots=True)
class ReplacedAccounts:
    """Looks for them whenever something is due, and before a request is answered."""

    tables: Tables
    store: Store
    engine: Engine
    accounts: Accounts
    feed: Callable[[InputEvent], object]
    perform: Callable[[], None]
    log: Callable[[Log], None]
    _uids: LocalUids = field(default_factory=LocalUids)

    def look(self) -> None:
        uids = self._uids.changed()
        if not uids:
            return
        names: set[str] = set()
        try:
            names = self.tables.directories.forget_replaced(uids) | self.store.replaced(uids)
            if names:
                self._end_what_they_had(names)
            self.store.disown(uids)
        except StoreError:
            self._uids = LocalUids()  # look again; a failure of the store is logged elsewhere
        finally:
            self.accounts.gone.clear()
        for name in sorted(names):
            self.log(Log(Event.ACCOUNT_REPLACED, {"user": name, "uid": uids[name]}, bad=True))

    def _end_what_they_had(self, names: set[str]) -> None:
        """Nothing more starts for them: until this is done, neither account exists."""
        self.accounts.gone.update(names)
        self.tables.rescan()
        for live in self.engine.alive:
            if live.job.user in names:
                self.feed(CancelledByHand(live.run, "pycrond"))
        self.perform()
