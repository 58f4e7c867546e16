"""`pycrontab -e`: the text that the user typed is installed, or left in a file that is named."""

import os
import signal
import subprocess
import tempfile
from pathlib import Path

from pycron.cli.crontab_texts import (
    decode,
    encode,
    say,
    say_failure,
    say_installed,
    yes,
)
from pycron.cli.errors import Failed
from pycron.control.client import ControlClient, ControlError
from pycron.model.table_version import Origin
from pycron.protocol.table_answers import InstallAnswer
from pycron.protocol.table_messages import InstallRequest, TableRequest

# Debian's programs that start the editor which the user or the administrator has chosen.
_CHOSEN = ("/usr/bin/sensible-editor", "/usr/bin/editor")


class Edit:
    """One edit of a user's table (None: one's own)."""

    def __init__(self, client: ControlClient, user: str | None) -> None:
        self._client = client
        self._user = user

    def run(self) -> int:
        """Edit and install; the exit status."""
        before = self._client.request(TableRequest(self._user))["text"] or ""
        descriptor, name = tempfile.mkstemp(prefix="pycrontab.")
        path = Path(name)
        with open(descriptor, "wb") as file:
            file.write(encode(before))
        try:
            if self._edit_until_good(path, before):
                path.unlink()
                return 0
        except (ControlError, Failed, OSError) as error:
            say_failure(error, str(path))
        self._leave(path, before)
        return 1

    def _edit_until_good(self, path: Path, before: str) -> bool:
        """Edit and install until there is no error; False if the user gives up."""
        while True:
            _run_editor(path)
            text = decode(path.read_bytes())
            if text == before:
                say("no changes made to crontab")
                return True
            try:
                answer = self._install(text)
            except ControlError as error:
                if not error.problems:
                    raise
                say_failure(error, str(path))
                if not yes("Do you want to retry the same edit? (y/n) "):
                    return False
                continue
            say("installed the new crontab")
            say_installed(answer, str(path), text)
            return True

    def _install(self, text: str) -> InstallAnswer:
        """On a new connection: an edit takes longer than the daemon waits for a silent client."""
        self._client.close()
        self._client = self._client.again()
        return self._client.request(InstallRequest(text, self._user, Origin.EDIT.value))

    def _leave(self, path: Path, before: str) -> None:
        """Name the file to the user; delete it if nothing was changed."""
        if path.exists():
            if decode(path.read_bytes()) == before:
                path.unlink()
            else:
                say(f"edits left in {path}")


def _editor() -> str:
    """The editor as a shell command; an empty variable counts as one that is not set."""
    chosen = (os.environ.get("VISUAL"), os.environ.get("EDITOR"),
              *(path for path in _CHOSEN if os.access(path, os.X_OK)))  # fmt: skip
    return next(filter(None, chosen), "vi")


def _run_editor(path: Path) -> None:
    editor = _editor()
    ignored = {number: signal.signal(number, signal.SIG_IGN)
               for number in (signal.SIGINT, signal.SIGQUIT)}  # fmt: skip
    try:
        status = subprocess.run(
            ["/bin/sh", "-c", f'{editor} "$1"', "sh", str(path)], check=False
        ).returncode
    finally:
        for number, handler in ignored.items():
            signal.signal(number, handler)
    if status != 0:
        raise Failed(f"{editor}: ended with status {status}; nothing was installed")
