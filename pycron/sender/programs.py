"""The program that sends a message: its command line, its account and what it reads.

The daemon hands all this to the runner, which starts the program like a command.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pycron.config import Config, SenderOptions
from pycron.crontab.messages import read_message
from pycron.model.instants import rfc3339
from pycron.model.job import Job, digest
from pycron.model.run import RunKey
from pycron.ports import CannotDeliver, Program
from pycron.sender.request import SendRequest
from pycron.system.accounts import Accounts
from pycron.system.receipts import Receipts

_PROGRAM = [sys.executable, "-s", "-P", "-m", "pycron.sender"]


@dataclass(frozen=True, slots=True)
class MessageOptions:
    """How messages are sent: the options, and the directory of receipts.

    `account`: as whom, never a user's. `host`: what tells this host's Runs from those of others.
    `for_all`: every table may use every sender, because all are of one user.
    """

    config: Callable[[], Config]
    receipts: Path
    account: str
    host: str
    for_all: bool


class MessagePrograms:
    """A ports.Deliverer for Jobs with CRON_SEND."""

    def __init__(self, options: MessageOptions, accounts: Accounts) -> None:
        self._options = options
        self._accounts = accounts
        self._receipts = Receipts(options.receipts, accounts)

    def program(self, run: RunKey, job: Job) -> Program:
        """The program for an Attempt of a Job with CRON_SEND. Raises CannotDeliver."""
        account = self._options.account
        if self._accounts.find(account) is None:
            raise CannotDeliver(f"there is no account {account}: pycron setup makes it")
        request = self._request(run, job, self._section(job))
        return Program(
            account=account,
            argv=[*_PROGRAM, *self._receipts.path(account, run)],
            stdin=json.dumps(request) + "\n",
        )

    def remove_receipts(self, is_alive: Callable[[RunKey], bool]) -> None:
        """Remove the receipts of Runs that have ended."""
        self._receipts.remove(is_alive)

    def _section(self, job: Job) -> SenderOptions:
        """The section that the Job names and may use. Raises CannotDeliver."""
        name = job.settings.send
        section = self._options.config().senders.get(name or "")
        if section is None:
            raise CannotDeliver(f"pycron.toml has no [senders.{name}] any more")
        owner = job.source.owner
        if not self._options.for_all and owner not in (None, "root", *section.users):
            raise CannotDeliver(f"[senders.{name}] of pycron.toml is not for {owner}")
        return section

    def _request(self, run: RunKey, job: Job, section: SenderOptions) -> SendRequest:
        try:
            message = read_message(job.command, job.stdin)
        except ValueError as error:
            raise CannotDeliver(f"bad message: {error}") from error
        in_common = job.settings.runs_on.shared and not run.is_by_hand
        return {
            "kind": "rq" if section.kind == "rq" else "celery",
            "url": section.url,
            "queue": section.queue,
            "task": message.task,
            "arguments": message.arguments,
            "named": message.named,
            "id": task_id(run, None if in_common else self._options.host),
            "headers": {
                "cron_job": job.name,
                "cron_run_id": str(run),
                "cron_fire_time": rfc3339(run.fire_time),
            },
        }


def task_id(run: RunKey, host: str | None) -> str:
    """The id of the task that a Run sends: a UUID (version 8 of RFC 9562), always the same.

    `host`: None for a shared Run, which hosts have in common. Other Runs of two hosts may have one
    run id, and yet are two messages.
    """
    parts = (str(run),) if host is None else (host, str(run))
    text = digest("task", *parts) + digest("task", "second half", *parts)
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-a{text[17:20]}-{text[20:]}"
