"""The program that sends a delivery: its command line, its account and what it reads.

The daemon hands all this to the runner, which starts the program like a command. The program builds
the message, as a user without rights, so that hostile output harms nobody but its owner.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never, cast

from pycron.config import Config
from pycron.delivery.facts import facts_of, test_facts, without_middle
from pycron.delivery.request import (
    MailRequest,
    NotifyRequest,
    PingRequest,
    Request,
    RunFacts,
    Sendmail,
    Smtp,
    SummedRun,
)
from pycron.model.delivery import Delivery, Mail, Notification, Occasion, Ping
from pycron.model.history import AttemptRecord, RunRecord
from pycron.model.job import Job
from pycron.model.run import AttemptKey, RunKey
from pycron.ports import CannotDeliver, History, Program, StoreFailure
from pycron.system.accounts import Accounts
from pycron.system.files import Unreadable, read_secret
from pycron.system.output_names import output_name
from pycron.system.receipts import Receipts

MAIL_ACCOUNT = "pycron-mail"  # of the programs that need a secret, in system mode
_WITHOUT_OUTPUT = (Occasion.STARTED, Occasion.LATE, Occasion.SUMMARY)
_MOST_SUMMED = 100  # Runs that a summary names
_PING_BYTES = 10_000
_NOTIFIED_BYTES = 2_000
# Without `site` a mail or a ping starts in two thirds of the time; apprise is found by `site`.
_PYTHON = [sys.executable, "-s", "-P"]
_MODULE = ["-m", "pycron.delivery"]


@dataclass(frozen=True, slots=True)
class Sending:
    """How deliveries are sent: the options, the directories of output files and receipts.

    `account`: of the programs that need a secret; None: the owner's, because there are no others.
    """

    config: Callable[[], Config]
    output: Path
    receipts: Path
    account: str | None


class Programs:
    """A ports.Deliverer: makes the program of a delivery from the history."""

    def __init__(self, history: History, sending: Sending, accounts: Accounts) -> None:
        self._history = history
        self._sending = sending
        self._receipts = Receipts(sending.receipts, accounts)

    def program(self, run: RunKey, job: Job) -> Program:
        """The program for an Attempt of a delivery. Raises CannotDeliver."""
        delivery = job.delivery
        assert delivery is not None
        try:
            request, output = self._request(run, job, delivery)
        except StoreFailure as error:
            raise CannotDeliver(f"the history cannot be read: {error}") from error
        stdin = json.dumps(request).encode() + b"\n" + output
        secret = request["kind"] == "notify" or (
            request["kind"] == "mail" and request["transport"]["kind"] == "smtp"
        )
        account = (secret and self._sending.account) or job.user
        site = [] if request["kind"] == "notify" else ["-S"]
        return Program(
            account=account,
            argv=[*_PYTHON, *site, *_MODULE, *self._receipts.path(account, run)],
            stdin=stdin.decode("utf-8", "surrogateescape"),
        )

    def remove_receipts(self, is_alive: Callable[[RunKey], bool]) -> None:
        """Remove the receipts of deliveries that have ended."""
        self._receipts.remove(is_alive)

    def _request(self, run: RunKey, job: Job, delivery: Delivery) -> tuple[Request, bytes]:
        if delivery.occasion is Occasion.TEST:
            return self._mail(run, test_facts(run, job), delivery, delivery.target), b""
        told = self._history.run(run._replace(job_id=delivery.job_id))
        if told is None:
            raise CannotDeliver("the Run that it tells about is not in the history")
        match delivery.target:
            case Mail() as mail:
                facts, output = self._facts(told, delivery, self._sending.config().mail_bytes)
                return self._mail(run, facts, delivery, mail), output
            case Ping() as ping:
                facts, output = self._facts(told, delivery, _PING_BYTES, tail_only=True)
                return _ping(facts, delivery, ping), output
            case Notification() as notification:
                facts, output = self._facts(told, delivery, _NOTIFIED_BYTES)
                return self._notification(facts, delivery, notification), output
            case None:
                raise CannotDeliver("the history does not say where to")
            case _:
                assert_never(delivery.target)

    # ---- what is said

    def _facts(
        self, told: RunRecord, delivery: Delivery, most: int, *, tail_only: bool = False
    ) -> tuple[RunFacts, bytes]:
        """The facts of a Run, and at most `most` bytes of the output of its last Attempt.

        `tail_only`: the end of a longer output; otherwise its beginning and its end.
        """
        last = told.attempts[-1] if told.attempts else AttemptRecord(0)
        if delivery.occasion in _WITHOUT_OUTPUT or not last.number:
            return facts_of(told, last, 0, 0), b""
        output = self._output(AttemptKey(told.key, last.number))
        # Of an Attempt that was lost nobody knows how much it printed.
        printed = last.output_bytes or len(output)
        kept = last.output_kept or len(output)
        if kept > most:  # what the runner has left out is in the part that is cut out here
            kept = most
            output = output[-most:] if tail_only else without_middle(output, most, printed)
        return facts_of(told, last, printed, kept), output

    def _output(self, attempt: AttemptKey) -> bytes:
        short = self._history.short_output(attempt)
        if short is not None:
            return short
        try:
            return (self._sending.output / output_name(attempt)).read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise CannotDeliver(f"the output cannot be read: {error.strerror}") from error

    def _mail(
        self, run: RunKey, facts: RunFacts, delivery: Delivery, target: object
    ) -> MailRequest:
        assert isinstance(target, Mail)
        summed: list[RunKey] = []
        if delivery.occasion is Occasion.SUMMARY:
            summed = self._history.summed_up_in(run, delivery.job_id)
        return {
            "kind": "mail",
            "occasion": delivery.occasion.value,
            "run": facts,
            "to": list(target.to),
            "sender": target.sender,
            "content_type": target.content_type,
            "transfer_encoding": target.transfer_encoding,
            "summed": [self._summed(key) for key in summed[:_MOST_SUMMED]],
            "summed_count": len(summed),
            "transport": self._transport(),
        }

    def _summed(self, key: RunKey) -> SummedRun:
        run = self._history.run(key)
        outcome = run.outcome if run else None
        return {"run_id": str(key), "fire_time": key.fire_time, "outcome": outcome}

    def _transport(self) -> Sendmail | Smtp:
        config = self._sending.config()
        if config.mail_transport == "none":
            raise CannotDeliver("mail is off: mail.transport is none (pycron.toml(5))")
        if config.mail_transport == "sendmail":
            return {"kind": "sendmail", "argv": config.sendmail}
        return {
            "kind": "smtp",
            "host": config.mail_smtp_host,
            "port": config.mail_smtp_port,
            "security": cast(Any, config.mail_smtp_security),
            "user": config.mail_smtp_user,
            "password": self._password(),
        }

    def _password(self) -> str | None:
        path = self._sending.config().mail_smtp_password_file
        if path is None:
            return None
        try:
            return read_secret(Path(path))
        except (OSError, Unreadable) as error:
            raise CannotDeliver(f"mail.smtp_password_file: {error}") from error

    def _notification(
        self, facts: RunFacts, delivery: Delivery, target: Notification
    ) -> NotifyRequest:
        options = self._sending.config().notifications.get(target.section)
        if options is None:
            raise CannotDeliver(f"pycron.toml has no [notify.{target.section}] any more")
        return {
            "kind": "notify",
            "occasion": delivery.occasion.value,
            "run": facts,
            "name": target.section,
            "urls": [options.url],
        }


def _ping(facts: RunFacts, delivery: Delivery, target: Ping) -> PingRequest:
    return {
        "kind": "ping",
        "occasion": delivery.occasion.value,
        "run": facts,
        "url": target.url,
        "with_output": target.with_output,
    }
