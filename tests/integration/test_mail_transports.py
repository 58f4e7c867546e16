"""`python -m pycron.delivery` hands mails to real sendmail programs and to real mail servers."""

import asyncio
import base64
import contextlib
import email
import email.policy
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

import pycron
from pycron.delivery import smtp
from pycron.delivery.addresses import envelope_of
from pycron.delivery.request import MailRequest, Smtp

ROOT = Path(pycron.__file__).parent.parent
PASSWORD = "hunter2, really"
RUN: dict[str, Any] = {
    "run_id": "0123456789abcdef-20260308T070000Z", "job": "sync", "command": "/usr/local/bin/sync",
    "user": "alice", "host": "db1.example.com", "fire_time": 1772953200, "outcome": "succeeded",
    "exit_status": 0, "signal": None, "attempts": 1, "duration": 1.25, "reason": None,
    "printed": 6, "kept": 6,
}  # fmt: skip


def mail_request(transport: Any, **changes: Any) -> MailRequest:
    request: dict[str, Any] = {
        "kind": "mail", "occasion": "output", "run": RUN, "to": ["alice", "bob@example.org"],
        "sender": "alice", "content_type": None, "transfer_encoding": None, "summed": [],
        "summed_count": 0, "transport": transport,
    }  # fmt: skip
    return cast(MailRequest, request | changes)


class Sent:
    """What the program did: its exit status, and what it printed."""

    def __init__(self, stdin: bytes, environment: dict[str, str]) -> None:
        done = subprocess.run(
            [sys.executable, "-S", "-s", "-P", "-W", "error", "-m", "pycron.delivery"],
            input=stdin, capture_output=True, timeout=60, check=False,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} | environment,
        )  # fmt: skip
        self.status = done.returncode
        self.stdout = done.stdout.decode()
        self.stderr = done.stderr.decode()
        printed = self.stdout + self.stderr
        assert "Traceback" not in printed
        for secret in (PASSWORD, "hunter2", encoded(PASSWORD), encoded(f"\0u\0{PASSWORD}")):
            assert secret not in printed


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def send(transport: Any, output: bytes = b"hello\n", **changes: Any) -> Sent:
    environment = changes.pop("environment", {})
    request = mail_request(transport, **changes)
    return Sent(json.dumps(request).encode() + b"\n" + output, environment)


def received(message: bytes) -> bytes:
    """The decoded body of a message, as a mailbox keeps it."""
    local = message.replace(b"\r\n", b"\n")
    body = email.message_from_bytes(local, policy=email.policy.default).get_payload(decode=True)
    assert isinstance(body, bytes)
    return body


# ---- sendmail


@pytest.fixture
def sendmail(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Make a sendmail program of a shell script: the transport that uses it."""

    def make(script: str) -> dict[str, Any]:
        program = tmp_path / "sendmail"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return {"kind": "sendmail", "argv": [str(program), "-i", "-t", "a b", "$(x)"]}

    return make


MakeSendmail = Callable[[str], dict[str, Any]]


def test_a_sendmail_program_gets_the_mail(sendmail: MakeSendmail, tmp_path: Path) -> None:
    sent = send(sendmail(f'printf "%s|" "$@" >{tmp_path}/arguments; cat >{tmp_path}/mail'))
    assert (sent.status, sent.stdout, sent.stderr) == (0, "", "")
    assert (tmp_path / "arguments").read_text() == "-i|-t|a b|$(x)|"
    message = (tmp_path / "mail").read_bytes()
    assert b"\nTo: alice, bob@example.org\n" in message
    assert received(message) == b"hello\n"


@pytest.mark.parametrize(
    ("script", "status", "stdout", "stderr"),
    [
        ("exit 0", 0, "", ""),
        ("exec 0<&-; exit 0", 0, "", ""),
        ("head -c 10 >/dev/null", 0, "", ""),
        ("exit 75", 75, "", ""),
        ("echo no such user >&2; exit 67", 67, "", "no such user\n"),
        ("cat >/dev/null; echo queued; echo warning >&2", 0, "queued\n", "warning\n"),
    ],
)
def test_what_a_sendmail_program_does_is_what_the_delivery_does(
    script: str, status: int, stdout: str, stderr: str, sendmail: MakeSendmail
) -> None:
    sent = send(sendmail(script), b"x" * 4_000_000)
    assert (sent.status, sent.stdout, sent.stderr) == (status, stdout, stderr)


def test_a_sendmail_program_that_is_killed(sendmail: MakeSendmail) -> None:
    transport = sendmail("kill -9 $$")
    sent = send(transport)
    assert sent.status == 75
    assert sent.stderr == f"{transport['argv'][0]} was killed by signal 9\n"


def test_a_sendmail_program_that_does_not_exist(tmp_path: Path) -> None:
    sent = send({"kind": "sendmail", "argv": [f"{tmp_path}/none", "-t"]})
    assert sent.status == 69
    assert sent.stderr == f"cannot run {tmp_path}/none: No such file or directory\n"


@pytest.mark.parametrize("content", ["#!/bin/sh\n", "#!/nonexistent\n", "\0"])
def test_a_file_that_is_no_program(content: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(content)
    file.chmod(0o755 if content != "#!/bin/sh\n" else 0o644)
    sent = send({"kind": "sendmail", "argv": [str(file)]})
    assert sent.status == 69
    assert sent.stderr.startswith(f"cannot run {file}: ")


def test_a_recipient_that_is_no_address_gets_nothing(
    sendmail: MakeSendmail, tmp_path: Path
) -> None:
    transport = sendmail(f"cat >{tmp_path}/mail")
    sent = send(transport, to=["bob\nBcc: eve", "bob"])
    assert sent.status == 65
    assert sent.stderr == "no address, so nothing is sent to it: bob\\nBcc: eve\n"
    assert b"\nTo: bob\n" in (tmp_path / "mail").read_bytes()


def test_a_failure_is_not_hidden_by_a_recipient_that_is_no_address(sendmail: MakeSendmail) -> None:
    assert send(sendmail("exit 75"), to=["|x", "bob"]).status == 75


def test_without_any_recipient_nothing_is_sent(sendmail: MakeSendmail, tmp_path: Path) -> None:
    assert send(sendmail(f"cat >{tmp_path}/mail"), to=["|/bin/sh", "/etc/passwd"]).status == 65
    assert not (tmp_path / "mail").exists()


def test_a_test_shows_the_sendmail_program(sendmail: MakeSendmail) -> None:
    transport = sendmail("cat >/dev/null; echo queued; exit 3")
    sent = send(transport, b"", occasion="test")
    program = transport["argv"][0]
    assert sent.status == 3
    assert sent.stdout == f"$ {program} -i -t 'a b' '$(x)'\nqueued\nexit status 3\n"


@pytest.mark.parametrize("stdin", [b"", b"hello\n", b'{"kind": "mail"}\n', b'{"kind": "fax"}\n'])
def test_a_bad_request(stdin: bytes) -> None:
    sent = Sent(stdin, {})
    assert sent.status == 64
    assert sent.stderr.startswith("bad request: ")


# ---- a mail server


class Handler:
    """Answers as a test says: `replies` has the reply to a command, or to a recipient."""

    def __init__(self, replies: dict[str, str], *, login_required: bool = False) -> None:
        self.replies = replies
        self.login_required = login_required
        self.mails: list[Envelope] = []
        self.hidden = ""  # an extension that the server does not announce

    async def handle_EHLO(  # noqa: N802  aiosmtpd finds it by this name
        self, server: SMTP, session: Session, envelope: Envelope, name: str, lines: list[str]
    ) -> list[str]:
        session.host_name = name
        return [line for line in lines if not self.hidden or self.hidden not in line]

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, sender: str, options: list[str]
    ) -> str:
        reply = self.replies.get("MAIL", "250 OK")
        if self.login_required and not session.authenticated:
            return "530 Log in"
        if reply.startswith("250"):
            envelope.mail_from = sender
            envelope.mail_options.extend(options)
        return reply

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, to: str, options: list[str]
    ) -> str:
        reply = self.replies.get(to, "250 OK")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(to)
        return reply

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        reply = self.replies.get("DATA", "250 OK")
        if reply.startswith("250"):
            self.mails.append(envelope)
        return reply

    def body(self) -> bytes:
        (envelope,) = self.mails
        return received(content(envelope))


def content(envelope: Envelope) -> bytes:
    assert isinstance(envelope.content, bytes)
    return envelope.content


class MailServer:
    """A mail server on a port of its own, in a thread of its own."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None, **options: Any) -> None:
        self._handler = handler
        self._options = options
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _listen(self) -> asyncio.Server:
        return await self._loop.create_server(self._protocol, "127.0.0.1", 0, ssl=self._tls)

    def _protocol(self) -> SMTP:
        return SMTP(self._handler, loop=self._loop, hostname="mx", ident="x", **self._options)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        """Wait for the conversations: each client has gone already."""
        self._server.close()
        await self._server.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def mail_server(
    handler: Handler, tls: ssl.SSLContext | None = None, **options: Any
) -> Iterator[dict[str, Any]]:
    """Run a mail server: the transport that uses it."""
    server = MailServer(handler, tls, **options)
    try:
        yield {
            "kind": "smtp", "host": "127.0.0.1", "port": server.port, "security": "none",
            "user": None, "password": None,
        }  # fmt: skip
    finally:
        server.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody has signed, with its key."""
    file = tmp_path_factory.mktemp("certificate") / "both.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", file, "-out", f"{file}.crt",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    with file.open("ab") as both:
        both.write(Path(f"{file}.crt").read_bytes())
    return file


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """What a server with this certificate needs."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusting(certificate: Path) -> dict[str, str]:
    """The environment of a client that trusts the certificate."""
    return {"SSL_CERT_FILE": str(certificate)}


def login(password: str = PASSWORD, **options: Any) -> dict[str, Any]:
    """The options of a server that lets the user `u` log in."""

    def authenticate(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        if data == LoginPassword(b"u", password.encode()):
            return AuthResult(success=True)
        repeated = [encoded(data.password.decode())]
        if data.password.isascii():
            repeated.append(data.password.decode())
        refusal = f"535 not {' '.join(repeated)}"
        return AuthResult(success=False, handled=False, message=refusal)

    return {"authenticator": authenticate} | options


OUTPUTS = {
    "text": b"hello\n",
    "umlauts": "grün\n".encode(),
    "all bytes": bytes(range(256)),
    "dots": b".\n..\n.x\n.",
    "no newline": b"x",
    "CR": b"10%\r100%\r\n",
    "long lines": (b"x" * 5000 + b"\n") * 500,
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_a_mail_server_gets_the_mail(output: bytes) -> None:
    handler = Handler({})
    with mail_server(handler) as transport:
        sent = send(transport, output)
    assert (sent.status, sent.stdout, sent.stderr) == (0, "", "")
    (envelope,) = handler.mails
    assert envelope.mail_from == "alice@db1.example.com"
    assert envelope.rcpt_tos == ["alice@db1.example.com", "bob@example.org"]
    assert b"\n" not in content(envelope).replace(b"\r\n", b"")
    assert b"\r" not in content(envelope).replace(b"\r\n", b"")
    assert handler.body() == output


@pytest.mark.parametrize("hidden", ["", "8BITMIME"])
def test_eight_bits_are_sent_only_to_a_server_that_takes_them(hidden: str) -> None:
    handler = Handler({})
    handler.hidden = hidden
    with mail_server(handler) as transport:
        assert send(transport, "grün\n".encode(), transfer_encoding="8bit").status == 0
    (envelope,) = handler.mails
    assert ("BODY=8BITMIME" in envelope.mail_options) == (not hidden)
    assert content(envelope).isascii() == bool(hidden)
    assert handler.body() == "grün\n".encode()


@pytest.mark.parametrize("excluded", ["LOGIN", "PLAIN"])
@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
def test_login(security: str, excluded: str, tls: ssl.SSLContext, trusting: dict[str, str]) -> None:
    handler = Handler({}, login_required=True)
    options = login(auth_exclude_mechanism=[excluded], auth_require_tls=security == "starttls")
    if security == "starttls":
        options |= {"tls_context": tls, "require_starttls": True}
    with mail_server(handler, tls if security == "tls" else None, **options) as transport:
        transport |= {"security": security, "user": "u", "password": PASSWORD}
        sent = send(transport, environment=trusting)
    assert (sent.status, sent.stdout, sent.stderr) == (0, "", "")
    assert handler.body() == b"hello\n"


def test_a_password_that_is_not_ascii() -> None:
    handler = Handler({}, login_required=True)
    with mail_server(handler, **login("grün", auth_require_tls=False)) as transport:
        assert send(transport | {"user": "u", "password": "grün"}).status == 0
        wrong = send(transport | {"user": "u", "password": "blau, ü"})
    assert wrong.status == 69
    assert wrong.stderr.endswith(": 535 not (hidden)\n")
    assert handler.body() == b"hello\n"


@pytest.mark.parametrize("excluded", ["LOGIN", "PLAIN"])
def test_a_wrong_password_is_not_shown_even_if_the_server_repeats_it(excluded: str) -> None:
    handler = Handler({}, login_required=True)
    options = login("another", auth_require_tls=False, auth_exclude_mechanism=[excluded])
    with mail_server(handler, **options) as transport:
        transport |= {"user": "u", "password": PASSWORD}
        sent = send(transport, occasion="test")
    assert sent.status == 69
    server = f"mail server 127.0.0.1 port {transport['port']}"
    assert sent.stderr == f"{server}: 535 not (hidden) (hidden)\n"
    assert "< 535 not (hidden) (hidden)\n" in sent.stdout
    assert not handler.mails


def test_a_server_without_login() -> None:
    with mail_server(Handler({})) as transport:
        sent = send(transport | {"user": "u", "password": PASSWORD})
    assert sent.status == 69
    assert "AUTH" in sent.stderr


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_that_is_not_trusted(security: str, tls: ssl.SSLContext) -> None:
    handler = Handler({})
    options = {"tls_context": tls} if security == "starttls" else {}
    with mail_server(handler, tls if security == "tls" else None, **options) as transport:
        transport |= {"security": security, "user": "u", "password": PASSWORD}
        sent = send(transport)
    assert sent.status == 69
    assert "its certificate is not trusted: self-signed certificate" in sent.stderr
    assert not handler.mails


def test_a_server_without_starttls_never_gets_the_password() -> None:
    handler = Handler({})
    with mail_server(handler, **login(auth_require_tls=False)) as transport:
        sent = send(transport | {"security": "starttls", "user": "u", "password": PASSWORD})
    assert sent.status == 69
    assert "STARTTLS" in sent.stderr
    assert not handler.mails


ALICE, BOB = "alice@db1.example.com", "bob@example.org"


@pytest.mark.parametrize(
    ("replies", "status", "reasons"),
    [
        ({ALICE: "550 no\x1b", BOB: "550 No"}, 67,
         [f"{ALICE} is refused: 550 no\\x1b", f"{BOB} is refused: 550 No"]),
        ({ALICE: "451 Later", BOB: "452 Later"}, 75,
         [f"{ALICE} is refused: 451 Later", f"{BOB} is refused: 452 Later"]),
        ({ALICE: "550 No", BOB: "451 Later"}, 75,
         [f"{ALICE} is refused: 550 No", f"{BOB} is refused: 451 Later"]),
        ({"MAIL": "553 Not yours"}, 69, ["553 Not yours"]),
        ({"MAIL": "451 Later"}, 75, ["451 Later"]),
        ({"DATA": "554 Spam"}, 65, ["554 Spam"]),
        ({"DATA": "451 Later"}, 75, ["451 Later"]),
        ({"DATA": "421 Bye"}, 75, ["421 Bye"]),
    ],
)  # fmt: skip
def test_a_mail_that_is_refused(replies: dict[str, str], status: int, reasons: list[str]) -> None:
    handler = Handler(replies)
    with mail_server(handler) as transport:
        sent = send(transport)
    assert sent.status == status
    server = f"mail server 127.0.0.1 port {transport['port']}"
    assert sent.stderr.splitlines() == [f"{server}: {reason}" for reason in reasons]
    assert not handler.mails


@pytest.mark.parametrize("refusal", ["550 No such user", "451 Later"])
def test_a_recipient_that_is_refused_is_named_and_the_others_get_the_mail(refusal: str) -> None:
    handler = Handler({BOB: refusal})
    with mail_server(handler) as transport:
        sent = send(transport)
    assert sent.status == 67  # not tried again: alice would get it twice
    assert sent.stderr.endswith(f": {BOB} is refused: {refusal}\n")
    (envelope,) = handler.mails
    assert envelope.rcpt_tos == [ALICE]


def test_a_test_shows_the_conversation_without_the_login(
    tls: ssl.SSLContext, trusting: dict[str, str]
) -> None:
    handler = Handler({})
    with mail_server(handler, **login(tls_context=tls)) as transport:
        transport |= {"security": "starttls", "user": "u", "password": PASSWORD}
        sent = send(transport, b"", occasion="test", environment=trusting)
    assert (sent.status, sent.stderr) == (0, "")
    commands = [line for line in sent.stdout.splitlines() if line.startswith(">")]
    size = len(content(handler.mails[0]))
    # Python 3.13 writes `from:` and `to:`; the case means nothing (RFC 5321, section 2.4).
    commands = [
        line.replace("MAIL from:", "MAIL FROM:").replace("RCPT to:", "RCPT TO:")
        for line in commands
    ]
    assert commands == [
        "> EHLO db1.example.com",
        "> STARTTLS",
        "> EHLO db1.example.com",
        "> AUTH (hidden)",
        f"> MAIL FROM:<{ALICE}> size={size}",
        f"> RCPT TO:<{ALICE}>",
        f"> RCPT TO:<{BOB}>",
        "> DATA",
        "> QUIT",
    ]
    assert "< 220 mx x\n" in sent.stdout
    assert "< 221 Bye\n" in sent.stdout
    assert b"test of the mail settings" in handler.body()


# ---- mail servers that behave badly


@contextmanager
def scripted_server(*replies: bytes) -> Iterator[Smtp]:
    """A server that sends these bytes, each after another line of the client, and then hangs up.

    After a reply 354 it reads the mail to its end.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)

        def serve() -> None:
            connection, _ = listener.accept()
            gone = contextlib.suppress(ConnectionError)  # the client may hang up first
            with gone, connection, connection.makefile("rb") as lines:
                for reply in replies:
                    connection.sendall(reply)
                    in_mail = reply.startswith(b"354")
                    while (line := lines.readline()) and in_mail and line != b".\r\n":
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield {
            "kind": "smtp", "host": "127.0.0.1", "port": listener.getsockname()[1],
            "security": "none", "user": None, "password": None,
        }  # fmt: skip
        thread.join()


OK = b"250 OK\r\n"


def test_a_server_that_hangs_up_after_the_mail_has_got_it() -> None:
    go_on = b"354 Go on\r\n"
    with scripted_server(b"220 mx\r\n", OK, OK, OK, OK, go_on, OK) as transport:
        sent = send(transport)
    assert (sent.status, sent.stderr) == (0, "")


@pytest.mark.parametrize(
    ("replies", "status"),
    [
        ([], 75),
        ([b"220 mx\r\n"], 75),
        ([b"220 mx\r\n", OK, OK], 75),
        ([b"220 mx\r\n", OK, OK, OK, OK, b"354 Go on\r\n"], 75),
        ([b"421 Busy\r\n"], 75),
        ([b"554 Go away\r\n"], 69),
        ([b"HTTP/1.1 400 Bad Request\r\n"], 75),
        ([b"220 mx\r\n", b"500 What?\r\n", b"500 What?\r\n"], 69),
        ([b"220 " + b"x" * 100_000 + b"\r\n"], 69),
        ([b"220 mx\r\n", b"250 " + bytes(range(128, 256)) + b"\r\n", b"550 \xff\0\r\n"], 69),
    ],
)
def test_a_server_that_misbehaves(replies: list[bytes], status: int) -> None:
    with scripted_server(*replies) as transport:
        sent = send(transport)
    assert sent.status == status
    assert sent.stderr.startswith(f"mail server 127.0.0.1 port {transport['port']}: ")
    assert "\0" not in sent.stderr


@pytest.mark.parametrize("challenge", [b"334 %%%\r\n", b"334 \xff\r\n", b"334 x\r\n"])
def test_a_server_with_a_bad_challenge(challenge: bytes) -> None:
    offer = b"250-mx\r\n250 AUTH CRAM-MD5\r\n"
    with scripted_server(b"220 mx\r\n", offer, challenge, b"535 No\r\n") as transport:
        sent = send(transport | {"user": "u", "password": PASSWORD})
    assert sent.status == 69


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    sent = send({
        "kind": "smtp", "host": "127.0.0.1", "port": port, "security": "tls", "user": None,
        "password": None,
    })  # fmt: skip
    assert sent.status == 75
    assert sent.stderr == f"mail server 127.0.0.1 port {port}: Connection refused\n"


@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
def test_a_server_that_never_answers(security: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server: Any = {
            "kind": "smtp", "host": "127.0.0.1", "port": listener.getsockname()[1],
            "security": security, "user": None, "password": None,
        }  # fmt: skip
        request = mail_request(server)
        assert smtp.send(server, request, envelope_of(request), b"hello\n", timeout=0.2) == 75
    assert "timed out" in capsys.readouterr().err
