"""The directories of receipts: one for each user, because the programs run as these users."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pycron.model.run import RunKey
from pycron.system.accounts import Accounts


class Receipts:
    """The receipts of the deliveries that have not ended.

    A user may put anything into their own directory, so no directory is ever listed.
    """

    def __init__(self, directory: Path, accounts: Accounts) -> None:
        self._directory = directory
        self._accounts = accounts
        self._given: dict[RunKey, Path] = {}

    def path(self, user: str, run: RunKey) -> list[str]:
        """The path of a receipt that only this user can write; empty if there can be none.

        Without a receipt the delivery is sent all the same.
        """
        account = self._accounts.find(user)
        if account is None:
            return []
        own = self._directory / str(account.uid)
        try:
            self._directory.mkdir(mode=0o711, exist_ok=True)
            self._directory.chmod(0o711)
            own.mkdir(mode=0o700, exist_ok=True)
            if os.geteuid() == 0:
                os.chown(own, account.uid, account.gid)
        except OSError:
            return []
        self._given[run] = own / str(run)
        return [str(self._given[run])]

    def remove(self, is_alive: Callable[[RunKey], bool]) -> None:
        """Remove the receipts of deliveries that have ended."""
        for run in [run for run in self._given if not is_alive(run)]:
            with suppress(OSError):
                self._given.pop(run).unlink()
