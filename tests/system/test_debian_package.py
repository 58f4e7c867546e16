"""The packages for Debian 12 and 13, which contrib/debian/build makes and which replace cron.

PYCRON_VM names the program that boots a Debian 12 (see test_vm.py). The Debian 13 is a root of
contrib/debian/root, of which the test uses a copy.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import pycron
from tests.support.wheels import ROOT, copy_checkout
from tests.system.test_moving import checks

DIRECTORY = ROOT / "tests/system/vm"
NEWER = "0.1.1"  # a version for the upgrade
DEBIAN = "12"  # of the virtual machine; `package` is for the Debian that the tests run on

pytestmark = [pytest.mark.thorough, pytest.mark.slow, pytest.mark.root]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("debian") / "source")


@pytest.fixture(scope="module")
def package(checkout: Path) -> Path:
    """The package of this Debian."""
    subprocess.run([checkout / "contrib/debian/build"], check=True, timeout=600)
    [package] = (checkout / "dist").glob("*.deb")
    return package


def test_the_package_has_the_version_of_the_program(package: Path) -> None:
    upstream, _, revision = field(package, "Version").partition("-")
    assert upstream == pycron.__version__
    assert re.fullmatch(r"\d+~deb\d+u\d+", revision)


def test_lintian_has_no_errors(package: Path) -> None:
    """Overrides are in contrib/debian/pycrond.lintian-overrides, with their reasons."""
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "lintian"]
    noninteractive = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(install, env=noninteractive, capture_output=True, check=True, timeout=600)
    options = ["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"]
    found = subprocess.run(
        ["lintian", *options, package], capture_output=True, text=True, timeout=600, check=False
    )
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.skipif("PYCRON_VM" not in os.environ, reason="PYCRON_VM boots no machine")
def test_from_cron_to_the_package_and_back(package: Path, tmp_path: Path) -> None:
    if f"~deb{DEBIAN}u" not in field(package, "Version"):
        pytest.skip(f"this machine is not a Debian {DEBIAN}, which the virtual machine is")
    payload = tmp_path / "payload"
    payload.mkdir()
    for file in (
        package,
        *(DIRECTORY / name for name in ("machine.sh", "jobs.sh", "read_mail.py")),
    ):
        shutil.copy(file, payload)
    repack_as(NEWER, package, tmp_path / "tree", payload / "newer")
    subprocess.run(["apt-get", "download", "cron"], cwd=payload, check=True, timeout=120)
    packages = "cron anacron dma bsd-mailx rsyslog"
    script = DIRECTORY / "debian_package.sh"
    machine = subprocess.run(
        ["bash", os.environ["PYCRON_VM"], script, payload],
        env=os.environ | {"VM_PACKAGES": packages, "VM_S": "2400"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=2700,
        check=False,
    )  # fmt: skip
    assert_all_ok(machine, list(checks(script.read_text())))


def test_on_debian_13(checkout: Path, tmp_path: Path) -> None:
    in_root = checkout / "contrib/debian/root"
    subprocess.run([in_root, "trixie", "true"], check=True, timeout=1200)
    copy = tmp_path / "trixie"
    subprocess.run(["cp", "-a", "/var/cache/pycron-ci/trixie", copy], check=True, timeout=300)
    environment = os.environ | {"PYCRON_ROOT": str(copy)}
    subprocess.run(
        [checkout / "contrib/debian/build", "trixie"], env=environment, check=True, timeout=1200
    )
    script = "tests/system/debian13.sh"
    machine = subprocess.run(
        [in_root, "trixie", "bash", script],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        errors="replace", timeout=600, check=False,
    )  # fmt: skip
    names = re.findall(r"^check ([a-z0-9_]+)", (ROOT / script).read_text(), re.MULTILINE)
    assert_all_ok(machine, names)


def field(package: Path, name: str) -> str:
    return subprocess.run(
        ["dpkg-deb", "--field", package, name], capture_output=True, text=True, check=True
    ).stdout.strip()


def repack_as(version: str, package: Path, tree: Path, into: Path) -> None:
    """The same package as one of another version, which the program also says."""
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    [program] = tree.glob("usr/lib/pycrond/lib/python3*/site-packages/pycron/__init__.py")
    for file in (control, program):
        file.write_text(file.read_text().replace(pycron.__version__, version))
    for compiled in program.parent.glob("__pycache__/__init__.*"):
        compiled.unlink()
    into.mkdir()
    subprocess.run(["dpkg-deb", "-Zgzip", "--build", tree, into], check=True, timeout=120)


def assert_all_ok(machine: subprocess.CompletedProcess[str], wanted: list[str]) -> None:
    assert len(wanted) > 15
    found = re.findall(r"^(?:not )?ok .*$", machine.stdout.replace("\r", ""), re.MULTILINE)
    assert found == [f"ok {name}" for name in wanted], machine.stdout + machine.stderr
