"""The sender and the recipients of a mail: no address can forge a header or name a program.

An address is `local@domain` with the characters that need no quotes. Cron is as strict, and
`sendmail -t` reads the recipients from the header.
"""

import re
from dataclasses import dataclass

from pycron.crontab.mail_addresses import LOCAL_PART, LONGEST_ADDRESS
from pycron.delivery.request import MailRequest

_LOCAL = re.compile(LOCAL_PART)
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LITERAL = re.compile(r"\[[A-Za-z0-9.:]+\]")  # [192.0.2.1], [IPv6:2001:db8::1]
_LONGEST_DOMAIN = 253


@dataclass(frozen=True, slots=True)
class Envelope:
    """Whom a mail is from and to. `refused`: what is no address. `host`: this machine."""

    sender: str
    recipients: tuple[str, ...]
    refused: tuple[str, ...]
    host: str


def envelope_of(request: MailRequest) -> Envelope:
    """The sender is the owner of the Job if the table names no address, and else root.

    A sendmail program gets a mailbox of this machine as `root`, as from every cron: it knows the
    aliases and the domain of the machine. A mail server gets `root@HOST`.
    """
    host = _domain(request["run"]["host"]) or "localhost"
    senders = (_address(text, host) for text in (request["sender"], request["run"]["user"]))
    local_host = None if request["transport"]["kind"] == "sendmail" else host
    asked = {text: _address(text, local_host) for text in request["to"]}
    return Envelope(
        sender=next((sender for sender in senders if sender), f"root@{host}"),
        recipients=tuple(dict.fromkeys(address for address in asked.values() if address)),
        refused=tuple(text for text, address in asked.items() if not address),
        host=host,
    )


def _address(text: str, host: str | None) -> str | None:
    """The text as an address, at this host if it names none; None if it is no address."""
    local, at, domain = text.strip(" ").rpartition("@")
    if not at and host is None:
        return domain if len(domain) <= LONGEST_ADDRESS and _LOCAL.fullmatch(domain) else None
    if not at:
        local, domain = domain, host or ""
    ascii_domain = domain if _LITERAL.fullmatch(domain) else _domain(domain)
    if not ascii_domain or not _LOCAL.fullmatch(local):
        return None
    address = f"{local}@{ascii_domain}"
    return address if len(address) <= LONGEST_ADDRESS else None


def _domain(text: str) -> str | None:
    """The name of a host in ASCII (`bücher.example` is `xn--bcher-kva.example`)."""
    if len(text) > _LONGEST_DOMAIN:
        return None
    try:
        name = text if text.isascii() else text.encode("idna").decode()
    except UnicodeError:
        return None
    return name if len(name) <= _LONGEST_DOMAIN and _DOMAIN.fullmatch(name) else None
