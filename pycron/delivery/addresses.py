"""Who sends a mail and who gets it: addresses that can neither forge a header nor name a program.

An address is `local@domain` with the characters that need no quotes. Cron is as strict, and
`sendmail -t` reads the recipients from the header.
"""

import re
from dataclasses import dataclass

from pycron.delivery.request import MailRequest

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
# No path and no pipe at the beginning: some mail programs write to the one and run the other.
_LOCAL = re.compile(rf"(?=[A-Za-z0-9_]){_ATOM}(?:\.{_ATOM})*")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LITERAL = re.compile(r"\[[A-Za-z0-9.:]+\]")  # [192.0.2.1], [IPv6:2001:db8::1]
_LONGEST_ADDRESS = 254
_LONGEST_DOMAIN = 253


@dataclass(frozen=True, slots=True)
class Envelope:
    """Whom a mail is from and to. `refused`: what is no address. `host`: this machine.

    A sendmail program gets a name without a host as it is, as from every cron: only the program
    knows by which name its mail server calls this machine, and its aliases are for such names. A
    mail server that is spoken to directly needs the host.
    """

    sender: str
    recipients: tuple[str, ...]
    refused: tuple[str, ...]
    host: str


def envelope_of(request: MailRequest) -> Envelope:
    """The sender is the owner of the Job if the table names no address, and else root."""
    host = _domain(request["run"]["host"]) or "localhost"
    default = None if request["transport"]["kind"] == "sendmail" else host
    asked = {text: _address(text, default) for text in request["to"]}
    senders = (request["sender"], request["run"]["user"], "root")
    return Envelope(
        sender=next(address for text in senders if (address := _address(text, default))),
        recipients=tuple(dict.fromkeys(address for address in asked.values() if address)),
        refused=tuple(text for text, address in asked.items() if not address),
        host=host,
    )


def _address(text: str, host: str | None) -> str | None:
    """The text as an address, at this host, if any, if it names none; None if it is no address."""
    local, at, domain = text.strip(" ").rpartition("@")
    if not at:
        local, domain = domain, host or ""
    address = local
    if at or host:
        ascii_domain = domain if _LITERAL.fullmatch(domain) else _domain(domain)
        if not ascii_domain:
            return None
        address = f"{local}@{ascii_domain}"
    return address if _LOCAL.fullmatch(local) and len(address) <= _LONGEST_ADDRESS else None


def _domain(text: str) -> str | None:
    """The name of a host in ASCII (`bücher.example` is `xn--bcher-kva.example`)."""
    if len(text) > _LONGEST_DOMAIN:
        return None
    try:
        name = text if text.isascii() else text.encode("idna").decode()
    except UnicodeError:
        return None
    return name if len(name) <= _LONGEST_DOMAIN and _DOMAIN.fullmatch(name) else None
