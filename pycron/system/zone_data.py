"""Time zones: from the system's files or from the tzdata package, whichever is newer.

The machine's zone is given by `TZ`, else by /etc/localtime, else by /etc/timezone.
"""

import io
import os
import re
import zoneinfo
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import tzdata

from pycron.schedule.zone import UTC, Zone
from pycron.system import zone_file

_SYSTEM = Path("/usr/share/zoneinfo")
_PACKAGE = Path(tzdata.__file__).parent / "zoneinfo"
_LOCALTIME = Path("/etc/localtime")
_TIMEZONE = Path("/etc/timezone")
_MACHINE = "localtime"  # the name of the machine's zone if it has no other name


class UnknownZone(ValueError):
    """The zone data has no zone of this name."""


class ZoneData:
    """The zones by name, each loaded once until `reload`."""

    def __init__(self, machine_zone: str | None = None) -> None:
        self._chosen = machine_zone
        self.reload()

    def reload(self) -> None:
        """Read the files again: the zone data or the machine's zone may have changed."""
        self.origin, self.version = _newest()
        self._folders = (_SYSTEM, _PACKAGE) if self.origin == "system" else (_PACKAGE,)
        self._zones: dict[str, Zone] = {}
        self.fingerprint = (self.origin, self.version, _machine_fingerprint())
        self.machine = self._machine_zone()

    def stale(self) -> bool:
        """Whether the files have changed since they were read."""
        return self.fingerprint != (*_newest(), _machine_fingerprint())

    def zone(self, name: str | None) -> Zone:
        """The zone of this name; None stands for the machine's. Raises UnknownZone."""
        if name is None:
            return self.machine
        if name not in self._zones:
            self._zones[name] = _find(self._folders, name)
        return self._zones[name]

    def exists(self, name: str) -> bool:
        try:
            self.zone(name)
        except UnknownZone:
            return False
        return True

    def _machine_zone(self) -> Zone:
        if self._chosen is not None:
            return self.zone(self._chosen)
        name = _name_in_environment()
        if name and self.exists(name):
            return self.zone(name)
        if name and (posix := _posix_zone(name)):
            return posix
        linked = _localtime_name()
        if linked and self.exists(linked):
            return self.zone(linked)
        unnamed = _localtime_itself()
        if unnamed is not None:
            return unnamed
        if _TIMEZONE.is_file():
            name = _TIMEZONE.read_text(errors="replace").strip()
            if self.exists(name):
                return self.zone(name)
        return UTC


def unknown_machine_zone(zones: ZoneData) -> str | None:
    """The value of TZ if it names no zone; then the machine's zone is not the one of TZ."""
    name = _name_in_environment()
    known = not name or zones.exists(name) or _posix_zone(name) is not None
    return None if known else name


def _name_in_environment() -> str:
    return os.environ.get("TZ", "").removeprefix(":").removeprefix(f"{_SYSTEM}/")


def read_zone(path: Path, name: str) -> Zone:
    """The zone in a zone file (RFC 9636). Raises UnknownZone."""
    try:
        data = path.read_bytes()
        zone_file.check(data)
        return Zone(name, zoneinfo.ZoneInfo.from_file(io.BytesIO(data), key=name))
    except (OSError, ValueError) as error:  # no file, or one that is being written
        raise UnknownZone(name) from error


def _find(folders: Iterable[Path], name: str) -> Zone:
    if not re.fullmatch(r"(?=.{1,64}$)[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", name, re.ASCII):
        raise UnknownZone(name)
    for folder in folders:
        with suppress(UnknownZone):
            return read_zone(folder / name, name)
    raise UnknownZone(name)


def _newest() -> tuple[str, str]:
    """("system" or "tzdata package", release such as 2026f): the newer one."""
    system = _release(_SYSTEM)
    package = _release(_PACKAGE)
    return ("system", system) if system >= package else ("tzdata package", package)


def _release(folder: Path) -> str:
    """The release of a folder of zone files; empty if there are none.

    The file tzdata.zi begins with `# version 2026f`; +VERSION contains only the release.
    """
    try:
        with (folder / "tzdata.zi").open() as file:
            match = re.match(r"# version (\S+)", file.readline())
            return match[1] if match else ""
    except OSError:
        pass
    try:
        return (folder / "+VERSION").read_text().strip()
    except OSError:
        return "0" if (folder / "UTC").exists() else ""


def _posix_zone(text: str) -> Zone | None:
    """The zone of a POSIX string such as `EST5EDT,M3.2.0,M11.1.0` or `JST-9`."""
    if not re.match(r"[A-Za-z]{3,}[+-]?[0-9]", text, re.ASCII):
        return None
    from dateutil import tz  # takes 28 ms, and few machines have such a TZ

    try:
        return Zone(text, tz.tzstr(text, posix_offset=True))
    except ValueError:
        return None


def _localtime_itself() -> Zone | None:
    """The zone in the file /etc/localtime, if that is a copy and so has no name."""
    try:
        return read_zone(_LOCALTIME, _MACHINE)
    except UnknownZone:
        return None


def _localtime_name() -> str | None:
    """The zone that the link /etc/localtime points to."""
    try:
        target = os.path.realpath(_LOCALTIME)
    except OSError:
        return None
    _, found, name = target.partition("/zoneinfo/")
    return name if found else None


def _machine_fingerprint() -> tuple[object, ...]:
    found: list[object] = [os.environ.get("TZ")]
    for path in (_LOCALTIME, _TIMEZONE):
        try:
            status = path.stat()
            found.append((os.path.realpath(path), status.st_mtime_ns, status.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)
