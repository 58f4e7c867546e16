"""The parts of this machine that PAM needs: pamela, libpam, and a file for each service."""

from pathlib import Path

SERVICES = (Path("/etc/pam.d"), Path("/usr/lib/pam.d"), Path("/usr/etc/pam.d"))


def why_no_pam(*, system: bool) -> str | None:
    """Why this daemon cannot ask PAM; None if it can. `system`: it is in the system mode."""
    from ctypes.util import find_library  # few configurations use PAM
    from importlib.util import find_spec

    if not system:
        return "only root's daemon without --foreground can use PAM"
    if find_spec("pamela") is None:
        return "it needs the Python package pamela: pip install 'pycrond[pam]'"
    if find_library("pam") is None:
        return "this machine has no libpam"
    return None


def has_service(name: str) -> bool:
    """Whether a service has a file. PAM asks the service `other` instead if it has none."""
    return any((directory / name).is_file() for directory in SERVICES)
