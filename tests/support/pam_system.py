"""The system's daemon with PAM, in a namespace with its own services, limits and passwords."""

import shlex
from pathlib import Path

from pycron.system import paths
from tests.support.isolated_system import IsolatedSystem

# One line for each call of PAM: what it calls, and what modules see.
_RECORDER = """#!/bin/sh
echo "$PAM_TYPE $PAM_USER $PAM_SERVICE tty=$PAM_TTY rhost=$PAM_RHOST" >>{record}
"""


class PamSystem:
    """An IsolatedSystem whose commands get sessions of the service `pycron`.

    `record`: one line for each opened and each closed session, written by pam_exec(8).
    """

    def __init__(
        self, directory: Path, service: str, *, limits: str = "", more: str = "timeout = 20"
    ) -> None:
        """`service`: lines for /etc/pam.d/pycron, where RECORD stands for the module that records.

        `more`: lines for the section [pam] of the configuration.
        """
        self.record = directory / "record"
        recorder = directory / "recorder"
        recorder.write_text(_RECORDER.format(record=self.record))
        recorder.chmod(0o755)
        files = {
            "/etc/pam.d/pycron": service.replace("RECORD", f"pam_exec.so {recorder}"),
            "/etc/security/limits.conf": limits,
            str(paths.SYSTEM_CONFIG): f'[pam]\nservice = "pycron"\n{more}\n',
        }
        steps = [f"printf '%s' {shlex.quote(text)} >{path}" for path, text in files.items() if text]
        self.system = IsolatedSystem(directory, "; ".join(steps), own_etc=True)

    def recorded(self) -> list[str]:
        return self.record.read_text().splitlines() if self.record.exists() else []

    def expire(self, user: str) -> None:
        """The account has expired in 1970; the password is as it was."""
        fields = "$8 = 1"
        program = f"awk -F: -v OFS=: '$1 == \"{user}\" {{{fields}}} 1' /etc/shadow"
        self.system.shell(f'new=$({program}); printf "%s\\n" "$new" >/etc/shadow')

    def close(self) -> None:
        self.system.close()
