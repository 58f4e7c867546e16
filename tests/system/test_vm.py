"""Checks that need systemd and cgroup v2: vm/inside.sh runs in a virtual machine.

PYCRON_VM names a program that boots the machine: `$PYCRON_VM SCRIPT DIRECTORY` runs the script in
the machine as root, with the directory at /payload, and prints the console. VM_PACKAGES names
Debian packages that the machine has.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.wheels import ROOT, build_wheels, copy_checkout

SCRIPT = ROOT / "tests/system/vm/inside.sh"


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif("PYCRON_VM" not in os.environ, reason="PYCRON_VM boots no machine")
def test_in_a_machine_with_systemd(tmp_path: Path) -> None:
    wheels = tmp_path / "payload" / "wheels"
    build_wheels(copy_checkout(tmp_path / "source"), wheels)
    for file in (SCRIPT.with_name("machine.sh"), ROOT / "contrib/systemd/pycron.service"):
        shutil.copy(file, wheels.parent)
    machine = subprocess.run(
        ["bash", os.environ["PYCRON_VM"], SCRIPT, wheels.parent],
        env=os.environ | {"VM_PACKAGES": "rsyslog"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=900,
        check=False,
    )  # fmt: skip
    wanted = re.findall(r"^check ([a-z_]+)", SCRIPT.read_text(), re.MULTILINE)
    assert len(wanted) > 15
    found = re.findall(r"^(?:not )?ok .*$", machine.stdout.replace("\r", ""), re.MULTILINE)
    assert found == [f"ok {name}" for name in wanted], machine.stdout + machine.stderr
