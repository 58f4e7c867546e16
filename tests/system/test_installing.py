"""README's chapter on installation, line by line, in a virtual machine: vm/installing.sh says how.

PYCRON_VM names the program that boots the machine; see test_vm.py.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.wheels import ROOT, build_wheel, build_wheels, copy_checkout

DIRECTORY = ROOT / "tests/system/vm"
NEW = "99.0"


def lines_of_readme(chapter: str) -> str:
    """The lines of the block below the comment `<!-- CHAPTER -->`."""
    _, _, rest = (ROOT / "README.md").read_text().partition(f"<!-- {chapter} -->\n```sh\n")
    lines, _, _ = rest.partition("```\n")
    assert lines
    return lines


def newer(source: Path) -> Path:
    """Make a newer version of a copy of the checkout: another number, and another manual page."""
    (source / "pycron/__init__.py").write_text(f'__version__ = "{NEW}"\n')
    with (source / "man/pycron.1").open("a") as page:
        page.write('.\\" of a newer version\n')
    return source


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif("PYCRON_VM" not in os.environ, reason="PYCRON_VM boots no machine")
def test_the_readme_in_a_machine_with_systemd(tmp_path: Path) -> None:
    payload = tmp_path / "payload"
    source = copy_checkout(tmp_path / "source")
    build_wheels(source, payload / "wheels")
    build_wheel(newer(source), payload / "newer")
    shutil.copy(DIRECTORY / "machine.sh", payload)
    for chapter in ("install", "upgrade", "uninstall"):
        (payload / chapter).write_text(lines_of_readme(chapter))
    script = DIRECTORY / "installing.sh"
    machine = subprocess.run(
        ["bash", os.environ["PYCRON_VM"], script, payload],
        env=os.environ | {"VM_S": "2000"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=2300,
        check=False,
    )  # fmt: skip
    wanted = re.findall(r"^(?:LIMIT=\d+ )?check ([a-z_]+)", script.read_text(), re.MULTILINE)
    assert len(wanted) > 40
    found = re.findall(r"^(?:not )?ok .*$", machine.stdout.replace("\r", ""), re.MULTILINE)
    assert found == [f"ok {name}" for name in wanted], machine.stdout + machine.stderr
