"""The contents of the wheel and of the sdist."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.wheels import ROOT, build_wheel, copy_checkout

_BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"


@pytest.mark.slow
def test_the_wheel_has_manual_pages_and_the_unit(tmp_path: Path) -> None:
    """Below share/, where man(1) and an administrator look for them."""
    build_wheel(copy_checkout(tmp_path / "source"), tmp_path / "wheels")
    (wheel,) = (tmp_path / "wheels").glob("pycrond-*.whl")
    names = {name.partition(".data/data/")[2] for name in zipfile.ZipFile(wheel).namelist()}
    pages = {f"share/man/man{page.suffix[1:]}/{page.name}" for page in (ROOT / "man").iterdir()}
    texts = {f"share/doc/pycron/{name}" for name in ("faq.md", "moving.md")}
    assert pages | texts | {"share/pycron/systemd/pycron.service"} <= names
    assert len(pages) == 5


@pytest.mark.slow
def test_the_sdist_has_all_that_the_checkout_has(tmp_path: Path) -> None:
    """The parts that a distributor or a contributor needs, the tests included."""
    source = copy_checkout(tmp_path / "source")
    subprocess.run(
        [sys.executable, "-c", _BUILD_SDIST, tmp_path],
        cwd=source, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {member.name.partition("/")[2] for member in archive if member.isfile()}
    wanted = {
        str(path.relative_to(source))
        for part in ("pycron", "tests", "man", "contrib", "examples", "docs", "bench")
        for path in (source / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    tops = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "pyproject.toml"}
    assert (wanted | tops) - packed == set()
