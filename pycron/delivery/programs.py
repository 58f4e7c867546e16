"""The program that sends a delivery: its command line, its account and what it reads.

The daemon hands all this to the runner, which starts the program like a command. The program builds
the message, as a user without rights, so that hostile output harms nobody but its owner.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never, cast

from pycron.config import Config
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
from pycron.system import host
from pycron.system.files import UnsafeFile, read_secret
from pycron.system.output_names import output_name

MAIL_ACCOUNT = "pycron-mail"  # of the programs that need a secret, in system mode
_MOST_SUMMED = 100  # Runs that a summary names
_PING_BYTES = 10_000
_NOTIFIED_BYTES = 2_000
# Without `site` a mail or a ping starts in two thirds of the time; apprise is found by `site`.
_PYTHON = [sys.executable, "-s", "-P"]
_MODULE = ["-m", "pycron.delivery"]


@dataclass(frozen=True, slots=True)
class Sending:
    """How deliveries are sent: the options, the directory of output files and the accounts.

    `account`: of the programs that need a secret; None: the owner's, because there are no others.
    """

    config: Config
    output: Path
    account: str | None


class Programs:
    """A ports.Deliverer: makes the program of a delivery from the history."""

    def __init__(self, history: History, sending: Sending) -> None:
        self._history = history
        self._sending = sending

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
        return Program(
            account=(secret and self._sending.account) or job.user,
            argv=[*_PYTHON, *([] if request["kind"] == "notify" else ["-S"]), *_MODULE],
            stdin=stdin.decode("utf-8", "surrogateescape"),
        )

    def _request(self, run: RunKey, job: Job, delivery: Delivery) -> tuple[Request, bytes]:
        if delivery.occasion is Occasion.TEST:
            return self._mail(run, _test_facts(run, job), delivery, delivery.target), b""
        told = self._history.run(run._replace(job_id=delivery.job_id))
        if told is None:
            raise CannotDeliver("the Run that it tells about is not in the history")
        match delivery.target:
            case Mail() as mail:
                facts, output = self._facts(told, delivery, self._sending.config.mail_bytes)
                return self._mail(run, facts, delivery, mail), output
            case Ping() as ping:
                facts, output = self._facts(told, delivery, self._sending.config.output_bytes)
                return _ping(facts, delivery, ping), output[-_PING_BYTES:]
            case Notification() as notification:
                facts, output = self._facts(told, delivery, _NOTIFIED_BYTES)
                return self._notification(facts, delivery, notification), output
            case None:
                raise CannotDeliver("the history does not say where to")
            case _:
                assert_never(delivery.target)

    # ---- what is said

    def _facts(self, told: RunRecord, delivery: Delivery, most: int) -> tuple[RunFacts, bytes]:
        """The facts of a Run, and at most `most` bytes of the output of its last Attempt."""
        last = told.attempts[-1] if told.attempts else AttemptRecord(0)
        over = delivery.occasion not in (Occasion.STARTED, Occasion.LATE, Occasion.SUMMARY)
        output = self._output(AttemptKey(told.key, last.number)) if over and last.number else b""
        printed = last.output_bytes or 0 if over else 0
        kept = last.output_kept or 0
        # If the runner has cut the output, its file has a line that says so besides what is kept.
        if (kept if kept < printed else len(output)) > most:
            output = _without_middle(output, most, max(printed, len(output)))
        return {
            "run_id": told.run_id,
            "job": told.job,
            "command": told.command,
            "user": told.user,
            "host": host.name(),
            "fire_time": told.key.fire_time,
            "outcome": told.outcome,
            "exit_status": last.exit_status,
            "signal": last.signal,
            "attempts": len(told.attempts),
            "duration": _duration(told),
            "reason": told.reason,
            "printed": printed,
            "kept": min(printed, kept, most),
        }, output

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
        config = self._sending.config
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
        path = self._sending.config.mail_smtp_password_file
        if path is None:
            return None
        try:
            return read_secret(Path(path))
        except (OSError, UnsafeFile) as error:
            raise CannotDeliver(f"mail.smtp_password_file: {error}") from error

    def _notification(
        self, facts: RunFacts, delivery: Delivery, target: Notification
    ) -> NotifyRequest:
        options = self._sending.config.notifications.get(target.section)
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


def _duration(told: RunRecord) -> float | None:
    """Seconds from the start of the first Attempt to the end of the last one."""
    started, ended = (told.attempts[0].started, told.attempts[-1].ended) if told.attempts else (
        None, None
    )  # fmt: skip
    return None if started is None or ended is None else ended - started


def _without_middle(output: bytes, most: int, printed: int) -> bytes:
    """The beginning and the end of an output, at most `most` bytes, with a line between them.

    It replaces the line of the runner, which is in the middle of an output that was cut before.
    """
    tail = most // 2
    gap = b"\n[pycron: %d bytes are left out here]\n" % (printed - most)
    return output[: most - tail] + gap + output[len(output) - tail :]


def _test_facts(run: RunKey, job: Job) -> RunFacts:
    return {
        "run_id": str(run), "job": job.name, "command": job.command, "user": job.user,
        "host": host.name(), "fire_time": run.fire_time, "outcome": None, "exit_status": None,
        "signal": None, "attempts": 0, "duration": None, "reason": None, "printed": 0, "kept": 0,
    }  # fmt: skip
