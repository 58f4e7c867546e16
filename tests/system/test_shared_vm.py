"""The agent of a cluster under systemd, in a virtual machine: vm/shared.sh says how.

PYCRON_VM names the program that boots the machine; see test_vm.py.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.wheels import ROOT, build_wheels, copy_checkout

SCRIPTS = ROOT / "tests/system/vm"


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif("PYCRON_VM" not in os.environ, reason="PYCRON_VM boots no machine")
def test_the_agent_under_systemd(tmp_path: Path) -> None:
    wheels = tmp_path / "payload" / "wheels"
    # psycopg without its binary part, which is for the Python of this machine alone.
    build_wheels(copy_checkout(tmp_path / "source"), wheels, "psycopg>=3.2", "typing-extensions")
    shutil.copy(SCRIPTS / "machine.sh", wheels.parent)
    script = SCRIPTS / "shared.sh"
    machine = subprocess.run(
        ["bash", os.environ["PYCRON_VM"], script, wheels.parent],
        env=os.environ | {"VM_PACKAGES": "postgresql", "VM_S": "2400"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=2700,
        check=False,
    )  # fmt: skip
    wanted = re.findall(r"^(?:LIMIT=\d+ )?check ([a-z_]+)", script.read_text(), re.MULTILINE)
    assert len(wanted) > 20
    found = re.findall(r"^(?:not )?ok .*$", machine.stdout.replace("\r", ""), re.MULTILINE)
    assert found == [f"ok {name}" for name in wanted], machine.stdout + machine.stderr
