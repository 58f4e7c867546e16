"""The wheel and the sdist have every file that belongs to pycron: a new one cannot be forgotten."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from pycron.cli.installing.shipped import shipped_files
from tests.support.overlay_system import environment_with, installed
from tests.support.wheels import ROOT, build_wheel, copy_checkout

pytestmark = pytest.mark.xdist_group("wheels")

# Each folder, what in it belongs to an installation, and where it goes.
FOLDERS = {
    "man": ("*.[1-9]", "share/man/man"),
    "docs": ("*", "share/doc/pycron"),
    "examples": ("*", "share/doc/pycron/examples"),
    "contrib/systemd": ("**/*", "share/pycron/systemd"),
    "contrib/sysusers.d": ("*", "share/pycron/sysusers.d"),
    "contrib/tmpfiles.d": ("*", "share/pycron/tmpfiles.d"),
    "contrib/pam": ("*", "share/pycron/pam"),
    "contrib/prometheus": ("*", "share/pycron/prometheus"),
    "contrib/completion/bash": ("*", "share/bash-completion/completions"),
    "contrib/completion/zsh": ("*", "share/zsh/site-functions"),
    "contrib/completion/fish": ("*", "share/fish/vendor_completions.d"),
}
ALONE = {"README.md": "share/doc/pycron", "CHANGELOG.md": "share/doc/pycron"}


def expected() -> dict[str, bytes]:
    """The bytes of each file, by its path below the prefix of an installation."""
    found = {f"{to}/{name}": (ROOT / name).read_bytes() for name, to in ALONE.items()}
    for folder, (pattern, to) in FOLDERS.items():
        for path in (ROOT / folder).glob(pattern):
            if path.is_file():
                section = path.suffix[1:] if folder == "man" else ""
                name = f"{to}{section}/{path.relative_to(ROOT / folder)}"
                found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("wheel") / "source")


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    build_wheel(source, source.parent)
    (built,) = source.parent.glob("*.whl")
    return built


def test_the_wheel_has_every_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        data = {name.partition(".data/data/")[2]: archive.read(name)
                for name in names if ".data/data/" in name}  # fmt: skip
    assert data == expected()
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "pycron").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == code
    assert "pycron/py.typed" in names


@pytest.mark.slow
def test_the_sdist_has_every_file(source: Path) -> None:
    code = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, check=True, capture_output=True, text=True
    )
    with tarfile.open(source / "dist" / done.stdout.split()[-1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    copied = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    made = {"build", "dist", "pycrond.egg-info"}
    wanted = {str(path) for path in copied if path.parts[0] not in made}
    assert {name for name in wanted if "__pycache__" not in name} - names == set()


def test_a_checkout_finds_its_files() -> None:
    found = shipped_files()
    assert {name: path.read_bytes() for name, path in found.items()} == expected()
    assert all(path.is_relative_to(ROOT) for path in found.values())


def test_an_installation_finds_its_files(wheel: Path, tmp_path: Path) -> None:
    environment = environment_with(wheel, tmp_path / "environment")
    code = (
        "from pycron.cli.installing.shipped import shipped_files\n"
        "for name, path in shipped_files().items(): print(name, path)"
    )
    command = [str(environment / "bin/python"), "-c", code]
    printed = subprocess.check_output(command, text=True, cwd="/", env=installed())
    found = dict(line.split(" ", 1) for line in printed.splitlines())
    assert {name: Path(path).read_bytes() for name, path in found.items()} == expected()
    assert all(Path(path).is_relative_to(environment) for path in found.values())
