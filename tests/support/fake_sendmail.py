"""A sendmail program for tests: it puts each message into a directory."""

import email
import email.policy
from email.message import EmailMessage
from pathlib import Path

_SCRIPT = """#!/bin/sh
# Rename the file when it is whole: a reader must not see a part of it.
part=$(mktemp {0}/.part.XXXXXX) && cat >"$part" && mv "$part" "{0}/$$.$(date +%s%N).mail" && {1}
"""


class FakeSendmail:
    """The program and the messages that it was given. `then`: what it does at last, in sh."""

    def __init__(self, directory: Path, then: str = "exit 0") -> None:
        self.program = directory / "sendmail"
        self._messages = directory / "messages"
        self._messages.mkdir()
        self.does(then)

    def does(self, then: str) -> None:
        """From now on, the program ends by this shell command."""
        new = self.program.with_name("sendmail.new")
        new.write_text(_SCRIPT.format(self._messages, then))
        new.chmod(0o755)
        new.replace(self.program)

    @property
    def config(self) -> str:
        """The section of pycron.toml that makes a daemon use the program."""
        return f'[mail]\nsendmail = "{self.program} -i -t"\n'

    def messages(self) -> list[EmailMessage]:
        """The messages so far, the oldest first."""
        paths = sorted(self._messages.glob("*.mail"), key=lambda path: path.stat().st_mtime_ns)
        return [_parsed(path.read_bytes()) for path in paths]


def _parsed(data: bytes) -> EmailMessage:
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message
