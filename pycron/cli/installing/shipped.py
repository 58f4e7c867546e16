"""The files that come with the programs: manual pages, units, completion, examples."""

import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pycron
from pycron.cli.errors import Failed

_SOURCE = Path(pycron.__file__).resolve().parents[1]
_MISSING = """\
pip has not installed units and manual pages here.
If it is a package such as pycrond.deb that has installed pycron, they are in place:
  systemctl enable --now pycron          (as root, for all users)
  systemctl --user enable --now pycron   (for your own user)
Otherwise install pycron again with pip."""


def shipped_files() -> dict[str, Path]:
    """Each file by its path below the prefix of an installation, such as share/man/man1/pycron.1.

    In a checkout, also one that is installed with `pip install -e`, the files are those of the
    checkout, by the table data-files of pyproject.toml; otherwise those that pip has installed.
    Raises Failed if there are none.
    """
    found = dict(_of_checkout(_SOURCE) if _is_checkout(_SOURCE) else _of_pip())
    if not found:
        raise Failed(_MISSING)
    return found


def _is_checkout(directory: Path) -> bool:
    return (directory / "pyproject.toml").is_file() and (directory / "contrib").is_dir()


def _of_checkout(root: Path) -> Iterator[tuple[str, Path]]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    for directory, patterns in project["tool"]["setuptools"]["data-files"].items():
        for pattern in patterns:
            for path in sorted(root.glob(pattern)):
                yield f"{directory}/{path.name}", path


def _of_pip() -> Iterator[tuple[str, Path]]:
    """The data files in pip's list of what it has installed."""
    try:
        listed = metadata.files("pycrond") or []
    except metadata.PackageNotFoundError:
        return
    for file in listed:
        before, share, rest = str(file).partition("../share/")
        path = Path(str(file.locate())).resolve()
        if share and not before.strip("./") and path.is_file():
            yield f"share/{rest}", path
