"""Hands a mail to a mail server, and says what the server said. The password is never shown.

The exit statuses: 75 if a later try may go well (a 4xx reply, no connection, no answer); 69 if the
server cannot be used as it is configured; 65 if it refuses the mail; 67 if it refuses recipients.
"""

import base64
import contextlib
import os
import smtplib
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any

from pycron.delivery.addresses import Envelope
from pycron.delivery.message import build
from pycron.delivery.request import MailRequest, Smtp
from pycron.model.text import printable

_STEP = 30.0  # seconds that a connection, a reply or a handshake may take
_SHOWN = {"EHLO", "HELO", "STARTTLS", "MAIL", "RCPT", "DATA", "RSET", "QUIT"}

_Refused = dict[str, tuple[int, bytes]]


def send(
    server: Smtp, request: MailRequest, envelope: Envelope, output: bytes, timeout: float = _STEP
) -> int:
    """Send the mail: the exit status. `timeout`: seconds that each step may take."""
    hide = _hider(server)

    def show(text: str) -> None:
        if request["occasion"] == "test":
            sys.stdout.write(f"{hide(printable(text))}\n")

    try:
        with contextlib.closing(_connect(server, envelope.host, show, timeout)) as conversation:
            refused = _converse(conversation, server, request, envelope, output)
    except (OSError, ValueError) as error:
        sys.stderr.writelines(f"{_name(server)}: {hide(line)}\n" for line in _reasons(error))
        return _status(error)
    sys.stderr.writelines(f"{_name(server)}: {hide(line)}\n" for line in _refusals(refused))
    # Those who have been accepted would get the mail twice if this were tried again.
    return os.EX_NOUSER if refused else os.EX_OK


class _Conversation(smtplib.SMTP):
    """A connection that shows what both sides say, without the login and the mail itself."""

    def __init__(
        self, show: Callable[[str], None], server: Smtp, hello: str, timeout: float, **tls: Any
    ) -> None:
        self._show = show
        super().__init__(server["host"], server["port"], hello, timeout=timeout, **tls)

    def putcmd(self, cmd: str, args: str = "") -> None:
        verb, _, rest = f"{cmd} {args}".strip().partition(" ")
        if verb.upper() in _SHOWN:
            self._show(f"> {verb.upper()} {rest}".rstrip())
        else:
            self._show(f"> {'AUTH ' if verb.upper() == 'AUTH' else ''}(hidden)")
        super().putcmd(cmd, args)

    def getreply(self) -> tuple[int, bytes]:
        code, text = super().getreply()
        for line in _decoded(text).splitlines() or [""]:
            self._show(f"< {code} {line}")
        return code, text

    def log_in(self, user: str, password: str) -> None:
        if f"{user}{password}".isascii():
            self.login(user, password)
            return
        # smtplib knows ASCII passwords only.
        code, text = self.docmd("AUTH", f"PLAIN {_plain(user, password)}")
        if code != 235:
            raise smtplib.SMTPAuthenticationError(code, text)

    def leave(self) -> None:
        """Say goodbye. The mail is accepted already, whatever happens now."""
        with contextlib.suppress(OSError):
            self.quit()


class _TlsConversation(_Conversation, smtplib.SMTP_SSL):
    """A connection that is encrypted from its beginning."""


def _connect(
    server: Smtp, hello: str, show: Callable[[str], None], timeout: float
) -> _Conversation:
    if server["security"] == "tls":
        context = ssl.create_default_context()
        return _TlsConversation(show, server, hello, timeout, context=context)
    return _Conversation(show, server, hello, timeout)


def _converse(
    conversation: _Conversation,
    server: Smtp,
    request: MailRequest,
    envelope: Envelope,
    output: bytes,
) -> _Refused:
    """Hand the mail over: the recipients that are refused. Raises OSError or ValueError."""
    if server["security"] == "starttls":
        conversation.starttls(context=ssl.create_default_context())
    conversation.ehlo_or_helo_if_needed()
    if server["user"] is not None:
        conversation.log_in(server["user"], server["password"] or "")
    eight_bit = conversation.has_extn("8bitmime")
    message = build(request, envelope, output, time.time(), eight_bit=eight_bit)
    refused = conversation.sendmail(
        envelope.sender,
        envelope.recipients,
        message.replace(b"\n", b"\r\n"),
        [] if message.isascii() else ["BODY=8BITMIME"],
    )
    conversation.leave()
    return refused


def _plain(user: str, password: str) -> str:
    """The credentials as AUTH PLAIN sends them."""
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def _hider(server: Smtp) -> Callable[[str], str]:
    """A function that removes the password from a text, in every form in which it is sent.

    A server may repeat in its reply what it has received.
    """
    password = server["password"]
    if not password:
        return lambda text: text
    encoded = base64.b64encode(password.encode(errors="surrogatepass")).decode()
    forms = (_plain(server["user"] or "", password), encoded, printable(password), password)

    def hide(text: str) -> str:
        for form in forms:
            text = text.replace(form, "(hidden)")
        return text

    return hide


def _name(server: Smtp) -> str:
    return f"mail server {printable(server['host'])} port {server['port']}"


def _decoded(text: bytes | str) -> str:
    return text if isinstance(text, str) else text.decode(errors="backslashreplace")


def _refusals(refused: _Refused) -> list[str]:
    return [f"{address} is refused: {_reply(*reply)}" for address, reply in refused.items()]


def _reply(code: int, text: bytes | str) -> str:
    return f"{code} {printable(' '.join(_decoded(text).split()))}"


def _reasons(error: OSError | ValueError) -> list[str]:
    """Why the mail was not sent, each reason on its line."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return _refusals(error.recipients)
    if isinstance(error, smtplib.SMTPResponseException):
        return [_reply(error.smtp_code, error.smtp_error)]
    if isinstance(error, ssl.SSLCertVerificationError):
        return [f"its certificate is not trusted: {printable(error.verify_message)}"]
    return [printable(getattr(error, "strerror", None) or str(error))]


def _status(error: OSError | ValueError) -> int:
    """The exit status for a mail that nobody has got."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        return os.EX_NOUSER if all(code >= 500 for code in codes) else os.EX_TEMPFAIL
    if isinstance(error, smtplib.SMTPResponseException):
        refuses_mail = isinstance(error, smtplib.SMTPDataError)
        permanent = os.EX_DATAERR if refuses_mail else os.EX_UNAVAILABLE
        return permanent if error.smtp_code >= 500 else os.EX_TEMPFAIL
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return os.EX_TEMPFAIL
    if isinstance(error, (smtplib.SMTPException, ssl.SSLCertVerificationError, ValueError)):
        return os.EX_UNAVAILABLE
    return os.EX_TEMPFAIL
