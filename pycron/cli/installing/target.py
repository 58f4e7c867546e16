"""Where `pycron setup` installs to on this machine, and whether it may."""

import os
import stat
import sys
import sysconfig
from pathlib import Path

import pycron
from pycron.cli.errors import Failed
from pycron.cli.installing.items import PROGRAMS, Target
from pycron.system import paths

# Where a package of the distribution has its unit.
_PACKAGED = (Path("/usr/lib/systemd/system/pycron.service"),
             Path("/lib/systemd/system/pycron.service"))  # fmt: skip


def system_target() -> Target:
    """Raises Failed."""
    if os.geteuid() != 0:
        raise Failed("setup --system needs root (setup --user does not)")
    if any(unit.exists() for unit in _PACKAGED):
        raise Failed("a package of the system has installed pycron: its package manager upgrades "
                     "and removes it")  # fmt: skip
    programs = _programs()
    python = Path(os.path.realpath(sys.executable))
    for file in (programs, Path(pycron.__file__).resolve(), python):
        _check_is_roots(file)
    return Target(
        programs=programs,
        links=Path("/usr/local/bin"),
        share=Path("/usr/local/share"),
        unit=Path("/etc/systemd/system/pycron.service"),
        config=paths.SYSTEM_CONFIG,
        record=paths.SYSTEM_STATE / paths.SETUP_RECORD,
        trees=(paths.SYSTEM_STATE, paths.SYSTEM_RUN, paths.SPOOL),
        private=0o755,
        accounts=Path("/etc/sysusers.d/pycron.conf"),
        directories=Path("/etc/tmpfiles.d/pycron.conf"),
    )


def user_target() -> Target:
    """Raises Failed."""
    own = paths.user_paths()
    return Target(
        programs=_programs(),
        links=Path.home() / ".local/bin",
        share=paths.user_data(),
        unit=paths.user_config().parents[1] / "systemd/user/pycron.service",
        config=paths.user_config(),
        record=own.state / paths.SETUP_RECORD,
        trees=(own.state, own.run),
        private=0o700,
    )


def _programs() -> Path:
    """The directory that has the program that runs, and the two others. Raises Failed."""
    found = (
        Path(os.path.realpath(sys.argv[0])).parent,
        Path(sys.executable).parent,
        Path(sysconfig.get_path("scripts")),
    )
    for directory in found:
        if all(os.access(directory / name, os.X_OK) for name in PROGRAMS):
            return directory
    raise Failed(f"{', '.join(PROGRAMS)} are not in one directory: install pycron with pip "
                 "into a virtual environment")  # fmt: skip


def _check_is_roots(path: Path) -> None:
    """What root's daemon runs must not be another user's to change. Raises Failed."""
    for each in (path, *path.parents):
        status = each.stat()
        is_open = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
        if status.st_uid != 0 or is_open:
            owner = "everybody" if status.st_uid == 0 else f"uid {status.st_uid}"
            raise Failed(f"{each} can be changed by {owner}, and root's daemon would run what is "
                         "in it: install pycron into /opt/pycron, for example")  # fmt: skip
