"""From Debian's cron to pycron and back, in a virtual machine: vm/moving.sh says how.

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
JOBS = ("alice", "bob", "package", "machine")


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif("PYCRON_VM" not in os.environ, reason="PYCRON_VM boots no machine")
def test_from_cron_to_pycron_and_back(tmp_path: Path) -> None:
    wheels = tmp_path / "payload" / "wheels"
    build_wheels(copy_checkout(tmp_path / "source"), wheels)
    files = [DIRECTORY / name for name in ("machine.sh", "jobs.sh", "read_mail.py")]
    for file in (*files, ROOT / "contrib/systemd/pycron.service"):
        shutil.copy(file, wheels.parent)
    script = DIRECTORY / "moving.sh"
    packages = "cron anacron dma bsd-mailx rsyslog"
    machine = subprocess.run(
        ["bash", os.environ["PYCRON_VM"], script, wheels.parent],
        env=os.environ | {"VM_PACKAGES": packages, "VM_S": "2400"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=2700,
        check=False,
    )  # fmt: skip
    wanted = list(checks(script.read_text()))
    assert len(wanted) > 50
    found = re.findall(r"^(?:not )?ok .*$", machine.stdout.replace("\r", ""), re.MULTILINE)
    assert found == [f"ok {name}" for name in wanted], machine.stdout + machine.stderr


def checks(script: str) -> list[str]:
    """The names of the checks of the script, in their order; `all_once X` has one for each job."""
    body = script.partition("first_boot()")[2]
    names = re.findall(r"^ *(?:LIMIT=\d+ )?(check|all_once) ([a-z_]+)", body, re.MULTILINE)
    return [
        name
        for kind, word in names
        for name in ([word] if kind == "check" else [f"{word}_{job}" for job in JOBS])
    ]
