"""Builds a mail: its header and its body as bytes. Nobody can inject a header.

Pure: no clock, file, process or socket. The lines end with LF, as sendmail programs expect.
"""

import datetime
import re
from email.header import Header
from email.utils import format_datetime

from pycron.delivery.addresses import Envelope
from pycron.delivery.body import Body, output_body, text_body
from pycron.delivery.mail_words import note, own_body
from pycron.delivery.request import MailRequest, RunFacts
from pycron.model.text import printable

_LONGEST_COMMAND = 200
_LONGEST_NAME = 100
_FOLD = re.compile(r"(?=.{78})(\S.{0,75}\S) (?=\S)")
_NOT_OF_AN_ID = re.compile(r"[^A-Za-z0-9-]")


def build(
    request: MailRequest, envelope: Envelope, output: bytes, date: float, *, eight_bit: bool = True
) -> bytes:
    """The mail. `date`: UTC seconds. `eight_bit`: whether its body may have bytes above 127."""
    body = _body(request, output, eight_bit)
    header = [
        _structured("From", f'"(Cron Daemon)" <{envelope.sender}>'),
        _structured("To", ", ".join(envelope.recipients)),
        _text("Subject", _subject(request)),
        _structured("Date", format_datetime(datetime.datetime.fromtimestamp(date, datetime.UTC))),
        _structured("Message-ID", _message_id(request, envelope.host)),
        *_of_body(body),
        "Auto-Submitted: auto-generated",
        "Precedence: bulk",
        *_of_run(request["run"]),
    ]
    return "\n".join([*header, "", ""]).encode("ascii") + body.data


def _body(request: MailRequest, output: bytes, eight_bit: bool) -> Body:
    if (text := own_body(request, output)) is not None:
        return text_body(text)
    return output_body(
        output,
        request["content_type"],
        request["transfer_encoding"],
        cut=request["run"]["printed"] > request["run"]["kept"],
        eight_bit=eight_bit,
    )


def _subject(request: MailRequest) -> str:
    """`Cron <user@host> command`, as every cron writes it, and how it ended if not well."""
    run = request["run"]
    user, host = (_short(run[key], _LONGEST_NAME) for key in ("user", "host"))
    command = _short(run["command"].strip().partition("\n")[0].rstrip(), _LONGEST_COMMAND)
    ended = note(request)
    return f"Cron <{user}@{host}> {command}" + (f" ({ended})" if ended else "")


def _short(text: str, longest: int) -> str:
    """The text on one line, without control characters, and cut if it is too long."""
    shown = printable(text[: longest + 1].replace("\t", " "))
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."


def _message_id(request: MailRequest, host: str) -> str:
    """The same each time that this mail is sent, so that a second copy can be recognised."""
    left = (_NOT_OF_AN_ID.sub("_", request["run"]["run_id"][:100]), request["occasion"])
    return f"<{'.'.join(part for part in left if part)}@{host}>"


def _of_body(body: Body) -> list[str]:
    lines = [
        "MIME-Version: 1.0",
        _structured("Content-Type", body.content_type),
        _structured("Content-Transfer-Encoding", body.transfer_encoding),
    ]
    if body.content_disposition:
        lines.append(_structured("Content-Disposition", body.content_disposition))
    return lines


def _of_run(run: RunFacts) -> list[str]:
    facts = {
        "X-Cron-Run": _short(run["run_id"], 100),
        "X-Cron-Outcome": run["outcome"],
        "X-Cron-Attempts": str(run["attempts"]),
        "X-Cron-Duration": None if run["duration"] is None else f"{run['duration']:.3f}",
        "X-Cron-Cut": _cut(run),
    }
    return [_text(name, value) for name, value in facts.items() if value]


def _cut(run: RunFacts) -> str | None:
    if run["printed"] <= run["kept"]:
        return None
    return f"printed={run['printed']} kept={run['kept']}"


def _text(name: str, value: str) -> str:
    """A header line whose value is any printable text."""
    if value.isascii() and "=?" not in value:
        return _structured(name, value)
    return f"{name}: {Header(value, 'utf-8', header_name=name).encode()}"


def _structured(name: str, value: str) -> str:
    """A header line whose value is ASCII, folded where one space is between two words.

    The standard library would fold within several spaces too, and leave a line of spaces only.
    """
    return _FOLD.sub(r"\1\n ", f"{name}: {value}")
