"""A mail server for mail_faults.sh: STARTTLS, a login, and time to look at the client.

    smtp_server.py CERTIFICATE USER PASSWORD-FILE DIRECTORY

It takes the mails of this user only, and writes each into the directory. It answers a mail after
ten seconds, so that the process that sends it can be looked at.
"""

import asyncio
import ssl
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class Handler:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def handle_DATA(  # noqa: N802 - the name that aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        (self._directory / "arriving").touch()
        await asyncio.sleep(10)
        assert isinstance(envelope.content, bytes)
        name = f"{len(list(self._directory.iterdir()))}.eml"
        (self._directory / name).write_bytes(envelope.content)
        return "250 OK"


async def main(certificate: str, user: str, password_file: str, directory: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    known = LoginPassword(user.encode(), Path(password_file).read_bytes().strip())

    def authenticate(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        return AuthResult(success=data == known)

    def protocol() -> SMTP:
        return SMTP(
            Handler(Path(directory)), tls_context=context, require_starttls=True,
            auth_required=True, authenticator=authenticate,
        )  # fmt: skip

    server = await asyncio.get_running_loop().create_server(protocol, "localhost", 587)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
