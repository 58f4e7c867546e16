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
from pycron.system.accounts import LocalUids
from pycron.tables.loaded import Tables


@dataclass(slots=True)
class ReplacedAccounts:
    """Looks for them whenever something is due, and before a request is answered."""

    tables: Tables
    store: Store
    engine: Engine
    feed: Callable[[InputEvent], object]
    say: Callable[[Log], None]
    _uids: LocalUids = field(default_factory=LocalUids)

    def look(self) -> None:
        uids = self._uids.changed()
        if not uids:
            return
        if self.tables.directories.forget_replaced(uids):
            self.tables.rescan()
        try:
            names = self.store.disown(uids)
        except StoreError:
            self._uids = LocalUids()  # look again; a failure of the store is logged elsewhere
            return
        for name in names:
            self.say(Log(Event.ACCOUNT_REPLACED, {"user": name, "uid": uids[name]}, bad=True))
            for live in self.engine.alive:
                if live.job.user == name:
                    self.feed(CancelledByHand(live.run, "pycrond"))
