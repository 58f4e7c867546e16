"""Mail through real mail servers: vm/mail.sh runs in a virtual machine with each of them.

PYCRON_VM names the program that boots the machine (see test_vm.py). VM_PACKAGES tells it which
packages of Debian the machine has, and VM_S how many seconds the script may take.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.wheels import ROOT, build_wheels, copy_checkout

DIRECTORY = ROOT / "tests/system/vm"
READER = "bsd-mailx"
# What mail_faults.sh does is the same with every mail program: only one of the machines does it.
FAULTS = "mail_faults.sh"
SMTP_SERVER = "python3-aiosmtpd openssl ca-certificates"
ANY = ["machine.sh", "read_mail.py"]


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif("PYCRON_VM" not in os.environ, reason="PYCRON_VM boots no machine")
@pytest.mark.parametrize(
    ("packages", "files"),
    [
        ("postfix", ANY),
        ("exim4-daemon-light", ANY),
        (f"dma {SMTP_SERVER}", [*ANY, FAULTS, "smtp_server.py"]),
    ],
)
def test_mail_server(packages: str, files: list[str], tmp_path: Path) -> None:
    wheels = tmp_path / "payload" / "wheels"
    build_wheels(copy_checkout(tmp_path / "source"), wheels)
    for file in (*(DIRECTORY / name for name in files), ROOT / "contrib/systemd/pycron.service"):
        shutil.copy(file, wheels.parent)
    script = DIRECTORY / "mail.sh"
    machine = subprocess.run(
        ["bash", os.environ["PYCRON_VM"], script, wheels.parent],
        env=os.environ | {"VM_PACKAGES": f"{packages} {READER}", "VM_S": "1500"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=2400,
        check=False,
    )  # fmt: skip
    scripts = [script, *(DIRECTORY / name for name in files if name == FAULTS)]
    wanted = [name for each in scripts for name in checks(each)]
    assert len(wanted) > 30
    assert len(wanted) == len(set(wanted))
    found = re.findall(r"^(?:not )?ok .*$", machine.stdout.replace("\r", ""), re.MULTILINE)
    # A check in a loop prints its line several times.
    assert list(dict.fromkeys(found)) == [f"ok {name}" for name in wanted], (
        machine.stdout + machine.stderr
    )


def checks(script: Path) -> list[str]:
    """The names of the checks of a script, in their order."""
    return re.findall(r"^[^#\n]*\bcheck ([a-z_0-9]+) ", script.read_text(), re.MULTILINE)
