"""The programs of pycron that run in place of a command: they send a delivery, or a message."""

from collections.abc import Callable

from pycron.daemon.setup import Setup
from pycron.delivery.programs import Programs
from pycron.model.job import Job
from pycron.model.run import RunKey
from pycron.ports import History, Program
from pycron.sender.programs import MessagePrograms
from pycron.system.accounts import Accounts


class OwnPrograms:
    """A ports.Deliverer for every Job that has such a program."""

    def __init__(self, history: History, setup: Setup, accounts: Accounts) -> None:
        self._deliveries = Programs(history, setup.sending, accounts)
        self._messages = MessagePrograms(setup.messages, accounts)

    def program(self, run: RunKey, job: Job) -> Program:
        """The program for an Attempt. Raises CannotDeliver."""
        if job.is_message:
            return self._deliveries.program(run, job)
        return self._messages.program(run, job)

    def remove_receipts(self, is_alive: Callable[[RunKey], bool]) -> None:
        """Remove the receipts of Runs that have ended."""
        self._deliveries.remove_receipts(is_alive)
        self._messages.remove_receipts(is_alive)
