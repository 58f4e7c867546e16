"""Wheels of this checkout, built by pip."""

import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def copy_checkout(to: Path) -> Path:
    """Copy the checkout, because a build leaves files in its source directory."""
    return shutil.copytree(ROOT, to, ignore=_unwanted)


def _unwanted(directory: str, names: list[str]) -> set[str]:
    """What git does not have either."""
    hidden_or_made = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__")(directory, names)
    return hidden_or_made | ({"build", "dist"} if Path(directory) == ROOT else set())


def build_wheels(source: Path, into: Path, *options: str) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "-q", *options]
    subprocess.run([*pip, "-w", into, source], check=True, timeout=300)


def build_wheel(source: Path, into: Path) -> None:
    """Build the wheel of pycron alone; without the network if the build system is installed."""
    system = tomllib.loads((source / "pyproject.toml").read_text())["build-system"]
    missing = [text for text in system["requires"] if not _is_installed(Requirement(text))]
    if not missing:
        build_wheels(source, into, "--no-deps", "--no-index", "--no-build-isolation")
        return
    try:
        build_wheels(source, into, "--no-deps")
    except subprocess.CalledProcessError:
        pytest.skip(f"{', '.join(missing)} is not installed, and pip can't do with a fetched one")


def _is_installed(wanted: Requirement) -> bool:
    try:
        return wanted.specifier.contains(metadata.version(wanted.name))
    except metadata.PackageNotFoundError:
        return False
