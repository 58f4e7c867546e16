"""Reads the mailbox of a user as a mail program would.

    read_mail.py USER count TEXT         how many mails have this text in the subject
    read_mail.py USER body TEXT          the decoded body of the only one
    read_mail.py USER header TEXT NAME   a header of the only one
    read_mail.py USER names              the names of all headers of all mails

Exits with 1 if there is not exactly one such mail, or no such header.
"""

import email
import email.policy
import mailbox
import sys
from email.message import EmailMessage
from pathlib import Path


def mails_of(user: str, text: str) -> list[EmailMessage]:
    path = Path("/var/mail") / user
    if not path.exists():
        return []
    box = mailbox.mbox(path, create=False)
    parsed = [
        email.message_from_bytes(box.get_bytes(key), policy=email.policy.default)
        for key in box.iterkeys()
    ]
    return [mail for mail in parsed if text in str(mail["Subject"])]


def main(user: str, what: str, text: str = "", name: str = "") -> int:
    mails = mails_of(user, text)
    if what == "count":
        print(len(mails))
        return 0
    if what == "names":
        print(*sorted({name.lower() for mail in mails for name in mail}), sep="\n")
        return 0
    if len(mails) != 1:
        print(f"{len(mails)} mails", file=sys.stderr)
        return 1
    (mail,) = mails
    if what == "header":
        print(mail[name] if mail[name] is not None else "")
        return int(mail[name] is None)
    body = mail.get_payload(decode=True)
    assert isinstance(body, bytes)
    sys.stdout.buffer.write(body)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
