"""The units of systemd, in a virtual machine: vm/units.sh says how. test_vm.py names PYCRON_VM."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.wheels import ROOT, build_wheels, copy_checkout

SCRIPTS = ROOT / "tests/system/vm"
PACKAGES = "cron sudo iputils-ping dbus-user-session libpam-systemd libnotify-bin"


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif("PYCRON_VM" not in os.environ, reason="PYCRON_VM boots no machine")
def test_the_units(tmp_path: Path) -> None:
    wheels = tmp_path / "payload" / "wheels"
    build_wheels(copy_checkout(tmp_path / "source"), wheels)
    units = ROOT / "contrib/systemd"
    files = [SCRIPTS / "machine.sh", ROOT / "examples/reminder.crontab", units / "pycron.service",
             units / "pycron.service.d/conflicts.conf"]  # fmt: skip
    for file in files:
        shutil.copy(file, wheels.parent)
    script = SCRIPTS / "units.sh"
    machine = subprocess.run(
        ["bash", os.environ["PYCRON_VM"], script, wheels.parent],
        env=os.environ | {"VM_PACKAGES": PACKAGES, "VM_S": "2400"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=2700,
        check=False,
    )  # fmt: skip
    wanted = re.findall(r"^ *(?:LIMIT=\d+ )?check ([a-z_]+)", script.read_text(), re.MULTILINE)
    assert len(wanted) > 60
    found = re.findall(r"^(?:not )?ok .*$", machine.stdout.replace("\r", ""), re.MULTILINE)
    assert found == [f"ok {name}" for name in wanted], machine.stdout + machine.stderr
