"""Commands that try to leave their cgroup, in a virtual machine with systemd and cgroup v2."""

import os
from pathlib import Path

import pytest

from tests.system import test_vm


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif("PYCRON_VM" not in os.environ, reason="PYCRON_VM boots no machine")
def test_no_command_escapes_from_its_cgroup(tmp_path: Path) -> None:
    test_vm.test_in_a_machine_with_systemd(tmp_path, "escapes.sh")
